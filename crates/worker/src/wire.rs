//! What a worker and its supervisor say to each other when they meet.
//!
//! The worker opens a one-shot server, tells its name and a nonce over the control socket ([`control::api::Join`]), and
//! the supervisor connects and sends one [`Hello`]. From then on the supervisor sends [`Command`]s over the channel
//! whose receiver travelled in the `Hello`; a worker reports over the control socket ([`control::api::Tell`]), so that
//! the supervisor never has to read a frame that a worker composed.

use ipc_channel::ipc::IpcReceiver;
use serde::{Deserialize, Serialize};

/// The version of these types. A supervisor refuses a worker that was built with another.
pub const ABI: u32 = 2;

/// The file that a worker makes in the folder of its one-shot server, and holds a lock on as long as it lives: by it the
/// folder of one that was killed is told from one that is in use. It holds the path of the control socket.
pub const PLACE_MARK: &str = ".run";

/// How many commands a supervisor sends to one launch at most: so few that they fit the channel's buffer, and sending
/// never blocks, even when the worker never reads.
pub const COMMANDS_AT_MOST: u32 = 16;

/// The first and only message on the one-shot server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The nonce of the worker's request, repeated.
    pub nonce: String,
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
    /// The config's `args`, a JSON list.
    pub args: String,
    /// The config's `kwargs`, a JSON object.
    pub kwargs: String,
    /// Where the run's queues are.
    pub queues: Vec<Grant>,
    /// Where the run's locks and their like are.
    pub sync: SyncGrant,
    /// Where the supervisor's commands come in.
    pub commands: IpcReceiver<Command>,
}

/// Where a queue is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The queue's name.
    pub queue: String,
    /// What to open: its segment.
    pub path: String,
    /// The name of the queue its dead letters go to.
    pub dead_letter: Option<String>,
}

/// Where the locks and their like are, all in one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGrant {
    /// What to open.
    pub path: String,
    /// What it must be, as hexadecimal digits.
    pub uuid: String,
}

/// What the supervisor tells a worker that has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// It should end soon; the stop signal follows at once.
    Stop,
}
