//! A command for every message.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use control::api::ErrorCode;
use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use process::{Exit, Identity, Spawn, SpawnError, Spawned, Stdio};

use super::trouble::Trouble;
use super::{Line, forward_dead, give_back};
use crate::talk::Failure;

/// The longest message that a command also finds in its environment, where space is scarce.
const VARIABLE_BYTES: usize = 64 * 1024;

/// What is done with every message.
#[derive(Clone, Debug)]
pub struct Task {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// A message is given up on after so many further deliveries; `None`: never.
    pub retries: Option<u32>,
    /// How long the command may take.
    pub timeout: Option<Duration>,
}

impl Line {
    /// Runs the task for every message, `jobs` at a time, until the queue is closed and drained.
    ///
    /// # Errors
    /// Exit 1 when the command cannot be started.
    pub fn each(mut self, jobs: u16, task: Task) -> Result<ExitCode, Failure> {
        self.watch_the_supervisor();
        let (line, task) = (Arc::new(self), Arc::new(task));
        let (report, reports) = mpsc::channel();
        for _ in 0..jobs {
            let (line, task, report) = (Arc::clone(&line), Arc::clone(&task), report.clone());
            // A command dies with the thread that started it, and that with this program.
            thread::spawn(move || {
                // The first failure ends the program; those of the others then have no listener.
                let _ = report.send(line.serve(&task));
            });
        }
        drop(report);
        reports.iter().find(Result::is_err).unwrap_or(Ok(())).map(|()| ExitCode::SUCCESS)
    }

    fn serve(&self, task: &Task) -> Result<(), Failure> {
        loop {
            let lease = match self.queue.lease().map_err(Trouble::from) {
                Ok(lease) => lease,
                Err(Trouble::Closed) => return Ok(()),
                Err(trouble) => return Err(trouble.in_taking(&self.name)),
            };
            match task.is_done(lease.bytes(), lease.deliveries()) {
                Ok(true) => lease.ack(),
                Ok(false) if task.retries.is_some_and(|retries| lease.deliveries() > retries) => {
                    lease.bury();
                    forward_dead(&self.queue, self.dead_letters.as_ref());
                }
                Ok(false) => give_back(lease, &self.queue, self.dead_letters.as_ref()),
                Err(trouble) => {
                    // The message has nothing to do with it.
                    lease.put_back();
                    return Err(Failure::new(ErrorCode::Failed, trouble));
                }
            }
        }
    }
}

impl Task {
    /// Whether the command took the message, that is: exited with 0, and in time.
    fn is_done(&self, message: &[u8], deliveries: u32) -> Result<bool, String> {
        let input = as_file(message).map_err(|error| format!("a message cannot be handed over: {error}"))?;
        let text = |word: &OsString| CString::new(word.as_bytes());
        let argv: Result<Vec<CString>, _> = self.command.iter().map(text).collect();
        let argv = argv.map_err(|_| "an argument of a command holds no NUL".to_owned())?;
        let mut spawn =
            Spawn::new(argv, process::environment(variables(message, deliveries)), c".".to_owned());
        spawn.stdin = Stdio::Fd(Arc::new(input.into()));
        spawn.stdout = Stdio::Inherit;
        spawn.stderr = Stdio::Inherit;
        // Of our session and group, so that a terminal's Ctrl-C reaches it too.
        spawn.session = false;
        spawn.parent_death = Some(SIGKILL);
        let child = spawn.spawn().map_err(|error: SpawnError| error.to_string())?;
        if !ends_within(&child, self.timeout) {
            kill_all(&child);
            ends_within(&child, None);
            let _ = process::wait_leader(child.pidfd.as_fd());
            return Ok(false);
        }
        match process::wait_leader(child.pidfd.as_fd()) {
            Ok(Some(exit)) => Ok(exit == Exit::Code(0)),
            // Nobody else waits for it; should somebody have, the message comes again.
            Ok(None) | Err(_) => Ok(false),
        }
    }
}

/// The message as a file: it can be read at any pace, again, or not at all, and nobody waits for anybody.
fn as_file(message: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"message", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(message)?;
    file.rewind()?;
    Ok(file)
}

fn variables(message: &[u8], deliveries: u32) -> impl Iterator<Item = (OsString, OsString)> {
    let ours = ["SUPERVISOR_MESSAGE", "SUPERVISOR_DELIVERIES"];
    let others = std::env::vars_os().filter(move |(name, _)| !ours.iter().any(|ours| name == ours));
    let text =
        std::str::from_utf8(message).ok().filter(|text| text.len() < VARIABLE_BYTES && !text.contains('\0'));
    let message = text.map(|text| ("SUPERVISOR_MESSAGE".into(), text.into()));
    others.chain(message).chain([("SUPERVISOR_DELIVERIES".into(), deliveries.to_string().into())])
}

fn ends_within(child: &Spawned, time: Option<Duration>) -> bool {
    let until = time.map(|time| std::time::Instant::now() + time);
    loop {
        let left = until.map(|until| until.saturating_duration_since(std::time::Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        });
        let mut end = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut end, timeout) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return true,
            // Without a wait it counts as not ended, and is killed.
            Err(_) => return false,
        }
    }
}

/// Kills the command and everything below it.
fn kill_all(child: &Spawned) {
    // Our child, and not reaped: it is still the one.
    if let Ok(Some(identity)) = Identity::of(child.pid) {
        let _ = process::freeze_and_kill(&[identity], |_| false);
    }
    let _ = process::signal::send(child.pidfd.as_fd(), SIGKILL);
}
