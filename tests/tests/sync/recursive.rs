//! Locks that their holder may take again: by workers, and by scripts, whose commands run under it.

use serde_json::json;
use tests::{Said, Sandbox};

use crate::{begin, lock, run_with, until_wanted};

#[test]
fn a_worker_takes_a_recursive_lock_again_and_no_other_comes_in_between() {
    let sandbox = Sandbox::new();
    let tally =
        json!({ "command": ["probe", "tally", "tree", "counts"], "instances": 3, "restart": "never" });
    let mut run = sandbox
        .run(&json!({ "name": "r", "rlocks": ["tree"], "arrays": { "counts": 4 }, "workers": {
        "tally": tally, "idle": { "command": ["sleep", "1000"] } } }));
    for instance in 0..3 {
        sandbox.supervisor(&["wait", &format!("tally:{instance}")]).ends_with(0);
    }
    // Read, then written, under the lock alone: each of its own, and one of all.
    let counts = sandbox.supervisor(&["value", "get", "counts", "--json"]).ends_with(0).json();
    assert_eq!(counts, json!({ "array": "counts", "numbers": [300, 100, 100, 100] }));
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_runs_under_a_recursive_lock_may_take_it_again_and_nobody_else() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["plain"], "rlocks": ["tree"] }));
    // Directly, through a shell, and through another lock.
    let deep = "supervisor lock run plain -- sh -c 'supervisor lock run tree --nowait -- sh -c \"exit 7\"'";
    let nested = ["lock", "run", "tree", "--", "supervisor", "lock", "run", "tree", "--", "sh", "-c", deep];
    sandbox.supervisor(&nested).ends_with(7);
    assert_eq!(lock(&sandbox, "tree")["holder"], json!(null));

    let holder =
        begin(&sandbox, &["lock", "run", "tree", "--", "sh", "-c", "echo $$ > held; exec sleep 1000"]);
    sandbox.until_pid("held");
    let row = lock(&sandbox, "tree");
    assert_eq!((&row["recursive"], row["holder"].is_null()), (&json!(true), false), "{row}");
    sandbox.supervisor(&["lock", "run", "tree", "--nowait", "--", "true"]).ends_with(6);
    let waiter = begin(&sandbox, &["lock", "run", "tree", "--", "echo", "mine"]);
    until_wanted(&sandbox, "tree");
    sandbox.supervisor(&["kill", &holder.id().to_string(), "--foreign"]).ends_with(0);
    Said::at_the_end_of(holder).ends_with(128 + 15);
    assert_eq!(Said::at_the_end_of(waiter).ends_with(0).out, "mine\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_lock_is_recursive_or_not_whoever_makes_it() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["plain"], "rlocks": ["tree"] }));
    sandbox.supervisor(&["lock", "create", "--recursive", "hedge", "tree"]).ends_with(0);
    let nested = ["lock", "run", "hedge", "--", "supervisor", "lock", "run", "hedge", "--", "true"];
    sandbox.supervisor(&nested).ends_with(0);
    let refused = sandbox.supervisor(&["lock", "create", "--recursive", "plain"]).ends_with(9);
    assert!(refused.err.contains("not recursive"), "{}", refused.err);
    // Who only wants a lock is content with a recursive one.
    sandbox.supervisor(&["lock", "run", "--create", "tree", "--", "true"]).ends_with(0);
    let table = sandbox.supervisor(&["lock", "ls"]).ends_with(0).out;
    assert!(table.contains("RECURSIVE"), "{table}");
    assert_eq!(run.stop(), 0);
}
