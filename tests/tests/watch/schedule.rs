//! Workers that run by the clock, and those whose start is delayed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, stays, until, until_gone};

use crate::reason;

/// A run of this worker, called `w`, and of one that keeps the run going.
fn run_of(sandbox: &Sandbox, worker: &Value) -> Run {
    sandbox.run(&json!({ "name": "r", "workers": { "w": worker, "stay": { "command": ["sleep", "1000"] } } }))
}

fn starts(sandbox: &Sandbox) -> usize {
    sandbox.read("starts").lines().count()
}

#[test]
fn every_is_at_the_start_and_then_whenever_the_period_is_over() {
    let sandbox = Sandbox::new();
    let script = "read up rest < /proc/uptime; echo $up >> starts";
    let mut run = run_of(&sandbox, &json!({ "command": script, "schedule": { "every": "300ms" } }));
    until("it ran four times", || (starts(&sandbox) >= 4).then_some(()));
    let at: Vec<f64> = sandbox.read("starts").lines().map(|line| line.parse().unwrap()).collect();
    // On the whole: each start may be late by itself.
    assert!(at[3] - at[0] >= 0.9 - 0.2, "{at:?}");
    until("it is between two runs", || {
        reason(&sandbox).starts_with("between two runs; last: exit code 0; next at ").then_some(())
    });
    assert_eq!(run.instance("w", 0).state, "waiting");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_runs_by_the_clock_keeps_its_run_going_unless_it_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": "echo x >> starts", "schedule": { "every": "100ms" } },
        "job": { "command": ["true"] } } }));
    run.until_state("job", "done");
    let ran = starts(&sandbox);
    until("it goes on", || (starts(&sandbox) > ran + 2).then_some(()));
    assert_eq!(run.stop(), 0);

    let sandbox = Sandbox::new();
    let (code, _) = sandbox.run_to_its_end(&json!({ "name": "r", "workers": {
        "w": { "command": "echo x >> starts", "schedule": { "every": "50ms" }, "policy": "terminate" },
        "job": { "command": "while [ ! -s starts ]; do sleep 0.02; done" } } }));
    assert_eq!(code, 0);
}

#[test]
fn a_run_that_is_due_while_another_is_under_way_is_left_out() {
    let sandbox = Sandbox::new();
    let script = "mkdir busy || echo overlap > overlap; echo x >> starts; while [ ! -e go ]; do sleep 0.02; done; rmdir busy";
    let mut run = run_of(&sandbox, &json!({ "command": script, "schedule": { "every": "50ms" } }));
    let pid = run.until_launch("w", 1);
    stays("it runs on", Duration::from_millis(400), || run.instance("w", 0).pid == Some(pid));
    sandbox.write("go", "");
    until("it ran again", || (starts(&sandbox) >= 3).then_some(()));
    assert!(!sandbox.has("overlap"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_run_that_is_due_can_take_the_place_of_the_one_under_way() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! >> sleeps; echo x >> starts; wait";
    let mut run = run_of(
        &sandbox,
        &json!({ "command": script, "schedule": { "every": "400ms", "overlap": "replace" } }),
    );
    until("it was replaced twice", || (starts(&sandbox) >= 3).then_some(()));
    for pid in sandbox.read("sleeps").lines().take(2) {
        until_gone(pid.parse().unwrap());
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_run_that_fails_is_started_again_by_its_policy_and_then_waits_for_its_time() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "echo x >> starts; exit 3", "backoff": { "initial": 0 },
        "intensity": { "restarts": 2, "within": "1h" }, "schedule": { "every": "1h" } });
    let mut run = run_of(&sandbox, &worker);
    until("the run is over", || reason(&sandbox).starts_with("between two runs").then_some(()));
    assert_eq!(starts(&sandbox), 3);
    assert!(
        reason(&sandbox)
            .starts_with("between two runs; last: 2 restarts within 1h; last: exit code 3; next at ")
    );
    assert!(run.err().contains("supervisor: w: a run failed: "), "{}", run.err());
    // It has failed, but not for good.
    assert_eq!(run.instance("w", 0).state, "waiting");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_with_a_schedule_can_be_started_and_stopped_by_hand() {
    let sandbox = Sandbox::new();
    // At midnight of the next leap day; not now.
    let worker =
        json!({ "command": "echo x >> starts; exec sleep 1000", "schedule": { "cron": "0 0 29 2 *" } });
    let mut run = run_of(&sandbox, &worker);
    assert_eq!(run.until_state("w", "waiting").pid, None);
    let why = reason(&sandbox);
    assert!(why.starts_with("waits for its time; next at 20") && why.contains("-02-29 00:00:00 "), "{why}");
    let all = sandbox.supervisor(&["why", "w", "--json"]).ends_with(0).json();
    assert!(all[0]["next_launch_in_s"].as_f64().unwrap() > 0.0);
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    until("it has begun", || (starts(&sandbox) > 0).then_some(()));
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert_eq!((starts(&sandbox), run.instance("w", 0).state.as_str()), (1, "stopped"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn cron_comes_at_its_minute() {
    let sandbox = Sandbox::new();
    let mut run =
        run_of(&sandbox, &json!({ "command": "date +%S >> starts", "schedule": { "cron": "* * * * *" } }));
    // A whole minute at most.
    let start = Instant::now();
    while starts(&sandbox) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "{}", run.err());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.until_state("w", "waiting").restarts, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_start_can_be_delayed_from_when_all_it_comes_after_has_come() {
    let sandbox = Sandbox::new();
    let up = "read up rest < /proc/uptime; echo $up >> ";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "db": { "command": format!("{up} db; exec sleep 1000") },
        "w": { "command": format!("{up} w; exec sleep 1000"), "after": { "db": "started" }, "start_delay": "500ms" },
        "later": { "command": ["sleep", "1000"], "start_delay": "1h" } } }));
    let pid = run.until_launch("w", 1);
    let [db, w]: [f64; 2] = ["db", "w"].map(|name| sandbox.until_written(name).trim().parse().unwrap());
    assert!(w - db >= 0.4, "{db} {w}");
    assert_eq!(run.instance("later", 0).why.as_deref(), Some("its start is delayed by 1h"));
    // Who asks for it wants it now; and a restart is not delayed.
    sandbox.supervisor(&["start", "later"]).ends_with(0);
    assert_eq!(run.instance("later", 0).state, "running");
    assert!(lives(pid));
    assert_eq!(run.stop(), 0);
}
