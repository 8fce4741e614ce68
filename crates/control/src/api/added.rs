//! What is said of a worker that is added while the run goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A worker to be added. What is not said is as in a config that does not say it, but for `restart`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWorker {
    /// Its name; `None`: one made from its command, with a number behind it where that is taken.
    #[serde(default)]
    pub name: Option<String>,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// The working folder, absolute.
    pub cwd: String,
    /// Variables set beside, or over, the supervisor's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How it and its supervisor part.
    #[serde(default)]
    pub policy: Policy,
    /// When it is started again. Not said: never.
    #[serde(default)]
    pub restart: Restart,
    /// How many numbered copies.
    #[serde(default = "one")]
    pub instances: u32,
    /// Which workers must have reached what before it starts.
    #[serde(default)]
    pub after: BTreeMap<String, Milestone>,
}

fn one() -> u32 {
    1
}

/// How a worker and its supervisor part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The run waits for it to end by itself.
    #[default]
    Wait,
    /// Asked to stop when the run's work is done.
    Terminate,
    /// Killed at once when the run's work is done or the supervisor dies.
    Daemon,
}

/// When a worker is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    Never,
    /// When it did not succeed.
    OnFailure,
    /// Whatever its ending.
    Always,
}

/// What a worker can have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// It was executed.
    Started,
    /// It is ready.
    Ready,
    /// It ended well, for good.
    Succeeded,
    /// It ended, for good.
    Ended,
}
