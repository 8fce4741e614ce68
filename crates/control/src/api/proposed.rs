//! What another config would change, and what it did.

use serde::{Deserialize, Serialize};

use super::InstanceStatus;

/// The answer to [`Request::Plan`](super::Request::Plan) and [`Request::Apply`](super::Request::Apply).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The run's name.
    pub name: String,
    /// The config that was read, as an absolute path.
    pub config: String,
    /// Whether anything differs from what runs.
    pub changes: bool,
    /// Every worker of either config: those that run first, then those to be added, each in the order of its file.
    pub workers: Vec<ProposedWorker>,
    /// Queues, locks and their like, as far as they differ.
    pub shared: Vec<ProposedThing>,
    /// What differs in the family as a whole, in words: strategy, intensity, groups, order.
    pub family: Vec<String>,
    /// What became of the instances that were touched; empty in a plan.
    pub instances: Vec<InstanceStatus>,
}

/// What becomes of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedWorker {
    /// Its name.
    pub worker: String,
    /// The heaviest thing that happens to it.
    pub action: Action,
    /// Why, in words; null where nothing happens.
    pub reason: Option<String>,
    /// How many instances it has.
    pub from: u32,
    /// How many it is to have.
    pub to: u32,
}

/// What happens to a worker, from the lightest to the heaviest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    None,
    /// What was changed holds from the next decision on; no process is touched.
    Update,
    /// It is told by the signal of its `reload`.
    Signal,
    /// It gets more or fewer instances; the others are not touched.
    Scale,
    /// Its instances are started again.
    Restart,
    /// It is new.
    Add,
    /// It goes.
    Remove,
}

/// Something that workers share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedThing {
    /// `queue`, `lock`, `rlock`, `semaphore`, `event`, `value`, `array`, `condition` or `barrier`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `add`, `remove` or `change`.
    pub action: String,
    /// What has changed, in words.
    pub reason: Option<String>,
}

/// One thing that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, as a path of keys.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}
