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
//! A program that starts its own children needs no supervisor: see [`Process`].
//!
//! A typed queue carries JSON, so that a shell worker, `jq` or any other program can take part;
//! [`Me::queue_bytes`] carries bytes as they are.
#![forbid(unsafe_code)]

mod children;
mod errors;
mod joining;
mod me;
mod queue;
mod stopping;
pub mod sync;
mod welcome;
pub mod wire;

pub use children::{
    Child, CommandLine, CurrentProcess, Parent, PassedError, Process, SharesQueue, StartError, WaitError,
    active_children, current_process,
};
pub use errors::{GetError, PutError, PutManyError, QueueError};
pub use ipc::{self, Acknowledge, Batch};
pub use joining::{JoinError, join};
pub use me::{Me, ReportError};
pub use process::Exit;
pub use queue::{BytesQueue, Lease, Queue, UnlessClosed};
pub use stopping::stop_requested;
pub use sync::SyncError;
