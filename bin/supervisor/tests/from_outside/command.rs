//! The command, seen from outside: what it asks for, what it prints, how it ends.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::fake::{Outcome, WATCHDOG, World, outcome};
use control::Call;
use control::api::{
    Acted, ApiError, ErrorCode, Exit, InstanceStatus, Kill, Killed, ProcessRow, QueueStatus, Request, Status,
    Waited, Who,
};

/// A row of `status`.
fn instance(worker: &str, instance: u32, state: &str) -> InstanceStatus {
    let up = state == "running";
    InstanceStatus {
        worker: worker.to_owned(),
        instance,
        launch: Some(1),
        state: state.to_owned(),
        pid: up.then_some(4711),
        ppid: up.then_some(4700),
        uptime_s: up.then_some(125.5),
        restarts: 2,
        exit: (state == "failed").then_some(Exit::Code(3)),
        policy: "wait".to_owned(),
        why: None,
    }
}

/// The answer to `status` of a run with a worker `reader` and two instances of `counter`.
fn status() -> Status {
    let mut resting = instance("counter", 1, "backoff");
    resting.why = Some("exit 1; again in 2s".to_owned());
    let mut restarted = instance("counter", 0, "running");
    restarted.exit = Some(Exit::Signal(9));
    Status {
        name: "demo".to_owned(),
        pid: 4700,
        config: Some("/etc/demo.json".to_owned()),
        config_newer: false,
        workers: vec![instance("reader", 0, "failed"), restarted, resting],
    }
}

fn nothing(call: Call) {
    panic!("nobody should ask {:?}", call.request);
}

fn not_found(message: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, message)
}

/// Answers with `answer`, and sees to it that exactly `expected` was asked.
fn expecting(
    expected: Request,
    answer: impl serde::Serialize + Send + 'static,
) -> impl Fn(Call) + Send + 'static {
    move |call| {
        if call.request == expected {
            call.reply.ok(&answer);
        } else {
            call.reply.refuse(ApiError::new(ErrorCode::Failed, format!("asked {:?}", call.request)));
        }
    }
}

#[track_caller]
fn is_error(outcome: &Outcome, code: i32, words: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert!(outcome.err.starts_with("supervisor: ") && outcome.err.contains(words), "{outcome:?}");
    assert_eq!(outcome.out, "");
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_and_how() {
    let world = World::of(nothing);
    let wrong: &[&[&str]] = &[
        &["dance"],
        &["stop"],
        &["stop", "12"],
        &["stop", "a b"],
        &["status", "--wat"],
        &["kill", "0"],
        &["kill", "a", "--signal", "NOPE"],
        &["kill", "a", "--grace", "soon"],
        &["wait", "--timeout", "1s"],
        &["queue", "put"],
        &["queue", "get", "q", "--nowait", "--timeout", "1s"],
        &["queue", "put", "q", "text", "--lines"],
        &["queue", "each", "q"],
        &["completions", "cmd"],
    ];
    for arguments in wrong {
        is_error(&world.run(arguments), 2, "");
    }
    let outcome = world.run(&["statsu"]);
    is_error(&outcome, 2, "unrecognized subcommand 'statsu'");
    assert!(outcome.err.contains("\n  hint: did you mean \"status\"?"), "{outcome:?}");
    let outcome = world.run(&["stop"]);
    assert!(outcome.err.contains("\n  hint: usage: supervisor stop"), "{outcome:?}");
    let outcome = world.run(&[]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""));
    assert!(outcome.err.contains("Usage: supervisor"), "{outcome:?}");
}

#[test]
fn errors_are_json_where_json_is_wanted() {
    let world = World::empty();
    for (arguments, code) in [(&["--json", "ps"][..], "not_running"), (&["stop", "--json"], "usage")] {
        let outcome = world.run(arguments);
        let error: serde_json::Value = serde_json::from_str(&outcome.err).expect("JSON and nothing else");
        assert_eq!(error["error"]["code"], code, "{outcome:?}");
    }
}

