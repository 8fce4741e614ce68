//! What a config without problems means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::world::{World, beside_workers, queue, worker};
use config::{
    Command, LimitsPlan, LogFormat, LogPlan, Output, Plan, PrivateTmp, QueuePlan, Ready, Stdin, StopTo,
    TreeBy, WorkerPlan,
};
use supervision::{
    After, Backoff, Family, Intensity, Leftover, Milestone, OnFailed, Policy, Readiness, Restart, Strategy,
    Worker, WorkerId,
};

fn plan(text: &str) -> Plan {
    match World::default().read(text) {
        Ok(plan) => plan,
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

/// The one worker of a config that is well but for these keys.
fn planned(keys: &str) -> WorkerPlan {
    plan(&worker(keys)).workers.remove(0)
}

fn decided(keys: &str) -> Worker {
    plan(&worker(keys)).family.workers.remove(0)
}

/// What every key promises to be when it is left out.
fn worker_of_defaults(name: &str) -> (Worker, WorkerPlan) {
    let core = Worker {
        name: name.to_owned(),
        instances: 1,
        policy: Policy::Wait,
        restart: Restart::OnFailure,
        success_codes: vec![0],
        backoff: Backoff {
            initial: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.1,
            reset_after: Duration::from_secs(10),
        },
        intensity: Intensity { restarts: 5, within: Duration::from_secs(10) },
        essential: false,
        on_failed: OnFailed::Ignore,
        grace: Duration::from_secs(10),
        asks_tree: false,
        after: vec![],
        readiness: Readiness::Start,
        leftover: Leftover::Kill,
        watchdog: None,
        health: None,
        schedule: None,
        min_ready: Duration::from_secs(1),
        start_delay: Duration::ZERO,
        autostart: true,
    };
    let hands = WorkerPlan {
        name: name.to_owned(),
        command: Command::Argv(vec!["cat".to_owned()]),
        args: "[]".to_owned(),
        kwargs: "{}".to_owned(),
        stop_signal: 15,
        reload: None,
        stop_to: StopTo::Main,
        env: vec![],
        clear_env: false,
        cwd: "/srv/app".into(),
        user: None,
        group: None,
        umask: 0o022,
        nice: 0,
        io_priority: None,
        oom_score_adj: None,
        cpus: None,
        no_new_privs: false,
        private_tmp: PrivateTmp::None,
        listen: vec![],
        rolling: false,
        tree: TreeBy::Auto,
        limits: LimitsPlan::default(),
        stdin: Stdin::Null,
        stdout: Output::Log,
        stderr: Output::Log,
        log: LogPlan { file: None, max_size: 50 << 20, keep: 10, format: LogFormat::Text },
        gets: vec![],
        puts: vec![],
        ready: Ready::Start,
        health: None,
        cron: None,
    };
    (core, hands)
}

const UNBOUNDED: QueuePlan = QueuePlan {
    capacity: None,
    max_bytes: None,
    max_message: 16 << 20,
    max_deliveries: None,
    dead_letter: None,
    durable: None,
};

#[test]
fn what_is_left_out_is_what_was_promised() {
    let (core, hands) = worker_of_defaults("reader");
    assert_eq!(
        plan(r#"{"queues": {"jobs": {}}, "workers": {"reader": {"command": ["cat"]}}}"#),
        Plan {
            name: "config".to_owned(),
            family: Family::of(vec![core]),
            queues: vec![("jobs".to_owned(), UNBOUNDED)],
            locks: vec![],
            rlocks: vec![],
            semaphores: vec![],
            events: vec![],
            conditions: vec![],
            barriers: vec![],
            values: vec![],
            arrays: vec![],
            workers: vec![hands],
            omissions: vec![],
        }
    );
}

#[test]
fn locks_and_their_like_are_named_and_numbered() {
    let plan = plan(
        r#"{"locks": ["ledger", "audit"], "semaphores": {"gpu": 2}, "events": ["go"], "conditions": ["news"],
            "barriers": {"line": 3}, "values": {"total": -3}, "rlocks": ["tree"], "arrays": {"counts": 8},
            "workers": {"w": {"command": ["cat"]}}}"#,
    );
    assert_eq!(plan.locks, ["ledger", "audit"]);
    assert_eq!((plan.events, plan.conditions), (vec!["go".to_owned()], vec!["news".to_owned()]));
    assert_eq!(plan.semaphores, [("gpu".to_owned(), 2)]);
    assert_eq!(plan.barriers, [("line".to_owned(), 3)]);
    assert_eq!(plan.values, [("total".to_owned(), -3)]);
    assert_eq!((plan.rlocks, plan.arrays), (vec!["tree".to_owned()], vec![("counts".to_owned(), 8)]));
}

#[test]
fn a_config_that_writes_every_default_out_means_the_same_as_one_that_writes_none() {
    let written = plan(
        r#"{
          "name": "config", "queues": { "jobs": { "capacity": null, "max_message": "16MiB", "durable": false } },
          "strategy": "one_for_one",
          "workers": { "reader": {
            "command": ["cat"], "args": [], "kwargs": {}, "instances": 1, "policy": "wait",
            "restart": "on-failure", "success_codes": [0],
            "backoff": { "initial": "100ms", "factor": 2, "max": "30s", "jitter": 0.1, "reset_after": "10s" },
            "intensity": { "restarts": 5, "within": "10s" }, "on_failed": "ignore", "after": {},
            "ready": "start", "ready_timeout": "30s",
            "stop": { "signal": "TERM", "grace": "10s", "to": "main" },
            "env": {}, "clear_env": false, "cwd": ".", "umask": "022", "nice": 0,
            "stdin": "null", "stdout": "log", "stderr": "log",
            "log": { "max_size": "50MiB", "keep": 10, "format": "text" },
            "queues": { "get": [], "put": [] }, "autostart": true
          } }
        }"#,
    );
    assert_eq!(written, plan(r#"{"queues": {"jobs": {}}, "workers": {"reader": {"command": ["cat"]}}}"#));
}

#[test]
fn the_example_of_the_manual_means_what_it_says() {
    let text = r#"{
      "name": "wordcount",
      "queues": {
        "jobs":    { "capacity": 5 },
        "results": { "max_message": "16MiB", "max_deliveries": 3, "dead_letter": "failed" },
        "failed":  {}
      },
      "strategy": "one_for_one",
      "intensity": { "restarts": 5, "within": "10s" },
      "workers": {
        "db": { "command": "exec postgres -D \"$DATA\"", "ready": "notify" },
        "reader": {
          "command": ["worker-reader", "--to", "jobs", "book.txt"],
          "args": [1, "x"], "kwargs": { "name": "zax", "age": 10 },
          "instances": 1,
          "policy": "wait",
          "restart": "on-failure", "success_codes": [0],
          "backoff": { "initial": "100ms", "factor": 2, "max": "30s", "jitter": 0.1, "reset_after": "10s" },
          "intensity": { "restarts": 5, "within": "10s" },  "on_failed": "ignore",
          "after": { "db": "ready" },
          "ready": "start",
          "ready_timeout": "30s",
          "stop": { "signal": "TERM", "grace": "10s", "to": "main" },
          "env": {}, "env_file": ".env", "clear_env": false, "cwd": ".", "umask": "022", "nice": 0,
          "stdin": "null",
          "stdout": "log", "stderr": "log",
          "log": { "file": "reader.log", "max_size": "50MiB", "keep": 10, "format": "text" },
          "queues": { "get": ["jobs"], "put": ["results"] },
          "autostart": true
        }
      }
    }"#;
    let plan = World::default().file("/srv/app/.env", b"LANG=C\n").read(text).expect("the example is well");

    let (mut db, mut db_hands) = worker_of_defaults("db");
    db.readiness = Readiness::Told { timeout: Duration::from_secs(30) };
    db.min_ready = Duration::ZERO;
    db_hands.command = Command::Shell("exec postgres -D \"$DATA\"".to_owned());
    db_hands.ready = Ready::Notify;
    let (mut reader, mut reader_hands) = worker_of_defaults("reader");
    reader.after = vec![After { worker: WorkerId(0), milestone: Milestone::Ready }];
    let argv = ["worker-reader", "--to", "jobs", "book.txt"];
    reader_hands.command = Command::Argv(argv.map(str::to_owned).to_vec());
    reader_hands.args = r#"[1,"x"]"#.to_owned();
    reader_hands.kwargs = r#"{"name":"zax","age":10}"#.to_owned();
    reader_hands.env = vec![("LANG".to_owned(), "C".to_owned())];
    reader_hands.log.file = Some("/srv/app/reader.log".into());
    reader_hands.gets = vec!["jobs".to_owned()];
    reader_hands.puts = vec!["results".to_owned()];

    assert_eq!(plan.name, "wordcount");
    let intensity = Some(Intensity { restarts: 5, within: Duration::from_secs(10) });
    let strategy = Strategy::OneForOne;
    assert_eq!(plan.family, Family { strategy, intensity, ..Family::of(vec![db, reader]) });
    assert_eq!(plan.workers, [db_hands, reader_hands]);
    let results = QueuePlan { max_deliveries: Some(3), dead_letter: Some("failed".to_owned()), ..UNBOUNDED };
    let jobs = QueuePlan { capacity: Some(5), ..UNBOUNDED };
    let named = |name: &str, queue| (name.to_owned(), queue);
    assert_eq!(plan.queues, [named("jobs", jobs), named("results", results), named("failed", UNBOUNDED)]);
}

#[test]
fn every_word_means_what_it_says() {
    let policy = |word: &str| decided(&format!(r#""policy": "{word}""#)).policy;
    assert_eq!(
        ["wait", "terminate", "daemon"].map(policy),
        [Policy::Wait, Policy::Terminate, Policy::Daemon]
    );
    let restart = |word: &str| decided(&format!(r#""restart": "{word}""#)).restart;
    assert_eq!(
        ["never", "on-failure", "always"].map(restart),
        [Restart::Never, Restart::OnFailure, Restart::Always]
    );
    let on_failed = |word: &str| decided(&format!(r#""on_failed": "{word}""#)).on_failed;
    assert_eq!(["ignore", "stop"].map(on_failed), [OnFailed::Ignore, OnFailed::Stop]);
    let strategy = |word: &str| plan(&beside_workers(&format!(r#""strategy": "{word}""#))).family.strategy;
    assert_eq!(
        ["one_for_one", "one_for_all", "rest_for_one"].map(strategy),
        [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]
    );
    let to = |word: &str| planned(&format!(r#""stop": {{ "to": "{word}" }}"#)).stop_to;
    assert_eq!(["main", "tree"].map(to), [StopTo::Main, StopTo::Tree]);
    let format = |word: &str| planned(&format!(r#""log": {{ "format": "{word}" }}"#)).log.format;
    assert_eq!(["text", "json", "raw"].map(format), [LogFormat::Text, LogFormat::Json, LogFormat::Raw]);
    let milestone = |word: &str| {
        let text = format!(
            r#"{{"workers": {{"a": {{"command": "x", "after": {{"b": "{word}"}}}}, "b": {{"command": "x"}}}}}}"#
        );
        plan(&text).family.workers[0].after[0].milestone
    };
    assert_eq!(
        ["started", "ready", "succeeded", "ended"].map(milestone),
        [Milestone::Started, Milestone::Ready, Milestone::Succeeded, Milestone::Ended]
    );
}

#[test]
fn durations_are_strings_with_a_unit_or_plain_seconds() {
    let grace = |value: &str| decided(&format!(r#""stop": {{ "grace": {value} }}"#)).grace;
    for (value, milliseconds) in [
        ("\"250ms\"", 250),
        ("\"10s\"", 10_000),
        ("\"5m\"", 300_000),
        ("\"0.1h\"", 360_000),
        ("\"1.5s\"", 1500),
        ("\"0s\"", 0),
        ("0", 0),
        ("2", 2000),
        ("0.25", 250),
        ("1e1", 10_000),
        ("600", 600_000),
    ] {
        assert_eq!(grace(value), Duration::from_millis(milliseconds), "{value}");
    }
    let hour = decided(r#""backoff": { "max": "1h" }"#).backoff.max;
    assert_eq!(hour, Duration::from_secs(3600));
}

#[test]
fn sizes_are_strings_with_a_unit_or_plain_bytes() {
    let bytes = |value: &str| {
        plan(&queue(&format!(r#""max_bytes": {value}"#))).queues[1].1.max_bytes.expect("it is given")
    };
    for (value, expected) in [
        ("\"64KiB\"", 64 << 10),
        ("\"1GiB\"", 1 << 30),
        ("\"1.5MiB\"", 3 << 19),
        ("\"100B\"", 100),
        ("\"2TiB\"", 2 << 40),
        ("4096", 4096),
        ("1e3", 1000),
    ] {
        assert_eq!(bytes(value), expected, "{value}");
    }
}

#[test]
fn signals_are_names_or_numbers() {
    let signal = |value: &str| planned(&format!(r#""stop": {{ "signal": {value} }}"#)).stop_signal;
    let values = ["\"INT\"", "\"SIGHUP\"", "10", "\"RTMIN+1\"", "64"];
    assert_eq!(values.map(signal), [2, 1, 10, 35, 64]);
}

#[test]
fn relative_paths_begin_at_the_folder_of_the_config() {
    let worker = planned(
        r#""cwd": "./data", "stdin": "in.txt", "stdout": "../out.txt", "stderr": "/var/err.txt",
           "log": { "file": "logs//x.log" }"#,
    );
    assert_eq!(worker.cwd, Path::new("/srv/app/data"));
    assert_eq!(worker.stdin, Stdin::Path("/srv/app/in.txt".into()));
    assert_eq!(worker.stdout, Output::Path("/srv/app/../out.txt".into()));
    assert_eq!(worker.stderr, Output::Path("/var/err.txt".into()));
    assert_eq!(worker.log.file, Some(PathBuf::from("/srv/app/logs/x.log")));
}

#[test]
fn streams_have_words_beside_paths() {
    let worker = planned(r#""stdin": "inherit", "stdout": "null", "stderr": "inherit""#);
    assert_eq!((worker.stdin, worker.stdout, worker.stderr), (Stdin::Inherit, Output::Null, Output::Inherit));
}

#[test]
fn a_program_with_a_slash_is_a_path_and_one_without_is_looked_up() {
    let program = |argv: &str| {
        let text = format!(r#"{{"workers": {{"a": {{"command": {argv}, "cwd": "elsewhere"}}}}}}"#);
        plan(&text).workers.remove(0).command
    };
    let argv = |parts: &[&str]| Command::Argv(parts.iter().map(|part| (*part).to_owned()).collect());
    assert_eq!(program(r#"["./bin/x", "./y"]"#), argv(&["/srv/app/bin/x", "./y"]));
    assert_eq!(program(r#"["/bin/x"]"#), argv(&["/bin/x"]));
    assert_eq!(program(r#"["x", ""]"#), argv(&["x", ""]));
}

#[test]
fn every_string_takes_the_environment_but_a_command_for_the_shell() {
    let world = World::default().var("WHO", "zax").var("AGAIN", "always").var("Q", "jobs").var("TIME", "3s");
    let text = r#"{
      "name": "${WHO}-run",
      "queues": { "jobs": { "max_message": "${SIZE:-1KiB}" } },
      "workers": {
        "a": {
          "command": ["echo", "${WHO}", "$${WHO}", "$WHO"], "args": ["${WHO}", { "${WHO}": ["${WHO}"] }],
          "kwargs": { "name": "${WHO} \"q\"" }, "restart": "${AGAIN}", "stop": { "grace": "${TIME}" },
          "env": { "NAME": "${WHO}" }, "cwd": "/home/${WHO}", "umask": "${MASK:-077}",
          "queues": { "get": ["${Q}"] }
        },
        "b": { "command": "echo ${WHO} ${OTHER}" }
      }
    }"#;
    let plan = world.read(text).expect("all variables are set");
    let worker = &plan.workers[0];
    assert_eq!(plan.name, "zax-run");
    assert_eq!(plan.queues[0].1.max_message, 1024);
    let argv = ["echo", "zax", "${WHO}", "$WHO"].map(str::to_owned).to_vec();
    assert_eq!(worker.command, Command::Argv(argv));
    assert_eq!(worker.args, r#"["zax",{"${WHO}":["zax"]}]"#);
    assert_eq!(worker.kwargs, r#"{"name":"zax \"q\""}"#);
    assert_eq!(plan.family.workers[0].restart, Restart::Always);
    assert_eq!(plan.family.workers[0].grace, Duration::from_secs(3));
    assert_eq!(worker.env, [("NAME".to_owned(), "zax".to_owned())]);
    assert_eq!(worker.cwd, Path::new("/home/zax"));
    assert_eq!(worker.umask, 0o077);
    assert_eq!(worker.gets, ["jobs"]);
    assert_eq!(plan.workers[1].command, Command::Shell("echo ${WHO} ${OTHER}".to_owned()));
}

#[test]
fn a_queue_that_a_stream_leads_to_or_from_is_listed_once() {
    let streams =
        r#""stdin": { "queue": "jobs" }, "stdout": { "queue": "jobs" }, "stderr": { "queue": "jobs" }"#;
    let listed = r#""queues": { "get": ["jobs"] }"#;
    for keys in [streams.to_owned(), format!("{streams}, {listed}")] {
        let reader = format!(r#""workers": {{ "reader": {{ "command": ["cat"], {keys} }} }}"#);
        let hands = plan(&format!(r#"{{ "queues": {{ "jobs": {{}} }}, {reader} }}"#)).workers.remove(0);
        assert_eq!((&hands.gets[..], &hands.puts[..]), (&["jobs".to_owned()][..], &["jobs".to_owned()][..]));
        assert_eq!(hands.stdin, Stdin::Queue("jobs".to_owned()));
        assert_eq!(
            (&hands.stdout, &hands.stderr),
            (&Output::Queue("jobs".to_owned()), &Output::Queue("jobs".to_owned()))
        );
    }
}

#[test]
fn arguments_reach_the_worker_as_they_are_written() {
    let worker = planned(r#""args": [ 1, 1.50, 123456789012345678901234567890, null, true, "é\n", [], {} ]"#);
    assert_eq!(worker.args, r#"[1,1.50,123456789012345678901234567890,null,true,"é\n",[],{}]"#);
}

#[test]
fn env_wins_over_env_file() {
    let world = World::default().file("/etc/reader.env", b"# both\nA=file\nB='file'\nA=later\n");
    let text = worker(r#""env_file": "/etc/reader.env", "env": { "C": "own", "B": "own", "A.b": "" }"#);
    let plan = world.read(text).expect("the file is there");
    let expected = [("A", "later"), ("B", "own"), ("C", "own"), ("A.b", "")];
    assert_eq!(plan.workers[0].env, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn workers_keep_the_order_of_the_file_and_after_may_point_forward() {
    let plan = plan(
        r#"{"workers": {
            "z": {"command": "x", "after": {"m": "started", "a": "ended"}},
            "m": {"command": "x", "after": {"a": "succeeded"}},
            "a": {"command": "x"}
        }}"#,
    );
    let names: Vec<_> = plan.workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["z", "m", "a"]);
    let names: Vec<_> = plan.family.workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["z", "m", "a"]);
    let after = |worker, milestone| After { worker: WorkerId(worker), milestone };
    assert_eq!(plan.family.workers[0].after, [after(1, Milestone::Started), after(2, Milestone::Ended)]);
    assert_eq!(plan.family.workers[1].after, [after(2, Milestone::Succeeded)]);
}

#[test]
fn the_bounds_themselves_are_allowed() {
    for keys in [
        r#""instances": 0"#,
        r#""instances": 10000"#,
        r#""stop": { "grace": "10m" }"#,
        r#""backoff": { "factor": 1, "jitter": 0, "initial": 0, "max": 0, "reset_after": 0 }"#,
        r#""backoff": { "jitter": 1, "factor": 1.0e0 }"#,
        r#""success_codes": [0, 255]"#,
        r#""success_codes": []"#,
        r#""umask": "0""#,
        r#""umask": "0777""#,
        r#""nice": -20"#,
        r#""nice": 19"#,
        r#""intensity": { "restarts": 0, "within": "1ms" }"#,
        r#""log": { "keep": 0, "max_size": 1 }"#,
        r#""policy": "daemon", "stop": { "signal": "INT" }"#,
    ] {
        plan(&worker(keys));
    }
    for keys in
        [r#""capacity": 1"#, r#""max_message": "1GiB""#, r#""max_message": 1"#, r#""max_deliveries": 1"#]
    {
        plan(&queue(keys));
    }
}

#[test]
fn the_run_is_called_like_its_file_unless_it_says_otherwise() {
    let text = br#"{"workers": {"a": {"command": "x"}}}"#;
    let name = |path: &str| config::read(text, Path::new(path), &World::default()).expect("it is well").name;
    assert_eq!(["/a/shop.json", "/shop.v2.json", "/a/.shop"].map(name), ["shop", "shop.v2", ".shop"]);
}
