//! Messages through real queues in shared memory, moved by the command.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::fake::{Outcome, WATCHDOG, World, outcome};
use control::Call;
use control::api::{ApiError, ErrorCode, QueueHandle, Request};
use ipc::{Queue, QueueOptions};
use tempfile::TempDir;

/// A queue called `jobs`, and a fake supervisor that shows where it is.
struct Jobs {
    world: World,
    queue: Queue,
    _place: TempDir,
    /// Says that somebody opened the queue.
    opened: Receiver<()>,
}

impl Jobs {
    fn new(capacity: u64) -> Jobs {
        let place = tempfile::tempdir().expect("a folder for the test");
        let path: PathBuf = place.path().join("jobs.queue");
        let options = QueueOptions { capacity: Some(capacity), ..QueueOptions::default() };
        let queue = Queue::create(&path, &options).expect("a queue");
        let (sender, opened) = channel();
        let world = World::of(move |call: Call| match call.request {
            Request::QueueHandle { queue } if queue == "jobs" => {
                // A test that does not look has nobody to tell.
                let _ = sender.send(());
                let path = path.to_str().expect("a plain path").to_owned();
                call.reply.ok(&QueueHandle { queue, path: Some(path), dead_letter: None });
            }
            Request::Queues => call.reply.ok(&serde_json::json!([])),
            _ => call.reply.refuse(ApiError::new(ErrorCode::NotFound, "there is none")),
        });
        Jobs { world, queue, _place: place, opened }
    }

    fn with(capacity: u64, messages: &[&str]) -> Jobs {
        let jobs = Jobs::new(capacity);
        for message in messages {
            jobs.queue.try_put(message.as_bytes()).expect("there is room");
        }
        jobs
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let arguments = [&["queue"], arguments].concat();
        self.world.run(&arguments)
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let arguments = [&["queue"], arguments].concat();
        self.world.command(&arguments).stdin(Stdio::piped()).spawn().expect("the command starts")
    }

    fn feed(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut child = self.start(arguments);
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        outcome(child)
    }

    fn wait_until_opened(&self) {
        self.opened.recv_timeout(WATCHDOG).expect("somebody opens the queue");
    }

    fn take_all(&self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(lease) = self.queue.try_lease() {
            all.push(String::from_utf8(lease.into_bytes()).expect("text"));
        }
        all
    }
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn ends(outcome: &Outcome, code: i32, out: &str) {
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(code), out), "{outcome:?}");
    assert_eq!(outcome.err.is_empty(), code == 0, "{outcome:?}");
}

#[test]
fn a_message_goes_in_and_comes_out_byte_for_byte() {
    let jobs = Jobs::new(5);
    ends(&jobs.run(&["put", "jobs", "-n one"]), 0, "");
    ends(&jobs.feed(&["put", "jobs"], b"two\nlines\n"), 0, "");
    ends(&jobs.feed(&["put", "jobs"], b""), 0, "");
    ends(&jobs.run(&["get", "jobs"]), 0, "-n one");
    let outcome = jobs.run(&["get", "jobs", "--lines"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "two\nlines\n\n"));
    assert!(outcome.err.contains("a message of 10 bytes has newlines inside"), "{}", outcome.err);
    ends(&jobs.run(&["get", "jobs", "--lines"]), 0, "\n");
    assert_eq!((jobs.queue.len(), jobs.queue.stats().in_flight), (0, 0));
}

#[test]
fn a_queue_is_full_when_a_put_would_wait_whatever_is_in_hand() {
    let jobs = Jobs::with(1, &["a"]);
    ends(&jobs.run(&["full", "jobs"]), 0, "");
    ends(&jobs.run(&["full", "jobs", "--json"]), 0, "{\"queue\":\"jobs\",\"full\":true}\n");
    let lease = jobs.queue.try_lease().expect("it is there");
    assert_eq!(jobs.run(&["full", "jobs"]).code, Some(1));
    ends(&jobs.run(&["put", "jobs", "b", "--nowait"]), 0, "");
    drop(lease);
}

