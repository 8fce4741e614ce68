//! `scale`: more, fewer, none; and nobody else is touched.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tests::{Run, Sandbox, lives, until};

use crate::{complained, json_lines, lasting, printed, run_of};

fn pids(run: &Run, worker: &str) -> Vec<Option<i32>> {
    let rows = run.status().workers.into_iter().filter(|row| row.worker == worker);
    rows.map(|row| row.pid).collect()
}

#[test]
fn more_are_started_and_those_that_run_keep_their_pid() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "other": lasting() }));
    let (before, other) = (pids(&run, "w"), pids(&run, "other"));

    let acted = json_lines(&sandbox.supervisor(&["scale", "w=3", "--json"]), 0);
    let rows = acted[0]["instances"].as_array().expect("rows");
    let states: Vec<_> = rows.iter().map(|row| (row["instance"].as_u64(), row["state"].as_str())).collect();
    assert_eq!(states, [(Some(0), Some("running")), (Some(1), Some("running")), (Some(2), Some("running"))]);

    let after = pids(&run, "w");
    assert_eq!((after.len(), after[0]), (3, before[0]));
    assert_eq!(pids(&run, "other"), other);
    let numbers: Vec<u32> = run
        .ps()
        .into_iter()
        .filter(|row| row.worker.as_deref() == Some("w"))
        .filter_map(|row| row.instance)
        .collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_highest_numbers_go_and_are_gone_when_it_returns() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": { "command": ["sleep", "1000"], "instances": 4 } }));
    let before = pids(&run, "w");
    let table = printed(&sandbox.supervisor(&["scale", "w=2"]), 0);
    assert_eq!(table.lines().count(), 3, "{table}");
    for pid in before[2..].iter().flatten() {
        assert!(!lives(*pid), "{pid}");
    }
    assert_eq!(pids(&run, "w"), before[..2]);
    // It is as large as it is to be: nothing happens.
    printed(&sandbox.supervisor(&["scale", "w=2"]), 0);
    assert_eq!(pids(&run, "w"), before[..2]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_can_be_scaled_to_nothing_and_back_and_its_launches_count_on() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "other": lasting() }));
    printed(&sandbox.supervisor(&["scale", "w=0"]), 0);
    assert_eq!(pids(&run, "w"), []);
    printed(&sandbox.supervisor(&["scale", "w=1"]), 0);
    let row = run.instance("w", 0);
    assert_eq!((row.state.as_str(), row.launch), ("running", Some(2)));
    assert_eq!(run.stop(), 0);
}

#[test]
fn without_waiting_it_returns_while_the_surplus_still_lives() {
    let sandbox = Sandbox::new();
    let deaf = json!({
        "command": "trap '' TERM; echo deaf; while :; do sleep 1000; done", "instances": 2,
        "stop": { "grace": "100s" },
    });
    let mut run = run_of(&sandbox, &json!({ "w": deaf }));
    until("both are deaf", || (run.out().matches("deaf").count() == 2).then_some(()));
    let surplus = pids(&run, "w")[1].expect("it runs");
    printed(&sandbox.supervisor(&["scale", "w=1", "--no-wait"]), 0);
    assert!(lives(surplus));
    assert_eq!(run.instance("w", 1).state, "stopping");
    printed(&sandbox.supervisor(&["kill", &surplus.to_string(), "--tree", "--signal", "KILL"]), 0);
    until("only one is left", || (pids(&run, "w").len() == 1).then_some(()));
    printed(&sandbox.supervisor(&["shutdown", "--now"]), 0);
    run.wait();
}

#[test]
fn an_instance_that_cannot_come_up_is_exit_1_and_nonsense_is_refused() {
    let sandbox = Sandbox::new();
    let script = sandbox.write("script", "#!/bin/sh\necho read\nexec sleep 1000\n");
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("it is ours");
    let gone = json!({ "command": [&script], "restart": "never" });
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "gone": gone }));
    until("the shell has read it", || run.out().contains("read").then_some(()));
    std::fs::remove_file(&script).expect("it is ours");
    assert!(complained(&sandbox.supervisor(&["scale", "gone=2"]), 1).contains("gone:1 failed"));
    let unknown = complained(&sandbox.supervisor(&["scale", "v=2"]), 4);
    assert!(unknown.contains("did you mean \"w\"?"), "{unknown}");
    complained(&sandbox.supervisor(&["scale", "w=200000"]), 2);
    complained(&sandbox.supervisor(&["scale", "w=1", "w=2"]), 2);
    complained(&sandbox.supervisor(&["scale", "w"]), 2);
    assert_eq!(pids(&run, "w").len(), 1);
    run.stop();
}

#[test]
fn without_a_supervisor_it_is_exit_5() {
    complained(&Sandbox::new().supervisor(&["scale", "w=2"]), 5);
}
