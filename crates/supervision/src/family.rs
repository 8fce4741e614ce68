//! What the core is told of the workers before the run begins: only what it decides by.

use std::time::Duration;

use crate::{GroupId, WorkerId};

/// All workers of a run, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The workers; a [`WorkerId`] is a place in this list.
    pub workers: Vec<Worker>,
    /// Who else is restarted when one is.
    pub strategy: Strategy,
    /// How many restarts the whole family may spend. `None`: under `one_for_one` only each worker's own intensity
    /// counts; under the other strategies the default of [`Intensity`] does.
    pub intensity: Option<Intensity>,
    /// How long stopping the whole run may take; what is not gone by then is killed. `None`: as long as the graces of its
    /// levels add up to.
    pub stop_within: Option<Duration>,
    /// Whether the run goes on when its work is done, since more may be added: it ends only when it is told to.
    pub lasts: bool,
    /// The groups; a [`GroupId`] is a place in this list. Who is in none belongs to the family directly.
    pub groups: Vec<Group>,
    /// The seed of all jitter.
    pub seed: u64,
}

impl Family {
    /// These workers under `one_for_one`, without an intensity of the family's own and without a limit on its stop, in a run
    /// that ends with its work, and with the seed 0.
    pub fn of(workers: Vec<Worker>) -> Family {
        Family {
            workers,
            strategy: Strategy::OneForOne,
            intensity: None,
            stop_within: None,
            lasts: false,
            groups: Vec::new(),
            seed: 0,
        }
    }
}

/// A part of the family that shares a fate (a supervisor below a supervisor, in the terms of Erlang/OTP).
///
/// What its strategy says is limited to its own: its workers, and its groups as a whole. When more restarts were needed
/// than its intensity allows, it gives up: that is one restart of one child to its parent, which starts it again as a
/// whole, and with it whom its own strategy says; or gives up in turn. When the family itself has to give up, the run
/// fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name, unique among groups.
    pub name: String,
    /// Who else of the group is restarted when one is. A group within it stands in the order of the file where its
    /// first worker stands.
    pub strategy: Strategy,
    /// How many restarts the group may spend; it always counts.
    pub intensity: Intensity,
    /// The workers that belong to it directly. A worker that several name belongs to the first of them.
    pub workers: Vec<WorkerId>,
    /// The groups within it. One that several name, or that would lie within itself, belongs to the first, or to none.
    pub groups: Vec<GroupId>,
}

/// One worker: an entry of the config.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Its name, unique in the family.
    pub name: String,
    /// How many numbered copies run side by side; at most [`crate::MAX_INSTANCES`].
    pub instances: u32,
    /// How it and its supervisor part.
    pub policy: Policy,
    /// When it is started again.
    pub restart: Restart,
    /// Exit codes that count as success.
    pub success_codes: Vec<i32>,
    /// How long it rests before it is started again.
    pub backoff: Backoff,
    /// How many restarts each of its instances may spend before it has failed for good.
    pub intensity: Intensity,
    /// What its failing for good means to the run.
    pub on_failed: OnFailed,
    /// Whether the run ends when an instance of it has ended for good, with that ending.
    pub essential: bool,
    /// How long it has between the stop signal and KILL.
    pub grace: Duration,
    /// Whether all of its tree is asked to stop, and has its grace though the leader may end before it.
    pub asks_tree: bool,
    /// What must have happened before it starts.
    pub after: Vec<After>,
    /// When it counts as ready.
    pub readiness: Readiness,
    /// What becomes of those whom it leaves behind when it ends by itself.
    pub leftover: Leftover,
    /// A launch that is ready must give a sign of life at least this often.
    pub watchdog: Option<Duration>,
    /// How it is found out whether a launch that is ready is well.
    pub health: Option<Health>,
    /// When it runs by the clock; `None`: once, with its restarts.
    pub schedule: Option<Schedule>,
    /// How long a launch must have been ready until a rolling restart takes it for good and goes on.
    pub min_ready: Duration,
    /// How long it waits, where it starts with the run, once all it comes after has come.
    pub start_delay: Duration,
    /// Whether it starts with the run.
    pub autostart: bool,
}

