//! When a launch counts as ready.

use std::time::Duration;

use serde_json::json;
use tests::{Sandbox, lives, stays, until, until_gone};

use crate::site::{Port, Site};
use crate::{happened, reason, run_of};

#[test]
fn ready_by_tcp_is_when_the_address_takes_connections() {
    let sandbox = Sandbox::new();
    let port = Port::closed();
    let worker =
        json!({ "command": ["sleep", "1000"], "ready": { "tcp": format!("127.0.0.1:{}", port.number) } });
    let mut run = run_of(&sandbox, &worker);
    until("it was asked once", || reason(&sandbox).contains("Connection refused").then_some(()));
    stays("nobody is ready", Duration::from_millis(200), || {
        run.instance("w", 0).state == "starting" && run.instance("then", 0).state == "waiting"
    });
    let _listener = port.open();
    run.until_state("then", "running");
    assert_eq!(run.instance("w", 0).state, "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn ready_by_http_is_when_the_page_answers_with_success() {
    let sandbox = Sandbox::new();
    let site = Site::answering(503);
    let mut run = run_of(&sandbox, &json!({ "command": ["sleep", "1000"], "ready": { "http": site.url } }));
    until("it was asked once", || reason(&sandbox).contains("503").then_some(()));
    assert_eq!(run.instance("w", 0).state, "starting");
    site.answer(204);
    run.until_state("then", "running");
    assert_eq!(run.stop(), 0);
    let asked = site.close();
    assert!(asked[0].starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].to_lowercase().contains("\r\nhost: 127.0.0.1:"), "{asked:?}");
}

#[test]
fn ready_by_command_is_when_it_succeeds_with_the_worker_s_environment_and_folder() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("home")).unwrap();
    let probe = "echo $PROOF $SUPERVISOR_WORKER $SUPERVISOR_LAUNCH >> probed; [ -e go ]";
    let worker = json!({ "command": ["sleep", "1000"], "cwd": "home", "env": { "PROOF": "mine" },
        "ready": { "command": ["sh", "-c", probe] } });
    let mut run = run_of(&sandbox, &worker);
    until("it was asked twice", || (sandbox.read("home/probed").lines().count() >= 2).then_some(()));
    assert_eq!(reason(&sandbox), "not ready yet: exit code 1");
    assert_eq!(run.instance("w", 0).state, "starting");
    sandbox.write("home/go", "");
    run.until_state("then", "running");
    assert_eq!(sandbox.read("home/probed").lines().next(), Some("mine w 1"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_line_of_the_log_is_found_whatever_its_case_where_that_is_wanted() {
    for pattern in ["(?i)ready to SERVE$", "ready (?i:to serve)$", "(?i)^größe \\d+ ready"] {
        let sandbox = Sandbox::new();
        let script = "echo not yet; while [ ! -e go ]; do sleep 0.02; done; echo 'größe 4 READY to serve' | sed s/READY/ready/; exec sleep 1000";
        let worker = json!({ "command": script, "ready": { "log": pattern } });
        let mut run = run_of(&sandbox, &worker);
        run.until_state("w", "starting");
        sandbox.write("go", "");
        run.until_state("w", "running");
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn ready_by_log_is_when_a_line_matches_on_either_stream_wherever_the_log_goes() {
    for (stream, other) in [("stdout", "stderr"), ("stderr", "stdout")] {
        let sandbox = Sandbox::new();
        let to = if stream == "stdout" { 1 } else { 2 };
        let script = format!(
            "echo warming up >&{to}; while [ ! -e go ]; do sleep 0.02; done; echo listening on port 80 >&{to}; exec sleep 1000"
        );
        let worker = json!({ "command": script, "ready": { "log": "listening on port \\d+$" },
            other: "null", "log": { "file": "w.log", "format": "raw" } });
        let mut run = run_of(&sandbox, &worker);
        until("it is warm", || sandbox.read("w.log").contains("warming").then_some(()));
        stays("it is not ready", Duration::from_millis(100), || run.instance("w", 0).state == "starting");
        sandbox.write("go", "");
        run.until_state("then", "running");
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn ready_by_descriptor_is_when_a_newline_comes_on_it() {
    for fd in [3, 7] {
        let sandbox = Sandbox::new();
        let script = format!("while [ ! -e go ]; do sleep 0.02; done; echo x >&{fd}; exec sleep 1000");
        let mut run = run_of(&sandbox, &json!({ "command": ["bash", "-c", script], "ready": { "fd": fd } }));
        run.until_state("w", "starting");
        stays("it is not ready", Duration::from_millis(150), || run.instance("w", 0).state == "starting");
        sandbox.write("go", "");
        run.until_state("then", "running");
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn a_descriptor_that_is_closed_without_a_newline_is_told_at_once() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "printf almost >&3; exec 3>&-; exec sleep 1000", "ready": { "fd": 3 },
        "ready_timeout": "10m", "restart": "never" });
    let mut run = run_of(&sandbox, &worker);
    let row = run.until_state("w", "failed");
    assert_eq!(row.why.as_deref(), Some("not ready: it has closed the descriptor without a newline"));
    assert_eq!(run.instance("then", 0).state, "failed");
    run.stop();

    // One that ends is judged by its ending.
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "command": "exit 4", "ready": { "fd": 3 }, "restart": "never" }));
    assert_eq!(run.until_state("w", "failed").why.as_deref(), Some("exit code 4"));
    run.stop();
}

#[test]
fn a_newline_right_before_the_end_counts() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": "echo >&3", "ready": { "fd": 3 }, "restart": "never" },
        "then": { "command": "echo x > then", "after": { "w": "ready" } } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!((code, sandbox.read("then").as_str()), (0, "x\n"), "{}", run.err());
}

#[test]
fn what_a_worker_printed_right_before_it_ended_well_counts() {
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let config = json!({ "name": "r", "workers": {
            "w": { "command": "echo all done", "ready": { "log": "^all done$" }, "restart": "never" },
            "then": { "command": "echo x > then", "after": { "w": "ready" } } } });
        let (code, run) = sandbox.run_to_its_end(&config);
        assert_eq!((code, sandbox.read("then").as_str()), (0, "x\n"), "{}", run.err());
    }
}

