//! Small system calls on descriptors that no crate wraps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use nix::unistd::Pid;

/// Opens a pidfd of a process: a descriptor that means this process for ever and becomes readable when it has ended.
///
/// `None` when no such process exists. A zombie still exists. The pid may have been reused since it was learned:
/// [`Identity::hold`](crate::Identity::hold) is the form that notices.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` before Linux 5.3; `EINVAL` for a pid below 1.
///
/// ```
/// use process::{Pid, is_dead, pidfd_open};
/// use std::os::fd::AsFd;
///
/// let me = pidfd_open(Pid::this()).unwrap().expect("I exist");
/// assert!(!is_dead(me.as_fd()));
/// ```
pub fn pidfd_open(pid: Pid) -> io::Result<Option<OwnedFd>> {
    // SAFETY: two integers in, a new descriptor or an error out; no memory is involved.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    if fd >= 0 {
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        error => Err(error),
    }
}

/// A copy of the descriptor that another process has by this number, closed on exec here.
///
/// # Errors
///
/// `EBADF` when it has none of this number, `EPERM` when this user may not look into it (or a security module forbids
/// it), `ENOSYS` before Linux 5.6.
pub fn descriptor_of(pidfd: BorrowedFd, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: integers in, a new descriptor or an error out; no memory is involved.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A copy, closed on exec, of a descriptor that this process was started with (see [`Spawn::keep`](crate::Spawn::keep)).
/// The original stays open, and from now on it is closed on exec too: what this process starts does not get it by
/// accident.
///
/// # Errors
///
/// `EBADF` where nothing is open under this number; `EMFILE`.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: integers only; the copy is a new descriptor, and the original belongs to whoever it did before.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: integers only; it changes what an exec does and nothing else. The copy says that it is open.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether the kernel knows pidfds as `clone`, `waitid` and `poll` need them (Linux 5.4).
pub(crate) fn has_pidfd() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| match pidfd_open(Pid::this()) {
        Ok(_) => true,
        Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)),
    })
}

/// Whether the kernel knows `close_range` with `CLOSE_RANGE_UNSHARE` (Linux 5.9).
pub(crate) fn has_close_range() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    // SAFETY: integers only; the range holds one number above every possible descriptor, so nothing is closed.
    *KNOWN.get_or_init(|| unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0)
}

/// Polls one descriptor for reading without waiting; `revents`, 0 when nothing is there.
pub(crate) fn poll_now(fd: BorrowedFd) -> libc::c_short {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one pollfd on our stack, and the count says one.
        match unsafe { libc::poll(&raw mut poll, 1, 0) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return 0,
            _ => return poll.revents,
        }
    }
}
