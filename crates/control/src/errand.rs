//! What a worker of another user may ask, and how that is told apart from what the owner of a run may.
//!
//! A run belongs to the user who runs its supervisor. That user (and root) come through the run's own door, the socket in
//! its 0700 folder, and may do everything. A worker that the config runs as somebody else cannot get there. For each such
//! user the run has one more door: a socket that belongs to that user, 0600, in a folder of the supervisor's that nobody
//! else can write to. `$SUPERVISOR_SOCKET` of those workers leads there.
//!
//! ```text
//!   the owner, root ──► $RUNTIME/NAME/socket         0600 in 0700 ──► Call  { request: Request }   everything
//!   worker, uid N ────► /run/supervisor-…/NAME/N     0600, N's ─────► Visit { errand: Errand }     what is below
//!   anybody else ─────► (no right to open either)
//! ```
//!
//! What comes through which door is of another type, so no check can be forgotten: an [`Errand`] has no words for
//! starting, stopping, killing, adding, applying or ending anything, nor for what happened, or whose processes there are. A new
//! [`Request`] does not compile until [`Errand::of`] says whether it is one.
//!
//! Coming in is not enough: the peer of the connection, as the kernel tells it, must be of that user *and* its process in
//! the tree of a worker that the config runs as that user. A service that shares the user `nobody` can open the door, and is
//! refused. What then is granted:
//!
//! | errand | to whom |
//! |---|---|
//! | `status` | the run's rows; the reasons of workers of other users, and the config's place, are left out |
//! | `why`, `logs` | of workers that run as this user; of a way that leads to others, their reasons are left out. Logs of no worker in particular are those of its own |
//! | `hello`, `tell` | for the launch in whose tree it is, and no other |
//! | `queues`, a queue's `handle` and `close` | the queues that the worker's config names, under `get` or `put` or for a standard stream, and where the dead letters of those it gets from go; all of them where it names none. Closing is for those who put |
//! | `sync`, all of it | all locks and their like: they share one memory |
//!
//! The memory itself comes as a descriptor beside the answer, opened by the supervisor: the other user needs no right to any
//! path, and what is in memory is sealed, so that it cannot be cut short. Whoever has a queue's memory can do with *its*
//! messages what he likes; the lists keep all other queues from him.

use crate::api::{ApiError, Enter, ErrorCode, Request, SyncRequest, Tell};

/// What a worker of another user may ask: see the module's table.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// All instances, or those of the named workers.
    Status {
        /// `NAME` or `NAME:INSTANCE`; empty: all.
        workers: Vec<String>,
    },
    /// Why a worker that runs as this user stands where it stands.
    Why {
        /// `NAME` or `NAME:INSTANCE`.
        worker: String,
    },
    /// What a worker that runs as this user prints.
    Logs {
        /// `NAME` or `NAME:INSTANCE`; `None`: its own.
        worker: Option<String>,
        /// How many of the last lines.
        lines: u32,
        /// Whether to go on with what comes.
        follow: bool,
    },
    /// The queues that it may use.
    Queues,
    /// A queue's memory.
    QueueHandle {
        /// The queue's name.
        queue: String,
    },
    /// No more puts.
    QueueClose {
        /// The queue's name.
        queue: String,
    },
    /// Locks and their like.
    Sync(SyncRequest),
    /// It joins.
    Hello(Enter),
    /// It reports.
    Tell(Tell),
}

impl Errand {
    /// The errand that a request is, where it is one.
    ///
    /// # Errors
    /// [`ErrorCode::Refused`]: only the owner of the run may ask that.
    pub fn of(request: Request) -> Result<Errand, ApiError> {
        let what = match request {
            Request::Status { workers } => return Ok(Errand::Status { workers }),
            Request::Why { worker } => return Ok(Errand::Why { worker }),
            Request::Logs { worker, lines, follow } => return Ok(Errand::Logs { worker, lines, follow }),
            Request::Queues => return Ok(Errand::Queues),
            Request::QueueHandle { queue } => return Ok(Errand::QueueHandle { queue }),
            Request::QueueClose { queue } => return Ok(Errand::QueueClose { queue }),
            Request::Sync(sync) => return Ok(Errand::Sync(shared(sync))),
            Request::Hello(enter) => return Ok(Errand::Hello(enter)),
            Request::Tell(tell) => return Ok(Errand::Tell(tell)),
            // Its supervisor would connect to any place that it names, with all the rights that it has.
            Request::Join(_) => "be met at a place of its own",
            Request::Ps => "list processes",
            Request::Start { .. } => "start workers",
            Request::Stop { .. } => "stop workers",
            Request::Restart { .. } => "restart workers",
            Request::Scale { .. } => "scale workers",
            Request::Spawn { .. } => "add workers",
            Request::Plan { .. } => "look at configs",
            Request::Apply { .. } => "apply configs",
            Request::Events { .. } => "read what happened",
            Request::Kill(_) => "send signals",
            Request::Wait { .. } => "wait for workers",
            Request::Shutdown { .. } => "end the run",
            Request::QueueCreate(_) => "make queues",
            Request::QueueRemove { .. } => "remove queues",
        };
        let message = format!("a worker that runs as another user than its supervisor may not {what}");
        let hint = "ask as the user who runs the supervisor, or as root";
        Err(ApiError::new(ErrorCode::Refused, message).hint(hint))
    }
}

/// All of it: whoever uses one of them has the memory of all.
fn shared(sync: SyncRequest) -> SyncRequest {
    match sync {
        SyncRequest::List
        | SyncRequest::Handle(_)
        | SyncRequest::Create(_)
        | SyncRequest::Event(_)
        | SyncRequest::Value(_)
        | SyncRequest::Array { .. }
        | SyncRequest::BarrierReset { .. } => sync,
    }
}
