//! Stopping many in order: level by level, dependants first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::instance::{Fate, State};
use crate::words::Blame;
use crate::{Ending, InstanceId, Moment, Policy, Supervisor, WorkerId};

/// Where the run stands.
#[derive(Debug)]
pub(crate) enum Run {
    /// Not begun.
    Ahead,
    /// Under way.
    Going,
    /// To be stopped as soon as the present event has been propagated, and why.
    Doomed(Blame),
    /// Nothing is launched any more; the plan is what is still up, and what is adopted.
    Stopping { plan: Plan, blame: Blame, limit: Limit },
    /// Concluded.
    Over,
}

/// When what is left is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Never,
    At(Moment),
    /// It was.
    Over,
}

impl Limit {
    pub(crate) fn is_over(self) -> bool {
        self == Limit::Over
    }
}

/// Who is still to go, by level. A level's turn comes when all above it are gone.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    levels: BTreeMap<u32, BTreeSet<InstanceId>>,
    /// The level of each: it may stand on another one by the time it is gone.
    of: BTreeMap<InstanceId, u32>,
    /// The level whose turn it is.
    turn: Option<u32>,
}

impl Plan {
    /// A plan for those of `members` that are up.
    pub(crate) fn of(supervisor: &Supervisor, members: &[InstanceId]) -> Plan {
        let mut plan = Plan::default();
        for &id in members {
            if supervisor.member(id).state.is_up() {
                plan.add(supervisor, id);
            }
        }
        plan
    }

    fn add(&mut self, supervisor: &Supervisor, id: InstanceId) {
        let level = supervisor.crew(id.worker).place.level;
        self.levels.entry(level).or_default().insert(id);
        self.of.insert(id, level);
    }

    /// Whether the turn of one that is still to go has come.
    pub(crate) fn has_turned_to(&self, id: InstanceId) -> bool {
        let turn = self.turn.unwrap_or(u32::MAX);
        self.of.get(&id).is_some_and(|level| *level >= turn)
    }

    /// Notes that `id` is gone.
    pub(crate) fn remove(&mut self, id: InstanceId) {
        let Some(level) = self.of.remove(&id) else { return };
        if let Some(members) = self.levels.get_mut(&level) {
            members.remove(&id);
            if members.is_empty() {
                self.levels.remove(&level);
            }
        }
    }

    /// Takes in all of another plan. The highest level's turn comes again: it may have new members.
    pub(crate) fn absorb(&mut self, other: Plan) {
        for (level, members) in other.levels {
            self.levels.entry(level).or_default().extend(members);
        }
        self.of.extend(other.of);
        self.turn = None;
    }

    /// Those who are still to go.
    pub(crate) fn left(&self) -> Vec<InstanceId> {
        self.of.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The members of the next level if its turn has just come, in reverse order of the file.
    pub(crate) fn next_turn(&mut self) -> Option<Vec<InstanceId>> {
        let (&level, members) = self.levels.last_key_value()?;
        (self.turn.replace(level) != Some(level)).then(|| members.iter().rev().copied().collect())
    }

    fn members(&self) -> Vec<InstanceId> {
        self.levels.values().rev().flat_map(|members| members.iter().rev()).copied().collect()
    }
}

impl Supervisor {
    pub(crate) fn begin_run(&mut self) {
        if !matches!(self.run, Run::Ahead) {
            return;
        }
        self.run = Run::Going;
        for worker in (0..self.crews.len() as u32).map(WorkerId) {
            self.autostart(worker);
        }
    }

    /// Starts the instances of `worker` that were never started, if they start by themselves.
    pub(crate) fn autostart(&mut self, worker: WorkerId) {
        let crew = self.crew(worker);
        if !crew.spec.autostart {
            return;
        }
        for index in 0..crew.members.len() as u32 {
            let id = InstanceId { worker, index };
            if self.member(id).state == State::Idle {
                self.begin_with_run(id);
            }
        }
    }

