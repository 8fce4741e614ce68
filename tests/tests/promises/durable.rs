//! Durable queues: what was put before everything was killed is there after it, in order, with its count.

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::{Value, json};
use tests::{Run, Sandbox, until, until_gone};

const FILE: &str = "state/r/queues/q.queue";

/// A run of a durable queue, and of a worker that has nothing to do with it.
fn config(queue: &Value) -> Value {
    json!({
        "name": "r", "queues": { "q": queue },
        "workers": { "idle": { "command": ["sleep", "1000"], "policy": "daemon" } }
    })
}

fn run(sandbox: &Sandbox, queue: &Value) -> Run {
    let run = sandbox.run(&config(queue));
    run.until_state("idle", "running");
    run
}

fn put(sandbox: &Sandbox, messages: &[&str]) {
    for message in messages {
        sandbox.supervisor(&["queue", "put", "q", message]).ends_with(0);
    }
}

fn get(sandbox: &Sandbox, count: &str) -> String {
    sandbox.supervisor(&["queue", "get", "q", "-n", count, "--lines", "--nowait"]).ends_with(0).out
}

#[test]
fn everything_put_is_there_after_the_supervisor_and_its_workers_were_killed() {
    for fsync in ["always", "interval", "never"] {
        let sandbox = Sandbox::new();
        let queue = json!({ "durable": true, "fsync": fsync });
        let first = run(&sandbox, &queue);
        put(&sandbox, &["one", "two", "three", "four"]);
        // One message is done with, one is in hand.
        assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).out, "one");
        let mut command = sandbox.command("supervisor");
        command.args(["queue", "each", "q", "--", "sh", "-c", "echo $$ > holder; exec sleep 1000"]);
        let mut each = command.spawn().unwrap();
        let holder = sandbox.until_pid("holder");
        assert_eq!(first.queue("q").in_flight, 1);
        for pid in [first.pid(), first.leader("idle", 0)] {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        each.kill().unwrap();
        each.wait().unwrap();
        kill(Pid::from_raw(holder), Signal::SIGKILL).unwrap();
        drop(first);
        sandbox.clean();

        let mut second = run(&sandbox, &queue);
        let row = second.queue("q");
        assert_eq!((row.len, row.in_flight, row.redelivered), (3, 0, 1), "{fsync}");
        assert_eq!(get(&sandbox, "3"), "two\nthree\nfour\n");
        assert_eq!(second.stop(), 0);
    }
}

#[test]
fn a_queue_that_closed_at_the_end_of_a_run_is_open_for_the_producers_of_the_next() {
    let sandbox = Sandbox::new();
    let config = json!({
        "name": "r", "queues": { "q": { "durable": true } },
        "workers": { "producer": {
            "command": "supervisor queue put q \"$(date +%N)\"", "queues": { "put": ["q"] }
        } }
    });
    for turn in 1..=3 {
        let (code, _) = sandbox.run_to_its_end(&config);
        assert_eq!(code, 0, "in turn {turn}");
    }
    let mut last = run(&sandbox, &json!({ "durable": true }));
    assert_eq!(last.queue("q").len, 3);
    assert!(!last.queue("q").closed);
    assert_eq!(last.stop(), 0);
}

#[test]
fn other_options_take_effect_with_the_next_run_or_are_refused_with_what_waits() {
    let sandbox = Sandbox::new();
    let mut first = run(&sandbox, &json!({ "durable": true, "capacity": 10 }));
    put(&sandbox, &["one", "two", "three"]);
    assert_eq!(first.stop(), 0);

    let (code, refused) = sandbox.run_to_its_end(&config(&json!({ "durable": true, "capacity": 2 })));
    assert_eq!(code, 1);
    let said = refused.err();
    assert!(said.contains("3 messages wait in it that the new capacity has no place for"), "{said}");
    drop(refused);

    let mut third = run(&sandbox, &json!({ "durable": true, "capacity": 3 }));
    assert_eq!(third.queue("q").capacity, Some(3));
    sandbox.supervisor(&["queue", "put", "q", "four", "--nowait"]).ends_with(6);
    assert_eq!(get(&sandbox, "3"), "one\ntwo\nthree\n");
    assert_eq!(third.stop(), 0);
}

#[test]
fn a_damaged_file_is_put_aside_and_never_removed() {
    let sandbox = Sandbox::new();
    let mut first = run(&sandbox, &json!({ "durable": true }));
    put(&sandbox, &["one"]);
    assert_eq!(first.stop(), 0);
    for turn in 1..=2 {
        let noise = format!("noise {turn}").repeat(100);
        sandbox.write(FILE, &noise);
        let mut next = run(&sandbox, &json!({ "durable": true }));
        assert_eq!(next.queue("q").len, 0);
        let said = next.err();
        assert!(said.contains("is damaged: not a shared object of this program; put aside as "), "{said}");
        assert_eq!(sandbox.read(&format!("{FILE}.damaged-{turn}")), noise);
        put(&sandbox, &["new"]);
        assert_eq!(next.stop(), 0);
    }
}

