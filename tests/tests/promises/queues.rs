//! Queues, from the command line and from workers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, stays, until};

/// A run with these queues and a worker that has nothing to do with them.
fn with(sandbox: &Sandbox, queues: &Value) -> Run {
    let run = sandbox.run(
        &json!({ "name": "r", "queues": queues, "workers": { "idle": { "command": ["sleep", "1000"] } } }),
    );
    run.until_state("idle", "running");
    run
}

/// Starts `supervisor` with these arguments and its output piped.
fn begin(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Child {
    let mut command = sandbox.command("supervisor");
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the supervisor can be executed")
}

#[test]
fn what_is_put_first_is_got_first() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    for message in ["one", "two", "three"] {
        sandbox.supervisor(&["queue", "put", "q", message]).ends_with(0);
    }
    assert_eq!(sandbox.supervisor(&["queue", "len", "q"]).ends_with(0).out, "3\n");
    for message in ["one", "two", "three"] {
        assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).out, message);
    }
    let row = run.queue("q");
    assert_eq!((row.len, row.in_flight, row.puts, row.gets), (0, 0, 3, 3));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_full_queue_blocks_refuses_or_times_out_as_it_is_told() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": { "capacity": 2 } }));
    sandbox.supervisor(&["queue", "full", "q"]).ends_with(1);
    sandbox.supervisor(&["queue", "put", "q", "one"]).ends_with(0);
    sandbox.supervisor(&["queue", "put", "q", "two", "--nowait"]).ends_with(0);
    sandbox.supervisor(&["queue", "full", "q"]).ends_with(0);
    let said = sandbox.supervisor(&["queue", "put", "q", "three", "--nowait"]).ends_with(6);
    assert!(said.err.contains("full"), "{}", said.err);
    let start = Instant::now();
    sandbox.supervisor(&["queue", "put", "q", "three", "--timeout", "150ms"]).ends_with(7);
    assert!(start.elapsed() >= Duration::from_millis(150));
    let mut blocked = begin(&sandbox, &["queue", "put", "q", "three"]);
    stays("it blocks", Duration::from_millis(150), || blocked.try_wait().unwrap().is_none());
    assert_eq!(run.queue("q").len, 2);
    assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).out, "one");
    Said::at_the_end_of(blocked).ends_with(0);
    assert_eq!(
        sandbox.supervisor(&["queue", "get", "q", "-n", "2", "--lines"]).ends_with(0).out,
        "two\nthree\n"
    );
    assert_eq!(run.stop(), 0);
}

#[test]
fn an_empty_queue_blocks_refuses_or_times_out_as_it_is_told() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    sandbox.supervisor(&["queue", "empty", "q"]).ends_with(0);
    sandbox.supervisor(&["queue", "get", "q", "--nowait"]).ends_with(6);
    sandbox.supervisor(&["queue", "peek", "q"]).ends_with(6);
    let start = Instant::now();
    sandbox.supervisor(&["queue", "get", "q", "--timeout", "150ms"]).ends_with(7);
    assert!(start.elapsed() >= Duration::from_millis(150));
    let mut blocked = begin(&sandbox, &["queue", "get", "q"]);
    stays("it blocks", Duration::from_millis(150), || blocked.try_wait().unwrap().is_none());
    sandbox.supervisor(&["queue", "put", "q", "here"]).ends_with(0);
    assert_eq!(Said::at_the_end_of(blocked).ends_with(0).out, "here");
    assert_eq!(run.stop(), 0);
}

