//! Making the family another one while it runs: what is to go goes by dependence, what is to come back comes back
//! when that is gone, and nobody else is touched.
//!
//! A worker that is to be started again or to go has a *turn*: it is asked when all that came after it by the former
//! config, and has a turn too, are gone. It is launched again when all that it comes after by the new one, and that
//! had a turn, are gone. Levels of dependence only ever go one way there, so that nobody waits in a circle, not even
//! where a config has one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::groups::Groups;
use crate::instance::{Fate, Member, State};
use crate::order::{Hope, Place, places};
use crate::stopping::Run;
use crate::supervisor::MAX_INSTANCES;
use crate::{
    Group, Health, InstanceId, Intensity, Phase, Policy, Schedule, Strategy, Supervisor, Worker, WorkerId,
};

/// What a family is to become, as the difference from what it is. What is not named in `removed` or `changed` goes on as
/// it is; workers that were added since are in nobody's way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Workers that are to go. Nothing of theirs is started again; who waits for one of them waits in vain.
    pub removed: Vec<WorkerId>,
    /// Workers that are to be like this from now on, and what that means to what runs. Also those that were removed and
    /// come back: their launches count on.
    pub changed: Vec<(WorkerId, Worker, Manner)>,
    /// New workers; they become the next [`WorkerId`]s in this order, and start if they are `autostart`.
    pub added: Vec<Worker>,
    /// All workers of the new family in their order, the new ones included. Those that are not named come behind.
    pub order: Vec<WorkerId>,
    /// As in [`crate::Family`]; for a stop that begins from now on.
    pub stop_within: Option<Duration>,
    /// As in [`crate::Family`].
    pub strategy: Strategy,
    /// As in [`crate::Family`]. What was spent counts on where it is the same as before.
    pub intensity: Option<Intensity>,
    /// As in [`crate::Family`]. What was spent counts on where a group of the name has the same intensity as before; a
    /// restart of several under way ends where the groups, or their members, are not the same.
    pub groups: Vec<Group>,
}

/// What a change of a worker means to those of its instances that are neither new nor one too many.
///
/// In either manner what was stopped by request stays so, and what was never started is if `autostart` has become true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// What runs goes on; what was changed holds from the next decision on.
    Keep,
    /// What runs is asked to stop in its turn and started anew. What rests, has ended or has failed is started anew.
    Restart,
    /// The same, but what runs is replaced as by [`crate::Request::Roll`], where that can be.
    Roll,
}

/// What is to go for a change under way.
#[derive(Debug, Default)]
pub(crate) struct Changing {
    turns: BTreeMap<WorkerId, Turn>,
    /// Those whose turn has come.
    due: BTreeSet<WorkerId>,
    /// Who is not launched before which are gone.
    blocked: BTreeMap<WorkerId, BTreeSet<WorkerId>>,
}

#[derive(Debug)]
struct Turn {
    then: Then,
    /// Whose end it waits for.
    above: BTreeSet<WorkerId>,
    /// Who is still to go.
    members: BTreeSet<InstanceId>,
    asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    StartsAnew,
    Vanishes,
}

impl Changing {
    /// Whether `id` is to be asked to stop and started anew, and its turn has not come.
    pub(crate) fn awaits(&self, id: InstanceId) -> bool {
        let turn = self.turns.get(&id.worker);
        turn.is_some_and(|turn| turn.then == Then::StartsAnew && !turn.asked && turn.members.contains(&id))
    }

    /// Who must be gone before `worker` is launched.
    pub(crate) fn blocks(&self, worker: WorkerId) -> Option<WorkerId> {
        self.blocked.get(&worker)?.first().copied()
    }

    /// Forgets all that is under way.
    pub(crate) fn forget(&mut self) {
        *self = Changing::default();
    }

