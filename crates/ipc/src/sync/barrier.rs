//! Barriers: nobody passes until as many have come as are waited for.
//!
//! ```text
//!   the barrier:  generation:31 | broken:1 | arrived:32
//!   an actor:     used:1 | broken:1 | barrier:14 | 0:17 | generation:31
//!
//!   arrived 0 ─ wait ─► 1 ─ … ─► all ─► generation + 1, arrived 0
//!                       └─ a party dies, gives up, abort ─► broken ─ reset ─► generation + 1, arrived 0
//! ```
//!
//! An actor notes that it comes before it is counted, so that one that dies in between is taken for arrived: the
//! barrier breaks once too often rather than waiting for the dead. Reset breaks first, then marks each that waits,
//! and only then moves the generation on: who finds it moved and no mark has passed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::errors::{Fault, OpenError};
use crate::sync::actors::Actor;
use crate::sync::directory::What;
use crate::sync::errors::{BarrierError, BarrierTimeoutError};
use crate::sync::inner::{Core, SIDE, Stop, deadline};
use crate::sync::options::SyncOptions;
use crate::waiting::{Ended, Try};

const BROKEN: u64 = 1 << 32;
const ARRIVED: u64 = BROKEN - 1;
const GENERATION: u64 = (1 << 31) - 1;

const MARK_USED: u64 = 1 << 63;
const MARK_BROKEN: u64 = 1 << 62;

fn generation(word: u64) -> u64 {
    word >> 33
}

fn next_generation(word: u64) -> u64 {
    ((generation(word) + 1) & GENERATION) << 33
}

fn mark(barrier: u32, generation: u64) -> u64 {
    MARK_USED | u64::from(barrier) << 48 | generation
}

/// A place where a fixed number of parties wait for each other, again and again.
///
/// A party that dies while it waits, gives up (timeout, signal) or calls [`Barrier::abort`] breaks it: everybody
/// who waits or comes gets an error until somebody resets it. A party that dies elsewhere is not missed: another
/// may come in its place.
///
/// ```
/// let line = ipc::sync::Barrier::create_anonymous("line", 2)?;
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| line.wait().unwrap());
///     let mine = line.wait().unwrap();
///     assert!(mine.is_leader() != other.join().unwrap().is_leader());
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Barrier {
    core: Arc<Core>,
    number: u32,
    at: usize,
}

/// What each party is told when all pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// How many had come before this one: each of 0 to parties - 1 once.
    pub index: u32,
}

impl Passed {
    /// Whether this is the one party of all that passed together to do what only one should: the first that came.
    pub fn is_leader(self) -> bool {
        self.index == 0
    }
}

impl Core {
    /// Breaks a barrier, if it is still at this generation.
    fn break_barrier(&self, at: usize, expected: u64) {
        let word = self.u64(at);
        let mut before = word.load(Ordering::Acquire);
        while generation(before) == expected && before & BROKEN == 0 {
            match word.compare_exchange(before, before | BROKEN, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.changed_for_all(at),
                Err(now) => before = now,
            }
        }
    }

    /// Breaks the barrier that an actor that died waits at.
    pub(crate) fn desert_barrier(&self, actor: Actor) -> Result<(), ()> {
        let mark = self.arrived_word(actor).load(Ordering::Acquire);
        if mark & MARK_USED == 0 {
            return Ok(());
        }
        let barrier = (mark >> 48) as u32 & 0x3fff;
        if self.entry(barrier).is_none_or(|entry| entry.what != What::Barrier) {
            return Err(());
        }
        self.break_barrier(self.place(barrier), mark & GENERATION);
        Ok(())
    }
}

impl Barrier {
    pub(crate) fn of(core: &Arc<Core>, number: u32) -> Self {
        Self { core: Arc::clone(core), number, at: core.place(number) }
    }

    /// The name it has in its family.
    pub fn name(&self) -> &str {
        self.core.name_of(self.number)
    }

    /// How many parties it waits for.
    pub fn parties(&self) -> u32 {
        self.core.entry(self.number).map_or(1, |entry| entry.number as u32)
    }

