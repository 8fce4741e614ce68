//! The one import of a worker's author: who am I, what was I given, and the queues and locks of my run.
//!
//! ```no_run
//! use worker::UnlessClosed;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let me = worker::join()?;
//! let jobs = me.queue::<String>("jobs")?;
//! let results = me.queue::<usize>("results")?;
//! while let Some(job) = jobs.lease().unless_closed()? {
//!     results.put(&job.len())?;
//!     job.ack();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A typed queue carries JSON, so that a shell worker, `jq` or any other program can take part;
//! [`Me::queue_bytes`] carries bytes as they are.
#![forbid(unsafe_code)]

mod errors;
mod joining;
mod me;
mod queue;
mod stopping;
pub mod sync;
pub mod wire;

pub use errors::{GetError, PutError, QueueError};
pub use joining::{JoinError, join};
pub use me::{Me, ReportError};
pub use queue::{BytesQueue, Lease, Queue, UnlessClosed};
pub use sync::SyncError;
