//! Reading what the kernel shows only to a process's own user.
//!
//! Root without the right to trace (`CAP_SYS_PTRACE`, which containers mostly lack) may not read the environment of somebody
//! else's process; that user may. So a child of ours is asked, whose rights on files are that user's, and nothing else: it
//! stays root's, so that the user cannot trace it, and find in it what is ours.
//!
//! It is a child and not a thread because the kernel keeps one note of who may trace a process for all of its threads.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{Pid, geteuid};

use crate::capability::{Capability, is_capable};

/// The user and the group of a process that is of one each.
fn owner(pid: Pid) -> Option<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |what: &str| {
        let mut all = status.lines().find_map(|line| line.strip_prefix(what))?.split_ascii_whitespace();
        let first: u32 = all.next()?.parse().ok()?;
        all.all(|other| other.parse() == Ok(first)).then_some(first)
    };
    Some((of("Uid:")?, of("Gid:")?))
}

/// The user a process runs as; `None` when it does not exist, or is of several: who runs a program that changes its user may
/// not be treated as if he were the one or the other.
pub fn user_of(pid: Pid) -> Option<u32> {
    Some(owner(pid)?.0)
}

/// The first bytes, `limit` at most, of a file in a process's folder in `/proc`, read with the rights of its user.
///
/// # Errors
/// `PermissionDenied` where that is no help; those of making a child and a pipe.
pub(crate) fn read_as_its_user(pid: Pid, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let (uid, gid) = owner(pid).ok_or(io::ErrorKind::PermissionDenied)?;
    if uid == geteuid().as_raw() || !is_capable(Capability::SetUid) || !is_capable(Capability::SetGid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let path = CString::new(path)?;
    let (read, write) = io::pipe()?;
    // A handler of ours must not run twice for one signal, and it would write to a pipe that both have.
    let mut before = SigSet::empty();
    nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: without CLONE_VM and CLONE_FILES this is a fork. The child of a process with several threads may only call
    // what is safe in a signal handler; `copy` makes raw system calls on memory that is there already, and does not return.
    // No signal tells of its end, so that nobody but us waits for it.
    let child = unsafe {
        let child = libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0);
        if child == 0 {
            copy(uid, gid, &path, write.as_raw_fd());
        }
        child
    };
    let failure = io::Error::last_os_error();
    let _ = nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    if child < 0 {
        return Err(failure);
    }
    drop(write);
    let mut bytes = Vec::new();
    let was_read = (&read).take(limit).read_to_end(&mut bytes);
    // A child that has more to say finds that nobody listens.
    drop(read);
    wait_for(child as libc::pid_t);
    was_read.map(|_| bytes)
}

/// Takes the exit of a child that no signal tells of.
fn wait_for(child: libc::pid_t) {
    // SAFETY: an integer, no status wanted; the child is ours, and nobody else waits for it.
    while unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Copies a file into a pipe with a user's rights on files, and ends.
///
/// # Safety
/// To be called in a child that has its memory and its descriptors for itself.
unsafe fn copy(uid: u32, gid: u32, path: &std::ffi::CStr, to: libc::c_int) -> ! {
    let mut piece = [0u8; 4096];
    // SAFETY: system calls that are no more than that, with integers, a C string and a buffer of ours. The group first:
    // afterwards it may not be changed any more. Where they fail, the opening is refused as it was before.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        let from = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if from < 0 {
            libc::_exit(1);
        }
        loop {
            let count = libc::read(from, piece.as_mut_ptr().cast(), piece.len());
            if count <= 0 {
                libc::_exit(0);
            }
            let mut at = 0;
            while at < count {
                let written = libc::write(to, piece.as_ptr().add(at as usize).cast(), (count - at) as usize);
                if written <= 0 {
                    libc::_exit(0);
                }
                at += written;
            }
        }
    }
}

/// Reads a file in a process's folder in `/proc`, if need be with the rights of its user.
///
/// # Errors
/// Those of reading it.
pub(crate) fn read_up_to(pid: Pid, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => read_as_its_user(pid, path, limit),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn the_environment_of_another_users_process_is_read_with_that_users_rights() {
        if !geteuid().is_root() {
            // Nobody else can have a process of another user.
            return;
        }
        let mut cat = Command::new("cat");
        cat.uid(65_534).gid(65_534).env_clear().env("SECRET", "x".repeat(10_000)).stdin(Stdio::piped());
        let mut cat = cat.stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(cat.id() as i32);
        let path = format!("/proc/{pid}/environ");
        let read = |limit| read_as_its_user(pid, &path, limit).unwrap();
        // Until it is executed its environment is ours.
        while !read(7).starts_with(b"SECRET=") {}
        assert_eq!(read(1 << 20).len(), "SECRET=".len() + 10_000 + 1);
        assert_eq!(read(100).len(), 100);
        assert_eq!(user_of(pid), Some(65_534));
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert!(read_as_its_user(pid, &path, 100).is_err());
        let me = Pid::this();
        let own = read_as_its_user(me, &format!("/proc/{me}/environ"), 100);
        assert_eq!(own.unwrap_err().kind(), io::ErrorKind::PermissionDenied, "for ours it is no help");
    }
}
