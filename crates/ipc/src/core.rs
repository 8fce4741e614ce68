//! What all clones of a handle share, and the operations on it: quick where nothing stands in the way, asleep
//! in [`waiting`](crate::waiting) where something does.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError, Weak};

use crate::atomic::{Ordering, fence};
use crate::blocks::Short;
use crate::errors::{Damage, Fault};
use crate::formation::Settings;
use crate::get::{Claim, Next};
use crate::keeping::Keeper;
use crate::layout::{CAME, DRAINED, Layout, MEMORY, PLACE};
use crate::lease::Lease;
use crate::liveness::Identity;
use crate::locals::{Local, Locals};
use crate::memory;
use crate::put::Published;
use crate::segment::{Reclaimed, Segment};
use crate::sentinel::{Sentinel, Watched};
use crate::tag::{State, Tag, Which};
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

/// When a closed queue has nothing more for a getter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// When nothing waits and nothing is in hand that might be given back.
    Drained,
    /// When nothing waits.
    Closed,
}

/// What a getter is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    end: End,
    /// Several together, and not the first as soon as it is there.
    many: bool,
}

/// Why a put put nothing.
pub(crate) enum Refusal {
    Stop(Stop),
    TooLarge { length: u64, limit: u64 },
}

impl<T: Into<Stop>> From<T> for Refusal {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
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

    pub(crate) fn largest(&self) -> u64 {
        self.settings.max_message.min(self.layout.largest)
    }

    /// Puts a message; `until_ns` zero means not to wait.
    pub(crate) fn put(&self, message: &[u8], until_ns: u64) -> Result<(), Refusal> {
        self.segment.check().map_err(Fault::Corrupt)?;
        let length = message.len() as u64;
        if length > self.largest() {
            return Err(Refusal::TooLarge { length, limit: self.largest() });
        }
        let me = self.join()?;
        self.locals.with(|local| {
            let block = match self.write_message(me, local, message) {
                Ok(block) => {
                    self.segment.check_whole().map_err(Fault::Corrupt)?;
                    match self.publish_first(me, block, local).map_err(|damage| self.fault(damage))? {
                        Published::Done => return Ok(self.keep_put(block, message.len())?),
                        Published::Full => Some(block),
                        Published::Closed => return Err(self.forget(block, Stop::Closed).into()),
                        Published::NoRoom => return Err(self.forget(block, Stop::NoRoom).into()),
                    }
                }
                Err(Short::OfMemory) => None,
                Err(Short::OfDisk) => return Err(Stop::NoRoom.into()),
            };
            self.put_later(me, local, message, block, until_ns).map_err(Refusal::Stop)
        })
    }

    /// How many places are free, about.
    fn places(&self) -> u64 {
        self.layout.counts.bound.saturating_sub(self.ring(Which::First).length())
    }

    /// Waits for memory, if there is no block yet, and for a place.
    #[cold]
    fn put_later(
        &self,
        me: u32,
        local: &Local,
        message: &[u8],
        block: Option<u32>,
        until_ns: u64,
    ) -> Result<(), Stop> {
        let block = std::cell::Cell::new(block);
        let side = || if block.get().is_some() { PLACE } else { MEMORY };
        let attempt = || {
            self.segment.check().map_err(Fault::Corrupt)?;
            if block.get().is_none() {
                match self.write_message(me, local, message) {
                    Ok(written) => block.set(Some(written)),
                    Err(_) if self.is_ended().map_err(|damage| self.fault(damage))? => {
                        return Err(Stop::Closed);
                    }
                    Err(Short::OfDisk) => return Err(Stop::NoRoom),
                    Err(Short::OfMemory) => return Ok(Try::NotBefore(u64::MAX)),
                }
            }
            let ready = block.get().expect("written above");
            match self.publish_first(me, ready, local).map_err(|damage| self.fault(damage))? {
                Published::Done => Ok(Try::Done(ready)),
                Published::Full => Ok(Try::NotBefore(u64::MAX)),
                Published::Closed => Err(Stop::Closed),
                Published::NoRoom => Err(Stop::NoRoom),
            }
        };
        let ended = if until_ns == 0 {
            match attempt() {
                Ok(Try::Done(block)) => Ok(block),
                Ok(Try::NotBefore(_)) => Err(Stop::Ended(Ended::TimedOut)),
                Err(stop) => Err(stop),
            }
        } else {
            // Going on with the first place that is free would mean to wait for each of the next ones too, and to
            // take the head's line from the consumers every time. An eighth of the queue is worth a start.
            let enough = (self.layout.counts.bound / 8).max(1);
            let is_worth_a_try = || block.get().is_none() || self.places() >= enough;
            self.wait(me, local, until_ns, (Pace::Patient, &is_worth_a_try), side, attempt)
        };
        match (ended, block.get()) {
            (Ok(block), _) => Ok(self.keep_put(block, message.len())?),
            (Err(stop), Some(block)) => Err(self.forget(block, stop)),
            (Err(stop), None) => Err(stop),
        }
    }

