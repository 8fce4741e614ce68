//! Programs are started and exit, again and again. Afterwards the supervisor has as many descriptors, threads and as much
//! memory as before.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Run, Sandbox, until};

/// What the heap may have grown by: it is handed out in pages, and not always the same ones are free.
const SLACK_KIB: u64 = 256;

/// What a supervisor has.
#[derive(Clone, Copy, Debug)]
struct Belongings {
    descriptors: usize,
    threads: usize,
    /// Memory of its own, in KiB.
    memory_kib: u64,
}

impl Belongings {
    fn of(run: &Run) -> Belongings {
        let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", run.pid())).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5");
        Belongings {
            descriptors: count("fd"),
            threads: count("task"),
            memory_kib: line.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

fn config() -> Value {
    let worker = |command: Value, instances: u32| {
        json!({ "command": command, "instances": instances, "restart": "always", "autostart": false, "policy": "terminate",
                "backoff": { "initial": 0 }, "intensity": { "restarts": 1_000_000_000u64, "within": "1s" } })
    };
    json!({ "name": "r", "queues": { "q": {} }, "workers": {
        // Its output goes through the log, and ends with it.
        "plain": worker(json!(["echo", "x"]), 12),
        // It leaves a process behind that belongs to nobody else.
        "leaver": worker(json!("(true &)"), 4),
        "steady": { "command": ["sleep", "1000000"] } } })
}

pub fn soak(rounds: u64) {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&config());
    run.until_state("steady", "running");
    let warm_up = (rounds / 10).clamp(500, 5000);
    spawn(&sandbox, &run, warm_up);
    let before = settled(&run, None);
    let begun = Instant::now();
    let done = spawn(&sandbox, &run, rounds);
    let took = begun.elapsed();
    let after = settled(&run, Some(before));
    println!("{done} programs were started and exited in {:.1} s", took.as_secs_f64());
    println!("before: {before:?}\nafter:  {after:?}");
    assert!(after.descriptors <= before.descriptors && after.threads <= before.threads, "something leaks");
    assert!(after.memory_kib <= before.memory_kib + SLACK_KIB, "memory leaks");
    assert_eq!(run.stop(), 0);
}

/// Has so many programs started, and stops then.
fn spawn(sandbox: &Sandbox, run: &Run, rounds: u64) -> u64 {
    let launches = || run.status().workers.iter().filter_map(|row| row.launch).sum::<u64>();
    let before = launches();
    sandbox.supervisor(&["start", "plain", "leaver", "--no-wait"]).ends_with(0);
    let (mut last, mut moved) = (before, Instant::now());
    loop {
        let now = launches();
        if now - before >= rounds {
            break;
        }
        if now > last {
            (last, moved) = (now, Instant::now());
        }
        assert!(moved.elapsed() < tests::PATIENCE, "it stands still after {} of {rounds}", now - before);
        std::thread::sleep(Duration::from_millis(50));
    }
    sandbox.supervisor(&["stop", "plain", "leaver"]).ends_with(0);
    launches() - before
}

/// What it has once it is at rest; where there is something to compare with, it may take a moment to let go.
fn settled(run: &Run, before: Option<Belongings>) -> Belongings {
    let start = Instant::now();
    until("it is at rest", || {
        let now = Belongings::of(run);
        let as_before = before
            .is_none_or(|before| now.descriptors <= before.descriptors && now.threads <= before.threads);
        (start.elapsed() > Duration::from_millis(500)
            && (as_before || start.elapsed() > Duration::from_secs(20)))
        .then_some(now)
    })
}
