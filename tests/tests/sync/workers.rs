//! Locks and their like from workers, through the SDK.

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::json;
use tests::{Sandbox, until};

use crate::lock;

#[test]
fn tellers_in_each_others_way_lose_no_coin() {
    let sandbox = Sandbox::new();
    let teller = |from: &str, to: &str| {
        json!({ "command": ["worker-teller", "--from", from, "--to", to, "--times", "300"], "instances": 2,
                "restart": "never" })
    };
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["alice", "bob"],
        "values": { "alice": 1000, "bob": 1000 },
        "workers": { "there": teller("alice", "bob"), "back": teller("bob", "alice"),
                     "clerk": { "command": ["sleep", "1000"] } } }));
    for worker in ["there", "back"] {
        until("all coins are moved", || {
            let rows = run.status().workers;
            rows.iter().filter(|row| row.worker == worker).all(|row| row.state == "done").then_some(())
        });
    }
    for account in ["alice", "bob"] {
        assert_eq!(sandbox.supervisor(&["value", "get", account]).out, "1000\n");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_bank_of_the_examples_never_misses_a_coin() {
    let sandbox = Sandbox::new();
    let bank = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/bank/config.json");
    let said = sandbox.supervisor(&["run", bank]).ends_with(0);
    assert!(said.out.contains("counted 20 times, and never was a coin missing"), "{}", said.out);
}

#[test]
fn the_lock_of_a_killed_worker_is_handed_on_before_it_is_started_again_and_says_so() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["ledger"], "workers": {
        "holder": { "command": ["probe", "hold-lock", "ledger"], "restart": "always", "backoff": { "initial": 0 } } } }));
    let first = run.until_launch("holder", 1);
    until("it is held", || (lock(&sandbox, "ledger")["holder"]["pid"] == first).then_some(()));
    assert_eq!(lock(&sandbox, "ledger")["holder"]["name"], "holder:0");
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let second = run.until_launch("holder", 2);
    until("the next launch holds it", || (lock(&sandbox, "ledger")["holder"]["pid"] == second).then_some(()));
    let told = format!("after pid {first} holder:0");
    until("it says so", || run.out().contains(&told).then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn two_workers_in_each_others_way_get_one_error_that_names_both() {
    let sandbox = Sandbox::new();
    let mut run =
        sandbox.run(&json!({ "name": "r", "locks": ["a", "b"], "barriers": { "both": 2 }, "workers": {
        "left": { "command": ["probe", "cross", "a", "b", "both"], "restart": "never" },
        "right": { "command": ["probe", "cross", "b", "a", "both"], "restart": "never" } } }));
    assert_eq!(run.exit_code(), 0);
    let out = run.out();
    assert_eq!(out.matches("deadlock: ").count(), 1, "{out}");
    let line = out.lines().find(|line| line.contains("deadlock: ")).unwrap();
    for part in
        ["left:0 (pid", "right:0 (pid", "holds \"a\" and waits for \"b\"", "holds \"b\" and waits for \"a\""]
    {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    assert_eq!(out.matches("has both").count(), 1, "{out}");
}

#[test]
fn everything_there_is_works_between_workers_and_scripts() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["door"], "semaphores": { "gpu": 1 },
        "events": ["go"], "conditions": ["opened"], "barriers": { "line": 2 }, "values": { "open": 0 },
        "workers": { "all": { "command": ["probe", "all-kinds"], "restart": "never" } } }));
    until("it waits for the event", || run.out().contains("waits for go").then_some(()));
    sandbox.supervisor(&["semaphore", "run", "gpu", "--nowait", "--", "true"]).ends_with(6);
    sandbox.supervisor(&["event", "set", "go"]).ends_with(0);
    sandbox.supervisor(&["barrier", "wait", "line"]).ends_with(0);
    assert_eq!(run.exit_code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().contains("all done"), "{}", run.out());
}

#[test]
fn a_worker_that_waits_for_a_lock_hears_that_it_should_stop() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["ledger"], "workers": {
        "holder": { "command": ["probe", "hold-lock", "ledger"], "stop": { "grace": "100ms" } },
        "waiter": { "command": ["probe", "wait-lock", "ledger"], "autostart": false, "stop": { "grace": "1m" } } } }));
    until("it is held", || (!lock(&sandbox, "ledger")["holder"].is_null()).then_some(()));
    sandbox.supervisor(&["start", "waiter"]).ends_with(0);
    until("it is waited for", || (!lock(&sandbox, "ledger")["waiters"].as_array()?.is_empty()).then_some(()));
    sandbox.supervisor(&["stop", "waiter"]).ends_with(0);
    // What it said last may come after the news of its end.
    until("it says why", || run.out().contains("interrupted").then_some(()));
    sandbox.supervisor(&["stop", "holder"]).ends_with(0);
    run.stop();
}

#[test]
fn a_name_that_the_run_does_not_have_is_an_error_that_lists_those_it_has() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox
        .run_to_its_end(&json!({ "name": "r", "locks": ["ledger", "audit"], "workers": {
        "w": { "command": ["probe", "hold-lock", "legder"], "restart": "never" } } }));
    assert_eq!(code, 1);
    let said = run.out() + &run.err();
    assert!(said.contains("no lock \"legder\" (known: ledger, audit)"), "{said}");
}
