//! A ring of references to blocks: many publish, many claim, nobody waits for anybody.
//!
//! A slot holds the lap in which it was filled and the block. Ticket `t` lives in slot `t mod slots` in lap
//! `t / slots`; laps only grow, so a slot read says whether `t` is filled already, can be filled, or is over.
//!
//! Publishing is one compare-and-swap on the slot at the tail; claiming is one on the tag of the block that
//! the slot at the head names. Moving tail and head afterwards is a courtesy that anybody does for anybody
//! (`help`), so both may lag by one behind the truth when somebody dies in between: every comparison here
//! looks at the slots, and differences of tail and head are signed.

use crate::atomic::{AtomicU64, Ordering};
use crate::errors::Damage;
use crate::layout::{HEAD, Layout, RING, RINGS};
use crate::memory::Memory;
use crate::tag::Which;

/// Names no block: the queue was closed here.
pub(crate) const END: u32 = 0xff_ffff;
/// Laps have 40 bits.
const LAPS: u64 = (1 << 40) - 1;

/// What a slot says about a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Not filled yet; this is the word to replace.
    Open(u64),
    /// Filled with this block.
    Filled(u32),
    /// The queue was closed at this ticket.
    End,
    /// Of another lap than a ticket at the tail or the head can meet: the ticket is out of date, or worse.
    Stale,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring<'a> {
    memory: &'a Memory,
    which: Which,
    slots: usize,
    bits: u32,
    blocks: u32,
}

impl<'a> Ring<'a> {
    #[inline(always)]
    pub(crate) fn new(memory: &'a Memory, layout: &Layout, which: Which) -> Self {
        let at = which as usize;
        Self {
            memory,
            which,
            slots: layout.slots[at],
            bits: layout.slot_bits[at],
            blocks: layout.counts.blocks as u32,
        }
    }

    pub(crate) fn which(&self) -> Which {
        self.which
    }

    /// The first ticket there is.
    #[inline(always)]
    pub(crate) fn origin(&self) -> u64 {
        1 << self.bits
    }

