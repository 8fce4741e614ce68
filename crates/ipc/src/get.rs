//! Claiming the next message, and what becomes of a claim: done, given back at once, given back for later.

use std::sync::PoisonError;

use crate::atomic::{Ordering, barrier_after_rmw, fence};
use crate::core::Core;
use crate::errors::Damage;
use crate::futex;
use crate::layout::{CAME, DRAINED, DUE, INLINE, LENGTH, MEMORY, PLACE, TAG};
use crate::locals::Local;
use crate::put::TURNS;
use crate::ring::Slot;
use crate::tag::{State, TICKET, Tag, Which};
use crate::waiting::Side;

/// A block that names us as its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) block: u32,
    /// As it stands in the tag.
    pub(crate) ticket: u64,
}

/// What the next message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Claimed(Claim),
    Empty,
    /// Empty, and nothing will be put any more.
    Ended,
}

/// What one ring offers.
enum Offer {
    Claimed(Claim),
    /// Nothing at this ticket.
    Nothing(u64),
    End,
}

const MS: u64 = 1_000_000;

/// How many of a run are on their way to this processor while one is read.
const LOOK_AHEAD: u64 = 8;

impl Core {
    /// Claims the next message: what was given back comes before what was never delivered.
    #[inline]
    pub(crate) fn claim(&self, me: u32) -> Result<Next, Damage> {
        if self.segment.memory().fixed_u64::<DUE>().load(Ordering::Relaxed) & TICKET != 0 {
            self.publish_due(me)?;
        }
        for _ in 0..TURNS {
            let again = match self.claim_from(Which::Again, me)? {
                Offer::Claimed(claim) => return Ok(Next::Claimed(claim)),
                Offer::Nothing(ticket) => ticket,
                Offer::End => return Err(Damage::Ring),
            };
            let answer = match self.claim_from(Which::First, me)? {
                Offer::Claimed(claim) => {
                    self.tell_a_place_is_free();
                    return Ok(Next::Claimed(claim));
                }
                Offer::Nothing(_) => Next::Empty,
                Offer::End => Next::Ended,
            };
            // Nothing may have been given back meanwhile, or there was no moment at which both were empty.
            let ring = self.ring(Which::Again);
            if ring.head().load(Ordering::Acquire) == again && matches!(ring.read(again)?, Slot::Open(_)) {
                return Ok(answer);
            }
        }
        Err(Damage::Ring)
    }

    #[inline(always)]
    fn claim_from(&self, which: Which, me: u32) -> Result<Offer, Damage> {
        let ring = self.ring(which);
        for _ in 0..TURNS {
            let ticket = ring.head().load(Ordering::Acquire);
            match ring.read(ticket)? {
                Slot::Filled(block) => {
                    // Both lines are about to move here: together, and at once for writing.
                    let place = self.look_at_block(block);
                    place.expect_to_write();
                    let tag = place.u64::<TAG>();
                    let before = tag.load(Ordering::Acquire);
                    let tagged = ring.tagged(ticket);
                    if Tag(before).is_ready(which, tagged) {
                        let after = Tag::leased(me, tagged).0;
                        if tag.compare_exchange(before, after, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                            ring.help_head(ticket);
                            return Ok(Offer::Claimed(Claim { block, ticket: tagged }));
                        }
                    } else {
                        ring.help_head(ticket);
                    }
                }
                Slot::Open(_) => return Ok(Offer::Nothing(ticket)),
                Slot::End => return Ok(Offer::End),
                Slot::Stale if ring.head().load(Ordering::Acquire) == ticket => return Err(Damage::Ring),
                Slot::Stale => {}
            }
        }
        Err(Damage::Ring)
    }

