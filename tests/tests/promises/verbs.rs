//! What the command answers: its JSON, its exit codes, and what it refuses.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, is_root, lives, skipped, stays, until, until_gone};

/// A run of one worker that lives for ever, with two instances, and a queue.
fn pair(sandbox: &Sandbox) -> Run {
    let run = sandbox.run(&json!({ "name": "r", "queues": { "q": { "capacity": 2 } }, "workers": {
        "w": { "command": ["sleep", "1000"], "instances": 2, "backoff": { "initial": 0 } } } }));
    until("both run", || run.status().workers.iter().all(|row| row.state == "running").then_some(()));
    run
}

fn keys(value: &Value) -> Vec<&str> {
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
fn kill_sends_any_signal_by_name_number_or_pid() {
    let sandbox = Sandbox::new();
    let script = "for s in HUP USR1 USR2; do trap \"echo $s >> got\" $s; done; echo $$ > pid; while :; do sleep 0.02; done";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script } } }));
    let pid = sandbox.until_pid("pid").to_string();
    for (whom, signal, got) in
        [("w", "HUP", "HUP\n"), ("w:0", "10", "HUP\nUSR1\n"), (&pid, "SIGUSR2", "HUP\nUSR1\nUSR2\n")]
    {
        sandbox.supervisor(&["kill", whom, "--signal", signal]).ends_with(0);
        until("the signal is there", || (sandbox.read("got") == got).then_some(()));
    }
    let said = sandbox.supervisor(&["kill", "w", "--signal", "HUP", "--json"]).ends_with(0).json();
    assert_eq!((&said[0]["pids"], &said[0]["signal"]), (&json!([pid.parse::<i32>().unwrap()]), &json!(1)));
    sandbox.supervisor(&["kill", "w", "--signal", "NOPE"]).ends_with(2);
    sandbox.supervisor(&["kill", "w", "--signal", "65"]).ends_with(2);
    assert_eq!(run.stop(), 0);
}

#[test]
fn kill_with_tree_reaches_every_descendant_also_one_that_escaped() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! > near; (setsid sh -c 'echo $$ > far; exec sleep 1000' &); \
                  while :; do sleep 0.02; done";
    let mut run =
        sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script, "restart": "never" } } }));
    let (near, far) = (sandbox.until_pid("near"), sandbox.until_pid("far"));
    let said = sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL", "--json"]).ends_with(0).json();
    let pids: Vec<i64> =
        said[0]["pids"].as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect();
    assert!(pids.contains(&i64::from(near)) && pids.contains(&i64::from(far)), "{pids:?}");
    until_gone(near);
    until_gone(far);
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn nobody_of_a_killed_tree_lives_to_see_another_one_die() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(
        &json!({ "name": "r", "workers": { "w": { "command": "sleep 1000 & wait", "restart": "never" } } }),
    );
    until("both are there", || (run.ps().len() == 3).then_some(()));
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL"]).ends_with(0);
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn kill_with_a_grace_kills_after_it_and_answers_when_it_is_gone() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let mut run =
        sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script, "restart": "never" } } }));
    let pid = sandbox.until_pid("pid");
    let start = Instant::now();
    sandbox.supervisor(&["kill", "w", "--grace", "300ms"]).ends_with(0);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(!lives(pid));
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn kill_refuses_what_is_not_of_the_run() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = stranger.id().to_string();
    let init = sandbox.supervisor(&["kill", "1"]).ends_with(9);
    assert!(!init.err.is_empty());
    sandbox.supervisor(&["kill", "1", "--foreign"]).ends_with(9);
    sandbox.supervisor(&["kill", &run.pid().to_string()]).ends_with(9);
    sandbox.supervisor(&["kill", &run.pid().to_string(), "--foreign"]).ends_with(9);
    let refused = sandbox.supervisor(&["kill", &pid]).ends_with(9);
    assert!(refused.err.contains("--foreign"), "{}", refused.err);
    sandbox.supervisor(&["kill", &std::process::id().to_string(), "--signal", "KILL"]).ends_with(9);
    stays("the stranger lives", Duration::from_millis(50), || lives(stranger.id() as i32));
    sandbox.supervisor(&["kill", &pid, "--foreign"]).ends_with(0);
    let status = stranger.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    sandbox.supervisor(&["kill", &pid]).ends_with(4);
    assert_eq!(run.stop(), 0);
}

#[test]
fn kill_of_what_does_not_exist_ends_with_4_or_2() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let beyond = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    sandbox.supervisor(&["kill", beyond.trim()]).ends_with(4);
    sandbox.supervisor(&["kill", "2147483647"]).ends_with(4);
    sandbox.supervisor(&["kill", "nobody"]).ends_with(4);
    sandbox.supervisor(&["kill", "w:2"]).ends_with(4);
    for wrong in ["0", "-1", "-15"] {
        sandbox.supervisor(&["kill", "--", wrong]).ends_with(2);
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running" && row.restarts == 0));
    assert_eq!(run.stop(), 0);
}