    /// Whether the run is being stopped, or is over, for whatever reason: requests to start, stop, restart or scale have
    /// no effect any more.
    pub fn is_stopping(&self) -> bool {
        !self.is_open()
    }

    /// Whether anything may still be started.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.run, Run::Ahead | Run::Going)
    }

    /// Has the run stopped as soon as the present event has been propagated.
    pub(crate) fn doom(&mut self, blame: Blame) {
        if self.is_open() {
            self.run = Run::Doomed(blame);
        }
    }

    pub(crate) fn shutdown(&mut self) {
        self.doom(Blame::Told);
    }

    pub(crate) fn shutdown_now(&mut self) {
        if self.is_open() {
            self.stop_all(Blame::Told);
        }
        self.kill_what_is_left(Blame::Told);
    }

    /// When the run's stop has taken as long as it may.
    pub(crate) fn stop_deadline(&self) -> Option<Moment> {
        match self.run {
            Run::Stopping { limit: Limit::At(at), .. } => Some(at),
            _ => None,
        }
    }

    /// Kills all that is still up, if the run's stop has taken as long as it may.
    pub(crate) fn meet_stop_deadline(&mut self) {
        if let Run::Stopping { blame, limit: Limit::At(at), .. } = &self.run
            && *at <= self.now
        {
            self.kill_what_is_left(blame.clone());
        }
    }

    fn kill_what_is_left(&mut self, blame: Blame) {
        let Run::Stopping { plan, limit, .. } = &mut self.run else { return };
        *limit = Limit::Over;
        for id in plan.members() {
            self.kill(id, &blame);
            self.kill_leftovers(id);
        }
    }

    /// Begins to stop the run if it is time; says whether it did.
    pub(crate) fn start_stopping(&mut self) -> bool {
        let blame = match &self.run {
            Run::Doomed(blame) => blame.clone(),
            Run::Going if self.work_is_done() => Blame::WorkDone,
            _ => return false,
        };
        self.stop_all(blame);
        true
    }

    fn stop_all(&mut self, blame: Blame) {
        self.forget_regrouping();
        self.changing.forget();
        self.break_off_all_rolling();
        let members = self.all_present();
        let limit = self.stop_within.map_or(Limit::Never, |within| Limit::At(self.now + within));
        let mut plan = Plan::of(self, &members);
        for id in self.leftovers.instances() {
            plan.add(self, id);
        }
        self.run = Run::Stopping { plan, blame: blame.clone(), limit };
        for id in members {
            match &self.member(id).state {
                State::Waiting
                | State::Delayed { .. }
                | State::Scheduled { .. }
                | State::Held(_)
                | State::Resting { .. } => self.stay_down(id, blame.clone()),
                State::Leaving { fate: Fate::Rejoins(_) | Fate::Starts | Fate::Changes, .. } => {
                    self.destine(id, Fate::Stays(blame.clone()));
                }
                _ => {}
            }
        }
    }

    /// Orders the next level to stop if its turn has come; says whether it did.
    pub(crate) fn next_level(&mut self) -> bool {
        if let Run::Stopping { plan, blame, .. } = &mut self.run {
            let Some(members) = plan.next_turn() else { return false };
            let blame = blame.clone();
            for id in members {
                match self.crew(id.worker).spec.policy {
                    Policy::Daemon => self.kill(id, &blame),
                    Policy::Wait | Policy::Terminate => self.ask(id, Fate::Stays(blame.clone())),
                }
                self.part_with_leftovers(id);
            }
            return true;
        }
        self.take_down()
    }

    /// An instance ends for good: if it is essential, so does the run.
    pub(crate) fn end_if_essential(&mut self, id: InstanceId, how: &Blame, ending: Option<Ending>) {
        if self.is_open() && self.crew(id.worker).spec.essential {
            self.essential = Some((id, ending));
            self.doom(Blame::Essential(Arc::new((id, how.clone()))));
        }
    }
}
