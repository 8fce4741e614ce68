//! Waiting for others: spin a little, then sleep in the kernel until woken.
//!
//! A [`Side`] is two words: who waits, and a number that goes up with every wake-up. Who changes something
//! first changes it, then looks whether anybody waits, and only then wakes; who waits first says so, then
//! looks once more, and only then sleeps. Between the two steps each has a full barrier, so one of them sees
//! the other: no wake-up is lost, and nobody pays for one that nobody needs.
//!
//! A sleeper that has been woken needs a while to run. So that nobody wakes it again meanwhile, the waker notes
//! that one of those counted is on its way; whoever leaves takes one such note along. There may be fewer notes
//! than there are on their way, which costs a needless call, but never more: a note is made only after the
//! wake-up, and only if nobody has come or gone since the waker looked.
//!
//! A process may die with its wait counted, or owing a wake-up, or having been woken and not yet acted. Each
//! is made good by [`Side::reset`], which recovery calls: it starts a new epoch with nobody counted and wakes
//! everyone, who count themselves anew. Whoever leaves an older epoch has nothing to subtract.

use std::sync::atomic::{AtomicBool, AtomicU32 as Plain};

use crate::atomic::{AtomicU32, AtomicU64, Ordering, barrier_after_rmw, fence};
use crate::futex::{self, Slept};
use crate::memory::Memory;

/// One reason to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    /// `arrivals:16 | epoch:16 | on their way:16 | waiting:16`
    waiters: &'a AtomicU64,
    sequence: &'a AtomicU32,
}

const ONE_ARRIVAL: u64 = 1 << 48;
const ONE_EPOCH: u64 = 1 << 32;
const ONE_ON_ITS_WAY: u64 = 1 << 16;
const COUNT: u64 = 0xffff;
const EPOCH: u64 = COUNT << 32;

fn waiting(word: u64) -> u64 {
    word & COUNT
}

fn on_their_way(word: u64) -> u64 {
    word >> 16 & COUNT
}

impl<'a> Side<'a> {
    /// The side at an offset that every mapping has.
    #[inline(always)]
    pub(crate) fn fixed<const OFFSET: usize, const SEQUENCE: usize>(memory: &'a Memory) -> Self {
        const { assert!(SEQUENCE == OFFSET + 8) };
        Self { waiters: memory.fixed_u64::<OFFSET>(), sequence: memory.fixed_u32::<SEQUENCE>() }
    }

    /// The side at `offset`.
    #[inline(always)]
    pub(crate) fn at(memory: &'a Memory, offset: usize) -> Self {
        Self { waiters: memory.u64(offset), sequence: memory.u32(offset + 8) }
    }

    /// Wakes one of those who wait, unless as many are on their way. Call only after a read-modify-write and
    /// [`barrier_after_rmw`].
    #[inline(always)]
    pub(crate) fn wake_one_if_waited_for(&self) {
        let word = self.waiters.load(Ordering::SeqCst);
        if word & COUNT != 0 {
            self.wake_one(word);
        }
    }

    #[cold]
    fn wake_one(&self, seen: u64) {
        if on_their_way(seen) >= waiting(seen) {
            return;
        }
        self.sequence.fetch_add(1, Ordering::AcqRel);
        if futex::wake(self.sequence, 1) > 0 {
            let _ = self.waiters.compare_exchange(
                seen,
                seen.wrapping_add(ONE_ON_ITS_WAY),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// Wakes all who wait, if any do. Call only after a read-modify-write and [`barrier_after_rmw`].
    #[inline(always)]
    pub(crate) fn wake_all_if_waited_for(&self) {
        if self.waiters.load(Ordering::SeqCst) & COUNT != 0 {
            self.wake_all();
        }
    }

    /// Wakes all who sleep here.
    #[cold]
    pub(crate) fn wake_all(&self) {
        self.sequence.fetch_add(1, Ordering::AcqRel);
        futex::wake(self.sequence, u32::MAX);
    }

    /// Forgets the counts of the dead and wakes everyone, to count themselves anew.
    pub(crate) fn reset(&self) {
        let mut before = self.waiters.load(Ordering::Relaxed);
        loop {
            let after =
                before & !(EPOCH | ONE_EPOCH.wrapping_sub(1)) | before.wrapping_add(ONE_EPOCH) & EPOCH;
            match self.waiters.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => before = now,
            }
        }
        self.wake_all();
    }

    fn enter(&self) -> u64 {
        let before = self.waiters.fetch_add(ONE_ARRIVAL + 1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        before & EPOCH
    }

    fn leave(&self, epoch: u64) {
        let mut before = self.waiters.load(Ordering::Relaxed);
        while before & EPOCH == epoch && waiting(before) != 0 {
            let note = if on_their_way(before) > 0 { ONE_ON_ITS_WAY } else { 0 };
            let after = before - note - 1;
            match self.waiters.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => before = now,
            }
        }
    }
}

/// What one try found.
pub(crate) enum Try<T> {
    /// It is done.
    Done(T),
    /// Not yet. It may become possible at this moment of [`futex::now_ns`] by itself; `u64::MAX` for never.
    NotBefore(u64),
}

/// Why waiting ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    TimedOut,
    Interrupted,
}

/// How soon to look again after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once: what we wait for is wanted as soon as it is there.
    Eager,
    /// Later and later: each look takes a cache line away from those we wait for, and one place is not worth
    /// it when there will soon be many.
    Patient,
}

impl Pace {
    fn pauses(self, turn: u32) -> u32 {
        match self {
            Self::Eager => 1,
            Self::Patient => 1 << (turn / 2).min(4),
        }
    }
}

