//! What the command answers: its JSON, its exit codes, and what it refuses.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::process::Stdio;
use tests::{Run, Said, Sandbox, lives, until, until_gone};

/// A run of one worker that lives for ever, with two instances, and a queue.
pub fn pair(sandbox: &Sandbox) -> Run {
    let run = sandbox.run(&json!({ "name": "r", "queues": { "q": { "capacity": 2 } }, "workers": {
        "w": { "command": ["sleep", "1000"], "instances": 2, "backoff": { "initial": 0 } } } }));
    until("both run", || run.status().workers.iter().all(|row| row.state == "running").then_some(()));
    run
}

pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn status_as_json_has_exactly_its_keys() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let status = sandbox.supervisor(&["status", "--json"]).ends_with(0).json();
    assert_eq!(keys(&status), ["name", "pid", "config", "workers"]);
    assert_eq!((&status["name"], &status["pid"]), (&json!("r"), &json!(run.pid())));
    assert_eq!(status["config"], sandbox.path().join("r.json").to_str().unwrap());
    let rows = status["workers"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (instance, row) in rows.iter().enumerate() {
        let expected = [
            "worker", "instance", "launch", "state", "pid", "ppid", "uptime_s", "restarts", "exit", "policy",
            "why",
        ];
        assert_eq!(keys(row), expected);
        assert_eq!(
            (&row["worker"], &row["instance"], &row["launch"]),
            (&json!("w"), &json!(instance), &json!(1))
        );
        assert_eq!((&row["state"], &row["ppid"]), (&json!("running"), &json!(run.pid())));
        assert!(lives(row["pid"].as_i64().unwrap() as i32) && row["uptime_s"].as_f64().unwrap() >= 0.0);
        assert_eq!(
            (&row["restarts"], &row["exit"], &row["policy"]),
            (&json!(0), &Value::Null, &json!("wait"))
        );
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn status_tells_how_a_worker_ended() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "code": { "command": "exit 3", "restart": "never" },
        "signal": { "command": "kill -9 $$", "restart": "never" },
        "fine": { "command": ["true"], "restart": "never" },
        "other": { "command": ["sleep", "1000"] } } }));
    run.until_state("code", "failed");
    run.until_state("signal", "failed");
    run.until_state("fine", "done");
    let rows = sandbox.supervisor(&["status", "code", "signal", "fine", "--json"]).ends_with(0).json();
    let rows = rows["workers"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["exit"], json!({ "code": 3 }));
    assert_eq!(rows[1]["exit"], json!({ "signal": 9 }));
    assert_eq!(rows[2]["exit"], json!({ "code": 0 }));
    for row in rows {
        assert_eq!((&row["pid"], &row["ppid"], &row["uptime_s"]), (&Value::Null, &Value::Null, &Value::Null));
    }
    assert!(rows[0]["why"].as_str().unwrap().contains('3'));
    run.stop();
}

#[test]
fn ps_as_json_has_exactly_its_keys_and_the_supervisor_first() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": "sleep 1000 & wait" } } }));
    let rows = until("both are there", || {
        let rows = sandbox.supervisor(&["ps", "--json"]).ends_with(0).json();
        (rows[2]["command"] == "sleep 1000").then_some(rows)
    });
    for row in rows.as_array().unwrap() {
        let named = ["pid", "ppid", "worker", "instance", "launch", "depth", "command"];
        let more = ["state", "age_s", "cpu_s", "memory_bytes", "threads"];
        assert_eq!(keys(row), [&named[..], &more].concat());
    }
    assert_eq!(
        (&rows[0]["pid"], &rows[0]["worker"], &rows[0]["depth"]),
        (&json!(run.pid()), &Value::Null, &json!(0))
    );
    assert_eq!((&rows[0]["instance"], &rows[0]["launch"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&rows[1]["ppid"], &rows[1]["worker"], &rows[1]["depth"]),
        (&rows[0]["pid"], &json!("w"), &json!(1))
    );
    assert_eq!((&rows[2]["ppid"], &rows[2]["depth"]), (&rows[1]["pid"], &json!(2)));
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(run.stop(), 0);
}

