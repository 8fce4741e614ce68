//! Why nothing was put or taken.

use control::api::ErrorCode;

use crate::talk::Failure;

/// The errors of the queue, as far as the exit code tells them apart.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is full, or empty.
    WouldBlock,
    /// It stayed so.
    TimedOut,
    /// It is closed; and for takers: drained.
    Closed,
    /// The supervisor went away while we waited.
    Abandoned,
    /// In words.
    Other(String),
}

impl Trouble {
    pub(super) fn in_putting(self, queue: &str) -> Failure {
        self.failure(queue, "full", "closed")
    }

    pub(super) fn in_taking(self, queue: &str) -> Failure {
        self.failure(queue, "empty", "closed and drained")
    }

    fn failure(self, queue: &str, blocked: &str, closed: &str) -> Failure {
        let (code, words) = match self {
            Trouble::WouldBlock => (ErrorCode::WouldBlock, format!("is {blocked}")),
            Trouble::TimedOut => (ErrorCode::TimedOut, format!("stayed {blocked}")),
            Trouble::Closed => (ErrorCode::Closed, format!("is {closed}")),
            Trouble::Abandoned => return Failure::supervisor_gone(),
            Trouble::Other(words) => {
                return Failure::new(ErrorCode::Failed, format!("queue {queue}: {words}"));
            }
        };
        Failure::new(code, format!("queue {queue} {words}"))
    }
}

impl From<ipc::TryPutError> for Trouble {
    fn from(error: ipc::TryPutError) -> Trouble {
        match error {
            ipc::TryPutError::Full => Trouble::WouldBlock,
            ipc::TryPutError::Closed => Trouble::Closed,
            error => Trouble::Other(error.to_string()),
        }
    }
}

impl From<ipc::PutError> for Trouble {
    fn from(error: ipc::PutError) -> Trouble {
        match error {
            ipc::PutError::Closed => Trouble::Closed,
            ipc::PutError::Interrupted => Trouble::Abandoned,
            error => Trouble::Other(error.to_string()),
        }
    }
}

impl From<ipc::PutTimeoutError> for Trouble {
    fn from(error: ipc::PutTimeoutError) -> Trouble {
        match error {
            ipc::PutTimeoutError::Timeout => Trouble::TimedOut,
            ipc::PutTimeoutError::Closed => Trouble::Closed,
            ipc::PutTimeoutError::Interrupted => Trouble::Abandoned,
            error => Trouble::Other(error.to_string()),
        }
    }
}

impl From<ipc::TryGetError> for Trouble {
    fn from(error: ipc::TryGetError) -> Trouble {
        match error {
            ipc::TryGetError::Empty => Trouble::WouldBlock,
            ipc::TryGetError::Closed => Trouble::Closed,
            error => Trouble::Other(error.to_string()),
        }
    }
}

impl From<ipc::GetError> for Trouble {
    fn from(error: ipc::GetError) -> Trouble {
        match error {
            ipc::GetError::Closed => Trouble::Closed,
            ipc::GetError::Interrupted => Trouble::Abandoned,
            error => Trouble::Other(error.to_string()),
        }
    }
}

impl From<ipc::GetTimeoutError> for Trouble {
    fn from(error: ipc::GetTimeoutError) -> Trouble {
        match error {
            ipc::GetTimeoutError::Timeout => Trouble::TimedOut,
            ipc::GetTimeoutError::Closed => Trouble::Closed,
            ipc::GetTimeoutError::Interrupted => Trouble::Abandoned,
            error => Trouble::Other(error.to_string()),
        }
    }
}