    /// Frees a block that could not be published.
    #[cold]
    fn forget(&self, block: u32, why: Stop) -> Stop {
        let was_ready = matches!(Tag(self.tag(block).load(Ordering::Relaxed)).state(), State::Ready(_));
        self.free_block(block);
        if was_ready {
            self.keep_refusal(block);
        }
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        why
    }

    /// Claims the next message; `until_ns` zero means not to wait. `end` says when there is none to wait for.
    #[inline]
    fn next(&self, me: u32, local: &Local, until_ns: u64, wish: Wish) -> Result<Claim, Stop> {
        self.segment.check().map_err(Fault::Corrupt)?;
        match self.claim(me).map_err(|damage| self.fault(damage))? {
            Next::Claimed(claim) => {
                local.empty_since.set(0);
                Ok(claim)
            }
            _ => {
                let claim = self.next_later(me, local, until_ns, wish)?;
                local.empty_since.set(0);
                Ok(claim)
            }
        }
    }

    #[cold]
    fn next_later(&self, me: u32, local: &Local, until_ns: u64, wish: Wish) -> Result<Claim, Stop> {
        // What was acknowledged before the claim that found nothing has not been told yet.
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        self.trim_if_idle(me, local);
        let side = std::cell::Cell::new(CAME);
        let attempt = || {
            self.segment.check().map_err(Fault::Corrupt)?;
            match self.claim(me).map_err(|damage| self.fault(damage))? {
                Next::Claimed(claim) => return Ok(Try::Done(claim)),
                Next::Empty => side.set(CAME),
                Next::Ended if wish.end == End::Closed || !self.has_in_flight() => return Err(Stop::Closed),
                Next::Ended => side.set(DRAINED),
            }
            Ok(Try::NotBefore(self.next_due_ns()))
        };
        if until_ns == 0 {
            match attempt()? {
                Try::Done(claim) => Ok(claim),
                Try::NotBefore(_) => Err(Stop::Ended(Ended::TimedOut)),
            }
        } else {
            let is_worth_a_try = || !wish.many || self.shows_some();
            self.wait(me, local, until_ns, (Pace::Eager, &is_worth_a_try), || side.get(), attempt)
        }
    }

    /// Whether tails and heads say that there is something to get. They may lag, but who puts many moves the tail once,
    /// when all are there, while a look at the slots takes their lines from it for each.
    fn shows_some(&self) -> bool {
        [Which::First, Which::Again].iter().any(|&which| self.ring(which).length() > 0)
    }

    /// Gets the next message by `read`, which is given its block; `until_ns` zero means not to wait. Who
    /// wants `many` looks less often.
    #[inline(always)]
    pub(crate) fn get_by<T>(
        &self,
        until_ns: u64,
        many: bool,
        read: impl FnOnce(u32) -> Result<T, Damage>,
    ) -> Result<T, Stop> {
        let me = self.join()?;
        self.locals.with(|local| {
            self.acknowledge_got(me, local);
            let claim = self.next(me, local, until_ns, Wish { end: End::Drained, many })?;
            self.tell_if_drained();
            let message = read(claim.block).map_err(|damage| self.fault(damage))?;
            self.segment.check_whole().map_err(Fault::Corrupt)?;
            if self.acknowledges_at_once.load(Ordering::Relaxed) {
                self.acknowledge_and_tell(me, claim);
            } else {
                self.remember_got(local, claim);
            }
            Ok(message)
        })
    }

