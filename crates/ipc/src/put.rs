//! Publishing a block in a ring, and closing the first ring for good.

use crate::atomic::{Ordering, barrier_after_rmw};
use crate::core::Core;
use crate::errors::Damage;
use crate::layout::{self, CAME, PLACE};
use crate::locals::Local;
use crate::ring::{END, Ring, Slot};
use crate::tag::{Tag, Which};
use crate::waiting::Side;

/// How publishing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    Done,
    Full,
    Closed,
    /// The disk has no room for the ring.
    NoRoom,
}

/// More turns than any operation can lose to others; only memory that changes by itself brings one here.
pub(crate) const TURNS: u32 = 1 << 26;

impl Core {
    #[inline(always)]
    pub(crate) fn ring(&self, which: Which) -> Ring<'_> {
        Ring::new(self.segment.memory(), &self.layout, which)
    }

    /// Publishes a filled block that is private to `me`; it is the message's first publication.
    #[inline]
    pub(crate) fn publish_first(&self, me: u32, block: u32, local: &Local) -> Result<Published, Damage> {
        let ring = self.ring(Which::First);
        let tag = self.tag(block);
        for _ in 0..TURNS {
            let ticket = ring.tail().load(Ordering::Acquire);
            if self.is_beyond_bound(ticket, local.head.get()) {
                match self.look_for_place(&ring, ticket, local)? {
                    Place::Found => {}
                    Place::Retry => continue,
                    // Full and closed is closed.
                    Place::Full if ring.read(ticket)? == Slot::End => return Ok(Published::Closed),
                    Place::Full => return Ok(Published::Full),
                }
            }
            match ring.read(ticket)? {
                Slot::Open(open) => {
                    if !self.has_backed_slot(Which::First, ticket) {
                        return Ok(Published::NoRoom);
                    }
                    // Still private: the slot of this ticket does not name this block.
                    self.set_id(block, self.id_of(ticket));
                    tag.store(Tag::ready(Which::First, me, ring.tagged(ticket)).0, Ordering::Release);
                    if ring.fill(ticket, open, block) {
                        ring.help_tail(ticket);
                        self.tell_it_came();
                        return Ok(Published::Done);
                    }
                }
                Slot::Filled(_) => ring.help_tail(ticket),
                Slot::End => return Ok(Published::Closed),
                Slot::Stale if ring.tail().load(Ordering::Acquire) == ticket => return Err(Damage::Ring),
                Slot::Stale => {}
            }
        }
        Err(Damage::Ring)
    }

    /// Signed, because the head may be one ahead of a tail that lags.
    #[inline(always)]
    fn is_beyond_bound(&self, ticket: u64, head: u64) -> bool {
        ticket.wrapping_sub(head) as i64 >= self.layout.counts.bound as i64
    }

    #[cold]
    fn look_for_place(&self, ring: &Ring<'_>, ticket: u64, local: &Local) -> Result<Place, Damage> {
        let head = ring.head().load(Ordering::Acquire);
        local.head.set(head);
        if !self.is_beyond_bound(ticket, head) {
            return Ok(Place::Found);
        }
        match ring.read(head)? {
            // Claimed, but the head has not been moved yet.
            Slot::Filled(first) if !self.is_ready(first, ring, Which::First, head) => {
                ring.help_head(head);
                Ok(Place::Retry)
            }
            _ if ring.tail().load(Ordering::Acquire) != ticket => Ok(Place::Retry),
            _ if ring.head().load(Ordering::Acquire) != head => Ok(Place::Retry),
            Slot::Filled(_) => Ok(Place::Full),
            _ => Err(Damage::Ring),
        }
    }

    /// Begins to put several, which moves the tail only once, at [`Core::end_run`]. Others find the slots filled
    /// and move it for themselves where they need to.
    pub(crate) fn begin_run(&self) -> Run {
        let ring = self.ring(Which::First);
        let tail = ring.tail().load(Ordering::Acquire);
        // The consumers have read the slots of the run before; all lines of this one are asked for together.
        ring.expect_to_fill(tail);
        Run { first: tail, next: tail }
    }

    /// Whether the next of a run has a place, as far as can be seen without helping anybody.
    pub(crate) fn has_place(&self, run: Run, local: &Local) -> bool {
        if self.is_beyond_bound(run.next, local.head.get()) {
            local.head.set(self.ring(Which::First).head().load(Ordering::Acquire));
        }
        !self.is_beyond_bound(run.next, local.head.get())
    }

    /// Publishes the next of a run. False when that takes more than a look: the queue is closed, or others
    /// are putting too.
    pub(crate) fn publish_in_run(&self, me: u32, block: u32, run: &mut Run) -> Result<bool, Damage> {
        let ring = self.ring(Which::First);
        let Slot::Open(open) = ring.read(run.next)? else { return Ok(false) };
        if !self.has_backed_slot(Which::First, run.next) {
            return Ok(false);
        }
        self.set_id(block, self.id_of(run.next));
        self.tag(block).store(Tag::ready(Which::First, me, ring.tagged(run.next)).0, Ordering::Release);
        let is_done = ring.fill(run.next, open, block);
        run.next = run.next.wrapping_add(u64::from(is_done));
        Ok(is_done)
    }

    /// Moves the tail past a run and tells of it.
    pub(crate) fn end_run(&self, run: Run) {
        if run.next != run.first {
            self.ring(Which::First).help_tail_past(run.first, run.next);
            self.tell_many_came(run.next.wrapping_sub(run.first));
        }
    }

    fn tell_many_came(&self, count: u64) {
        barrier_after_rmw();
        let side = Side::at(self.segment.memory(), CAME);
        if count == 1 { side.wake_one_if_waited_for() } else { side.wake_all_if_waited_for() }
    }

    #[inline(always)]
    pub(crate) fn is_ready(&self, block: u32, ring: &Ring<'_>, which: Which, ticket: u64) -> bool {
        Tag(self.tag(block).load(Ordering::SeqCst)).is_ready(which, ring.tagged(ticket))
    }

    /// Publishes a block that `me` has in hand, for another delivery or as a dead letter. These rings have
    /// room for every block there is.
    pub(crate) fn publish_again(&self, which: Which, me: u32, block: u32) -> Result<(), Damage> {
        let ring = self.ring(which);
        let tag = self.tag(block);
        for _ in 0..TURNS {
            let ticket = ring.tail().load(Ordering::Acquire);
            match ring.read(ticket)? {
                Slot::Open(open) => {
                    // Room is asked for long before it is needed; now it is, and there has been none for all the time.
                    if !self.has_backed_slot(which, ticket) {
                        return Err(Damage::Cut);
                    }
                    tag.store(Tag::ready(which, me, ring.tagged(ticket)).0, Ordering::Release);
                    if ring.fill(ticket, open, block) {
                        ring.help_tail(ticket);
                        self.tell_it_came();
                        self.tell_if_drained();
                        return Ok(());
                    }
                }
                Slot::Filled(_) => ring.help_tail(ticket),
                Slot::Stale if ring.tail().load(Ordering::Acquire) == ticket => return Err(Damage::Ring),
                Slot::End => return Err(Damage::Ring),
                Slot::Stale => {}
            }
        }
        Err(Damage::Ring)
    }

    #[inline(always)]
    pub(crate) fn tell_it_came(&self) {
        barrier_after_rmw();
        Side::fixed::<CAME, { CAME + 8 }>(self.segment.memory()).wake_one_if_waited_for();
    }

    /// Closes the first ring and wakes everybody to learn of it. Whoever closed it before may have died before
    /// telling, so this tells in any case.
    pub(crate) fn end_first(&self) -> Result<(), Damage> {
        self.mark_end()?;
        self.segment.memory().u32(layout::CLOSED).store(layout::IS_CLOSED, Ordering::Release);
        self.wake_everybody();
        self.keep_page_of(layout::CLOSED)
    }

    /// Takes the mark of the end away, and wakes everybody to learn of it.
    pub(crate) fn open_again(&self) -> Result<(), Damage> {
        let ring = self.ring(Which::First);
        self.segment.memory().u32(layout::CLOSED).store(0, Ordering::Release);
        while self.is_ended()? {
            ring.take_end(ring.tail().load(Ordering::Acquire));
        }
        self.wake_everybody();
        self.keep_page_of(layout::CLOSED)
    }

    /// Puts the mark of the end behind all that was put.
    pub(crate) fn mark_end(&self) -> Result<(), Damage> {
        let ring = self.ring(Which::First);
        for _ in 0..TURNS {
            let ticket = ring.tail().load(Ordering::Acquire);
            match ring.read(ticket)? {
                Slot::Open(_) if !self.has_backed_slot(Which::First, ticket) => return Err(Damage::Cut),
                Slot::Open(open) if ring.fill(ticket, open, END) => return Ok(()),
                Slot::Open(_) => {}
                Slot::Filled(_) => ring.help_tail(ticket),
                Slot::End => return Ok(()),
                Slot::Stale if ring.tail().load(Ordering::Acquire) == ticket => return Err(Damage::Ring),
                Slot::Stale => {}
            }
        }
        Err(Damage::Ring)
    }

    /// Whether the mark of the end has been put.
    pub(crate) fn is_ended(&self) -> Result<bool, Damage> {
        let ring = self.ring(Which::First);
        for _ in 0..TURNS {
            let ticket = ring.tail().load(Ordering::Acquire);
            match ring.read(ticket)? {
                Slot::Open(_) => return Ok(false),
                Slot::Filled(_) => ring.help_tail(ticket),
                Slot::End => return Ok(true),
                Slot::Stale if ring.tail().load(Ordering::Acquire) == ticket => return Err(Damage::Ring),
                Slot::Stale => {}
            }
        }
        Err(Damage::Ring)
    }

    /// Wakes whoever waits for a place.
    #[inline(always)]
    pub(crate) fn tell_a_place_is_free(&self) {
        barrier_after_rmw();
        Side::fixed::<PLACE, { PLACE + 8 }>(self.segment.memory()).wake_one_if_waited_for();
    }
}

/// Messages put one after the other, the tail not moved yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    first: u64,
    next: u64,
}

enum Place {
    Found,
    Retry,
    Full,
}
