//! What is started again, when, how often, together with whom, and after what.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{Run, Sandbox, stays, until};

/// A run of one worker.
fn one(worker: &Value) -> Value {
    json!({ "name": "r", "workers": { "w": worker } })
}

/// A worker that writes down each start and ends with this code.
fn counted(code: i32) -> String {
    format!("echo start >> starts; exit {code}")
}

fn starts(sandbox: &Sandbox) -> usize {
    sandbox.read("starts").lines().count()
}

#[track_caller]
fn kill(pid: i32) {
    nix::sys::signal::kill(process::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn never_is_never() {
    for code in [0, 1] {
        let sandbox = Sandbox::new();
        let config = one(&json!({ "command": counted(code), "restart": "never" }));
        assert_eq!(sandbox.run_to_its_end(&config).0, code);
        assert_eq!(starts(&sandbox), 1);
    }
}

#[test]
fn on_failure_starts_again_what_failed_and_not_what_succeeded() {
    let sandbox = Sandbox::new();
    let script = "echo start >> starts; [ $(wc -l < starts) -ge 3 ] || exit 1";
    let config = one(&json!({ "command": script, "restart": "on-failure", "backoff": { "initial": 0 } }));
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    assert_eq!(starts(&sandbox), 3);
}

#[test]
fn always_starts_again_what_succeeded() {
    let sandbox = Sandbox::new();
    let config = one(
        &json!({ "command": counted(0), "restart": "always", "backoff": { "initial": "10ms", "max": "10ms" },
                              "intensity": { "restarts": 100_000, "within": "1s" } }),
    );
    let mut run = sandbox.run(&config);
    until("it was started four times", || (starts(&sandbox) >= 4).then_some(()));
    assert_eq!(run.stop(), 0, "{}", run.err());
}

#[test]
fn success_is_what_success_codes_say() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": counted(7), "restart": "on-failure", "success_codes": [7] }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    assert_eq!(starts(&sandbox), 1);

    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": counted(0), "restart": "never", "success_codes": [7] }));
    assert_ne!(sandbox.run_to_its_end(&config).0, 0, "0 is a failure here");
}

#[test]
fn backoff_is_at_least_as_long_as_promised_and_grows() {
    let sandbox = Sandbox::new();
    // From /proc/uptime, in hundredths of a second, so that no other program's start is measured with it.
    let script = "read up rest < /proc/uptime; echo $up >> starts; exit 1";
    let config = one(&json!({ "command": script,
        "backoff": { "initial": "200ms", "factor": 2, "max": "500ms", "jitter": 0 },
        "intensity": { "restarts": 4, "within": "1h" } }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 1);
    let at: Vec<f64> = sandbox.read("starts").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(at.len(), 5);
    for (pair, promised) in at.windows(2).zip([0.2, 0.4, 0.5, 0.5]) {
        // The clock of /proc has hundredths, and cuts.
        assert!(pair[1] - pair[0] >= promised - 0.011, "{at:?}: {promised} were promised");
    }
}

#[test]
fn a_worker_in_backoff_says_why_and_can_be_started_at_once() {
    let sandbox = Sandbox::new();
    let script = "echo start >> starts; [ -e fixed ] && exec sleep 1000; exit 5";
    let mut run = sandbox
        .run(&one(&json!({ "command": script, "backoff": { "initial": "10m", "max": "10m", "jitter": 0 } })));
    let row = run.until_state("w", "backoff");
    assert_eq!(row.exit, Some(control::api::Exit::Code(5)));
    assert!(row.why.as_deref().is_some_and(|why| why.contains('5')), "{row:?}");
    assert_eq!(row.pid, None);
    sandbox.write("fixed", "");
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    assert_eq!(run.instance("w", 0).state, "running");
    until("the second has begun", || (starts(&sandbox) == 2).then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_in_backoff_can_be_stopped_and_stays_stopped() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": counted(1), "backoff": { "initial": "100ms", "jitter": 0 } },
        "other": { "command": ["sleep", "1000"] } } }));
    run.until_state("w", "backoff");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    let before = starts(&sandbox);
    stays("it is stopped", Duration::from_millis(400), || {
        run.instance("w", 0).state == "stopped" && starts(&sandbox) == before
    });
    run.stop();
}

#[test]
fn a_worker_that_has_failed_for_good_can_be_started_by_hand() {
    let sandbox = Sandbox::new();
    let script = "echo start >> starts; [ -e fixed ] && exec sleep 1000; exit 3";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": script, "restart": "never" }, "other": { "command": ["sleep", "1000"] } } }));
    run.until_state("w", "failed");
    sandbox.write("fixed", "");
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    assert_eq!(run.instance("w", 0).state, "running");
    run.stop();
}

/// Three workers that live for ever, under a strategy; the second comes after the first and so on, by the file alone.
fn family(sandbox: &Sandbox, strategy: &str) -> (Run, Vec<i32>) {
    let worker = json!({ "command": ["sleep", "1000"], "backoff": { "initial": 0 } });
    let run = sandbox.run(&json!({ "name": "r", "strategy": strategy,
        "workers": { "a": worker, "b": worker, "c": worker } }));
    let pids = ["a", "b", "c"].map(|name| run.until_launch(name, 1)).to_vec();
    (run, pids)
}

