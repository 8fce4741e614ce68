//! What workers of several users share: queues, locks, and what is done when one of them dies.

use serde_json::{Value, json};
use tests::{kill_9, until};

use crate::{NOBODY, SOMEBODY, sandbox_of_root, written};

fn worker(command: Value, user: Option<&str>) -> Value {
    let mut worker = json!({ "command": command, "restart": "never" });
    if let Some(user) = user {
        (worker["user"], worker["group"]) =
            (user.into(), if user == NOBODY { "".into() } else { user.into() });
    }
    worker
}

#[test]
fn programs_written_with_the_sdk_work_as_any_user() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let text = (0..200).map(|n| format!("line {n} of a book\n")).collect::<String>();
    sandbox.write("book.txt", text);
    let somebody = SOMEBODY.to_string();
    let mut reader = worker(json!(["worker-reader", "--to", "jobs", "book.txt"]), None);
    reader["queues"] = json!({ "put": ["jobs"] });
    let mut counter = worker(json!(["worker-counter", "--from", "jobs", "--to", "results"]), Some(NOBODY));
    counter["instances"] = 2.into();
    counter["queues"] = json!({ "get": ["jobs"], "put": ["results"] });
    let mut collector = worker(json!(["worker-collector", "--from", "results"]), Some(&somebody));
    collector["queues"] = json!({ "get": ["results"] });
    let (code, run) = sandbox.run_to_its_end(&json!({
        "queues": { "jobs": { "capacity": 5 }, "results": {} },
        "workers": { "reader": reader, "counter": counter, "collector": collector },
    }));
    assert_eq!(code, 0, "{}", run.err());
    assert!(run.out().contains("200"), "{}", run.out());
}

#[test]
fn every_kind_of_lock_and_its_like_works_through_the_sdk_of_nobody() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let (code, run) = sandbox.run_to_its_end(&json!({
        "queues": { "two": { "capacity": 2 } }, "values": { "total": 40 },
        "workers": {
            "bounds": worker(json!(["probe", "bounds", "two"]), Some(NOBODY)),
            "who": worker(json!(["probe", "who"]), Some(NOBODY)),
        },
    }));
    assert_eq!(code, 0, "{}", run.err());
    assert!(run.out().contains("all as promised"), "{}", run.out());
}

#[test]
fn an_order_to_stop_reaches_a_worker_of_another_user_that_has_joined() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut asked = worker(json!(["probe", "until-asked"]), Some(NOBODY));
    asked["stop"] = json!({ "grace": "60s" });
    let mut run = sandbox.run(&json!({ "workers": { "w": asked } }));
    until("it runs", || run.out().contains("not asked yet").then_some(()));
    assert_eq!(run.stop(), 0);
    assert!(run.out().contains("asked to stop"), "{}", run.out());
}

#[test]
fn what_a_killed_consumer_of_another_user_held_is_delivered_again() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut taker = worker(json!(["probe", "lease", "jobs"]), Some(NOBODY));
    taker["queues"] = json!({ "get": ["jobs"] });
    let mut run = sandbox.run(&json!({ "queues": { "jobs": {} }, "workers": {
        "taker": taker,
        "maker": worker(json!(["probe", "put", "jobs", "1", "job-"]), None),
        "keeper": worker(json!(["sleep", "1000"]), None),
    } }));
    until("it holds a message", || run.out().contains("leased job-0 time 1").then_some(()));
    kill_9(run.until_launch("taker", 1));
    until("the message is back", || (run.queue("jobs").redelivered == 1).then_some(()));
    assert_eq!(sandbox.supervisor(&["queue", "get", "jobs", "--timeout", "30s"]).ends_with(0).out, "job-0");
    assert_eq!(run.stop(), 137);
}

#[test]
fn what_a_killed_script_of_another_user_held_is_delivered_again() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "echo $$ > pid.new; mv pid.new pid; exec supervisor queue each jobs -- sh -c 'echo at it > at; \
                sleep 1000'";
    let mut run = sandbox.run(&json!({ "queues": { "jobs": {} }, "workers": {
        "script": worker(line.into(), Some(NOBODY)), "keeper": worker(json!(["sleep", "1000"]), None),
    } }));
    sandbox.supervisor(&["queue", "put", "jobs", "job"]).ends_with(0);
    sandbox.until_written("at");
    kill_9(sandbox.until_pid("pid"));
    assert_eq!(sandbox.supervisor(&["queue", "get", "jobs", "--timeout", "30s"]).ends_with(0).out, "job");
    assert_eq!(run.stop(), 137);
}