#[test]
fn lines_are_messages_also_empty_ones_and_the_last_without_a_newline() {
    let jobs = Jobs::new(5);
    ends(
        &jobs.feed(&["put", "jobs", "--lines", "--json"], b"a\n\nc d"),
        0,
        "{\"queue\":\"jobs\",\"put\":3}\n",
    );
    assert_eq!(jobs.take_all(), ["a", "", "c d"]);
}

#[test]
fn a_full_an_empty_and_a_closed_queue_have_exit_codes_of_their_own() {
    let jobs = Jobs::with(1, &["a"]);
    ends(&jobs.run(&["put", "jobs", "b", "--nowait"]), 6, "");
    ends(&jobs.run(&["put", "jobs", "b", "--timeout", "10ms"]), 7, "");
    ends(&jobs.run(&["get", "jobs", "-n", "2", "--nowait"]), 6, "a");
    ends(&jobs.run(&["get", "jobs", "--timeout", "10ms"]), 7, "");
    ends(&jobs.run(&["peek", "jobs"]), 6, "");
    jobs.queue.close();
    for arguments in [&["put", "jobs", "b"][..], &["get", "jobs"], &["peek", "jobs"]] {
        ends(&jobs.run(arguments), 8, "");
    }
    ends(&jobs.run(&["get", "jobs", "--follow"]), 0, "");
    ends(&jobs.run(&["drain", "jobs"]), 0, "");
    ends(&jobs.run(&["put", "nothing", "b"]), 4, "");
}

#[test]
fn a_put_waits_for_room_and_a_get_for_a_message() {
    let jobs = Jobs::with(1, &["first"]);
    let put = jobs.start(&["put", "jobs", "second"]);
    jobs.wait_until_opened();
    assert_eq!(jobs.queue.get().expect("a message"), b"first");
    jobs.queue.ack_got();
    ends(&outcome(put), 0, "");
    assert_eq!(jobs.take_all(), ["second"]);
    let get = jobs.start(&["get", "jobs"]);
    jobs.wait_until_opened();
    jobs.queue.put(b"third").expect("there is room");
    ends(&outcome(get), 0, "third");
}

#[test]
fn as_many_are_taken_as_were_asked_for() {
    let jobs = Jobs::with(5, &["a", "b", "c"]);
    ends(&jobs.run(&["get", "jobs", "-n", "2", "--lines"]), 0, "a\nb\n");
    ends(&jobs.run(&["get", "jobs", "-n", "0"]), 0, "");
    ends(&jobs.run(&["peek", "jobs"]), 0, "c");
    ends(&jobs.run(&["drain", "jobs"]), 0, "c\n");
    assert_eq!((jobs.queue.len(), jobs.queue.stats().in_flight), (0, 0));
}

#[test]
fn in_json_a_message_is_text_or_else_bytes() {
    let jobs = Jobs::with(5, &["a \"b\"\n"]);
    jobs.queue.put(b"\xff\x00").expect("there is room");
    ends(&jobs.run(&["peek", "jobs", "--json"]), 0, "{\"text\":\"a \\\"b\\\"\\n\"}\n");
    ends(
        &jobs.run(&["get", "jobs", "-n", "2", "--json"]),
        0,
        "{\"text\":\"a \\\"b\\\"\\n\"}\n{\"bytes\":[255,0]}\n",
    );
}

