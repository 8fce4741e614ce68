//! What goes over the wire: one [`Request`] type, the reports that answer it, and the error that refuses it.

mod added;
mod hello;
mod kill;
mod proposed;
mod sync;
mod told;

use serde::{Deserialize, Serialize};

pub use added::{Argument, Fsync, Milestone, NewQueue, NewWorker, Policy, Restart};
pub use hello::{Enter, Hello, HelloLine, Offered, Order};
pub use kill::{Kill, KillOrder, Killed, ProcessRow};
pub use proposed::{Action, Problem, Proposal, ProposedThing, ProposedWorker};
pub use sync::{
    ArrayNumbers, ArrayStatus, BarrierStatus, Created, EventStatus, Kind, LockStatus, NewPrimitive,
    Participant, Primitive, SemaphoreStatus, SyncHandle, SyncRequest, SyncStatus, ValueChange, ValueStatus,
};
pub use told::{
    AskedBy, EventLine, Link, LogLine, Missed, Partial, RunningOut, Spent, Transition, WaitsFor, Why,
};

/// How a process ended: `{"code": 1}` or `{"signal": 9}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// The exit code a shell would show: the code itself, or 128 + the signal.
    pub fn folded(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// The answer to [`Request::Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The run's name.
    pub name: String,
    /// The supervisor's pid.
    pub pid: i32,
    /// The config file it runs, as an absolute path.
    pub config: Option<String>,
    /// One row an instance, in the order of the file.
    pub workers: Vec<InstanceStatus>,
    /// Whether a file that the config was read from has changed since; looked at when asked. Absent when none has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub config_newer: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One row of [`Status`]. Absent facts are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The worker's name.
    pub worker: String,
    /// The instance's number, from 0.
    pub instance: u32,
    /// Its present launch, or its last.
    pub launch: Option<u64>,
    /// `waiting`, `starting`, `running`, `stopping`, `backoff`, `done`, `failed` or `stopped`.
    pub state: String,
    /// The pid of the process that leads it, while one lives.
    pub pid: Option<i32>,
    /// That process's parent.
    pub ppid: Option<i32>,
    /// How long the present launch has been up, in seconds.
    pub uptime_s: Option<f64>,
    /// How many times it was started again.
    pub restarts: u64,
    /// How its last launch ended.
    pub exit: Option<Exit>,
    /// `wait`, `terminate` or `daemon`.
    pub policy: String,
    /// Why it stands where it stands.
    pub why: Option<String>,
}

/// One row of the answer to [`Request::Queues`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// The queue's name.
    pub queue: String,
    /// At most so many messages; null: unbounded.
    pub capacity: Option<u64>,
    /// Messages that wait to be taken.
    pub len: u64,
    /// Messages taken and not yet acknowledged.
    pub in_flight: u64,
    /// Whether puts are over.
    pub closed: bool,
    /// Messages put since the start.
    pub puts: u64,
    /// Messages taken since the start.
    pub gets: u64,
    /// Messages delivered again because their taker died or gave them back.
    pub redelivered: u64,
    /// Messages given up on after too many deliveries.
    pub dead: u64,
}

/// The answer to [`Request::QueueHandle`]: how the caller, whose pid is now watched, opens the queue itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueHandle {
    /// The queue's name.
    pub queue: String,
    /// What to open: the queue's segment. Null for a worker of another user, who gets a descriptor of it beside the answer:
    /// the queue's first, then that of its dead letters.
    pub path: Option<String>,
    /// The queue its dead letters go to, if one is named.
    pub dead_letter: Option<Box<QueueHandle>>,
}

/// The answer to requests that act on workers: what became of each instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// One row an instance.
    pub instances: Vec<InstanceStatus>,
}

/// How many instances a worker is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// The worker's name.
    pub worker: String,
    /// So many; 0: none.
    pub instances: u32,
}

/// The answer to [`Request::Wait`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// How what was waited for ended; null when nobody could learn how, or it was never launched.
    pub exit: Option<Exit>,
    /// The instance's state by then; null for a pid.
    pub state: Option<String>,
}

/// What a worker sends to meet its supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// The name of the one-shot server on which the worker awaits its `Hello`.
    pub server: String,
    /// 128 random bits as hexadecimal digits, to be repeated in the `Hello`.
    pub nonce: String,
    /// The version of the wire types the worker was built with.
    pub abi: u32,
}

/// What a worker tells its supervisor while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// It is ready.
    Ready,
    /// A word on what it does, for `status` and `why`.
    Status(String),
    /// It is alive.
    Heartbeat,
}

/// Which process or processes a request means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// A pid.
    Pid(i32),
    /// `NAME` or `NAME:INSTANCE`.
    Worker(String),
}

impl Who {
    /// Digits alone are a pid; anything else names a worker.
    pub fn parse(text: &str) -> Who {
        match text.parse() {
            Ok(pid) if !text.starts_with('+') => Who::Pid(pid),
            _ => Who::Worker(text.to_owned()),
        }
    }
}