    /// Notes that all of `worker` that had to go is gone; says who no longer waits for it.
    fn release(&mut self, worker: WorkerId) -> Vec<WorkerId> {
        // It may have ended before its turn: who waited for it waits for those it waited for.
        let above = self.turns.remove(&worker).map(|turn| turn.above).unwrap_or_default();
        self.due.remove(&worker);
        for (&other, turn) in &mut self.turns {
            if turn.above.remove(&worker) {
                turn.above.extend(above.iter().filter(|above| **above != other));
                if turn.above.is_empty() && !turn.asked {
                    self.due.insert(other);
                }
            }
        }
        let below = self.blocked.get(&worker).cloned().unwrap_or_default();
        let mut concerned = Vec::new();
        self.blocked.retain(|&other, blockers| {
            if blockers.remove(&worker) {
                blockers.extend(below.iter().filter(|below| **below != other));
                concerned.push(other);
            }
            !blockers.is_empty()
        });
        concerned
    }
}

impl Supervisor {
    pub(crate) fn change_family(&mut self, mut change: Change) {
        let known = |id: &WorkerId| (id.0 as usize) < self.crews.len();
        change.removed.retain(|id| known(id) && !self.crew(*id).removed);
        change.changed.retain(|(id, ..)| known(id));
        let mut going: BTreeMap<WorkerId, Then> = BTreeMap::new();
        for (id, worker, manner) in &mut change.changed {
            if self.crew(*id).removed || *manner == Manner::Roll && !self.would_roll(*id, worker) {
                *manner = Manner::Restart;
            }
        }
        for id in change.removed.iter().chain(change.changed.iter().map(|(id, ..)| id)) {
            self.break_off_rolling(*id);
        }
        let anew = change.changed.iter().filter(|(.., manner)| *manner == Manner::Restart);
        going.extend(anew.map(|(id, ..)| (*id, Then::StartsAnew)));
        going.extend(change.removed.iter().map(|id| (*id, Then::Vanishes)));
        going.retain(|&id, _| self.is_up(id));
        let above = self.who_goes_before(&going);

        // What was, for each that changes: how many instances, whether it started with the run, whether it is back.
        let mut former = BTreeMap::new();
        let waiting = self.all_waiting();
        for &id in &waiting {
            self.await_no_more(id);
        }
        for (id, worker, _) in &change.changed {
            former.insert(*id, self.respecify(*id, worker.clone()));
        }
        let first_added = self.crews.len() as u32;
        for worker in change.added {
            let place = Place { level: 0, hope: Hope::Open };
            self.enlist(worker, place);
        }
        for &id in &change.removed {
            self.take_out(id);
        }
        let places = places(self.crews.iter().map(|crew| &*crew.spec));
        for (crew, place) in self.crews.iter_mut().zip(places) {
            crew.place = place;
        }
        self.replan();
        self.stop_within = change.stop_within;
        self.regroup_as(change.strategy, change.intensity, &change.groups, &change.order);
        for id in waiting {
            self.await_all(id);
        }

        self.give_turns(&going, above);
        let new: Vec<WorkerId> = (first_added..self.crews.len() as u32).map(WorkerId).collect();
        let starting = change.changed.iter().map(|(id, ..)| *id).chain(new.iter().copied());
        // Also those that go: whoever comes after them comes after what they come after.
        self.block(starting.chain(change.removed.iter().copied()).collect());
        for id in change.removed {
            self.let_go(id);
        }
        for (id, worker, manner) in change.changed {
            if let Some(former) = former.get(&id) {
                self.follow_up(id, worker.instances.min(MAX_INSTANCES), manner, former);
            }
        }
        if matches!(self.run, Run::Going) {
            for id in new {
                self.autostart(id);
            }
        }
    }

    fn is_up(&self, worker: WorkerId) -> bool {
        self.crew(worker).members.iter().any(|member| member.state.is_up())
    }

    fn all_waiting(&self) -> Vec<InstanceId> {
        let mut all = self.all_present();
        all.retain(|&id| self.member(id).state == State::Waiting);
        all
    }

