//! What a supervising process arranges for itself before it starts others.

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;

use crate::spawn::Limit;

static ORIGINAL_NOFILE: OnceLock<Limit> = OnceLock::new();

/// Makes this process the one that adopts every orphan among its descendants, so that none escapes by forking twice.
///
/// Adopted orphans are children of the main thread: see [`reap_orphan`](crate::reap_orphan).
///
/// # Errors
///
/// Those of the kernel, of which none is known since Linux 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Whether this process adopts its orphaned descendants.
pub fn is_subreaper() -> bool {
    prctl::get_child_subreaper().unwrap_or(false)
}

/// Raises this process's soft limit of open descriptors to the hard one and returns what it is now.
///
/// Every program started by [`Spawn`](crate::Spawn) gets the original limit back: a high one makes old programs, which
/// close or scan every possible descriptor, slow. Calling it again changes nothing.
///
/// # Errors
///
/// Those of `getrlimit` and `setrlimit`.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let mut now = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel fills one rlimit, and only a success is read.
    let mut now = unsafe {
        Errno::result(libc::getrlimit(libc::RLIMIT_NOFILE, now.as_mut_ptr()))?;
        now.assume_init()
    };
    ORIGINAL_NOFILE.get_or_init(|| Limit {
        resource: libc::RLIMIT_NOFILE,
        soft: now.rlim_cur,
        hard: now.rlim_max,
    });
    now.rlim_cur = now.rlim_max;
    // SAFETY: one rlimit of ours is read.
    Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now) })?;
    Ok(now.rlim_cur)
}

/// The limit this process was started with, once [`raise_nofile_limit`] has raised it.
pub fn original_nofile_limit() -> Option<Limit> {
    ORIGINAL_NOFILE.get().copied()
}

/// Asks the kernel to send this process `signal` when its parent ends, and says whether `parent` still is its parent.
///
/// After `Ok(false)` the parent is already gone and no signal will come for its death. The kernel means the thread that
/// started this process: one that ends before its process ends counts as the parent's end.
///
/// # Errors
///
/// `EINVAL` for what is no signal.
pub fn die_with_parent(parent: Pid, signal: i32) -> io::Result<bool> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) })?;
    Ok(Pid::parent() == parent)
}

/// Ignores `SIGPIPE`, so that writing to a reader that has gone is an error and not the end of this process.
///
/// # Errors
///
/// None is known.
pub fn ignore_broken_pipes() -> io::Result<()> {
    // SAFETY: ignoring runs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    Ok(())
}

/// Gives heap memory that is free but not at the heap's end back to the kernel; the C library keeps it otherwise. It
/// takes a moment for each such page: to be called after something large is over, not in between.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but the allocator's own free memory, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