/// Everything that can be asked of a running supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// `GET /v1/status?worker=…`: all instances, or those of the named workers.
    Status {
        /// `NAME` or `NAME:INSTANCE`; empty: all.
        workers: Vec<String>,
    },
    /// `GET /v1/ps`: the process tree.
    Ps,
    /// `POST /v1/start`.
    Start {
        /// `NAME` or `NAME:INSTANCE`.
        workers: Vec<String>,
        /// Answer when it is so (running, or it cannot come), not before.
        wait: bool,
    },
    /// `POST /v1/stop`.
    Stop {
        /// `NAME` or `NAME:INSTANCE`.
        workers: Vec<String>,
        /// Answer when the trees are empty, not before.
        wait: bool,
    },
    /// `POST /v1/restart`.
    Restart {
        /// `NAME` or `NAME:INSTANCE`.
        workers: Vec<String>,
        /// Answer when the new launches are running, not before.
        wait: bool,
        /// Let a new launch get ready before an old one is asked to stop, also where the config does not say so.
        rolling: bool,
    },
    /// `POST /v1/scale`: give workers more or fewer instances. The highest numbers go first; the others are not touched.
    Scale {
        /// How many each is to have.
        workers: Vec<Size>,
        /// Answer when the new ones are running and nothing is left of the surplus, not before.
        wait: bool,
    },
    /// `POST /v1/spawn`: add a worker, and start it.
    Spawn {
        /// The worker.
        worker: NewWorker,
        /// Answer when it runs, or cannot come to, not before.
        wait: bool,
    },
    /// `GET /v1/plan?config=…`: what another config would change. Answered by a [`Proposal`].
    Plan {
        /// The config, as an absolute path; `None`: the file that the run was started from.
        config: Option<String>,
        /// Whether the run is meant though the config is of another name.
        named: bool,
    },
    /// `POST /v1/apply`: make the run what a config says. What is the same keeps running. Answered by a [`Proposal`].
    Apply {
        /// The config, as an absolute path; `None`: the file that the run was started from.
        config: Option<String>,
        /// Whether the run is meant though the config is of another name.
        named: bool,
        /// Answer when what is new runs and nothing is left of the old, not before.
        wait: bool,
    },
    /// `GET /v1/logs?worker=…&lines=…&follow=…`: what workers print. Answered by a stream of [`LogLine`]s.
    Logs {
        /// `NAME` or `NAME:INSTANCE`; `None`: all.
        worker: Option<String>,
        /// Begin with so many of the last lines of each worker.
        lines: u32,
        /// Go on with what comes, until the run ends.
        follow: bool,
    },
    /// `GET /v1/events?after=…&follow=…`: what happened. Answered by a stream of [`EventLine`]s.
    Events {
        /// Only what came after the one with this number; 0: all that is kept.
        after: u64,
        /// Go on with what comes, until the run ends.
        follow: bool,
    },
    /// `GET /v1/why?worker=…`: why instances stand where they stand.
    Why {
        /// `NAME` or `NAME:INSTANCE`.
        worker: String,
    },
    /// `POST /v1/kill`: send a signal to a process, or to a whole tree.
    Kill(Kill),
    /// `POST /v1/wait`: answer when it has ended (a worker: for good).
    Wait {
        /// Whom.
        whom: Who,
        /// Give up after so many milliseconds.
        timeout_ms: Option<u64>,
    },
    /// `POST /v1/shutdown`: answer when everything but the supervisor itself is gone.
    Shutdown {
        /// KILL at once, no grace.
        now: bool,
    },
    /// `GET /v1/queues`.
    Queues,
    /// `POST /v1/queues/NAME/handle`: where the queue's memory is; the caller's pid is watched from then on, so that
    /// what it holds is given back when it dies.
    QueueHandle {
        /// The queue's name.
        queue: String,
    },
    /// `POST /v1/queues/NAME/close`.
    QueueClose {
        /// The queue's name.
        queue: String,
    },
    /// `POST /v1/queues/create`: makes a queue.
    QueueCreate(NewQueue),
    /// `POST /v1/queues/NAME/remove`: forgets a queue that no worker uses, and what is in it.
    QueueRemove {
        /// The queue's name.
        queue: String,
    },
    /// Locks, semaphores, events, values, arrays, barriers and conditions.
    Sync(SyncRequest),
    /// `POST /v1/join`: a worker asks for its `Hello`.
    Join(Join),
    /// `POST /v1/hello`: a worker joins without a server of its own. Answered by a stream of [`HelloLine`]s, as long as its
    /// launch and the supervisor last.
    Hello(Enter),
    /// `POST /v1/tell`: a worker reports.
    Tell(Tell),
}

/// Why a request was refused. The exit code of the command follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// It failed (exit 1).
    Failed,
    /// The request makes no sense (exit 2).
    Usage,
    /// The config has problems (exit 3).
    Problems,
    /// No such worker, pid, queue or lock (exit 4).
    NotFound,
    /// The supervisor is going away (exit 5).
    NotRunning,
    /// It would block (exit 6).
    WouldBlock,
    /// It timed out (exit 7).
    TimedOut,
    /// It is closed (exit 8).
    Closed,
    /// Not ours, not permitted (exit 9).
    Refused,
}

/// The body of a refusal is `{"error": {"code", "message", "hint"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What kind.
    pub code: ErrorCode,
    /// What, in words: lower case, no full stop.
    pub message: String,
    /// What to do next, where something can be said.
    pub hint: Option<String>,
    /// With `problems`: each of them. Absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl ApiError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into(), hint: None, problems: Vec::new() }
    }

    /// The same error with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint = Some(hint.into());
        self
    }
}

/// The envelope of [`ApiError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}
