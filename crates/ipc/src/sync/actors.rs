//! Actors: the threads that take locks, each with a record of its own in the family.
//!
//! A record is claimed by one compare-and-swap that writes whose it is, so it is never without a name; it is
//! given back when its thread ends, or when its process is found dead. Its words:
//!
//! ```text
//!   +0   whose        used:1 | generation:29 | participant:12 | pid:22
//!   +8   waiting      episode:32 | 0:16 | endures:1 | 0:1 | lock + 1:14      zero while it waits for no lock
//!   +16  summons u32  the episode in which somebody wants it to look for a circle
//!   +24  parked       state:2 | condition:14 | ticket:48                    see `condition`
//!   +32  arrived      used:1 | broken:1 | barrier:14 | 0:17 | generation:31  see `barrier`
//!   +48  the side it sleeps on alone
//!   +64  for whose     the word `whose` of the actor it acts for; written by itself, with the next
//!   +72  for           that actor + 1; zero while it acts for itself alone
//! ```

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

use crate::atomic::{AtomicU64, Ordering};
use crate::errors::Fault;
use crate::memory;
use crate::participants::{self, Index};
use crate::sync::deadlock::program;
use crate::sync::directory::ACTOR;
use crate::sync::inner::Core;

/// The number of an actor.
pub(crate) type Actor = u32;

const WAITING: usize = 8;
const SUMMONS: usize = 16;
const PARKED: usize = 24;
const ARRIVED: usize = 32;
const ACTOR_SIDE: usize = 48;
const FOR_WHOSE: usize = 64;
const FOR: usize = 72;

/// The longest chain of actors that act for each other.
const LONGEST_CHAIN: usize = 64;

const USED: u64 = 1 << 63;
const GENERATION: u64 = ((1 << 29) - 1) << 34;
const ONE_GENERATION: u64 = 1 << 34;
const PID: u64 = (1 << 22) - 1;

/// Where the highest actor ever used, plus one, is kept.
const REACH: usize = crate::segment::OBJECT;

/// Whose record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) participant: Index,
    pub(crate) pid: u32,
}

fn decode(word: u64) -> Option<Whose> {
    let participant = (word >> 22) as u32 & 0xfff;
    (word & USED != 0).then_some(Whose { participant, pid: (word & PID) as u32 })
}

impl Core {
    fn record(&self, actor: Actor) -> usize {
        debug_assert!(actor < self.layout.most_actors);
        self.layout.actors + actor as usize * ACTOR
    }

    pub(crate) fn whose_word(&self, actor: Actor) -> &AtomicU64 {
        self.u64(self.record(actor))
    }

    pub(crate) fn waiting_word(&self, actor: Actor) -> &AtomicU64 {
        self.u64(self.record(actor) + WAITING)
    }

    pub(crate) fn summons(&self, actor: Actor) -> &crate::atomic::AtomicU32 {
        self.u32(self.record(actor) + SUMMONS)
    }

    pub(crate) fn parked_word(&self, actor: Actor) -> &AtomicU64 {
        self.u64(self.record(actor) + PARKED)
    }

    pub(crate) fn arrived_word(&self, actor: Actor) -> &AtomicU64 {
        self.u64(self.record(actor) + ARRIVED)
    }

    pub(crate) fn actor_side(&self, actor: Actor) -> usize {
        self.record(actor) + ACTOR_SIDE
    }

    /// How many actors a scan must look at.
    pub(crate) fn actor_reach(&self) -> u32 {
        self.u32(REACH).load(Ordering::Acquire).min(self.layout.most_actors)
    }

    /// Whose record this is now, if anybody's.
    pub(crate) fn whose(&self, actor: Actor) -> Option<Whose> {
        decode(self.whose_word(actor).load(Ordering::Acquire))
    }

    /// The process of an actor, and what that calls itself, else its program's name.
    pub(crate) fn called(&self, actor: Actor) -> Option<(u32, String)> {
        let whose = self.whose(actor)?;
        Some((whose.pid, self.label(whose.participant).unwrap_or_else(|| program(whose.pid))))
    }

    /// The process of a participant, and what that calls itself, else its program's name.
    pub(crate) fn participant_called(&self, participant: Index) -> Option<(u32, String)> {
        let Ok(participants::Entry::Active(who)) = self.segment.participants().entry(participant) else {
            return None;
        };
        Some((who.pid, self.label(participant).unwrap_or_else(|| program(who.pid))))
    }

    /// Makes one actor act for another, as long as that one is who it is now.
    pub(crate) fn let_act_for(&self, actor: Actor, principal: Actor, whose: u64) {
        self.u64(self.record(actor) + FOR_WHOSE).store(whose, Ordering::Release);
        self.u64(self.record(actor) + FOR).store(u64::from(principal) + 1, Ordering::Release);
    }

