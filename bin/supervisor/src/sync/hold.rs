//! `lock run` and `semaphore run`: a command that runs while something is held.
//!
//! This process holds it, and starts the command with two strings attached. The kernel kills the command when this
//! process dies; and a warrant in its environment names this process, so that the supervisor kills whatever else runs
//! under it before anybody gets what was held, and a lock that the command takes by `lock run` itself is taken on behalf
//! of this process, so that a deadlock of scripts is seen as what it is.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use control::api::ErrorCode;
use ipc::sync::{
    AcquireError, AcquireTimeoutError, DeadHolder, Guard, Lock, LockError, LockTimeoutError, Permit, RLock,
    TryAcquireError, TryLockError,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use process::{Pid, Signals};
use std::os::fd::AsFd;

use super::meeting::{Meeting, WARRANT, no_such};
use crate::messages::Waiting;
use crate::talk::{Failure, note};

/// The pid of the one who died with the lock that this command got.
const RECOVERED: &str = "SUPERVISOR_LOCK_RECOVERED";

/// What is passed on to the command when somebody sends it to us.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// `lock run`.
///
/// # Errors
/// Exit 6 or 7 when the lock is held, 1 in a deadlock, 5 when the supervisor goes away before; 1 when the command cannot
/// be started.
pub(super) fn lock(
    mut meeting: Meeting,
    waiting: Waiting,
    command: &[OsString],
) -> Result<ExitCode, Failure> {
    let guard = acquire(&mut meeting, waiting)?;
    let mut command = program(command, &meeting)?;
    command.env_remove(RECOVERED);
    if let Some(DeadHolder { pid, name }) = guard.as_ref().and_then(Guard::recovered) {
        let name = name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
        note(&format!(
            "lock {} was held by {name}pid {pid}, which died with it; what it protects may be half done",
            meeting.name
        ));
        command.env(RECOVERED, pid.to_string());
    }
    let code = run(&mut meeting, command);
    drop(guard);
    code
}

/// `semaphore run`.
///
/// # Errors
/// As [`lock`].
pub(super) fn semaphore(
    mut meeting: Meeting,
    waiting: Waiting,
    command: &[OsString],
) -> Result<ExitCode, Failure> {
    let permit = take(&mut meeting, waiting)?;
    let command = program(command, &meeting)?;
    let code = run(&mut meeting, command);
    drop(permit);
    code
}

/// A lock of either sort.
enum AnyLock {
    Plain(Lock),
    Recursive(RLock),
}

impl AnyLock {
    fn of(meeting: &Meeting) -> Result<AnyLock, Failure> {
        match meeting.family.lock(&meeting.name) {
            Ok(lock) => Ok(AnyLock::Plain(lock)),
            Err(unknown) => match meeting.family.rlock(&meeting.name) {
                Ok(lock) => Ok(AnyLock::Recursive(lock)),
                Err(_) => Err(no_such(&unknown)),
            },
        }
    }

    fn is_held_for_me(&self) -> Result<bool, ipc::Fault> {
        match self {
            AnyLock::Plain(_) => Ok(false),
            AnyLock::Recursive(lock) => lock.is_held_for_me(),
        }
    }

    fn try_acquire(&self) -> Result<Guard, TryLockError> {
        match self {
            AnyLock::Plain(lock) => lock.try_acquire(),
            AnyLock::Recursive(lock) => lock.try_acquire(),
        }
    }

    fn acquire(&self) -> Result<Guard, LockError> {
        match self {
            AnyLock::Plain(lock) => lock.acquire(),
            AnyLock::Recursive(lock) => lock.acquire(),
        }
    }

    fn acquire_timeout(&self, timeout: Duration) -> Result<Guard, LockTimeoutError> {
        match self {
            AnyLock::Plain(lock) => lock.acquire_timeout(timeout),
            AnyLock::Recursive(lock) => lock.acquire_timeout(timeout),
        }
    }
}

/// The hold of the lock; none where it is recursive, and held by one that waits for our end: then we are under it.
fn acquire(meeting: &mut Meeting, waiting: Waiting) -> Result<Option<Guard>, Failure> {
    let lock = AnyLock::of(meeting)?;
    if lock.is_held_for_me().map_err(|fault| meeting.fault(fault))? {
        return Ok(None);
    }
    get(&lock, meeting, waiting).map(Some)
}

fn get(lock: &AnyLock, meeting: &mut Meeting, waiting: Waiting) -> Result<Guard, Failure> {
    match lock.try_acquire() {
        Ok(guard) => return Ok(guard),
        Err(TryLockError::Fault(fault)) => return Err(meeting.fault(fault)),
        Err(TryLockError::Held) => {}
    }
    match waiting {
        Waiting::Never => Err(meeting.failure(ErrorCode::WouldBlock, &format!("is held{}", holder(meeting)))),
        Waiting::ForEver => {
            meeting.watch_the_supervisor();
            lock.acquire().map_err(|error| match error {
                LockError::Deadlock(deadlock) => Failure::new(ErrorCode::Failed, deadlock.to_string())
                    .hint("take locks in the same order everywhere, or use --timeout and try again"),
                LockError::Interrupted => Failure::supervisor_gone(),
                LockError::Fault(fault) => meeting.fault(fault),
            })
        }
        Waiting::AtMost(timeout) => {
            meeting.watch_the_supervisor();
            lock.acquire_timeout(timeout).map_err(|error| match error {
                LockTimeoutError::Timeout => {
                    meeting.failure(ErrorCode::TimedOut, &format!("stayed held{}", holder(meeting)))
                }
                LockTimeoutError::Interrupted => Failure::supervisor_gone(),
                LockTimeoutError::Fault(fault) => meeting.fault(fault),
            })
        }
    }
}

/// ` by NAME (pid PID)`, where somebody holds it at this moment.
fn holder(meeting: &Meeting) -> String {
    let locks = meeting.family.locks().unwrap_or_default();
    let held = locks.into_iter().find(|lock| lock.name == meeting.name).and_then(|lock| lock.holder);
    held.map(|(pid, name)| format!(" by {name} (pid {pid})")).unwrap_or_default()
}

fn take(meeting: &mut Meeting, waiting: Waiting) -> Result<Permit, Failure> {
    let semaphore = meeting.family.semaphore(&meeting.name).map_err(|unknown| no_such(&unknown))?;
    match semaphore.try_acquire() {
        Ok(permit) => return Ok(permit),
        Err(TryAcquireError::Fault(fault)) => return Err(meeting.fault(fault)),
        Err(TryAcquireError::Held) => {}
    }
    match waiting {
        Waiting::Never => Err(meeting.failure(ErrorCode::WouldBlock, "has no free permit")),
        Waiting::ForEver => {
            meeting.watch_the_supervisor();
            semaphore.acquire().map_err(|error| match error {
                AcquireError::Interrupted => Failure::supervisor_gone(),
                AcquireError::Fault(fault) => meeting.fault(fault),
            })
        }
        Waiting::AtMost(timeout) => {
            meeting.watch_the_supervisor();
            semaphore.acquire_timeout(timeout).map_err(|error| match error {
                AcquireTimeoutError::Timeout => {
                    meeting.failure(ErrorCode::TimedOut, "had no free permit in time")
                }
                AcquireTimeoutError::Interrupted => Failure::supervisor_gone(),
                AcquireTimeoutError::Fault(fault) => meeting.fault(fault),
            })
        }
    }
}

fn program(command: &[OsString], meeting: &Meeting) -> Result<Command, Failure> {
    // Clap asks for at least one word.
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]);
    process::let_die_with_us(&mut program, Signal::SIGKILL as i32);
    program.env(WARRANT, meeting.family.warrant().map_err(|fault| meeting.fault(fault))?);
    Ok(program)
}

