//! Which process a pid means, for as long as it matters.
//!
//! A pid is a number that the kernel gives to somebody else once its owner is gone. A pid with a start time is not.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::unistd::Pid;

use crate::descriptors::pidfd_open;
use crate::proc::Stat;

/// A process, told apart from any later one that got its pid.
///
/// It holds for this boot of the machine (see [`boot_id`]) and this pid namespace, and may be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Its process id.
    pub pid: Pid,
    /// When it started, in clock ticks since the machine did.
    pub start_time: u64,
}

impl Identity {
    /// Who has this pid now; `None` when nobody. A zombie still has its pid, so that a child's identity is safe to take
    /// until its exit was.
    ///
    /// # Errors
    ///
    /// Those of reading `/proc`.
    pub fn of(pid: Pid) -> io::Result<Option<Self>> {
        Ok(Stat::of(pid)?.map(|stat| Self::from(&stat)))
    }

    /// Takes hold of this very process: the pidfd means it for ever. `None` when it is gone, whoever has its pid now.
    ///
    /// # Errors
    ///
    /// Those of reading `/proc` and of [`pidfd_open`].
    ///
    /// ```
    /// use process::{Identity, Pid};
    ///
    /// let me = Identity::of(Pid::this()).unwrap().unwrap();
    /// assert!(me.hold().unwrap().is_some());
    /// let earlier = Identity { start_time: me.start_time - 1, ..me };
    /// assert!(earlier.hold().unwrap().is_none());
    /// ```
    pub fn hold(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pidfd) = pidfd_open(self.pid)? else { return Ok(None) };
        // Whoever is held can not lose the pid to another without being reaped, and then the later look finds either
        // nobody or somebody younger.
        Ok((Self::of(self.pid)? == Some(*self)).then_some(pidfd))
    }
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self { pid: stat.pid, start_time: stat.start_time }
    }
}

/// The name of this boot of the machine, without which an [`Identity`] that was written down means nothing.
///
/// # Errors
///
/// Those of reading `/proc`.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// Whether this pid is a thread of the kernel's, which nobody can signal. `false` when nobody has it.
///
/// # Errors
///
/// Those of reading `/proc`.
pub fn is_kernel_thread(pid: Pid) -> io::Result<bool> {
    Ok(Stat::of(pid)?.is_some_and(|stat| stat.is_kernel_thread()))
}
