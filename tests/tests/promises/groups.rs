//! Groups that share a fate, and workers without which there is no run.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::{Value, json};
use tests::{Run, Sandbox, until};

fn lasting() -> Value {
    json!({ "command": ["sleep", "1000"], "backoff": { "initial": 0 }, "intensity": { "restarts": 100 } })
}

fn pids(run: &Run) -> BTreeMap<String, i32> {
    run.status().workers.into_iter().filter_map(|row| Some((row.worker, row.pid?))).collect()
}

fn running(run: &Run, count: usize) -> BTreeMap<String, i32> {
    until("all run", || {
        let rows = run.status().workers;
        (rows.len() == count && rows.iter().all(|row| row.state == "running")).then_some(())
    });
    pids(run)
}

fn shoot(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
}

#[test]
fn a_group_restarts_together_and_nobody_else_does() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({
        "groups": { "g": { "strategy": "one_for_all", "workers": ["a", "c"] } },
        "workers": { "a": lasting(), "b": lasting(), "c": lasting() },
    }));
    let before = running(&run, 3);
    shoot(before["a"]);
    run.until_launch("a", 2);
    run.until_launch("c", 2);
    let after = pids(&run);
    assert_eq!(after["b"], before["b"]);
    assert!(after["c"] != before["c"]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_group_that_has_spent_its_restarts_is_started_again_as_a_whole_by_what_it_lies_in() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({
        "groups": {
            "outer": { "strategy": "one_for_all", "workers": ["a"], "groups": ["inner"] },
            "inner": { "intensity": { "restarts": 1, "within": "1h" }, "workers": ["b", "c"] },
        },
        "workers": { "a": lasting(), "b": lasting(), "c": lasting(), "d": lasting() },
    }));
    let before = running(&run, 4);
    shoot(before["b"]);
    let second = run.until_launch("b", 2);
    assert_eq!(pids(&run)["c"], before["c"], "in the inner group each is for itself");
    shoot(second);
    run.until_launch("b", 3);
    run.until_launch("c", 2);
    run.until_launch("a", 2);
    assert_eq!(pids(&run)["d"], before["d"]);
    assert!(run.err().contains("group inner: has spent its restarts, the last for b"), "{}", run.err());
    assert_eq!(run.stop(), 0);
}

#[test]
fn an_essential_worker_ends_the_run_with_its_code() {
    for (command, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let sandbox = Sandbox::new();
        let main = json!({ "command": command, "restart": "never", "essential": true });
        let failed = json!({ "command": "exit 1", "restart": "never" });
        let after = json!({ "failed": "ended" });
        let mut main = main;
        main["after"] = after;
        let mut run = Run::begin(
            &sandbox,
            &json!({ "workers": { "main": main, "side": lasting(), "failed": failed } }),
            &[],
        );
        assert_eq!(run.exit_code(), code, "{command}");
    }
}
