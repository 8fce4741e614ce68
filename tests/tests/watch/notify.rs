//! What launches say over their notification sockets.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use control::api::Exit;
use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::json;
use tests::{Sandbox, lives, stays, until, until_gone};

use crate::{happened, reason, run_of};

/// The kernel tells when a process was born in hundredths of a second; so it is known to two of them.
const TICK_S: f64 = 0.02;

#[test]
fn systemd_2737_a_word_counts_though_its_sender_has_ended_since() {
    for script in [
        "probe tell READY=1; exec sleep 1000",
        "(probe tell READY=1 &); exec sleep 1000",
        "setsid sh -c 'setsid probe tell READY=1 & wait' & wait; exec sleep 1000",
        "env -i NOTIFY_SOCKET=$NOTIFY_SOCKET $(command -v probe) tell READY=1; exec sleep 1000",
    ] {
        let sandbox = Sandbox::new();
        let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify" }));
        run.until_state("then", "running");
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn systemd_2739_the_last_words_of_a_worker_come_before_its_end() {
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let config = json!({ "name": "r", "workers": {
            "w": { "command": ["probe", "tell", "READY=1"], "ready": "notify", "restart": "never" },
            "then": { "command": "echo x > then", "after": { "w": "ready" } } } });
        let (code, run) = sandbox.run_to_its_end(&config);
        assert_eq!((code, sandbox.read("then").as_str()), (0, "x\n"), "{}", run.err());
    }
}

#[test]
fn nobody_else_can_speak_for_a_worker() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": "echo $NOTIFY_SOCKET > socket; exec sleep 1000", "ready": "notify" },
        "other": { "command": "while [ ! -s socket ]; do sleep 0.02; done; \
                               NOTIFY_SOCKET=$(cat socket) exec probe notify READY=1" } } }));
    let socket = sandbox.until_written("socket");
    let stranger = UnixDatagram::unbound().unwrap();
    stranger.send_to(b"READY=1\nMAINPID=1", socket.trim()).unwrap();
    until("both are refused", || {
        (run.err().matches("which is not of its tree: ignored").count() == 2).then_some(())
    });
    assert_eq!(run.instance("w", 0).state, "starting");
    assert_eq!(run.stop(), 0);
    assert!(!std::path::Path::new(socket.trim()).exists());
}

#[test]
fn what_a_worker_is_at_is_told_while_it_gets_ready_and_while_it_stops() {
    let sandbox = Sandbox::new();
    let script = "trap 'probe tell \"STATUS=putting away\"; while [ ! -e gone ]; do sleep 0.02; done; exit 0' TERM; \
                  probe tell 'STATUS=30% loaded'; while [ ! -e go ]; do sleep 0.02; done; probe tell READY=1; \
                  while :; do sleep 0.02; done";
    let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify" }));
    let says = |state: &str, what: &str| {
        until(&format!("it says {what}"), || {
            let now = run.instance("w", 0);
            (now.state == state && now.why.as_deref().is_some_and(|why| why.ends_with(what))).then_some(())
        });
    };
    says("starting", "not ready yet; it says: 30% loaded");
    sandbox.write("go", "");
    says("running", "30% loaded");
    sandbox.supervisor(&["stop", "w", "--no-wait"]).ends_with(0);
    says("stopping", "; it says: putting away");
    sandbox.write("gone", "");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_says_what_it_is_at_and_that_it_reloads() {
    let sandbox = Sandbox::new();
    let script = "probe tell READY=1 'STATUS=first things'; while [ ! -e go ]; do sleep 0.02; done; \
                  probe tell RELOADING=1 MONOTONIC_USEC=1; while [ -e go ]; do sleep 0.02; done; \
                  probe tell READY=1 STATUS=again; exec sleep 1000";
    let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify" }));
    let says = |what: &str| {
        until(&format!("it says {what}"), || {
            (run.instance("w", 0).why.as_deref() == Some(what)).then_some(())
        });
    };
    says("first things");
    sandbox.write("go", "");
    says("reloading: first things");
    assert_eq!(run.instance("w", 0).state, "running");
    std::fs::remove_file(sandbox.path().join("go")).unwrap();
    says("again");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_says_that_it_is_stopping_is_let_end_and_its_ending_counts() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo asked > asked' TERM; probe tell READY=1 STOPPING=1; \
                  while [ ! -e go ]; do sleep 0.02; done; exit 0";
    let mut run =
        run_of(&sandbox, &json!({ "command": script, "ready": "notify", "stop": { "grace": "10m" } }));
    run.until_state("w", "stopping");
    assert!(reason(&sandbox).starts_with("says that it is stopping; waits for pid "));
    sandbox.write("go", "");
    assert_eq!(run.until_state("w", "done").exit, Some(Exit::Code(0)));
    assert!(!sandbox.has("asked"));
    run.stop();

    // It may not take for ever.
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "probe tell STOPPING=1; exec sleep 1000", "ready": "notify", "stop": { "grace": "200ms" }, "restart": "never" });
    let mut run = run_of(&sandbox, &worker);
    assert_eq!(run.until_state("w", "failed").exit, Some(Exit::Signal(9)));
    run.stop();
}

