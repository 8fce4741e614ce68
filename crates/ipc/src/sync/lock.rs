//! Locks, plain and recursive.
//!
//! ```text
//!   owner + 1:16 | depth:16 | died:1 | generation:31
//!
//!   free ─ acquire ─► owner, depth 1 ─ release ─► free
//!                      │    ▲ └─ acquire by the owner of a recursive one: depth + 1, release: depth - 1
//!                      └─ owner found dead ─► free, died ─ acquire ─► the new owner is told
//! ```
//!
//! Each arrow is one compare-and-swap. The generation goes up with each new owner, so a word seen twice is the
//! same hold. Beside the word stand the pid and label of the holder that died, written before the word says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::atomic::Ordering;
use crate::errors::{Fault, OpenError};
use crate::sync::actors::{Actor, Whose};
use crate::sync::deadlock::{Deadlock, Vigil};
use crate::sync::directory::{LABEL, What};
use crate::sync::errors::{LockError, LockTimeoutError, TryLockError};
use crate::sync::guard::Guard;
use crate::sync::inner::{Core, SIDE, Stop, deadline};
use crate::sync::options::SyncOptions;
use crate::waiting::{Ended, Try};

const DEAD_PID: usize = 8;
const DEAD_LABEL: usize = 64;

/// A lock's word taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

const DIED: u64 = 1 << 31;
const GENERATION: u64 = DIED - 1;
const ONE_DEEPER: u64 = 1 << 32;
const MOST_DEEP: u64 = 0xffff;

impl Word {
    /// Who holds it, of so many actors; an error for what nobody can have written.
    pub(crate) fn owner(self, actors: u32) -> Result<Option<Actor>, ()> {
        match (self.0 >> 48) as u32 {
            0 => Ok(None),
            owner if owner <= actors && self.depth() > 0 => Ok(Some(owner - 1)),
            _ => Err(()),
        }
    }

    fn depth(self) -> u64 {
        self.0 >> 32 & MOST_DEEP
    }

    fn is_free(self) -> bool {
        self.0 >> 48 == 0
    }

    #[inline(always)]
    fn taken(self, by: Actor, depth: u64) -> Self {
        Self(u64::from(by + 1) << 48 | depth << 32 | self.0.wrapping_add(1) & GENERATION)
    }

    fn freed(self) -> Self {
        Self(self.0 & GENERATION)
    }

    /// Free, with the note that the holder died.
    fn orphaned(self) -> Self {
        Self(self.0 & GENERATION | DIED)
    }
}

/// What one try to take a lock found.
pub(super) enum Took {
    /// It is ours; whether its former holder died with it.
    Yes {
        died: bool,
    },
    /// We hold it already.
    Mine,
    Held,
}

/// The holder of a lock that died with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadHolder {
    /// Its process id, which may be used again by now.
    pub pid: u32,
    /// What it called itself ([`Family::set_label`](crate::sync::Family::set_label)), if it did.
    pub name: Option<String>,
}

impl Core {
    #[inline(always)]
    fn lock_word(&self, at: usize) -> &crate::atomic::AtomicU64 {
        self.u64(at)
    }

    pub(crate) fn lock_state(&self, lock: u32) -> Word {
        Word(self.lock_word(self.place(lock)).load(Ordering::Acquire))
    }

    /// Who holds a lock.
    pub(crate) fn holder(&self, lock: u32) -> Result<Option<Actor>, Fault> {
        self.lock_state(lock).owner(self.layout.most_actors).map_err(|()| self.impossible())
    }