    #[inline(always)]
    pub(crate) fn tail(&self) -> &'a AtomicU64 {
        match self.which {
            Which::First => self.memory.fixed_u64::<RINGS>(),
            Which::Again => self.memory.fixed_u64::<{ RINGS + RING }>(),
            Which::Dead => self.memory.fixed_u64::<{ RINGS + 2 * RING }>(),
        }
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> &'a AtomicU64 {
        match self.which {
            Which::First => self.memory.fixed_u64::<{ RINGS + HEAD }>(),
            Which::Again => self.memory.fixed_u64::<{ RINGS + RING + HEAD }>(),
            Which::Dead => self.memory.fixed_u64::<{ RINGS + 2 * RING + HEAD }>(),
        }
    }

    /// A ticket as it stands in tags: told apart from those of the other rings.
    #[inline(always)]
    pub(crate) fn tagged(&self, ticket: u64) -> u64 {
        (self.which as u64) << 46 | ticket & ((1 << 46) - 1)
    }

    /// Neighbouring tickets live in different cache lines, so that producers and consumers that are close
    /// together do not fight for one.
    #[inline(always)]
    fn slot(&self, ticket: u64) -> &'a AtomicU64 {
        self.memory.u64(self.slot_at(ticket))
    }

    #[inline(always)]
    fn slot_at(&self, ticket: u64) -> usize {
        let low = ticket & (self.origin() - 1);
        let index = low >> 3 | (low & 7) << (self.bits - 3);
        self.slots + index as usize * 8
    }

    #[inline(always)]
    fn lap(&self, ticket: u64) -> u64 {
        ticket >> self.bits & LAPS
    }

    /// What the slot of a ticket says.
    ///
    /// # Errors
    /// [`Damage::Block`] when it names a block that there is not.
    #[inline(always)]
    pub(crate) fn read(&self, ticket: u64) -> Result<Slot, Damage> {
        let word = self.slot(ticket).load(Ordering::Acquire);
        match (ticket >> self.bits).wrapping_sub(word >> 24) & LAPS {
            0 => match word as u32 & END {
                block if block < self.blocks => Ok(Slot::Filled(block)),
                END => Ok(Slot::End),
                _ => Err(Damage::Block),
            },
            1 => Ok(Slot::Open(word)),
            _ => Ok(Slot::Stale),
        }
    }

    /// Whether the slot of a tagged ticket names this block in the right lap.
    pub(crate) fn names(&self, tagged: u64, block: u32) -> bool {
        let ticket = tagged & ((1 << 46) - 1);
        let word = self.slot(ticket).load(Ordering::Acquire);
        let laps = (1u64 << (46 - self.bits).min(40)) - 1;
        word as u32 & END == block && word >> 24 & laps == self.lap(ticket) & laps
    }

    /// Fills an open slot with a block, or with [`END`]. Publishes all that was written before.
    #[inline(always)]
    pub(crate) fn fill(&self, ticket: u64, open: u64, block: u32) -> bool {
        let word = self.lap(ticket) << 24 | u64::from(block);
        self.slot(ticket).compare_exchange(open, word, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Makes the slot of a ticket that holds [`END`] open again, unless it does not.
    pub(crate) fn take_end(&self, ticket: u64) {
        let (end, open) =
            (self.lap(ticket) << 24 | u64::from(END), self.lap(ticket.wrapping_sub(self.origin())) << 24);
        let _ = self.slot(ticket).compare_exchange(end, open, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Asks for the lines of the slots of this ticket and the next, to fill them soon. Only a hint.
    pub(crate) fn expect_to_fill(&self, ticket: u64) {
        for next in 0..8 {
            self.memory.expect_to_write(self.slot_at(ticket.wrapping_add(next)));
        }
    }

    /// Fills the slot of a ticket, whatever it holds. Only for who is alone.
    pub(crate) fn place(&self, ticket: u64, block: u32) {
        self.slot(ticket).store(self.lap(ticket) << 24 | u64::from(block), Ordering::Release);
    }

    /// Moves the tail past a ticket that is filled, unless somebody has.
    #[inline(always)]
    pub(crate) fn help_tail(&self, ticket: u64) {
        let _ =
            self.tail().compare_exchange(ticket, ticket.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Moves the tail past all tickets from `first` to before `next`, which are filled, from wherever others have
    /// moved it meanwhile.
    pub(crate) fn help_tail_past(&self, first: u64, next: u64) {
        move_past(self.tail(), first, next);
    }

    /// Moves the head past a ticket whose block is claimed, unless somebody has.
    #[inline(always)]
    pub(crate) fn help_head(&self, ticket: u64) {
        let _ =
            self.head().compare_exchange(ticket, ticket.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Moves the head past all tickets from `first` to before `next`, whose blocks are claimed, from wherever others
    /// have moved it meanwhile.
    pub(crate) fn help_head_past(&self, first: u64, next: u64) {
        move_past(self.head(), first, next);
    }

    /// How many wait here, about: exact while nothing moves and nobody died halfway.
    pub(crate) fn length(&self) -> u64 {
        let head = self.head().load(Ordering::Acquire);
        let tail = self.tail().load(Ordering::Acquire);
        (tail.wrapping_sub(head) as i64).max(0) as u64
    }
}

/// Others move it one ticket after the other, so each lost attempt has brought it nearer: there are at most as many as
/// there are tickets, whatever the memory does.
fn move_past(end: &AtomicU64, first: u64, next: u64) {
    let mut at = first;
    for _ in 0..next.wrapping_sub(first) {
        match end.compare_exchange(at, next, Ordering::AcqRel, Ordering::Relaxed) {
            // Before `first` it cannot be; behind `next` there is nothing left to do.
            Err(now) if next.wrapping_sub(now) as i64 > 0 => at = now,
            _ => return,
        }
    }
}
