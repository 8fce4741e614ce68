//! Who this worker is, and what it may ask and tell.

use std::fmt;
use std::path::PathBuf;

use control::api::{Request, Tell};
use control::{Client, ClientError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::QueueError;
use crate::queue::{BytesQueue, Queue};
use crate::stopping::Orders;
use crate::stopping::StopFlag;
use crate::sync::MeetingPoint;
use crate::welcome::{Place, Shared, Welcome};

/// A worker that has joined its supervisor.
#[derive(Debug)]
pub struct Me {
    run: String,
    worker: String,
    instance: u32,
    launch: u64,
    supervisor: i32,
    args: String,
    kwargs: String,
    queues: Vec<Shared>,
    pub(crate) meeting_point: MeetingPoint,
    pub(crate) socket: PathBuf,
    pub(crate) stop: StopFlag,
}

/// A report did not reach the supervisor. The worker may go on; whether it can do without is its own decision.
#[derive(Debug)]
pub struct ReportError(ClientError);

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the supervisor was not told: {}", self.0)
    }
}

impl std::error::Error for ReportError {}

impl Me {
    pub(crate) fn new(welcome: Welcome, orders: Orders, socket: PathBuf) -> Me {
        let stop = StopFlag::of_this_process();
        // Without the thread a stop is still known by its signal.
        let _ = stop.hear(orders);
        Me {
            run: welcome.run,
            worker: welcome.worker,
            instance: welcome.instance,
            launch: welcome.launch,
            supervisor: welcome.supervisor,
            args: welcome.args,
            kwargs: welcome.kwargs,
            queues: welcome.queues,
            meeting_point: MeetingPoint::new(welcome.sync),
            socket,
            stop,
        }
    }

    /// The run's name.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The worker's name in the config.
    pub fn name(&self) -> &str {
        &self.worker
    }

    /// The number of this instance, from 0.
    pub fn instance(&self) -> u32 {
        self.instance
    }

    /// The number of this launch of the instance, from 1.
    pub fn launch(&self) -> u64 {
        self.launch
    }

    /// The pid of this process.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The pid of its parent at this moment: the supervisor's, unless it died or something stands between.
    pub fn ppid(&self) -> u32 {
        std::os::unix::process::parent_id()
    }

    /// The supervisor's pid.
    pub fn supervisor(&self) -> i32 {
        self.supervisor
    }

    /// The config's `args`, as any type that a JSON list can be: a tuple, a `Vec`.
    ///
    /// # Errors
    ///
    /// When they are not of that type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.args)
    }

    /// The config's `kwargs`, as any type that a JSON object can be: a struct, a map.
    ///
    /// # Errors
    ///
    /// When they are not of that type.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.kwargs)
    }

    /// A queue of the run whose messages are values of `T`, written as JSON.
    ///
    /// # Errors
    ///
    /// When the run has no queue of that name, or its memory cannot be opened.
    pub fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>, QueueError> {
        self.queue_bytes(name).map(Queue::over)
    }

    /// A queue of the run whose messages are bytes.
    ///
    /// # Errors
    ///
    /// When the run has no queue of that name, or its memory cannot be opened.
    pub fn queue_bytes(&self, name: &str) -> Result<BytesQueue, QueueError> {
        let shared = |name: &str| self.queues.iter().find(|shared| shared.queue == name);
        let Some(found) = shared(name) else {
            return Err(QueueError::Unknown {
                name: name.to_owned(),
                known: self.queues.iter().map(|shared| shared.queue.clone()).collect(),
            });
        };
        let Place::At(path) = &found.place else {
            return BytesQueue::ask(name, &self.socket, &self.stop);
        };
        let dead_letter = found.dead_letter.as_deref().and_then(shared);
        let dead_letter = dead_letter.and_then(|shared| Some((&*shared.queue, shared.place.path()?)));
        BytesQueue::open((name, path), dead_letter, &self.stop)
    }

    /// Tells the supervisor that this worker is ready.
    ///
    /// # Errors
    ///
    /// When the supervisor cannot be reached.
    pub fn ready(&self) -> Result<(), ReportError> {
        self.tell(Tell::Ready)
    }

    /// Tells the supervisor what this worker is at, for `supervisor status`; at most 1,024 characters are kept.
    ///
    /// # Errors
    ///
    /// When the supervisor cannot be reached.
    pub fn status(&self, status: impl Into<String>) -> Result<(), ReportError> {
        self.tell(Tell::Status(status.into()))
    }

    /// Tells the supervisor that this worker is alive.
    ///
    /// # Errors
    ///
    /// When the supervisor cannot be reached.
    pub fn heartbeat(&self) -> Result<(), ReportError> {
        self.tell(Tell::Heartbeat)
    }

    /// Whether the supervisor asked this worker to stop.
    ///
    /// From the first call on, SIGTERM and SIGINT no longer end the process: they set this, and calls that wait on a
    /// queue or for a child return an `Interrupted` error. A worker that never calls it dies of its stop signal, as any program does;
    /// what it had leased is delivered to another.
    pub fn stop_requested(&self) -> bool {
        self.stop.listen();
        self.stop.is_asked()
    }

    fn tell(&self, tell: Tell) -> Result<(), ReportError> {
        let mut client = Client::connect(&self.socket).map_err(ReportError)?;
        client.call::<serde_json::Value>(&Request::Tell(tell)).map(drop).map_err(ReportError)
    }
}
