//! Seeing that a wait can never end: processes that wait for each other in a circle.
//!
//! Everybody waits for at most one lock, and a lock has at most one holder, so from a waiter there is mostly one
//! way to go: to the holder of the lock, to the lock that one waits for, to its holder, and so on. A way that
//! comes back is a circle. It is walked twice: each word on it carries a number that goes up with every hold and
//! every wait, so two walks that read the same words prove that all of them stood so at one moment between, and
//! what stands so can only be ended from outside.
//!
//! A thread may act for another ([`Family::act_for`](crate::sync::Family::act_for)): the one it acts for waits for
//! whatever it waits for, though it sleeps elsewhere, as a command that holds a lock waits for what it runs. There
//! may be several, so that the way forks; every branch is followed, each lock once.
//!
//! A waiter walks after ten milliseconds asleep and then ever more rarely. Whoever closes a circle therefore
//! finds it; but the one to give way is always the highest actor of the circle, so that exactly one does, and the
//! finder summons that one to walk itself. Waits that end by themselves are not part of any circle.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::sync::Arc;

use crate::atomic::Ordering;
use crate::futex;
use crate::participants::Entry;
use crate::sync::actors::Actor;
use crate::sync::inner::{Core, SIDE, Stop};

/// How long a waiter sleeps before it first looks who it waits for.
const FIRST_LOOK_NS: u64 = 10_000_000;
/// The longest it sleeps between two looks.
const RARE_LOOK_NS: u64 = 5_000_000_000;

const ENDURES: u64 = 1 << 15;
const LOCK: u64 = (1 << 14) - 1;

/// Processes that wait for each other in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    /// Each process of the circle; it wants what the next one holds, and the last what the first holds.
    pub cycle: Vec<Link>,
}

/// One process (or thread of one) in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its process id.
    pub pid: u32,
    /// What it calls itself ([`Family::set_label`](crate::sync::Family::set_label)), else its program's name.
    pub name: String,
    /// The lock it holds.
    pub holds: String,
    /// The lock it waits for.
    pub wants: String,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock: ")?;
        for (index, link) in self.cycle.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let Link { pid, name, holds, wants } = link;
            write!(f, "{separator}{name} (pid {pid}) holds \"{holds}\" and waits for \"{wants}\"")?;
        }
        Ok(())
    }
}

impl std::error::Error for Deadlock {}

/// One step of the way: a lock, who holds it, and what that one waits for, by itself or by one that acts for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hop {
    lock: u32,
    held: u64,
    owner: Actor,
    waiter: Actor,
    waiting: u64,
}

/// One step, and those who wait on behalf of its owner that were not followed yet.
struct Fork {
    hop: Hop,
    ways: Vec<(Actor, u64)>,
}

impl Deadlock {
    /// The shortest circle: a thread that waits for a lock it holds.
    pub(crate) fn with_oneself(core: &Core, me: Actor, lock: u32) -> Self {
        let hop = Hop { lock, held: 0, owner: me, waiter: me, waiting: 0 };
        Self::along(core, &[hop])
    }

    /// `hops` begins with the lock that the last owner waits for.
    fn along(core: &Core, hops: &[Hop]) -> Self {
        let link = |index: usize| {
            let hop = hops[index];
            let wanted = hops[(index + 1) % hops.len()].lock;
            let (pid, name) = core.called(hop.owner).unwrap_or_else(|| (0, program(0)));
            Link {
                pid,
                name,
                holds: core.name_of(hop.lock).to_owned(),
                wants: core.name_of(wanted).to_owned(),
            }
        };
        Self { cycle: (0..hops.len()).map(link).collect() }
    }
}

/// The name of the program that a process runs.
pub(crate) fn program(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim_end() {
        "" => "a process".to_owned(),
        name => name.to_owned(),
    }
}

/// One wait for a lock, seen by others while it sleeps.
pub(crate) struct Vigil<'a> {
    core: &'a Arc<Core>,
    me: Actor,
    lock: u32,
    endures: bool,
    asleep: Cell<Option<Asleep>>,
}

#[derive(Clone, Copy)]
struct Asleep {
    /// What the waiting word says of this wait.
    episode: u64,
    look_ns: u64,
    pause_ns: u64,
}

impl<'a> Vigil<'a> {
    pub(crate) fn new(core: &'a Arc<Core>, me: Actor, lock: u32, endures: bool) -> Self {
        Self { core, me, lock, endures, asleep: Cell::new(None) }
    }

    /// Lets others see what we wait for, from the first sleep on.
    pub(crate) fn announce(&self) {
        if self.asleep.get().is_some() {
            return;
        }
        let summons = self.core.summons(self.me);
        // The number of this wait: other than those before it, by which others may still summon us.
        let number = summons.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        let endures = if self.endures { ENDURES } else { 0 };
        let episode = u64::from(number) << 32 | endures | u64::from(self.lock + 1);
        self.core.waiting_word(self.me).store(episode, Ordering::SeqCst);
        let look_ns = futex::now_ns() + FIRST_LOOK_NS;
        self.asleep.set(Some(Asleep { episode, look_ns, pause_ns: FIRST_LOOK_NS }));
    }

