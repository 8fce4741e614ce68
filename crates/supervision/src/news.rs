//! What goes into the core and what comes out of it.

use std::fmt;
use std::time::Duration;

#[cfg(doc)]
use crate::Timing;
use crate::{Change, LeftBehind, Milestone, Moment, Remark, Worker};

/// A worker: its place in [`crate::Family::workers`]. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// A group: its place in [`crate::Family::groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// One numbered copy of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// Whose copy it is.
    pub worker: WorkerId,
    /// Its number, from 0.
    pub index: u32,
}

/// The number of a launch among those of its instance, from 1. Late news of an old launch is recognised by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Launch(pub u64);

/// The name of one operating-system process: which launch of which instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// The instance.
    pub instance: InstanceId,
    /// Its launch.
    pub launch: Launch,
}

/// What a probe is to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Whether it is ready.
    Readiness,
    /// Whether it is well.
    Health,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It ended, but nobody could learn how: it was taken back from a former run, and the kernel does not keep its
    /// exit status. Counts as a failure.
    Unknown,
}

/// Why a launch did not come about, in words for people (for example `exec ./nothere: No such file or directory`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchFailure(pub String);

/// Whom a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// All instances of a worker.
    Worker(WorkerId),
    /// One instance.
    Instance(InstanceId),
}

/// What a person or a program asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Start what is not up; clears the record of restarts. No other effect on what is up. What is on its way down is
    /// started once it is gone. What comes after others still does.
    Start(Target),
    /// Stop and stay stopped. No effect on what has ended for good.
    Stop(Target),
    /// Stop, then start anew; what is not up is started.
    Restart(Target),
    /// Restart every instance of a worker, one after the other: a new one is ready before an old one is asked to stop, and
    /// there is one more for as long. Told by [`Action::Rolled`] when it is over. Where nothing is ready, or the worker runs
    /// by the clock ([`crate::Supervisor::can_roll`]), it is restarted plainly, and nothing is told. No effect while it is
    /// under way.
    Roll(WorkerId),
    /// Add a worker while running; it becomes the next [`WorkerId`] and starts if it is `autostart`.
    Add(Box<Worker>),
    /// Make a worker have so many instances, at most [`crate::MAX_INSTANCES`]; touches only the difference (the highest
    /// numbers go first).
    Scale(WorkerId, u32),
    /// Make the family another one, all at once.
    Change(Box<Change>),
}

/// News from the world. Late, doubled or reordered news of a process that is not the instance's present one has no
/// effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The run begins: `autostart` instances are started, but for those taken back before.
    Begin,
    /// Before `Begin`: a process of a former run of the same name still lives, and is this run's again; it is taken as
    /// ready. One whose number is beyond those of its worker is asked to stop, as if scaled away. No effect where there is
    /// no such worker any more: then [`crate::Supervisor::is_present`] says no, and the process is for the caller to end.
    TakenBack(Process),
    /// The command was executed.
    Launched(Process),
    /// The command could not be executed.
    LaunchFailed(Process, LaunchFailure),
    /// The process says that it is ready; or, by news that comes late, that it was before it ended.
    Ready(Process),
    /// The process can no longer become ready, and why: it has closed the way on which it was to say so.
    NeverReady(Process, String),
    /// A probe was answered: it is ready, or well; or why not.
    Probed(Process, Purpose, Result<(), String>),
    /// The process gave a sign of life.
    Alive(Process),
    /// The process wants to give its signs of life this often from now on; zero: never again.
    Beats(Process, Duration),
    /// The process says that something is wrong with it, and that it wants to be treated as one that hangs.
    Ails(Process),
    /// The process needs more time, from now on, to get ready or to stop. A stop is put off by ten minutes at most.
    NeedsTime(Process, Duration),
    /// The process says that it is about to end by itself.
    Departs(Process),
    /// The process says what went wrong with it, for people.
    Complains(Process, String),
    /// The leader of the process's tree ended. Others of its tree may still live.
    Ended(Process, Ending),
    /// Nothing of the process's tree lives any more, the leader included.
    Emptied(Process),
    /// So many processes live on that the process left behind; 0: none does. Answers [`Action::Adopt`]; is told again when they
    /// have become fewer, at the latest when none is left. Before `Begin`, and before its instance is `TakenBack`: a process of a
    /// former run left them behind, earlier launches first, and they are this run's now, where
    /// [`crate::Supervisor::has_left`] then says so; else they are for the caller to end.
    Adopted(Process, u32),
    /// What the process held (leases, locks) was given back.
    Reclaimed(Process),
    /// Something is known of the process's end that its ending does not tell.
    Remarked(Process, Remark),
    /// The time of a worker's runs has come so many times since the last look, where its schedule is [`Timing::Told`];
    /// whether the last of them is now, or was missed too. No effect on instances that are stopped or ended for good.
    Due {
        /// The worker: all of its instances.
        worker: WorkerId,
        /// How many times; 0 has no effect.
        times: u32,
        /// Whether the last of them is now.
        on_time: bool,
    },
    /// Somebody asks for something.
    Asked(Request),
    /// The run is told to stop: everything, gracefully, in reverse order of dependence.
    Shutdown,
    /// The run is told to stop at once: KILL, no grace.
    ShutdownNow,
    /// A deadline came; no other news.
    Tick,
}