#[test]
fn help_shows_every_verb_and_every_exit_code() {
    let world = World::empty();
    let outcome = world.run(&["--help"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    let verbs = [
        "run",
        "check",
        "schema",
        "plan",
        "apply",
        "status",
        "ps",
        "start",
        "stop",
        "restart",
        "scale",
        "spawn",
        "logs",
        "events",
        "why",
        "doctor",
        "kill",
        "wait",
        "shutdown",
        "queue",
        "demo",
        "completions",
        "man",
    ];
    for verb in verbs {
        assert!(outcome.out.contains(&format!("\n  {verb} ")), "{verb}: {}", outcome.out);
        let help = world.run(&[verb, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.out.contains("Example:"), "{}", help.out);
    }
    for code in 0..=9 {
        assert!(outcome.out.contains(&format!("  {code}  ")), "{}", outcome.out);
    }
}

#[test]
fn completions_and_the_man_page_know_the_verbs() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = world.run(&["completions", shell]);
        assert_eq!(outcome.code, Some(0));
        assert!(outcome.out.contains("shutdown"), "{shell}");
    }
    let page = world.run(&["man"]);
    assert_eq!(page.code, Some(0));
    assert!(page.out.contains(".TH supervisor 1") && page.out.contains("Exit codes"), "{}", page.out);
    assert!(page.out.contains("queue-put") || page.out.contains("queue put"), "{}", page.out);
}

#[test]
fn without_a_supervisor_it_is_exit_5_and_says_how_to_start_one() {
    let mut world = World::empty();
    for arguments in
        [&["status"][..], &["shutdown"], &["queue", "ls"], &["queue", "get", "q"], &["wait", "a"]]
    {
        let outcome = world.run(arguments);
        is_error(&outcome, 5, "no supervisor is running");
        assert!(outcome.err.contains("\n  hint: supervisor run"), "{outcome:?}");
    }
    world.add("demo", nothing);
    is_error(&world.run(&["--name", "other", "ps"]), 5, "no supervisor named other is running");
    world.add("second", nothing);
    is_error(&world.run(&["ps"]), 2, "--name demo | --name second");
}

#[test]
fn the_run_that_is_named_is_asked() {
    let mut world = World::empty();
    for name in ["one", "two"] {
        world.add(name, move |call| call.reply.ok(&Status { name: name.to_owned(), ..status() }));
    }
    let asked = |command: &mut Command| {
        let outcome = outcome(command.spawn().expect("the command starts"));
        serde_json::from_str::<Status>(&outcome.out).expect("JSON").name
    };
    assert_eq!(asked(&mut world.command(&["status", "--json", "--name", "two"])), "two");
    assert_eq!(asked(world.command(&["status", "--json"]).env("SUPERVISOR_NAME", "one")), "one");
    let socket = world.root().join("two/socket");
    assert_eq!(asked(world.command(&["status", "--json"]).env("SUPERVISOR_SOCKET", socket)), "two");
}

#[test]
fn status_is_an_aligned_table_without_colour_off_a_terminal() {
    let world = World::of(expecting(Request::Status { workers: vec![] }, status()));
    let outcome = world.run(&["status"]);
    let expected = "\
NAME       STATE     PID  UPTIME  RESTARTS  WHY
reader:0   failed      -       -         2  exit 3
counter:0  running  4711   2m05s         2
counter:1  backoff     -       -         2  exit 1; again in 2s
";
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(0), expected, ""));
}

#[test]
fn status_in_json_is_what_was_promised() {
    let workers = vec!["reader".to_owned(), "counter:1".to_owned()];
    let world = World::of(expecting(
        Request::Status { workers },
        Status { workers: vec![instance("reader", 0, "failed")], ..status() },
    ));
    let outcome = world.run(&["status", "reader", "counter:1", "--json"]);
    let expected = "{\"name\":\"demo\",\"pid\":4700,\"config\":\"/etc/demo.json\",\"workers\":[{\"worker\":\"reader\",\
                    \"instance\":0,\"launch\":1,\"state\":\"failed\",\"pid\":null,\"ppid\":null,\"uptime_s\":null,\
                    \"restarts\":2,\"exit\":{\"code\":3},\"policy\":\"wait\",\"why\":null}]}\n";
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), expected));
}

