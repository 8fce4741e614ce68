//! Locks, semaphores, events, values, arrays, barriers and conditions of a run.

use serde::{Deserialize, Serialize};

/// What is asked about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncRequest {
    /// `GET /v1/sync`: all there are.
    List,
    /// `POST /v1/sync/handle`: where their memory is; the caller's pid is watched from then on, so that what it holds
    /// is handed on when it dies.
    Handle(Option<Primitive>),
    /// `POST /v1/sync/create`: define one more, for as long as the run lasts. One that is there already, and is the
    /// same, is left as it is.
    Create(NewPrimitive),
    /// `POST /v1/sync/event`: set an event, or clear it.
    Event(EventStatus),
    /// `POST /v1/sync/value`: read a number, or change it.
    Value(ValueChange),
    /// `POST /v1/sync/array`: read all numbers of an array.
    Array {
        /// The array's name.
        array: String,
    },
    /// `POST /v1/sync/barrier`: let a broken barrier be used again; who waits at it is told that it broke.
    BarrierReset {
        /// The barrier's name.
        barrier: String,
    },
}

/// The kinds there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Held by one at a time.
    Lock,
    /// Held by one at a time, who may take it again.
    Rlock,
    /// Held by so many at a time.
    Semaphore,
    /// Set or not, to be waited for.
    Event,
    /// A shared number.
    Value,
    /// Shared numbers in a row.
    Array,
    /// A place where so many wait for each other.
    Barrier,
    /// A place to wait for news of what a lock protects.
    Condition,
}

impl Kind {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Lock => "lock",
            Kind::Rlock => "rlock",
            Kind::Semaphore => "semaphore",
            Kind::Event => "event",
            Kind::Value => "value",
            Kind::Array => "array",
            Kind::Barrier => "barrier",
            Kind::Condition => "condition",
        }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primitive {
    /// What it is.
    pub kind: Kind,
    /// Its name, which others of another kind may have too.
    pub name: String,
}

/// One that is to be defined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPrimitive {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// A semaphore's permits (1 to 1024), a barrier's parties (1 to 65535), what a value is at first, how many numbers
    /// an array has (1 to 512); nothing of others.
    #[serde(default)]
    pub number: Option<i64>,
}

/// The answer to [`SyncRequest::Create`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Whether it was not there before.
    pub created: bool,
}

/// The answer to [`SyncRequest::Handle`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncHandle {
    /// What to open: the segment that holds all of them. Null for a worker of another user, who gets a descriptor of it
    /// beside the answer.
    pub path: Option<String>,
    /// What the segment must be, as hexadecimal digits: another may be there after a change of supervisors.
    pub uuid: String,
}

/// How a value is changed; without `add` and `set` it is only read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueChange {
    /// The value's name; `NAME:INDEX` for a number of an array, the first being 0.
    pub value: String,
    /// Add so much to it. Nothing that others add is lost.
    #[serde(default)]
    pub add: Option<i64>,
    /// Make it this.
    #[serde(default)]
    pub set: Option<i64>,
}

/// The answer to [`SyncRequest::List`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// The locks.
    pub locks: Vec<LockStatus>,
    /// The semaphores.
    pub semaphores: Vec<SemaphoreStatus>,
    /// The events.
    pub events: Vec<EventStatus>,
    /// The values.
    pub values: Vec<ValueStatus>,
    /// The arrays.
    pub arrays: Vec<ArrayStatus>,
    /// The barriers.
    pub barriers: Vec<BarrierStatus>,
    /// The names of the conditions.
    pub conditions: Vec<String>,
}

/// A process that holds something or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Its pid.
    pub pid: i32,
    /// What it calls itself, else its program's name.
    pub name: String,
    /// The worker it belongs to, if any.
    pub worker: Option<String>,
    /// The instance it belongs to.
    pub instance: Option<u32>,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Its name.
    pub lock: String,
    /// Whether its holder may take it again.
    pub recursive: bool,
    /// Who holds it; null: nobody.
    pub holder: Option<Participant>,
    /// Who waits for it.
    pub waiters: Vec<Participant>,
}

/// A semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemaphoreStatus {
    /// Its name.
    pub semaphore: String,
    /// How many may hold it at once.
    pub permits: u32,
    /// How many more could now.
    pub free: u32,
    /// Who holds it, an entry a permit.
    pub holders: Vec<Participant>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventStatus {
    /// Its name.
    pub event: String,
    /// Whether it is set.
    pub set: bool,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueStatus {
    /// Its name; `NAME:INDEX` for a number of an array.
    pub value: String,
    /// The number.
    pub number: i64,
}

/// An array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayStatus {
    /// Its name.
    pub array: String,
    /// How many numbers it has.
    pub length: u32,
}

/// The answer to [`SyncRequest::Array`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayNumbers {
    /// Its name.
    pub array: String,
    /// Its numbers, each as it was at some moment of the reading.
    pub numbers: Vec<i64>,
}

/// A barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierStatus {
    /// Its name.
    pub barrier: String,
    /// How many must come before all pass.
    pub parties: u32,
    /// How many wait.
    pub waiting: u32,
    /// Whether it is broken: nobody passes until it is reset.
    pub broken: bool,
}
