//! Trees that are kept together by cgroups: nothing gets out of one, whatever it does.

use std::time::Duration;

use nix::sys::signal::Signal;
use process::Cgroups;
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, stays, until, until_gone};

/// Empties its environment, leaves its session and loses its parent: by nothing but its cgroup is it known. Its pid is
/// written to the file `escaped`.
const ESCAPE: &str = "env -i /bin/sh -c 'setsid /bin/sh -c \"echo \\$\\$ > escaped; exec sleep 1000\" &' & \
                      while ! [ -s escaped ]; do sleep 0.01; done;";

/// A run whose one worker, with these keys, lets a process escape and then does this. `None` where trees cannot be kept
/// by cgroups; then it is checked that this is refused.
fn escaping(sandbox: &Sandbox, then: &str, keys: &Value) -> Option<(Value, Run)> {
    let mut worker = json!({ "command": ["/bin/sh", "-c", format!("{ESCAPE} {then}")], "tree": "cgroup" });
    for (key, value) in keys.as_object().expect("keys") {
        worker[key] = value.clone();
    }
    let name = tests::unique("escape");
    let config =
        json!({ "name": name, "workers": { "w": worker, "keep": { "command": ["sleep", "1000"] } } });
    if Cgroups::look().unified().is_err() {
        eprintln!("cgroups cannot be had here: the refusal is checked");
        sandbox.write("config.json", config.to_string());
        for verb in ["check", "run"] {
            sandbox.supervisor(&[verb, "config.json"]).ends_with(3).tells("workers.w.tree");
        }
        return None;
    }
    let run = sandbox.run(&config);
    Some((config, run))
}

fn escaped(sandbox: &Sandbox) -> i32 {
    sandbox.until_pid("escaped")
}

#[test]
fn who_left_everything_behind_is_still_of_its_worker_and_goes_with_it() {
    let sandbox = Sandbox::new();
    let Some((_, mut run)) = escaping(&sandbox, "sleep 1000", &json!({})) else { return };
    let pid = escaped(&sandbox);
    until("it is listed with its worker", || {
        let rows = run.ps();
        rows.iter().any(|row| row.pid == pid && row.worker.as_deref() == Some("w")).then_some(())
    });
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!lives(pid), "a stop is complete when nothing lives");
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_left_everything_behind_is_gone_before_the_next_launch() {
    let sandbox = Sandbox::new();
    let keys = json!({ "backoff": { "initial": 0 }, "restart": "always", "intensity": { "restarts": 1000 } });
    let Some((_, mut run)) = escaping(&sandbox, "mv escaped first; read never", &keys) else { return };
    let first = sandbox.until_pid("first");
    run.until_launch("w", 2);
    assert!(!lives(first));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_stop_signal_for_the_whole_tree_reaches_who_left_everything_behind() {
    let sandbox = Sandbox::new();
    let escape = "env -i /bin/sh -c 'setsid /bin/sh -c \"trap \\\"echo asked > heard; exit\\\" USR1; \
                  echo \\$\\$ > escaped; while :; do sleep 0.01; done\" &' &";
    let command = format!(
        "{escape} while ! [ -s escaped ]; do sleep 0.01; done; \
         trap 'until [ -s heard ]; do sleep 0.01; done; exit' USR1; read never"
    );
    // When the leader has ended, what is left is killed: it waits for the other one.
    let command = command.replace("read never", "while :; do sleep 0.01; done");
    let keys = json!({ "command": ["/bin/sh", "-c", command], "stop": { "signal": "USR1", "to": "tree" } });
    let Some((_, mut run)) = escaping(&sandbox, "", &keys) else { return };
    escaped(&sandbox);
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert_eq!(sandbox.read("heard"), "asked\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn all_of_a_daemon_dies_with_a_killed_supervisor_even_who_left_everything_behind() {
    let sandbox = Sandbox::new();
    let Some((config, run)) = escaping(&sandbox, "sleep 1000", &json!({ "policy": "daemon" })) else {
        return;
    };
    let pid = escaped(&sandbox);
    run.kill_9();
    until_gone(pid);
    until("no cgroup is left of the daemon", || {
        let all = tests::cgroups(config["name"].as_str().expect("a name"));
        all.iter().all(|folder| !folder.join("daemon").exists()).then_some(())
    });
    sandbox.clean();
}

#[test]
fn what_outlives_a_killed_supervisor_is_taken_back_with_its_cgroup() {
    let sandbox = Sandbox::new();
    let Some((config, run)) = escaping(&sandbox, "exec sleep 1000", &json!({})) else { return };
    let pid = escaped(&sandbox);
    let leader = run.until_launch("w", 1);
    run.kill_9();
    let mut next = sandbox.run(&config);
    assert_eq!(next.until_state("w", "running").pid, Some(leader), "the same process");
    assert!(lives(pid));
    sandbox.supervisor(&["kill", "w", "--tree"]).ends_with(0);
    until_gone(pid);
    assert_eq!(next.stop(), 0);
}

#[test]
fn what_a_killed_supervisors_worker_left_in_its_cgroup_is_killed_by_the_next_run() {
    let sandbox = Sandbox::new();
    let Some((config, run)) = escaping(&sandbox, "exec sleep 1000", &json!({})) else { return };
    let pid = escaped(&sandbox);
    let leader = run.until_launch("w", 1);
    run.kill_9();
    // The leader ends while nobody watches; who escaped from it is known by the cgroup alone.
    nix::sys::signal::kill(process::Pid::from_raw(leader), Signal::SIGKILL).expect("it is ours");
    until_gone(leader);
    stays("it lives on", Duration::from_millis(50), || lives(pid));
    std::fs::remove_file(sandbox.path().join("escaped")).expect("it is there");
    let mut next = sandbox.run(&config);
    assert!(!lives(pid), "it is gone before anything is launched");
    assert_eq!(next.stop(), 0);
}

#[test]
fn a_launch_in_a_cgroup_leaves_none_behind_however_often_it_is_started() {
    let sandbox = Sandbox::new();
    let keys = json!({ "command": ["true"], "restart": "always", "backoff": { "initial": 0 },
                       "intensity": { "restarts": 1_000_000 } });
    let Some((config, mut run)) = escaping(&sandbox, "", &keys) else { return };
    run.until_launch("w", 30);
    let keeper = run.until_launch("keep", 1);
    let own = std::fs::read_to_string(format!("/proc/{keeper}/cgroup")).expect("it lives");
    assert!(!own.contains("/supervisor-"), "who does not need one has none: {own}");
    assert_eq!(run.stop(), 0);
    let left = tests::cgroups(config["name"].as_str().expect("a name"));
    assert!(left.is_empty(), "{left:?}");
}