#[test]
fn one_for_one_restarts_the_dead_one_alone() {
    let sandbox = Sandbox::new();
    let (mut run, pids) = family(&sandbox, "one_for_one");
    kill(pids[1]);
    run.until_launch("b", 2);
    assert_eq!(run.instance("a", 0).pid, Some(pids[0]));
    assert_eq!(run.instance("c", 0).pid, Some(pids[2]));
    assert_eq!(run.stop(), 0);
}

#[test]
fn one_for_all_restarts_everybody() {
    let sandbox = Sandbox::new();
    let (mut run, pids) = family(&sandbox, "one_for_all");
    kill(pids[1]);
    for name in ["a", "b", "c"] {
        run.until_launch(name, 2);
    }
    assert!(pids.iter().all(|pid| !tests::lives(*pid)));
    assert_eq!(run.stop(), 0);
}

#[test]
fn rest_for_one_restarts_those_that_stand_behind_it_in_the_file() {
    let sandbox = Sandbox::new();
    let (mut run, pids) = family(&sandbox, "rest_for_one");
    kill(pids[1]);
    run.until_launch("b", 2);
    run.until_launch("c", 2);
    assert_eq!(run.instance("a", 0).pid, Some(pids[0]));
    assert_eq!(run.stop(), 0);
}

/// `second` comes after `first` has reached this milestone.
fn after(first: &Value, milestone: &str) -> Value {
    json!({ "name": "r", "workers": {
        "second": { "command": "echo second >> order; exec sleep 1000", "after": { "first": milestone } },
        "first": first,
    } })
}

#[test]
fn after_started_waits_for_the_start() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&after(&json!({ "command": ["sleep", "1000"] }), "started"));
    run.until_state("second", "running");
    assert!(run.instance("first", 0).launch.is_some());
    assert_eq!(run.stop(), 0);
}

#[test]
fn after_succeeded_waits_until_it_has_ended_well() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "while [ ! -e go ]; do sleep 0.02; done; echo first >> order", "restart": "never" });
    let mut run = sandbox.run(&after(&first, "succeeded"));
    run.until_state("first", "running");
    let row = run.until_state("second", "waiting");
    assert!(row.why.as_deref().is_some_and(|why| why.contains("first")), "{row:?}");
    sandbox.write("go", "");
    run.until_state("second", "running");
    until("both wrote", || (sandbox.read("order") == "first\nsecond\n").then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn after_ended_does_not_mind_a_failure() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "echo first >> order; exit 4", "restart": "never" });
    let mut run = sandbox.run(&after(&first, "ended"));
    run.until_state("second", "running");
    until("both wrote", || (sandbox.read("order") == "first\nsecond\n").then_some(()));
    assert_eq!(run.stop(), 4);
}

#[test]
fn after_ready_waits_for_a_notification() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "while [ ! -e go ]; do sleep 0.02; done; exec probe notify READY=1", "ready": "notify" });
    let mut run = sandbox.run(&after(&first, "ready"));
    run.until_state("first", "starting");
    stays("nobody is ready", Duration::from_millis(150), || {
        run.instance("first", 0).state == "starting" && run.instance("second", 0).state == "waiting"
    });
    sandbox.write("go", "");
    run.until_state("first", "running");
    run.until_state("second", "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_notification_may_come_from_a_child_of_the_worker() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "probe notify READY=1 & wait", "ready": "notify" });
    let mut run = sandbox.run(&after(&first, "ready"));
    run.until_state("second", "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn after_ready_waits_for_the_word_of_the_sdk() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&after(&json!({ "command": ["probe", "ready"], "ready": "notify" }), "ready"));
    run.until_state("first", "starting");
    sandbox.write("go", "");
    run.until_state("second", "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_stopped_and_has_failed() {
    let sandbox = Sandbox::new();
    let script = "read up rest < /proc/uptime; echo $up >> starts; exec sleep 1000";
    let first = json!({ "command": script, "ready": "notify", "ready_timeout": "300ms", "restart": "never" });
    let start = Instant::now();
    let (code, run) = sandbox.run_to_its_end(&after(&first, "ready"));
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_ne!(code, 0);
    assert!(run.err().contains("ready"), "{}", run.err());
    assert_eq!(sandbox.read("order"), "");
}

#[test]
fn a_worker_that_ends_before_it_is_ready_lets_nobody_through() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "exit 0", "ready": "notify", "restart": "never" });
    let (_, run) = sandbox.run_to_its_end(&after(&first, "ready"));
    assert_eq!(sandbox.read("order"), "", "{}", run.err());
}

#[test]
fn a_worker_without_autostart_waits_for_somebody_to_start_it() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": ["sleep", "1000"], "autostart": false }, "other": { "command": ["sleep", "1000"] } } }));
    run.until_state("other", "running");
    assert_eq!(run.instance("w", 0).state, "stopped");
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    assert_eq!(run.instance("w", 0).state, "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_intensity_of_the_family_bounds_what_it_restarts_together() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "strategy": "one_for_all", "intensity": { "restarts": 3, "within": "1h" },
        "workers": { "w": { "command": counted(1), "backoff": { "initial": 0 },
                            "intensity": { "restarts": 1_000, "within": "1h" }, "on_failed": "stop" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 1, "{}", run.err());
    assert_eq!(starts(&sandbox), 4, "one start and three restarts");
}