    /// Claims messages of the first ring one after the other and gives each to `take`, until that answers that
    /// it has enough or there are no more at hand. Moves the head once, past all.
    pub(crate) fn claim_run(
        &self,
        me: u32,
        take: &mut dyn FnMut(Claim) -> Result<bool, Damage>,
    ) -> Result<(), Damage> {
        let ring = self.ring(Which::First);
        let first = ring.head().load(Ordering::Acquire);
        // A look at a slot behind the tail would take its line from who is about to fill it.
        let tail = ring.tail().load(Ordering::Acquire);
        let is_behind = |ticket: u64| tail.wrapping_sub(ticket) as i64 <= 0;
        let mut next = first;
        let (mut wants_more, mut has_some) = (true, false);
        let mut ahead = first;
        while wants_more
            && !is_behind(next)
            && let Slot::Filled(block) = ring.read(next)?
        {
            // A producer has the lines of those that follow: asked for together, they come together.
            while ahead.wrapping_sub(next) < LOOK_AHEAD
                && !is_behind(ahead)
                && let Ok(Slot::Filled(later)) = ring.read(ahead)
            {
                self.look_at_block(later).expect_to_write();
                ahead = ahead.wrapping_add(1);
            }
            let tagged = ring.tagged(next);
            let tag = self.look_at_block(block).u64::<TAG>();
            let before = tag.load(Ordering::Acquire);
            let mine = Tag::leased(me, tagged).0;
            if !Tag(before).is_ready(Which::First, tagged)
                || tag.compare_exchange(before, mine, Ordering::SeqCst, Ordering::Relaxed).is_err()
            {
                // Claimed by another, who may not have moved the head yet. Behind what is ours, others are at work.
                if has_some {
                    break;
                }
                next = next.wrapping_add(1);
                continue;
            }
            next = next.wrapping_add(1);
            has_some = true;
            wants_more = take(Claim { block, ticket: tagged })?;
        }
        if next != first {
            ring.help_head_past(first, next);
            barrier_after_rmw();
            Side::at(self.segment.memory(), PLACE).wake_all_if_waited_for();
        }
        Ok(())
    }

    /// Claims the next dead letter.
    pub(crate) fn claim_dead(&self, me: u32) -> Result<Option<Claim>, Damage> {
        match self.claim_from(Which::Dead, me)? {
            Offer::Claimed(claim) => Ok(Some(claim)),
            Offer::Nothing(_) => Ok(None),
            Offer::End => Err(Damage::Ring),
        }
    }

    /// Whether the claim still names us: not so in the child of a fork, nor after a second acknowledgement.
    #[inline]
    fn is_ours(&self, me: u32, claim: Claim) -> bool {
        self.tag(claim.block).load(Ordering::Relaxed) == Tag::leased(me, claim.ticket).0
    }

    /// The message is done with: its memory is free. Wakes nobody; see [`Core::tell_if_drained`].
    #[inline]
    pub(crate) fn acknowledge(&self, me: u32, claim: Claim) {
        if self.is_ours(me, claim) {
            self.free_block(claim.block);
            self.note_change();
        }
    }

    /// The message is done with, and who waits for its memory, or for the last message in hand, is woken.
    #[inline]
    pub(crate) fn acknowledge_and_tell(&self, me: u32, claim: Claim) {
        let place = self.look_at_block(claim.block);
        if place.u32::<LENGTH>().load(Ordering::Relaxed) as usize <= INLINE {
            // Done by a read-modify-write, it needs no fence before the look for those who wait.
            let leased = Tag::leased(me, claim.ticket).0;
            let freed =
                place.u64::<TAG>().compare_exchange(leased, Tag::FREE.0, Ordering::SeqCst, Ordering::Relaxed);
            if freed.is_ok() {
                self.note_change();
            }
            barrier_after_rmw();
        } else {
            self.acknowledge(me, claim);
            fence(Ordering::SeqCst);
        }
        self.tell_if_drained();
    }

    /// Wakes those who wait for memory, or for the last message in hand.
    #[inline]
    pub(crate) fn tell_if_drained(&self) {
        let memory = self.segment.memory();
        Side::fixed::<MEMORY, { MEMORY + 8 }>(memory).wake_all_if_waited_for();
        Side::fixed::<DRAINED, { DRAINED + 8 }>(memory).wake_all_if_waited_for();
    }