#[test]
fn queue_ls_as_json_has_exactly_its_keys() {
    let sandbox = Sandbox::new();
    let mut run = sandbox
        .run(&json!({ "name": "r", "queues": { "bounded": { "capacity": 2 }, "unbounded": {} },
        "workers": { "w": { "command": ["sleep", "1000"] } } }));
    sandbox.supervisor(&["queue", "put", "bounded", "one"]).ends_with(0);
    let rows = sandbox.supervisor(&["queue", "ls", "--json"]).ends_with(0).json();
    let expected = json!({ "queue": "bounded", "capacity": 2, "len": 1, "in_flight": 0, "closed": false, "puts": 1, "gets": 0,
                "redelivered": 0, "dead": 0 });
    assert_eq!(rows[0], expected);
    assert_eq!(keys(&rows[0]), keys(&expected));
    assert_eq!((&rows[1]["queue"], &rows[1]["capacity"]), (&json!("unbounded"), &Value::Null));
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_tables_for_people_show_the_same() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let status = sandbox.supervisor(&["status"]).ends_with(0);
    assert_eq!(status.out.lines().count(), 3);
    assert!(
        status.out.contains("w:0") && status.out.contains("w:1") && status.out.contains("running"),
        "{}",
        status.out
    );
    assert!(!status.out.contains('\u{1b}'), "colour where there is no terminal");
    let ps = sandbox.supervisor(&["ps"]).ends_with(0);
    for word in ["PID", "PPID", "sleep 1000", &run.pid().to_string()] {
        assert!(ps.out.contains(word), "{word} is missing: {}", ps.out);
    }
    assert_eq!(status.err.clone() + &ps.err, "");
    assert_eq!(run.stop(), 0);
}

#[test]
fn stop_start_and_restart_wait_until_it_is_so() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let before = run.leader("w", 0);
    sandbox.supervisor(&["stop", "w:0"]).ends_with(0);
    assert!(!lives(before));
    assert_eq!(run.instance("w", 0).state, "stopped");
    assert_eq!(run.instance("w", 1).state, "running");
    let said = sandbox.supervisor(&["start", "w:0", "--json"]).ends_with(0).json();
    assert_eq!(
        (&said["instances"][0]["state"], &said["instances"][0]["launch"]),
        (&json!("running"), &json!(2))
    );
    let second = run.leader("w", 0);
    sandbox.supervisor(&["restart", "w"]).ends_with(0);
    assert!(!lives(second));
    assert_eq!((run.instance("w", 0).launch, run.instance("w", 1).launch), (Some(3), Some(2)));
    assert!(run.status().workers.iter().all(|row| row.state == "running"));
    // What is so already is no failure.
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    run.stop();
}

#[test]
fn no_wait_answers_at_once() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
        "command": "trap '' TERM; echo $$ > pid; while [ ! -e end ]; do sleep 0.02; done", "stop": { "grace": "10m" } } } }));
    let pid = sandbox.until_pid("pid");
    sandbox.supervisor(&["stop", "w", "--no-wait"]).ends_with(0);
    assert!(lives(pid));
    run.until_state("w", "stopping");
    sandbox.write("end", "");
    run.until_state("w", "stopped");
    run.stop();
}

#[test]
fn a_start_that_fails_ends_with_1_and_says_why() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "bad": { "command": ["./not-there"], "restart": "never", "autostart": false },
        "other": { "command": ["sleep", "1000"] } } }));
    let said = sandbox.supervisor(&["start", "bad"]).ends_with(1);
    assert!(said.err.contains("not-there"), "{}", said.err);
    run.stop();
}

