//! A child that goes on by one instruction at a time.

use std::process::{Child, Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// A child stopped before its operation.
pub struct Stepped {
    child: Child,
    pid: Pid,
    has_ended: bool,
}

/// The tracer and the traced take turns, which is ten times as fast on one processor as across two.
pub fn stay_on_one_processor() {
    let me = Pid::from_raw(0);
    if let Ok(allowed) = sched_getaffinity(me)
        && let Some(first) = (0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu) == Ok(true))
    {
        let mut one = CpuSet::new();
        let _ = one.set(first).and_then(|()| sched_setaffinity(me, &one));
    }
}

impl Stepped {
    /// Starts a child with these arguments and waits until it stands before its operation.
    pub fn start(args: &[String]) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let child = Command::new(program)
            .arg("child")
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let pid = Pid::from_raw(child.id() as i32);
        let mut stepped = Self { child, pid, has_ended: false };
        match stepped.wait()? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(stepped),
            other => Err(format!("the child did not stop before its operation: {other:?}")),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One instruction. False when the operation is over.
    pub fn step(&mut self) -> Result<bool, String> {
        ptrace::step(self.pid, None).map_err(|e| format!("cannot step: {e}"))?;
        match self.wait()? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(true),
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(false),
            other => Err(format!("the child ended within its operation: {other:?}")),
        }
    }

    fn wait(&mut self) -> Result<WaitStatus, String> {
        let status = waitpid(self.pid, None).map_err(|e| e.to_string())?;
        self.has_ended = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
        Ok(status)
    }

    /// Kills it where it stands, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !self.has_ended {
            let _ = self.child.kill();
            while !self.has_ended && self.wait().is_ok() {}
        }
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.end();
    }
}
