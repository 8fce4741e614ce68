//! Workers of other users outlive their supervisor, and meet the next one.

use serde_json::json;
use tests::{kill_9, lives, until};

use crate::{NOBODY, door, of, sandbox_of_root, written};

#[test]
fn a_worker_of_another_user_outlives_its_supervisor_and_reaches_the_next() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "supervisor queue put jobs before; until [ -e again ]; do sleep 0.01; done; \
                supervisor queue put jobs after; supervisor status > status; echo $? > code; \
                supervisor lock run ledger -- echo locked > locked";
    let mut worker = of(NOBODY, line);
    worker["queues"] = json!({ "put": ["jobs"] });
    let holder = json!({ "command": ["probe", "hold", "jobs"], "user": NOBODY, "restart": "never" });
    let config = json!({ "queues": { "jobs": {} }, "locks": ["ledger"], "workers": { "w": worker, "holder": holder } });
    let run = sandbox.run(&config);
    until("it is put", || (run.queue("jobs").puts == 1).then_some(()));
    until("the queue is held", || run.out().contains("holds ").then_some(()));
    let (worker, holder) = (run.until_launch("w", 1), run.until_launch("holder", 1));
    let door = door(&run, "w");
    run.kill_9();
    assert!(lives(worker) && lives(holder));
    assert!(door.exists(), "nobody has taken it away");

    let mut next = sandbox.run(&config);
    assert_eq!(next.instance("w", 0).pid, Some(worker), "{}", next.err());
    assert_eq!(next.instance("holder", 0).pid, Some(holder));
    assert_eq!(next.queue("jobs").len, 1, "what was in the queue is there");
    sandbox.write("again", "");
    assert_eq!(written(&sandbox, "code"), ["0"], "{}", next.err());
    assert_eq!(next.queue("jobs").len, 2);
    sandbox.until_written("locked");
    assert_eq!(crate::door(&next, "w"), door);
    assert_eq!(next.stop(), 0);
    assert!(!door.exists() && !door.parent().expect("a folder").exists());
    assert!(!lives(worker) && !lives(holder));
}

#[test]
fn a_daemon_of_another_user_dies_with_its_supervisor_and_its_whole_tree_with_it() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut worker = of(NOBODY, "setsid sleep 1000 & echo $! > below.new; mv below.new below");
    worker["policy"] = "daemon".into();
    let config = json!({ "workers": { "w": worker } });
    let run = sandbox.run(&config);
    let below = sandbox.until_pid("below");
    let leader = run.until_launch("w", 1);
    run.kill_9();
    tests::until_gone(leader);
    tests::until_gone(below);
    std::fs::remove_file(sandbox.path().join("below")).expect("it is there");
    let mut next = sandbox.run(&config);
    let below = sandbox.until_pid("below");
    assert_eq!(next.stop(), 0);
    assert!(!lives(below));
}

#[test]
fn what_escapes_from_a_worker_of_another_user_is_still_its_and_goes_with_it() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "(setsid sh -c 'echo $$ > escaped.new; mv escaped.new escaped; supervisor status > asked.new; \
                echo $? > asked; exec sleep 1000' &)";
    let mut run = sandbox.run(&json!({ "workers": { "w": of(NOBODY, line) } }));
    let escaped = sandbox.until_pid("escaped");
    assert_eq!(written(&sandbox, "asked"), ["0"], "it is of the worker, and is answered as that");
    assert!(run.pids_of("w").contains(&escaped));
    kill_9(run.until_launch("w", 1));
    tests::until_gone(escaped);
    run.stop();
}