#[test]
fn what_went_wrong_stands_beside_the_ending() {
    let sandbox = Sandbox::new();
    let mut run = run_of(
        &sandbox,
        &json!({ "command": "probe tell ERRNO=2; exit 4", "watchdog": "10m", "restart": "never" }),
    );
    let row = run.until_state("w", "failed");
    assert_eq!(row.why.as_deref(), Some("exit code 4; it said: No such file or directory (errno 2)"));
    run.stop();
}

#[test]
fn a_worker_may_ask_for_more_time_to_start_and_to_stop() {
    let sandbox = Sandbox::new();
    let script = "probe tell EXTEND_TIMEOUT_USEC=600000000; while [ ! -e go ]; do sleep 0.02; done; \
                  trap 'probe tell EXTEND_TIMEOUT_USEC=60000000; sleep 4; exit 3' TERM; probe tell READY=1; \
                  while :; do sleep 0.02; done";
    let worker =
        json!({ "command": script, "ready": "notify", "ready_timeout": "5s", "stop": { "grace": "3s" } });
    let mut run = run_of(&sandbox, &worker);
    run.until_state("w", "starting");
    stays("it is not given up", Duration::from_millis(6500), || run.instance("w", 0).state == "starting");
    sandbox.write("go", "");
    run.until_state("then", "running");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert_eq!(run.instance("w", 0).exit, Some(Exit::Code(3)), "it was not killed after its grace");
    run.stop();
}

