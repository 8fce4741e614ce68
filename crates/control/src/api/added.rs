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
    pub command: Vec<Argument>,
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
    /// The queue whose messages are the lines of its standard input; `None`: that is empty.
    #[serde(default)]
    pub queue_in: Option<String>,
    /// The queue that takes the lines of its standard output as messages; `None`: they go to the log.
    #[serde(default)]
    pub queue_out: Option<String>,
}

/// An argument of a command: text, or any bytes but NUL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Argument {
    /// Text, a JSON string.
    Text(String),
    /// What is not UTF-8, as `{"bytes": [255, 254]}`.
    Bytes {
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Argument {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Argument::Text(text) => text.as_bytes(),
            Argument::Bytes { bytes } => bytes,
        }
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Argument {
        Argument::Text(text.to_owned())
    }
}

/// As text where it is some.
impl From<Vec<u8>> for Argument {
    fn from(bytes: Vec<u8>) -> Argument {
        match String::from_utf8(bytes) {
            Ok(text) => Argument::Text(text),
            Err(error) => Argument::Bytes { bytes: error.into_bytes() },
        }
    }
}

/// A queue to be added. What is not said is as in a config that does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewQueue {
    /// Its name.
    pub name: String,
    /// At most so many messages; `None`: unbounded.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// At most so many bytes of memory; `None`: half of the machine's.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// The longest message, in bytes; `None`: 16 MiB.
    #[serde(default)]
    pub max_message: Option<u64>,
    /// After so many deliveries a message is given up on; `None`: never.
    #[serde(default)]
    pub max_deliveries: Option<u32>,
    /// The queue that takes the messages given up on.
    #[serde(default)]
    pub dead_letter: Option<String>,
    /// Whether its messages survive the end of the run, on disk.
    #[serde(default)]
    pub durable: bool,
    /// How soon a message is on the disk, for a durable queue; `None`: always, or within `fsync_interval_ms` where
    /// that is said.
    #[serde(default)]
    pub fsync: Option<Fsync>,
    /// How long a message may be only in memory, for a durable queue with [`Fsync::Interval`]; `None`: a second.
    #[serde(default)]
    pub fsync_interval_ms: Option<u64>,
}

/// When a message put into a durable queue is made to reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fsync {
    /// Before the put returns: it survives a loss of power.
    Always,
    /// Within a time.
    Interval,
    /// When the system comes to it.
    Never,
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