    /// Gives a claimed message back for another delivery.
    pub(crate) fn give_back(&self, me: u32, claim: Claim) -> Result<(), Damage> {
        let tag = self.tag(claim.block);
        let requeue = Tag::requeue(me, claim.ticket).0;
        let leased = Tag::leased(me, claim.ticket).0;
        if tag.compare_exchange(leased, requeue, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.requeue(me, claim)?;
            self.note_change();
        }
        Ok(())
    }

    /// Gives a claimed message back as if it had not been taken: the delivery is not counted. A death in the middle of
    /// it is recovered as any other, with the count raised.
    pub(crate) fn put_back(&self, me: u32, claim: Claim) -> Result<(), Damage> {
        self.publish_uncounted(Which::Again, me, claim)
    }

    /// Makes a claimed message a dead letter, whatever its count. A death in the middle of it gives it back.
    pub(crate) fn bury(&self, me: u32, claim: Claim) -> Result<(), Damage> {
        self.publish_uncounted(Which::Dead, me, claim)
    }

    fn publish_uncounted(&self, which: Which, me: u32, claim: Claim) -> Result<(), Damage> {
        let tag = self.tag(claim.block);
        let requeue = Tag::requeue(me, claim.ticket).0;
        let leased = Tag::leased(me, claim.ticket).0;
        if tag.compare_exchange(leased, requeue, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.publish_again(which, me, claim.block)?;
        }
        Ok(())
    }

    /// Publishes again what is tagged as requeued by `me`.
    pub(crate) fn requeue(&self, me: u32, claim: Claim) -> Result<(), Damage> {
        let times = self.raise(claim.block, claim.ticket);
        let which = if self.settings.max_deliveries.is_some_and(|most| times >= most) {
            Which::Dead
        } else {
            Which::Again
        };
        self.publish_again(which, me, claim.block)
    }

