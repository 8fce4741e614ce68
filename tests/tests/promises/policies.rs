//! How a worker and its supervisor part: every cell of the table of policies, on real processes.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{Nursery, Run, Sandbox, lives, skipped, stays, until, until_gone};

/// Writes its pid, and when it gets TERM, `NAME.term`; ends by itself once `go` is there.
fn recorder(name: &str) -> String {
    format!(
        "trap 'echo asked > {name}.term; exit 0' TERM; echo $$ > {name}.pid; \
         while [ ! -e go ]; do sleep 0.02; done; echo went > {name}.went"
    )
}

/// The worker `w` with this policy, and beside it `job`, a wait worker that ends once `job.go` is there.
fn pair(policy: &str) -> Value {
    json!({ "name": "r", "workers": {
        "w": { "command": recorder("w"), "policy": policy, "restart": "never" },
        "job": { "command": "while [ ! -e job.go ]; do sleep 0.02; done", "restart": "never" },
    } })
}

/// A run of this pair in which `w` has begun, and the pid of `w`.
fn begun(sandbox: &Sandbox, policy: &str) -> (Run, i32) {
    let run = sandbox.run(&pair(policy));
    let pid = sandbox.until_pid("w.pid");
    run.until_state("job", "running");
    (run, pid)
}

#[test]
fn wait_when_the_work_is_done_the_run_waits_for_it() {
    let sandbox = Sandbox::new();
    let (mut run, pid) = begun(&sandbox, "wait");
    sandbox.write("job.go", "");
    run.until_state("job", "done");
    stays("the run waits", Duration::from_millis(200), || lives(pid) && lives(run.pid()));
    sandbox.write("go", "");
    assert_eq!(run.exit_code(), 0);
    assert!(sandbox.has("w.went") && !sandbox.has("w.term"));
}

#[test]
fn terminate_when_the_work_is_done_it_gets_its_stop_signal() {
    let sandbox = Sandbox::new();
    let (mut run, pid) = begun(&sandbox, "terminate");
    sandbox.write("job.go", "");
    assert_eq!(run.exit_code(), 0, "{}", run.err());
    assert!(sandbox.has("w.term") && !sandbox.has("w.went") && !lives(pid));
}

#[test]
fn daemon_when_the_work_is_done_it_is_killed_at_once() {
    let sandbox = Sandbox::new();
    let (mut run, pid) = begun(&sandbox, "daemon");
    sandbox.write("job.go", "");
    assert_eq!(run.exit_code(), 0, "{}", run.err());
    assert!(!sandbox.has("w.term") && !sandbox.has("w.went") && !lives(pid));
}

#[test]
fn wait_when_the_supervisor_is_told_to_stop_it_gets_its_stop_signal() {
    let sandbox = Sandbox::new();
    let (mut run, pid) = begun(&sandbox, "wait");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("w.term") && !lives(pid));
}

#[test]
fn terminate_when_the_supervisor_is_told_to_stop_it_gets_its_stop_signal() {
    let sandbox = Sandbox::new();
    let (mut run, pid) = begun(&sandbox, "terminate");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("w.term") && !lives(pid));
}

#[test]
fn daemon_when_the_supervisor_is_told_to_stop_it_is_killed_at_once() {
    let sandbox = Sandbox::new();
    let (mut run, pid) = begun(&sandbox, "daemon");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(!sandbox.has("w.term") && !lives(pid));
}

#[test]
fn wait_when_the_supervisor_is_killed_it_lives_on() {
    let sandbox = Sandbox::new();
    let (run, pid) = begun(&sandbox, "wait");
    run.kill_9();
    stays("it lives on", Duration::from_millis(300), || lives(pid));
    assert!(!sandbox.has("w.term"));
    sandbox.write("go", "");
    sandbox.write("job.go", "");
    until_gone(pid);
    assert!(sandbox.has("w.went"));
    until("all have ended", || sandbox.processes().is_empty().then_some(()));
}

