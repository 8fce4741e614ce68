//! The verbs that change a run and tell of it, on real processes.

mod apply;
mod completing;
mod crossing;
mod events;
mod logs;
mod odd_bytes;
mod processes;
mod replay;
mod scale;
mod slips;
mod spawn;
mod standstill;
mod why;

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, until};

/// A worker that lives until it is told not to.
fn lasting() -> Value {
    json!({ "command": ["sleep", "1000"] })
}

/// Starts a run called `r` of these workers, and waits until all of them run.
#[track_caller]
fn run_of(sandbox: &Sandbox, workers: &Value) -> Run {
    let run = sandbox.run(&json!({ "name": "r", "workers": workers }));
    until("all run", || run.status().workers.iter().all(|row| row.state == "running").then_some(()));
    run
}

/// What a command printed; it ended with this exit code.
#[track_caller]
fn printed(said: &Said, code: i32) -> String {
    assert_eq!(said.code, code, "stdout: {}\nstderr: {}", said.out, said.err);
    said.out.clone()
}

/// What a command said on standard error; it ended with this exit code.
#[track_caller]
fn complained(said: &Said, code: i32) -> String {
    printed(said, code);
    said.err.clone()
}

/// The lines of JSON that a command printed; it ended with this exit code.
#[track_caller]
fn json_lines(said: &Said, code: i32) -> Vec<Value> {
    let text = printed(said, code);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
