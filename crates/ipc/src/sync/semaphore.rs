//! Semaphores: permits as words that name their holders, so that a dead one's permits come back.
//!
//! ```text
//!   a permit:  Free 0 ─ acquire ─► Held by a participant ─ guard dropped ─► Free
//!                                    ├─ kept ─► Kept by that participant ─ release ─► Free
//!                                    ├─ consumed ─► Absent ─ release by anybody ─► Free
//!                                    └─ (held or kept) participant found dead ─► Free
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::atomic::{AtomicU32, Ordering};
use crate::errors::{Fault, OpenError};
use crate::memory::{self, Memory};
use crate::participants::{self, Index};
use crate::sync::directory::{Entry, OBJECT, What};
use crate::sync::errors::{AcquireError, AcquireTimeoutError, ReleaseError, TryAcquireError};
use crate::sync::inner::{Core, SIDE, Stop, deadline};
use crate::sync::options::SyncOptions;
use crate::waiting::{Ended, Try};

const FREE: u32 = 0;
const ABSENT: u32 = u32::MAX;
const KEPT: u32 = 1 << 16;

/// Where the permit freed last is noted: a good place to look first.
const HINT: usize = 0;

fn held_by(participant: Index) -> u32 {
    participant + 1
}

/// Makes zeros a semaphore: permits beyond those it begins with are absent.
pub(crate) fn format(memory: &Memory, at: usize, entry: &Entry) {
    for permit in entry.number as usize..entry.permits() {
        memory.u32(at + OBJECT + permit * 4).store(ABSENT, Ordering::Relaxed);
    }
}

/// A number of permits that processes take and give back.
///
/// A permit is a guard: dropping it gives the permit back, and so does the death of the process that holds it. For
/// Python's way of acquiring here and releasing there, a permit can be kept ([`Permit::keep`]) or used up
/// ([`Permit::consume`]); [`Semaphore::release`] then gives one back, or adds one, up to 1024 in all. A bounded
/// semaphore never has more permits than it began with.
///
/// ```
/// let gpu = ipc::sync::Semaphore::create_anonymous("gpu", 2)?;
/// let one = gpu.acquire()?;
/// let two = gpu.acquire()?;
/// assert!(gpu.try_acquire().is_err());
/// drop(one);
/// assert_eq!(gpu.value()?, 1);
/// # drop(two);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    core: Arc<Core>,
    number: u32,
    at: usize,
    permits: u32,
}

impl Core {
    fn permit(&self, at: usize, permit: u32) -> &AtomicU32 {
        self.u32(at + OBJECT + permit as usize * 4)
    }

    /// Whether a permit's word is one that an operation can have written.
    fn is_possible(word: u32) -> bool {
        word == ABSENT || word & !KEPT <= participants::MOST && word != KEPT
    }

    /// Gives back all permits of a semaphore that a participant holds or keeps; answers how many.
    pub(crate) fn free_permits(&self, semaphore: u32, of: Index) -> Result<u32, ()> {
        let at = self.place(semaphore);
        let mut freed = 0;
        for permit in 0..self.entry(semaphore).map_or(0, Entry::permits) as u32 {
            let word = self.permit(at, permit);
            let before = word.load(Ordering::Acquire);
            if !Self::is_possible(before) {
                return Err(());
            }
            if before != ABSENT && before & !KEPT == held_by(of) {
                let done = word.compare_exchange(before, FREE, Ordering::AcqRel, Ordering::Relaxed);
                freed += u32::from(done.is_ok());
            }
        }
        Ok(freed)
    }
}

impl Semaphore {
    pub(crate) fn of(core: &Arc<Core>, number: u32) -> Self {
        let permits = core.entry(number).map_or(0, Entry::permits) as u32;
        Self { core: Arc::clone(core), number, at: core.place(number), permits }
    }

    /// The name it has in its family.
    pub fn name(&self) -> &str {
        self.core.name_of(self.number)
    }

    /// Takes a permit, waiting for one as long as it takes.
    ///
    /// # Errors
    /// [`AcquireError::Interrupted`], [`AcquireError::Fault`].
    #[inline]
    pub fn acquire(&self) -> Result<Permit, AcquireError> {
        self.take(u64::MAX).map_err(|stop| match stop {
            Stop::Fault(fault) => AcquireError::Fault(fault),
            _ => AcquireError::Interrupted,
        })
    }

    /// Takes a permit if there is one now.
    ///
    /// # Errors
    /// [`TryAcquireError::Held`] where [`Semaphore::acquire`] would wait, [`TryAcquireError::Fault`].
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, TryAcquireError> {
        self.take(0).map_err(|stop| match stop {
            Stop::Fault(fault) => TryAcquireError::Fault(fault),
            _ => TryAcquireError::Held,
        })
    }

