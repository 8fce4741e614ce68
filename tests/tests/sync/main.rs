//! Locks, semaphores, events, values, arrays and barriers of a run, held through the real programs.
#![forbid(unsafe_code)]

mod deaths;
mod locks;
mod others;
mod recursive;
mod scripts;
mod workers;

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tests::{Run, Sandbox, until};

/// A run called `r` with what `sync` says, and a worker that has nothing to do with it.
fn run_with(sandbox: &Sandbox, sync: &Value) -> Run {
    let mut config = json!({ "name": "r", "workers": { "idle": { "command": ["sleep", "1000"] } } });
    for (key, value) in sync.as_object().expect("an object of keys") {
        config[key] = value.clone();
    }
    let run = sandbox.run(&config);
    run.until_state("idle", "running");
    run
}

/// Starts `supervisor` with these arguments and its output piped.
fn begin(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command("supervisor");
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the supervisor can be executed")
}

/// One row of `lock ls --json`.
#[track_caller]
fn lock(sandbox: &Sandbox, name: &str) -> Value {
    let all = sandbox.supervisor(&["lock", "ls", "--json"]).ends_with(0).json();
    let row = all.as_array().expect("a list").iter().find(|row| row["lock"] == name).cloned();
    row.unwrap_or_else(|| panic!("there is no lock {name}: {all}"))
}

/// Waits until somebody waits for a lock.
#[track_caller]
fn until_wanted(sandbox: &Sandbox, name: &str) {
    until(&format!("somebody waits for {name}"), || {
        (!lock(sandbox, name)["waiters"].as_array().expect("a list").is_empty()).then_some(())
    });
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("pids are small")
}
