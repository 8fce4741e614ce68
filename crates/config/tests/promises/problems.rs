//! How problems are told: all at once, in order, in words.

use config::Problem;

use crate::world::{World, beside_workers, queue, worker};

#[test]
fn ten_mistakes_are_ten_problems_told_at_once() {
    let text = r#"{
  "name": "word count",
  "queues": { "jobs": { "capacity": -1, "dead_leter": "jobs" } },
  "workers": {
    "reader": { "command": ["cat", 5], "restart": "allways" },
    "counter": {
      "command": "count",
      "stop": { "grace": "100m", "signal": "TREM" },
      "after": { "reeder": "ready" },
      "queues": { "get": ["job"] },
      "watchdog": "0s"
    }
  }
}
"#;
    let told = r#"supervisor: config.json has 10 problems
  name (2:11): "word count" is not a name
    hint: names hold letters (a-z), digits, "-", "_" and "."
  queues.jobs.capacity (3:37): must be at least 1, found -1
    hint: at most so many messages; a put waits while the queue is full
  queues.jobs.dead_leter (3:41): unknown key "dead_leter"
    hint: did you mean "dead_letter"?
  workers.reader.command[1] (5:36): expected a string, found a number
    hint: write it as "5"
  workers.reader.restart (5:51): unknown value "allways"
    hint: did you mean "always"?
  workers.counter.stop.grace (8:26): must be at most 10m, found 100m
    hint: how long it has before it is killed; the default is "10s"
  workers.counter.stop.signal (8:44): unknown signal "TREM"
    hint: did you mean "TERM"?
  workers.counter.after.reeder (9:18): there is no worker "reeder"
    hint: did you mean "reader"?
  workers.counter.queues.get[0] (10:27): there is no queue "job"
    hint: did you mean "jobs"?
  workers.counter.watchdog (11:19): must be more than 0, found 0s
    hint: once it is ready, it must give a sign of life at least this often: WATCHDOG=1 to $NOTIFY_SOCKET, or a heartbeat through the SDK"#;
    assert_eq!(World::default().read(text).unwrap_err().to_string(), told);
}

