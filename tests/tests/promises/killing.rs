//! `kill`: any signal, one process or a tree, and nobody else.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Sandbox, lives, stays, until, until_gone};

use crate::verbs::pair;

#[test]
fn kill_sends_any_signal_by_name_number_or_pid() {
    let sandbox = Sandbox::new();
    let script = "for s in HUP USR1 USR2; do trap \"echo $s >> got\" $s; done; echo $$ > pid; while :; do sleep 0.02; done";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script } } }));
    let pid = sandbox.until_pid("pid").to_string();
    for (whom, signal, got) in
        [("w", "HUP", "HUP\n"), ("w:0", "10", "HUP\nUSR1\n"), (&pid, "SIGUSR2", "HUP\nUSR1\nUSR2\n")]
    {
        sandbox.supervisor(&["kill", whom, "--signal", signal]).ends_with(0);
        until("the signal is there", || (sandbox.read("got") == got).then_some(()));
    }
    let said = sandbox.supervisor(&["kill", "w", "--signal", "HUP", "--json"]).ends_with(0).json();
    assert_eq!((&said[0]["pids"], &said[0]["signal"]), (&json!([pid.parse::<i32>().unwrap()]), &json!(1)));
    sandbox.supervisor(&["kill", "w", "--signal", "NOPE"]).ends_with(2);
    sandbox.supervisor(&["kill", "w", "--signal", "65"]).ends_with(2);
    assert_eq!(run.stop(), 0);
}

#[test]
fn kill_with_tree_reaches_every_descendant_also_one_that_escaped() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! > near; (setsid sh -c 'echo $$ > far; exec sleep 1000' &); \
                  while :; do sleep 0.02; done";
    let mut run =
        sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script, "restart": "never" } } }));
    let (near, far) = (sandbox.until_pid("near"), sandbox.until_pid("far"));
    let said = sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL", "--json"]).ends_with(0).json();
    let pids: Vec<i64> =
        said[0]["pids"].as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect();
    assert!(pids.contains(&i64::from(near)) && pids.contains(&i64::from(far)), "{pids:?}");
    until_gone(near);
    until_gone(far);
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn nobody_of_a_killed_tree_lives_to_see_another_one_die() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(
        &json!({ "name": "r", "workers": { "w": { "command": "sleep 1000 & wait", "restart": "never" } } }),
    );
    until("both are there", || (run.ps().len() == 3).then_some(()));
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL"]).ends_with(0);
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn kill_with_a_grace_kills_after_it_and_answers_when_it_is_gone() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let mut run =
        sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script, "restart": "never" } } }));
    let pid = sandbox.until_pid("pid");
    let start = Instant::now();
    sandbox.supervisor(&["kill", "w", "--grace", "300ms"]).ends_with(0);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(!lives(pid));
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn kill_refuses_what_is_not_of_the_run() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = stranger.id().to_string();
    let init = sandbox.supervisor(&["kill", "1"]).ends_with(9);
    assert!(!init.err.is_empty());
    sandbox.supervisor(&["kill", "1", "--foreign"]).ends_with(9);
    sandbox.supervisor(&["kill", &run.pid().to_string()]).ends_with(9);
    sandbox.supervisor(&["kill", &run.pid().to_string(), "--foreign"]).ends_with(9);
    let refused = sandbox.supervisor(&["kill", &pid]).ends_with(9);
    assert!(refused.err.contains("--foreign"), "{}", refused.err);
    sandbox.supervisor(&["kill", &std::process::id().to_string(), "--signal", "KILL"]).ends_with(9);
    stays("the stranger lives", Duration::from_millis(50), || lives(stranger.id() as i32));
    sandbox.supervisor(&["kill", &pid, "--foreign"]).ends_with(0);
    let status = stranger.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    sandbox.supervisor(&["kill", &pid]).ends_with(4);
    assert_eq!(run.stop(), 0);
}

#[test]
fn kill_of_what_does_not_exist_ends_with_4_or_2() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let beyond = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    sandbox.supervisor(&["kill", beyond.trim()]).ends_with(4);
    sandbox.supervisor(&["kill", "2147483647"]).ends_with(4);
    sandbox.supervisor(&["kill", "nobody"]).ends_with(4);
    sandbox.supervisor(&["kill", "w:2"]).ends_with(4);
    for wrong in ["0", "-1", "-15"] {
        sandbox.supervisor(&["kill", "--", wrong]).ends_with(2);
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running" && row.restarts == 0));
    assert_eq!(run.stop(), 0);
}

#[test]
fn kill_can_end_a_grandchild_by_its_pid() {
    let sandbox = Sandbox::new();
    let script = "(setsid sh -c 'echo $$ > far; exec sleep 1000' &); exec sleep 1000";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script } } }));
    let far = sandbox.until_pid("far");
    sandbox.supervisor(&["kill", &far.to_string()]).ends_with(0);
    until_gone(far);
    assert_eq!(run.instance("w", 0).restarts, 0);
    assert_eq!(run.stop(), 0);
}
