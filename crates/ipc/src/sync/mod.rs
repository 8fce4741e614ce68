//! Locks, semaphores, events, conditions, barriers, values and arrays in memory shared by processes that may
//! die: the set of Python's `multiprocessing`, and what it lacks when somebody dies.
//!
//! All of a program's primitives live in one segment, a [`Family`], each under its name. Being together is what
//! lets a waiter see who waits for whom across several locks, and name the circle instead of hanging in it.
//!
//! ```text
//!   segment header, participants          (see `segment`)
//!   directory    what there was at first: kind, number, name; checked against a sum in the header, never read again
//!   labels       64 bytes a participant: what its process calls itself
//!   actors       128 bytes each: one thread of one participant, what it waits for, where it sleeps
//!   cells        256 bytes each: what was defined since (see `objects`)
//!   objects      128 bytes each, more for permits and arrays
//! ```
//!
//! A participant is a process by one handle; an actor is one of its threads. Whoever takes something writes its
//! own number into the word by the very compare-and-swap that takes it, so a process killed at any instruction
//! either holds it under its name or does not hold it. What the dead held is found by those numbers and handed
//! on (see `recovery`); the wake-ups they owed are made good by waking everybody once.
//!
//! From the ground up: `directory` and `actors`; `inner`, which joins, waits and finds damage; then a file for each
//! kind of primitive, `deadlock` and `recovery`; and [`Family`], by which programs reach them.

mod actors;
mod barrier;
mod condition;
mod deadlock;
mod directory;
mod errors;
mod event;
mod family;
mod guard;
mod inner;
mod lock;
#[cfg(all(test, loom))]
mod model;
mod objects;
mod options;
mod recovery;
mod semaphore;
mod value;

pub use barrier::{Barrier, Passed};
pub use condition::Condition;
pub use deadlock::{Deadlock, Link};
pub use errors::{
    AcquireError, AcquireTimeoutError, BarrierError, BarrierTimeoutError, DefineError, LockError,
    LockTimeoutError, NoSuch, ReleaseError, TryAcquireError, TryLockError, WaitError, WaitTimeoutError,
};
pub use event::Event;
pub use family::{Family, LockState};
pub use guard::Guard;
pub use lock::{DeadHolder, Lock, RLock};
pub use options::SyncOptions;
pub use semaphore::{Permit, Semaphore};
pub use value::{Array, Value};
