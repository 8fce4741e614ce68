//! A child that was started.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use process::signal;
use process::{Errno, Exit, Spawned, exit_of, is_dead, wait_leader};

use super::errors::WaitError;
use crate::stopping::StopFlag;

/// A child of this process, alive or ended.
///
/// It is held by a descriptor, never by its pid: no call can reach another process that got the same pid later. Clones
/// mean the same child, and so does [`active_children`](super::active_children). Dropping it ends nothing and forgets
/// nothing: see [`Process`](super::Process) for what becomes of children at the end.
///
/// Readable (see [`AsFd`]) when the child has ended, for those who wait for many things at once.
#[derive(Clone, Debug)]
pub struct Child {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    is_daemon: bool,
    pid: u32,
    ppid: u32,
    pidfd: OwnedFd,
    fate: Mutex<Fate>,
}

/// What is known of its end.
#[derive(Clone, Copy, Debug)]
enum Fate {
    NotTaken,
    Ended(Exit),
    Lost,
}

impl Child {
    pub(super) fn of(spawned: Spawned, name: String, is_daemon: bool) -> Child {
        let shared = Shared {
            name,
            is_daemon,
            pid: spawned.pid.as_raw().unsigned_abs(),
            ppid: std::process::id(),
            pidfd: spawned.pidfd,
            fate: Mutex::new(Fate::NotTaken),
        };
        Child { shared: Arc::new(shared) }
    }

    /// Its name: the one it was given, or `Process-N`.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its process id. It may mean somebody else once this child has ended and its exit was taken.
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// The process that started it.
    pub fn ppid(&self) -> u32 {
        self.shared.ppid
    }

    /// Whether it dies with this process.
    pub fn is_daemon(&self) -> bool {
        self.shared.is_daemon
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        matches!(self.look(), Fate::NotTaken) && !is_dead(self.as_fd())
    }

    /// How it ended; `None` while it lives, and when another part of this program took its exit.
    ///
    /// A code and a signal are told apart here; [`Exit::folded`] makes one number of them.
    pub fn exit_code(&self) -> Option<Exit> {
        match self.look() {
            Fate::Ended(exit) => Some(exit),
            Fate::NotTaken | Fate::Lost => None,
        }
    }

    /// Waits until it has ended, at most so long: a `Duration`, or `None` for as long as it takes. Any number of threads
    /// may wait for it, again and again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use worker::{Process, WaitError};
    ///
    /// let child = Process::new("sleep").args(["1000"]).start()?;
    /// assert_eq!(child.join(Duration::from_millis(1)), Err(WaitError::Timeout));
    /// child.kill()?;
    /// assert_eq!(child.join(None)?.signal(), Some(9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Timeout`], [`WaitError::Lost`]; [`WaitError::Interrupted`] once this process was asked to stop, from
    /// the first call of [`stop_requested`](crate::stop_requested) on. [`Child::stop`] waits all the same.
    pub fn join(&self, timeout: impl Into<Option<Duration>>) -> Result<Exit, WaitError> {
        self.wait(timeout.into(), Some(&StopFlag::of_this_process()))
    }

    /// Asks it to end, with SIGTERM. Does nothing to one that has ended.
    ///
    /// # Errors
    ///
    /// `EPERM` where it has become another user.
    pub fn terminate(&self) -> Result<(), Errno> {
        self.send_signal(Signal::SIGTERM as i32)
    }

    /// Ends it, with SIGKILL. Does nothing to one that has ended.
    ///
    /// # Errors
    ///
    /// `EPERM` where it has become another user.
    pub fn kill(&self) -> Result<(), Errno> {
        self.send_signal(Signal::SIGKILL as i32)
    }

    /// Sends it any signal. Does nothing to one that has ended.
    ///
    /// # Errors
    ///
    /// `EPERM` where it has become another user, `EINVAL` for what is no signal.
    pub fn send_signal(&self, signal: i32) -> Result<(), Errno> {
        signal::send(self.as_fd(), signal).map(|_| ())
    }

    /// Asks it to end and waits; ends it when `grace` is over. Waits also when this process was asked to stop.
    ///
    /// # Errors
    ///
    /// Those of [`Child::terminate`], and [`WaitError::Lost`].
    pub fn stop(&self, grace: Duration) -> Result<Exit, WaitError> {
        self.terminate().map_err(WaitError::System)?;
        match self.wait(Some(grace), None) {
            Err(WaitError::Timeout) => {
                self.kill().map_err(WaitError::System)?;
                self.wait(None, None)
            }
            ended => ended,
        }
    }

    /// Waits for the end, and no longer than to an asked-for stop where there is a flag for it.
    pub(super) fn wait(&self, timeout: Option<Duration>, stop: Option<&StopFlag>) -> Result<Exit, WaitError> {
        // A moment too far away to be one is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            match self.look() {
                Fate::Ended(exit) => return Ok(exit),
                Fate::Lost => return Err(WaitError::Lost),
                Fate::NotTaken => {}
            }
            sleep_until_ended(self.as_fd(), deadline, stop)?;
        }
    }

    /// Takes the exit, if it has ended and nobody has taken it yet.
    fn look(&self) -> Fate {
        let mut fate = self.shared.fate.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*fate, Fate::NotTaken) {
            *fate = match wait_leader(self.as_fd()) {
                Ok(Some(exit)) => Fate::Ended(exit),
                Ok(None) => Fate::NotTaken,
                // Not ours to wait for: another part of the program has, or this is the child of a fork.
                Err(_) => match exit_of(self.as_fd()) {
                    Some(exit) => Fate::Ended(exit),
                    None if is_dead(self.as_fd()) => Fate::Lost,
                    None => Fate::NotTaken,
                },
            };
        }
        *fate
    }

    /// Whether its end is over and taken, so that nobody needs to look any more.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.look(), Fate::NotTaken)
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.pidfd.as_fd()
    }
}

impl fmt::Display for Child {
    /// `counter (4711), running`, `counter (4711), signal 9 (KILL)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), ", self.name(), self.pid())?;
        match self.look() {
            Fate::NotTaken => f.write_str("running"),
            Fate::Ended(exit) => write!(f, "{exit}"),
            Fate::Lost => f.write_str("ended"),
        }
    }
}

/// Sleeps until the process of this pidfd has ended. It may return earlier; `Ok` only says to look again.
pub(super) fn sleep_until_ended(
    pidfd: BorrowedFd,
    deadline: Option<Instant>,
    stop: Option<&StopFlag>,
) -> Result<(), WaitError> {
    let alarm = stop.and_then(StopFlag::alarm);
    if stop.is_some_and(StopFlag::is_heeded) {
        return Err(WaitError::Interrupted);
    }
    let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        None => PollTimeout::NONE,
        Some(left) if left.is_zero() => PollTimeout::ZERO,
        // Up to a whole millisecond, so that it does not wake up before the deadline again and again.
        Some(left) => {
            PollTimeout::try_from(left.saturating_add(Duration::from_micros(999))).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut polled = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
    polled.extend(alarm.map(|alarm| PollFd::new(alarm, PollFlags::POLLIN)));
    match poll(&mut polled, timeout) {
        Ok(0) if timeout == PollTimeout::ZERO => Err(WaitError::Timeout),
        // At the deadline it is looked once more, with nothing left to wait.
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(WaitError::System(errno)),
    }
}
