//! Probes that hang: somebody takes the connection and never answers, a program never ends.

use std::net::TcpListener;

use serde_json::{Value, json};
use tests::{Sandbox, until};

use crate::{lasting, run_of};

/// Each kind of probe of somebody who never answers. The listener's queue takes the connections, and nobody reads them.
fn hanging(silent: &TcpListener) -> [Value; 2] {
    let address = silent.local_addr().unwrap();
    [json!({ "http": format!("http://{address}/") }), json!({ "command": ["sleep", "100000"] })]
}

#[test]
fn a_health_probe_that_hangs_is_a_failed_one_and_holds_up_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for probe in hanging(&silent) {
        let sandbox = Sandbox::new();
        let mut watched = lasting();
        watched["health"] = probe.clone();
        watched["health"]["every"] = json!("50ms");
        watched["health"]["timeout"] = json!("300ms");
        watched["health"]["failures"] = json!(1);
        let mut run = sandbox.run(&run_of(&json!({ "watched": watched, "other": lasting() })));
        tests::kill_9(run.until_launch("other", 1));
        run.until_launch("other", 2);
        run.until_launch("watched", 3);
        assert_eq!(run.stop(), 0, "{probe}: {}", run.err());
    }
}

#[test]
fn a_readiness_probe_that_hangs_ends_with_the_time_to_get_ready() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for probe in hanging(&silent) {
        let sandbox = Sandbox::new();
        let mut slow = lasting();
        slow["ready"] = probe.clone();
        slow["ready_timeout"] = json!("500ms");
        slow["restart"] = json!("never");
        let mut run = sandbox.run(&run_of(&json!({ "slow": slow, "other": lasting() })));
        tests::kill_9(run.until_launch("other", 1));
        run.until_launch("other", 2);
        let why = run.until_state("slow", "failed").why.unwrap_or_default();
        assert!(why.contains("not ready within"), "{probe}: {why}");
        until("nothing of it is left", || run.pids_of("slow").is_empty().then_some(()));
        run.stop();
    }
}