#[test]
fn concurrent_stops_starts_and_restarts_leave_one_copy() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": {
        "command": ["sleep", "1000"], "backoff": { "initial": 0 } }, "other": { "command": ["sleep", "1000"] } } }));
    run.until_state("w", "running");
    std::thread::scope(|scope| {
        for verb in ["restart", "stop", "restart", "start", "restart", "start"] {
            let sandbox = &sandbox;
            // Somebody's wish may be overtaken by another's; nobody hangs.
            scope.spawn(move || sandbox.supervisor(&[verb, "w", "--no-wait"]).ends_with(0));
        }
    });
    sandbox.supervisor(&["start", "w"]).ends_with(0);
    let pids: Vec<i32> =
        run.ps().into_iter().filter(|row| row.worker.as_deref() == Some("w")).map(|row| row.pid).collect();
    assert_eq!(pids, [run.leader("w", 0)]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn wait_ends_with_the_exit_code_of_what_it_waited_for() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "five": { "command": "while [ ! -e go ]; do sleep 0.02; done; exit 5", "restart": "never" },
        "fine": { "command": "while [ ! -e go ]; do sleep 0.02; done", "restart": "never" },
        "hurt": { "command": "while [ ! -e go ]; do sleep 0.02; done; kill -9 $$", "restart": "never" },
        "other": { "command": ["sleep", "1000"] } } }));
    let pid = run.until_state("five", "running").pid.unwrap();
    let waits: Vec<_> = [("five", 5), ("fine:0", 0), ("hurt", 137)]
        .map(|(whom, code)| (whom.to_owned(), code))
        .into_iter()
        .chain([(pid.to_string(), 5)])
        .map(|(whom, code)| {
            let mut command = sandbox.command("supervisor");
            command.args(["wait", &whom]).stdout(Stdio::piped()).stderr(Stdio::piped());
            (command.spawn().unwrap(), code)
        })
        .collect();
    sandbox.supervisor(&["wait", "five", "--timeout", "50ms"]).ends_with(7);
    sandbox.write("go", "");
    for (child, code) in waits {
        Said::at_the_end_of(child).ends_with(code);
    }
    sandbox.supervisor(&["wait", "five"]).ends_with(5);
    sandbox.supervisor(&["wait", "nobody"]).ends_with(4);
    run.stop();
}

#[test]
fn shutdown_answers_when_the_supervisor_is_gone() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let pids: Vec<i32> = run.status().workers.iter().map(|row| row.pid.unwrap()).collect();
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    assert!(!pids.iter().any(|pid| lives(*pid)));
    assert!(!lives(run.pid()));
    assert_eq!(run.exit_code(), 0);
    assert!(!run.socket().exists());
    let said = sandbox.supervisor(&["shutdown"]).ends_with(5);
    assert!(said.err.contains("hint"), "{}", said.err);
}

#[test]
fn shutdown_now_waits_for_no_grace() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let run = sandbox
        .run(&json!({ "name": "r", "workers": { "w": { "command": script, "stop": { "grace": "10m" } } } }));
    let pid = sandbox.until_pid("pid");
    sandbox.supervisor(&["shutdown", "--now"]).ends_with(0);
    assert!(!lives(pid) && !lives(run.pid()));
}