/// Runs the command to its end, and gives its exit code.
fn run(meeting: &mut Meeting, mut command: Command) -> Result<ExitCode, Failure> {
    let failed = |what: &str, error: &io::Error| Failure::new(ErrorCode::Failed, format!("{what}: {error}"));
    // What is ignored, as under nohup, stays so, for us and for the command.
    let passed_on = PASSED_ON.map(|signal| signal as i32).into_iter();
    let heard: Vec<i32> = passed_on.filter(|signal| !process::is_ignored(*signal)).collect();
    let mut signals = Signals::listen(&[heard.as_slice(), &[Signal::SIGCHLD as i32]].concat())
        .map_err(|error| failed("cannot listen to signals", &error))?;
    let name = command.get_program().display().to_string();
    let mut child = command.spawn().map_err(|error| {
        let failure = failed(&format!("{name} cannot be run"), &error);
        match error.kind() {
            io::ErrorKind::NotFound => {
                failure.hint("the command is a program and its arguments; for a line of shell: sh -c '…'")
            }
            _ => failure,
        }
    })?;
    meeting.tell_when_abandoned();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| failed("the command is lost", &error))? {
            break status;
        }
        let mut wait = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("cannot wait", &errno.into())),
        }
        pass_on(&mut signals, &child);
    };
    Ok(exit_code(status))
}

/// Passes on what somebody sent to us alone. What the terminal sends, the command gets by itself.
fn pass_on(signals: &mut Signals, child: &Child) {
    let pid = i32::try_from(child.id()).map(Pid::from_raw);
    for received in signals.pending().filter(|received| received.signal != Signal::SIGCHLD as i32) {
        if received.sender.is_some()
            && let (Ok(pid), Ok(signal)) = (pid, Signal::try_from(received.signal))
        {
            // It is our child and not waited for, so the pid is its own.
            let _ = kill(pid, signal);
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