    #[inline(always)]
    pub(super) fn take(&self, at: usize, me: Actor, depth: u64) -> Result<Took, Fault> {
        let word = self.lock_word(at);
        let mut before = Word(word.load(Ordering::Relaxed));
        while before.is_free() {
            let after = before.taken(me, depth);
            match word.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(Took::Yes { died: before.0 & DIED != 0 }),
                Err(now) => before = Word(now),
            }
        }
        match before.owner(self.layout.most_actors) {
            Ok(owner) if owner == Some(me) => Ok(Took::Mine),
            Ok(_) => Ok(Took::Held),
            Err(()) => Err(self.impossible()),
        }
    }

    #[cold]
    fn dead_holder(&self, at: usize) -> DeadHolder {
        let pid = self.u64(at + DEAD_PID).load(Ordering::Acquire) as u32;
        DeadHolder { pid, name: self.text(at + DEAD_LABEL) }
    }

    /// Takes a lock `depth` deep, waiting until `until_ns`. A wait without an end is given up when it can have
    /// none.
    #[cold]
    pub(crate) fn take_later(
        self: &Arc<Self>,
        lock: u32,
        me: Actor,
        depth: u64,
        until_ns: u64,
    ) -> Result<Option<DeadHolder>, Stop> {
        let at = self.place(lock);
        let endures = until_ns == u64::MAX;
        let vigil = Vigil::new(self, me, lock, endures);
        let attempt = || {
            self.check()?;
            match self.take(at, me, depth)? {
                Took::Yes { died } => Ok(Try::Done(died.then(|| self.dead_holder(at)))),
                Took::Mine if endures => Err(Stop::Deadlock(Deadlock::with_oneself(self, me, lock))),
                Took::Mine | Took::Held => vigil.look().map(Try::NotBefore),
            }
        };
        let side = || {
            vigil.announce();
            at + SIDE
        };
        self.wait(lock, until_ns, side, attempt)
    }

    /// Lets go of one level, or of all. Answers how deep it was held; zero where it was not `me`'s.
    #[inline(always)]
    pub(crate) fn release(&self, at: usize, me: Actor, all: bool) -> u64 {
        let word = self.lock_word(at);
        let before = Word(word.load(Ordering::Relaxed));
        if before.0 >> 48 != u64::from(me + 1) {
            return 0;
        }
        let depth = before.depth();
        let after = if depth > 1 && !all { Word(before.0 - ONE_DEEPER) } else { before.freed() };
        // Nobody else changes the word while we live and hold it.
        if word.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            self.impossible();
        } else if after.is_free() {
            self.changed_for_one(at);
        }
        depth
    }

    /// Whether an actor holds any lock.
    pub(crate) fn holds_any_lock(&self, actor: Actor) -> bool {
        self.locks().any(|lock| self.lock_state(lock).owner(self.layout.most_actors) == Ok(Some(actor)))
    }

    /// The numbers of all locks.
    pub(crate) fn locks(&self) -> impl Iterator<Item = u32> {
        (0..self.object_reach()).filter(|&number| self.is_lock(number))
    }

    /// Whether an object has this number and is a lock.
    pub(crate) fn is_lock(&self, number: u32) -> bool {
        let entry = self.entry(number);
        entry.is_some_and(|entry| matches!(entry.what, What::Lock | What::RLock))
    }

    /// Frees the lock if one of the dead holds it, and says so to whoever takes it next.
    pub(crate) fn hand_on(&self, lock: u32, dead: &[Actor], whose: Whose) -> Result<bool, ()> {
        let at = self.place(lock);
        let before = self.lock_state(lock);
        let Some(_) = before.owner(self.layout.most_actors)?.filter(|owner| dead.contains(owner)) else {
            return Ok(false);
        };
        // Read only by who takes it after us, and only we write while the dead one holds it.
        let label = self.label(whose.participant).unwrap_or_default();
        self.u64(at + DEAD_PID).store(u64::from(whose.pid), Ordering::Release);
        self.segment.memory().write(at + DEAD_LABEL + 8, &label.as_bytes()[..label.len().min(LABEL - 8)]);
        self.u32(at + DEAD_LABEL).store(label.len() as u32, Ordering::Release);
        let after = before.orphaned();
        let word = self.lock_word(at);
        Ok(word.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }
}

