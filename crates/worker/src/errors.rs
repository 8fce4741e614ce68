//! What can go wrong with a queue, for a worker's author.

use std::fmt;

use control::ClientError;
use ipc::{Fault, OpenError};

/// Why a queue cannot be used.
#[derive(Debug)]
pub enum QueueError {
    /// The run has no queue of that name.
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Its memory cannot be opened.
    Open {
        /// The queue's name.
        name: String,
        /// Why.
        why: OpenError,
    },
    /// The supervisor did not hand its memory over; only workers that run as another user have to ask for it.
    Supervisor {
        /// The queue's name.
        name: String,
        /// Why.
        why: ClientError,
    },
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueError::Unknown { name, known } if known.is_empty() => {
                write!(f, "no queue is called {name:?}; this run has none")
            }
            QueueError::Unknown { name, known } => {
                write!(f, "no queue is called {name:?}; there are {}", known.join(", "))
            }
            QueueError::Open { name, why } => write!(f, "queue {name:?} cannot be opened: {why}"),
            QueueError::Supervisor { name, why } => write!(f, "queue {name:?} cannot be had: {why}"),
        }
    }
}

impl std::error::Error for QueueError {}

/// Why nothing was put.
#[derive(Debug)]
pub enum PutError {
    /// It is full (`try_put` alone says so).
    Full,
    /// It is closed; no put will ever succeed again.
    Closed,
    /// It was full all the time (`put_timeout` alone says so).
    Timeout,
    /// The message is longer than the queue takes.
    TooLarge {
        /// Bytes of the message.
        length: u64,
        /// Bytes it may have at most.
        limit: u64,
    },
    /// This worker was asked to stop while it waited.
    Interrupted,
    /// The value cannot be written as JSON.
    Encode(serde_json::Error),
    /// The disk of a durable queue has no room for the message.
    NoRoom,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full => f.write_str("full"),
            PutError::Closed => f.write_str("closed"),
            PutError::Timeout => f.write_str("timed out"),
            PutError::TooLarge { length, limit } => {
                write!(f, "too large: {length} bytes where {limit} are allowed")
            }
            PutError::Interrupted => f.write_str("interrupted: asked to stop"),
            PutError::Encode(error) => write!(f, "cannot be written as JSON: {error}"),
            PutError::NoRoom => f.write_str("the disk is full"),
            PutError::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for PutError {}

/// Why not all of several messages were put.
#[derive(Debug)]
pub struct PutManyError {
    /// How many were put, the first ones.
    pub put: usize,
    /// Why the next was not.
    pub error: PutError,
}

impl fmt::Display for PutManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} messages: {}", self.put, self.error)
    }
}

impl std::error::Error for PutManyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Why nothing was got.
#[derive(Debug)]
pub enum GetError {
    /// It is empty (`try_get` and `try_lease` alone say so).
    Empty,
    /// It is closed and drained; nothing will ever come again.
    Closed,
    /// It was empty all the time (`get_timeout` and `lease_timeout` alone say so).
    Timeout,
    /// This worker was asked to stop while it waited.
    Interrupted,
    /// The message is not of the expected type. It is given back; with `max_deliveries` it ends among the dead letters.
    Decode(serde_json::Error),
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Empty => f.write_str("empty"),
            GetError::Closed => f.write_str("closed"),
            GetError::Timeout => f.write_str("timed out"),
            GetError::Interrupted => f.write_str("interrupted: asked to stop"),
            GetError::Decode(error) => write!(f, "the message is not of the expected type: {error}"),
            GetError::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for GetError {}

impl From<ipc::PutError> for PutError {
    fn from(error: ipc::PutError) -> PutError {
        match error {
            ipc::PutError::Closed => PutError::Closed,
            ipc::PutError::TooLarge { length, limit } => PutError::TooLarge { length, limit },
            ipc::PutError::Interrupted => PutError::Interrupted,
            ipc::PutError::NoRoom => PutError::NoRoom,
            ipc::PutError::Fault(fault) => PutError::Fault(fault),
        }
    }
}

impl From<ipc::TryPutError> for PutError {
    fn from(error: ipc::TryPutError) -> PutError {
        match error {
            ipc::TryPutError::Full => PutError::Full,
            ipc::TryPutError::Closed => PutError::Closed,
            ipc::TryPutError::TooLarge { length, limit } => PutError::TooLarge { length, limit },
            ipc::TryPutError::NoRoom => PutError::NoRoom,
            ipc::TryPutError::Fault(fault) => PutError::Fault(fault),
        }
    }
}

impl From<ipc::PutTimeoutError> for PutError {
    fn from(error: ipc::PutTimeoutError) -> PutError {
        match error {
            ipc::PutTimeoutError::Timeout => PutError::Timeout,
            ipc::PutTimeoutError::Closed => PutError::Closed,
            ipc::PutTimeoutError::TooLarge { length, limit } => PutError::TooLarge { length, limit },
            ipc::PutTimeoutError::Interrupted => PutError::Interrupted,
            ipc::PutTimeoutError::NoRoom => PutError::NoRoom,
            ipc::PutTimeoutError::Fault(fault) => PutError::Fault(fault),
        }
    }
}

impl From<ipc::GetError> for GetError {
    fn from(error: ipc::GetError) -> GetError {
        match error {
            ipc::GetError::Closed => GetError::Closed,
            ipc::GetError::Interrupted => GetError::Interrupted,
            ipc::GetError::Fault(fault) => GetError::Fault(fault),
        }
    }
}

impl From<ipc::TryGetError> for GetError {
    fn from(error: ipc::TryGetError) -> GetError {
        match error {
            ipc::TryGetError::Empty => GetError::Empty,
            ipc::TryGetError::Closed => GetError::Closed,
            ipc::TryGetError::Fault(fault) => GetError::Fault(fault),
        }
    }
}

impl From<ipc::GetTimeoutError> for GetError {
    fn from(error: ipc::GetTimeoutError) -> GetError {
        match error {
            ipc::GetTimeoutError::Timeout => GetError::Timeout,
            ipc::GetTimeoutError::Closed => GetError::Closed,
            ipc::GetTimeoutError::Interrupted => GetError::Interrupted,
            ipc::GetTimeoutError::Fault(fault) => GetError::Fault(fault),
        }
    }
}
