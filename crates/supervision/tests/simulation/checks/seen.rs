//! What people see after every event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use supervision::{
    Action, GroupId, Instance, InstanceId, Milestone, Moment, OnFailed, Phase, Policy, Process, Restart,
    Supervisor, WorkerId,
};

use super::{Checks, clock, without_leftovers};
use crate::world::{LATEST_NEWS, LONGEST_EXTENSION};

/// Every step of a stop that news or the world takes part in, each as slow as it can be; and late ticks.
const SLOWEST_END: Duration = Duration::from_millis(8 * LATEST_NEWS + 100);

impl Checks {
    /// Looks at what people see after an event, before the orders are carried out.
    pub fn settled(&mut self, core: &Supervisor, now: Moment, actions: &[Action]) {
        if self.concluded {
            assert_eq!(actions, [], "an action after the last");
            return;
        }
        let seen: BTreeMap<InstanceId, Instance> =
            core.instances().map(|instance| (instance.id, without_leftovers(instance))).collect();
        for (&id, instance) in &seen {
            self.look_for_one_more(instance);
            self.look_at(core, now, id, instance, actions);
            self.look_at_waiting(instance, &seen);
            self.look_at_watched(now, instance);
            self.look_at_schedule(now, instance);
            self.look_at_rolled(instance);
        }
        for &(worker, instances) in &self.scaled {
            let Some(spec) = self.family.workers.get(worker.0 as usize) else { continue };
            let of_it = || seen.values().filter(|instance| instance.id.worker == worker);
            let leaves = |instance: &&Instance| instance.why == "scaled away";
            assert!(
                of_it()
                    .skip(instances as usize + usize::from(self.is_rolling(worker)))
                    .all(|instance| leaves(&instance)),
                "too many of {}",
                spec.name
            );
            assert_eq!(of_it().take_while(|i| i.id.index < instances).count(), instances as usize, "too few");
        }
        let mut gone = Vec::new();
        for (&id, instance) in &self.seen {
            if !seen.contains_key(&id) {
                assert!(actions.contains(&Action::Changed(id)), "{instance:?} vanished unnoticed");
                gone.push(id);
            }
        }
        for id in gone {
            let left = core.left_behind(id);
            assert!(left.count == 0 || left.leaving, "{id:?} vanished, and what it left behind stays");
            self.forget(id);
        }
        let changed = |action: &Action| match action {
            Action::Changed(id) => Some(*id),
            _ => None,
        };
        let changed: Vec<InstanceId> = actions.iter().filter_map(changed).collect();
        assert_eq!(changed.iter().collect::<BTreeSet<_>>().len(), changed.len(), "changed twice");
        self.look_at_retired(&seen, actions);
        self.look_at_removed(&seen, actions);
        self.seen = seen;
        self.turns.look(&self.seen);
        if self.begun_run && self.work_is_done() {
            self.note_stop(now);
        }
        self.judge_restart(now, actions);
        let asked = actions.iter().filter_map(|action| match action {
            Action::Ask(process) => Some(*process),
            _ => None,
        });
        let asked: BTreeSet<Process> = asked.collect();
        self.seen.values().for_each(|instance| self.look_at_leftovers(instance));
        self.look_at_rolls(actions);
        if self.stopping_since.is_none() {
            self.nobody_is_forgotten(&asked);
        }

        let deadline = core.next_deadline();
        assert!(deadline.is_none_or(|at| at > now), "a deadline in the past: {deadline:?}, now {now:?}");
        self.stop_in_time(now);
    }

