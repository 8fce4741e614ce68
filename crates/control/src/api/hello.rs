//! How a worker joins over the control socket alone: it asks, is told who it is, and hears its supervisor's orders on the
//! same connection.

use serde::{Deserialize, Serialize};

/// What a worker asks with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enter {
    /// The version of the wire types it was built with; null: any will do.
    #[serde(default)]
    pub abi: Option<u32>,
}

/// One line of the answer: first who it is, then an order a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelloLine {
    /// Who it is; the first line, and only that.
    Hello(Box<Hello>),
    /// What it is to do.
    Order(Order),
}

/// What a supervisor tells a worker that has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// It should end soon; the stop signal follows at once.
    Stop,
}

/// Who a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The run's name.
    pub run: String,
    /// The worker's name.
    pub worker: String,
    /// The number of its instance, from 0.
    pub instance: u32,
    /// The number of its launch, from 1.
    pub launch: u64,
    /// The pid of the launch's leader, as the supervisor sees it.
    pub pid: i32,
    /// The supervisor's pid.
    pub supervisor: i32,
    /// The config's `args`, a JSON list, as text.
    pub args: String,
    /// The config's `kwargs`, a JSON object, as text.
    pub kwargs: String,
    /// The queues that it may ask for.
    pub queues: Vec<Offered>,
}

/// A queue that a worker may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Its name.
    pub queue: String,
    /// The queue that its dead letters go to.
    pub dead_letter: Option<String>,
}
