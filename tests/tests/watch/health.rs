//! A launch whose health is probed.

use std::time::Duration;

use serde_json::json;
use tests::{Sandbox, stays, until, until_gone};

use crate::site::{Port, Site};
use crate::{happened, reason, run_of};

#[test]
fn a_worker_whose_page_fails_so_often_in_a_row_is_started_again_and_the_reason_is_on_record() {
    let sandbox = Sandbox::new();
    let site = Site::answering(200);
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"], "backoff": { "initial": 0 },
        "health": { "http": site.url, "every": "50ms", "timeout": "10s", "failures": 3 } }),
    );
    let pid = run.until_launch("w", 1);
    stays("it is well", Duration::from_millis(400), || run.instance("w", 0).pid == Some(pid));
    assert_eq!(reason(&sandbox), "");
    site.answer(500);
    run.until_launch("w", 2);
    site.answer(200);
    until_gone(pid);
    assert!(happened(&sandbox, "running", "1 of 3 health probes failed: http://127.0.0.1:"));
    assert!(happened(&sandbox, "stopping", "unhealthy: 3 probes in a row failed; last: http://127.0.0.1:"));
    assert_eq!(run.stop(), 0);
    assert!(site.close().len() >= 4);
}

#[test]
fn a_success_between_failures_forgives_them() {
    let sandbox = Sandbox::new();
    // Every second probe fails.
    let probe = "echo x >> probed; [ $(($(wc -l < probed) % 2)) = 0 ]";
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"],
        "health": { "command": ["sh", "-c", probe], "every": "20ms", "timeout": "60s", "failures": 2 } }),
    );
    let pid = run.until_launch("w", 1);
    until("it was asked ten times", || (sandbox.read("probed").lines().count() >= 10).then_some(()));
    assert_eq!(run.instance("w", 0).pid, Some(pid));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_whose_address_takes_no_connections_has_failed() {
    let sandbox = Sandbox::new();
    let port = Port::closed();
    let address = format!("127.0.0.1:{}", port.number);
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"], "restart": "never",
        "health": { "tcp": address, "every": "50ms", "failures": 1 } }),
    );
    let row = run.until_state("w", "failed");
    let expected = format!("unhealthy: {address}: Connection refused");
    assert_eq!(row.why.as_deref(), Some(expected.as_str()));
    run.stop();
}

#[test]
fn failures_in_the_grace_at_its_start_do_not_count() {
    let sandbox = Sandbox::new();
    let probe = "echo x >> probed; false";
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"], "health":
        { "command": ["sh", "-c", probe], "every": "20ms", "timeout": "60s", "failures": 1, "start_grace": "1h" } }),
    );
    let pid = run.until_launch("w", 1);
    until("it was asked five times", || (sandbox.read("probed").lines().count() >= 5).then_some(()));
    assert_eq!(run.instance("w", 0).pid, Some(pid));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_probe_that_takes_too_long_has_failed_and_never_meets_the_next() {
    let sandbox = Sandbox::new();
    let probe =
        "mkdir busy || echo overlap > overlap; echo x >> probed; sleep 0.15; rmdir busy; exec sleep 1000";
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"], "restart": "never",
        "health": { "command": ["sh", "-c", probe], "every": "10ms", "timeout": "2s", "failures": 2 } }),
    );
    let row = run.until_state("w", "failed");
    assert_eq!(row.why.as_deref(), Some("unhealthy: 2 probes in a row failed; last: no answer within 2s"));
    assert!(!sandbox.has("overlap"));
    assert_eq!(sandbox.read("probed").lines().count(), 2);
    run.stop();
}

#[test]
fn the_probes_of_a_worker_end_with_it() {
    let sandbox = Sandbox::new();
    let mut run = run_of(
        &sandbox,
        &json!({ "command": ["sleep", "1000"],
        "health": { "command": ["sh", "-c", "echo $$ > probe; exec sleep 1000"], "every": "10ms", "timeout": "1h" } }),
    );
    let probe = sandbox.until_pid("probe");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    until_gone(probe);
    assert_eq!(run.stop(), 0);
}