#[test]
fn who_is_taken_back_has_been_up_since_its_launch() {
    let sandbox = Sandbox::new();
    let (run, pid) = begun(&sandbox, "wait");
    let seen = Instant::now();
    stays("it runs", Duration::from_millis(500), || lives(pid));
    run.kill_9();
    let (mut run, same) = begun(&sandbox, "wait");
    let up_at_least = seen.elapsed().as_secs_f64();
    let why = sandbox.supervisor(&["why", "w", "--json"]).ends_with(0).json();
    assert_eq!((same, &why[0]["launch"]), (pid, &json!(1)), "{}", run.err());
    for what in ["uptime_s", "since_s"] {
        // The kernel tells when a process was born in hundredths of a second.
        let told = why[0][what].as_f64().expect("it runs");
        assert!(told + 0.02 >= up_at_least && told < 3600.0, "{what}: {told}, at least {up_at_least}");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn terminate_when_the_supervisor_is_killed_the_kernel_sends_its_stop_signal() {
    let sandbox = Sandbox::new();
    let (run, pid) = begun(&sandbox, "terminate");
    run.kill_9();
    until_gone(pid);
    assert!(sandbox.has("w.term") && !sandbox.has("w.went"));
    sandbox.clean();
}

#[test]
fn terminate_when_the_supervisor_is_killed_the_kernel_sends_the_signal_that_the_config_names() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo asked > usr1; exit 0' USR1; echo $$ > pid; while :; do sleep 0.02; done";
    let run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": script, "policy": "terminate", "stop": { "signal": "USR1" } } } }));
    let pid = sandbox.until_pid("pid");
    run.kill_9();
    until_gone(pid);
    assert!(sandbox.has("usr1"));
    sandbox.clean();
}

#[test]
fn daemon_when_the_supervisor_is_killed_its_children_die_with_it() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! > child; (setsid sh -c 'echo $$ > escaped; exec sleep 1000' &); wait";
    let run =
        sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script, "policy": "daemon" } } }));
    let child = sandbox.until_pid("child");
    let escaped = sandbox.until_pid("escaped");
    run.kill_9();
    until_gone(child);
    until_gone(escaped);
    until("nothing is left", || sandbox.processes().is_empty().then_some(()));
}

#[test]
fn a_daemon_killed_with_its_supervisor_while_it_is_being_started_is_not_missed() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": ["sleep", "1000"], "policy": "daemon", "instances": 40 } } });
    for _ in 0..5 {
        let run = Run::begin(&sandbox, &config, &[]);
        // Somewhere in the middle of the forty.
        until("some are there", || (sandbox.processes().len() > 3).then_some(()));
        run.kill_9();
        until("nothing is left", || sandbox.processes().is_empty().then_some(()));
    }
}

#[test]
fn the_next_run_asks_those_to_end_that_are_more_than_its_config_has() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": ["sleep", "1000"], "instances": 2 } } });
    let first = sandbox.run(&config);
    first.until_all("running");
    sandbox.supervisor(&["scale", "w=3"]).ends_with(0);
    let pids: Vec<i32> = first.until_all("running").iter().filter_map(|row| row.pid).collect();
    assert_eq!(pids.len(), 3);
    first.kill_9();
    let mut second = sandbox.run(&config);
    until_gone(pids[2]);
    let kept: Vec<i32> = second.until_all("running").iter().filter_map(|row| row.pid).collect();
    assert_eq!(kept, pids[..2]);
    assert!(second.err().contains("one more than the config has: asked to stop"), "{}", second.err());
    assert_eq!(second.stop(), 0);
}

