//! `logs`: the last lines of each worker, and what comes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::{Value, json};
use tests::{Run, Sandbox, end_of, lives, until};

use crate::{complained, json_lines, lasting, printed, run_of};

/// A worker that prints so many lines, and then lives on.
fn counting(count: u32) -> Value {
    json!({ "command": format!("seq {count}; echo unheard >&2; exec sleep 1000") })
}

#[track_caller]
fn until_printed(run: &Run, times: usize) {
    until("all is printed", || (run.out().matches("unheard").count() == times).then_some(()));
}

/// Starts a command whose output is read while it runs.
fn started(sandbox: &Sandbox, arguments: &[&str]) -> (Child, BufReader<impl Read + use<>>) {
    let mut command = sandbox.command("supervisor");
    let mut child = command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the supervisor can be executed");
    let out = BufReader::new(child.stdout.take().expect("it was asked for"));
    (child, out)
}

fn next_line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).expect("output is text");
    line
}

#[test]
fn the_last_lines_of_each_are_prefixed_as_under_run() {
    let sandbox = Sandbox::new();
    let workers =
        json!({ "one": counting(30), "several": { "command": counting(5)["command"], "instances": 2 } });
    let mut run = run_of(&sandbox, &workers);
    until_printed(&run, 3);

    let text = printed(&sandbox.supervisor(&["logs", "one", "-n", "3"]), 0);
    assert_eq!(text, "one | 29\none | 30\none | unheard\n");
    let text = printed(&sandbox.supervisor(&["logs", "several:1"]), 0);
    let expected: String = (1..=5)
        .map(|n| n.to_string())
        .chain(["unheard".to_owned()])
        .map(|line| format!("several:1 | {line}\n"))
        .collect();
    assert_eq!(text, expected);
    // Ten of each are shown where nothing is said, of both instances together.
    let text = printed(&sandbox.supervisor(&["logs"]), 0);
    assert_eq!(text.lines().filter(|line| line.starts_with("one       | ")).count(), 10, "{text}");
    assert_eq!(text.lines().count(), 20, "{text}");
    assert_eq!(printed(&sandbox.supervisor(&["logs", "-n", "0"]), 0), "");
    assert_eq!(run.stop(), 0);
}

#[test]
fn as_json_a_line_tells_whose_it_is_and_what_is_odd_about_it() {
    let sandbox = Sandbox::new();
    let odd = json!({ "command": "printf 'a\\377b\\n' >&2; printf open; exec sleep 1000" });
    let mut run = run_of(&sandbox, &json!({ "w": odd }));
    let lines = until("both are there", || {
        let lines = json_lines(&sandbox.supervisor(&["logs", "w", "--json"]), 0);
        (lines.len() == 2).then_some(lines)
    });
    for line in &lines {
        assert_eq!(
            (&line["worker"], &line["instance"], &line["launch"]),
            (&json!("w"), &json!(0), &json!(1))
        );
        let time = line["time"].as_str().expect("a time");
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    }
    let find = |stream: &str| lines.iter().find(|line| line["stream"] == stream).expect(stream);
    assert_eq!((&find("stderr")["line"], &find("stderr")["lossy"]), (&json!("a\u{fffd}b"), &json!(true)));
    assert_eq!((&find("stdout")["line"], &find("stdout")["partial"]), (&json!("open"), &json!("end")));
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_follows_comes_once_and_in_order_and_the_end_of_the_run_is_exit_0() {
    let sandbox = Sandbox::new();
    let steps = json!({ "command": "n=0; while read -r line; do n=$((n+1)); echo $line $n; done < steps" });
    let fifo = sandbox.path().join("steps");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO can be made");
    let mut run = run_of(&sandbox, &json!({ "w": steps }));
    let mut feed = std::fs::File::options().read(true).write(true).open(&fifo).expect("it is there");
    let mut tell = |what: &str| std::io::Write::write_all(&mut feed, what.as_bytes()).expect("it is read");
    tell("before\n");
    until("it is printed", || run.out().contains("before 1").then_some(()));

    let (mut child, mut out) = started(&sandbox, &["logs", "w", "-f"]);
    assert_eq!(next_line(&mut out), "w | before 1\n");
    for n in 2..200 {
        tell("after\n");
        assert_eq!(next_line(&mut out), format!("w | after {n}\n"));
    }
    run.stop();
    assert_eq!(next_line(&mut out), "");
    assert_eq!(end_of(&mut child).code(), Some(0));
}

#[test]
fn a_reader_that_rests_holds_up_nobody_and_is_told_how_much_it_missed() {
    let sandbox = Sandbox::new();
    let flood =
        "echo 0; while [ ! -e go ]; do sleep 0.01; done; seq 200000; echo unheard >&2; exec sleep 1000";
    let flood = json!({ "command": flood });
    let mut run = run_of(&sandbox, &json!({ "w": flood }));
    let (mut child, mut out) = started(&sandbox, &["logs", "w", "-f", "--json"]);
    // Once this has come, it follows.
    assert!(next_line(&mut out).contains("\"line\":\"0\""));
    sandbox.write("go", "");
    // Nobody reads, and the worker gets through all the same.
    until_printed(&run, 1);
    assert_eq!(printed(&sandbox.supervisor(&["status"]), 0).lines().count(), 2);

    let (mut expected, mut lost) = (1, 0);
    for line in out.lines() {
        let line: Value = serde_json::from_str(&line.expect("output is text")).expect("JSON");
        if let Some(gap) = line["lost_lines"].as_u64() {
            assert_eq!(line["worker"], Value::Null);
            expected += gap;
            lost += gap;
        } else if line["stream"] == "stderr" {
            break;
        } else {
            assert_eq!(line["line"], json!(expected.to_string()));
            expected += 1;
        }
        if expected > 200_000 {
            break;
        }
    }
    assert!(lost > 0, "200,000 lines fit nowhere");
    assert!(expected > 200_000, "only {expected} are accounted for");
    assert_eq!(run.stop(), 0);
    end_of(&mut child);
}

#[test]
fn a_supervisor_that_is_killed_is_exit_5_and_one_that_follows_can_be_interrupted() {
    let sandbox = Sandbox::new();
    let run = run_of(&sandbox, &json!({ "w": counting(1) }));
    until_printed(&run, 1);
    let (mut interrupted, mut heard) = started(&sandbox, &["logs", "-f"]);
    let (mut left, mut out) = started(&sandbox, &["logs", "-f"]);
    assert_eq!((next_line(&mut heard), next_line(&mut out)), ("w | 1\n".to_owned(), "w | 1\n".to_owned()));
    kill(Pid::from_raw(i32::try_from(interrupted.id()).expect("pids are small")), Signal::SIGINT)
        .expect("our child");
    assert_eq!(end_of(&mut interrupted).code(), None);
    let worker = run.leader("w", 0);
    run.kill_9();
    assert_eq!(end_of(&mut left).code(), Some(5));
    assert!(lives(worker));
    sandbox.clean();
}

#[test]
fn an_unknown_worker_is_exit_4_with_a_suggestion_and_no_supervisor_is_exit_5() {
    let sandbox = Sandbox::new();
    complained(&sandbox.supervisor(&["logs"]), 5);
    let mut run = run_of(&sandbox, &json!({ "reader": lasting() }));
    let said = complained(&sandbox.supervisor(&["logs", "raeder", "-f"]), 4);
    assert!(said.contains("did you mean \"reader\"?"), "{said}");
    complained(&sandbox.supervisor(&["logs", "reader:1"]), 4);
    assert_eq!(run.stop(), 0);
}
