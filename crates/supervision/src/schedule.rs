//! Workers that run by the clock: when a run is due, and what becomes of it when another is still under way.
//!
//! ```text
//!   (never started) ─ with the run ─┬─ every ───► a run at once, and one whenever its period is over
//!                                   └─ told ────► Scheduled
//!   Scheduled ─ due ─► Waiting ─► … a run, with all restarts that its policy makes of it … ─► Scheduled
//!                                       └─ due: skipped | owed: the next run follows at once | replaced
//! ```
//!
//! A run is the life of an instance. How it ends is on record until the next; it is not for good.

use std::time::Duration;

use crate::instance::{Fate, Member, State};
use crate::stopping::Run;
use crate::words::Blame;
use crate::{CatchUp, InstanceId, Moment, OnFailed, Overlap, Schedule, Supervisor, Timing, WorkerId};

/// So many runs of an instance are owed at most, whatever was missed.
pub(crate) const OWED_AT_MOST: u32 = 100;

/// Periods shorter than this are taken as this: nothing could run so often, and the looking would take all the time.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// What an instance owes to its schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Dues {
    /// When its next run is due, where the core itself counts the time.
    pub(crate) next: Option<Moment>,
    /// Runs that follow the present one at once.
    pub(crate) owed: u32,
}

impl State {
    /// Whether a schedule goes on here: it was started, and is not stopped or ended for good.
    pub(crate) fn follows_schedule(&self) -> bool {
        !matches!(
            self,
            State::Absent | State::Idle | State::Stopped(_) | State::Done(_) | State::Failed { .. }
        )
    }
}

impl Supervisor {
    fn schedule_of(&self, id: InstanceId) -> Option<Schedule> {
        self.crew(id.worker).spec.schedule
    }

    /// Begins the schedule of an instance anew, if it has one.
    pub(crate) fn arm(&mut self, id: InstanceId) {
        let Some(schedule) = self.schedule_of(id) else { return };
        let next = match schedule.timing {
            Timing::Every(every) => Some(self.now + every.max(SHORTEST_PERIOD)),
            Timing::Told => None,
        };
        self.change(id, |member| member.dues = Dues { next, owed: 0 });
    }

    /// Its schedule is another one, or none any more: what is under way goes on, what is to come follows the new one.
    pub(crate) fn reschedule(&mut self, id: InstanceId) {
        self.change(id, |member| member.dues = Dues::default());
        self.arm(id);
        let between = matches!(self.member(id).state, State::Scheduled { .. });
        if between && self.schedule_of(id).is_none() {
            self.start_anew(id);
        }
    }

    /// Puts an instance on its way that starts with the run: at once, or when its schedule says so.
    pub(crate) fn begin_with_run(&mut self, id: InstanceId) {
        self.arm(id);
        match self.schedule_of(id) {
            Some(Schedule { timing: Timing::Told, .. }) => {
                self.change(id, |member| {
                    member.state = State::Scheduled { last: Box::new(Blame::Nothing), well: true }
                });
            }
            _ => self.begin(id),
        }
    }

    /// The time of a worker's runs has come so many times since the last look; `on_time`: the last of them is now.
    pub(crate) fn due(&mut self, worker: WorkerId, times: u32, on_time: bool) {
        let Some(crew) = self.crews.get(worker.0 as usize) else { return };
        let told = matches!(crew.spec.schedule, Some(Schedule { timing: Timing::Told, .. }));
        if told {
            for index in 0..crew.members.len() as u32 {
                self.runs_are_due(InstanceId { worker, index }, times, on_time);
            }
        }
    }

    /// Does what is due of the schedule that the core itself counts.
    pub(crate) fn period_over(&mut self, id: InstanceId) {
        let now = self.now;
        let Some(Schedule { timing: Timing::Every(every), .. }) = self.schedule_of(id) else { return };
        let Some(next) = self.member(id).dues.next.filter(|&next| next <= now) else { return };
        let every = every.max(SHORTEST_PERIOD);
        let missed = (now.since(next).as_nanos() / every.as_nanos()) as u64;
        // A whole number of periods later, so that a late look does not shift the runs to come.
        let passed = every.as_nanos().saturating_mul(u128::from(missed) + 1);
        let next = next + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
        self.change(id, |member| member.dues.next = Some(next));
        self.runs_are_due(id, u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1), true);
    }

    fn runs_are_due(&mut self, id: InstanceId, times: u32, on_time: bool) {
        let Some(schedule) = self.schedule_of(id) else { return };
        let most = match schedule.catch_up {
            CatchUp::Skip => u32::from(on_time),
            CatchUp::Once => 1,
            CatchUp::All => OWED_AT_MOST,
        };
        let runs = times.min(most);
        let going = matches!(self.run, Run::Going);
        if !going || runs == 0 || !self.member(id).state.follows_schedule() {
            return;
        }
        if matches!(self.member(id).state, State::Scheduled { .. }) {
            self.change(id, |member| member.dues.owed = runs - 1);
            return self.begin_run_of(id);
        }
        match schedule.overlap {
            Overlap::Skip => {}
            Overlap::Queue => self.change(id, |member| {
                member.dues.owed = member.dues.owed.saturating_add(runs).min(most.max(1));
            }),
            Overlap::Replace => self.replace_run(id),
        }
    }

    /// A new run in place of the one under way.
    fn replace_run(&mut self, id: InstanceId) {
        match &self.member(id).state {
            State::Launching | State::Starting { .. } | State::Running { .. } => self.ask(id, Fate::Starts),
            State::Leaving { fate: Fate::Policy(_), .. } => self.destine(id, Fate::Starts),
            State::Resting { .. } => self.begin_run_of(id),
            // It is about to start, or was told not to.
            _ => {}
        }
    }

    fn begin_run_of(&mut self, id: InstanceId) {
        self.change(id, Member::begin_life);
        self.begin(id);
    }

    /// A run is over, and how; says whether another will come. Where it has failed and the whole run is to end with
    /// that, or nothing may be started any more, none will.
    pub(crate) fn run_is_over(&mut self, id: InstanceId, blame: &Blame, succeeded: bool) -> bool {
        let spec = &self.crew(id.worker).spec;
        if spec.schedule.is_none() || !self.is_open() || (!succeeded && spec.on_failed == OnFailed::Stop) {
            return false;
        }
        if self.member(id).dues.owed > 0 {
            self.change(id, |member| member.dues.owed -= 1);
            self.begin_run_of(id);
        } else {
            let last = Box::new(blame.clone());
            self.change(id, |member| member.state = State::Scheduled { last, well: succeeded });
        }
        true
    }
}