#[test]
fn peek_leaves_the_message_where_it_is() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    sandbox.supervisor(&["queue", "put", "q", "seen"]).ends_with(0);
    for _ in 0..2 {
        assert_eq!(sandbox.supervisor(&["queue", "peek", "q"]).ends_with(0).out, "seen");
    }
    sandbox.supervisor(&["queue", "empty", "q"]).ends_with(1);
    assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).out, "seen");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_closed_queue_takes_nothing_more_is_drained_and_then_says_closed() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    sandbox.supervisor_with_input(&["queue", "put", "q", "--lines"], b"one\ntwo\nthree").ends_with(0);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    let said = sandbox.supervisor(&["queue", "put", "q", "four"]).ends_with(8);
    assert!(said.err.contains("closed"), "{}", said.err);
    assert!(run.queue("q").closed);
    assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).out, "one");
    assert_eq!(
        sandbox.supervisor(&["queue", "get", "q", "--lines", "--follow"]).ends_with(0).out,
        "two\nthree\n"
    );
    for wait in [&[][..], &["--nowait"], &["--timeout", "1m"]] {
        sandbox.supervisor(&[&["queue", "get", "q"], wait].concat()).ends_with(8);
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_getter_that_waits_hears_of_the_close() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    let waiting = begin(&sandbox, &["queue", "get", "q"]);
    let following = begin(&sandbox, &["queue", "get", "q", "--follow", "--lines"]);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    Said::at_the_end_of(waiting).ends_with(8);
    Said::at_the_end_of(following).ends_with(0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn lines_go_in_and_come_out_as_messages() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": { "capacity": 10 } }));
    let lines: String = (0..2_000).map(|number| format!("line {number}\n")).collect();
    let follower = begin(&sandbox, &["queue", "get", "q", "--lines", "--follow"]);
    let said = sandbox
        .supervisor_with_input(&["queue", "put", "q", "--lines", "--json"], lines.as_bytes())
        .ends_with(0);
    assert_eq!(said.json()["put"], 2_000);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    assert!(Said::at_the_end_of(follower).ends_with(0).out == lines, "other lines came out");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_message_is_any_bytes_from_none_to_16_mib() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    let binary: Vec<u8> = (0..=255).cycle().take(16 << 20).collect();
    for message in [&b""[..], b"\0", b"\n\n", b"\xff\xfe no text \x80", &binary[..70_000], &binary] {
        sandbox.supervisor_with_input(&["queue", "put", "q"], message).ends_with(0);
        assert!(
            sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).bytes == message,
            "{} bytes",
            message.len()
        );
    }
    let too_long: Vec<u8> = vec![0; (16 << 20) + 1];
    sandbox.supervisor_with_input(&["queue", "put", "q"], &too_long).ends_with(1);
    assert_eq!(run.queue("q").len, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_message_is_no_longer_than_its_queue_allows() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": { "max_message": 10 } }));
    sandbox.supervisor(&["queue", "put", "q", "0123456789"]).ends_with(0);
    let said = sandbox.supervisor(&["queue", "put", "q", "01234567890"]).ends_with(1);
    assert!(said.err.contains("10"), "{}", said.err);
    assert_eq!(run.stop(), 0);
}

#[test]
fn drain_takes_what_is_there_and_waits_for_nothing() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    sandbox.supervisor_with_input(&["queue", "put", "q", "--lines"], b"a\nb\n").ends_with(0);
    assert_eq!(sandbox.supervisor(&["queue", "drain", "q"]).ends_with(0).out, "a\nb\n");
    assert_eq!(sandbox.supervisor(&["queue", "drain", "q"]).ends_with(0).out, "");
    assert_eq!(run.stop(), 0);
}

