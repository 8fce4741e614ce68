//! What is promised to workers that run by the clock, and to those whose start is delayed.

use supervision::{
    CatchUp, Event, Instance, InstanceId, Moment, OnFailed, Overlap, Phase, Request, Schedule, Target,
    Timing, WorkerId,
};

use super::Checks;

/// A plain reading of the clock of an instance that runs by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// When its next run is due, where the core counts the time.
    next: Option<Moment>,
    /// How many runs follow the present one at once; `None`: that cannot be told.
    owed: Option<u32>,
    /// How many runs are due by the present event.
    due: u32,
}

/// Whether it waits for nothing but a time.
pub fn waits_for_time(instance: &Instance) -> bool {
    instance.phase == Phase::Waiting
        && (is_between_runs(instance) || instance.why.starts_with("its start is delayed by"))
}

fn is_between_runs(instance: &Instance) -> bool {
    instance.why == "waits for its time" || instance.why.starts_with("between two runs; last: ")
}

/// The most runs that follow from times that came since the last look.
fn most(schedule: Schedule, on_time: bool) -> u32 {
    match schedule.catch_up {
        CatchUp::Skip => u32::from(on_time),
        CatchUp::Once => 1,
        CatchUp::All => 100,
    }
}

fn follows(phase: Option<Phase>) -> bool {
    !matches!(phase, None | Some(Phase::Stopped | Phase::Done | Phase::Failed))
}

impl Checks {
    /// Notes whose time the event says has come.
    pub fn note_due(&mut self, event: &Event) {
        for clock in self.clocks.values_mut() {
            clock.due = 0;
        }
        let Event::Due { worker, times, on_time } = event else { return };
        if !self.begun_run || self.stopping_since.is_some() {
            return;
        }
        let Some(schedule) = self.family.workers.get(worker.0 as usize).and_then(|spec| spec.schedule) else {
            return;
        };
        let runs = (*times).min(most(schedule, *on_time));
        if schedule.timing != Timing::Told || runs == 0 {
            return;
        }
        for id in self.targets(Target::Worker(*worker)) {
            if follows(self.phase(id)) {
                self.clocks.entry(id).or_default().due = runs;
            }
        }
    }

    /// Whether its next run is due by the present event, and takes the place of the present one.
    pub fn gives_way_to_the_next(&self, id: InstanceId) -> bool {
        self.spec(id).schedule.is_some_and(|schedule| schedule.overlap == Overlap::Replace)
            && self.clocks.get(&id).is_some_and(|clock| clock.due > 0)
    }

    /// Its schedule is another one from `now` on, or none any more: what was owed is forgotten.
    pub fn rescheduled(&mut self, worker: WorkerId, now: Moment) {
        for id in self.targets(Target::Worker(worker)) {
            self.wind_up(id, now);
        }
    }

    fn wind_up(&mut self, id: InstanceId, now: Moment) {
        let next = match self.spec(id).schedule.map(|schedule| schedule.timing) {
            Some(Timing::Every(every)) => Some(now + every),
            Some(Timing::Told) | None => None,
        };
        self.clocks.insert(id, Clock { next, owed: Some(0), due: 0 });
    }

    /// A new run: what was before is forgiven.
    fn forgive_run(&mut self, id: InstanceId) {
        self.restarts.remove(&id);
        self.unseen.remove(&id);
        self.rests.remove(&id);
    }

    /// Perhaps a new run, perhaps not.
    fn lose_count(&mut self, id: InstanceId) {
        self.restarts.remove(&id);
        self.unseen.insert(id);
        self.rests.insert(id, None);
        self.clocks.entry(id).or_default().owed = None;
    }

    /// Lets the time of `id` go on to `now`.
    fn pass_time(&mut self, id: InstanceId, schedule: Schedule, now: Moment) -> Clock {
        let goes_on = self.begun_run && self.is_open;
        let clock = self.clocks.entry(id).or_default();
        if let (Timing::Every(every), Some(next)) = (schedule.timing, clock.next)
            && next <= now
        {
            let missed = now.since(next).as_nanos() / every.as_nanos();
            let times = u32::try_from(missed + 1).expect("nobody lives so long");
            clock.next = Some(next + every * times);
            clock.due = if goes_on { times.min(most(schedule, true)) } else { 0 };
        }
        *clock
    }

    /// As many runs more follow the present one as are due by the present event.
    fn owe(&mut self, id: InstanceId, schedule: Schedule) {
        let clock = self.clocks.entry(id).or_default();
        if schedule.overlap == Overlap::Queue && clock.due > 0 {
            clock.owed = clock.owed.map(|owed| (owed + clock.due).min(most(schedule, true)));
        }
    }

