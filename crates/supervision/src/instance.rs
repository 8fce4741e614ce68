//! One instance: the state it is in, and what others may count of it.

use std::time::Duration;

use crate::restart::Window;
use crate::schedule::Dues;
use crate::vigil::{Trial, Vigil};
use crate::words::{Blame, Cause};
use crate::{Ending, InstanceId, LeftBehind, Moment, Phase, Remark};

/// Where an instance stands, with what belongs to standing there. The diagram is in the documentation of the crate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// Scaled away; its place is kept so that its launches are never numbered twice.
    Absent,
    /// Never started.
    Idle,
    /// Stopped, and why.
    Stopped(Blame),
    /// For what it comes after; or, until the present event is settled, for its launch.
    Waiting,
    /// All it comes after has come, and its start is delayed until then, by so much.
    Delayed { until: Moment, by: Duration },
    /// Between two runs of its schedule, how the last one ended, and whether that was well.
    Scheduled { last: Box<Blame>, well: bool },
    /// Gone, and to be launched again together with its family, for the sake of this one.
    Held(InstanceId),
    /// Between an ending and the next launch.
    Resting { until: Moment, blame: Blame },
    /// Its launch was ordered and not yet answered.
    Launching,
    /// Executed, not yet ready, and how long that may take.
    Starting { ready_by: Moment, within: Duration, trial: Option<Box<Trial>> },
    /// Ready, and how it is watched.
    Running { vigil: Option<Box<Vigil>> },
    /// On its way down.
    Leaving { step: Step, fate: Fate },
    /// Ended well, for good.
    Done(Cause),
    /// Failed for good: the how-manieth of the run, and how it ended where that names a failure.
    Failed { order: u64, ending: Option<Ending>, blame: Blame },
}

/// How far an instance has come on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is to stop, but its launch is not answered yet; then it is asked, or killed.
    Unborn { kill: bool },
    /// Asked to stop; killed when its grace is over, which is put off to `latest` at most.
    Asked { kill_at: Moment, latest: Moment },
    /// Killed; the news of its end is under way.
    Killed,
    /// Its leader has ended when all of its tree was asked; the others have until then before they are killed.
    Outlived { kill_at: Moment },
    /// Its leader has ended; what it left behind is being cleared.
    Clearing,
    /// Its leader has ended by itself; what it left behind lives on, and is being counted.
    Adopting,
    /// Nothing of it lives; what it held is being given back.
    Reclaiming,
}

/// What becomes of an instance once it is gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It ended by itself, or failed to get ready: its restart policy decides.
    Policy(Cause),
    /// The same, but it was asked to stop since: it is stopped where its policy would start it again.
    PolicyOrStopped(Cause),
    /// It was told to stop: it is stopped, however it ends.
    Stays(Blame),
    /// It is launched again together with its family, for the sake of this one.
    Rejoins(InstanceId),
    /// It is started anew, as asked.
    Starts,
    /// It is started anew: what the config says of it has changed.
    Changes,
    /// It was scaled away.
    Vanishes,
}

impl Fate {
    /// Whether it said that it was about to end, and nobody asked it to.
    pub(crate) fn is_of_who_departs(&self) -> bool {
        matches!(self, Fate::Policy(Cause::Departing) | Fate::PolicyOrStopped(Cause::Departing))
    }
}

/// How far an instance has come in its present life: from a start by request, with the run or with its family until it
/// ends for good or is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    Nothing,
    Executed,
    Ready,
}

/// What others have been told of an instance. It has changed when this has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Face {
    pub(crate) phase: Phase,
    pub(crate) left: LeftBehind,
    pub(crate) launch: u64,
    pub(crate) blame: Blame,
}

/// An instance and its record.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) state: State,
    pub(crate) since: Moment,
    /// The number of the present or last launch; 0 before the first.
    pub(crate) launch: u64,
    /// When the present or last launch was executed.
    pub(crate) launched_at: Option<Moment>,
    pub(crate) reached: Reached,
    /// How many times it was started again; `None` before the first launch.
    pub(crate) restarts: Option<u64>,
    /// How its last launch ended.
    pub(crate) last: Option<Ending>,
    /// How many rests in a row it has had.
    pub(crate) rests: u32,
    pub(crate) window: Window,
    /// What is known of the end of its present launch.
    pub(crate) remark: Option<Remark>,
    pub(crate) dues: Dues,
    /// Whether its start is not to be delayed any more.
    pub(crate) delay_over: bool,
    /// What it said went wrong with its present or last launch.
    pub(crate) complaint: Option<Box<str>>,
    pub(crate) face: Face,
}

impl Member {
    /// One that was never started.
    pub(crate) fn idle(now: Moment) -> Member {
        Member {
            state: State::Idle,
            since: now,
            launch: 0,
            launched_at: None,
            reached: Reached::Nothing,
            restarts: None,
            last: None,
            rests: 0,
            window: Window::default(),
            remark: None,
            dues: Dues::default(),
            delay_over: false,
            complaint: None,
            face: Face {
                phase: Phase::Stopped,
                left: LeftBehind::default(),
                launch: 0,
                blame: Blame::NeverStarted,
            },
        }
    }