    /// Gives a claimed message back, to be delivered again when `delay_ns` are over.
    pub(crate) fn give_back_later(&self, me: u32, claim: Claim, delay_ns: u64) -> Result<(), Damage> {
        if !self.is_ours(me, claim) {
            return Ok(());
        }
        let times = self.raise(claim.block, claim.ticket);
        if delay_ns == 0 || self.settings.max_deliveries.is_some_and(|most| times >= most) {
            return self.give_back(me, claim);
        }
        let due_ms = (futex::now_ns().saturating_add(delay_ns)).div_ceil(MS).clamp(1, TICKET);
        let leased = Tag::leased(me, claim.ticket).0;
        let put_off = self.tag(claim.block).compare_exchange(
            leased,
            Tag::delayed(due_ms).0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if put_off.is_ok() {
            self.note_change();
            // A death before this line is met by recovery, which always has the delayed looked through.
            self.note_due(due_ms);
            // Those asleep must learn of the new moment.
            barrier_after_rmw();
            let memory = self.segment.memory();
            Side::at(memory, CAME).wake_all_if_waited_for();
            Side::at(memory, DRAINED).wake_all_if_waited_for();
        }
        Ok(())
    }

    /// Makes sure that the delayed are looked through at that moment: `version:16 | due ms:48`.
    pub(crate) fn note_due(&self, due_ms: u64) {
        let word = self.segment.memory().u64(DUE);
        let mut before = word.load(Ordering::Acquire);
        loop {
            let known = before & TICKET;
            let due = if known == 0 { due_ms } else { known.min(due_ms) };
            let after = (before & !TICKET).wrapping_add(1 << 48) | due;
            match word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    /// When the next delayed message is due, of [`futex::now_ns`]; `u64::MAX` when there is none.
    pub(crate) fn next_due_ns(&self) -> u64 {
        match self.segment.memory().u64(DUE).load(Ordering::Acquire) & TICKET {
            0 => u64::MAX,
            due_ms => due_ms.saturating_mul(MS),
        }
    }

    /// Publishes the delayed that are due.
    #[cold]
    fn publish_due(&self, me: u32) -> Result<(), Damage> {
        let word = self.segment.memory().u64(DUE);
        for _ in 0..TURNS {
            let before = word.load(Ordering::Acquire);
            let due = before & TICKET;
            let now_ms = futex::now_ns() / MS;
            if due == 0 || due > now_ms {
                return Ok(());
            }
            let mut next = 0;
            for block in 0..self.reach() {
                let tag = self.tag(block);
                let found = Tag(tag.load(Ordering::Acquire));
                if found.state() != State::Delayed {
                    continue;
                }
                if found.ticket() > now_ms {
                    next = if next == 0 { found.ticket() } else { found.ticket().min(next) };
                    continue;
                }
                let claim = Claim { block, ticket: self.last_raised(block) };
                let mine = Tag::requeue(me, claim.ticket).0;
                if tag.compare_exchange(found.0, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.requeue(me, claim)?;
                }
            }
            // A message put off meanwhile has changed the version, and then the look is repeated.
            let after = (before & !TICKET).wrapping_add(1 << 48) | next;
            if word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
        }
        Err(Damage::Ring)
    }

    /// Whether any message may still come back: leased, given back or put off. Exact once the queue has ended
    /// and its first ring is empty, because nothing can become any of these then that was none before.
    pub(crate) fn has_in_flight(&self) -> bool {
        fence(Ordering::SeqCst);
        (0..self.reach()).any(|block| Tag(self.tag(block).load(Ordering::Acquire)).is_in_flight())
    }

    /// Acknowledges what this thread got last, if it has not. Says whether there was anything.
    #[inline]
    pub(crate) fn acknowledge_got(&self, me: u32, local: &Local) -> bool {
        let block = local.got_block.get();
        if block == 0 {
            return false;
        }
        local.got_block.set(0);
        if local.batch_length.get() != 0 {
            local.batch_length.set(0);
            // At the end of a process another thread may have been stopped with the lock held.
            if let Ok(mut batch) = local.batch.try_lock() {
                batch.drain(..).for_each(|claim| self.acknowledge(me, claim));
            }
        }
        self.acknowledge(me, Claim { block: block as u32 - 1, ticket: local.got_ticket.get() });
        true
    }

    /// Gives back what this thread got last, if it has not acknowledged it.
    pub(crate) fn give_back_got(&self, me: u32, local: &Local) -> Result<(), Damage> {
        let block = local.got_block.get();
        if block == 0 {
            return Ok(());
        }
        local.got_block.set(0);
        let last = Claim { block: block as u32 - 1, ticket: local.got_ticket.get() };
        local.batch_length.set(0);
        // At the end of a process another thread may have been stopped with the lock held.
        let batch = local.batch.try_lock().map(|mut batch| std::mem::take(&mut *batch)).unwrap_or_default();
        batch.into_iter().chain([last]).try_for_each(|claim| self.give_back(me, claim))
    }

    /// Remembers what this thread got, to acknowledge it later.
    #[inline]
    pub(crate) fn remember_got(&self, local: &Local, claim: Claim) {
        if local.got_block.get() != 0 {
            return self.remember_all_got(local, &[claim]);
        }
        local.got_ticket.set(claim.ticket);
        local.got_block.set(u64::from(claim.block) + 1);
    }

    /// Remembers what this thread got, beside what it got before and has not acknowledged.
    pub(crate) fn remember_all_got(&self, local: &Local, claims: &[Claim]) {
        let Some((last, rest)) = claims.split_last() else { return };
        let mut batch = local.batch.lock().unwrap_or_else(PoisonError::into_inner);
        if local.got_block.get() != 0 {
            batch.push(Claim { block: local.got_block.get() as u32 - 1, ticket: local.got_ticket.get() });
        }
        batch.extend_from_slice(rest);
        local.batch_length.set(batch.len() as u64);
        local.got_ticket.set(last.ticket);
        local.got_block.set(u64::from(last.block) + 1);
    }

    /// Wakes everybody, whatever they wait for.
    pub(crate) fn wake_everybody(&self) {
        for side in [CAME, PLACE, MEMORY, DRAINED] {
            Side::at(self.segment.memory(), side).wake_all();
        }
    }
}
