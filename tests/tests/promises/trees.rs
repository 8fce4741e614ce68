//! Nothing is left behind: process trees, however they were made.

use std::time::Duration;

use serde_json::json;
use tests::{Run, Sandbox, lives, stays, until, until_gone};

/// The pids of a worker's processes, as `ps` shows them.
fn pids_of(run: &Run, worker: &str) -> Vec<i32> {
    run.ps().into_iter().filter(|row| row.worker.as_deref() == Some(worker)).map(|row| row.pid).collect()
}

/// Waits until a worker's tree has so many processes, and says which.
#[track_caller]
fn until_so_many(run: &Run, worker: &str, count: usize) -> Vec<i32> {
    until(&format!("{worker} has {count} processes"), || {
        Some(pids_of(run, worker)).filter(|all| all.len() == count)
    })
}

#[test]
fn a_grandchild_with_a_session_of_its_own_is_found_and_killed() {
    let sandbox = Sandbox::new();
    let config =
        json!({ "name": "r", "workers": { "w": { "command": ["worker-misbehave", "double-fork"] } } });
    let mut run = sandbox.run(&config);
    let escaped = until("it has escaped and came back to the supervisor", || {
        run.ps().into_iter().find(|row| row.command.contains("hang") && row.ppid == run.pid())
    });
    assert_eq!(escaped.worker.as_deref(), Some("w"));
    let all = until_so_many(&run, "w", 2);
    assert_eq!((escaped.instance, escaped.launch), (Some(0), Some(1)));
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(!all.iter().any(|pid| lives(*pid)));
}

#[test]
fn twenty_children_of_a_crashed_leader_are_gone_before_its_successor_starts() {
    let sandbox = Sandbox::new();
    let script = "for pid in $(cat children 2>/dev/null); do readlink /proc/$pid/exe > target && echo $pid >> alive; done; \
                  [ -e children ] && echo looked > looked && exec sleep 1000; \
                  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & echo $! >> new; done; \
                  mv new children; exit 1";
    let config =
        json!({ "name": "r", "workers": { "w": { "command": script, "backoff": { "initial": 0 } } } });
    let mut run = sandbox.run(&config);
    sandbox.until_written("looked");
    assert_eq!(sandbox.read("children").lines().count(), 20);
    assert_eq!(sandbox.read("alive"), "", "some lived beside the successor");
    assert_eq!(pids_of(&run, "w").len(), 1);
    assert_eq!(run.stop(), 0);
}

#[test]
fn children_that_a_leader_leaves_when_it_ends_well_are_gone_when_it_is_done() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": "for i in 1 2 3; do sleep 1000 & echo $! >> children; done; setsid sleep 1000 & exit 0", "restart": "never" },
        "other": { "command": ["sleep", "1000"] } } });
    let mut run = sandbox.run(&config);
    run.until_state("w", "done");
    for pid in sandbox.read("children").lines() {
        assert!(!lives(pid.parse().unwrap()));
    }
    assert_eq!(pids_of(&run, "w"), [] as [i32; 0]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_hundred_grandchildren_are_gone_after_a_stop() {
    let sandbox = Sandbox::new();
    // A hundred children, and a hundred orphans.
    let script = "i=0; while [ $i -lt 100 ]; do sleep 1000 & (sleep 1000 &); i=$((i+1)); done; wait";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script } } }));
    let all = until("two hundred are there", || Some(pids_of(&run, "w")).filter(|all| all.len() >= 200));
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!all.iter().any(|pid| lives(*pid)));
    assert_eq!(pids_of(&run, "w"), [] as [i32; 0]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn to_tree_asks_every_process_of_the_tree_also_one_that_escaped() {
    let sandbox = Sandbox::new();
    let child = |name: &str| {
        format!(
            "sh -c 'trap \"echo asked > {name}.term; exit 0\" TERM; echo $$ > {name}; while :; do sleep 0.02; done'"
        )
    };
    let script = format!(
        "trap 'while [ ! -e near.term ] || [ ! -e far.term ]; do sleep 0.02; done; exit 0' TERM; \
         {} & (setsid {} &); while :; do sleep 0.02; done",
        child("near"),
        child("far")
    );
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
        "command": script, "stop": { "to": "tree", "grace": "5m" } } } }));
    let near = sandbox.until_pid("near");
    let far = sandbox.until_pid("far");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("near.term") && sandbox.has("far.term"));
    assert!(!lives(near) && !lives(far));
}

