//! What a supervisor costs while it has nothing to do, and what it keeps of what is over.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Run, Sandbox, until};

/// How often the threads of a process have gone to sleep by themselves.
fn sleeps(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    tasks.flatten().map(of).sum()
}

#[test]
fn supervisord_807_a_run_with_nothing_to_do_does_not_wake_up() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": { "capacity": 1 } }, "workers": {
        "sleeper": { "command": ["sleep", "1000"], "instances": 5, "backoff": { "reset_after": "1h" } },
        "waiter": { "command": ["probe", "get-all", "q"], "backoff": { "reset_after": "1h" } } } }));
    run.until_state("waiter", "running");
    until("it sleeps through a second", || {
        let before = sleeps(run.pid());
        std::thread::sleep(Duration::from_secs(1));
        (sleeps(run.pid()) == before).then_some(())
    });
    assert_eq!(run.stop(), 0);
}

fn descriptors(run: &Run) -> usize {
    fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

#[test]
fn supervisord_89_restarts_leave_no_descriptor_and_no_thread_behind() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "w": { "command": ["probe", "hold", "q"], "instances": 4, "backoff": { "initial": 0 },
               "intensity": { "restarts": 100_000, "within": "1s" } } } }));
    let settled = |run: &Run, launch: u64| {
        until(&format!("all have joined in launch {launch}"), || {
            let rows = run.status().workers;
            let up = rows.iter().all(|row| row.state == "running" && row.launch >= Some(launch));
            let joined = run.out().matches("holds").count() as u64 >= 4 * launch;
            (up && joined).then_some(rows)
        })
    };
    let mut rows = settled(&run, 1);
    let threads = |run: &Run| fs::read_dir(format!("/proc/{}/task", run.pid())).unwrap().count();
    let (before, threads_before) = (descriptors(&run), threads(&run));
    for launch in 2..=12 {
        for row in &rows {
            let pid = process::Pid::from_raw(row.pid.unwrap());
            nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
        }
        rows = settled(&run, launch);
    }
    // Connections that are just being closed go away by themselves; a leak does not.
    until("there are as many descriptors as before", || (descriptors(&run) <= before + 2).then_some(()));
    until("there are as many threads as before", || (threads(&run) <= threads_before + 1).then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn commands_that_come_and_go_leave_no_descriptor_behind() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(
        &json!({ "name": "r", "queues": { "q": {} }, "workers": { "w": { "command": ["sleep", "1000"] } } }),
    );
    sandbox.supervisor(&["queue", "put", "q", "x"]).ends_with(0);
    let before = descriptors(&run);
    for _ in 0..30 {
        sandbox.supervisor(&["queue", "put", "q", "x"]).ends_with(0);
        sandbox.supervisor(&["status"]).ends_with(0);
    }
    until("there are as many descriptors as before", || (descriptors(&run) <= before + 2).then_some(()));
    assert_eq!(run.stop(), 0);
}