#[test]
fn a_worker_that_is_not_ready_in_time_says_why_it_was_not_and_its_policy_follows() {
    let sandbox = Sandbox::new();
    let port = Port::closed();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": ["sleep", "1000"], "ready": { "tcp": format!("localhost:{}", port.number) },
               "ready_timeout": "300ms", "restart": "never" },
        "then": { "command": ["true"], "after": { "w": "ready" } } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_ne!(code, 0);
    let err = run.err();
    assert!(err.contains("w: failed: not ready within 300ms; last: "), "{err}");
    assert!(err.contains("then: failed: w failed: not ready within 300ms"), "{err}");
}

#[test]
fn a_name_that_does_not_resolve_is_a_reason_and_holds_up_nobody() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": ["sleep", "1000"], "ready": { "tcp": "nothere.invalid:80" }, "ready_timeout": "10m" });
    let mut run = run_of(&sandbox, &worker);
    until("it was asked", || reason(&sandbox).starts_with("not ready yet: ").then_some(()));
    assert_eq!(run.instance("w", 0).state, "starting");
    assert_eq!(run.stop(), 0);
}

#[test]
fn whatever_is_awaited_a_worker_may_say_itself_that_it_is_ready() {
    let sandbox = Sandbox::new();
    let port = Port::closed();
    let worker =
        json!({ "command": ["probe", "ready"], "ready": { "tcp": format!("127.0.0.1:{}", port.number) } });
    let mut run = run_of(&sandbox, &worker);
    until("it was asked", || reason(&sandbox).contains("refused").then_some(()));
    sandbox.write("go", "");
    run.until_state("then", "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_probe_that_hangs_is_killed_with_all_that_it_started() {
    let sandbox = Sandbox::new();
    // One in a session of its own, one whose parent is gone.
    let probe = "echo $$ >> hung; setsid sleep 1000 & echo $! >> hung; \
                 (setsid sh -c 'echo $$ >> hung; exec sleep 1000' &); exec sleep 1000";
    let worker = json!({ "command": ["sleep", "1000"], "restart": "never", "ready_timeout": "700ms",
        "ready": { "command": ["sh", "-c", probe] } });
    let mut run = run_of(&sandbox, &worker);
    run.until_state("w", "failed");
    let pids: Vec<i32> = sandbox.read("hung").lines().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() >= 3, "{pids:?}");
    for pid in pids {
        until_gone(pid);
    }
    assert!(happened(&sandbox, "failed", "not ready within 700ms"));
    run.stop();
}

#[test]
fn a_probe_that_leaves_something_behind_leaves_nothing() {
    let sandbox = Sandbox::new();
    let probe =
        "(setsid sh -c 'echo $$ > left; exec sleep 1000' &); while [ ! -s left ]; do sleep 0.01; done";
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"], "ready": { "command": ["sh", "-c", probe] } }),
    );
    run.until_state("w", "running");
    until_gone(sandbox.until_pid("left"));
    assert!(lives(run.leader("w", 0)));
    assert_eq!(run.stop(), 0);
}