#[test]
fn those_that_are_more_than_the_config_has_and_do_not_care_for_being_asked_are_killed() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; (setsid sleep 1000 &); echo $$ > up.$SUPERVISOR_INSTANCE; \
                  [ $SUPERVISOR_INSTANCE = 0 ] || kill -STOP $$; while :; do sleep 0.05; done";
    let config = json!({ "name": "r", "workers": {
        "w": { "command": script, "instances": 1, "stop": { "grace": "300ms" } } } });
    let first = sandbox.run(&config);
    sandbox.until_written("up.0");
    sandbox.supervisor(&["scale", "w=3"]).ends_with(0);
    let pids = ["up.0", "up.1", "up.2"].map(|up| sandbox.until_pid(up));
    first.kill_9();
    let mut second = sandbox.run(&config);
    until_gone(pids[1]);
    until_gone(pids[2]);
    let rows = until("they are gone", || {
        let rows = second.status().workers;
        (rows.len() == 1).then_some(rows)
    });
    assert_eq!((rows[0].pid, rows[0].state.as_str()), (Some(pids[0]), "running"));
    for pid in &pids[1..] {
        let killed = format!(": did not end when it was asked to: killing pid {pid} (sh), ");
        assert!(second.err().contains(&killed), "{}", second.err());
    }
    second.stop();
    assert!(sandbox.processes().is_empty(), "something is left");
}

#[test]
fn the_next_run_takes_a_surviving_worker_back_and_starts_no_second_copy() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "restart": "never", "command":
        "echo $$ >> starts; while [ ! -e end ]; do if [ -e say ]; then rm say; echo still here; fi; sleep 0.02; done; exit 7" } } });
    let nursery = Nursery::start(&sandbox, &config);
    sandbox.until_written("starts");
    let status = sandbox.supervisor(&["status", "--json"]).ends_with(0).json();
    let pid = status["workers"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    nursery.kill_the_supervisor(&sandbox);
    let mut second = sandbox.run(&config);
    let after = second.until_state("w", "running");
    assert_eq!((after.pid, after.launch), (Some(pid), Some(1)));
    assert_eq!(sandbox.read("starts").lines().count(), 1, "a second copy was started");
    assert!(second.err().contains("taken back"), "{}", second.err());
    let ps = second.ps();
    assert!(ps.iter().any(|row| row.pid == pid && row.worker.as_deref() == Some("w")), "{ps:?}");
    // Its output comes to the new supervisor.
    sandbox.write("say", "");
    until("its output arrives", || second.out().contains("still here").then_some(()));
    sandbox.write("end", "");
    let code = second.exit_code();
    let kept = process::facts().iter().any(|fact| fact.name == "pidfd exit record" && fact.available);
    if kept {
        assert_eq!(code, 7, "{}", second.err());
    } else {
        skipped("this kernel keeps no exit codes of processes that others reaped");
        // It may have been looked at before it was reaped.
        assert!([1, 7].contains(&code), "{}", second.err());
    }
    nursery.until_empty();
}

#[test]
fn how_a_worker_that_was_taken_back_ended_is_known_even_if_nobody_reaps_it() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "restart": "never", "command":
        "echo up > up; while [ ! -e end ]; do sleep 0.02; done; exit 7" } } });
    let nursery = Nursery::start(&sandbox, &config);
    sandbox.until_written("up");
    nursery.kill_the_supervisor(&sandbox);
    nursery.reap_no_more();
    let mut second = sandbox.run(&config);
    second.until_state("w", "running");
    sandbox.write("end", "");
    assert_eq!(second.exit_code(), 7, "{}", second.err());
    nursery.until_empty();
}

#[test]
fn a_worker_that_was_taken_back_is_stopped_like_any_other() {
    let sandbox = Sandbox::new();
    let (first, pid) = begun(&sandbox, "wait");
    first.kill_9();
    let mut second = sandbox.run(&pair("wait"));
    assert_eq!(second.until_state("w", "running").pid, Some(pid));
    assert_eq!(second.stop(), 0, "{}", second.err());
    assert!(!lives(pid) && sandbox.has("w.term"));
}

