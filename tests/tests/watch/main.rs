//! How launches are watched: whether they are ready, alive and well, and what they say of themselves.
#![forbid(unsafe_code)]

mod health;
mod notify;
mod readiness;
mod schedule;
mod site;
mod stopping;
mod watchdog;

use serde_json::{Value, json};
use tests::{Run, Sandbox};

/// A run called `r` of this worker, called `w`, of another, called `then`, that comes after it is ready, and of one that
/// keeps the run going.
fn run_of(sandbox: &Sandbox, worker: &Value) -> Run {
    sandbox.run(&json!({ "name": "r", "workers": {
        "w": worker, "then": { "command": ["sleep", "1000"], "after": { "w": "ready" } },
        "stay": { "command": ["sleep", "1000"] } } }))
}

/// What `why w` says of its reason.
fn reason(sandbox: &Sandbox) -> String {
    let all = sandbox.supervisor(&["why", "w", "--json"]).ends_with(0).json();
    all[0]["why"].as_str().unwrap_or_default().to_owned()
}

/// Whether the events of the run tell of a state of `w` for such a reason.
fn happened(sandbox: &Sandbox, state: &str, why: &str) -> bool {
    let events = sandbox.supervisor(&["events", "--json"]).ends_with(0).out;
    events.lines().any(|line| {
        let event: Value = serde_json::from_str(line).expect("a line of JSON each");
        let reason = event["why"].as_str().unwrap_or_default();
        event["worker"] == "w" && event["to"] == state && reason.contains(why)
    })
}
