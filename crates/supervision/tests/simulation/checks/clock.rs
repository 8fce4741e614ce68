//! What is promised to workers that run by the clock, and to those whose start is delayed.

use supervision::{
    CatchUp, Event, Instance, InstanceId, Moment, OnFailed, Overlap, Phase, Request, Schedule, Strategy,
    Target, Timing,
};

use super::Checks;

/// Whether it waits for nothing but a time.
pub fn waits_for_time(instance: &Instance) -> bool {
    instance.phase == Phase::Waiting
        && (is_between_runs(instance) || instance.why.starts_with("its start is delayed by"))
}

/// Whether a run may take another's place, or follow one that the family has ended, so that how often one has rested
/// cannot be told from outside.
pub fn forgives_unseen(schedule: Schedule, strategy: Strategy) -> bool {
    schedule.overlap == Overlap::Replace || strategy != Strategy::OneForOne
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
        let Some(schedule) = self.workers.get(worker.0 as usize).and_then(|spec| spec.schedule) else {
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
                self.forgive(id);
            }
        }
    }

    /// A new run: what was before is forgiven.
    fn forgive(&mut self, id: InstanceId) {
        self.restarts.remove(&id);
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
                self.forgive(instance.id);
            }
            return;
        }
        let id = instance.id;
        if !matches!(instance.phase, Phase::Stopped) {
            // A run has begun: its time has come, or somebody asked for it.
            let told = self.due.contains_key(&id);
            let counted = schedule.timing != Timing::Told
                && before.next_launch_in.is_some_and(|next| self.seen_at + next <= now);
            let scaled = self.scaled.is_some_and(|(worker, _)| worker == id.worker);
            assert!(told || counted || scaled || self.asked_for(id), "before its time: {instance:?}");
        }
        self.forgive(id);
    }

    fn asked_for(&self, id: InstanceId) -> bool {
        match &self.asked {
            Some(Request::Start(target) | Request::Restart(target)) => self.targets(*target).contains(&id),
            _ => false,
        }
    }

    /// Whether one that ended by itself has ended a run, and not for good.
    pub fn run_is_over(&mut self, id: InstanceId, again: bool, now: Moment) -> bool {
        let instance = &self.seen[&id];
        let spec = self.spec(id);
        let stopped = instance.phase == Phase::Stopped;
        let spent = {
            let allowed = spec.intensity;
            let within = |at: &&Moment| **at + allowed.within > now;
            let restarts =
                self.restarts.get(&id).map_or(0, |restarts| restarts.iter().filter(within).count());
            restarts >= allowed.restarts as usize
        };
        let one = self.strategy == Strategy::OneForOne;
        if is_between_runs(instance) {
            let told = spec.schedule.is_some_and(|schedule| forgives_unseen(schedule, self.strategy));
            assert!(!again || spent || !one || told, "its run is not over: {instance:?}");
            self.forgive(id);
            return true;
        }
        if again && !spent || spec.on_failed == OnFailed::Stop && instance.phase == Phase::Failed {
            return false;
        }
        if instance.phase == Phase::Failed {
            // What it comes after can no longer come, or the family was started again too often.
            assert!(!spec.after.is_empty() || instance.why.contains("of the family"), "{instance:?}");
            return true;
        }
        // One that was owed follows at once; so does one whose time comes at this very moment.
        let follows = spec.schedule.is_some_and(|schedule| {
            schedule.overlap == Overlap::Queue
                || schedule.catch_up == CatchUp::All
                || schedule.timing != Timing::Told
        });
        let another = follows && matches!(instance.phase, Phase::Waiting | Phase::Starting);
        let over = another || stopped;
        // Under the other strategies the family may be spent, or it comes up with the others.
        if !over && again && !one {
            return false;
        }
        assert!(over, "its run is over: {instance:?}");
        self.forgive(id);
        true
    }
}
