//! Crash loops without a rest or an end, and restarts that came too late, too early or never.

use serde_json::{Value, json};
use tests::{Sandbox, kill_9};

use crate::one;

/// A worker that writes down when it starts, in seconds since the machine did, and ends with 1.
fn crashing(more: &Value) -> Value {
    let mut worker = json!({ "command": "read up rest < /proc/uptime; echo $up >> starts; exit 1" });
    worker.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    one(&worker)
}

/// The rests between the starts. The clock of `/proc` has hundredths, and cuts.
fn rests(sandbox: &Sandbox) -> Vec<f64> {
    let at: Vec<f64> = sandbox.read("starts").lines().map(|line| line.parse().unwrap()).collect();
    at.windows(2).map(|pair| pair[1] - pair[0] + 0.011).collect()
}

#[test]
fn supervisord_487_a_crash_loop_rests_between_its_restarts() {
    let sandbox = Sandbox::new();
    let backoff = json!({ "initial": "200ms", "factor": 1, "jitter": 0 });
    let config = crashing(&json!({ "backoff": backoff, "intensity": { "restarts": 3, "within": "1h" } }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 1);
    let rests = rests(&sandbox);
    assert_eq!(rests.len(), 3);
    assert!(rests.iter().all(|rest| *rest >= 0.2), "{rests:?}");
}

#[test]
fn systemd_6129_each_rest_is_longer_than_the_one_before() {
    let sandbox = Sandbox::new();
    let backoff = json!({ "initial": "50ms", "factor": 3, "jitter": 0 });
    let config = crashing(&json!({ "backoff": backoff, "intensity": { "restarts": 3, "within": "1h" } }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 1);
    let rests = rests(&sandbox);
    assert!(rests.iter().zip([0.05, 0.15, 0.45]).all(|(rest, promised)| *rest >= promised), "{rests:?}");
}

#[test]
fn supervisord_1528_no_rest_is_longer_than_its_cap() {
    let sandbox = Sandbox::new();
    // Without the cap, the third start would come after half a minute and the fourth after nine hours.
    let backoff = json!({ "initial": "30ms", "factor": 1000, "max": "50ms", "jitter": 0 });
    let config = crashing(&json!({ "backoff": backoff, "intensity": { "restarts": 5, "within": "1h" } }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 1);
    assert_eq!(sandbox.lines("starts"), 6);
}

#[test]
fn supervisord_1640_many_that_crash_together_do_not_come_back_together() {
    let sandbox = Sandbox::new();
    let backoff = json!({ "initial": "10m", "max": "10m", "jitter": 0.5 });
    let mut run = sandbox.run(&one(&json!({ "command": "exit 1", "instances": 10, "backoff": backoff })));
    run.until_all("backoff");
    let why = sandbox.supervisor(&["why", "w", "--json"]).ends_with(0).json();
    let rests: Vec<f64> =
        why.as_array().unwrap().iter().map(|why| why["next_launch_in_s"].as_f64().unwrap()).collect();
    let spread = |pick: fn(f64, f64) -> f64| rests.iter().copied().reduce(pick).unwrap();
    assert!(spread(f64::max) - spread(f64::min) > 30.0, "{rests:?}");
    run.stop();
}

#[test]
fn systemd_43813_a_healthy_run_makes_the_next_rest_the_first_again() {
    let sandbox = Sandbox::new();
    // Without that, the third rest would be half an hour.
    let backoff =
        json!({ "initial": "20ms", "factor": 1000, "max": "30m", "reset_after": "200ms", "jitter": 0 });
    let script = "echo start >> starts; sleep 0.3; exit 1";
    let intensity = json!({ "restarts": 1000, "within": "1h" });
    let mut run =
        sandbox.run(&one(&json!({ "command": script, "backoff": backoff, "intensity": intensity })));
    sandbox.until_lines("starts", 4);
    run.stop();
}

#[test]
fn pm2_1676_a_crash_loop_comes_to_an_end_by_itself() {
    let sandbox = Sandbox::new();
    let config = crashing(&json!({ "backoff": { "initial": "1ms", "max": "1ms" } }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 1);
    assert_eq!(sandbox.lines("starts"), 6, "one start and the five restarts of the default intensity");
}

#[test]
fn supervisord_1285_what_exits_at_once_and_well_is_bounded_too() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": "echo start >> starts; exit 0", "restart": "always",
        "backoff": { "initial": 0 }, "intensity": { "restarts": 7, "within": "1h" } }));
    let (_, run) = sandbox.run_to_its_end(&config);
    assert_eq!(sandbox.lines("starts"), 8, "{}", run.err());
}

#[test]
fn horust_318_intensity_bounds_the_restarts_of_a_crash_loop() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": "echo start >> starts; exit 3", "backoff": { "initial": 0 },
        "intensity": { "restarts": 4, "within": "1h" } }));
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 3);
    assert_eq!(sandbox.lines("starts"), 5, "one start and four restarts");
    assert!(run.err().contains("failed"), "{}", run.err());
}

#[test]
fn horust_121_a_worker_killed_by_a_signal_is_started_again() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"], "backoff": { "initial": 0 } })));
    for launch in 1..=3 {
        kill_9(run.until_launch("w", launch));
    }
    run.until_launch("w", 4);
    let row = run.instance("w", 0);
    assert_eq!((row.restarts, row.exit), (3, Some(control::api::Exit::Signal(9))));
    assert_eq!(run.stop(), 0);
}

#[test]
fn pm2_718_restarts_by_hand_do_not_use_up_what_crashes_may_spend() {
    let sandbox = Sandbox::new();
    let intensity = json!({ "restarts": 1, "within": "1h" });
    let config =
        one(&json!({ "command": ["sleep", "1000"], "backoff": { "initial": 0 }, "intensity": intensity }));
    let mut run = sandbox.run(&config);
    for _ in 0..4 {
        sandbox.supervisor(&["restart", "w"]).ends_with(0);
    }
    let row = run.until_state("w", "running");
    kill_9(row.pid.unwrap());
    run.until_launch("w", row.launch.unwrap() + 1);
    assert_eq!(run.stop(), 0);
}
