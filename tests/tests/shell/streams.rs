//! Standard input from a queue, standard output to one: what arrives, and when it counts as done.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, stays, until, until_gone};

/// A run of one worker that reads the queue `in`, which only the test fills.
fn fed(sandbox: &Sandbox, worker: Value, queues: Value) -> Run {
    let mut worker = worker;
    worker["stdin"] = json!({ "queue": "in" });
    let config = json!({ "name": "r", "queues": queues, "workers": {
        "w": worker, "idle": { "command": ["sleep", "1000"] } } });
    let run = sandbox.run(&config);
    run.until_state("w", "running");
    run
}

#[track_caller]
fn put(sandbox: &Sandbox, message: &[u8]) {
    sandbox.supervisor_with_input(&["queue", "put", "in"], message).ends_with(0);
}

#[track_caller]
fn until_counts(run: &Run, len: u64, in_flight: u64) {
    until(&format!("{len} wait and {in_flight} are in hand"), || {
        let row = run.queue("in");
        ((row.len, row.in_flight) == (len, in_flight)).then_some(())
    });
}

#[test]
fn unmodified_filters_are_joined_by_queues_and_end_by_themselves() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox.run_to_its_end(&json!({ "name": "r",
        "queues": { "all": { "capacity": 3 }, "some": {}, "sorted": {} }, "workers": {
        "from": { "command": "seq 1 500; printf 'the last 7'", "stdout": { "queue": "all" } },
        "grep": { "command": ["grep", "7"], "stdin": { "queue": "all" }, "stdout": { "queue": "some" } },
        "sort": { "command": ["sort", "-r"], "stdin": { "queue": "some" }, "stdout": { "queue": "sorted" } },
        "to": { "command": "cat > got", "stdin": { "queue": "sorted" } } } }));
    assert_eq!(code, 0, "{}", run.err());
    let mut expected: Vec<String> =
        (1..=500).map(|n: u32| n.to_string()).filter(|line| line.contains('7')).collect();
    expected.push("the last 7".to_owned());
    expected.sort_by(|a, b| b.cmp(a));
    let mut got: Vec<String> = sandbox.read("got").lines().map(str::to_owned).collect();
    // How words and numbers are ordered is the locale's affair.
    got.sort_by(|a, b| b.cmp(a));
    assert_eq!(got, expected);
}

#[test]
fn a_message_is_in_hand_until_its_reader_asks_for_the_next_one() {
    let sandbox = Sandbox::new();
    let script =
        "while read -r line; do echo \"$line\" >> got; while [ ! -e \"$line\" ]; do sleep 0.01; done; done";
    let mut run = fed(&sandbox, json!({ "command": script }), json!({ "in": {} }));
    put(&sandbox, b"one");
    put(&sandbox, b"two");
    sandbox.until_written("got");
    until_counts(&run, 1, 1);
    stays("the second waits in the queue, the first is in hand", Duration::from_millis(200), || {
        let row = run.queue("in");
        (row.len, row.in_flight) == (1, 1)
    });
    sandbox.write("one", "");
    until("the second is handed over", || (sandbox.read("got") == "one\ntwo\n").then_some(()));
    until_counts(&run, 0, 1);
    // The last one too, though nothing follows it: it is seen that the reader asks.
    sandbox.write("two", "");
    until_counts(&run, 0, 0);
    assert_eq!(run.stop(), 0);
    assert_eq!(sandbox.read("got"), "one\ntwo\n");
}

#[test]
fn a_message_comes_again_when_its_worker_dies_and_those_behind_it_come_once() {
    let sandbox = Sandbox::new();
    let script = "while read -r n; do echo $n >> got; if [ $n = 3 ] && [ ! -e died ]; then : > died; kill -9 $$; fi; done";
    let worker = json!({ "command": script, "backoff": { "initial": 0 } });
    let mut run = fed(&sandbox, worker, json!({ "in": {} }));
    put_lines(&sandbox, 1..=6);
    until("all have come", || (sandbox.read("got") == "1\n2\n3\n3\n4\n5\n6\n").then_some(()));
    until_counts(&run, 0, 0);
    assert_eq!(run.queue("in").redelivered, 1);
    assert_eq!(run.stop(), 0);
}

#[track_caller]
fn put_lines(sandbox: &Sandbox, numbers: std::ops::RangeInclusive<u32>) {
    let lines: String = numbers.map(|number| format!("{number}\n")).collect();
    sandbox.supervisor_with_input(&["queue", "put", "in", "--lines"], lines.as_bytes()).ends_with(0);
}

