//! Events: something has happened, until it is cleared.
//!
//! The word is `times set:63 | is set:1`. A waiter notes how often the event had been set when it came, so it does
//! not miss one that is cleared again before it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::atomic::Ordering;
use crate::errors::{Fault, OpenError};
use crate::sync::directory::What;
use crate::sync::errors::{WaitError, WaitTimeoutError};
use crate::sync::inner::{Core, SIDE, Stop, deadline};
use crate::sync::options::SyncOptions;
use crate::waiting::{Ended, Try};

/// A flag that processes set, clear and wait for.
///
/// Who waits when it is set goes on, even where it is cleared at once.
///
/// ```
/// let go = ipc::sync::Event::create_anonymous("go")?;
/// assert!(!go.is_set()?);
/// go.set()?;
/// go.wait()?;
/// go.clear()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    core: Arc<Core>,
    number: u32,
    at: usize,
}

const SET: u64 = 1;

impl Event {
    pub(crate) fn of(core: &Arc<Core>, number: u32) -> Self {
        Self { core: Arc::clone(core), number, at: core.place(number) }
    }

    /// The name it has in its family.
    pub fn name(&self) -> &str {
        self.core.name_of(self.number)
    }

    /// Sets it, and wakes all who wait for it.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn set(&self) -> Result<(), Fault> {
        self.core.check()?;
        // The setter is a participant, so that the wake-up it owes is made good should it die here.
        self.core.join()?;
        let word = self.core.u64(self.at);
        let mut before = word.load(Ordering::Acquire);
        while before & SET == 0 {
            let after = before.wrapping_add(2) | SET;
            match word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.core.changed_for_all(self.at);
                    break;
                }
                Err(now) => before = now,
            }
        }
        Ok(())
    }

    /// Clears it.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn clear(&self) -> Result<(), Fault> {
        self.core.check()?;
        self.core.u64(self.at).fetch_and(!SET, Ordering::AcqRel);
        Ok(())
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn is_set(&self) -> Result<bool, Fault> {
        self.core.check()?;
        Ok(self.core.u64(self.at).load(Ordering::Acquire) & SET != 0)
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// [`WaitError::Interrupted`], [`WaitError::Fault`].
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_until(u64::MAX).map_err(|stop| match stop {
            Stop::Fault(fault) => WaitError::Fault(fault),
            _ => WaitError::Interrupted,
        })
    }

    /// Waits until it is set, at most so long.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Timeout`], [`WaitTimeoutError::Interrupted`], [`WaitTimeoutError::Fault`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
        self.wait_until(deadline(timeout)).map_err(|stop| match stop {
            Stop::Ended(Ended::Interrupted) => WaitTimeoutError::Interrupted,
            Stop::Fault(fault) => WaitTimeoutError::Fault(fault),
            _ => WaitTimeoutError::Timeout,
        })
    }

    fn wait_until(&self, until_ns: u64) -> Result<(), Stop> {
        self.core.check()?;
        self.core.join()?;
        let word = self.core.u64(self.at);
        let came = word.load(Ordering::Acquire);
        if came & SET != 0 {
            return Ok(());
        }
        let attempt = || {
            self.core.check()?;
            let now = word.load(Ordering::Acquire);
            Ok(if now != came { Try::Done(()) } else { Try::NotBefore(u64::MAX) })
        };
        self.core.wait(self.number, until_ns, || self.at + SIDE, attempt)
    }
}

/// Events by themselves, for programs that need no family.
impl Event {
    /// Makes one that has no place in the file system.
    ///
    /// # Errors
    /// As [`Family::create_anonymous`](crate::sync::Family::create_anonymous).
    pub fn create_anonymous(name: &str) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create_anonymous(name, &alone())?, 0))
    }

    /// Makes one in a new file.
    ///
    /// # Errors
    /// As [`Family::create`](crate::sync::Family::create).
    pub fn create(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create(path.as_ref(), &alone())?, 0))
    }

    /// Opens the only one that a file holds.
    ///
    /// # Errors
    /// As [`Family::open`](crate::sync::Family::open); [`OpenError::WrongKind`] where there is none, or more than
    /// one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let core = Core::open(path.as_ref())?;
        let number = core.only(&[What::Event])?;
        Ok(Self::of(&core, number))
    }

    /// The family it is in.
    pub fn family(&self) -> crate::sync::Family {
        crate::sync::Family::of(&self.core)
    }
}

fn alone() -> SyncOptions {
    SyncOptions { events: vec!["event".into()], ..Default::default() }
}