#[test]
fn tini_138_the_rest_of_a_tree_has_its_grace_though_the_leader_has_ended() {
    for tree in ["auto", "cgroup"] {
        if tree == "cgroup" && process::Cgroups::look().unified().is_err() {
            continue;
        }
        let sandbox = Sandbox::new();
        // They need a while longer than the leader, each in a session of its own.
        let slow = |name: &str| {
            format!(
                "setsid sh -c 'trap \"while [ ! -e go ]; do sleep 0.02; done; echo done > {name}.done; exit 0\" TERM; \
                 echo $$ > {name}; while :; do sleep 0.02; done' &"
            )
        };
        let script = format!(
            "{} {} trap 'exit 0' TERM; echo $$ > leader; while :; do sleep 0.02; done",
            slow("one"),
            slow("two")
        );
        let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
            "command": script, "tree": tree, "stop": { "to": "tree", "grace": "5m" } } } }));
        let all = ["leader", "one", "two"].map(|name| sandbox.until_pid(name));
        let stop = sandbox.begin(&["stop", "w"]);
        until_gone(all[0]);
        stays("the others go on", Duration::from_millis(300), || lives(all[1]) && lives(all[2]));
        assert_eq!(run.instance("w", 0).state, "stopping", "{tree}");
        sandbox.write("go", "");
        tests::Said::at_the_end_of(stop).ends_with(0);
        assert!(sandbox.has("one.done") && sandbox.has("two.done"), "{tree}");
        assert!(!all.iter().any(|pid| lives(*pid)));
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn the_rest_of_a_tree_is_killed_when_its_grace_is_over_or_at_once_by_who_is_in_a_hurry() {
    let deaf = "(trap '' TERM; echo $$ > deaf; while :; do sleep 0.02; done) & \
                trap 'exit 0' TERM; echo $$ > leader; while :; do sleep 0.02; done";
    for (grace, hurried) in [("300ms", false), ("5m", true)] {
        let sandbox = Sandbox::new();
        let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
            "command": format!("exec 3<&0; {deaf}"), "stop": { "to": "tree", "grace": grace } } } }));
        let leader = sandbox.until_pid("leader");
        run.until_state("w", "running");
        let all = run.pids_of("w");
        assert!(all.len() >= 2);
        run.signal(nix::sys::signal::Signal::SIGTERM);
        until_gone(leader);
        if hurried {
            stays("it has its grace", Duration::from_millis(200), || {
                run.pids_of("w").iter().any(|pid| *pid != leader)
            });
            run.signal(nix::sys::signal::Signal::SIGTERM);
        }
        run.exit_code();
        assert!(!all.iter().any(|pid| lives(*pid)));
    }
}

#[test]
fn a_worker_whose_children_ignore_term_is_killed_with_all_of_them() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; sleep 1000 & sleep 1000 & (setsid sleep 1000 &); echo $$ > pid; while :; do sleep 0.02; done";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
        "command": script, "stop": { "to": "tree", "grace": "200ms" } } } }));
    sandbox.until_pid("pid");
    let all = pids_of(&run, "w");
    assert!(all.len() >= 3);
    run.stop();
    assert!(!all.iter().any(|pid| lives(*pid)));
}