    /// Looks, where it is time, whether the wait can end: hands the lock on where its holder is dead, gives up
    /// where it waits for us. Answers when to look again.
    pub(crate) fn look(&self) -> Result<u64, Stop> {
        let Some(asleep) = self.asleep.get() else { return Ok(u64::MAX) };
        let is_summoned = self.core.summons(self.me).load(Ordering::Acquire) != (asleep.episode >> 32) as u32;
        let now = futex::now_ns();
        if now < asleep.look_ns && !is_summoned {
            return Ok(asleep.look_ns);
        }
        let pause_ns = (asleep.pause_ns * 2).min(RARE_LOOK_NS);
        self.asleep.set(Some(Asleep { look_ns: now + pause_ns, pause_ns, ..asleep }));
        if let Some(owner) = self.core.holder(self.lock)?
            && self.is_dead(owner)
        {
            self.core.look_after_the_dead()?;
        } else if self.endures {
            self.look_for_a_circle()?;
        }
        Ok(now + pause_ns)
    }

    fn look_for_a_circle(&self) -> Result<(), Stop> {
        let Some(hops) = self.walk()? else { return Ok(()) };
        if self.walk()?.as_ref() != Some(&hops) {
            return Ok(());
        }
        // One that is dead waits for nobody; what it holds is about to be handed on.
        if hops.iter().any(|hop| self.is_dead(hop.owner) || self.is_dead(hop.waiter)) {
            return self.core.look_after_the_dead();
        }
        let chosen = hops.iter().max_by_key(|hop| hop.waiter).expect("a circle has a member");
        if chosen.waiter == self.me {
            return Err(Stop::Deadlock(Deadlock::along(self.core, &hops)));
        }
        // The number moves on from the one that its wait began with: a summons, which only that wait heeds.
        let number = (chosen.waiting >> 32) as u32;
        let summons = self.core.summons(chosen.waiter);
        let summoned =
            summons.compare_exchange(number, number.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
        if summoned.is_ok()
            && let Some(lock) = lock_waited_for(chosen.waiting).filter(|&lock| self.core.is_lock(lock))
        {
            self.core.side(self.core.place(lock) + SIDE).wake_all();
        }
        Ok(())
    }

    /// The way from the lock we wait for back to us; none where every way ends elsewhere.
    fn walk(&self) -> Result<Option<Vec<Hop>>, Stop> {
        let mut seen = BTreeSet::from([self.lock]);
        let Some(first) = self.fork(self.lock)? else { return Ok(None) };
        let mut way = vec![first];
        while let Some(fork) = way.last_mut() {
            let Some((waiter, waiting)) = fork.ways.pop() else {
                way.pop();
                continue;
            };
            fork.hop = Hop { waiter, waiting, ..fork.hop };
            if waiter == self.me {
                return Ok(Some(way.into_iter().map(|fork| fork.hop).collect()));
            }
            if let Some(next) = lock_waited_for(waiting).filter(|next| seen.insert(*next))
                && let Some(next) = self.fork(next)?
            {
                way.push(next);
            }
        }
        Ok(None)
    }

    /// Who holds a lock, and all ways to go on from there; none where nobody holds it.
    fn fork(&self, lock: u32) -> Result<Option<Fork>, Stop> {
        let core = self.core;
        if !core.is_lock(lock) {
            return Err(core.impossible().into());
        }
        let word = core.lock_state(lock);
        let owner = word.owner(core.layout.most_actors).map_err(|()| core.impossible())?;
        let Some(owner) = owner else { return Ok(None) };
        let waits = |actor: Actor| (actor, core.waiting_word(actor).load(Ordering::Acquire));
        let endures =
            |(_, waiting): &(Actor, u64)| lock_waited_for(*waiting).is_some() && waiting & ENDURES != 0;
        let own = waits(owner);
        let ways = if core.acts_for(self.me, owner) {
            vec![waits(self.me)]
        } else if endures(&own) {
            vec![own]
        } else {
            let for_it = (0..core.actor_reach()).map(waits).filter(endures);
            for_it.filter(|(actor, _)| core.acts_for(*actor, owner)).collect()
        };
        let hop = Hop { lock, held: word.0, owner, waiter: owner, waiting: 0 };
        Ok(Some(Fork { hop, ways }))
    }

    fn is_dead(&self, actor: Actor) -> bool {
        let Some(whose) = self.core.whose(actor) else { return false };
        match self.core.segment.participants().entry(whose.participant) {
            Ok(Entry::Active(who)) => who.is_dead(),
            Ok(Entry::Recovering(_)) => true,
            _ => false,
        }
    }
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        if self.asleep.get().is_some() {
            self.core.waiting_word(self.me).store(0, Ordering::Release);
        }
    }
}

/// The lock that a waiting word names.
pub(crate) fn lock_waited_for(word: u64) -> Option<u32> {
    ((word & LOCK) as u32).checked_sub(1)
}
