//! The supervisor is killed with -9 at random moments while it starts, restarts and stops workers of each policy, and is
//! started anew. Never do two copies of an instance live at the same time, and at the end nothing is left.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, until};

/// Random numbers that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A worker of each policy. `probe alone` holds a lock that only one copy of an instance can hold, has a child, and one
/// that escaped.
fn config() -> Value {
    let worker = |policy: &str| {
        json!({ "command": ["probe", "alone"], "policy": policy, "instances": 2, "restart": "always",
                "backoff": { "initial": "1ms", "max": "20ms" }, "intensity": { "restarts": 1_000_000, "within": "1s" },
                "stop": { "grace": "2s" } })
    };
    json!({ "name": "r", "workers": { "wait": worker("wait"), "terminate": worker("terminate"), "daemon": worker("daemon") } })
}

/// What the supervisor is at when it is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Starting,
    Restarting,
    Stopping,
    ShuttingDown,
}

pub fn soak(kills: u64, seed: u64) {
    let mut random = Random(seed);
    let sandbox = Sandbox::new();
    for kill in 0..kills {
        let moment = [Moment::Starting, Moment::Restarting, Moment::Stopping, Moment::ShuttingDown]
            [random.below(4) as usize];
        let run = Run::begin(&sandbox, &config(), &[]);
        if !matches!(moment, Moment::Starting) {
            until("it answers", || run.ask::<Value>(&control::api::Request::Ps).ok());
            // Not always until all are up.
            sleep(Duration::from_micros(random.below(40_000)));
        }
        let verb: &[&str] = match moment {
            Moment::Starting => &[],
            Moment::Restarting => &["restart", "wait", "terminate", "daemon", "--no-wait"],
            Moment::Stopping => &["stop", "wait", "terminate", "daemon", "--no-wait"],
            Moment::ShuttingDown => &["shutdown"],
        };
        let order = (!verb.is_empty()).then(|| sandbox.begin(verb));
        sleep(Duration::from_micros(random.below(60_000)));
        run.kill_9();
        if let Some(order) = order {
            // Whether it was answered in time is not the point.
            let _ = tests::Said::at_the_end_of(order);
        }
        let what = || format!("kill {kill} of seed {seed}, {moment:?}: {}", sandbox.read("r.err"));
        assert!(!sandbox.has("doubled"), "two copies lived: {}; {}", sandbox.read("doubled"), what());
    }
    let mut last = sandbox.run(&config());
    let rows = last.until_all("running");
    assert_eq!(rows.len(), 6);
    // Each has its leader and two below it, as soon as they are there, and nobody else has any.
    for worker in ["wait", "terminate", "daemon"] {
        let all = || last.pids_of(worker).len() == 6;
        let start = std::time::Instant::now();
        while !all() {
            assert!(
                start.elapsed() < tests::PATIENCE,
                "seed {seed}: {worker} is not whole: {:#?}",
                last.ps()
            );
            sleep(Duration::from_millis(5));
        }
    }
    let ours = 1 + last.ps().len();
    until("nothing of former runs is left", || (sandbox.processes().len() <= ours).then_some(()));
    let all = sandbox.processes();
    assert_eq!(last.stop(), 0, "seed {seed}: {}", last.err());
    assert!(!sandbox.has("doubled"), "seed {seed}: two copies lived: {}", sandbox.read("doubled"));
    assert!(!all.iter().any(|pid| lives(*pid)), "seed {seed}: something outlived the last run");
    println!("killed {kills} times with -9 (seed {seed}): nothing doubled, nothing left");
}