fn processes() -> Vec<ProcessRow> {
    let row = |pid, ppid, depth, worker: Option<&str>, command: &str| ProcessRow {
        pid,
        ppid,
        worker: worker.map(str::to_owned),
        instance: worker.map(|_| 0),
        launch: worker.map(|_| 1),
        depth,
        command: command.to_owned(),
        state: "S".to_owned(),
        age_s: 125.0,
        cpu_s: 2.5,
        memory_bytes: 3 << 19,
        threads: 1,
    };
    vec![
        row(4700, 1, 0, None, "supervisor run demo.json"),
        row(4711, 4700, 1, Some("counter"), "sh -c x"),
        row(4712, 4711, 2, Some("counter"), "sleep \x1b[2J1"),
    ]
}

#[test]
fn ps_shows_the_tree_and_lets_no_command_line_paint_the_terminal() {
    let world = World::of(expecting(Request::Ps, processes()));
    let expected = " PID  PPID  S  WORKER     LAUNCH    AGE   CPU  MEMORY  COMMAND
4700     1  S  -               -  2m05s  2.0%    1.5M  supervisor run demo.json
4711  4700  S  counter:0       1  2m05s  2.0%    1.5M    sh -c x
4712  4711  S  counter:0       1  2m05s  2.0%    1.5M      sleep \\u{1b}[2J1
";
    assert_eq!(world.run(&["ps"]).out, expected);
    let rows: Vec<ProcessRow> = serde_json::from_str(&world.run(&["ps", "--json"]).out).expect("JSON");
    assert_eq!(rows, processes());
}

#[test]
fn start_stop_and_restart_tell_what_became_of_each() {
    let workers = || vec!["counter:0".to_owned(), "reader".to_owned()];
    let asks = [
        (&["start", "counter:0", "reader"][..], Request::Start { workers: workers(), wait: true }, "running"),
        (&["stop", "counter:0", "reader"], Request::Stop { workers: workers(), wait: true }, "stopped"),
        (
            &["restart", "counter:0", "reader", "--no-wait"],
            Request::Restart { workers: workers(), wait: false, rolling: false },
            "stopping",
        ),
    ];
    for (arguments, request, state) in asks {
        let acted = Acted { instances: vec![instance("counter", 0, state), instance("reader", 0, state)] };
        let world = World::of(expecting(request, acted));
        let outcome = world.run(arguments);
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
        for name in ["counter:0  ", "reader:0   "] {
            assert!(outcome.out.contains(&format!("{name}{state}")), "{}", outcome.out);
        }
    }
}

#[test]
fn who_finds_what_he_asked_for_undone_by_somebody_else_is_told_with_exit_1() {
    let workers = || vec!["reader".to_owned()];
    let asks = [
        (&["start", "reader"], Request::Start { workers: workers(), wait: true }, "stopped"),
        (&["stop", "reader"], Request::Stop { workers: workers(), wait: true }, "running"),
    ];
    for (arguments, request, state) in asks {
        let world = World::of(expecting(request, Acted { instances: vec![instance("reader", 0, state)] }));
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.err.contains("somebody has"), "{}", outcome.err);
    }
}

#[test]
fn a_start_that_ends_in_failed_is_exit_1() {
    let world = World::of(|call| call.reply.ok(&Acted { instances: vec![instance("reader", 0, "failed")] }));
    for verb in ["start", "restart"] {
        let outcome = world.run(&[verb, "reader"]);
        assert_eq!(outcome.code, Some(1));
        assert_eq!(outcome.err, "supervisor: reader:0 failed: exit 3\n");
    }
    assert_eq!(world.run(&["stop", "reader"]).code, Some(0));
}

