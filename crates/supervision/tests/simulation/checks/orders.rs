//! Every single order, before it is carried out.

use std::collections::{BTreeMap, BTreeSet};

use supervision::{
    Action, Conclusion, Ending, Instance, InstanceId, Milestone, Moment, Phase, Policy, Process, Supervisor,
    WorkerId,
};

use super::{Checks, without_leftovers};
use crate::world::Body;

impl Checks {
    /// Looks at one action, before it is carried out.
    pub fn action(
        &mut self,
        core: &Supervisor,
        now: Moment,
        bodies: &BTreeMap<Process, Body>,
        action: &Action,
    ) {
        assert!(!self.concluded, "an action after the last");
        match action {
            Action::Launch(process) => self.launch(*process, bodies),
            Action::Ask(process) => self.ask(core, now, *process),
            Action::Abort(process) => self.aborted(now, *process),
            Action::Probe(process, purpose, within) => self.probe(now, *process, *purpose, *within),
            Action::Kill(process) => self.kill(core, now, *process),
            Action::Await(process) => self.awaits(*process, bodies),
            Action::Adopt(process) => self.adopts(*process, bodies),
            Action::AskLeftovers(process) => self.asks_leftovers(core, now, *process, bodies),
            Action::KillLeftovers(process) => self.kills_leftovers(now, *process, bodies),
            Action::Reclaim(process) => {
                let body = &bodies[process];
                assert!(!body.leader && (!body.tree || body.adopted), "reclaimed from the living");
                let record = self.record(*process);
                assert!(record.known_to_have_ended, "reclaimed, and not known to have ended");
                record.reclaims += 1;
                assert_eq!(record.reclaims, 1, "reclaimed twice");
            }
            Action::Conclude(conclusion) => self.conclude(conclusion, bodies),
            Action::Changed(_)
            | Action::Retired(_)
            | Action::Unretired(_)
            | Action::Removed(_)
            | Action::Rolled(..)
            | Action::GaveUp(..) => {}
        }
    }

    fn launch(&mut self, process: Process, bodies: &BTreeMap<Process, Body>) {
        let id = process.instance;
        assert!(self.stopping_since.is_none(), "launched after the run was told to stop");
        let last = self.latest.insert(id, process.launch).map_or(0, |launch| launch.0);
        assert_eq!(process.launch.0, last + 1, "launches are numbered in order");
        for (old, body) in bodies.iter().filter(|(old, _)| old.instance == id) {
            assert!(!body.leader && (!body.tree || body.adopted), "{old:?} still lives");
            let leaves = self.processes.get(old).is_some_and(|record| record.left.is_leaving());
            assert!(!body.tree || !leaves, "what {old:?} left behind is to go, and lives");
            assert!(!body.holds, "what {old:?} held was not given back");
        }
        assert_eq!(self.phase(id), Some(Phase::Starting));
        assert!(!self.removed.contains(&id.worker), "{id:?} was removed");
        self.family_has_gathered(id);
        self.its_turn_has_come(id.worker, bodies);
        for after in &self.spec(id).after {
            let awaited: Vec<_> = self.seen.values().filter(|i| i.id.worker == after.worker).collect();
            let reached = |instance: &&Instance| match after.milestone {
                Milestone::Started => self
                    .processes
                    .iter()
                    .any(|(p, record)| p.instance == instance.id && record.lives_since.is_some()),
                Milestone::Ready => matches!(instance.phase, Phase::Running | Phase::Done),
                Milestone::Succeeded => instance.phase == Phase::Done,
                Milestone::Ended => matches!(instance.phase, Phase::Done | Phase::Failed),
            };
            assert!(
                !awaited.is_empty() && awaited.iter().all(reached),
                "too early: {after:?} of {awaited:?}"
            );
        }
    }

    fn ask(&mut self, core: &Supervisor, now: Moment, process: Process) {
        assert!(self.is_latest(process), "an old launch is asked");
        let grace = self.spec(process.instance).grace;
        let record = self.record(process);
        assert!(record.lives_since.is_some() && !record.known_to_have_ended, "asked, and not known to live");
        assert_eq!(record.kills_alive, 0, "asked after it was killed");
        assert_eq!(record.asked_at.replace((now, grace)), None, "asked twice");
        // Its turn for a change may come by the very event that ends the run.
        let by_change = self.turns.awaits(process);
        if let Some(instance) = core.instance(process.instance, now).map(without_leftovers)
            && !by_change
            && self.stopping_since.is_some()
            && self.spec(process.instance).policy == Policy::Daemon
        {
            assert!(self.stops_alone(&instance, now), "a daemon is asked at the end of the run");
        }
        if let Some(instance) = core.instance(process.instance, now).map(without_leftovers) {
            self.rests_for_one(&instance);
            self.goes_in_its_turn(process, &instance);
        }
        if !by_change {
            self.dependants_are_gone(core, now, process.instance);
        }
    }

