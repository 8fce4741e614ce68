//! Conditions: waiting, without a lock, for news of what the lock protects.
//!
//! Each waiting actor has a word of its own, so a notification has one receiver, known by name:
//!
//! ```text
//!   state:2 | condition:14 | ticket:48
//!
//!   Idle ─ wait ─► Waiting ─ notify ─► Notified ─ has the lock again ─► Idle
//!                     └─ gives up ─► Idle
//! ```
//!
//! The smallest ticket is notified first. A receiver that dies while Notified passes its notification on, as does
//! one that cannot get the lock again.

use std::sync::Arc;
use std::time::Duration;

use crate::atomic::{Ordering, barrier_after_rmw};
use crate::errors::Fault;
use crate::sync::actors::Actor;
use crate::sync::errors::LockError;
use crate::sync::guard::Guard;
use crate::sync::inner::{Core, Stop, deadline};
use crate::waiting::{Ended, Try};

const STATE: u64 = 3 << 62;
const WAITING: u64 = 1 << 62;
const NOTIFIED: u64 = 2 << 62;
const TICKET: u64 = (1 << 48) - 1;

fn word(state: u64, condition: u32, ticket: u64) -> u64 {
    state | u64::from(condition) << 48 | ticket & TICKET
}

fn condition_of(word: u64) -> u32 {
    (word >> 48) as u32 & 0x3fff
}

/// A place to wait, with a lock, for news from others that hold the lock.
///
/// A wait lets go of the lock, sleeps until notified, and takes the lock again. Look at what you wait for in a
/// loop: a death among those notified may notify one more than was asked for.
///
/// ```
/// let options = ipc::sync::SyncOptions {
///     locks: vec!["door".into()],
///     conditions: vec!["opened".into()],
///     values: vec![("open".into(), 0)],
///     ..Default::default()
/// };
/// let family = ipc::sync::Family::create_anonymous("house", &options)?;
/// let (door, opened) = (family.lock("door")?, family.condition("opened")?);
/// let open = family.value("open")?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let _guard = door.acquire().unwrap();
///         open.set(1);
///         opened.notify_all().unwrap();
///     });
///     let mut guard = door.acquire()?;
///     while open.get() == 0 {
///         guard = opened.wait(guard)?;
///     }
///     Ok::<_, ipc::sync::LockError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Condition {
    core: Arc<Core>,
    number: u32,
}