#[test]
fn kill_asks_for_each_and_goes_on_when_one_cannot_be() {
    let world = World::of(|call| match call.request {
        Request::Kill(Kill {
            whom: Who::Pid(4711),
            signal: 1,
            tree: true,
            grace_ms: Some(1500),
            foreign: true,
            ..
        }) => {
            call.reply.ok(&Killed { pids: vec![4711, 4712], signal: 1, ..Killed::default() });
        }
        Request::Kill(Kill { whom: Who::Worker(worker), .. }) => {
            call.reply.refuse(not_found(&format!("no {worker}")))
        }
        Request::Status { .. } => call.reply.ok(&status()),
        _ => call.reply.refuse(ApiError::new(ErrorCode::Refused, "not ours")),
    });
    let outcome =
        world.run(&["kill", "raeder", "4711", "--signal", "HUP", "--tree", "--grace", "1.5s", "--foreign"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(4), "4711  HUP  4711 4712\n"));
    assert_eq!(outcome.err, "supervisor: no raeder\n  hint: did you mean \"reader\"?\n");
    let outcome = world.run(&["kill", "1", "mailer"]);
    assert_eq!(outcome.code, Some(9), "that of the first");
    assert!(outcome.err.contains("not ours") && outcome.err.contains("no mailer"), "{outcome:?}");
}

#[test]
fn a_name_that_nobody_has_is_exit_4_with_the_nearest_that_somebody_has() {
    let world = World::of(|call| match call.request {
        Request::Status { workers } if workers.is_empty() => call.reply.ok(&status()),
        Request::Queues => call.reply.ok(&[queue("jobs")]),
        _ => call.reply.refuse(not_found("there is none")),
    });
    let hints = [
        (&["status", "conter"][..], "did you mean \"counter\"?"),
        (&["stop", "reader", "countre:0"], "did you mean \"counter\"?"),
        (&["wait", "zzz"], "there is reader, counter"),
        (&["queue", "close", "job"], "did you mean \"jobs\"?"),
        (&["queue", "len", "jbos"], "did you mean \"jobs\"?"),
        (&["queue", "get", "jobz"], "did you mean \"jobs\"?"),
    ];
    for (arguments, hint) in hints {
        is_error(&world.run(arguments), 4, hint);
    }
}

#[test]
fn wait_ends_with_what_it_waited_for() {
    let world = World::of(|call| {
        let Request::Wait { whom, timeout_ms } = call.request else { panic!("{:?}", call.request) };
        let (exit, state) = match whom {
            Who::Pid(pid) => (Some(Exit::Code(pid)), None),
            Who::Worker(name) => match name.as_str() {
                "killed" => (Some(Exit::Signal(9)), Some("failed")),
                "stopped" => (None, Some("stopped")),
                "never" => (None, Some("failed")),
                "slow" => {
                    assert_eq!(timeout_ms.map(|left| left <= 51), Some(true));
                    return call.reply.refuse(ApiError::new(ErrorCode::TimedOut, "it still runs"));
                }
                _ => return call.reply.refuse(not_found("no such worker").hint("there is none")),
            },
        };
        call.reply.ok(&Waited { exit, state: state.map(str::to_owned) });
    });
    let ends: &[(&[&str], i32)] = &[
        (&["wait", "stopped"], 0),
        (&["wait", "17"], 17),
        (&["wait", "256"], 0),
        (&["wait", "killed"], 137),
        (&["wait", "stopped", "12", "killed"], 12),
        (&["wait", "never"], 1),
        (&["wait", "slow", "--timeout", "50ms"], 7),
        (&["wait", "nobody"], 4),
    ];
    for (arguments, code) in ends {
        let outcome = world.run(arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(*code), ""), "{arguments:?} {outcome:?}");
    }
    let outcome = world.run(&["wait", "killed", "--json"]);
    assert_eq!(
        outcome.out,
        "[{\"whom\":{\"worker\":\"killed\"},\"exit\":{\"signal\":9},\"state\":\"failed\"}]\n"
    );
}

#[test]
fn a_supervisor_that_goes_away_while_one_waits_is_exit_5() {
    let (asked, call) = channel();
    let mut world = World::of(move |call| asked.send(call).expect("the test waits"));
    let child = world.command(&["wait", "reader"]).spawn().expect("the command starts");
    let call = call.recv_timeout(WATCHDOG).expect("it asks");
    world.stop();
    is_error(&outcome(child), 5, "supervisor");
    drop(call);
}