#[test]
fn a_problem_is_written_for_machines_with_exactly_five_keys() {
    let problems = World::default().problems(&worker(r#""nice": 20"#));
    assert_eq!(
        serde_json::to_string(&problems).expect("a problem is plain data"),
        r#"[{"path":"workers.reader.nice","line":4,"column":15,"message":"must be at most 19, found 20","hint":"its niceness: from -20 (most urgent) to 19; the default is 0"}]"#
    );
}

#[test]
fn text_of_the_file_cannot_reach_the_terminal_as_more_than_text() {
    let problems = World::default().problems(&worker(r#""restart": "\u001b[31m\n""#));
    assert_eq!(problems[0].message, r#"unknown value "\u{1b}[31m\n""#);
    let problems = World::default().problems(&worker(&format!(r#""restart": "{}""#, "x".repeat(1000))));
    assert!(problems[0].message.chars().count() < 100, "{}", problems[0].message);
    let problems = World::default().problems(&beside_workers(&format!("\"\\u001b{}\": 1", "k".repeat(1000))));
    assert!(
        problems[0].path.chars().count() < 100 && !problems[0].path.contains('\u{1b}'),
        "{:?}",
        problems[0]
    );
}

#[test]
fn odd_keys_stand_in_quotes_in_a_path() {
    let paths: Vec<String> = World::default()
        .problems(r#"{"workers": {"a.b": {"command": "x", "a b": 1, "": 1}}}"#)
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    assert_eq!(paths, [r#"workers."a.b"."a b""#, r#"workers."a.b"."""#]);
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_that_is_known() {
    let cases: &[(&str, &str, &str, Option<&str>)] = &[
        (r#"→"instance": 2"#, "instance", "instance", Some(r#"did you mean "instances"?"#)),
        (r#"→"env-file": "x""#, "env-file", "env-file", Some(r#"did you mean "env_file"?"#)),
        (r#"→"Restart": "never""#, "Restart", "Restart", Some(r#"did you mean "restart"?"#)),
        (r#"→"depends_on": {}"#, "depends_on", "depends_on", Some(r#"did you mean "after"?"#)),
        (r#"→"xyzzy": 1"#, "xyzzy", "xyzzy", None),
        (
            r#""stop": { →"secret": 1 }"#,
            "stop.secret",
            "secret",
            Some(r#"keys here: "signal", "grace", "to""#),
        ),
        (r#""stop": { →"timeout": 1 }"#, "stop.timeout", "timeout", Some(r#"did you mean "grace"?"#)),
        (r#""queues": { →"gets": [] }"#, "queues.gets", "gets", Some(r#"did you mean "get"?"#)),
    ];
    for (keys, path, key, hint) in cases {
        let path = format!("workers.reader.{path}");
        World::default().refuses(&worker(keys), &path, &format!("unknown key \"{key}\""), *hint);
    }
    World::default().refuses(
        &queue(r#"→"maxsize": 5"#),
        "queues.jobs.maxsize",
        "unknown key \"maxsize\"",
        Some(r#"did you mean "capacity"?"#),
    );
    World::default().refuses(
        &beside_workers(r#"→"stratgy": 1"#),
        "stratgy",
        "unknown key \"stratgy\"",
        Some(r#"did you mean "strategy"?"#),
    );
}

#[test]
fn a_worker_without_a_command_is_told_so() {
    World::default().refuses(
        r#"{"workers": {"a": →{"nice": 1}}}"#,
        "workers.a",
        "the key \"command\" is missing",
        None,
    );
}

#[test]
fn a_misspelt_command_is_not_missing_too() {
    let hint = Some(r#"did you mean "command"?"#);
    let text = r#"{"workers": {"a": {→"comand": "x"}}}"#;
    World::default().refuses(text, "workers.a.comand", "unknown key \"comand\"", hint);
}

#[test]
fn a_config_without_workers_has_nothing_to_run() {
    World::default().refuses("→{}", "", "the key \"workers\" is missing", None);
    World::default().refuses(
        r#"{"workers": →{}}"#,
        "workers",
        "nothing to run: there are no workers",
        Some(r#"add one: "hello": {"command": ["echo", "hello"]}"#),
    );
}

#[test]
fn a_way_to_be_ready_that_cannot_work_is_refused() {
    World::default().refuses(
        &worker(r#""ready": →{ "log": "up" }, "stdout": "inherit", "stderr": "err.log""#),
        "workers.reader.ready.log",
        "neither its stdout nor its stderr goes to \"log\", where lines are seen",
        Some("set \"stdout\": \"log\" (and \"log\": {\"file\": …} to have it in a file too)"),
    );
    World::default().refuses(
        &worker(r#""ready": { "http": →"https://h/" }"#),
        "workers.reader.ready.http",
        "expected a URL like \"http://localhost:8080/health\", found \"https://h/\"",
        Some("https is not offered; probe a port without TLS, or use {\"command\": [\"curl\", \"-fsS\", …]}"),
    );
    World::default().read(worker(r#""ready": { "log": "up" }, "stdout": "null""#)).expect("stderr is seen");
}

#[test]
fn a_health_probe_is_exactly_one_of_its_kinds() {
    for keys in ["{ }", r#"{ "http": "http://h", "tcp": "h:1" }"#, r#"{ "every": "1s" }"#] {
        World::default().refuses(
            &worker(&format!(r#""health": →{keys}"#)),
            "workers.reader.health",
            r#"expected exactly one of the keys "http", "tcp", "command""#,
            None,
        );
    }
}

#[test]
fn a_probe_that_the_supervisor_itself_would_answer_is_refused() {
    let told = "the supervisor listens there for \"reader\": it always takes connections";
    for (listened, probed) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("[::]", "[::1]")] {
        let listen = format!(r#""listen": ["udp:0.0.0.0:81", "tcp:{listened}:80"]"#);
        World::default().refuses(
            &worker(&format!(r#"{listen}, "ready": →{{ "tcp": "{probed}:80" }}"#)),
            "workers.reader.ready.tcp",
            told,
            Some("\"notify\", {\"log\": …} or {\"http\": …} tell when the worker itself is there"),
        );
        World::default().refuses(
            &worker(&format!(r#"{listen}, "health": {{ "tcp": →"{probed}:80" }}"#)),
            "workers.reader.health.tcp",
            told,
            Some("\"http\" or \"command\" find out whether the worker itself answers"),
        );
        let fine = format!(
            r#"{listen}, "ready": {{ "http": "http://{probed}:80/" }}, "health": {{ "tcp": "{probed}:81" }}"#
        );
        World::default().read(worker(&fine)).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn a_schedule_that_cannot_work_is_refused() {
    World::default().refuses(
        &worker(r#""schedule": →{ "every": "1s" }, "restart": "always""#),
        "workers.reader.schedule",
        "no run would ever be over with \"restart\": \"always\"",
        Some("\"on-failure\" starts again what fails, \"never\" leaves that to the next time"),
    );
    World::default().refuses(
        &worker(r#""schedule": { "cron": →"0 0 30 2 *" }"#),
        "workers.reader.schedule.cron",
        "\"0 0 30 2 *\" never comes",
        Some("none of its months has such a day"),
    );
    World::default().refuses(
        r#"{"workers": {"a": {"command": "x", "schedule": {"every": 1}}, "b": {"command": "x", "after": {→"a": "ended"}}}}"#,
        "workers.b.after.a",
        "\"a\" runs by the clock again and again: it never ends",
        None,
    );
}

#[test]
fn problems_come_in_the_order_of_the_file() {
    let problems = World::default().problems(
        "{\"workers\": {\"a\": {\"after\": {\"x\": \"ready\"}, \"nice\": 99,\n\"command\": []}}, \"nam\": 1}",
    );
    let places: Vec<(usize, usize)> =
        problems.iter().map(|Problem { line, column, .. }| (*line, *column)).collect();
    assert_eq!(places.len(), 4);
    assert!(places.is_sorted(), "{places:?}");
}