    fn kill(&mut self, core: &Supervisor, now: Moment, process: Process) {
        assert!(self.is_latest(process), "an old launch is killed");
        let daemon = self.spec(process.instance).policy == Policy::Daemon;
        let (stopping, killing) = (self.stopping_since.is_some(), self.killing_since.is_some());
        let overdue = self.is_overdue(now);
        let asks_tree = self.spec(process.instance).asks_tree;
        let record = self.record(process);
        if record.known_to_have_ended {
            record.kills_dead += 1;
            assert_eq!(record.kills_dead, 1, "its leftovers are killed twice");
            assert!(!record.left.adopts, "what is adopted is killed with its launch");
            let graced = record.asked_at.is_none_or(|(asked, grace)| now >= asked + grace);
            let asked = asks_tree && !record.left.by_itself && record.kills_alive == 0;
            let has_grace = record.left.awaited || asked;
            let at_once = killing || overdue || (daemon && stopping);
            return assert!(
                graced || at_once || !has_grace,
                "the rest of its tree is killed within its grace"
            );
        }
        record.kills_alive += 1;
        assert_eq!(record.kills_alive, 1, "killed twice");
        assert!(record.lives_since.is_some(), "killed, and not known to live");
        let graced = record.asked_at.is_some_and(|(asked, grace)| now >= asked + grace);
        let at_once = killing || overdue || (daemon && stopping);
        assert!(graced || at_once, "killed before its grace was over");
        if !graced && !killing && !overdue {
            self.dependants_are_gone(core, now, process.instance);
        }
    }

    /// Whether `id` is stopped for what concerns it alone.
    fn stops_alone(&self, instance: &Instance, now: Moment) -> bool {
        let by_itself = instance.why == "stopped by request"
            || instance.why == "is started again once it is gone"
            || instance.why == "scaled away"
            || instance.why == "taken out of the config"
            || instance.why == "its config has changed"
            || super::watch::is_failure(&instance.why);
        // What was told to stop while its launch was under way is asked when that is known.
        // And its next run may take its place by the very event that ends the run.
        by_itself
            || instance.launched_at == Some(now)
            || self.requested.contains(&instance.id)
            || self.gives_way_to_the_next(instance.id)
    }

    /// When the run or the family is stopped, dependants go before what they depend on.
    pub(super) fn dependants_are_gone(&self, core: &Supervisor, now: Moment, id: InstanceId) {
        let Some(instance) = core.instance(id, now).map(without_leftovers) else { return };
        let circle = self.worker_after(id.worker, id.worker) || self.waits_for_a_circle(id.worker);
        if circle || self.stops_alone(&instance, now) {
            return;
        }
        let whole_run = self.stopping_since.is_some();
        for other in self.seen.values() {
            let concerned = whole_run || self.goes_together(&instance, other.id);
            let up = matches!(other.phase, Phase::Starting | Phase::Running | Phase::Stopping)
                || whole_run && other.left_behind.count > 0;
            let depends = self.worker_after(other.id.worker, id.worker);
            assert!(!(concerned && up && depends), "{other:?} depends on {instance:?} and is still up");
        }
    }

    /// Whether `worker` comes after `on`, directly or not.
    pub(super) fn worker_after(&self, worker: WorkerId, on: WorkerId) -> bool {
        self.all_awaited(worker).contains(&on)
    }

    pub(super) fn waits_for_a_circle(&self, worker: WorkerId) -> bool {
        self.all_awaited(worker).into_iter().any(|on| self.worker_after(on, on))
    }

    pub(super) fn all_awaited(&self, worker: WorkerId) -> BTreeSet<WorkerId> {
        let mut found = BTreeSet::new();
        let mut open = vec![worker];
        while let Some(worker) = open.pop() {
            for after in self.family.workers.get(worker.0 as usize).map_or(&[][..], |worker| &worker.after) {
                if found.insert(after.worker) {
                    open.push(after.worker);
                }
            }
        }
        found
    }

    fn conclude(&mut self, conclusion: &Conclusion, bodies: &BTreeMap<Process, Body>) {
        self.concluded = true;
        assert!(self.stopping_since.is_some(), "concluded without a reason");
        for (process, body) in bodies {
            assert!(!body.leader && !body.tree && !body.holds, "concluded while {process:?} is not gone");
        }
        for instance in self.seen.values() {
            let over = matches!(instance.phase, Phase::Stopped | Phase::Done | Phase::Failed);
            assert!(over, "concluded, and {instance:?}");
        }
        let first = self.failed.values().min();
        let told = matches!(conclusion, Conclusion::Essential { .. });
        assert!(told || self.essential.is_empty() || self.ended_otherwise, "who was essential is not named");
        match conclusion {
            Conclusion::Succeeded => assert_eq!(first, None, "succeeded, though {:?} failed", self.failed),
            Conclusion::Essential { instance, ending } => {
                assert!(self.essential.contains(instance), "{instance:?} is not what ended the run");
                assert!(ending.is_none() || *ending == self.seen[instance].last, "{ending:?}");
            }
            Conclusion::Failed { instance, ending } => {
                assert_eq!(self.failed.get(instance), first, "not the first that failed");
                assert_ne!(*ending, Some(Ending::Code(0)));
                assert!(ending.is_none() || *ending == self.seen[instance].last, "{ending:?}");
            }
        }
    }
}
