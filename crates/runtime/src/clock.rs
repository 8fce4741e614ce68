//! The one clock: monotonic, from the start of the run.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use supervision::Moment;

/// Tells [`Moment`]s.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose start is now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The present moment.
    pub fn now(self) -> Moment {
        Moment::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A descriptor that becomes readable at a deadline. With none it costs nothing.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    set_for: Option<Moment>,
}

impl Alarm {
    /// An alarm that is not set.
    pub fn new() -> io::Result<Alarm> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Alarm { timer, set_for: None })
    }

    /// Sets it for `deadline`, or not at all. Costs a system call only when that changes something.
    pub fn set(&mut self, deadline: Option<Moment>, now: Moment) -> io::Result<()> {
        if self.set_for == deadline {
            return Ok(());
        }
        match deadline {
            Some(deadline) => {
                let wait = deadline.since(now).max(Duration::from_nanos(1));
                self.timer
                    .set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
            }
            None => self.timer.unset()?,
        }
        self.set_for = deadline;
        Ok(())
    }

    /// Notes that it rang.
    pub fn rang(&mut self) {
        // Nothing to read when it was set anew in the meantime; either way it is not set any more.
        let _ = nix::unistd::read(&self.timer, &mut [0; 8]);
        self.set_for = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