    /// Makes it as new, but for the number of its launches.
    pub(crate) fn renew(&mut self, state: State, now: Moment) {
        *self = Member { state, launch: self.launch, face: self.face.clone(), ..Member::idle(now) };
    }

    /// Begins a new life: what was before is forgiven.
    pub(crate) fn begin_life(&mut self) {
        self.forgive();
        self.reached = Reached::Nothing;
    }

    /// When it must be looked at though nothing happened.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let due = self.dues.next.filter(|_| self.state.follows_schedule());
        self.state.deadline().into_iter().chain(due).min()
    }

    /// Forgets the record of restarts.
    pub(crate) fn forgive(&mut self) {
        self.rests = 0;
        self.window.clear();
    }

    /// What may be counted of it.
    pub(crate) fn stance(&self) -> Stance {
        let (done, failed) =
            (matches!(self.state, State::Done(_)), matches!(self.state, State::Failed { .. }));
        let ready = match self.state {
            State::Running { .. } => true,
            State::Done(_) => self.reached == Reached::Ready,
            _ => false,
        };
        let present = !matches!(self.state, State::Absent);
        Stance {
            tally: Tally {
                present: present.into(),
                begun: (present && !matches!(self.state, State::Idle)).into(),
                executed: (present && self.reached >= Reached::Executed).into(),
                ready: ready.into(),
                done: done.into(),
                done_unready: (done && !ready).into(),
                failed: failed.into(),
                failed_unexecuted: (failed && self.reached < Reached::Executed).into(),
            },
            kind: match self.state {
                State::Waiting => Kind::Waiting,
                State::Held(_) => Kind::Held,
                State::Resting { .. } => Kind::Resting,
                _ if self.state.is_up() => Kind::Up,
                _ => Kind::Down,
            },
            phase: self.state.phase(),
            launch: self.launch,
            deadline: self.deadline(),
            failed: match self.state {
                State::Failed { order, .. } => Some(order),
                _ => None,
            },
        }
    }
}

impl State {
    /// Where it stands, as people see it.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            State::Absent | State::Idle | State::Stopped(_) => Phase::Stopped,
            State::Waiting | State::Delayed { .. } | State::Scheduled { .. } | State::Held(_) => {
                Phase::Waiting
            }
            State::Resting { .. } => Phase::Backoff,
            State::Launching | State::Starting { .. } => Phase::Starting,
            State::Running { .. } => Phase::Running,
            State::Leaving { .. } => Phase::Stopping,
            State::Done(_) => Phase::Done,
            State::Failed { .. } => Phase::Failed,
        }
    }

    /// Whether there is, or may be, something of it to be stopped, cleared or given back.
    pub(crate) fn is_up(&self) -> bool {
        matches!(
            self,
            State::Launching | State::Starting { .. } | State::Running { .. } | State::Leaving { .. }
        )
    }

    /// When it must be looked at again though nothing happened.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        match self {
            State::Resting { until, .. } | State::Delayed { until, .. } => Some(*until),
            State::Starting { ready_by, trial, .. } => {
                let probe = trial.as_ref().and_then(|trial| trial.probing.due());
                Some(probe.map_or(*ready_by, |at| at.min(*ready_by)))
            }
            State::Running { vigil } => vigil.as_ref().and_then(|vigil| vigil.deadline()),
            State::Leaving { step: Step::Asked { kill_at, .. } | Step::Outlived { kill_at }, .. } => {
                Some(*kill_at)
            }
            _ => None,
        }
    }
}

/// What is counted of an instance wherever something is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stance {
    pub(crate) tally: Tally,
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
    pub(crate) launch: u64,
    pub(crate) deadline: Option<Moment>,
    pub(crate) failed: Option<u64>,
}

/// The states as indexes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Waiting,
    Held,
    Resting,
    Up,
    Down,
}

/// How many instances are what; of one instance, each number is 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Not scaled away.
    pub(crate) present: u32,
    /// Started at some time.
    pub(crate) begun: u32,
    /// Executed at least once in their present life.
    pub(crate) executed: u32,
    /// Ready now; or ended well, for good, after they had been.
    pub(crate) ready: u32,
    pub(crate) done: u32,
    /// Ended well, for good, and never were ready.
    pub(crate) done_unready: u32,
    pub(crate) failed: u32,
    /// Failed for good before they were ever executed.
    pub(crate) failed_unexecuted: u32,
}

impl Tally {
    /// This with the part of one instance replaced by another.
    pub(crate) fn replace(self, old: Tally, new: Tally) -> Tally {
        Tally {
            present: self.present - old.present + new.present,
            begun: self.begun - old.begun + new.begun,
            executed: self.executed - old.executed + new.executed,
            ready: self.ready - old.ready + new.ready,
            done: self.done - old.done + new.done,
            done_unready: self.done_unready - old.done_unready + new.done_unready,
            failed: self.failed - old.failed + new.failed,
            failed_unexecuted: self.failed_unexecuted - old.failed_unexecuted + new.failed_unexecuted,
        }
    }

    /// How many have ended for good.
    pub(crate) fn ended(self) -> u32 {
        self.done + self.failed
    }
}