    /// Looks at what people see of one that runs by the clock.
    pub fn look_at_schedule(&mut self, now: Moment, instance: &Instance) {
        let id = instance.id;
        let Some(schedule) = self.spec(id).schedule else {
            self.clocks.remove(&id);
            return assert!(!is_between_runs(instance), "it does not run by the clock: {instance:?}");
        };
        let before = self.seen.get(&id).cloned();
        if !follows(before.as_ref().map(|before| before.phase)) && follows(Some(instance.phase)) {
            self.wind_up(id, now);
        }
        let clock = self.pass_time(id, schedule, now);
        if is_between_runs(instance) {
            let next = instance.next_launch_in.map(|within| now + within);
            assert_eq!(next, clock.next, "{instance:?}");
            assert_ne!(next, Some(now), "{instance:?}");
        }
        let Some(before) = before else { return };
        let judged = self.judged.is_some_and(|(process, _)| process.instance == id);
        match (is_between_runs(&before), is_between_runs(instance)) {
            (true, true) => assert_eq!(clock.due, 0, "its time has come: {instance:?}"),
            (true, false) if instance.phase == Phase::Stopped => {}
            (true, false) => {
                // A run has begun: its time has come, or somebody asked for it.
                let asked = self.asked_for(id);
                assert!(clock.due > 0 || asked, "before its time: {instance:?}");
                self.forgive_run(id);
                if asked {
                    self.owe(id, schedule);
                } else {
                    self.clocks.entry(id).or_default().owed = Some(clock.due - 1);
                }
            }
            _ if judged => {}
            (false, _) => {
                self.owe(id, schedule);
                let leaves = instance.why == "is started again once it is gone";
                let replaced = before.phase == Phase::Backoff && clock.due > 0;
                if schedule.overlap == Overlap::Replace && (leaves || replaced) {
                    assert_ne!(
                        instance.phase,
                        Phase::Backoff,
                        "its time has come, and it rests: {instance:?}"
                    );
                    // A new run takes the place of the one under way.
                    self.forgive_run(id);
                }
            }
        }
    }

    fn asked_for(&self, id: InstanceId) -> bool {
        match &self.asked {
            Some(Request::Start(target) | Request::Restart(target)) => self.targets(*target).contains(&id),
            Some(Request::Roll(worker)) => id.worker == *worker,
            _ => false,
        }
    }

    /// Whether one that ended by itself has ended a run, and not for good. `well`: how its policy takes it; `again`: what
    /// its policy says; `together`: it is to blame for a restart of several.
    pub fn run_is_over(
        &mut self,
        id: InstanceId,
        well: bool,
        again: bool,
        together: bool,
        now: Moment,
    ) -> bool {
        let seen = self.seen[&id].clone();
        let spec = self.spec(id).clone();
        let Some(schedule) = spec.schedule else { return false };
        let clock = self.clocks.get(&id).copied().unwrap_or_default();
        let within = |at: &&Moment| **at + spec.intensity.within > now;
        let restarts = self.restarts.get(&id).map_or(0, |restarts| restarts.iter().filter(within).count());
        let spent = restarts >= spec.intensity.restarts as usize;
        if is_between_runs(&seen) {
            // In a group it may be spent otherwise.
            let unseen = self.unseen.contains(&id) || !self.tree.is_alone(id.worker);
            assert!(!again || spent || unseen, "its run is not over: {seen:?}");
            assert!(clock.owed.is_none_or(|owed| owed == 0), "another run is owed: {seen:?}");
            assert_eq!(clock.due, 0, "its time has come: {seen:?}");
            self.forgive_run(id);
            self.clocks.entry(id).or_default().owed = Some(0);
            return true;
        }
        // How this run ended may end all; what keeps the next from beginning is another matter.
        if spec.on_failed == OnFailed::Stop && seen.phase == Phase::Failed && (again || !well) {
            return false;
        }
        let may_follow = clock.owed != Some(0) || clock.due > 0;
        match seen.phase {
            // It was told to stop.
            Phase::Stopped => return true,
            Phase::Failed => {
                // What it comes after can no longer come, or the family was started again too often.
                let lost = !spec.after.is_empty() || seen.why.contains("of the family");
                assert!(lost && (again || may_follow), "its run is over, and not for good: {seen:?}");
                // It was to be started again before that was found.
                self.tree.lost_count(id.worker);
                return true;
            }
            _ => {}
        }
        // It goes on: it is started again, or another run follows at once, and which cannot always be told.
        let is_known = self.tree.is_alone(id.worker) && (!again || !self.unseen.contains(&id) || spent);
        if !is_known {
            self.owe(id, schedule);
            self.unseen.insert(id);
            self.rests.insert(id, None);
            let another = matches!(seen.phase, Phase::Waiting | Phase::Starting);
            if !again {
                assert!(another && may_follow, "its run is over: {seen:?}");
                self.follow(id, schedule, clock);
                return true;
            }
            if another && may_follow && !together {
                self.lose_count(id);
                self.tree.lost_count(id.worker);
                return true;
            }
            return false;
        }
        if again && !spent {
            self.owe(id, schedule);
            let rests = !spec.backoff.initial.is_zero();
            if schedule.overlap == Overlap::Replace && clock.due > 0 && rests {
                // It would have rested, and its time has come.
                assert!(matches!(seen.phase, Phase::Waiting | Phase::Starting), "a new run is due: {seen:?}");
                self.charge(now, id, &[]);
                self.forgive_run(id);
                return true;
            }
            return false;
        }
        let another = matches!(seen.phase, Phase::Waiting | Phase::Starting);
        assert!(another && may_follow, "its run is over: {seen:?}");
        self.follow(id, schedule, clock);
        true
    }

    /// A run is over, and another follows at once.
    fn follow(&mut self, id: InstanceId, schedule: Schedule, before: Clock) {
        self.forgive_run(id);
        self.clocks.entry(id).or_default().owed = match before.owed {
            // It waited for its time, which came at the same moment.
            Some(0) => Some(before.due - 1),
            owed => owed.map(|owed| owed - 1),
        };
        if before.owed.is_some_and(|owed| owed > 0) {
            self.owe(id, schedule);
        }
    }
}