    fn look_at(
        &mut self,
        core: &Supervisor,
        now: Moment,
        id: InstanceId,
        instance: &Instance,
        actions: &[Action],
    ) {
        let fresh = (Phase::Stopped, "not started");
        let before = self.seen.get(&id);
        let differs = match before {
            Some(before) => {
                (before.phase, before.launch, before.left_behind)
                    != (instance.phase, instance.launch, instance.left_behind)
                    || before.why != instance.why && unnumbered(&before.why) != unnumbered(&instance.why)
            }
            None => fresh != (instance.phase, instance.why.as_str()) || instance.left_behind.count > 0,
        };
        let changed = actions.contains(&Action::Changed(id));
        // One that comes back as if it had never been may be told of.
        let is_back = changed && before.is_none();
        assert!(is_back || changed == differs, "changed from {before:?} to {instance:?}");

        let silent = matches!(instance.phase, Phase::Starting | Phase::Running | Phase::Waiting);
        assert!(silent || !instance.why.is_empty(), "no reason for {instance:?}");
        assert!(instance.next_launch_in.is_some() || instance.phase != Phase::Backoff, "{instance:?}");
        let rests = matches!(instance.phase, Phase::Backoff | Phase::Waiting);
        assert!(instance.next_launch_in.is_none() || rests, "{instance:?}");
        let up = matches!(instance.phase, Phase::Starting | Phase::Running | Phase::Stopping);
        assert!(up || instance.launched_at.is_none(), "{instance:?}");
        if let Some(launch) = instance.launch
            && self.is_latest(Process { instance: id, launch })
        {
            assert_eq!(core.is_present(Process { instance: id, launch }), up, "{instance:?}");
        }

        // What it is started again for holds, whatever is said of it later.
        if instance.phase == Phase::Stopping
            && super::STARTED_ANEW.contains(&instance.why.as_str())
            && let Some(launch) = instance.launch
        {
            self.record(Process { instance: id, launch }).own_ending = None;
        }
        // Of who was removed there is only what is still to go.
        assert!(up || !self.removed.contains(&id.worker), "removed, and {instance:?}");
        if instance.phase != Phase::Stopped {
            self.begun.insert(id);
        }
        let wants_up =
            matches!(instance.phase, Phase::Backoff | Phase::Waiting | Phase::Starting | Phase::Running);
        assert!(!wants_up || !self.down.contains(&id), "stopped by request, and {instance:?}");
        assert!(!wants_up || !self.finals.contains(&id), "ended for good, and {instance:?}");
        let mut ends = false;
        if matches!(instance.phase, Phase::Done | Phase::Failed) {
            let anew = self.finals.insert(id);
            if anew && self.was_open && self.spec(id).essential {
                self.essential.insert(id);
                self.note_stop(now);
            }
        }
        if instance.phase != Phase::Failed {
            self.failed.remove(&id);
        } else if !self.failed.contains_key(&id) {
            self.failed.insert(id, self.events);
            if self.spec(id).on_failed == OnFailed::Stop || instance.why.contains("of the family") {
                ends = true;
            }
        }
        if ends {
            self.ended_otherwise |= self.was_open;
            self.note_stop(now);
        }
    }

    /// Nobody waits for what has come, or for what cannot come.
    fn look_at_waiting(&self, instance: &Instance, seen: &BTreeMap<InstanceId, Instance>) {
        if instance.phase != Phase::Waiting {
            return;
        }
        let Some((worker, milestone)) = instance.waits_for else {
            let behind_leftovers = instance.why == "waits for what it left behind to be gone";
            assert!(
                !behind_leftovers || instance.left_behind.leaving,
                "nothing of it is to go: {instance:?}"
            );
            let held = instance.why.contains("together with")
                || instance.why.contains(" to be gone, ")
                || behind_leftovers;
            return assert!(held || clock::waits_for_time(instance), "waits for nothing: {instance:?}");
        };
        let phases: Vec<Phase> = seen.values().filter(|i| i.id.worker == worker).map(|i| i.phase).collect();
        let all = |wanted: &[Phase]| !phases.is_empty() && phases.iter().all(|phase| wanted.contains(phase));
        let failed = phases.contains(&Phase::Failed);
        let (come, never) = match milestone {
            Milestone::Started => (false, false),
            Milestone::Ready => (all(&[Phase::Running]), failed),
            Milestone::Succeeded => (all(&[Phase::Done]), failed),
            Milestone::Ended => (all(&[Phase::Done, Phase::Failed]), false),
        };
        assert!(!self.removed.contains(&worker), "waits for who was removed: {instance:?}");
        assert!(!come, "waits for what has come: {instance:?}");
        assert!(!never, "waits for what cannot come: {instance:?}");
    }

