//! What a run tells of itself: lines of output, transitions, reasons.

use serde::{Deserialize, Serialize};

use super::InstanceStatus;

/// One line of a worker's output, as [`Request::Logs`](super::Request::Logs) is answered, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the end of it was read: UTC, `2026-11-23T18:45:00.123456Z`.
    pub time: String,
    /// The worker's name; null for what the supervisor has to say of the log itself.
    pub worker: Option<String>,
    /// The instance's number.
    pub instance: Option<u32>,
    /// The instance's launch.
    pub launch: Option<u64>,
    /// `stdout`, `stderr`, or `supervisor`.
    pub stream: String,
    /// The line without its newline; what is not UTF-8 is shown as U+FFFD.
    pub line: String,
    /// Absent when a newline ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// Whether `line` is not what was written: that was not UTF-8. Absent when it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lossy: bool,
    /// So many lines are missing here, because they were not read in time. Absent where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_lines: Option<u64>,
}

/// How a line came to its end without a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partial {
    /// It is very long: the stream's next line goes on with it.
    Split,
    /// Its writer ended, or has not gone on yet.
    End,
}

/// One line of the answer to [`Request::Events`](super::Request::Events).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventLine {
    /// An instance changed.
    Transition(Transition),
    /// Transitions that are no longer kept; or those of a supervisor that was killed, whose run this one took over, and
    /// whose numbers are not given again.
    Missed(Missed),
}

/// An instance changed its state, or the reason why it is in it, or was launched anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its place among all transitions of the run, from 1 and without a gap.
    pub seq: u64,
    /// When: UTC, `2026-11-23T18:45:00.123456Z`.
    pub time: String,
    /// The worker's name.
    pub worker: String,
    /// The instance's number.
    pub instance: u32,
    /// Its present launch, or its last.
    pub launch: Option<u64>,
    /// Its state before; null with the first that is told of it.
    pub from: Option<String>,
    /// Its state since; null when it was scaled away and is gone.
    pub to: Option<String>,
    /// Why, in words.
    pub why: Option<String>,
}

/// A gap in the transitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// So many numbers are missing here. Of those of a supervisor that was killed, not all need have been given.
    pub missed: u64,
    /// The place of the last that is missing.
    pub until_seq: u64,
}

/// One row of the answer to [`Request::Why`](super::Request::Why). Absent facts are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// What `status` tells.
    #[serde(flatten)]
    pub status: InstanceStatus,
    /// How long it has been in its state, in seconds.
    pub since_s: f64,
    /// Whether its last launch left a core dump behind; null when none of its launches was ended by a signal last.
    pub core_dumped: Option<bool>,
    /// In how many seconds it is launched again.
    pub next_launch_in_s: Option<f64>,
    /// Whom it waits for.
    pub waits_for: Option<WaitsFor>,
    /// What is running out for it.
    pub running_out: Option<RunningOut>,
    /// The restarts that it has spent of late.
    pub spent: Spent,
    /// Whom it waits for, whom that one waits for, and so on; or who failed, or was started again with it. The last one
    /// is the root of it.
    pub chain: Vec<Link>,
    /// Who last asked for something of it.
    pub asked: Option<AskedBy>,
    /// What of its config was changed between the launch before its last and that, in words.
    pub changed: Option<String>,
    /// Why the launch before its present one came to an end, in words; null where there was none, and where that was too long
    /// ago to be kept.
    #[serde(default)]
    pub ended_for: Option<String>,
    /// Whether it is up by an older config than its run has now; the newest holds from its next launch on.
    #[serde(default)]
    pub older_config: bool,
    /// What it says of itself.
    pub says: Option<String>,
    /// The last lines of its output, the oldest first.
    pub output: Vec<LogLine>,
}

/// A deadline of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningOut {
    /// `ready_timeout` (then it is stopped), `grace` (then it is killed) or `rest` (then it is launched again).
    pub what: String,
    /// In so many seconds.
    pub left_s: f64,
}

/// The restarts that an instance has spent within its window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// So many.
    pub restarts: u32,
    /// Of so many.
    pub allowed: u32,
    /// The length of the window, in seconds.
    pub within_s: f64,
    /// The oldest is forgotten in so many seconds; null when none is remembered.
    pub forgotten_in_s: Option<f64>,
}

/// One of those who keep an instance from running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The worker.
    pub worker: String,
    /// The instance's number.
    pub instance: u32,
    /// Its state.
    pub state: String,
    /// Why it stands there.
    pub why: Option<String>,
}

/// Who asked for something, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedBy {
    /// For what: `start`, `stop`, `restart`, `scale`, `kill`, `apply`, `spawn`, `shutdown`, or a signal to the supervisor.
    pub what: String,
    /// The user; null where nobody can tell.
    pub uid: Option<u32>,
    /// The process; null where nobody can tell.
    pub pid: Option<i32>,
    /// Its command line at that time; null where nobody can tell.
    pub command: Option<String>,
    /// So many seconds ago.
    pub ago_s: f64,
}

/// What an instance waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// The worker.
    pub worker: String,
    /// What it must have reached.
    pub milestone: super::Milestone,
}

fn is_false(flag: &bool) -> bool {
    !flag
}