    /// For each that goes, those that go before it: who comes after it by the config that still holds.
    fn who_goes_before(&self, going: &BTreeMap<WorkerId, Then>) -> BTreeMap<WorkerId, BTreeSet<WorkerId>> {
        let mut above: BTreeMap<WorkerId, BTreeSet<WorkerId>> = BTreeMap::new();
        for &dependant in going.keys() {
            for on in self.nearest_awaited(dependant, |id| going.contains_key(&id)) {
                above.entry(on).or_default().insert(dependant);
            }
        }
        above
    }

    /// Whom `worker` comes after, directly or through others that are not `wanted` themselves, as far as they stand on a
    /// lower level.
    fn nearest_awaited(&self, worker: WorkerId, wanted: impl Fn(WorkerId) -> bool) -> BTreeSet<WorkerId> {
        let level = self.crew(worker).place.level;
        let (mut found, mut seen, mut open) = (BTreeSet::new(), BTreeSet::from([worker]), vec![worker]);
        while let Some(next) = open.pop() {
            for after in &self.crew(next).spec.after {
                let on = after.worker;
                if on.0 as usize >= self.crews.len() || !seen.insert(on) {
                    continue;
                }
                if !wanted(on) {
                    open.push(on);
                } else if self.crew(on).place.level < level {
                    found.insert(on);
                }
            }
        }
        found
    }

    /// Lets a worker be as it is to be, but for the number of its instances.
    fn respecify(&mut self, id: WorkerId, worker: Worker) -> Former {
        let spec = self.specs.of(worker);
        let crew = &mut self.crews[id.0 as usize];
        let former = Former {
            autostart: crew.spec.autostart,
            was_removed: crew.removed,
            schedule: crew.spec.schedule,
            watch: (crew.spec.watchdog, crew.spec.health),
        };
        let (was, is) = (crew.spec.policy == Policy::Wait, spec.policy == Policy::Wait);
        self.work.reconsider(crew.tally, was, is);
        crew.spec = spec;
        crew.come_back();
        self.names.insert(Arc::clone(&crew.name), id);
        self.waits.stirred.insert(id);
        former
    }

    /// From now on a worker does not belong to the family any more.
    fn take_out(&mut self, id: WorkerId) {
        let crew = &mut self.crews[id.0 as usize];
        crew.removed = true;
        if self.names.get(&crew.name) == Some(&id) {
            self.names.remove(&crew.name);
        }
        self.waits.stirred.insert(id);
        self.outbox.turned.insert(id);
    }

    fn regroup_as(
        &mut self,
        strategy: Strategy,
        intensity: Option<Intensity>,
        groups: &[Group],
        order: &[WorkerId],
    ) {
        let mut new = Groups::of(strategy, intensity, groups, self.crews.len(), order);
        if !new.is_like(&self.groups) {
            self.disband_all();
            new.inherit(&mut self.groups);
            self.groups = new;
        }
    }

    /// Gives each that goes its turn.
    fn give_turns(
        &mut self,
        going: &BTreeMap<WorkerId, Then>,
        mut above: BTreeMap<WorkerId, BTreeSet<WorkerId>>,
    ) {
        for (&worker, &then) in going {
            let mut members: BTreeSet<InstanceId> = self.all_of(worker).into_iter().collect();
            members.retain(|&id| self.member(id).state.is_up());
            let above = above.remove(&worker).unwrap_or_default();
            // Also where it had its turn for a former change: some may have come back since, by what is former now.
            if above.is_empty() {
                self.changing.due.insert(worker);
            } else {
                self.changing.due.remove(&worker);
            }
            self.changing.turns.insert(worker, Turn { then, above, members, asked: false });
        }
    }

    /// Notes for each of `workers` who must be gone before it is launched.
    fn block(&mut self, workers: Vec<WorkerId>) {
        for worker in workers {
            let blockers = self.nearest_awaited(worker, |id| self.changing.turns.contains_key(&id));
            if blockers.is_empty() {
                self.changing.blocked.remove(&worker);
            } else {
                self.changing.blocked.insert(worker, blockers);
            }
        }
    }

    fn all_of(&self, worker: WorkerId) -> Vec<InstanceId> {
        let count = self.crew(worker).members.len() as u32;
        let all = (0..count).map(|index| InstanceId { worker, index });
        all.filter(|&id| !matches!(self.member(id).state, State::Absent)).collect()
    }

