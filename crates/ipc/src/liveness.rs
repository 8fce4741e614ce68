//! Who a process is, and whether it still lives.
//!
//! A pid alone names nobody: numbers are used again. With a mark it does: the number the kernel gives to each
//! process of a boot once (since Linux 6.9), or else the moment it began, to the hundredth of a second. The
//! boot's own id is mixed in, so that what an earlier boot wrote into a file is known to be dead.
//! Death is what the kernel says through a pidfd (every thread has ended), never a guess: a stopped process
//! is alive, and so is one whose first thread has ended while others run.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{futex, memory};

/// A process, as it is written into shared memory: 22 bits of pid, 30 bits of mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    pub(crate) mark: u32,
}

/// Bits of [`Identity::mark`].
pub(crate) const MARK: u32 = (1 << 30) - 1;

impl Identity {
    /// This process, also in the child of a fork.
    pub(crate) fn mine() -> Self {
        static KNOWN: AtomicU64 = AtomicU64::new(0);
        let pid = memory::this_process();
        let known = KNOWN.load(Ordering::Relaxed);
        if (known >> 32) as u32 == pid {
            return Self { pid, mark: known as u32 };
        }
        let mark = futex::pidfd(pid).ok().and_then(|fd| mark_of(&fd, pid)).unwrap_or(0);
        KNOWN.store(u64::from(pid) << 32 | u64::from(mark), Ordering::Relaxed);
        Self { pid, mark }
    }

    /// Whether every thread of the process has ended. In doubt it lives.
    pub(crate) fn is_dead(self) -> bool {
        if self.pid == memory::this_process() && self == Self::mine() {
            return false;
        }
        let fd = match futex::pidfd(self.pid) {
            Ok(fd) => fd,
            // No such process, or a number that is only a thread's by now. Anything else is doubt.
            Err(error) => {
                return matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL | libc::ENOENT));
            }
        };
        let has_ended = || futex::poll_readable(&[&fd], 0).is_ok_and(|readable| readable[0]);
        // The descriptor holds the process that has the number now. It is another if its mark is another; if
        // that cannot be read any more, it has ended meanwhile, whichever it was.
        has_ended() || mark_of(&fd, self.pid).map_or_else(has_ended, |mark| mark != self.mark)
    }
}

/// The mark of the process behind a descriptor, whose pid this is; none where it cannot be read.
fn mark_of(process: &OwnedFd, pid: u32) -> Option<u32> {
    let number = lifelong_number(process).or_else(|| began(pid))?;
    Some((number as u32 ^ boot() as u32) & MARK)
}

/// The number that the kernel gives to no other process of this boot, where it gives any.
fn lifelong_number(process: &OwnedFd) -> Option<u64> {
    let file = File::from(process.try_clone().ok()?);
    let number = file.metadata().ok()?.ino();
    futex::is_on_pidfs(process).then_some(number)
}

/// When the process with this pid began, in ticks of the clock since the boot.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses and blanks; the numbers follow the last one.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A number for this boot of the machine; zero where the kernel does not tell.
pub(crate) fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or(0, |id| {
            let bytes = id.trim().as_bytes();
            u64::from(crc32c::crc32c(bytes)) << 32 | u64::from(crc32c::crc32c_append(1, bytes))
        })
    })
}

/// The number of this process's pid namespace; zero where it cannot be read.
pub(crate) fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_lives_until_it_has_ended_and_not_until_it_is_reaped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let fd = futex::pidfd(child.id()).unwrap();
        let identity = Identity { pid: child.id(), mark: mark_of(&fd, child.id()).unwrap() };
        assert!(!identity.is_dead());
        child.kill().unwrap();
        futex::poll_readable(&[&fd], 30_000).unwrap();
        assert!(identity.is_dead(), "a zombie is dead");
        child.wait().unwrap();
        assert!(identity.is_dead());
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_the_one_meant() {
        let mine = Identity::mine();
        assert!(!mine.is_dead());
        assert!(Identity { mark: mine.mark ^ 1, ..mine }.is_dead());
    }
}