#[test]
fn a_worker_that_was_taken_back_is_restarted_like_any_other() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": ["sleep", "1000"], "backoff": { "initial": 0 } } } });
    let first = sandbox.run(&config);
    let before = first.until_state("w", "running");
    first.kill_9();
    let mut second = sandbox.run(&config);
    assert_eq!(second.until_state("w", "running").pid, before.pid);
    sandbox.supervisor(&["kill", "w", "--signal", "KILL"]).ends_with(0);
    let pid = second.until_launch("w", before.launch.unwrap() + 1);
    assert_ne!(Some(pid), before.pid);
    assert_eq!(second.stop(), 0);
}

#[test]
fn what_a_dead_leader_left_while_there_was_no_supervisor_is_gone_before_its_successor_starts() {
    let sandbox = Sandbox::new();
    let script = "if [ -e first ]; then readlink /proc/$(cat first)/exe > seen; echo looked > second; fi; \
                  sleep 1000 & echo $! > first; wait";
    let config = json!({ "name": "r", "workers": { "w": { "command": script } } });
    let first = sandbox.run(&config);
    let leader = first.until_state("w", "running").pid.unwrap();
    let child = sandbox.until_pid("first");
    first.kill_9();
    nix::sys::signal::kill(process::Pid::from_raw(leader), Signal::SIGKILL).unwrap();
    until_gone(leader);
    assert!(lives(child));
    let mut second = sandbox.run(&config);
    sandbox.until_written("second");
    assert_eq!(sandbox.read("seen"), "", "the child of the first was still there");
    assert!(!lives(child));
    assert_eq!(second.stop(), 0);
}

#[test]
fn the_next_run_takes_the_queue_of_a_surviving_worker_back_with_its_messages() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "queues": { "q": { "capacity": 10 } }, "workers": {
        "holder": { "command": ["probe", "hold", "q"], "queues": { "get": ["q"] } } } });
    let first = sandbox.run(&config);
    until("it holds the queue", || first.out().contains("holds 0 of Some(10)").then_some(()));
    for message in ["one", "two", "three"] {
        sandbox.supervisor(&["queue", "put", "q", message]).ends_with(0);
    }
    first.kill_9();
    let mut second = sandbox.run(&config);
    assert_eq!(second.queue("q").len, 3);
    assert_eq!(
        sandbox.supervisor(&["queue", "get", "q", "-n", "3", "--lines"]).ends_with(0).out,
        "one\ntwo\nthree\n"
    );
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_message_leased_by_a_worker_that_died_while_there_was_no_supervisor_is_delivered_again() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "queues": { "q": { "capacity": 10 } }, "workers": {
        "holder": { "command": ["probe", "hold", "q"] },
        "leaser": { "command": ["probe", "lease", "q"], "restart": "never" } } });
    let first = sandbox.run(&config);
    until("the holder holds", || first.out().contains("holds 0").then_some(()));
    sandbox.supervisor(&["queue", "put", "q", "precious"]).ends_with(0);
    until("the leaser has it", || first.out().contains("leased precious time 1").then_some(()));
    let leaser = first.leader("leaser", 0);
    first.kill_9();
    nix::sys::signal::kill(process::Pid::from_raw(leaser), Signal::SIGKILL).unwrap();
    until_gone(leaser);
    let mut second = sandbox.run(&config);
    until("it is delivered again", || second.out().contains("leased precious time 2").then_some(()));
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_stop_waits_the_whole_grace_before_it_kills() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "deaf": {
        "command": "trap '' TERM; echo $$ > pid; while :; do sleep 0.02; done", "stop": { "grace": "700ms" } } } }));
    let pid = sandbox.until_pid("pid");
    let start = Instant::now();
    run.signal(Signal::SIGTERM);
    until_gone(pid);
    assert!(start.elapsed() >= Duration::from_millis(700));
    run.wait();
}

#[test]
fn a_worker_is_asked_with_the_signal_that_its_config_names() {
    for signal in ["INT", "HUP", "USR2", "QUIT"] {
        let sandbox = Sandbox::new();
        let script = format!(
            "trap 'echo {signal} > asked; exit 0' {signal}; echo $$ > pid; while :; do sleep 0.02; done"
        );
        let mut run = sandbox.run(&json!({ "name": "r", "workers": {
            "w": { "command": script, "stop": { "signal": signal } } } }));
        sandbox.until_pid("pid");
        assert_eq!(run.stop(), 0, "{}", run.err());
        assert_eq!(sandbox.read("asked"), format!("{signal}\n"));
    }
}