#[test]
fn each_runs_a_command_for_every_message_until_the_queue_is_closed() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    sandbox.supervisor_with_input(&["queue", "put", "q", "--lines"], b"a\nb\nc\n").ends_with(0);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    let script = "read line; echo \"$SUPERVISOR_MESSAGE $line\" >> each";
    // The last word of a message has no newline; `read` says so with its exit code and has read it all the same.
    sandbox.supervisor(&["queue", "each", "q", "--", "sh", "-c", script]).ends_with(0);
    assert_eq!(sandbox.read("each"), "a a\nb b\nc c\n");
    assert_eq!(run.queue("q").len, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn each_gives_a_message_back_when_its_command_fails() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": { "max_deliveries": 3, "dead_letter": "dead" }, "dead": {} }));
    sandbox.supervisor_with_input(&["queue", "put", "q", "--lines"], b"good\nbad\n").ends_with(0);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    let script = "echo $SUPERVISOR_MESSAGE >> tried; [ $SUPERVISOR_MESSAGE = good ]";
    sandbox.supervisor(&["queue", "each", "q", "--", "sh", "-c", script]).ends_with(0);
    let tried = sandbox.read("tried");
    assert_eq!(tried.lines().filter(|line| *line == "bad").count(), 3, "{tried}");
    assert_eq!(tried.lines().filter(|line| *line == "good").count(), 1, "{tried}");
    assert_eq!(sandbox.supervisor(&["queue", "get", "dead"]).ends_with(0).out, "bad");
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_sdk_walks_a_queue_through_every_refusal() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "queues": { "q": { "capacity": 2 } }, "workers": {
        "w": { "command": ["probe", "bounds", "q"], "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.out());
    assert!(run.out().contains("all as promised"), "{}", run.out());
}

#[test]
fn messages_of_every_size_pass_from_worker_to_worker() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "queues": { "q": { "capacity": 2 } }, "workers": {
        "putter": { "command": ["probe", "put-sizes", "q"], "queues": { "put": ["q"] }, "restart": "never" },
        "getter": { "command": ["probe", "get-sizes", "q"], "queues": { "get": ["q"] }, "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.out());
    assert!(run.out().contains("all as they were put"), "{}", run.out());
}

/// Producers that put so many messages each, consumers that tell what they got.
fn many(producers: u32, consumers: u32, each: u32) -> Value {
    json!({ "name": "r", "queues": { "q": { "capacity": 5 } }, "workers": {
        "putter": { "command": format!("exec probe put q {each} p$SUPERVISOR_INSTANCE-"), "instances": producers,
                    "queues": { "put": ["q"] }, "restart": "never" },
        "getter": { "command": ["probe", "get-all", "q"], "instances": consumers, "stdout": "got",
                    "queues": { "get": ["q"] }, "restart": "never" } } })
}

#[test]
fn many_producers_and_many_consumers_lose_and_double_nothing() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox.run_to_its_end(&many(4, 3, 300));
    assert_eq!(code, 0, "{}", run.err());
    let got = sandbox.read("got");
    let mut all: Vec<&str> = got.lines().collect();
    all.sort_unstable();
    let mut expected: Vec<String> =
        (0..4).flat_map(|p| (0..300).map(move |n| format!("got p{p}-{n}"))).collect();
    expected.sort_unstable();
    assert!(all == expected, "{} messages came", all.len());
}

#[test]
fn one_consumer_gets_every_producers_messages_in_their_order() {
    let sandbox = Sandbox::new();
    let (code, _) = sandbox.run_to_its_end(&many(3, 1, 300));
    assert_eq!(code, 0);
    let got = sandbox.read("got");
    for producer in 0..3 {
        let prefix = format!("got p{producer}-");
        let numbers: Vec<u32> = got
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers.iter().copied().eq(0..300), "{producer}: {numbers:?}");
    }
}

#[test]
fn a_queue_closes_by_itself_when_its_last_producer_has_ended_for_good() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "one": { "command": ["true"], "queues": { "put": ["q"] }, "restart": "never" },
        "two": { "command": "while [ ! -e go ]; do sleep 0.02; done; exit 1", "queues": { "put": ["q"] }, "restart": "never" },
        "idle": { "command": ["sleep", "1000"] } } }));
    run.until_state("one", "done");
    stays("it is open while a producer lives", Duration::from_millis(100), || !run.queue("q").closed);
    sandbox.write("go", "");
    run.until_state("two", "failed");
    until("it is closed", || run.queue("q").closed.then_some(()));
    run.stop();
}