    pub(crate) fn get(&self, until_ns: u64) -> Result<Vec<u8>, Stop> {
        self.get_by(until_ns, false, |block| self.read_message(block))
    }

    /// Gets up to `most` messages that are at hand, by `read`, which answers whether it accepts the one in a block: one
    /// that it does not is given back, and is the last.
    pub(crate) fn get_more_by(
        &self,
        most: usize,
        mut read: impl FnMut(u32) -> Result<bool, Damage>,
    ) -> Result<(), Stop> {
        if most == 0 {
            return Ok(());
        }
        let me = self.join()?;
        let at_once = self.acknowledges_at_once.load(Ordering::Relaxed);
        self.locals.with(|local| {
            let mut got = Got { core: self, local, claims: Vec::with_capacity(most.min(64)), at_once };
            let mut taken = 0;
            let mut take = |claim: Claim| {
                if !read(claim.block)? {
                    self.give_back(me, claim)?;
                    return Ok(false);
                }
                if at_once {
                    self.acknowledge(me, claim);
                } else {
                    got.claims.push(claim);
                }
                taken += 1;
                Ok(taken < most)
            };
            self.claim_run(me, &mut take).map_err(|damage| self.fault(damage))?;
            self.segment.check().map_err(Fault::Corrupt)?;
            Ok(())
        })
    }

    /// Puts as many messages as there are places for at once; answers how many.
    pub(crate) fn put_run<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize, Fault> {
        self.segment.check()?;
        let me = self.join()?;
        self.locals.with(|local| {
            let mut run = self.begin_run();
            let mut put = 0;
            for message in messages {
                let message = message.as_ref();
                if message.len() as u64 > self.largest() || !self.has_place(run, local) {
                    break;
                }
                let Ok(block) = self.write_message(me, local, message) else { break };
                if !self.publish_in_run(me, block, &mut run).map_err(|damage| self.fault(damage))? {
                    self.forget(block, Stop::Closed);
                    break;
                }
                put += 1;
            }
            self.end_run(run);
            self.segment.check()?;
            if put > 0 {
                self.keep_run()?;
            }
            Ok(put)
        })
    }

    pub(crate) fn lease(core: &Arc<Self>, until_ns: u64, end: End) -> Result<Lease, Stop> {
        let me = core.join()?;
        let claim = core.locals.with(|local| core.next(me, local, until_ns, Wish { end, many: false }))?;
        Lease::of(core, me, claim).map_err(|damage| Stop::Fault(core.fault(damage)))
    }

    /// Claims what is at hand, and reads it.
    pub(crate) fn lease_many(core: &Arc<Self>, most: usize) -> Result<Vec<Lease>, Stop> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let me = core.join()?;
        let fault = |damage| Stop::Fault(core.fault(damage));
        let mut leases = Vec::new();
        let first =
            core.locals.with(|local| core.next(me, local, 0, Wish { end: End::Drained, many: true }))?;
        leases.push(Lease::of(core, me, first).map_err(fault)?);
        // A run is of the first ring; what was given back comes before that.
        while leases.len() < most && core.waiting(Which::Again) > 0 {
            match core.claim(me).map_err(fault)? {
                Next::Claimed(claim) => leases.push(Lease::of(core, me, claim).map_err(fault)?),
                _ => return Ok(leases),
            }
        }
        let wants_more = leases.len() < most;
        let mut take = |claim| {
            leases.push(Lease::of(core, me, claim)?);
            Ok(leases.len() < most)
        };
        if wants_more {
            core.claim_run(me, &mut take).map_err(fault)?;
        }
        Ok(leases)
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

/// What one call has got so far. However it ends, the thread has it in its books: it is not got twice.
struct Got<'a> {
    core: &'a Core,
    local: &'a Local,
    claims: Vec<Claim>,
    at_once: bool,
}

impl Drop for Got<'_> {
    fn drop(&mut self) {
        if self.at_once {
            fence(Ordering::SeqCst);
            self.core.tell_if_drained();
        } else {
            self.core.remember_all_got(self.local, &self.claims);
        }
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
