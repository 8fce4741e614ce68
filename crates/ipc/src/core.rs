//! What all clones of a handle share, and the operations on it: quick where nothing stands in the way, asleep
//! in [`waiting`](crate::waiting) where something does.

mod getting;
mod putting;

pub(crate) use getting::End;
pub(crate) use putting::Refusal;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError, Weak};

use crate::atomic::{Ordering, fence};
use crate::errors::{Damage, Fault};
use crate::formation::Settings;
use crate::keeping::Keeper;
use crate::layout::Layout;
use crate::liveness::Identity;
use crate::locals::{Local, Locals};
use crate::memory;
use crate::segment::{Reclaimed, Segment};
use crate::sentinel::{Sentinel, Watched};
use crate::trim;
use crate::waiting::{self, Ended, Pace, Patience, Try};

/// What all clones of a handle share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) segment: Segment,
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    pub(crate) locals: Locals,
    pub(crate) acknowledges_at_once: AtomicBool,
    pub(crate) interrupt: RwLock<Option<Arc<AtomicBool>>>,
    /// Looks after the dead while this process sleeps, where nobody else does.
    sentinel: Mutex<Option<Sentinel>>,
    /// Sees to it that changes reach the disk in time, where that is promised.
    pub(crate) keeper: Option<Keeper>,
    pub(crate) this: Weak<Self>,
}

/// Why an operation stopped, before it is said in the operation's own words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    Closed,
    Ended(Ended),
    /// The disk has no room.
    NoRoom,
    Fault(Fault),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How long a sleeper trusts that somebody looks after the dead, be it the supervisor or its own sentinel. It is
/// woken by events; this only bounds what a stopped process can do to others that it was about to wake.
const TRUSTING_SLICE_NS: u64 = 10_000_000_000;
/// The same where a sentinel could not be started.
const WATCHFUL_SLICE_NS: u64 = 250_000_000;

impl Core {
    /// The handle of a segment that has been read and understood.
    pub(crate) fn over(segment: Segment, settings: Settings, layout: Layout) -> Arc<Self> {
        let core = Arc::new_cyclic(|this| Self {
            segment,
            layout,
            settings,
            locals: Locals::new(),
            acknowledges_at_once: AtomicBool::new(false),
            interrupt: RwLock::new(None),
            sentinel: Mutex::new(None),
            keeper: Keeper::of(settings.fsync),
            this: this.clone(),
        });
        #[cfg(not(loom))]
        crate::at_exit::remember(&core);
        core
    }
}

impl Core {
    /// Damage found is told to everybody.
    #[cold]
    pub(crate) fn fault(&self, damage: Damage) -> Fault {
        Fault::Corrupt(self.segment.poison(damage))
    }

    #[inline]
    pub(crate) fn join(&self) -> Result<u32, Fault> {
        self.segment.join(self)
    }

    pub(crate) fn reclaim(&self, concerns: impl Fn(Identity) -> bool) -> Result<Reclaimed, Fault> {
        self.segment.check()?;
        let me = self.join()?;
        Ok(self.segment.reclaim(self, me, concerns)?)
    }

    /// Whether somebody has promised to look after the dead, and can.
    fn is_supervised(&self) -> bool {
        let header = self.segment.header();
        header.supervised && !header.creator.is_dead()
    }

    /// Sees to it that somebody looks after the dead while we sleep; answers how long to sleep in one go.
    fn before_sleep(&self) -> u64 {
        let mut sentinel = match self.sentinel.try_lock() {
            Ok(sentinel) => sentinel,
            // Another thread is starting it.
            Err(TryLockError::WouldBlock) => return WATCHFUL_SLICE_NS,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if self.segment.header().supervised && sentinel.is_none() {
            return TRUSTING_SLICE_NS;
        }
        if sentinel.as_ref().is_none_or(|started| started.process != memory::this_process()) {
            *sentinel = Sentinel::start(&self.segment, self.this.clone()).ok();
        }
        if sentinel.is_some() { TRUSTING_SLICE_NS } else { WATCHFUL_SLICE_NS }
    }

    /// What a sleeper does after every slice: nothing, as long as somebody looks after the dead.
    fn after_slice(&self, me: u32) -> Result<(), Stop> {
        if !self.is_supervised() {
            self.segment.reclaim(self, me, |_| true).map_err(Fault::Corrupt)?;
            if self.segment.header().supervised
                && let Ok(mut sentinel) = self.sentinel.try_lock()
                && sentinel.is_none()
            {
                *sentinel = Sentinel::start(&self.segment, self.this.clone()).ok();
            }
        }
        Ok(())
    }

    fn wait<T>(
        &self,
        me: u32,
        local: &Local,
        until_ns: u64,
        (pace, is_worth_a_try): (Pace, &dyn Fn() -> bool),
        side: impl Fn() -> usize,
        attempt: impl FnMut() -> Result<Try<T>, Stop>,
    ) -> Result<T, Stop> {
        let interrupt = self.interrupt.read().unwrap_or_else(PoisonError::into_inner).clone();
        let patience =
            Patience { until_ns, interrupt: interrupt.as_deref(), spins: &local.spins, pace, is_worth_a_try };
        let memory = self.segment.memory();
        let before_sleep = || match self.before_sleep() {
            slice if pace == Pace::Eager && self.has_grown() => slice.min(trim::IDLE_NS),
            slice => slice,
        };
        let after_slice = || {
            if pace == Pace::Eager {
                self.trim_if_idle(me, local);
            }
            self.after_slice(me)
        };
        waiting::wait(memory, side, &patience, attempt, before_sleep, after_slice)
    }

    /// The end of a handle: what its threads got is done with, or, in a panic, is not.
    pub(crate) fn finish(&self) {
        let Some(me) = self.segment.seat() else { return };
        let in_panic = std::thread::panicking();
        self.locals.for_each(|local| {
            if in_panic {
                let _ = self.give_back_got(me, local).map_err(|damage| self.segment.poison(damage));
            } else {
                self.acknowledge_got(me, local);
            }
        });
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        self.keep_rest();
    }
}

impl Watched for Core {
    fn segment(&self) -> &Segment {
        &self.segment
    }

    fn reclaim_dead(&self) -> Result<(), Fault> {
        self.reclaim(|_| true).map(drop)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.finish();
        self.segment.leave();
        self.segment.settle();
    }
}

/// Acknowledges what this process has got by plain gets from any queue, on any of its threads, as the end of the
/// process does by itself: for one that has done its work and only waits for others.
#[cfg(not(loom))]
pub fn acknowledge_got() {
    crate::at_exit::finish_all();
}

/// Wakes all who sleep in any queue that this process has open, to look again whether they must go on sleeping: see
/// [`Queue::set_interrupt`](crate::Queue::set_interrupt). Not to be called in a signal handler.
#[cfg(not(loom))]
pub fn wake_sleepers() {
    crate::at_exit::for_each(Core::wake_everybody);
}