fn queue(name: &str) -> QueueStatus {
    QueueStatus {
        queue: name.to_owned(),
        capacity: Some(5),
        len: 3,
        in_flight: 2,
        closed: false,
        puts: 12,
        gets: 9,
        redelivered: 1,
        dead: 0,
    }
}

#[test]
fn queues_can_be_listed_measured_and_closed() {
    let world = World::of(|call| match call.request {
        Request::Queues => {
            let results = QueueStatus { capacity: None, len: 0, closed: true, ..queue("results") };
            call.reply.ok(&[queue("jobs"), results]);
        }
        Request::QueueClose { queue } if queue == "jobs" => call.reply.ok(&()),
        _ => call.reply.refuse(ApiError::new(ErrorCode::Failed, "something else")),
    });
    let expected = "\
QUEUE    CAPACITY  LEN  IN-FLIGHT  CLOSED  PUTS  GETS  REDELIVERED  DEAD
jobs            5    3          2  no        12     9            1     0
results         -    0          2  yes       12     9            1     0
";
    assert_eq!(world.run(&["queue", "ls"]).out, expected);
    let ends: &[(&[&str], i32, &str)] = &[
        (&["queue", "len", "jobs"], 0, "3\n"),
        (&["queue", "len", "jobs", "--json"], 0, "{\"queue\":\"jobs\",\"len\":3}\n"),
        (&["queue", "empty", "jobs"], 1, ""),
        (&["queue", "empty", "results"], 0, ""),
        (&["queue", "close", "jobs"], 0, ""),
    ];
    for (arguments, code, out) in ends {
        let outcome = world.run(arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(*code), *out), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let (asked, call) = channel();
    let asked = Mutex::new(asked);
    let world = World::of(move |call| asked.lock().expect("no panic").send(call).expect("the test waits"));
    let mut child = world.command(&["status"]).spawn().expect("the command starts");
    let call = call.recv_timeout(WATCHDOG).expect("it asks");
    drop(child.stdout.take());
    call.reply.ok(&status());
    let outcome = outcome(child);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let world = World::of(|call| call.reply.ok(&status()));
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: there is no /dev/full");
        return;
    };
    let child = world.command(&["status"]).stdout(Stdio::from(full)).spawn().expect("the command starts");
    is_error(&outcome(child), 1, "the output cannot be written");
}

#[test]
fn watch_shows_changes_until_the_supervisor_goes_away() {
    let round = Mutex::new(0);
    let mut world = World::of(move |call| {
        let mut round = round.lock().expect("no panic");
        *round += 1;
        let mut status = status();
        // Time passes always; something else changes once.
        status.workers[1].uptime_s = Some(f64::from(*round));
        if *round >= 3 {
            status.workers[0].state = "running".to_owned();
        }
        call.reply.ok(&status);
    });
    let mut child = world.command(&["status", "--watch", "--json"]).spawn().expect("the command starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Status { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next().workers[0].state, "failed");
    assert_eq!(next().workers[0].state, "running");
    world.stop();
    let outcome = outcome(child);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
}

#[test]
fn watch_begins_a_stream_of_changes_anew_where_only_that_was_cut() {
    let streams = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&streams);
    let mut world = World::of(move |call| match call.request {
        // No line of events, and its end.
        Request::Events { .. } => {
            asked.fetch_add(1, Ordering::SeqCst);
            call.reply.ok(&serde_json::json!({}));
        }
        _ => {
            let mut status = status();
            if asked.load(Ordering::SeqCst) >= 3 {
                status.workers[0].state = "running".to_owned();
            }
            call.reply.ok(&status);
        }
    });
    let mut child = world.command(&["status", "--watch", "--json"]).spawn().expect("the command starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Status { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next().workers[0].state, "failed");
    assert_eq!(next().workers[0].state, "running", "after the third stream");
    world.stop();
    let outcome = outcome(child);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
}