/// How long and how to wait.
pub(crate) struct Patience<'a> {
    /// When to give up, of [`futex::now_ns`]; `u64::MAX` for never.
    pub(crate) until_ns: u64,
    /// Looked at before every sleep, and when a signal has ended one.
    pub(crate) interrupt: Option<&'a AtomicBool>,
    /// How many times to try before the first sleep.
    pub(crate) spins: &'a Spins,
    /// How soon to look again.
    pub(crate) pace: Pace,
    /// A glance that saves a try; asked only at first, for it may say no where a try would succeed.
    pub(crate) is_worth_a_try: &'a dyn Fn() -> bool,
}

/// Tries until it is done, asleep on the side at the offset that `side` names after a failed try.
///
/// `before_sleep` answers how many nanoseconds may be slept in one go; `after_slice` is called when it was that
/// many.
pub(crate) fn wait<T, E: From<Ended>>(
    memory: &Memory,
    side: impl Fn() -> usize,
    patience: &Patience<'_>,
    mut attempt: impl FnMut() -> Result<Try<T>, E>,
    mut before_sleep: impl FnMut() -> u64,
    mut after_slice: impl FnMut() -> Result<(), E>,
) -> Result<T, E> {
    let mut long_yields = 0;
    for turn in 0..patience.spins.budget() {
        if (turn >= QUICK_TURNS || (patience.is_worth_a_try)())
            && let Try::Done(value) = attempt()?
        {
            patience.spins.succeeded();
            return Ok(value);
        }
        if turn < QUICK_TURNS {
            (0..patience.pace.pauses(turn)).for_each(|_| std::hint::spin_loop());
        } else {
            // Where there are more to run than processors, the one we wait for may need ours. If it is always
            // others that take it, it is better to sleep: who is woken is let in before who stood in line.
            let before = futex::now_ns();
            std::thread::yield_now();
            long_yields += u32::from(futex::now_ns().saturating_sub(before) > LONG_YIELD_NS);
            if long_yields >= MOST_LONG_YIELDS {
                break;
            }
        }
    }
    patience.spins.failed();
    let is_interrupted = || patience.interrupt.is_some_and(|flag| flag.load(Ordering::Acquire));
    loop {
        if is_interrupted() {
            return Err(Ended::Interrupted.into());
        }
        let slice_ns = before_sleep();
        let offset = side();
        let here = Side::at(memory, offset);
        let sequence = here.sequence.load(Ordering::Acquire);
        let epoch = here.enter();
        let tried = attempt();
        let slept = match &tried {
            Ok(Try::NotBefore(moment)) if side() == offset => {
                let slice = futex::now_ns().saturating_add(slice_ns);
                let until = patience.until_ns.min(*moment).min(slice);
                Some((futex::wait(here.sequence, sequence, until), until == slice))
            }
            _ => None,
        };
        here.leave(epoch);
        if let Try::Done(value) = tried? {
            return Ok(value);
        }
        match slept {
            Some((Slept::Interrupted, _)) if is_interrupted() => {
                // A wake-up may have been meant for us; whoever else sleeps here can make use of it.
                barrier_after_rmw();
                here.wake_one_if_waited_for();
                return Err(Ended::Interrupted.into());
            }
            Some((Slept::TimedOut, true)) => after_slice()?,
            _ => {}
        }
        if futex::now_ns() >= patience.until_ns {
            return match attempt()? {
                Try::Done(value) => Ok(value),
                Try::NotBefore(_) => Err(Ended::TimedOut.into()),
            };
        }
    }
}

/// How long it pays to try again before sleeping, learned from how it went before.
///
/// One sleep and wake-up costs as much as some hundred tries, so trying up to that long at most doubles the
/// price of a wait, and saves nearly all of it when the other side is at work. When it keeps failing, the
/// other side is not about to come, and the budget shrinks; but now and then the full budget is tried again,
/// because two that answer each other quickly and both sleep at once would never find out. On one processor
/// nobody comes while we spin.
#[derive(Debug)]
pub(crate) struct Spins {
    /// `waits:16 | turns:16`
    budget: Plain,
}

/// Tries with nothing but a pause between them; further ones offer the processor to others.
const QUICK_TURNS: u32 = 100;
const MOST_TURNS: u32 = 300;
/// A yield that took so long let somebody else work.
const LONG_YIELD_NS: u64 = 5_000;
const MOST_LONG_YIELDS: u32 = 4;
const FEWEST_TURNS: u32 = 20;
/// Of so many waits one tries in full, whatever was learned.
const FULL_EVERY: u32 = 16;

impl Spins {
    pub(crate) fn new() -> Self {
        Self { budget: Plain::new(MOST_TURNS) }
    }

    fn budget(&self) -> u32 {
        // A model tries every order; trying again and again shows it nothing new.
        if cfg!(loom) || has_one_processor() {
            return 0;
        }
        let word = self.budget.load(Ordering::Relaxed).wrapping_add(1 << 16);
        self.budget.store(word, Ordering::Relaxed);
        if (word >> 16).is_multiple_of(FULL_EVERY) { MOST_TURNS } else { word & 0xffff }
    }

    fn succeeded(&self) {
        self.learn(|turns| (turns * 2).min(MOST_TURNS));
    }

    fn failed(&self) {
        self.learn(|turns| (turns - turns / 4).max(FEWEST_TURNS));
    }

    fn learn(&self, better: impl Fn(u32) -> u32) {
        let word = self.budget.load(Ordering::Relaxed);
        self.budget.store(word & !0xffff | better(word & 0xffff), Ordering::Relaxed);
    }
}

/// Of the machine, not of this process: one that may run on one processor alone has company on the others.
fn has_one_processor() -> bool {
    use nix::unistd::{SysconfVar, sysconf};
    use std::sync::OnceLock;
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(|| sysconf(SysconfVar::_NPROCESSORS_ONLN).is_ok_and(|online| online == Some(1)))
}
