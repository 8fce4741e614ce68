//! `events`: every change of state, numbered, and no gap that is not marked.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use tests::{Sandbox, end_of, until};

use crate::{complained, json_lines, lasting, printed, run_of};

/// Where the first instance of a worker went, by the events told.
fn way(events: &[Value], worker: &str) -> Vec<String> {
    let own = events.iter().filter(|event| event["worker"] == worker && event["instance"] == 0);
    let mut way = Vec::new();
    for event in own {
        assert_eq!(event["from"].as_str().map(str::to_owned), way.last().cloned(), "{event}");
        way.push(event["to"].as_str().unwrap_or("gone").to_owned());
    }
    way
}

#[test]
fn the_way_of_an_instance_is_told_without_a_gap_and_with_its_reasons() {
    let sandbox = Sandbox::new();
    let failing = json!({ "command": "exit 3", "restart": "never" });
    let waiting = json!({ "command": ["true"], "after": { "bad": "succeeded" } });
    let run =
        sandbox.run(&json!({ "name": "r", "workers": { "w": lasting(), "bad": failing, "never": waiting } }));
    run.until_state("w", "running");
    run.until_state("never", "failed");
    printed(&sandbox.supervisor(&["stop", "w"]), 0);
    let events = json_lines(&sandbox.supervisor(&["events"]), 0);
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(way(&events, "w"), ["starting", "running", "stopping", "stopped"]);
    assert_eq!(way(&events, "bad"), ["starting", "running", "stopping", "failed"]);
    assert_eq!(way(&events, "never"), ["waiting", "failed"]);
    let last = |worker: &str| events.iter().rfind(|event| event["worker"] == worker).expect("it was told");
    assert_eq!((&last("w")["why"], &last("w")["launch"]), (&json!("stopped by request"), &json!(1)));
    assert_eq!(last("never")["why"], "bad failed: exit code 3");

    let rest = json_lines(&sandbox.supervisor(&["events", "--after", &numbers[3].to_string()]), 0);
    assert_eq!(rest[..], events[4..]);
}

#[test]
fn who_follows_hears_of_everything_until_the_run_ends() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "other": lasting() }));
    let mut command = sandbox.command("supervisor");
    let mut child = command
        .args(["events", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the supervisor can be executed");
    let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let mut next =
        || lines.next().map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"));
    for expected in 1..=4 {
        assert_eq!(next().expect("it goes on")["seq"], expected);
    }
    printed(&sandbox.supervisor(&["scale", "w=2"]), 0);
    let born = next().expect("it goes on");
    assert_eq!((&born["seq"], &born["instance"], &born["from"]), (&json!(5), &json!(1), &Value::Null));
    printed(&sandbox.supervisor(&["scale", "w=1"]), 0);
    let gone = std::iter::from_fn(&mut next).find(|event| event["to"].is_null()).expect("it is told");
    assert_eq!((&gone["worker"], &gone["instance"]), (&json!("w"), &json!(1)));
    assert_eq!(run.stop(), 0);
    let mut last = gone["seq"].clone();
    for event in std::iter::from_fn(&mut next) {
        assert_eq!(event["seq"].as_u64(), last.as_u64().map(|seq| seq + 1));
        last = event["seq"].clone();
    }
    assert_eq!(end_of(&mut child).code(), Some(0));
}

#[test]
fn what_is_no_longer_kept_is_marked_as_missing() {
    let sandbox = Sandbox::new();
    let restless = json!({ "command": ["true"], "restart": "always", "backoff": { "initial": 0 },
        "intensity": { "restarts": 400, "within": "1000s" } });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": restless, "other": lasting() } }));
    until("it has had enough", || Some(run.instance("w", 0)).filter(|row| row.state == "failed"));
    let events = json_lines(&sandbox.supervisor(&["events"]), 0);
    let missed = events[0]["missed"].as_u64().expect("the first line marks the gap");
    assert!(missed > 100, "{missed}");
    assert_eq!(events[0]["until_seq"], json!(missed));
    assert_eq!((events.len(), &events[1]["seq"]), (1025, &json!(missed + 1)));
    run.stop();
}

/// Who reads on behind what it knows misses nothing that is not marked, and takes nothing for what it knows.
#[test]
fn after_the_supervisor_was_killed_the_numbers_go_on_and_the_gap_is_marked() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": lasting(), "other": lasting() } });
    let run = sandbox.run(&config);
    run.until_all("running");
    let events = json_lines(&sandbox.supervisor(&["events"]), 0);
    let known = events.last().expect("there are some")["seq"].as_u64().expect("a number");
    run.kill_9();
    let mut run = sandbox.run(&config);
    run.until_all("running");
    let rest = json_lines(&sandbox.supervisor(&["events", "--after", &known.to_string()]), 0);
    let (missed, until) = (rest[0]["missed"].as_u64(), rest[0]["until_seq"].as_u64());
    let until = until.expect("a gap is marked");
    assert_eq!(missed, Some(until - known), "{rest:?}");
    let numbers: Vec<u64> = rest[1..].iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers[..2], [until + 1, until + 2]);
    assert_eq!(run.stop(), 0);
    // Another run of the name begins anew.
    let mut run = sandbox.run(&config);
    run.until_all("running");
    assert_eq!(json_lines(&sandbox.supervisor(&["events"]), 0)[0]["seq"], 1);
    assert_eq!(run.stop(), 0);
}

#[test]
fn without_a_supervisor_it_is_exit_5() {
    complained(&Sandbox::new().supervisor(&["events"]), 5);
}

#[test]
fn what_only_tells_what_happens_ends_with_its_reader_also_when_nothing_happens() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "workers": { "w": { "command": "echo one; exec sleep 1000" } } }));
    run.until_state("w", "running");
    for line in ["events -f", "logs -f", "logs -f --json", "status --watch", "status --watch --json"] {
        for reader in ["head -1", "head -0"] {
            let mut shell = sandbox.shell();
            // dash knows no pipefail.
            shell.arg(format!("{{ supervisor {line}; echo $? > code; }} | {reader} > read"));
            tests::Said::of(&mut shell).ends_with(0);
            assert_eq!(sandbox.until_written("code"), "0\n", "{line} | {reader}");
            assert_eq!(sandbox.lines("read"), usize::from(reader == "head -1"), "{line} | {reader}");
            std::fs::remove_file(sandbox.path().join("code")).expect("it is there");
        }
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_follows_a_queue_ends_with_its_reader_and_takes_nothing_more() {
    let sandbox = Sandbox::new();
    let mut run =
        sandbox.run(&json!({ "queues": { "q": {} }, "workers": { "w": { "command": "exec sleep 1000" } } }));
    let into = |line: &str, reader: &str| {
        let mut shell = sandbox.shell();
        shell.arg(format!("{{ supervisor queue get q {line}; echo $? > code; }} | {reader}"));
        tests::Said::of(&mut shell).ends_with(0);
        assert_eq!(sandbox.until_written("code"), "0\n", "{line} | {reader}");
        std::fs::remove_file(sandbox.path().join("code")).expect("it is there");
    };
    // Nothing is there, and nobody to read it.
    into("--follow", "true");
    into("--timeout 10m", "true");
    sandbox.supervisor(&["queue", "put", "q", "first"]).ends_with(0);
    into("--follow --lines", "head -1 > read");
    assert_eq!(sandbox.read("read"), "first\n");
    sandbox.supervisor(&["queue", "put", "q", "second"]).ends_with(0);
    assert_eq!(sandbox.supervisor(&["queue", "get", "q", "--nowait"]).ends_with(0).out, "second");
    assert_eq!(run.stop(), 0);
}