/// A lock: at most one thread of all processes holds it.
///
/// Whoever holds it when its process dies, holds it no longer: the next to acquire gets it and is told
/// ([`Guard::recovered`]). A process that is merely stopped keeps what it holds. The child of a fork holds
/// nothing of its parent's.
///
/// ```
/// let lock = ipc::sync::Lock::create_anonymous("ledger")?;
/// let guard = lock.acquire()?;
/// assert!(lock.try_acquire().is_err());
/// drop(guard);
/// let guard = lock.acquire()?;
/// assert!(guard.recovered().is_none(), "nobody died with it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lock {
    handle: Handle,
}

/// A lock that the thread that holds it may acquire again; it is free when as many guards are gone.
///
/// Otherwise as [`Lock`]. Holding it 65,535 deep is the most; beyond that acquiring panics.
#[derive(Debug, Clone)]
pub struct RLock {
    handle: Handle,
}

#[derive(Debug, Clone)]
struct Handle {
    core: Arc<Core>,
    lock: u32,
    at: usize,
}

impl Handle {
    fn of(core: &Arc<Core>, lock: u32) -> Self {
        Self { core: Arc::clone(core), lock, at: core.place(lock) }
    }

    /// The guard where nothing stands in the way: everything else goes by [`Handle::acquire`].
    #[inline(always)]
    fn acquire_free(&self, recursive: bool) -> Option<Guard> {
        let me = self.core.known_actor()?;
        let word = self.core.lock_word(self.at);
        let before = Word(word.load(Ordering::Relaxed));
        if recursive && before.0 >> 48 == u64::from(me + 1) {
            self.core.check().ok()?;
            return Some(self.deeper(me, before));
        }
        let is_plain = before.is_free() && before.0 & DIED == 0 && self.core.check().is_ok();
        let after = before.taken(me, 1);
        let is_taken =
            is_plain && word.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        is_taken.then(|| self.guard(me, None))
    }

    #[cold]
    #[inline(never)]
    fn acquire(&self, recursive: bool, until_ns: u64) -> Result<Guard, Stop> {
        let me = self.core.actor()?;
        self.core.check()?;
        match self.core.take(self.at, me, 1)? {
            Took::Yes { died: false } => Ok(self.guard(me, None)),
            Took::Yes { died: true } => Ok(self.guard(me, Some(Box::new(self.core.dead_holder(self.at))))),
            Took::Mine if recursive => Ok(self.deeper(me, self.core.lock_state(self.lock))),
            Took::Mine | Took::Held if until_ns == 0 => Err(Stop::Ended(Ended::TimedOut)),
            Took::Mine | Took::Held => {
                let recovered = self.core.take_later(self.lock, me, 1, until_ns)?;
                Ok(self.guard(me, recovered.map(Box::new)))
            }
        }
    }

    #[inline(always)]
    fn deeper(&self, me: Actor, before: Word) -> Guard {
        assert!(before.depth() < MOST_DEEP, "a recursive lock held 65,535 deep");
        self.core.lock_word(self.at).store(before.0 + ONE_DEEPER, Ordering::Release);
        self.guard(me, None)
    }

    #[inline(always)]
    fn guard(&self, actor: Actor, recovered: Option<Box<DeadHolder>>) -> Guard {
        Guard::of(&self.core, self.at, actor, recovered)
    }
}