#[test]
fn a_tree_that_forks_all_the_time_is_killed_all_the_same() {
    let sandbox = Sandbox::new();
    // Each child starts the next before it ends, in a session of its own.
    let script = "echo 'sleep 0.05; setsid sh ./hop & exit 0' > hop; sh ./hop; sh ./hop; exec sleep 1000";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
        "command": script, "stop": { "grace": "100ms" } } } }));
    until("it hops", || (pids_of(&run, "w").len() > 2).then_some(()));
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    stays("nothing of it lives", Duration::from_millis(200), || pids_of(&run, "w").is_empty());
    assert_eq!(run.stop(), 0);
}

#[test]
fn an_exit_storm_is_counted_to_the_last_one() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "storm": { "command": "while [ ! -e go ]; do sleep 0.05; done; exit 0", "instances": 100, "restart": "never" } } });
    let mut run = sandbox.run(&config);
    until("all run", || {
        let status = run.status();
        (status.workers.iter().filter(|row| row.state == "running").count() == 100).then_some(())
    });
    sandbox.write("go", "");
    assert_eq!(run.exit_code(), 0, "{}", run.err());
}

#[test]
fn an_exit_storm_that_is_restarted_comes_back_to_the_last_one() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "storm": { "command": ["sleep", "1000"], "instances": 50, "backoff": { "initial": 0 } } } });
    let mut run = sandbox.run(&config);
    let all_run = |launch: u64| {
        until(&format!("all run in launch {launch}"), || {
            let status = run.status();
            let fine =
                |row: &control::api::InstanceStatus| row.state == "running" && row.launch >= Some(launch);
            status.workers.iter().all(fine).then_some(status)
        })
    };
    for launch in 1..=2 {
        for row in all_run(launch).workers {
            nix::sys::signal::kill(
                process::Pid::from_raw(row.pid.unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            )
            .unwrap();
        }
    }
    let last = all_run(3);
    assert!(last.workers.iter().all(|row| row.restarts == 2), "{last:?}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_supervisor_inside_a_run_takes_its_own_workers_with_it() {
    let sandbox = Sandbox::new();
    let inner =
        json!({ "name": "inner", "workers": { "deep": { "command": "echo $$ > deep; exec sleep 1000" } } });
    sandbox.write("inner.json", inner.to_string());
    let mut run = sandbox.run(&json!({ "name": "outer", "workers": { "nested": { "command": ["supervisor", "run", "inner.json"] } } }));
    let deep = sandbox.until_pid("deep");
    // It may have written its pid before its supervisor was told that it is launched.
    until("the inner one knows it", || {
        let status = sandbox.supervisor(&["--name", "inner", "status", "--json"]).ends_with(0).json();
        (status["workers"][0]["pid"] == deep).then_some(())
    });
    until("it belongs to the outer one's worker", || {
        run.ps().iter().any(|row| row.pid == deep && row.worker.as_deref() == Some("nested")).then_some(())
    });
    assert_eq!(run.stop(), 0, "{}", run.err());
    until_gone(deep);
}

#[test]
fn a_worker_that_leaves_processes_behind_has_failed_where_that_is_asked_for() {
    for tree in ["auto", "cgroup"] {
        if tree == "cgroup" && process::Cgroups::look().unified().is_err() {
            continue;
        }
        for (leftover, code) in [("kill", 0), ("fail", 1)] {
            let sandbox = Sandbox::new();
            let command = "setsid sleep 1000 & setsid sleep 1000 & exit 0";
            let config = json!({ "workers": { "w": {
                "command": command, "restart": "never", "leftover": leftover, "tree": tree,
            } } });
            let (ended, run) = sandbox.run_to_its_end(&config);
            assert_eq!(ended, code, "{tree} {leftover}: {}", run.err());
            let told = run.err().contains("w: failed: exit code 0, but it left 2 processes behind");
            assert_eq!(told, leftover == "fail", "{tree}: {}", run.err());
        }
    }
    let sandbox = Sandbox::new();
    let config =
        json!({ "workers": { "w": { "command": "exit 0", "restart": "never", "leftover": "fail" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "who leaves nobody behind has not failed: {}", run.err());
}
