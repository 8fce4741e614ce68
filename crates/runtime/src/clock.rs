//! The one clock: monotonic, from the start of the run.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
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

/// A descriptor that becomes readable at a time of the wall clock, and whenever that clock is set.
#[derive(Debug)]
pub struct WallAlarm {
    timer: TimerFd,
    set_for: Option<Timestamp>,
}

impl WallAlarm {
    /// An alarm that is not set.
    pub fn new() -> io::Result<WallAlarm> {
        let timer =
            TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(WallAlarm { timer, set_for: None })
    }

    /// Sets it for a time, or not at all: then it does not hear of the clock either.
    pub fn set(&mut self, time: Option<Timestamp>) -> io::Result<()> {
        if self.set_for == time {
            return Ok(());
        }
        match time {
            Some(time) => {
                // All zeroes would unset it; 1970 is over.
                let at = Duration::from_nanos(u64::try_from(time.as_nanosecond()).unwrap_or(0).max(1));
                let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
                self.timer.set(Expiration::OneShot(TimeSpec::from_duration(at)), flags)?;
            }
            None => self.timer.unset()?,
        }
        self.set_for = time;
        Ok(())
    }

    /// Notes that it rang, or that the clock was set; either way it is to be set anew.
    pub fn rang(&mut self) {
        // That the clock was set is told as an error, which is as good.
        let _ = nix::unistd::read(&self.timer, &mut [0; 8]);
        self.set_for = None;
    }
}

impl AsFd for WallAlarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