#[test]
fn a_barrier_falls_when_all_before_it_was_taken_in() {
    let sandbox = Sandbox::new();
    let script = "probe tell READY=1 STATUS=counted; probe barrier && supervisor status w --json > seen && echo x > done; exec sleep 1000";
    let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify" }));
    sandbox.until_written("done");
    let seen: serde_json::Value = serde_json::from_str(&sandbox.read("seen")).unwrap();
    assert_eq!(
        (&seen["workers"][0]["state"], &seen["workers"][0]["why"]),
        (&json!("running"), &json!("counted"))
    );
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_may_name_who_leads_it_and_that_one_s_end_is_its_end() {
    let sandbox = Sandbox::new();
    let main = "echo $$ > main; while [ ! -e go ]; do sleep 0.02; done; exit 7";
    let script = format!(
        "echo x >> starts; setsid sh -c '{main}' & while [ ! -s main ]; do sleep 0.02; done; \
         probe tell MAINPID=$(cat main) READY=1; exit 0"
    );
    let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify", "restart": "never" }));
    let main = sandbox.until_pid("main");
    until("it leads", || (run.instance("w", 0).pid == Some(main)).then_some(()));
    run.until_state("then", "running");
    // Who was executed first has ended, and that is nothing.
    stays("it runs", Duration::from_millis(300), || run.instance("w", 0).state == "running" && lives(main));
    assert!(run.ps().iter().any(|row| row.pid == main && row.worker.as_deref() == Some("w")));
    sandbox.write("go", "");
    let row = run.until_state("w", "failed");
    assert_eq!((row.exit, row.why.as_deref()), (Some(Exit::Code(7)), Some("exit code 7")));
    run.stop();
}

#[test]
fn a_leader_named_by_the_worker_is_asked_to_stop_and_nothing_of_the_tree_is_left() {
    let sandbox = Sandbox::new();
    let main = "trap \"echo main >> asked; exit 0\" TERM; echo $$ > main; while :; do sleep 0.02; done";
    // Who was executed first lives on, and has a child of its own.
    let script = format!(
        "trap 'echo first >> asked' TERM; sh -c '{main}' & sleep 1000 & echo $! > other; echo $$ > first; \
         while [ ! -s main ]; do sleep 0.02; done; probe tell MAINPID=$(cat main) READY=1; while :; do sleep 0.02; done"
    );
    let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify" }));
    run.until_state("then", "running");
    let pids = ["main", "first", "other"].map(|name| sandbox.until_pid(name));
    until("it leads", || (run.instance("w", 0).pid == Some(pids[0])).then_some(()));
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert_eq!(sandbox.read("asked"), "main\n");
    assert!(pids.iter().all(|pid| !lives(*pid)));
    // It can be killed like any other, too.
    for name in ["main", "first", "other"] {
        std::fs::remove_file(sandbox.path().join(name)).unwrap();
    }
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    let main = sandbox.until_pid("main");
    until("it leads", || (run.instance("w", 0).pid == Some(main)).then_some(()));
    kill(Pid::from_raw(main), Signal::SIGKILL).unwrap();
    run.until_launch("w", 3);
    assert!(happened(&sandbox, "stopping", "killed by signal 9 (KILL)"));

    assert_eq!(run.stop(), 0);
}

#[test]
fn a_leader_named_by_the_worker_is_still_its_leader_after_the_supervisor_was_killed() {
    let main = "echo $$ > main; while [ ! -e go ]; do sleep 0.02; done; exit 7";
    // Who was executed first has ended by then, or lives on beside it.
    for first in ["exit 0", "exec sleep 1000"] {
        let sandbox = Sandbox::new();
        let script = format!(
            "echo $$ > first; echo x >> starts; while [ ! -e go_on ]; do sleep 0.02; done; \
             setsid sh -c '{main}' & while [ ! -s main ]; do sleep 0.02; done; \
             probe tell MAINPID=$(cat main) READY=1; {first}"
        );
        let worker = json!({ "command": script, "ready": "notify", "restart": "never" });
        let run = run_of(&sandbox, &worker);
        sandbox.until_pid("first");
        let launched = Instant::now();
        sandbox.write("go_on", "");
        let (main, first_pid) = (sandbox.until_pid("main"), sandbox.until_pid("first"));
        until("it leads", || (run.instance("w", 0).pid == Some(main)).then_some(()));
        if first == "exit 0" {
            until_gone(first_pid);
        }
        stays("it runs", Duration::from_millis(500), || lives(main));
        run.kill_9();
        let mut next = run_of(&sandbox, &worker);
        // Since the launch, which is older than who leads it by now.
        let up_at_least = launched.elapsed().as_secs_f64();
        let row = next.instance("w", 0);
        assert!(row.uptime_s.is_some_and(|up| up + TICK_S >= up_at_least), "{row:?} {up_at_least}");
        assert_eq!(
            (row.state.as_str(), row.pid, row.launch),
            ("running", Some(main), Some(1)),
            "{}",
            next.err()
        );
        assert!(next.ps().iter().any(|row| row.pid == main && row.worker.as_deref() == Some("w")));
        sandbox.write("go", "");
        next.until_state("w", "failed");
        assert!(!lives(main) && !lives(first_pid), "its end is the end of all of it");
        assert_eq!(sandbox.lines("starts"), 1);
        next.stop();
    }
}

#[test]
fn a_leader_that_is_not_of_the_tree_is_refused() {
    let sandbox = Sandbox::new();
    let own = std::process::id();
    let script = format!("probe tell MAINPID={own} READY=1; exec sleep 1000");
    let mut run = run_of(&sandbox, &json!({ "command": script, "ready": "notify" }));
    run.until_state("then", "running");
    assert!(run.err().contains(&format!("w: MAINPID={own} is not of its tree: ignored")), "{}", run.err());
    assert_ne!(run.instance("w", 0).pid, i32::try_from(own).ok());
    assert_eq!(run.stop(), 0);
}