macro_rules! lock_methods {
    ($type:ident, $recursive:literal, $again:literal) => {
        impl $type {
            pub(crate) fn of(core: &Arc<Core>, lock: u32) -> Self {
                Self { handle: Handle::of(core, lock) }
            }

            /// The name it has in its family.
            pub fn name(&self) -> &str {
                self.handle.core.name_of(self.handle.lock)
            }

            /// Takes the lock, waiting for it as long as it takes.
            #[doc = $again]
            ///
            /// # Errors
            /// [`LockError::Deadlock`] where waiting could never end, [`LockError::Interrupted`],
            /// [`LockError::Fault`].
            #[inline]
            pub fn acquire(&self) -> Result<Guard, LockError> {
                if let Some(guard) = self.handle.acquire_free($recursive) {
                    return Ok(guard);
                }
                self.handle.acquire($recursive, u64::MAX).map_err(|stop| match stop {
                    Stop::Deadlock(deadlock) => LockError::Deadlock(Box::new(deadlock)),
                    Stop::Fault(fault) => LockError::Fault(fault),
                    Stop::Ended(_) | Stop::Broken => LockError::Interrupted,
                })
            }

            /// Takes the lock if it is free now.
            ///
            /// # Errors
            /// [`TryLockError::Held`] where [`Self::acquire`] would wait, [`TryLockError::Fault`].
            #[inline]
            pub fn try_acquire(&self) -> Result<Guard, TryLockError> {
                if let Some(guard) = self.handle.acquire_free($recursive) {
                    return Ok(guard);
                }
                self.handle.acquire($recursive, 0).map_err(|stop| match stop {
                    Stop::Fault(fault) => TryLockError::Fault(fault),
                    _ => TryLockError::Held,
                })
            }

            /// Takes the lock, waiting for it at most so long. Such a wait is never called a deadlock, since it
            /// ends by itself.
            ///
            /// # Errors
            /// [`LockTimeoutError::Timeout`], [`LockTimeoutError::Interrupted`], [`LockTimeoutError::Fault`].
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Guard, LockTimeoutError> {
                if let Some(guard) = self.handle.acquire_free($recursive) {
                    return Ok(guard);
                }
                self.handle.acquire($recursive, deadline(timeout)).map_err(|stop| match stop {
                    Stop::Ended(Ended::Interrupted) => LockTimeoutError::Interrupted,
                    Stop::Fault(fault) => LockTimeoutError::Fault(fault),
                    _ => LockTimeoutError::Timeout,
                })
            }

            /// Whether somebody holds it now.
            ///
            /// # Errors
            /// [`Fault`] where the family cannot be used.
            pub fn is_held(&self) -> Result<bool, Fault> {
                self.handle.core.check()?;
                Ok(self.handle.core.holder(self.handle.lock)?.is_some())
            }
        }
    };
}

lock_methods!(Lock, false, "A thread that holds it already is told so: it would wait for itself.");
lock_methods!(RLock, true, "A thread that holds it already gets it once more.");

impl RLock {
    /// Whether this thread holds it, or one that this thread acts for
    /// ([`Family::act_for`](crate::sync::Family::act_for)): that one holds it as long as it waits for this thread's
    /// end, so that this thread is under the lock without acquiring it.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn is_held_for_me(&self) -> Result<bool, Fault> {
        let Handle { core, lock, .. } = &self.handle;
        core.check()?;
        let me = core.actor()?;
        Ok(core.holder(*lock)?.is_some_and(|holder| core.acts_for(me, holder)))
    }
}

macro_rules! lone_lock {
    ($type:ident, $what:expr, $options:expr) => {
        /// A lock by itself, for programs that need no family.
        impl $type {
            /// Makes one that has no place in the file system.
            ///
            /// # Errors
            /// As [`Family::create_anonymous`](crate::sync::Family::create_anonymous).
            pub fn create_anonymous(name: &str) -> Result<Self, OpenError> {
                Ok(Self::of(&Core::create_anonymous(name, &$options)?, 0))
            }

            /// Makes one in a new file.
            ///
            /// # Errors
            /// As [`Family::create`](crate::sync::Family::create).
            pub fn create(path: impl AsRef<Path>) -> Result<Self, OpenError> {
                Ok(Self::of(&Core::create(path.as_ref(), &$options)?, 0))
            }

            /// Opens the only one that a file holds.
            ///
            /// # Errors
            /// As [`Family::open`](crate::sync::Family::open); [`OpenError::WrongKind`] where there is none, or
            /// more than one.
            pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
                let core = Core::open(path.as_ref())?;
                let number = core.only(&[$what])?;
                Ok(Self::of(&core, number))
            }

            /// The family it is in.
            pub fn family(&self) -> crate::sync::Family {
                crate::sync::Family::of(&self.handle.core)
            }
        }
    };
}

lone_lock!(Lock, What::Lock, SyncOptions { locks: vec!["lock".into()], ..Default::default() });
lone_lock!(RLock, What::RLock, SyncOptions { rlocks: vec!["lock".into()], ..Default::default() });