#[test]
fn the_lock_of_a_killed_holder_is_handed_on_between_users() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut run = sandbox.run(&json!({ "locks": ["ledger"], "workers": {
        "first": worker(json!(["probe", "hold-lock", "ledger"]), Some(NOBODY)),
        "second": worker(
            "until [ -e go ]; do sleep 0.01; done; exec probe hold-lock ledger".into(), Some(&SOMEBODY.to_string())),
    } }));
    until("the first holds it", || run.out().contains("first  | nobody died with it").then_some(()));
    sandbox.write("go", "");
    until("the second waits", || {
        let lock = &sandbox.supervisor(&["lock", "ls", "--json"]).json()[0];
        (lock["waiters"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    let first = run.until_launch("first", 1);
    kill_9(first);
    until("the second is told whose it was", || {
        run.out().contains(&format!("second | after pid {first}")).then_some(())
    });
    assert_eq!(run.stop(), 137);
}

#[test]
fn a_killed_lock_run_of_another_user_takes_its_command_along_and_nobody_elses() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "supervisor lock run ledger -- sh -c 'echo $SUPERVISOR_LOCK_WARRANT > warrant; echo $$ > under.new; \
                mv under.new under; exec sleep 1000' & echo $! > holder.new; mv holder.new holder; exec sleep 1000";
    let mut run = sandbox.run(&json!({ "locks": ["ledger"], "workers": {
        "script": worker(line.into(), Some(NOBODY)),
        // It bears the same warrant, as anything that root starts might if nobody could have it killed by that.
        "roots": worker("until [ -e under ]; do sleep 0.01; done; export SUPERVISOR_LOCK_WARRANT=$(cat warrant); \
                         echo up > up; exec sleep 1000".into(), None),
    } }));
    let (under, holder) = (sandbox.until_pid("under"), sandbox.until_pid("holder"));
    written(&sandbox, "up");
    let roots = run.until_launch("roots", 1);
    until("it bears the warrant", || {
        process::environ_var(process::Pid::from_raw(roots), "SUPERVISOR_LOCK_WARRANT").map(drop)
    });
    kill_9(holder);
    tests::until_gone(under);
    sandbox.supervisor(&["lock", "run", "ledger", "--timeout", "30s", "--", "true"]).ends_with(0);
    assert!(tests::lives(roots), "root's process was killed because nobody died");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_durable_queue_is_shared_with_another_user_who_cannot_open_its_file() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut putter =
        worker("supervisor queue put jobs from-a-script; exec probe put jobs 2 job-".into(), Some(NOBODY));
    putter["queues"] = json!({ "put": ["jobs"] });
    let getter = worker(json!(["probe", "get-all", "jobs"]), Some(&SOMEBODY.to_string()));
    let (code, run) =
        sandbox.run_to_its_end(&json!({ "queues": { "jobs": { "durable": true } }, "workers": {
        "putter": putter, "getter": getter,
    } }));
    assert_eq!(code, 0, "{}", run.err());
    for message in ["from-a-script", "job-0", "job-1"] {
        assert!(run.out().contains(&format!("got {message}")), "{}", run.out());
    }
}

#[test]
fn lines_of_standard_streams_come_from_and_go_to_queues_for_any_user() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut middle = worker("while read line; do echo \"$(id -un) $line\"; done".into(), Some(NOBODY));
    (middle["stdin"], middle["stdout"]) = (json!({ "queue": "in" }), json!({ "queue": "out" }));
    let mut first = worker("seq 100".into(), None);
    first["stdout"] = json!({ "queue": "in" });
    let mut last = worker("wc -l; exit 0".into(), None);
    last["stdin"] = json!({ "queue": "out" });
    let (code, run) = sandbox.run_to_its_end(&json!({ "queues": { "in": { "capacity": 3 }, "out": {} },
        "workers": { "first": first, "middle": middle, "last": last } }));
    assert_eq!(code, 0, "{}", run.err());
    assert!(run.out().contains("last   | 100"), "{}", run.out());
}