#[test]
fn a_message_that_kills_every_worker_becomes_a_dead_letter_and_takes_no_other_along() {
    let sandbox = Sandbox::new();
    let script = "while read -r n; do echo $n >> got; [ $n = 3 ] && kill -9 $$; done; exit 0";
    let worker = json!({ "command": script, "backoff": { "initial": 0 }, "intensity": { "restarts": 100 } });
    let queues = json!({ "in": { "max_deliveries": 3, "dead_letter": "dead" }, "dead": {} });
    let mut run = fed(&sandbox, worker, queues);
    put_lines(&sandbox, 1..=5);
    until("the last has come", || sandbox.read("got").ends_with("5\n").then_some(()));
    assert_eq!(sandbox.read("got"), "1\n2\n3\n3\n3\n4\n5\n");
    assert_eq!(sandbox.supervisor(&["queue", "get", "dead"]).ends_with(0).out, "3");
    until_counts(&run, 0, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn exit_0_acknowledges_what_was_read_and_any_other_end_gives_it_back() {
    let sandbox = Sandbox::new();
    let script = "read -r line; echo \"$line\" >> got; exit $line";
    let worker = json!({ "command": script, "restart": "never" });
    let mut run = fed(&sandbox, worker, json!({ "in": {} }));
    put(&sandbox, b"1");
    put(&sandbox, b"0");
    run.until_state("w", "failed");
    until_counts(&run, 2, 0);
    assert_eq!(sandbox.supervisor(&["queue", "get", "in"]).ends_with(0).out, "1");
    sandbox.supervisor(&["start", "w", "--no-wait"]).ends_with(0);
    run.until_state("w", "done");
    until_counts(&run, 0, 0);
    assert_eq!(sandbox.read("got"), "1\n0\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_never_reads_leaves_the_queue_as_it_was() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "while [ ! -e end ]; do sleep 0.01; done", "restart": "never" });
    let mut run = fed(&sandbox, worker, json!({ "in": { "max_deliveries": 1 } }));
    put(&sandbox, b"untouched");
    until_counts(&run, 0, 1);
    sandbox.write("end", "");
    run.until_state("w", "done");
    until_counts(&run, 1, 0);
    assert_eq!(run.queue("in").dead, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_is_at_work_keeps_no_message_from_those_who_are_idle() {
    let sandbox = Sandbox::new();
    let script = "while read -r n; do echo $n >> got; if [ $n = 1 ]; then while [ ! -e end ]; do sleep 0.01; done; fi; done";
    let mut run = fed(&sandbox, json!({ "command": script, "instances": 2 }), json!({ "in": {} }));
    put_lines(&sandbox, 1..=1);
    sandbox.until_written("got");
    put_lines(&sandbox, 2..=40);
    until("the other one has done the rest", || (sandbox.read("got").lines().count() == 40).then_some(()));
    until_counts(&run, 0, 1);
    sandbox.write("end", "");
    until_counts(&run, 0, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_reader_may_be_below_the_worker() {
    let sandbox = Sandbox::new();
    let script = "cat | while read -r n; do echo $n >> got; done; echo end >> got";
    let mut run = fed(&sandbox, json!({ "command": script }), json!({ "in": {} }));
    put_lines(&sandbox, 1..=3);
    until("all have come", || (sandbox.read("got") == "1\n2\n3\n").then_some(()));
    until_counts(&run, 0, 0);
    sandbox.supervisor(&["queue", "close", "in"]).ends_with(0);
    run.until_state("w", "done");
    assert_eq!(sandbox.read("got"), "1\n2\n3\nend\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_reader_that_waits_for_several_things_gets_every_message_and_its_end() {
    let sandbox = Sandbox::new();
    let worker =
        json!({ "command": ["probe", "poll-lines"], "stdout": { "queue": "out" }, "restart": "never" });
    let mut run = fed(&sandbox, worker, json!({ "in": {}, "out": {} }));
    put_lines(&sandbox, 1..=3);
    let got = sandbox.supervisor(&["queue", "get", "out", "-n", "3", "--lines"]).ends_with(0).out;
    assert_eq!(got, "1\n2\n3\n");
    // That it asks cannot be seen: the last message stays in hand until another one is read, or it exits with 0.
    until_counts(&run, 0, 1);
    sandbox.supervisor(&["queue", "close", "in"]).ends_with(0);
    run.until_state("w", "done");
    until_counts(&run, 0, 0);
    assert_eq!(run.queue("in").redelivered, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn every_byte_but_a_newline_inside_arrives_as_it_is() {
    let sandbox = Sandbox::new();
    let queues = json!({ "in": { "dead_letter": "dead", "max_deliveries": 9 }, "dead": {} });
    let mut run = fed(&sandbox, json!({ "command": "cat > got" }), queues);
    let odd: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let long = vec![b'x'; 1 << 20];
    for message in [&odd[..], b"", b"two\nlines", b"its own newline\n", b"\n", &long] {
        put(&sandbox, message);
    }
    sandbox.supervisor(&["queue", "close", "in"]).ends_with(0);
    run.until_state("w", "done");
    let expected = [&odd[..], b"\n", b"\n", b"its own newline\n", b"\n", &long, b"\n"].concat();
    assert!(std::fs::read(sandbox.path().join("got")).unwrap() == expected);
    assert_eq!(sandbox.supervisor(&["queue", "get", "dead"]).ends_with(0).out, "two\nlines");
    until("it is said", || run.out().contains("newline inside").then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_prints_waits_while_its_queue_is_full() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "out": { "capacity": 2 } }, "workers": {
        "w": { "command": "seq 1 100000; echo end > end", "stdout": { "queue": "out" } },
        "last": { "command": "while [ ! -e last ]; do sleep 0.01; done" } } }));
    until("the queue is full", || (run.queue("out").len == 2).then_some(()));
    stays("the worker waits", Duration::from_millis(200), || !sandbox.has("end"));
    let got = sandbox.supervisor(&["queue", "get", "out", "--lines", "--follow"]).ends_with(0).out;
    assert_eq!(got.lines().count(), 100_000);
    assert!(got.lines().zip(1..).all(|(line, n)| line == n.to_string()), "another order");
    sandbox.write("last", "");
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn both_outputs_go_to_queues_and_a_line_too_long_is_left_out_and_said() {
    let sandbox = Sandbox::new();
    let script = "echo short; head -c 300 /dev/zero | tr '\\0' x; echo; echo also short; echo trouble >&2";
    let mut run = sandbox.run(&json!({ "name": "r",
        "queues": { "out": { "max_message": 100 }, "err": {} }, "workers": {
        "w": { "command": script, "stdout": { "queue": "out" }, "stderr": { "queue": "err" } },
        "last": { "command": "while [ ! -e end ]; do sleep 0.01; done" } } }));
    let out = sandbox.supervisor(&["queue", "get", "out", "--lines", "--follow"]).ends_with(0).out;
    assert_eq!(out, "short\nalso short\n");
    let err = sandbox.supervisor(&["queue", "get", "err", "--lines", "--follow"]).ends_with(0).out;
    assert_eq!(err, "trouble\n");
    until("it is said", || run.out().contains("a line of 300 bytes is left out").then_some(()));
    sandbox.write("end", "");
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn attendants_are_told_by_ps_may_be_stopped_and_leave_nothing_behind() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "while read -r n; do echo $n; done", "stdout": { "queue": "out" } });
    let mut run = fed(&sandbox, worker, json!({ "in": {}, "out": {} }));
    let attendants = until("both are there", || {
        let of_w = |row: &control::api::ProcessRow| row.worker.as_deref() == Some("w");
        let rows = run.ps().into_iter().filter(|row| of_w(row) && row.command.contains(" attend "));
        let pids: Vec<i32> = rows.map(|row| row.pid).collect();
        (pids.len() == 2).then_some(pids)
    });
    // Killing the worker's tree leaves them to settle what they hold.
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    for pid in attendants {
        until_gone(pid);
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_feeder_whose_worker_waits_sleeps() {
    let sandbox = Sandbox::new();
    let mut run =
        fed(&sandbox, json!({ "command": "while read -r n; do echo $n >> got; done" }), json!({ "in": {} }));
    put_lines(&sandbox, 1..=3);
    until("all have come", || (sandbox.read("got") == "1\n2\n3\n").then_some(()));
    until_counts(&run, 0, 0);
    let feeder =
        run.ps().into_iter().find(|row| row.command.contains(" attend feeder ")).expect("a feeder").pid;
    let switches = || {
        let threads = std::fs::read_dir(format!("/proc/{feeder}/task")).expect("it lives").flatten();
        let status = threads.map(|thread| std::fs::read_to_string(thread.path().join("status")).unwrap());
        let count = |text: String| -> u64 {
            let line = text.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
            line.split_ascii_whitespace().last().unwrap().parse().unwrap()
        };
        status.map(count).sum::<u64>()
    };
    let mut before = switches();
    // It comes to rest, and then stays at rest.
    until("it rests", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = switches();
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    stays("it rests", Duration::from_millis(500), || switches() == before);
    assert!(lives(feeder));
    assert_eq!(run.stop(), 0);
}