#[test]
fn two_supervisors_never_share_a_folder_of_durable_queues() {
    let sandbox = Sandbox::new();
    let mut first = run(&sandbox, &json!({ "durable": true }));
    let path = sandbox.write("other.json", config(&json!({ "durable": true })).to_string());
    let mut command = sandbox.command("supervisor");
    command.arg("run").arg(path).env("SUPERVISOR_RUNTIME_DIR", sandbox.path().join("elsewhere"));
    let said = tests::Said::of(&mut command).ends_with(1);
    assert!(said.err.contains("another supervisor uses the durable queues in it"), "{}", said.err);
    assert_eq!(first.stop(), 0);
}

#[test]
fn a_state_folder_that_others_can_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("state/r");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let (code, refused) = sandbox.run_to_its_end(&config(&json!({ "durable": true })));
    assert_eq!(code, 1);
    let said = refused.err();
    assert!(said.contains("is not to be trusted: its mode is 755, not 700"), "{said}");
}

#[test]
fn a_worker_that_outlives_its_supervisor_keeps_what_it_has_in_hand() {
    let sandbox = Sandbox::new();
    let config = json!({
        "name": "r", "queues": { "q": { "durable": true } },
        "workers": { "holder": { "command":
            "supervisor queue each q -- sh -c 'echo $$ > inner; until [ -e go ]; do sleep 0.01; done; cat >> done'"
        } }
    });
    let first = sandbox.run(&config);
    put(&sandbox, &["one"]);
    let inner = sandbox.until_pid("inner");
    first.kill_9();
    let mut second = sandbox.run(&config);
    second.until_state("holder", "running");
    assert_eq!(second.queue("q").in_flight, 1, "the living is not taken for dead");
    sandbox.write("go", "");
    until_gone(inner);
    until("it is done with", || {
        let row = second.queue("q");
        (row.len + row.in_flight == 0).then_some(())
    });
    assert_eq!((sandbox.read("done"), second.queue("q").redelivered), ("one".to_owned(), 0));
    second.stop();
}

#[test]
fn a_queue_that_a_script_makes_durable_is_found_again_by_the_next_run_until_it_is_removed() {
    let sandbox = Sandbox::new();
    let create = ["queue", "create", "q", "--durable", "--fsync", "interval", "--fsync-interval", "10ms"];
    let begin = || sandbox.supervisor(&["run", "--empty", "--detach", "--name", "r"]).ends_with(0);
    begin();
    for (wrong, code) in [
        (&["--fsync", "always"][..], 2),
        (&["--durable", "--fsync", "sometimes"], 2),
        (&["--durable", "--fsync", "never", "--fsync-interval", "1s"], 2),
        (&["--durable", "--fsync-interval", "0"], 2),
    ] {
        let said = sandbox.supervisor(&[&["queue", "create", "q"], wrong].concat()).ends_with(code);
        assert!(said.err.contains("fsync") || said.err.contains("--durable"), "{}", said.err);
    }
    assert!(!sandbox.has(FILE));
    sandbox.supervisor(&create).ends_with(0);
    put(&sandbox, &["one", "two", "three"]);
    assert_eq!(get(&sandbox, "1"), "one\n");
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    assert!(sandbox.has(FILE));

    // A run that knows nothing of it leaves it alone; one that makes it again has what was left in it.
    begin();
    sandbox.supervisor(&["queue", "len", "q"]).ends_with(4);
    sandbox.supervisor(&create).ends_with(0);
    assert_eq!(get(&sandbox, "1"), "two\n");
    sandbox.supervisor(&["queue", "rm", "q"]).ends_with(0);
    assert!(!sandbox.has(FILE));
    sandbox.supervisor(&create).ends_with(0);
    sandbox.supervisor(&["queue", "empty", "q"]).ends_with(0);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn a_queue_that_a_script_made_durable_survives_the_kill_of_its_supervisor() {
    let sandbox = Sandbox::new();
    let begin = || -> i32 {
        let said = sandbox.supervisor(&["run", "--empty", "--detach", "--name", "r"]).ends_with(0).out;
        said.split_whitespace().last().unwrap().parse().unwrap()
    };
    let first = begin();
    sandbox.supervisor(&["queue", "create", "q", "--durable"]).ends_with(0);
    put(&sandbox, &["one"]);
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    until_gone(first);
    begin();
    assert_eq!(get(&sandbox, "1"), "one\n");
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn a_durable_queue_in_a_file_needs_no_supervisor() {
    let sandbox = Sandbox::new();
    let small = ["--capacity", "10", "--max-bytes", "65536"];
    let create = ["queue", "create", "--file", "d", "--durable", "--fsync", "never"];
    sandbox.supervisor(&[&create[..], &small].concat()).ends_with(0);
    sandbox.supervisor(&["queue", "put", "--file", "d", "kept"]).ends_with(0);
    // A copy is what a restart of the machine would leave: no process has ever had it open.
    std::fs::copy(sandbox.path().join("d"), sandbox.path().join("e")).unwrap();
    assert_eq!(sandbox.supervisor(&["queue", "get", "--file", "e"]).ends_with(0).out, "kept");
    sandbox.supervisor(&["queue", "rm", "--file", "d"]).ends_with(0);
}
