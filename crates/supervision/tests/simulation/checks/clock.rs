//! What is promised to workers that run by the clock, and to those whose start is delayed.

use supervision::{
    CatchUp, Event, Instance, InstanceId, Moment, OnFailed, Overlap, Phase, Request, Target, Timing,
};

use super::Checks;

/// Whether it waits for nothing but a time.
pub fn waits_for_time(instance: &Instance) -> bool {
    instance.phase == Phase::Waiting
        && (is_between_runs(instance) || instance.why.starts_with("its start is delayed by"))
}

fn is_between_runs(instance: &Instance) -> bool {
    instance.why == "waits for its time" || instance.why.starts_with("between two runs; last: ")
}

impl Checks {
    /// Notes whose time is about to come.
    pub fn note_due(&mut self, event: &Event) {
        self.due.clear();
        let Event::Due { worker, times, on_time } = event else { return };
        if !self.begun_run || self.stopping_since.is_some() {
            return;
        }
        let Some(schedule) = self.family.workers.get(worker.0 as usize).and_then(|spec| spec.schedule) else {
            return;
        };
        let runs = match schedule.catch_up {
            CatchUp::Skip => (*times).min(u32::from(*on_time)),
            CatchUp::Once => (*times).min(1),
            CatchUp::All => (*times).min(100),
        };
        if schedule.timing != Timing::Told || runs == 0 {
            return;
        }
        for id in self.targets(Target::Worker(*worker)) {
            if !matches!(self.phase(id), None | Some(Phase::Stopped | Phase::Done | Phase::Failed)) {
                self.due.insert(id, runs);
            }
            if schedule.overlap == Overlap::Replace {
                self.forgive_run(id);
            }
        }
    }

    /// A new run: what was before is forgiven.
    fn forgive_run(&mut self, id: InstanceId) {
        self.restarts.remove(&id);
        self.unseen.remove(&id);
        self.rests.remove(&id);
    }

    /// Looks at what people see of one that runs by the clock.
    pub fn look_at_schedule(&mut self, now: Moment, instance: &Instance) {
        let spec = self.spec(instance.id);
        let Some(schedule) = spec.schedule else {
            return assert!(!is_between_runs(instance), "it does not run by the clock: {instance:?}");
        };
        if is_between_runs(instance) {
            assert_eq!(instance.next_launch_in.is_some(), schedule.timing != Timing::Told, "{instance:?}");
            assert!(!self.due.contains_key(&instance.id), "its time has come: {instance:?}");
            assert!(instance.next_launch_in.is_none_or(|next| !next.is_zero()), "{instance:?}");
            return;
        }
        let Some(before) = self.seen.get(&instance.id) else { return };
        if !is_between_runs(before) {
            let leaves = instance.why == "is started again once it is gone";
            let rested = before.phase == Phase::Backoff && instance.phase != Phase::Backoff;
            if schedule.overlap == Overlap::Replace && (leaves || rested) {
                // A new run takes the place of the one under way.
                self.forgive_run(instance.id);
            }
            return;
        }
        let id = instance.id;
        if !matches!(instance.phase, Phase::Stopped) {
            // A run has begun: its time has come, or somebody asked for it.
            let told = self.due.contains_key(&id);
            let counted = schedule.timing != Timing::Told
                && before.next_launch_in.is_some_and(|next| self.seen_at + next <= now);
            let scaled = self.scaled.iter().any(|(worker, _)| *worker == id.worker);
            assert!(told || counted || scaled || self.asked_for(id), "before its time: {instance:?}");
        }
        self.forgive_run(id);
    }

    fn asked_for(&self, id: InstanceId) -> bool {
        match &self.asked {
            Some(Request::Start(target) | Request::Restart(target)) => self.targets(*target).contains(&id),
            // Its schedule may be another one, or none any more.
            Some(Request::Change(_)) => true,
            _ => false,
        }
    }

    /// Whether one that ended by itself has ended a run, and not for good.
    pub fn run_is_over(&mut self, id: InstanceId, again: bool, now: Moment) -> bool {
        let instance = &self.seen[&id];
        let spec = self.spec(id);
        let Some(schedule) = spec.schedule else { return false };
        let alone = self.tree.is_alone(id.worker);
        let spent = {
            let within = |at: &&Moment| **at + spec.intensity.within > now;
            let restarts =
                self.restarts.get(&id).map_or(0, |restarts| restarts.iter().filter(within).count());
            restarts >= spec.intensity.restarts as usize
        };
        // A run may take another's place, or follow one that its group has ended, or by another config than the one before:
        // then how often one was started again, and has rested, cannot be told from outside.
        let unseen = schedule.overlap == Overlap::Replace || !alone || self.was_changed;
        let seen = instance.clone();
        if is_between_runs(&seen) {
            assert!(!again || spent || unseen, "its run is not over: {seen:?}");
            self.forgive_run(id);
            return true;
        }
        if unseen {
            self.unseen.insert(id);
            self.rests.insert(id, None);
        }
        let ends_all = self.spec(id).on_failed == OnFailed::Stop && seen.phase == Phase::Failed;
        if again && !spent || ends_all {
            return false;
        }
        if seen.phase == Phase::Failed {
            // What it comes after can no longer come, or the family was started again too often.
            assert!(!self.spec(id).after.is_empty() || seen.why.contains("of the family"), "{seen:?}");
            return true;
        }
        // One that was owed follows at once; so does one whose time comes at this very moment, and one that is to change.
        let follows = self.was_changed
            || schedule.overlap == Overlap::Queue
            || schedule.catch_up == CatchUp::All
            || schedule.timing != Timing::Told;
        let another = follows && matches!(seen.phase, Phase::Waiting | Phase::Starting);
        let over = another || seen.phase == Phase::Stopped;
        // In a group it may be spent otherwise, or come up with the others.
        if !over && again && (!alone || self.was_changed) {
            return false;
        }
        assert!(over, "its run is over: {seen:?}");
        self.forgive_run(id);
        true
    }
}