#[test]
fn what_does_not_exist_ends_with_4_and_a_hint() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    for verb in [
        &["status", "ww"][..],
        &["stop", "ww"],
        &["start", "ww"],
        &["restart", "ww"],
        &["wait", "ww"],
        &["kill", "ww"],
        &["stop", "w:7"],
        &["queue", "put", "qq", "x"],
        &["queue", "get", "qq"],
        &["queue", "len", "qq"],
        &["queue", "close", "qq"],
    ] {
        let said = sandbox.supervisor(verb).ends_with(4);
        assert!(said.err.contains("hint: "), "{verb:?}: {}", said.err);
        let machine = sandbox.supervisor(&[verb, &["--json"]].concat()).ends_with(4);
        let error: Value =
            serde_json::from_str(&machine.err).unwrap_or_else(|_| panic!("{verb:?}: {}", machine.err));
        assert_eq!(keys(&error["error"]), ["code", "message", "hint"]);
        assert_eq!(error["error"]["code"], "not_found");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn without_a_supervisor_every_verb_ends_with_5_and_a_hint() {
    let sandbox = Sandbox::new();
    for verb in [
        &["status"][..],
        &["ps"],
        &["stop", "w"],
        &["start", "w"],
        &["restart", "w"],
        &["kill", "w"],
        &["wait", "w"],
        &["shutdown"],
        &["queue", "ls"],
        &["queue", "put", "q", "x"],
        &["queue", "get", "q"],
        &["--name", "gone", "status"],
    ] {
        let said = sandbox.supervisor(verb).ends_with(5);
        assert!(said.err.contains("hint"), "{verb:?}: {}", said.err);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": ["sleep", "1000"], "instances": 60 } } }));
    for verb in ["ps", "status", "ps --json", "schema", "man", "--help", "queue ls", "completions bash"] {
        let mut shell = sandbox.shell();
        shell.arg(format!("{{ supervisor {verb}; echo $? > code; }} | head -c 1 > /dev/null"));
        let said = Said::of(&mut shell).ends_with(0);
        assert!(!said.err.contains("panic"), "{verb}: {}", said.err);
        until("the code is written", || sandbox.read("code").ends_with('\n').then_some(()));
        assert_ne!(sandbox.read("code"), "101\n", "{verb}");
        sandbox.write("code", "");
    }
    let mut command = sandbox.shell();
    Said::of(command.arg("supervisor ps >&-; supervisor status >/dev/full; true")).ends_with(0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn detach_returns_once_all_is_ready_and_the_run_goes_on() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": "sleep 0.2; exec probe notify READY=1", "ready": "notify" } } });
    sandbox.write("r.json", config.to_string());
    let said = sandbox.supervisor(&["run", "r.json", "--detach"]).ends_with(0);
    let (name, pid) = said.out.trim().split_once(' ').expect("NAME PID");
    assert_eq!(name, "r");
    let status = sandbox.supervisor(&["status", "--json"]).ends_with(0).json();
    assert_eq!(status["pid"], pid.parse::<i32>().unwrap());
    assert_eq!(status["workers"][0]["state"], "running");
    sandbox.supervisor(&["run", "r.json", "--detach"]).ends_with(1);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    until_gone(pid.parse().unwrap());
}

#[test]
fn detach_says_what_is_wrong_before_it_returns() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.json", "{ \"workers\": { \"w\": {} } }");
    let said = sandbox.supervisor(&["run", "bad.json", "--detach"]).ends_with(3);
    assert!(said.err.contains("command"), "{}", said.err);
    let config = json!({ "name": "r", "workers": {
        "bad": { "command": ["./not-there"], "restart": "never" }, "fine": { "command": ["sleep", "1000"] } } });
    sandbox.write("r.json", config.to_string());
    sandbox.supervisor(&["run", "r.json", "--detach"]).ends_with(1);
    let said = sandbox.supervisor(&["status", "bad"]).ends_with(0);
    assert!(said.out.contains("failed"), "{}", said.out);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn inside_a_worker_the_command_means_its_own_run() {
    let sandbox = Sandbox::new();
    let mut other = Run::start(
        &sandbox,
        &json!({ "name": "other", "workers": { "o": { "command": ["sleep", "1000"] } } }),
        &[],
    );
    let config = json!({ "name": "mine", "workers": { "w": { "command": "supervisor status --json > status", "restart": "never" } } });
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    let status: Value = serde_json::from_str(&sandbox.read("status")).unwrap();
    assert_eq!(status["name"], "mine");
    assert_eq!(other.stop(), 0);
}

#[test]
fn signals_that_mean_nothing_end_nothing() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGCONT] {
        run.signal(signal);
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running" && row.restarts == 0));
    assert_eq!(run.stop(), 0);
}
