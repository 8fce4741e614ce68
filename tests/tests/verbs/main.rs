//! The verbs that change a run and tell of it, on real processes.

mod events;
mod logs;
mod scale;
mod spawn;
mod why;

use std::process::Output;

use serde_json::{Value, json};
use tests::{Run, Sandbox, until};

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
fn printed(output: &Output, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    out.into_owned()
}

/// What a command said on standard error; it ended with this exit code.
#[track_caller]
fn complained(output: &Output, code: i32) -> String {
    printed(output, code);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of JSON that a command printed; it ended with this exit code.
#[track_caller]
fn json_lines(output: &Output, code: i32) -> Vec<Value> {
    let text = printed(output, code);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
