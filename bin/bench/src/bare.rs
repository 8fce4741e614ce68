//! The yardsticks: the least that could start, restart and stop programs, each a process of its own.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use crate::Trouble;

/// Starts `count` programs with `posix_spawn`, one after the other; told to end, signals each and reaps each.
pub fn crowd(pipe: &Path, count: u32) -> Result<(), Trouble> {
    let terminate = blocked()?;
    let spawner = Spawner::new(pipe)?;
    let mut pids = Vec::with_capacity(count as usize);
    for id in 0..count {
        pids.push(spawner.spawn(id)?);
    }
    terminate.wait()?;
    for pid in &pids {
        // One that has ended is reaped below.
        let _ = kill(*pid, Signal::SIGTERM);
    }
    for pid in pids {
        waitpid(pid, None)?;
    }
    Ok(())
}

/// Starts one program and, whenever its pidfd says that it has ended, the next.
pub fn restarter(pipe: &Path) -> Result<(), Trouble> {
    let terminate = SignalFd::new(&blocked()?)?;
    let spawner = Spawner::new(pipe)?;
    let (mut pid, mut pidfd) = spawner.spawn_watched()?;
    loop {
        let mut ready = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(terminate.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if ready[1].any() == Some(true) {
            kill(pid, Signal::SIGTERM)?;
            waitpid(pid, None)?;
            return Ok(());
        }
        waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED)?;
        (pid, pidfd) = spawner.spawn_watched()?;
    }
}

/// TERM, which from now on only comes when it is asked for.
fn blocked() -> Result<SigSet, Trouble> {
    let mut terminate = SigSet::empty();
    terminate.add(Signal::SIGTERM);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&terminate), None)?;
    Ok(terminate)
}

struct Spawner {
    program: CString,
    pipe: CString,
    environment: Vec<CString>,
    actions: PosixSpawnFileActions,
    attributes: PosixSpawnAttr,
}

impl Spawner {
    fn new(pipe: &Path) -> Result<Spawner, Trouble> {
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        attributes.set_sigmask(&SigSet::empty())?;
        Ok(Spawner {
            program: c_string(crate::programs()?.join("bench-child").as_os_str())?,
            pipe: c_string(pipe.as_os_str())?,
            environment: process::environment(std::env::vars_os()),
            actions: PosixSpawnFileActions::init()?,
            attributes,
        })
    }

    fn spawn(&self, id: u32) -> Result<Pid, Trouble> {
        let id = CString::new(id.to_string()).expect("digits hold no zero byte");
        let arguments = [&self.program, &self.pipe, &id];
        let pid =
            posix_spawn(&*self.program, &self.actions, &self.attributes, &arguments, &self.environment)?;
        Ok(pid)
    }

    fn spawn_watched(&self) -> Result<(Pid, OwnedFd), Trouble> {
        let pid = self.spawn(0)?;
        let pidfd =
            process::pidfd_open(pid)?.ok_or_else(|| Trouble::new("a child is gone before it was reaped"))?;
        Ok((pid, pidfd))
    }
}

fn c_string(text: &OsStr) -> Result<CString, Trouble> {
    CString::new(text.as_bytes()).map_err(|_| Trouble::new("a path with a zero byte"))
}