    /// How many wait now.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn waiting(&self) -> Result<u32, Fault> {
        self.core.check()?;
        let word = self.word().load(Ordering::Acquire);
        Ok(if word & BROKEN == 0 { (word & ARRIVED) as u32 } else { 0 })
    }

    /// Whether it is broken.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn is_broken(&self) -> Result<bool, Fault> {
        self.core.check()?;
        Ok(self.word().load(Ordering::Acquire) & BROKEN != 0)
    }

    /// Waits until all have come.
    ///
    /// # Errors
    /// [`BarrierError::Broken`], [`BarrierError::Interrupted`], [`BarrierError::Fault`].
    pub fn wait(&self) -> Result<Passed, BarrierError> {
        self.wait_until(u64::MAX).map_err(|stop| match stop {
            Stop::Ended(_) => BarrierError::Interrupted,
            Stop::Fault(fault) => BarrierError::Fault(fault),
            Stop::Broken | Stop::Deadlock(_) => BarrierError::Broken,
        })
    }

    /// Waits until all have come, at most so long; then it breaks for all.
    ///
    /// # Errors
    /// [`BarrierTimeoutError::Timeout`], else as [`Barrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Passed, BarrierTimeoutError> {
        self.wait_until(deadline(timeout)).map_err(|stop| match stop {
            Stop::Ended(Ended::TimedOut) => BarrierTimeoutError::Timeout,
            Stop::Ended(Ended::Interrupted) => BarrierTimeoutError::Interrupted,
            Stop::Fault(fault) => BarrierTimeoutError::Fault(fault),
            Stop::Broken | Stop::Deadlock(_) => BarrierTimeoutError::Broken,
        })
    }

    /// Breaks it, for all who wait and come, until it is reset.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn abort(&self) -> Result<(), Fault> {
        self.core.check()?;
        self.core.join()?;
        self.core.break_barrier(self.at, generation(self.word().load(Ordering::Acquire)));
        Ok(())
    }

    /// Makes it as new. Those who wait now get [`BarrierError::Broken`].
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn reset(&self) -> Result<(), Fault> {
        self.core.check()?;
        self.core.join()?;
        let expected = generation(self.word().load(Ordering::Acquire));
        self.core.break_barrier(self.at, expected);
        let before = self.word().load(Ordering::Acquire);
        if generation(before) != expected || before & BROKEN == 0 {
            // All came, or another reset it, in the meantime: nobody waits for that generation any more.
            return Ok(());
        }
        let waiting = mark(self.number, expected);
        for actor in 0..self.core.actor_reach() {
            let word = self.core.arrived_word(actor);
            let after = waiting | MARK_BROKEN;
            let _ = word.compare_exchange(waiting, after, Ordering::AcqRel, Ordering::Relaxed);
        }
        let after = next_generation(before);
        if self.word().compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.core.changed_for_all(self.at);
        }
        Ok(())
    }

    fn word(&self) -> &AtomicU64 {
        self.core.u64(self.at)
    }

    fn wait_until(&self, until_ns: u64) -> Result<Passed, Stop> {
        self.core.check()?;
        let me = self.core.actor()?;
        let arrived = self.core.arrived_word(me);
        let parties = u64::from(self.parties());
        let outcome = loop {
            let before = self.word().load(Ordering::Acquire);
            let index = before & ARRIVED;
            if index >= parties {
                return Err(self.core.impossible().into());
            }
            if before & BROKEN != 0 {
                break Err(Stop::Broken);
            }
            arrived.store(mark(self.number, generation(before)), Ordering::SeqCst);
            let is_last = index + 1 == parties;
            let after = if is_last { next_generation(before) } else { before + 1 };
            if self.word().compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            if is_last {
                self.core.changed_for_all(self.at);
                break Ok(index);
            }
            break self.wait_for_the_others(me, generation(before), until_ns).map(|()| index);
        };
        arrived.store(0, Ordering::Release);
        outcome.map(|index| Passed { index: index as u32 })
    }

    fn wait_for_the_others(&self, me: Actor, came: u64, until_ns: u64) -> Result<(), Stop> {
        let attempt = || {
            self.core.check()?;
            let word = self.word().load(Ordering::Acquire);
            let is_marked = self.core.arrived_word(me).load(Ordering::Acquire) & MARK_BROKEN != 0;
            if is_marked || generation(word) == came && word & BROKEN != 0 {
                return Err(Stop::Broken);
            }
            Ok(if generation(word) == came { Try::NotBefore(u64::MAX) } else { Try::Done(()) })
        };
        let waited = self.core.wait(self.number, until_ns, || self.at + SIDE, attempt);
        match waited {
            Err(Stop::Ended(ended)) => {
                self.core.break_barrier(self.at, came);
                // All may have come at the last moment.
                match attempt() {
                    Ok(Try::Done(())) => Ok(()),
                    _ => Err(Stop::Ended(ended)),
                }
            }
            other => other,
        }
    }
}

/// Barriers by themselves, for programs that need no family.
impl Barrier {
    /// Makes one for so many parties that has no place in the file system.
    ///
    /// # Errors
    /// As [`Family::create_anonymous`](crate::sync::Family::create_anonymous).
    pub fn create_anonymous(name: &str, parties: u32) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create_anonymous(name, &alone(parties))?, 0))
    }

    /// Makes one for so many parties in a new file.
    ///
    /// # Errors
    /// As [`Family::create`](crate::sync::Family::create).
    pub fn create(path: impl AsRef<Path>, parties: u32) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create(path.as_ref(), &alone(parties))?, 0))
    }

    /// Opens the only one that a file holds.
    ///
    /// # Errors
    /// As [`Family::open`](crate::sync::Family::open); [`OpenError::WrongKind`] where there is none, or more than
    /// one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let core = Core::open(path.as_ref())?;
        let number = core.only(&[What::Barrier])?;
        Ok(Self::of(&core, number))
    }

    /// The family it is in.
    pub fn family(&self) -> crate::sync::Family {
        crate::sync::Family::of(&self.core)
    }
}

fn alone(parties: u32) -> SyncOptions {
    SyncOptions { barriers: vec![("barrier".into(), parties)], ..Default::default() }
}
