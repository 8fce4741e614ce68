//! Stops that take long, and the limit on the stop of a whole run.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::json;
use tests::{Said, Sandbox, until, until_gone};

use crate::reason;

/// A worker that does not care for being asked to stop; it writes its pid into the file of this name.
fn deaf(name: &str) -> String {
    format!("trap '' TERM; echo $$ > {name}; while :; do sleep 0.05; done")
}

#[test]
fn process_compose_354_a_stop_that_takes_long_says_whom_it_waits_for() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": deaf("pid"), "stop": { "grace": "10m" } } } }));
    let pid = sandbox.until_pid("pid");
    run.signal(Signal::SIGTERM);
    run.until_state("w", "stopping");
    let why = reason(&sandbox);
    assert!(why.starts_with(&format!("the run was told to stop; waits for pid {pid} (sh), ")), "{why}");
    assert_eq!(run.instance("w", 0).why.map(|why| why.contains(&pid.to_string())), Some(true));
    until("it is said", || {
        let err = run.err();
        let line = err.lines().find(|line| line.contains("waiting for w: ")).map(str::to_owned)?;
        assert!(line.contains(&format!(": pid {pid} (sh), ")), "{line}");
        Some(())
    });
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn the_command_that_stops_says_whom_it_waits_for() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": deaf("pid"), "stop": { "grace": "10m" } }, "stay": { "command": ["sleep", "1000"] } } }));
    let pid = sandbox.until_pid("pid");
    let mut stop = sandbox.command("supervisor");
    stop.args(["stop", "w"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stop = stop.spawn().unwrap();
    run.until_state("w", "stopping");
    // Longer than the command is silent.
    std::thread::sleep(Duration::from_secs(4));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let said = Said::at_the_end_of(stop).ends_with(0);
    let expected = format!("supervisor: w:0 is stopping: stopped by request; waits for pid {pid} (sh), ");
    assert!(said.err.starts_with(&expected), "{}", said.err);
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_is_killed_after_its_grace_is_named_and_nobody_else() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": deaf("pid"), "stop": { "grace": "300ms" } },
        "kind": { "command": "echo $$ > kind; exec sleep 1000" },
        "daemon": { "command": deaf("daemon"), "policy": "daemon" } } }));
    let pids = ["pid", "kind", "daemon"].map(|name| sandbox.until_pid(name));
    sandbox.supervisor(&["restart", "w"]).ends_with(0);
    let killed = |pid: i32| format!("w: did not end when it was asked to: killing pid {pid} (sh), ");
    assert!(run.err().contains(&killed(pids[0])), "{}", run.err());
    let second = run.instance("w", 0).pid.unwrap();
    until("it is deaf too", || (sandbox.read("pid").trim() == second.to_string()).then_some(()));
    run.stop();
    assert!(run.err().contains(&killed(second)), "{}", run.err());
    assert_eq!(run.err().matches("killing").count(), 2, "{}", run.err());
}

#[test]
fn the_stop_of_a_run_takes_no_longer_than_its_limit_whatever_the_graces_are() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "stop_timeout": "700ms", "workers": {
        "db": { "command": deaf("db"), "stop": { "grace": "10m" } },
        "app": { "command": deaf("app"), "stop": { "grace": "10m" }, "after": { "db": "ready" } } } }));
    let pids = ["db", "app"].map(|name| sandbox.until_pid(name));
    let start = Instant::now();
    run.stop();
    assert!(start.elapsed() >= Duration::from_millis(700));
    pids.into_iter().for_each(until_gone);
}