/// An order to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Execute the instance's command. Answered by `Launched` or `LaunchFailed`.
    Launch(Process),
    /// Send the stop signal of its worker to it.
    Ask(Process),
    /// Find out whether the process is ready, or well, within so long. Answered by `Probed`, at the latest when that time
    /// is over; not at all once the process has ended. It is the only one of its purpose that is under way; when the
    /// process is asked, aborted or killed, nobody waits for the answer any more.
    Probe(Process, Purpose, Duration),
    /// It seems to hang: have it leave a core dump and end, by a signal that does just that.
    Abort(Process),
    /// KILL everything of its tree, the leader included, until it is empty. Answered by `Ended` (if the leader still
    /// lived) and then `Emptied`. Ordered once whenever a leader has ended, to clear what it left behind: so a process
    /// that was killed is killed again after its end. That, too, is to be answered, by `Emptied` at once if nothing is
    /// left: an `Emptied` that came before `Ended` does not count.
    Kill(Process),
    /// The leader has ended, and the others of its tree were asked to stop and still have time. Answered by `Emptied` as
    /// soon as nothing of it lives; a `Kill` follows when their time is over.
    Await(Process),
    /// The leader has ended by itself, and what it left behind is to live on. Answered by `Adopted`, and by nothing else.
    Adopt(Process),
    /// Send the stop signal of its worker to what lives on that the process left behind. `Adopted` tells when none of it is
    /// left.
    AskLeftovers(Process),
    /// KILL what lives on that the process left behind, until none of it is left. Answered by `Adopted`.
    KillLeftovers(Process),
    /// Give back what the dead process held. Answered by `Reclaimed`.
    Reclaim(Process),
    /// An instance changed its phase, or the reason why it stands there, or it was launched anew: for logs, events, and
    /// those who wait for it. At most once for each event, ahead of all orders. [`crate::Supervisor::instance`] knows
    /// the rest; it finds nothing if the instance was scaled away and is gone.
    Changed(InstanceId),
    /// Every instance of the worker has ended for good, and what they held was given back: what only it puts into is
    /// complete. A worker that is scaled down to no instances at all stays what it was.
    Retired(WorkerId),
    /// A worker that had retired may run again (it was started by request).
    Unretired(WorkerId),
    /// A worker that a [`Change`] removed is gone, with all of its instances. Its id stays its own, should a worker of
    /// its name come back.
    Removed(WorkerId),
    /// A rolling restart of a worker is over; or it has ended early, and why, in words for people: what was not replaced
    /// runs on.
    Rolled(WorkerId, Result<(), String>),
    /// A group has spent its restarts and is started again as a whole, for the sake of this instance. For logs.
    GaveUp(GroupId, InstanceId),
    /// The run is over: nothing lives any more. The last action of all.
    Conclude(Conclusion),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Every worker that ended for good succeeded.
    Succeeded,
    /// The instance that failed first, and its last ending, where there is one to name.
    Failed {
        /// The first that failed.
        instance: InstanceId,
        /// How its last launch ended. `None` when that was none to name: it never got to run; or it exited with 0, which
        /// says nothing of a failure (that it was not ready in time, for example).
        ending: Option<Ending>,
    },
    /// An essential instance ended for good, well or not, and took the run with it.
    Essential {
        /// Which.
        instance: InstanceId,
        /// How its last launch ended; `None`: it never got to run.
        ending: Option<Ending>,
    },
}

/// Where an instance stands, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// For what it comes after.
    Waiting,
    /// Launched, not yet ready.
    Starting,
    /// Ready.
    Running,
    /// Asked or killed; or its leftovers are being cleared.
    Stopping,
    /// Resting before its next launch.
    Backoff,
    /// Ended well, for good.
    Done,
    /// Failed, for good.
    Failed,
    /// Stopped by request, or never started.
    Stopped,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Waiting => "waiting",
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Backoff => "backoff",
            Phase::Done => "done",
            Phase::Failed => "failed",
            Phase::Stopped => "stopped",
        })
    }
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Which.
    pub id: InstanceId,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Moment,
    /// Its present launch, or its last; `None` before the first.
    pub launch: Option<Launch>,
    /// When the present launch was executed; `None` when none is up.
    pub launched_at: Option<Moment>,
    /// How many times it was started again, for whatever reason.
    pub restarts: u64,
    /// How its last launch ended.
    pub last: Option<Ending>,
    /// Why it stands where it stands, in words that name what is to blame; empty when there is nothing to say. What it left
    /// behind and lives on is told behind that.
    pub why: String,
    /// What lives on of what it left behind.
    pub left_behind: LeftBehind,
    /// Whom it waits for and what they must reach.
    pub waits_for: Option<(WorkerId, Milestone)>,
    /// When it will be launched again, when it rests, when its start is delayed, and between two runs of a schedule that
    /// the core itself counts.
    pub next_launch_in: Option<Duration>,
    /// Between two runs of its schedule: whether the last one ended well, or there was none. `None`: it is not.
    pub between_runs: Option<bool>,
}