    fn look_at_retired(&mut self, seen: &BTreeMap<InstanceId, Instance>, actions: &[Action]) {
        for worker in (0..self.workers() as u32).map(WorkerId) {
            let mut phases = seen.values().filter(|i| i.id.worker == worker).map(|i| i.phase).peekable();
            let was = self.retired.contains(&worker);
            // Who is scaled down to nothing stays what it was.
            let retired = match phases.peek() {
                Some(_) => phases.all(|phase| matches!(phase, Phase::Done | Phase::Failed)),
                None => was,
            };
            assert_eq!(actions.contains(&Action::Retired(worker)), retired && !was, "{worker:?} retired");
            assert_eq!(actions.contains(&Action::Unretired(worker)), !retired && was, "{worker:?} unretired");
            if retired {
                self.retired.insert(worker);
            } else {
                self.retired.remove(&worker);
            }
        }
    }

    /// Who was removed is told to be gone when it is, and only then.
    fn look_at_removed(&mut self, seen: &BTreeMap<InstanceId, Instance>, actions: &[Action]) {
        for worker in (0..self.workers() as u32).map(WorkerId) {
            let told = actions.contains(&Action::Removed(worker));
            let there = seen.keys().any(|id| id.worker == worker);
            let removed = self.removed.contains(&worker);
            let gone = removed && !there && !self.leaves_others(worker, seen);
            assert_eq!(told, gone && !self.told_gone.contains(&worker), "{worker:?} gone");
            if gone {
                self.told_gone.insert(worker);
            } else if !removed {
                self.told_gone.remove(&worker);
            }
        }
    }

    /// Holds what became of one that ended by itself against its policy, its limits and those of its family.
    fn judge_restart(&mut self, now: Moment, actions: &[Action]) {
        let Some((process, succeeded)) = self.judged else { return };
        let id = process.instance;
        let Some(instance) = self.seen.get(&id).cloned() else { return };
        let instance = &instance;
        let spec = self.spec(id).clone();
        let again = match spec.restart {
            Restart::Never => false,
            Restart::OnFailure => !succeeded,
            Restart::Always => true,
        };
        let gave_up: Vec<GroupId> = actions
            .iter()
            .filter_map(|action| match action {
                Action::GaveUp(group, culprit) if *culprit == id => Some(*group),
                _ => None,
            })
            .collect();
        let to_blame = !gave_up.is_empty() || together_with_itself(instance);
        if spec.schedule.is_some() && self.run_is_over(id, succeeded, again, to_blame, now) {
            return;
        }
        if !again {
            let expected = if succeeded { Phase::Done } else { Phase::Failed };
            return assert_eq!(instance.phase, expected, "ended for good: {instance:?}");
        }
        if let Some(rest) = instance.next_launch_in.filter(|_| instance.phase == Phase::Backoff) {
            let nth = self.rests.entry(id).or_insert(Some(0));
            let backoff = spec.backoff;
            if let Some(nth) = nth {
                let grown = backoff.initial.as_secs_f64() * backoff.factor.powi(*nth);
                let grown = grown.min(backoff.max.as_secs_f64());
                let (shortest, longest) = (grown * (1.0 - backoff.jitter), grown * (1.0 + backoff.jitter));
                let rest = rest.as_secs_f64();
                let fits = (shortest - 1e-6..=longest.min(backoff.max.as_secs_f64()) + 1e-6).contains(&rest);
                assert!(fits, "rests {rest} s, after {nth} rests in a row: {instance:?}");
                *nth += 1;
            }
        }
        let allowed = spec.intensity;
        let alone = self.tree.is_alone(id.worker);
        let together = instance.why.contains("together with");
        if !gave_up.is_empty() {
            self.charge(now, id, &gave_up);
        } else if instance.phase == Phase::Backoff || together_with_itself(instance) || (alone && !together) {
            if matches!(instance.phase, Phase::Backoff | Phase::Waiting | Phase::Starting) {
                self.charge(now, id, &gave_up);
            }
        } else {
            self.tree.lost_count(id.worker);
        }
        let restarts = self.restarts.entry(id).or_default();
        restarts.retain(|&at| at + allowed.within > now);
        match instance.phase {
            Phase::Backoff | Phase::Waiting | Phase::Starting if alone => {
                restarts.push(now);
                assert!(restarts.len() <= allowed.restarts as usize, "too many restarts: {instance:?}");
            }
            Phase::Backoff | Phase::Waiting | Phase::Starting => {
                self.unseen.insert(id);
            }
            Phase::Failed if instance.why.contains("of the family") => {}
            Phase::Failed if instance.why.contains("; last:") && !instance.why.contains(" failed: ") => {
                assert!(
                    self.unseen.contains(&id) || restarts.len() >= allowed.restarts as usize,
                    "given up too early: {instance:?}"
                );
            }
            // It was to be started again, but what it comes after can no longer come.
            Phase::Failed => assert!(!spec.after.is_empty(), "{instance:?}"),
            Phase::Stopped => {
                assert!(self.stopping_since.is_some() || self.down.contains(&id), "{instance:?}");
            }
            _ => panic!("to be started again, and {instance:?}"),
        }
    }

