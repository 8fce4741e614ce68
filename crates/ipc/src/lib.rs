//! Queues and locks in memory shared by processes that may die.
//!
//! A [`Queue`] carries messages between processes as fast as memory does, without a broker, and stays correct
//! whatever process is killed at whatever instruction. It does not know what its messages mean, nor who
//! started the processes that use it.
//!
//! How it works, from the ground up: `memory` and `futex` (the only rooms with `unsafe`), `segment` with its
//! `participants` and their `liveness`, `waiting`; then the queue's own `layout`, `tag`, `ring`, `blocks` and
//! `pages`; and what is done with them: `put`, `get`, `lease`, `recovery`.

mod answers;
#[cfg(not(loom))]
mod at_exit;
mod atomic;
mod backing;
mod batches;
mod blocks;
mod core;
mod errors;
mod formation;
mod futex;
mod get;
mod header;
mod keeping;
mod layout;
mod lease;
mod life;
mod liveness;
mod locals;
mod looking;
mod memory;
#[cfg(all(test, loom))]
mod model;
mod opening;
mod options;
mod pages;
mod participants;
#[cfg(all(test, not(loom)))]
mod plain;
#[cfg(all(test, not(loom)))]
mod power;
mod put;
mod queue;
mod rebuilding;
mod recovery;
mod ring;
mod segment;
mod sentinel;
mod singles;
mod stats;
pub mod sync;
mod tag;
mod trim;
mod truncation;
mod waiting;

#[cfg(not(loom))]
pub use self::core::{acknowledge_got, wake_sleepers};
pub use batches::Batch;
pub use errors::{
    Damage, Fault, GetError, GetTimeoutError, OpenError, PutError, PutManyError, PutTimeoutError,
    TryGetError, TryPutError,
};
pub use lease::Lease;
pub use options::{Acknowledge, Fsync, MOST_MESSAGE_BYTES, QueueOptions};
pub use queue::{Queue, Restored};
pub use segment::Reclaimed;
pub use stats::Stats;
