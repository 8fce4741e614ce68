//! Deadlocks of scripts: found, named, and told to exactly one.

use serde_json::json;
use tests::{Said, Sandbox, until};

use crate::{begin, lock, run_with};

/// A script that takes one lock, waits until both are taken, and takes the other under it.
fn crossing(own: &str, other: &str) -> String {
    let inner = format!(
        "touch has-{own}; until [ -e has-{other} ]; do sleep 0.01; done; exec supervisor lock run {other} -- echo both"
    );
    format!("exec supervisor lock run {own} -- sh -c '{inner}'")
}

#[test]
fn two_scripts_in_each_others_way_get_one_error_that_names_both() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["a", "b"], "workers": {
        "left": { "command": crossing("a", "b"), "restart": "never" },
        "right": { "command": crossing("b", "a"), "restart": "never" } } }));
    // Exactly one gives way; the other then gets both.
    assert_eq!(run.exit_code(), 1);
    let out = run.out() + &run.err();
    assert_eq!(out.matches("deadlock: ").count(), 1, "{out}");
    let line = out.lines().find(|line| line.contains("deadlock: ")).unwrap();
    for part in ["left:0", "right:0", "holds \"a\" and waits for \"b\"", "holds \"b\" and waits for \"a\""] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    assert_eq!(out.matches("both").count(), 1, "{out}");
}

#[test]
fn a_script_that_wants_what_it_holds_is_told_and_not_left_to_hang() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["a", "b"], "semaphores": { "s": 1 } }));
    let nested = ["lock", "run", "a", "--", "supervisor", "lock", "run", "a", "--", "true"];
    let said = sandbox.supervisor(&nested).ends_with(1);
    assert!(said.err.contains("holds \"a\" and waits for \"a\""), "{}", said.err);
    // Through another lock, another holder and a shell.
    let deep = "supervisor lock run b -- supervisor semaphore run s -- sh -c 'supervisor lock run a -- true; exit $?'";
    let said = sandbox.supervisor(&["lock", "run", "a", "--", "sh", "-c", deep]).ends_with(1);
    assert!(said.err.contains("deadlock: "), "{}", said.err);
    // In another order, and others' locks, it is none.
    sandbox
        .supervisor(&["lock", "run", "a", "--", "supervisor", "lock", "run", "b", "--", "true"])
        .ends_with(0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_circle_in_which_one_wait_has_an_end_is_no_deadlock() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["a"] }));
    let nested =
        ["lock", "run", "a", "--", "supervisor", "lock", "run", "a", "--timeout", "100ms", "--", "true"];
    let said = sandbox.supervisor(&nested).ends_with(7);
    assert!(!said.err.contains("deadlock"), "{}", said.err);
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_waits_behind_somebody_that_gets_on_is_left_to_wait() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["a", "b"] }));
    // It holds both, and does not wait for what the other one holds.
    let first = begin(
        &sandbox,
        &[
            "lock",
            "run",
            "a",
            "--",
            "supervisor",
            "lock",
            "run",
            "b",
            "--",
            "sh",
            "-c",
            "read x < go; exit 0",
        ],
    );
    let made =
        nix::unistd::mkfifo(&sandbox.path().join("go"), nix::sys::stat::Mode::from_bits_truncate(0o600));
    made.unwrap();
    until("both are held", || {
        (!lock(&sandbox, "a")["holder"].is_null() && !lock(&sandbox, "b")["holder"].is_null()).then_some(())
    });
    let second = begin(&sandbox, &["lock", "run", "b", "--", "supervisor", "lock", "run", "a", "--", "true"]);
    until("it waits", || (!lock(&sandbox, "b")["waiters"].as_array()?.is_empty()).then_some(()));
    std::fs::write(sandbox.path().join("go"), "\n").unwrap();
    Said::at_the_end_of(first);
    Said::at_the_end_of(second).ends_with(0);
    assert_eq!(run.stop(), 0);
}