    fn work_is_done(&self) -> bool {
        let mut waited = self.begun.iter().filter(|id| self.spec(**id).policy == Policy::Wait).peekable();
        waited.peek().is_some()
            && waited.all(|id| matches!(self.phase(*id), Some(Phase::Done | Phase::Failed)))
    }

    /// A stop ends in bounded time: level after level, each as slow as it can be.
    fn stop_in_time(&self, now: Moment) {
        let up = self
            .seen
            .values()
            .filter(|i| matches!(i.phase, Phase::Starting | Phase::Running | Phase::Stopping));
        let up: Vec<_> = up.map(|instance| instance.id).collect();
        if let Some(since) = self.stopping_since {
            let level = self.longest_grace + SLOWEST_END + Duration::from_millis(LONGEST_EXTENSION);
            let mut bound = level * (1 + self.workers() as u32);
            if let Some(within) = self.stop_within {
                bound = bound.min(within + SLOWEST_END);
            }
            assert!(now.since(since) <= bound, "told to stop at {since:?}, up at {now:?}: {up:?}");
        }
        if let Some(since) = self.killing_since {
            assert!(now.since(since) <= SLOWEST_END, "told to kill at {since:?}, up at {now:?}: {up:?}");
        }
    }

    /// Nothing is under way in the world, and no deadline will come.
    pub fn nothing_hangs(&self) {
        assert!(self.stopping_since.is_none(), "the stop hangs");
        assert!(!self.begun_run || !self.work_is_done(), "the work is done, and nothing follows");
        for instance in self.seen.values() {
            let moving = matches!(instance.phase, Phase::Starting | Phase::Stopping | Phase::Backoff);
            let held = instance.phase == Phase::Waiting
                && instance.waits_for.is_none()
                && !clock::waits_for_time(instance);
            assert!(!moving && !held, "it hangs: {instance:?}");
        }
    }
}

/// Once a worker is scaled up, `db` is called `db:0`: that is no change.
fn unnumbered(why: &str) -> String {
    why.replace(":0", "")
}

/// Whether it is to blame for a restart of several, and has rested already.
fn together_with_itself(instance: &Instance) -> bool {
    let InstanceId { worker, index } = instance.id;
    let itself = format!("is started again together with w{}", worker.0);
    instance.why == itself || instance.why == format!("{itself}:{index}")
}
