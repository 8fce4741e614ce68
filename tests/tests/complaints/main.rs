//! What users of other supervisors complained of, and what this one promises instead: each complaint is a story with
//! real processes, named by where it was told (`supervisord_1101` is issue 1101 of supervisord).
//!
//! | file | what was complained of | what is promised |
//! |---|---|---|
//! | `orphans` | grandchildren survive a stop, a crash, the supervisor's death; only the leader, or only the shell, is signalled | a stop is complete when the tree is empty; a successor starts in an empty place; who escaped by forking twice is found; the signal goes to whom the config says, KILL to all |
//! | `restarts` | hot loops, restarts without end, rests without cap, jitter or reset | backoff with cap, jitter and reset; intensity bounds every loop |
//! | `containers` | the supervisor outlives what it is there for, or ends without stopping it; `/dev/stdout` breaks | `on_failed` ends the run with the worker's code; process 1 stops gracefully and reaps; any place can be written to |
//! | `ordering` | dependences are missing, ignored, or waited for in vain; all goes one after the other | `after`; who waits for what cannot come is told so; side by side as far as dependences allow |
//! | `logs` | lines lost at rotation or at the end, torn at buffers, without time; full disks | every line once, whole and stamped, in bounded space |
//! | `requests` | commands that block one another, double what they start, restart whom they should not | each worker has its own state; the difference is touched and nothing else |
//! | `changes` | a reload restarts whom it should not, starts what was stopped, runs an old config in silence, doubles | the difference is touched and nothing else; a newer file is told; what is wrong changes nothing |
//! | `terms` | the user's home, limits and priorities are missing, or of the whole supervisor | each worker has its own; what cannot be given is said before anything starts |
//! | `robustness` | busy loops, leaks, limits of descriptors, lost notifications, open ports | idle costs nothing; nothing leaks; nothing listens but a private socket |
#![forbid(unsafe_code)]

mod changes;
mod containers;
mod logs;
mod ordering;
mod orphans;
mod requests;
mod restarts;
mod robustness;
mod terms;

use serde_json::{Value, json};

/// The run `r` of one worker, `w`.
fn one(worker: &Value) -> Value {
    json!({ "name": "r", "workers": { "w": worker } })
}