    /// Takes a permit, waiting for one at most so long.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Timeout`], [`AcquireTimeoutError::Interrupted`], [`AcquireTimeoutError::Fault`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit, AcquireTimeoutError> {
        self.take(deadline(timeout)).map_err(|stop| match stop {
            Stop::Ended(Ended::Interrupted) => AcquireTimeoutError::Interrupted,
            Stop::Fault(fault) => AcquireTimeoutError::Fault(fault),
            _ => AcquireTimeoutError::Timeout,
        })
    }

    /// Gives back a permit that this process has kept; where it keeps none, brings back one that was used up, or
    /// adds one where the semaphore is not bounded.
    ///
    /// # Errors
    /// [`ReleaseError::NotHeld`] where there are as many permits as there may be; [`ReleaseError::Fault`].
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.core.check()?;
        let me = self.core.join()?;
        for from in [held_by(me) | KEPT, ABSENT] {
            for permit in 0..self.permits {
                let word = self.core.permit(self.at, permit);
                if word.load(Ordering::Relaxed) == from
                    && word.compare_exchange(from, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                {
                    self.freed(permit);
                    return Ok(());
                }
            }
        }
        Err(ReleaseError::NotHeld)
    }

    /// How many permits are free now.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn value(&self) -> Result<u32, Fault> {
        self.core.check()?;
        let is_free = |&permit: &u32| self.core.permit(self.at, permit).load(Ordering::Acquire) == FREE;
        Ok((0..self.permits).filter(is_free).count() as u32)
    }

    /// How many permits it begins with.
    pub fn permits(&self) -> u32 {
        self.core.entry(self.number).map_or(0, |entry| entry.number as u32)
    }

    /// The processes that hold or keep a permit, one entry a permit, and what each calls itself, else its program's
    /// name.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn holders(&self) -> Result<Vec<(u32, String)>, Fault> {
        self.core.check()?;
        let holder = |permit: u32| {
            let word = self.core.permit(self.at, permit).load(Ordering::Acquire);
            let holder = (word != ABSENT).then_some(word & !KEPT).filter(|word| *word != FREE)?;
            self.core.participant_called(holder - 1)
        };
        Ok((0..self.permits).filter_map(holder).collect())
    }

    /// Whether it never has more permits than it began with.
    pub fn is_bounded(&self) -> bool {
        self.core.entry(self.number).is_some_and(|entry| entry.what == What::BoundedSemaphore)
    }

    #[inline(always)]
    fn take(&self, until_ns: u64) -> Result<Permit, Stop> {
        self.core.check()?;
        let me = self.core.join()?;
        let permit = match self.take_now(me)? {
            Some(permit) => permit,
            None if until_ns == 0 => return Err(Stop::Ended(Ended::TimedOut)),
            None => self.take_later(me, until_ns)?,
        };
        Ok(self.hold(permit, me))
    }

    #[inline(always)]
    pub(super) fn hold(&self, permit: u32, participant: Index) -> Permit {
        Permit { semaphore: self.clone(), permit, participant, pid: memory::this_process() }
    }

    #[cold]
    fn take_later(&self, me: Index, until_ns: u64) -> Result<u32, Stop> {
        let attempt = || {
            self.core.check()?;
            Ok(match self.take_now(me)? {
                Some(permit) => Try::Done(permit),
                None => Try::NotBefore(u64::MAX),
            })
        };
        self.core.wait(self.number, until_ns, || self.at + SIDE, attempt)
    }

    #[inline(always)]
    pub(super) fn take_now(&self, me: Index) -> Result<Option<u32>, Fault> {
        let hint = self.core.u32(self.at + HINT).load(Ordering::Relaxed).min(self.permits);
        for permit in (hint..self.permits).chain(0..hint) {
            let word = self.core.permit(self.at, permit);
            let before = word.load(Ordering::Relaxed);
            if before == FREE
                && word.compare_exchange(FREE, held_by(me), Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                return Ok(Some(permit));
            }
            if !Core::is_possible(before) {
                return Err(self.core.impossible());
            }
        }
        Ok(None)
    }

    #[inline(always)]
    fn freed(&self, permit: u32) {
        self.core.u32(self.at + HINT).store(permit, Ordering::Relaxed);
        self.core.changed_for_one(self.at);
    }
}

/// Semaphores by themselves, for programs that need no family.
impl Semaphore {
    /// Makes one with so many permits that has no place in the file system.
    ///
    /// # Errors
    /// As [`Family::create_anonymous`](crate::sync::Family::create_anonymous).
    pub fn create_anonymous(name: &str, permits: u32) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create_anonymous(name, &alone(permits))?, 0))
    }

    /// Makes one with so many permits in a new file.
    ///
    /// # Errors
    /// As [`Family::create`](crate::sync::Family::create).
    pub fn create(path: impl AsRef<Path>, permits: u32) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create(path.as_ref(), &alone(permits))?, 0))
    }

    /// Opens the only one that a file holds.
    ///
    /// # Errors
    /// As [`Family::open`](crate::sync::Family::open); [`OpenError::WrongKind`] where there is none, or more than
    /// one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let core = Core::open(path.as_ref())?;
        let number = core.only(&[What::Semaphore, What::BoundedSemaphore])?;
        Ok(Self::of(&core, number))
    }

    /// The family it is in.
    pub fn family(&self) -> crate::sync::Family {
        crate::sync::Family::of(&self.core)
    }
}

fn alone(permits: u32) -> SyncOptions {
    SyncOptions { semaphores: vec![("semaphore".into(), permits)], ..Default::default() }
}

/// One permit in hand; letting it go out of scope gives it back.
///
/// It may be given to another thread. The child of a fork has none of its parent's permits.
#[derive(Debug)]
#[must_use = "the permit is given back at once where it is not kept"]
pub struct Permit {
    semaphore: Semaphore,
    permit: u32,
    participant: Index,
    pid: u32,
}

impl Permit {
    /// Leaves the permit taken by this process after this value is gone, until [`Semaphore::release`] or the
    /// process's end.
    pub fn keep(self) {
        self.become_(held_by(self.participant) | KEPT);
    }

    /// Uses the permit up: it is free again only when somebody calls [`Semaphore::release`], and not by the
    /// death of this process.
    pub fn consume(self) {
        self.become_(ABSENT);
    }

    /// Gives the permit back, as dropping it does.
    pub fn release(self) {}

    /// Afterwards the drop finds a word that is not its own, and does nothing.
    fn become_(&self, after: u32) -> bool {
        let word = self.semaphore.core.permit(self.semaphore.at, self.permit);
        let before = held_by(self.participant);
        self.pid == memory::this_process()
            && word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.become_(FREE) {
            self.semaphore.freed(self.permit);
        }
    }
}
