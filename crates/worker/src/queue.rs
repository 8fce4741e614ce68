//! The queues of a run, as a worker uses them: of bytes, or of values that are written as JSON.

mod bytes;
mod lease;
mod typed;

use crate::errors::GetError;

pub use bytes::BytesQueue;
pub use lease::Lease;
pub use typed::Queue;

/// Reading until a queue has ended: `while let Some(message) = queue.get().unless_closed()?`.
pub trait UnlessClosed<T> {
    /// `None` once the queue is closed and drained, instead of an error.
    ///
    /// # Errors
    ///
    /// All others.
    fn unless_closed(self) -> Result<Option<T>, GetError>;
}

impl<T> UnlessClosed<T> for Result<T, GetError> {
    fn unless_closed(self) -> Result<Option<T>, GetError> {
        match self {
            Ok(got) => Ok(Some(got)),
            Err(GetError::Closed) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
