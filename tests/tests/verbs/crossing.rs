//! Verbs that cross each other: nobody waits for what somebody else has undone.

use serde_json::json;
use tests::{Said, Sandbox, until};

use crate::{complained, printed, run_of};

/// A worker that ends only when the file `let` is there, if it is asked to.
fn reluctant() -> serde_json::Value {
    json!({ "command": "trap 'while [ ! -e let ]; do sleep 0.02; done; exit 0' TERM; while :; do sleep 0.02; done",
        "stop": { "grace": "10m" } })
}

#[test]
fn a_stop_does_not_wait_for_what_somebody_else_starts_again_meanwhile() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": reluctant() }));
    let stop = sandbox.begin(&["stop", "w"]);
    run.until_state("w", "stopping");
    let start = sandbox.begin(&["start", "w"]);
    until("it is to be started again", || {
        let why = run.instance("w", 0).why.unwrap_or_default();
        why.contains("is started again").then_some(())
    });
    sandbox.write("let", "");
    printed(&Said::at_the_end_of(start), 0);
    let said = complained(&Said::at_the_end_of(stop), 1);
    assert!(said.contains(": somebody has started it again meanwhile"), "{said}");
    assert_eq!(run.instance("w", 0).launch, Some(2));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_start_that_somebody_else_undoes_says_so() {
    let sandbox = Sandbox::new();
    let never = json!({ "command": ["sleep", "1000"], "ready": "notify", "ready_timeout": "10m", "autostart": false });
    let mut run = sandbox
        .run(&json!({ "name": "r", "workers": { "w": never, "other": { "command": ["sleep", "1000"] } } }));
    let start = sandbox.begin(&["start", "w"]);
    run.until_state("w", "starting");
    printed(&sandbox.supervisor(&["stop", "w"]), 0);
    let said = complained(&Said::at_the_end_of(start), 1);
    assert!(said.contains("w:0 is stopped: somebody has stopped it meanwhile"), "{said}");
    assert_eq!(run.stop(), 0);
}
