//! What takes long says whom it waits for: on a terminal, or where it is asked to.

use serde_json::json;
use tests::{Run, Said, Sandbox};

use crate::screen::Screen;

/// A worker that ends, once it is asked to, when there is a file `go`.
fn slow(sandbox: &Sandbox) -> Run {
    let script = "trap 'until [ -e go ]; do sleep 0.01; done; exit 0' TERM; echo up > up-$SUPERVISOR_INSTANCE
        while :; do sleep 0.01; done";
    let run = sandbox.run(&json!({ "name": "r", "workers": {
        "slow": { "command": script, "instances": 7, "stop": { "grace": "5m" }, "restart": "never" } } }));
    for instance in 0..7 {
        sandbox.until_written(&format!("up-{instance}"));
    }
    run
}

#[test]
fn a_stop_of_many_names_those_it_waits_for_and_leaves_no_trace_of_it() {
    let sandbox = Sandbox::new();
    let mut run = slow(&sandbox);
    let mut screen = Screen::of(&sandbox, &["stop", "slow:0"], 100, 10);
    let pid = run.leader("slow", 0);
    screen.until_shown(&[&format!("waiting for slow:0 (stopping, pid {pid})")]);
    let mut many = Screen::of(&sandbox, &["shutdown"], 60, 10);
    many.until_shown(&["waiting for slow:0 (stopping, pid"]);
    assert!(many.text().lines().next().unwrap().chars().count() < 60, "it is cut to the width");
    sandbox.write("go", "");
    assert_eq!(screen.exit_code(), 0);
    screen.until_shown(&["slow:0", "stopped"]);
    assert!(!screen.text().contains("waiting for"), "{}", screen.text());
    assert_eq!(many.exit_code(), 0);
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn where_there_is_no_terminal_only_who_asks_for_it_is_told() {
    let sandbox = Sandbox::new();
    let mut run = slow(&sandbox);
    let silent = sandbox.supervisor(&["wait", "slow", "--timeout", "1500ms"]).ends_with(7);
    assert!(!silent.err.contains("waiting"), "{}", silent.err);
    let told = sandbox.supervisor(&["wait", "slow", "--timeout", "1500ms", "--progress"]).ends_with(7);
    assert!(told.err.contains("supervisor: waiting for slow:0 (running, pid"), "{}", told.err);
    assert!(told.err.contains(" and 2 more\n"), "{}", told.err);
    assert!(!told.err.contains('\x1b'), "{}", told.err);
    let pid = run.leader("slow", 3).to_string();
    let told: Said = sandbox.supervisor(&["wait", &pid, "--timeout", "1500ms", "--progress"]).ends_with(7);
    assert!(told.err.contains(&format!("waiting for pid {pid}")), "{}", told.err);
    sandbox.write("go", "");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_kill_that_waits_names_those_who_have_not_ended() {
    let sandbox = Sandbox::new();
    let mut run = slow(&sandbox);
    let pid = run.leader("slow", 2);
    let mut screen = Screen::of(&sandbox, &["kill", "slow:2", "slow:4", "--wait"], 100, 10);
    screen.until_shown(&[&format!("waiting for slow:2 (pid {pid}), slow:4 (pid ")]);
    let other = run.leader("slow", 4).to_string();
    let told =
        sandbox.supervisor(&["kill", &other, "--wait", "--timeout", "1500ms", "--progress"]).ends_with(7);
    assert!(told.err.contains(&format!("supervisor: waiting for pid {other}\n")), "{}", told.err);
    let reminded = sandbox.supervisor(&["kill", "slow:4", "--wait", "--timeout", "2500ms"]).ends_with(7);
    assert!(reminded.err.contains(&format!("slow:4 (pid {other}) has not ended yet")), "{}", reminded.err);
    let silent =
        sandbox.supervisor(&["kill", "slow:4", "--wait", "--timeout", "2500ms", "--json"]).ends_with(7);
    assert!(!silent.err.contains("has not ended yet"), "{}", silent.err);
    sandbox.write("go", "");
    assert_eq!(screen.exit_code(), 0);
    screen.until_shown(&["slow:2  TERM"]);
    assert!(!screen.text().contains("waiting for"), "{}", screen.text());
    assert_eq!(run.stop(), 0);
}
