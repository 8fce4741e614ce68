//! Resource limits of a process, by name.

use std::fmt;
use std::mem::MaybeUninit;

use nix::errno::Errno;

/// What the kernel can limit for each process, or for all of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(clippy::unnecessary_cast, reason = "C libraries do not agree on the type of these numbers")]
pub enum LimitName {
    /// Bytes of address space.
    As = libc::RLIMIT_AS as u32,
    /// Bytes of a core dump; 0: none is written.
    Core = libc::RLIMIT_CORE as u32,
    /// Seconds on processors.
    CpuTime = libc::RLIMIT_CPU as u32,
    /// Bytes of data: heap, and what is mapped for it alone.
    Data = libc::RLIMIT_DATA as u32,
    /// Bytes of a file it writes.
    Fsize = libc::RLIMIT_FSIZE as u32,
    /// File locks.
    Locks = libc::RLIMIT_LOCKS as u32,
    /// Bytes of memory that is kept from swap.
    Memlock = libc::RLIMIT_MEMLOCK as u32,
    /// Bytes in the user's POSIX message queues.
    Msgqueue = libc::RLIMIT_MSGQUEUE as u32,
    /// How urgent it may make itself: 20 less the niceness.
    Nice = libc::RLIMIT_NICE as u32,
    /// Open descriptors.
    Nofile = libc::RLIMIT_NOFILE as u32,
    /// Processes and threads of the user.
    Nproc = libc::RLIMIT_NPROC as u32,
    /// Bytes in memory; Linux knows the name and does nothing.
    Rss = libc::RLIMIT_RSS as u32,
    /// The highest real-time priority it may take.
    Rtprio = libc::RLIMIT_RTPRIO as u32,
    /// Microseconds on a processor, without a pause, under a real-time policy.
    Rttime = libc::RLIMIT_RTTIME as u32,
    /// Signals that wait for the user's processes.
    Sigpending = libc::RLIMIT_SIGPENDING as u32,
    /// Bytes of the main thread's stack.
    Stack = libc::RLIMIT_STACK as u32,
}

impl LimitName {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 16] = [
        ("as", Self::As),
        ("core", Self::Core),
        ("cpu_time", Self::CpuTime),
        ("data", Self::Data),
        ("fsize", Self::Fsize),
        ("locks", Self::Locks),
        ("memlock", Self::Memlock),
        ("msgqueue", Self::Msgqueue),
        ("nice", Self::Nice),
        ("nofile", Self::Nofile),
        ("nproc", Self::Nproc),
        ("rss", Self::Rss),
        ("rtprio", Self::Rtprio),
        ("rttime", Self::Rttime),
        ("sigpending", Self::Sigpending),
        ("stack", Self::Stack),
    ];

    /// The limit of this name.
    ///
    /// ```
    /// assert_eq!(process::LimitName::named("nofile"), Some(process::LimitName::Nofile));
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, limit)| (known == name).then_some(limit))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find_map(|(name, limit)| (limit == self).then_some(name)).unwrap_or("?")
    }
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub name: LimitName,
    /// What is enforced; `u64::MAX` for no limit.
    pub soft: u64,
    /// How far the program may raise it.
    pub hard: u64,
}

impl Limit {
    /// This process's own.
    pub fn own(name: LimitName) -> Result<Self, Errno> {
        let mut now = MaybeUninit::<libc::rlimit>::uninit();
        // SAFETY: the kernel fills one rlimit, and only a success is read.
        let now = unsafe {
            Errno::result(libc::getrlimit(name as _, now.as_mut_ptr()))?;
            now.assume_init()
        };
        Ok(Self { name, soft: now.rlim_cur, hard: now.rlim_max })
    }
}

/// `nofile to 1024`, `core to 0 (at most unlimited)`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount =
            |amount: u64| if amount == u64::MAX { "unlimited".to_owned() } else { amount.to_string() };
        write!(f, "{} to {}", self.name.name(), amount(self.soft))?;
        if self.hard != self.soft {
            write!(f, " (at most {})", amount(self.hard))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_name_of_its_own_and_can_be_asked_for() {
        for (name, limit) in LimitName::ALL {
            assert_eq!(LimitName::named(name), Some(limit));
            assert_eq!(limit.name(), name);
            let own = Limit::own(limit).unwrap();
            assert!(own.soft <= own.hard, "{own}");
        }
        assert_eq!(LimitName::named("nofiles"), None);
    }

    #[test]
    fn a_limit_is_told_with_its_hard_side_where_that_differs() {
        let limit = |soft, hard| Limit { name: LimitName::Core, soft, hard }.to_string();
        assert_eq!(limit(0, 0), "core to 0");
        assert_eq!(limit(1, u64::MAX), "core to 1 (at most unlimited)");
    }
}