impl Core {
    /// Notifies up to `most` of those who wait for a condition, the longest waiting first; answers how many.
    pub(crate) fn notify(&self, condition: u32, most: u32) -> u32 {
        // Who comes later waits for later news.
        let now = self.u64(self.place(condition)).load(Ordering::SeqCst) & TICKET;
        let mut waiting: Vec<(u64, Actor, u64)> = (0..self.actor_reach())
            .filter_map(|actor| {
                let word = self.parked_word(actor).load(Ordering::SeqCst);
                let is_its = word & STATE == WAITING && condition_of(word) == condition;
                // How long ago it came, which stays right when the tickets have gone around.
                let age = now.wrapping_sub(word) & TICKET;
                is_its.then_some((age, actor, word))
            })
            .collect();
        waiting.sort_unstable_by_key(|&(age, ..)| std::cmp::Reverse(age));
        let mut notified = 0;
        for (_, actor, before) in waiting {
            if notified == most {
                break;
            }
            let after = before & !STATE | NOTIFIED;
            let word = self.parked_word(actor);
            if word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                barrier_after_rmw();
                self.side(self.actor_side(actor)).wake_all_if_waited_for();
                notified += 1;
            }
        }
        notified
    }

    /// Whether an actor has a notification that it has not acted on; for which condition.
    pub(crate) fn undelivered(&self, actor: Actor) -> Option<u32> {
        let word = self.parked_word(actor).load(Ordering::Acquire);
        (word & STATE == NOTIFIED).then(|| condition_of(word))
    }

    /// Ends an actor's wait, and gives a notification it has not acted on to another.
    pub(crate) fn pass_on(&self, actor: Actor) -> Result<(), ()> {
        let word = self.parked_word(actor);
        // A wait that is over can be notified no more.
        let before = word.load(Ordering::Acquire);
        let is_withdrawn = before & STATE == WAITING
            && word.compare_exchange(before, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !is_withdrawn && let Some(condition) = self.undelivered(actor) {
            if !self.is_condition(condition) {
                return Err(());
            }
            // Another is told first: a death in between tells one too many, never one too few.
            self.notify(condition, 1);
            word.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn is_condition(&self, number: u32) -> bool {
        let entry = self.entry(number);
        entry.is_some_and(|entry| entry.what == crate::sync::directory::What::Condition)
    }
}

impl Condition {
    pub(crate) fn of(core: &Arc<Core>, number: u32) -> Self {
        Self { core: Arc::clone(core), number }
    }

    /// The name it has in its family.
    pub fn name(&self) -> &str {
        self.core.name_of(self.number)
    }

    /// The family it is in.
    pub fn family(&self) -> crate::sync::Family {
        crate::sync::Family::of(&self.core)
    }

    /// Lets go of the lock, waits to be notified as long as it takes, and takes the lock again, as deep as it was
    /// held.
    ///
    /// # Errors
    /// As [`Lock::acquire`](crate::sync::Lock::acquire). The lock is not held then, and a notification that had
    /// come already has gone to another waiter.
    ///
    /// # Panics
    /// If the guard is of another family, or of the process that this one was forked from.
    pub fn wait(&self, guard: Guard) -> Result<Guard, LockError> {
        self.wait_until(guard, u64::MAX).map(|(guard, _)| guard)
    }

    /// As [`Condition::wait`], waiting to be notified at most so long; then the lock is taken again however long
    /// that takes. Says whether a notification came.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    ///
    /// # Panics
    /// As [`Condition::wait`].
    pub fn wait_timeout(&self, guard: Guard, timeout: Duration) -> Result<(Guard, bool), LockError> {
        self.wait_until(guard, deadline(timeout))
    }

    /// Notifies the one that has waited longest; answers whether there was one. Usually called with the lock held.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn notify_one(&self) -> Result<bool, Fault> {
        self.notify(1).map(|notified| notified == 1)
    }

    /// Notifies all who wait now; answers how many. Usually called with the lock held.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn notify_all(&self) -> Result<u32, Fault> {
        self.notify(u32::MAX)
    }

    fn notify(&self, most: u32) -> Result<u32, Fault> {
        self.core.check()?;
        self.core.join()?;
        Ok(self.core.notify(self.number, most))
    }

    fn wait_until(&self, mut guard: Guard, until_ns: u64) -> Result<(Guard, bool), LockError> {
        let core = Arc::clone(&guard.core);
        let is_same =
            Arc::ptr_eq(&core, &self.core) || core.segment.header().uuid == self.core.segment.header().uuid;
        assert!(is_same, "a condition and a lock of different families");
        let me = guard.actor().expect("a guard of this process");
        core.check()?;
        let ticket = core.u64(core.place(self.number)).fetch_add(1, Ordering::SeqCst);
        let waiting = word(WAITING, self.number, ticket);
        let parked = core.parked_word(me);
        // Seen before the lock is free: whoever takes it then and notifies, notifies us.
        parked.store(waiting, Ordering::SeqCst);
        let (Some(lock), Some(depth)) = (guard.lock(), guard.suspend()) else {
            parked.store(0, Ordering::Release);
            return Err(core.impossible().into());
        };
        let attempt = || {
            core.check()?;
            let is_notified = parked.load(Ordering::Acquire) != waiting;
            Ok(if is_notified { Try::Done(()) } else { Try::NotBefore(u64::MAX) })
        };
        let waited = core.wait(self.number, until_ns, || core.actor_side(me), attempt);
        let is_notified = match waited {
            Ok(()) => true,
            Err(Stop::Fault(fault)) => return Err(fault.into()),
            Err(stop) => {
                let gave_up =
                    parked.compare_exchange(waiting, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
                if gave_up && matches!(stop, Stop::Ended(Ended::Interrupted)) {
                    return Err(LockError::Interrupted);
                }
                // One that came at the last moment counts.
                !gave_up
            }
        };
        match core.take_later(lock, me, depth, u64::MAX) {
            Ok(recovered) => {
                parked.store(0, Ordering::Release);
                guard.resume(recovered);
                Ok((guard, is_notified))
            }
            Err(stop) => {
                core.pass_on(me).map_err(|()| core.impossible())?;
                Err(match stop {
                    Stop::Deadlock(deadlock) => LockError::Deadlock(Box::new(deadlock)),
                    Stop::Fault(fault) => LockError::Fault(fault),
                    Stop::Ended(_) | Stop::Broken => LockError::Interrupted,
                })
            }
        }
    }
}