#[test]
fn a_worker_that_is_stopped_by_a_signal_hears_that_it_shall_end() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
        "command": "trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done" } } }));
    let pid = sandbox.until_pid("pid");
    nix::sys::signal::kill(process::Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    assert_eq!(run.stop(), 0);
    assert!(sandbox.has("asked"));
}

#[test]
fn stopping_goes_in_reverse_order_of_dependence() {
    let sandbox = Sandbox::new();
    let mut workers = serde_json::Map::new();
    for (name, after) in [("db", None), ("app", Some("db")), ("web", Some("app"))] {
        let script = format!(
            "trap 'echo {name} ends >> order; exit 0' TERM; echo {name} starts >> order; while :; do sleep 0.02; done"
        );
        let mut worker = json!({ "command": script });
        if let Some(after) = after {
            worker["after"] = json!({ after: "started" });
        }
        workers.insert(name.to_owned(), worker);
    }
    let mut run = sandbox.run(&json!({ "name": "r", "workers": workers }));
    until("all have begun", || (sandbox.read("order").lines().count() == 3).then_some(()));
    assert_eq!(run.stop(), 0);
    let order = sandbox.read("order");
    let ends: Vec<&str> = order.lines().filter(|line| line.ends_with("ends")).collect();
    assert_eq!(ends, ["web ends", "app ends", "db ends"]);
}

#[test]
fn a_worker_is_taken_back_as_often_as_its_supervisor_is_killed() {
    let sandbox = Sandbox::new();
    let config = pair("wait");
    let (mut run, pid) = begun(&sandbox, "wait");
    for _ in 0..3 {
        run.kill_9();
        run = sandbox.run(&config);
        let row = run.until_state("w", "running");
        assert_eq!((row.pid, row.launch), (Some(pid), Some(1)));
    }
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("w.term") && !lives(pid));
}

#[test]
fn the_tree_of_a_worker_that_was_taken_back_is_stopped_to_the_last_process() {
    let sandbox = Sandbox::new();
    let script = "(setsid sh -c 'echo $$ > escaped; exec sleep 1000' &); sleep 1000 & echo $! > child; wait";
    let config = json!({ "name": "r", "workers": { "w": { "command": script } } });
    let first = sandbox.run(&config);
    let (child, escaped) = (sandbox.until_pid("child"), sandbox.until_pid("escaped"));
    first.kill_9();
    let mut second = sandbox.run(&config);
    second.until_state("w", "running");
    let known = second.pids_of("w");
    assert!(known.contains(&child) && known.contains(&escaped), "{known:?} lack {child} or {escaped}");
    sandbox.supervisor(&["kill", &escaped.to_string(), "--signal", "CONT"]).ends_with(0);
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!lives(child), "its child lives");
    assert!(!lives(escaped), "what escaped from it lives");
    assert_eq!(second.stop(), 0);
}

#[test]
fn all_instances_of_a_worker_are_taken_back_and_what_is_missing_is_started() {
    let sandbox = Sandbox::new();
    let config =
        json!({ "name": "r", "workers": { "w": { "command": ["sleep", "1000"], "instances": 10 } } });
    let all_run = |run: &Run| {
        until("all run", || {
            let rows = run.status().workers;
            rows.iter().all(|row| row.state == "running").then_some(rows)
        })
    };
    let first = sandbox.run(&config);
    let before = all_run(&first);
    first.kill_9();
    for row in &before[..3] {
        let pid = row.pid.unwrap();
        nix::sys::signal::kill(process::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        until_gone(pid);
    }
    let mut second = sandbox.run(&config);
    let after = all_run(&second);
    for (instance, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before.pid == after.pid, instance >= 3, "instance {instance}");
    }
    assert_eq!(second.stop(), 0);
}
