//! `lock run`, `lock ls` and `lock create`.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::json;
use tests::{Said, Sandbox, until};

use crate::{begin, lock, pid_of, run_with, until_wanted};

#[test]
fn a_lock_is_held_while_its_command_runs_and_the_exit_code_is_passed_on() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger", "audit"] }));
    for code in [0, 1, 7, 255] {
        let script = format!("exit {code}");
        sandbox.supervisor(&["lock", "run", "ledger", "--", "sh", "-c", &script]).ends_with(code);
    }
    sandbox.supervisor(&["lock", "run", "ledger", "--", "sh", "-c", "kill -USR1 $$"]).ends_with(128 + 10);
    let holder = begin(&sandbox, &["lock", "run", "ledger", "--", "sh", "-c", "exec sleep 1000"]);
    let held = until("it is held", || Some(lock(&sandbox, "ledger")).filter(|row| !row["holder"].is_null()));
    assert_eq!(held["holder"]["pid"], pid_of(&holder));
    assert_eq!(
        lock(&sandbox, "audit"),
        json!({ "lock": "audit", "recursive": false, "holder": null, "waiters": [] })
    );
    let refused = sandbox.supervisor(&["lock", "run", "ledger", "--nowait", "--", "true"]).ends_with(6);
    assert!(refused.err.contains(&format!("(pid {})", pid_of(&holder))), "{}", refused.err);
    let start = Instant::now();
    let late = ["lock", "run", "ledger", "--timeout", "150ms", "--", "true"];
    sandbox.supervisor(&late).ends_with(7);
    assert!(start.elapsed() >= Duration::from_millis(150));
    let waiter = begin(&sandbox, &["lock", "run", "ledger", "--", "echo", "mine"]);
    until_wanted(&sandbox, "ledger");
    assert_eq!(lock(&sandbox, "ledger")["waiters"][0]["pid"], pid_of(&waiter));
    let table = sandbox.supervisor(&["lock", "ls"]).ends_with(0).out;
    assert!(table.contains("HOLDER") && table.contains(&format!("(pid {})", pid_of(&waiter))), "{table}");
    // Its command ends; the lock goes to the one that waits.
    kill(Pid::from_raw(pid_of(&holder)), Signal::SIGTERM).unwrap();
    Said::at_the_end_of(holder).ends_with(128 + 15);
    let said = Said::at_the_end_of(waiter).ends_with(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("mine\n", ""), "an orderly end is no death");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_name_that_is_not_there_is_exit_4_with_a_suggestion_and_can_be_created() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"], "semaphores": { "gpu": 2 } }));
    let unknown = sandbox.supervisor(&["lock", "run", "legder", "--", "true"]).ends_with(4);
    assert!(unknown.err.contains("did you mean \"ledger\"?"), "{}", unknown.err);
    let other = sandbox.supervisor(&["lock", "run", "printer", "--", "true"]).ends_with(4);
    assert!(other.err.contains("supervisor lock create printer"), "{}", other.err);
    // A semaphore is no lock.
    sandbox.supervisor(&["lock", "run", "gpu", "--", "true"]).ends_with(4);
    sandbox.supervisor(&["lock", "create", "printer", "scanner"]).ends_with(0);
    let again = sandbox.supervisor(&["lock", "create", "printer", "--json"]).ends_with(0).json();
    assert_eq!(again, json!([{ "kind": "lock", "name": "printer", "created": false }]));
    sandbox.supervisor(&["lock", "run", "printer", "--", "true"]).ends_with(0);
    sandbox.supervisor(&["lock", "run", "--create", "plotter", "--", "true"]).ends_with(0);
    sandbox.supervisor(&["lock", "run", "--create", "plotter", "--", "true"]).ends_with(0);
    let names: Vec<String> = sandbox
        .supervisor(&["lock", "ls"])
        .ends_with(0)
        .out
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert_eq!(names, ["ledger", "printer", "scanner", "plotter"]);
    let bad = sandbox.supervisor(&["lock", "run", "a b", "--", "true"]).ends_with(2);
    assert!(bad.err.contains("name of a lock"), "{}", bad.err);
    sandbox.supervisor(&["lock", "run", "ledger"]).ends_with(2);
    let odd = sandbox.supervisor(&["lock", "run", "ledger", "--", "no-such-command"]).ends_with(1);
    assert!(odd.err.contains("no-such-command cannot be run"), "{}", odd.err);
    assert!(lock(&sandbox, "ledger")["holder"].is_null());
    assert_eq!(run.stop(), 0);
}

#[test]
fn no_more_than_there_is_room_for_are_created() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["first"] }));
    let names: Vec<String> = (0..256).map(|number| format!("lock-{number}")).collect();
    let mut words = vec!["lock", "create"];
    words.extend(names.iter().map(String::as_str));
    sandbox.supervisor(&words).ends_with(0);
    let full = sandbox.supervisor(&["lock", "create", "one-more"]).ends_with(9);
    assert!(full.err.contains("256"), "{}", full.err);
    sandbox.supervisor(&["lock", "run", "lock-255", "--", "true"]).ends_with(0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn signals_are_passed_on_to_the_command() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"] }));
    let script =
        "trap 'echo hup >> said' HUP; trap 'echo usr1 >> said' USR1; trap 'exit 3' TERM; echo up >> said
        while :; do sleep 0.01; done";
    let held = begin(&sandbox, &["lock", "run", "ledger", "--", "sh", "-c", script]);
    let said = |all: &str| until(all, || (sandbox.read("said") == all).then_some(()));
    said("up\n");
    kill(Pid::from_raw(pid_of(&held)), Signal::SIGHUP).unwrap();
    said("up\nhup\n");
    kill(Pid::from_raw(pid_of(&held)), Signal::SIGUSR1).unwrap();
    said("up\nhup\nusr1\n");
    kill(Pid::from_raw(pid_of(&held)), Signal::SIGTERM).unwrap();
    Said::at_the_end_of(held).ends_with(3);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_command_has_the_descriptors_and_the_input_of_its_caller() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"] }));
    let script = "echo one | supervisor lock run ledger -- sh -c 'cat; echo two >&7' 7> seven";
    let said = Said::of(sandbox.shell().arg(script)).ends_with(0);
    assert_eq!((said.out.as_str(), sandbox.read("seven").as_str()), ("one\n", "two\n"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_is_ignored_stays_so_under_a_lock() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"] }));
    // The way of nohup: the signal is ignored before the program begins.
    let mut command = sandbox.shell();
    let script = "trap '' HUP; exec supervisor lock run ledger -- sh -c 'kill -HUP $$ $PPID; echo lives'";
    command.arg(script).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    assert_eq!(Said::of(&mut command).ends_with(0).out, "lives\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn inside_a_worker_the_holder_is_shown_as_the_worker() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["ledger"], "workers": {
        "clerk": { "command": ["supervisor", "lock", "run", "ledger", "--", "sleep", "1000"] } } }));
    let held = until("it is held", || Some(lock(&sandbox, "ledger")).filter(|row| !row["holder"].is_null()));
    assert_eq!((&held["holder"]["worker"], &held["holder"]["instance"]), (&json!("clerk"), &json!(0)));
    assert_eq!(held["holder"]["name"], "clerk:0 (sleep 1000)");
    assert_eq!(run.stop(), 0);
}