impl Worker {
    /// A worker of this name that has the default of everything: one instance, waited for, started again on failure,
    /// 10 s of grace, ready at its start, started with the run, after nobody.
    pub fn named(name: impl Into<String>) -> Worker {
        Worker {
            name: name.into(),
            instances: 1,
            policy: Policy::default(),
            restart: Restart::default(),
            success_codes: vec![0],
            backoff: Backoff::default(),
            intensity: Intensity::default(),
            on_failed: OnFailed::default(),
            essential: false,
            grace: Duration::from_secs(10),
            asks_tree: false,
            after: Vec::new(),
            readiness: Readiness::Start,
            leftover: Leftover::Kill,
            watchdog: None,
            health: None,
            schedule: None,
            min_ready: Duration::ZERO,
            start_delay: Duration::ZERO,
            autostart: true,
        }
    }
}

/// How a worker and its supervisor part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The run waits for it to end by itself.
    #[default]
    Wait,
    /// Asked to stop when the run's work is done, killed after its grace.
    Terminate,
    /// Killed at once when the run's work is done or the supervisor dies.
    Daemon,
}

/// When an instance that ended by itself is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never: whatever its ending, it is for good.
    Never,
    /// When it did not succeed.
    #[default]
    OnFailure,
    /// Whatever its ending.
    Always,
}

/// Exponential rest between an ending and the next launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first rest. Zero: no rest at all.
    pub initial: Duration,
    /// What each rest is multiplied by to give the next; at least 1.
    pub factor: f64,
    /// The longest rest.
    pub max: Duration,
    /// The part of a rest, 0 to 1, by which chance may lengthen or shorten it.
    pub jitter: f64,
    /// A launch that lived this long makes the next rest the first again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            initial: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.1,
            reset_after: Duration::from_secs(10),
        }
    }
}

/// At most so many restarts within a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts are allowed within the window; 0: none at all.
    pub restarts: u32,
    /// The length of the window.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Intensity {
        Intensity { restarts: 5, within: Duration::from_secs(10) }
    }
}

/// What an instance's failing for good means to the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailed {
    /// The others go on.
    #[default]
    Ignore,
    /// The whole run stops, and fails.
    Stop,
}

/// What becomes of processes that a worker leaves behind when it ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leftover {
    /// They are killed.
    #[default]
    Kill,
    /// They are killed, and the worker has failed.
    Fail,
    /// They live on, until the worker is stopped or the run ends.
    Adopt,
}

/// Who else is restarted when one instance is (the semantics of Erlang/OTP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Only the one that ended.
    #[default]
    OneForOne,
    /// All of the family.
    OneForAll,
    /// The one that ended and those after it in the order of the file.
    RestForOne,
}

/// One thing that must have happened before a worker starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// The worker it waits for: all of its instances.
    pub worker: WorkerId,
    /// What they must have reached.
    pub milestone: Milestone,
}

/// What a worker can have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// Its command was executed.
    Started,
    /// It is ready.
    Ready,
    /// It ended well, for good.
    Succeeded,
    /// It ended, for good, however it did.
    Ended,
}

/// When a launch counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as its command was executed.
    Start,
    /// When [`crate::Event::Ready`] says so; a launch that is not ready in time is killed and counts as failed.
    Told {
        /// How long it may take.
        timeout: Duration,
    },
    /// The same, and it is asked again and again by [`crate::Action::Probe`].
    Probed {
        /// How long it may take.
        timeout: Duration,
    },
}

/// When a worker runs by the clock, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When runs are due.
    pub timing: Timing,
    /// What becomes of a run that is due while another is under way.
    pub overlap: Overlap,
    /// What becomes of runs whose time was missed.
    pub catch_up: CatchUp,
}

/// When runs are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// At its start, and then whenever this time is over; at least a millisecond.
    Every(Duration),
    /// When [`crate::Event::Due`] says so.
    Told,
}

/// What becomes of a run that is due while another is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It follows the other at once; one at most, or as many as were missed where all are made up for.
    Queue,
    /// It takes the place of the other, which is stopped for it.
    Replace,
}

/// What becomes of runs whose time was missed: the machine slept, or its clock was set forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// They are left out.
    Skip,
    /// One run makes up for all.
    #[default]
    Once,
    /// Each is made up for, one after the other; a hundred at most.
    All,
}

/// How it is found out whether a launch is well: by [`crate::Action::Probe`], from when it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The time between the beginnings of two probes; a probe that takes longer puts off the next.
    pub every: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// So many failures in a row mean that the launch has failed; at least 1.
    pub failures: u32,
    /// Failures in this first time after it was ready do not count, unless a probe has succeeded.
    pub start_grace: Duration,
}