#[test]
fn a_queue_stays_open_while_its_producer_is_to_be_started_again() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "p": { "command": "exit 1", "queues": { "put": ["q"] }, "backoff": { "initial": "10ms", "max": "10ms" },
               "intensity": { "restarts": 100_000, "within": "1s" } } } }));
    until("it was started again and again", || (run.instance("p", 0).restarts >= 5).then_some(()));
    assert!(!run.queue("q").closed);
    sandbox.supervisor(&["queue", "put", "q", "still open"]).ends_with(0);
    run.stop();
}

#[test]
fn a_queue_that_nobody_lists_under_put_closes_only_when_told() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "getter": { "command": ["probe", "get-all", "q"], "queues": { "get": ["q"] }, "restart": "never" } } }));
    sandbox.supervisor(&["queue", "put", "q", "hello"]).ends_with(0);
    until("it has it", || run.out().contains("got hello").then_some(()));
    stays("it is open", Duration::from_millis(100), || !run.queue("q").closed);
    sandbox.supervisor(&["queue", "close", "q"]).ends_with(0);
    assert_eq!(run.exit_code(), 0, "{}", run.err());
}

#[test]
fn a_message_leased_by_a_worker_that_is_killed_is_delivered_again_with_its_count() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "leaser": { "command": ["probe", "lease", "q"], "backoff": { "initial": 0 } } } }));
    sandbox.supervisor(&["queue", "put", "q", "precious"]).ends_with(0);
    for time in 1..=3 {
        until(&format!("delivery {time}"), || {
            run.out().contains(&format!("leased precious time {time} of")).then_some(())
        });
        assert_eq!(run.queue("q").in_flight, 1);
        sandbox.supervisor(&["kill", "leaser", "--signal", "KILL"]).ends_with(0);
    }
    until("delivery 4", || run.out().contains("leased precious time 4 of").then_some(()));
    let id = |line: &str| line.rsplit(' ').next().map(str::to_owned);
    let ids: std::collections::BTreeSet<_> =
        run.out().lines().filter(|line| line.contains("leased")).map(id).collect();
    assert_eq!(ids.len(), 1, "a message has one id, however often it is delivered");
    assert_eq!(run.queue("q").redelivered, 3);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_message_that_kills_its_workers_lands_among_the_dead_letters() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r",
        "queues": { "q": { "max_deliveries": 3, "dead_letter": "dead" }, "dead": {} },
        "workers": { "w": { "command": ["worker-misbehave", "die-with-lease", "q"], "backoff": { "initial": 0 },
                            "intensity": { "restarts": 100, "within": "1s" } } } }));
    sandbox.supervisor(&["queue", "put", "q", "poison"]).ends_with(0);
    until("it is given up on", || (run.queue("dead").len == 1).then_some(()));
    assert_eq!(sandbox.supervisor(&["queue", "get", "dead"]).ends_with(0).out, "poison");
    let row = run.queue("q");
    assert_eq!((row.len, row.in_flight, row.dead), (0, 0, 1), "{row:?}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_message_that_is_given_back_too_often_lands_among_the_dead_letters() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r",
        "queues": { "q": { "max_deliveries": 2, "dead_letter": "dead" }, "dead": {} },
        "workers": { "w": { "command": ["probe", "give-back", "q"], "restart": "never" } } }));
    sandbox.supervisor(&["queue", "put", "q", "unwanted"]).ends_with(0);
    until("it is given up on", || (run.queue("dead").len == 1).then_some(()));
    until("it tells of both deliveries", || run.out().contains("time 2 of unwanted").then_some(()));
    let out = run.out();
    assert!(out.contains("time 1 of unwanted") && !out.contains("time 3"), "{out}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_command_line_getter_that_is_killed_holds_nothing() {
    let sandbox = Sandbox::new();
    let mut run = with(&sandbox, &json!({ "q": {} }));
    sandbox.supervisor(&["queue", "put", "q", "kept"]).ends_with(0);
    let mut each =
        begin(&sandbox, &["queue", "each", "q", "--", "sh", "-c", "echo $$ > command; exec sleep 1000"]);
    let command = sandbox.until_pid("command");
    assert_eq!(run.queue("q").in_flight, 1);
    each.kill().unwrap();
    each.wait().unwrap();
    nix::sys::signal::kill(process::Pid::from_raw(command), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("it is given back", || (run.queue("q").len == 1).then_some(()));
    assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).out, "kept");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_getter_that_waits_hears_that_the_supervisor_is_gone() {
    for kill in [false, true] {
        let sandbox = Sandbox::new();
        let mut run = with(&sandbox, &json!({ "q": { "capacity": 1 } }));
        let getter = begin(&sandbox, &["queue", "get", "q"]);
        let maps = format!("/proc/{}/maps", getter.id());
        until("it has opened the queue", || {
            std::fs::read_to_string(&maps).unwrap_or_default().contains("memfd:").then_some(())
        });
        if kill {
            run.kill_9();
        } else {
            assert_eq!(run.stop(), 0);
        }
        let said = Said::at_the_end_of(getter);
        assert!([5, 8].contains(&said.code), "{}: {}", said.code, said.err);
        sandbox.clean();
    }
}