#[test]
fn kill_can_end_a_grandchild_by_its_pid() {
    let sandbox = Sandbox::new();
    let script = "(setsid sh -c 'echo $$ > far; exec sleep 1000' &); exec sleep 1000";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": { "command": script } } }));
    let far = sandbox.until_pid("far");
    sandbox.supervisor(&["kill", &far.to_string()]).ends_with(0);
    until_gone(far);
    assert_eq!(run.instance("w", 0).restarts, 0);
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

/// Sends this to the run's socket, and says everything that comes back until the other side hangs up.
fn raw(run: &Run, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(run.socket()).unwrap();
    stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_socket_speaks_http_as_curl_does() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let get = |path: &str| {
        let answer = raw(
            &run,
            format!("GET {path} HTTP/1.1\r\nHost: supervisor\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let code: u32 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, serde_json::from_str::<Value>(body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    let (code, status) = get("/v1/status");
    assert_eq!((code, &status["name"]), (200, &json!("r")));
    let (code, one) = get("/v1/status?worker=w:1");
    assert_eq!((code, one["workers"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(get("/v1/ps").1[0]["pid"], run.pid());
    assert_eq!(get("/v1/queues").1[0]["queue"], "q");
    let (code, description) = get("/v1/openapi.json");
    assert_eq!(code, 200);
    for path in [
        "/v1/status",
        "/v1/ps",
        "/v1/start",
        "/v1/stop",
        "/v1/kill",
        "/v1/wait",
        "/v1/shutdown",
        "/v1/queues",
    ] {
        assert!(description["paths"][path].is_object(), "{path} is not described");
    }
    let (code, error) = get("/v1/nothing");
    assert_eq!((code, keys(&error["error"])), (404, vec!["code", "message", "hint"]));
    let (code, error) = get("/v1/status?worker=nobody");
    assert_eq!((code, &error["error"]["code"]), (404, &json!("not_found")));
    let body = r#"{"workers": ["w:0"]}"#;
    let stop = format!(
        "POST /v1/stop HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(raw(&run, stop.as_bytes()).starts_with("HTTP/1.1 200"), "{}", raw(&run, stop.as_bytes()));
    run.until_state("w", "stopped");
    run.stop();
}

#[test]
fn curl_reaches_the_socket() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let mut curl = Command::new("curl");
    if curl.arg("--version").output().is_ok() {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--unix-socket"]).arg(run.socket()).arg("http://supervisor/v1/status");
        assert_eq!(Said::of(&mut curl).ends_with(0).json()["name"], "r");
    } else {
        skipped("no curl on this machine");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn nonsense_at_the_socket_disturbs_nobody() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let huge = "POST /v1/stop HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n";
    let deep = format!(
        "POST /v1/stop HTTP/1.1\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n{}",
        "[".repeat(200_000)
    );
    let bad_type =
        "POST /v1/stop HTTP/1.1\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"workers\": 123}";
    let requests: [&[u8]; 8] = [
        b"\0\xff\xfe nonsense\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        long.as_bytes(),
        huge.as_bytes(),
        deep.as_bytes(),
        bad_type.as_bytes(),
        b"DELETE /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n",
    ];
    for request in requests {
        let mut stream = UnixStream::connect(run.socket()).unwrap();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running" && row.restarts == 0));
    assert_eq!(run.stop(), 0);
}

#[test]
fn many_who_connect_and_say_nothing_keep_nobody_out() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let silent: Vec<UnixStream> = (0..60).filter_map(|_| UnixStream::connect(run.socket()).ok()).collect();
    sandbox.supervisor(&["status"]).ends_with(0);
    drop(silent);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_socket_is_0600_in_a_folder_of_0700() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(run.socket()), 0o600);
    assert_eq!(mode(run.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&sandbox.runtime()), 0o700);
    assert_eq!(run.stop(), 0);
}

#[test]
fn another_user_is_not_heard() {
    let sandbox = Sandbox::new();
    if !is_root() {
        return skipped("only root can become another user");
    }
    let mut run = pair(&sandbox);
    // Even where somebody opened the doors.
    for path in [sandbox.path(), &sandbox.runtime(), run.socket().parent().unwrap(), run.socket()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut other = Command::new("setpriv");
    other.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "curl",
        "-sS",
        "-m",
        "20",
        "--unix-socket",
    ]);
    other.arg(run.socket()).args(["-X", "POST", "-d", "{}", "http://supervisor/v1/shutdown"]);
    match other.output() {
        Ok(output) => assert!(!String::from_utf8_lossy(&output.stdout).contains("over"), "{output:?}"),
        Err(_) => skipped("no setpriv or curl on this machine"),
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running"));
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