    /// Takes away what is left of a removed worker, but for what has its turn.
    fn let_go(&mut self, worker: WorkerId) {
        for id in self.all_of(worker).into_iter().rev() {
            match &self.member(id).state {
                State::Leaving { .. } => self.destine(id, Fate::Vanishes),
                state if state.is_up() => {}
                _ => self.vanish(id),
            }
        }
    }

    /// What a change means to the instances of a worker.
    fn follow_up(&mut self, worker: WorkerId, instances: u32, manner: Manner, former: &Former) {
        let all = self.all_of(worker);
        let crew = self.crew(worker);
        let going_on = matches!(self.run, Run::Going);
        let dormant =
            !all.is_empty() && all.iter().all(|&id| self.member(id).state.phase() == Phase::Stopped);
        let newly_started = going_on && crew.spec.autostart && (!former.autostart || former.was_removed);
        let Worker { schedule, watchdog, health, .. } = *self.crew(worker).spec;
        for &id in &all {
            if schedule != former.schedule {
                self.reschedule(id);
            }
            if id.index >= instances {
                // It is one too many, and goes.
                continue;
            }
            if (watchdog, health) != former.watch {
                self.watch_anew(id);
            }
            match (&self.member(id).state, manner) {
                (State::Idle, _) if newly_started => self.begin_with_run(id),
                (_, Manner::Keep) => {}
                (State::Leaving { fate: Fate::Policy(_), .. }, Manner::Restart | Manner::Roll) => {
                    self.destine(id, Fate::Changes)
                }
                (
                    State::Resting { .. } | State::Done(_) | State::Failed { .. },
                    Manner::Restart | Manner::Roll,
                ) => self.start_anew(id),
                // Whatever it was restarted for before, it was by the former config.
                (_, Manner::Restart | Manner::Roll) => self.change(id, Member::forgive),
            }
        }
        let old = self.those_to_replace(worker, instances);
        let starts = going_on && self.crew(worker).spec.autostart && (!dormant || newly_started);
        self.resize(worker, instances, starts);
        if manner == Manner::Roll && self.is_open() {
            self.begin_to_roll(worker, old);
        }
    }

    /// Asks those whose turn has come; says whether there were any.
    pub(crate) fn next_change(&mut self) -> bool {
        let due = std::mem::take(&mut self.changing.due);
        for worker in &due {
            let Some(turn) = self.changing.turns.get_mut(worker) else { continue };
            turn.asked = true;
            let fate = match turn.then {
                Then::StartsAnew => Fate::Changes,
                Then::Vanishes => Fate::Vanishes,
            };
            let turn_goes = turn.then == Then::Vanishes;
            let members: Vec<InstanceId> = turn.members.iter().rev().copied().collect();
            for id in members {
                if turn_goes {
                    self.end_leftovers(id);
                }
                match (&self.member(id).state, &fate) {
                    // It has ended by itself just before, and is started anew all the same.
                    (State::Leaving { fate: Fate::Policy(_), .. }, Fate::Changes) => {
                        self.destine(id, Fate::Changes)
                    }
                    _ => self.ask(id, fate.clone()),
                }
            }
        }
        !due.is_empty()
    }

    /// Nothing of `id` is up any more: whoever waited for that may go on.
    pub(crate) fn has_gone(&mut self, id: InstanceId) {
        let Some(turn) = self.changing.turns.get_mut(&id.worker) else { return };
        turn.members.remove(&id);
        if turn.members.is_empty() {
            for other in self.changing.release(id.worker) {
                let waiting =
                    self.all_of(other).into_iter().filter(|&id| self.member(id).state == State::Waiting);
                let waiting: Vec<InstanceId> = waiting.collect();
                self.waits.candidates.extend(waiting);
            }
        }
    }
}

/// What a worker was before it changed.
struct Former {
    autostart: bool,
    was_removed: bool,
    schedule: Option<Schedule>,
    watch: (Option<Duration>, Option<Health>),
}