#[test]
fn who_follows_sees_each_message_at_once_and_ends_when_the_queue_does() {
    let jobs = Jobs::new(5);
    let mut child = jobs.start(&["get", "jobs", "--follow", "--lines"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for message in ["a", "b"] {
        jobs.queue.put(message.as_bytes()).expect("there is room");
        assert_eq!(lines.next().expect("a line").expect("text"), message);
        wait_until("it is acknowledged", || jobs.queue.stats().in_flight == 0);
    }
    jobs.queue.close();
    assert!(lines.next().is_none());
    ends(&outcome(child), 0, "");
}

#[test]
fn what_nobody_could_read_is_given_back() {
    let jobs = Jobs::new(5);
    let mut child = jobs.start(&["get", "jobs", "--follow", "--lines"]);
    drop(child.stdout.take());
    jobs.queue.put(b"precious").expect("there is room");
    ends(&outcome(child), 0, "");
    assert_eq!(jobs.take_all(), ["precious"]);
}

#[test]
fn each_runs_a_command_a_message_until_the_queue_is_closed_and_drained() {
    let jobs = Jobs::with(5, &["a", "b", "c", "d"]);
    jobs.queue.close();
    let script = r#"read input; test "$input" = "$SUPERVISOR_MESSAGE" && echo "<$input>""#;
    let outcome = jobs.run(&["each", "jobs", "--jobs", "3", "--", "sh", "-c", script]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let mut lines: Vec<_> = outcome.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["<a>", "<b>", "<c>", "<d>"]);
    assert_eq!((jobs.queue.len(), jobs.queue.stats().in_flight), (0, 0));
}

#[test]
fn a_message_that_is_not_text_reaches_the_command_by_its_input_alone() {
    let jobs = Jobs::new(5);
    jobs.queue.put(b"\xff\n").expect("there is room");
    jobs.queue.close();
    let script = r#"test -z "${SUPERVISOR_MESSAGE+set}" && wc -c"#;
    let outcome = jobs.run(&["each", "jobs", "--", "sh", "-c", script]);
    assert_eq!((outcome.code, outcome.out.trim()), (Some(0), "2"), "{outcome:?}");
}

#[test]
fn a_command_that_fails_gives_its_message_back_for_another_delivery() {
    let jobs = Jobs::with(5, &["a"]);
    jobs.queue.close();
    let script = r#"if mkdir tried; then echo first; exit 1; else rmdir tried; echo again; fi"#;
    let outcome = jobs.run(&["each", "jobs", "--", "sh", "-c", &format!("{script} 2>&-")]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "first\nagain\n"), "{outcome:?}");
    assert_eq!((jobs.queue.len(), jobs.queue.stats().in_flight), (0, 0));
}

#[test]
fn a_command_that_cannot_be_run_is_a_failure_and_costs_no_message() {
    let jobs = Jobs::with(5, &["a"]);
    ends(&jobs.run(&["each", "jobs", "--", "./nothing-of-this-name"]), 1, "");
    assert_eq!(jobs.take_all(), ["a"]);
}

#[test]
fn a_supervisor_that_goes_away_while_one_waits_for_a_queue_is_exit_5() {
    let waits: &[(&[&str], &[&str])] = &[
        (&[], &["get", "jobs"]),
        (&[], &["get", "jobs", "--follow", "--timeout", "1h"]),
        (&[], &["each", "jobs", "--", "true"]),
        (&["full"], &["put", "jobs", "more"]),
        (&["full"], &["put", "jobs", "more", "--timeout", "1h"]),
    ];
    for (messages, arguments) in waits {
        let mut jobs = Jobs::with(1, messages);
        let child = jobs.start(arguments);
        jobs.wait_until_opened();
        jobs.world.stop();
        let outcome = outcome(child);
        ends(&outcome, 5, "");
        assert!(outcome.err.contains("the supervisor went away"), "{outcome:?}");
    }
}

#[test]
fn a_stream_of_lines_arrives_whole_and_in_order() {
    const LINES: usize = 100_000;
    let jobs = Jobs::new(1000);
    let mut get = jobs.start(&["get", "jobs", "--follow", "--lines"]);
    let mut put = jobs.start(&["put", "jobs", "--lines"]);
    let mut input = put.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || {
        let text: String = (0..LINES).map(|line| format!("{line}\n")).collect();
        input.write_all(text.as_bytes()).expect("it reads");
    });
    let mut output = get.stdout.take().expect("a pipe");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).expect("text");
        text
    });
    writer.join().expect("no panic");
    ends(&outcome(put), 0, "");
    jobs.queue.close();
    let text = reader.join().expect("no panic");
    assert!(text.lines().enumerate().all(|(index, line)| line.parse() == Ok(index)));
    assert_eq!(text.lines().count(), LINES);
    ends(&outcome(get), 0, "");
}
