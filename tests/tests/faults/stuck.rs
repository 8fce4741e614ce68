//! Children that neither run nor end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::json;
use tests::{Sandbox, is_root, lives, skipped, stays, until, until_gone};

use crate::{lasting, run_of};

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it is there");
}

#[test]
fn a_stopped_worker_that_ignores_its_stop_signal_is_killed_after_its_grace() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let config = run_of(&json!({ "w": { "command": script, "stop": { "grace": "200ms" } } }));
    let mut run = sandbox.run(&config);
    let pid = sandbox.until_pid("pid");
    send(pid, Signal::SIGSTOP);
    run.stop();
    assert!(!lives(pid));
}

#[test]
fn a_stopped_tree_is_killed_to_the_last_process() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! > child; (setsid sh -c 'echo $$ > escaped; exec sleep 1000' &); wait";
    let mut run = sandbox.run(&run_of(&json!({ "w": { "command": script } })));
    let all = [sandbox.until_pid("child"), sandbox.until_pid("escaped"), run.until_launch("w", 1)];
    for pid in all {
        send(pid, Signal::SIGSTOP);
    }
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!all.iter().any(|pid| lives(*pid)));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_somebody_stops_holds_up_nobody_else() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&run_of(&json!({ "stopped": lasting(), "other": lasting() })));
    send(run.until_launch("stopped", 1), Signal::SIGSTOP);
    for launch in 1..=3 {
        tests::kill_9(run.until_launch("other", launch));
    }
    run.until_launch("other", 4);
    assert_eq!(run.instance("stopped", 0).state, "running");
    assert_eq!(run.stop(), 0);
}

/// A cgroup of version 1 in which processes stand still, whatever they are sent: the one way to an unkillable process.
struct Freezer(PathBuf);

impl Freezer {
    fn make() -> Option<Freezer> {
        let root = Path::new("/sys/fs/cgroup/freezer");
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("supervisor-test-{}-{number}", std::process::id()));
        if !is_root() || !root.join("tasks").exists() || fs::create_dir(&folder).is_err() {
            skipped("no freezer of version 1 that may be written here");
            return None;
        }
        Some(Freezer(folder))
    }

    fn freeze(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
        self.set("FROZEN");
    }

    fn set(&self, state: &str) {
        fs::write(self.0.join("freezer.state"), state).expect("it can be set");
        let read = || fs::read_to_string(self.0.join("freezer.state")).unwrap_or_default();
        until(&format!("all in it are {state}"), || (read().trim() == state).then_some(()));
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        // Until the last of it is gone, it cannot be removed.
        for _ in 0..500 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_worker_that_cannot_be_killed_holds_up_nobody_else_and_is_told_of() {
    let Some(freezer) = Freezer::make() else { return };
    let sandbox = Sandbox::new();
    let mut stuck = lasting();
    stuck["stop"] = json!({ "grace": "100ms" });
    let mut run = sandbox.run(&run_of(&json!({ "stuck": stuck, "other": lasting() })));
    let pid = run.until_launch("stuck", 1);
    freezer.freeze(pid);
    sandbox.supervisor(&["stop", "stuck", "--no-wait"]).ends_with(0);
    run.until_state("stuck", "stopping");
    // Long after its grace it is still there, and the others are looked after.
    for launch in 1..=3 {
        tests::kill_9(run.until_launch("other", launch));
    }
    run.until_launch("other", 4);
    stays("it is known to be there", Duration::from_millis(300), || {
        let row = run.instance("stuck", 0);
        (row.state.as_str(), row.pid) == ("stopping", Some(pid)) && lives(pid)
    });
    freezer.set("THAWED");
    until_gone(pid);
    run.until_state("stuck", "stopped");
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_stop_of_a_run_ends_without_a_worker_that_cannot_be_killed_and_says_so() {
    let Some(freezer) = Freezer::make() else { return };
    let sandbox = Sandbox::new();
    let mut stuck = lasting();
    stuck["stop"] = json!({ "grace": "100ms" });
    stuck["after"] = json!({ "below": "started" });
    let below = json!({ "command": "trap 'echo asked > asked; exit 0' TERM; echo $$ > below; while :; do sleep 0.02; done" });
    let mut run = sandbox.run(&run_of(&json!({ "stuck": stuck, "below": below })));
    let below = sandbox.until_pid("below");
    let pid = run.until_launch("stuck", 1);
    freezer.freeze(pid);
    assert_eq!(run.stop(), 7, "{}", run.err());
    let said = run.err();
    assert!(said.contains(&format!("stuck: cannot be killed: pid {pid} (sleep), ")), "{said}");
    assert!(said.contains(&format!("it was killed and lives on: stuck: pid {pid} (sleep)")), "{said}");
    assert!(sandbox.has("asked") && !lives(below), "who it came after was stopped in its own way: {said}");
    assert!(lives(pid));
    freezer.set("THAWED");
    until_gone(pid);
}
