//! A launch that must give signs of life.

use std::time::Duration;

use serde_json::json;
use tests::{Sandbox, stays, until};

use crate::{happened, run_of};

#[test]
fn a_worker_that_gives_no_sign_of_life_is_aborted_and_started_again_and_the_reason_is_on_record() {
    let sandbox = Sandbox::new();
    let script =
        "echo $WATCHDOG_USEC >> told; trap 'echo aborted >> told; exit 1' ABRT; while :; do sleep 0.05; done";
    let mut run =
        run_of(&sandbox, &json!({ "command": script, "watchdog": "400ms", "backoff": { "initial": 0 } }));
    run.until_launch("w", 2);
    assert!(sandbox.read("told").starts_with("400000\naborted\n"), "{}", sandbox.read("told"));
    assert!(happened(&sandbox, "stopping", "no sign of life within 400ms"));
    assert!(run.instance("w", 0).restarts >= 1);
    assert_eq!(run.stop(), 0);
}

#[test]
fn one_that_does_not_care_for_being_aborted_is_killed_after_its_grace() {
    let sandbox = Sandbox::new();
    let script = "trap '' ABRT; echo $$ >> pids; while :; do sleep 0.05; done";
    let worker =
        json!({ "command": script, "watchdog": "200ms", "stop": { "grace": "200ms" }, "restart": "never" });
    let mut run = run_of(&sandbox, &worker);
    let row = run.until_state("w", "failed");
    assert_eq!(row.exit, Some(control::api::Exit::Signal(9)));
    assert_eq!(row.why.as_deref(), Some("no sign of life within 200ms"));
    run.stop();
}

#[test]
fn one_that_stands_still_is_aborted_all_the_same() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "kill -STOP $$", "watchdog": "200ms", "restart": "never" });
    let mut run = run_of(&sandbox, &worker);
    assert_eq!(run.until_state("w", "failed").exit, Some(control::api::Exit::Signal(6)));
    run.stop();
}

#[test]
fn signs_of_life_keep_it_running() {
    for command in
        [json!("while :; do probe tell WATCHDOG=1; sleep 0.2; done"), json!(["probe", "heartbeat", "200"])]
    {
        let sandbox = Sandbox::new();
        // Far more than a loaded machine takes between two signs; far less than what is looked on.
        let mut run = run_of(&sandbox, &json!({ "command": command, "watchdog": "3s" }));
        let pid = run.until_launch("w", 1);
        stays("it runs", Duration::from_secs(5), || run.instance("w", 0).pid == Some(pid));
        assert_eq!(run.instance("w", 0).restarts, 0);
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn it_is_watched_only_once_it_is_ready() {
    let sandbox = Sandbox::new();
    let script = "while [ ! -e go ]; do sleep 0.02; done; probe tell READY=1; exec sleep 1000";
    let mut run = run_of(
        &sandbox,
        &json!({ "command": script, "ready": "notify", "watchdog": "200ms", "restart": "never" }),
    );
    stays("it starts", Duration::from_millis(600), || {
        ["waiting", "starting"].contains(&run.instance("w", 0).state.as_str())
    });
    sandbox.write("go", "");
    run.until_state("w", "failed");
    run.stop();
}

#[test]
fn it_may_say_that_it_ails_and_how_often_it_is_to_be_heard() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "probe tell WATCHDOG=trigger; exec sleep 1000", "watchdog": "10m", "restart": "never" });
    let mut run = run_of(&sandbox, &worker);
    assert_eq!(run.until_state("w", "failed").why.as_deref(), Some("said that something is wrong with it"));
    run.stop();

    let sandbox = Sandbox::new();
    let worker = json!({ "command": "probe tell WATCHDOG_USEC=200000; exec sleep 1000", "watchdog": "10m", "restart": "never" });
    let mut run = run_of(&sandbox, &worker);
    assert_eq!(run.until_state("w", "failed").why.as_deref(), Some("no sign of life within 200ms"));
    run.stop();

    let sandbox = Sandbox::new();
    let worker = json!({ "command": "probe tell WATCHDOG_USEC=0; echo told > told; exec sleep 1000", "watchdog": "5s" });
    let mut run = run_of(&sandbox, &worker);
    let pid = run.until_launch("w", 1);
    until("it was said", || sandbox.has("told").then_some(()));
    stays("it is not watched", Duration::from_millis(6500), || run.instance("w", 0).pid == Some(pid));
    assert_eq!(run.stop(), 0);
}