    /// Whether an actor is another one, or acts for it, directly or for one that does.
    pub(crate) fn acts_for(&self, actor: Actor, principal: Actor) -> bool {
        let mut at = actor;
        for _ in 0..LONGEST_CHAIN {
            if at == principal {
                return true;
            }
            let next = self.u64(self.record(at) + FOR).load(Ordering::Acquire);
            let Some(next) = next.checked_sub(1).filter(|&next| next < u64::from(self.layout.most_actors))
            else {
                return false;
            };
            let whose = self.u64(self.record(at) + FOR_WHOSE).load(Ordering::Acquire);
            at = next as Actor;
            if self.whose_word(at).load(Ordering::Acquire) != whose {
                return false;
            }
        }
        false
    }

    /// The actors of one participant.
    pub(crate) fn actors_of(&self, participant: Index) -> Vec<Actor> {
        let is_its = |&actor: &Actor| self.whose(actor).is_some_and(|who| who.participant == participant);
        (0..self.actor_reach()).filter(is_its).collect()
    }

    /// Gives a record back. Nothing may bear its number any more.
    pub(crate) fn free_actor(&self, actor: Actor) {
        self.waiting_word(actor).store(0, Ordering::Release);
        self.parked_word(actor).store(0, Ordering::Release);
        self.arrived_word(actor).store(0, Ordering::Release);
        self.u64(self.record(actor) + FOR).store(0, Ordering::Release);
        let word = self.whose_word(actor);
        let before = word.load(Ordering::Acquire);
        word.store(before.wrapping_add(ONE_GENERATION) & GENERATION, Ordering::Release);
    }

    /// This thread's actor, where this is the family in which it was an actor last.
    #[inline(always)]
    pub(crate) fn known_actor(&self) -> Option<Actor> {
        let last = LAST.get();
        (last.core == self.id && last.pid == memory::this_process()).then_some(last.actor)
    }

    /// This thread's actor; it becomes one where it is none yet.
    ///
    /// # Errors
    /// [`Fault::Crowded`] when there is no room for one more.
    pub(crate) fn actor(self: &Arc<Self>) -> Result<Actor, Fault> {
        if let Some(actor) = self.known_actor() {
            return Ok(actor);
        }
        let participant = self.join()?;
        let pid = memory::this_process();
        let known = |seats: &RefCell<Seats>| {
            seats.borrow().0.iter().find(|seat| seat.id == self.id && seat.pid == pid).map(|seat| seat.actor)
        };
        let actor = match SEATS.try_with(known).ok().flatten() {
            Some(actor) => actor,
            None => {
                let actor = self.claim_actor(participant, pid)?;
                let seat = Seat { core: Arc::downgrade(self), id: self.id, pid, actor };
                // Where the thread is about to end already, the record stays until the process does.
                let _ = SEATS.try_with(|seats| {
                    let mut seats = seats.borrow_mut();
                    seats.0.retain(|seat| seat.core.strong_count() > 0);
                    seats.0.push(seat);
                });
                actor
            }
        };
        LAST.set(Last { core: self.id, pid, actor });
        Ok(actor)
    }

    pub(super) fn claim_actor(&self, participant: Index, pid: u32) -> Result<Actor, Fault> {
        for actor in 0..self.layout.most_actors {
            let word = self.whose_word(actor);
            let before = word.load(Ordering::Acquire);
            if before & USED != 0 {
                continue;
            }
            // The reach goes up first: whoever has a record is then found by every scan.
            self.u32(REACH).fetch_max(actor + 1, Ordering::AcqRel);
            let after = USED | before & GENERATION | u64::from(participant) << 22 | u64::from(pid) & PID;
            if word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(actor);
            }
        }
        Err(Fault::Crowded)
    }

    /// A thread has ended: its record is free again, unless it leaked a guard and so holds a lock for good.
    fn thread_ended(&self, actor: Actor) {
        if self.check().is_ok() && !self.holds_any_lock(actor) {
            self.free_actor(actor);
        }
    }
}

/// The actor this thread used last, found with two comparisons.
#[derive(Clone, Copy)]
struct Last {
    core: u64,
    pid: u32,
    actor: Actor,
}

/// One family in which this thread has an actor.
struct Seat {
    core: Weak<Core>,
    id: u64,
    pid: u32,
    actor: Actor,
}

struct Seats(Vec<Seat>);

impl Drop for Seats {
    fn drop(&mut self) {
        // Destructors that run after this one must not use a record that is no longer ours.
        LAST.set(NOBODY);
        for seat in self.0.drain(..) {
            // The child of a fork has its parent's list, and none of its actors.
            if seat.pid == memory::this_process()
                && let Some(core) = seat.core.upgrade()
            {
                core.thread_ended(seat.actor);
            }
        }
    }
}

const NOBODY: Last = Last { core: 0, pid: 0, actor: 0 };

thread_local! {
    static LAST: Cell<Last> = const { Cell::new(NOBODY) };
    static SEATS: RefCell<Seats> = const { RefCell::new(Seats(Vec::new())) };
}