#[test]
fn workers_that_die_inside_put_and_get_harm_no_queue() {
    let sandbox = Sandbox::new();
    let die = |what: &str| {
        json!({ "command": ["worker-misbehave", what, "q"], "instances": 2, "backoff": { "initial": 0 },
                                   "intensity": { "restarts": 100_000, "within": "1s" } })
    };
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": { "capacity": 5 } }, "workers": {
        "putter": die("die-in-put"), "getter": die("die-in-get") } }));
    until("forty have died", || {
        let total: u64 = run.status().workers.iter().map(|row| row.restarts).sum();
        (total >= 40).then_some(())
    });
    sandbox.supervisor(&["stop", "putter", "getter"]).ends_with(0);
    let row = run.queue("q");
    // What two dead getters held comes back whether there is room or not.
    assert!(row.len <= 5 + 2, "{row:?}");
    assert_eq!(row.in_flight, 0, "{row:?}");
    sandbox.supervisor(&["queue", "drain", "q"]).ends_with(0);
    // It is as good as new.
    for number in 0..5 {
        sandbox.supervisor(&["queue", "put", "q", &number.to_string(), "--nowait"]).ends_with(0);
    }
    sandbox.supervisor(&["queue", "put", "q", "5", "--nowait"]).ends_with(6);
    assert_eq!(sandbox.supervisor(&["queue", "drain", "q"]).ends_with(0).out, "0\n1\n2\n3\n4\n");
    run.stop();
}

#[test]
fn shell_workers_take_part_through_the_command() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "queues": { "in": { "capacity": 2 }, "out": { "capacity": 2 } }, "workers": {
        "feed": { "command": "seq 1 20 | supervisor queue put in --lines", "queues": { "put": ["in"] }, "restart": "never" },
        "square": { "command": "supervisor queue each in -- sh -c 'echo $((SUPERVISOR_MESSAGE * SUPERVISOR_MESSAGE)) | supervisor queue put out --lines'",
                    "queues": { "get": ["in"], "put": ["out"] }, "restart": "never" },
        "sum": { "command": "supervisor queue get out --lines --follow > squares", "queues": { "get": ["out"] }, "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.out());
    let expected: String = (1..=20).map(|number| format!("{}\n", number * number)).collect();
    assert_eq!(sandbox.read("squares"), expected);
}

#[test]
fn a_worker_that_waits_on_a_queue_hears_that_it_shall_stop() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": ["probe", "until-asked"], "stop": { "grace": "10m" } } } }));
    until("it runs", || run.out().contains("not asked yet").then_some(()));
    assert_eq!(run.stop(), 0);
    assert!(run.out().contains("asked to stop"), "{}", run.out());
}
