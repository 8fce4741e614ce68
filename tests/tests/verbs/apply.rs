//! `plan` and `apply`: predicted, carried out, and nothing else touched.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, until, until_gone};

use crate::{complained, json_lines, lasting, printed, run_of};

fn pids(run: &Run) -> BTreeMap<String, i32> {
    let rows = run.status().workers;
    rows.iter().filter_map(|row| Some((format!("{}:{}", row.worker, row.instance), row.pid?))).collect()
}

fn config(sandbox: &Sandbox, workers: &Value) -> String {
    write(sandbox, &json!({ "name": "r", "workers": workers }))
}

fn write(sandbox: &Sandbox, config: &Value) -> String {
    sandbox.write("next.json", config.to_string()).to_string_lossy().into_owned()
}

/// What is said of each worker: its action and why.
fn rows(proposal: &Value) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = proposal["workers"].as_array().expect("rows");
    rows.iter().map(|row| (text(&row["worker"]), (text(&row["action"]), text(&row["reason"])))).collect()
}

fn with(mut worker: Value, key: &str, value: Value) -> Value {
    worker[key] = value;
    worker
}

#[test]
fn what_was_planned_is_done_and_what_is_unchanged_keeps_its_pid() {
    let sandbox = Sandbox::new();
    let after = json!({ "db": "ready" });
    let mut run = run_of(
        &sandbox,
        &json!({
            "db": lasting(), "api": with(lasting(), "after", after.clone()), "old": lasting(),
            "same": lasting(), "many": with(lasting(), "instances", json!(3)),
        }),
    );
    let before = pids(&run);
    let next = config(
        &sandbox,
        &json!({
            "db": with(lasting(), "env", json!({ "FOO": "1" })),
            "api": with(with(lasting(), "after", after), "backoff", json!({ "initial": "1s" })),
            "same": lasting(), "many": with(lasting(), "instances", json!(2)), "new": lasting(),
        }),
    );
    let planned = json_lines(&sandbox.supervisor(&["plan", &next, "--json"]), 0);
    let expected = [
        ("db", "restart", "env changed: FOO"),
        ("api", "update", "backoff changed"),
        ("old", "remove", "it is not in the config any more"),
        ("same", "none", ""),
        ("many", "scale", "2 instances instead of 3"),
        ("new", "add", ""),
    ];
    for (worker, action, reason) in expected {
        assert_eq!(rows(&planned[0])[worker], (action.to_owned(), reason.to_owned()), "{worker}");
    }
    assert_eq!(pids(&run), before, "a plan does nothing");

    let applied = json_lines(&sandbox.supervisor(&["apply", &next, "--json"]), 0);
    assert_eq!(rows(&applied[0]), rows(&planned[0]));
    let after = pids(&run);
    for same in ["api:0", "same:0", "many:0", "many:1"] {
        assert_eq!(after.get(same), before.get(same), "{same}");
    }
    assert_ne!(after["db:0"], before["db:0"]);
    assert!(after.contains_key("new:0"));
    for gone in ["old:0", "many:2"] {
        assert!(!after.contains_key(gone) && !lives(before[gone]), "{gone}");
    }
    let environ = std::fs::read(format!("/proc/{}/environ", after["db:0"])).expect("it is ours");
    assert!(String::from_utf8_lossy(&environ).contains("FOO=1"));
    complained(&sandbox.supervisor(&["stop", "old"]), 4);

    let table = printed(&sandbox.supervisor(&["plan", &next]), 0);
    assert!(table.lines().skip(1).all(|line| line.ends_with("none")), "{table}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_config_with_problems_or_none_at_all_changes_nothing() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    let before = pids(&run);
    let bad = config(&sandbox, &json!({ "w": with(lasting(), "restart", json!("allways")), "v": {} }));
    for verb in ["plan", "apply"] {
        let said = complained(&sandbox.supervisor(&[verb, &bad]), 3);
        assert!(
            said.contains("next.json has 2 problems") && said.contains("did you mean \"always\"?"),
            "{said}"
        );
        let said = complained(&sandbox.supervisor(&[verb, &bad, "--json"]), 3);
        let error: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(error["error"]["problems"].as_array().map(Vec::len), Some(2), "{said}");
        complained(&sandbox.supervisor(&[verb, "nothere.json"]), 3);
        complained(&sandbox.supervisor(&[verb]), 2);
    }
    assert_eq!(pids(&run), before);
    assert_eq!(run.stop(), 0);
}

#[test]
fn without_a_supervisor_it_is_exit_5_and_says_what_needs_none() {
    let sandbox = Sandbox::new();
    let next = config(&sandbox, &json!({ "w": lasting() }));
    for verb in ["plan", "apply"] {
        assert!(complained(&sandbox.supervisor(&[verb, &next]), 5).contains("supervisor check"));
    }
}

#[test]
fn the_config_of_another_run_is_refused_unless_the_run_is_named() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    let other = write(&sandbox, &json!({ "name": "blog", "workers": { "blog": lasting() } }));
    let said = complained(&sandbox.supervisor(&["apply", &other]), 9);
    assert!(said.contains("\"blog\"") && said.contains("--name r"), "{said}");
    assert!(pids(&run).contains_key("w:0"));
    printed(&sandbox.supervisor(&["apply", &other, "--name", "r"]), 0);
    assert_eq!(pids(&run).keys().collect::<Vec<_>>(), ["blog:0"]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_manual_stop_is_sticky_and_a_manual_scale_is_not() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "stopped": lasting(), "scaled": lasting() }));
    printed(&sandbox.supervisor(&["stop", "stopped"]), 0);
    printed(&sandbox.supervisor(&["scale", "scaled=3"]), 0);
    let first = pids(&run)["scaled:0"];
    let next = config(
        &sandbox,
        &json!({ "stopped": with(lasting(), "env", json!({ "A": "b" })), "scaled": lasting() }),
    );
    let planned = json_lines(&sandbox.supervisor(&["plan", &next, "--json"]), 0);
    let stopped = ("update".to_owned(), "env changed: A; it is stopped, and stays so".to_owned());
    assert_eq!(rows(&planned[0])["stopped"], stopped);
    assert_eq!(rows(&planned[0])["scaled"], ("scale".to_owned(), "1 instance instead of 3".to_owned()));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert_eq!(run.instance("stopped", 0).state, "stopped");
    let why = json_lines(&sandbox.supervisor(&["why", "stopped", "--json"]), 0).remove(0);
    assert_eq!(why[0]["asked"]["what"], "stop", "who stopped it, not who left it so: {why}");
    assert_eq!(pids(&run), [("scaled:0".to_owned(), first)].into());
    printed(&sandbox.supervisor(&["start", "stopped"]), 0);
    let pid = pids(&run)["stopped:0"];
    // It is in the middle of its exec, perhaps, and has no environment to show yet.
    until("it has started by the new config", || {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).expect("it is ours");
        String::from_utf8_lossy(&environ).contains("A=b").then_some(())
    });
    assert_eq!(run.stop(), 0);
}

#[test]
fn workers_of_spawn_are_left_alone_and_their_names_are_taken() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    printed(&sandbox.supervisor(&["spawn", "--name", "mine", "--", "sleep", "1000"]), 0);
    let before = pids(&run);
    let clash = config(&sandbox, &json!({ "v": lasting(), "mine": lasting() }));
    for verb in ["plan", "apply"] {
        let said = complained(&sandbox.supervisor(&[verb, &clash]), 9);
        assert!(said.contains("mine was added by `spawn`"), "{said}");
    }
    assert_eq!(pids(&run), before);
    let next = config(&sandbox, &json!({ "v": lasting() }));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    let after = pids(&run);
    assert_eq!((after.len(), after["mine:0"]), (2, before["mine:0"]));
    printed(&sandbox.supervisor(&["shutdown"]), 0);
    run.wait();
}

#[test]
fn who_goes_goes_before_what_it_depends_on() {
    let sandbox = Sandbox::new();
    let tells = |name: &str| {
        let script =
            format!("trap 'echo {name} >> stopped; exit 0' TERM; while :; do sleep 1000 & wait $!; done");
        json!({ "command": script, "restart": "never" })
    };
    let api = |worker: Value| with(worker, "after", json!({ "db": "ready" }));
    let mut run = run_of(&sandbox, &json!({ "db": tells("db"), "api": api(tells("api")), "w": lasting() }));
    until("both have set their traps", || {
        let shells = run.ps().into_iter().filter(|row| row.command.starts_with("sleep")).count();
        (shells == 3).then_some(())
    });
    let next = config(&sandbox, &json!({ "w": lasting() }));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert_eq!(sandbox.read("stopped"), "api\ndb\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn status_says_when_the_file_is_newer_and_sighup_applies_it() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "same": lasting() }));
    let before = pids(&run);
    assert!(!run.status().config_newer);
    let next = json!({ "name": "r", "workers": { "w": with(lasting(), "env", json!({ "A": "b" })), "same": lasting() } });
    sandbox.write("r.json", next.to_string());
    assert!(run.status().config_newer);
    let said = sandbox.supervisor(&["status"]);
    assert!(said.err.contains("is newer than what runs"), "{}", said.err);
    run.signal(Signal::SIGHUP);
    until("it is applied", || run.err().contains("w: restart: env changed: A").then_some(()));
    run.until_launch("w", 2);
    assert_eq!((run.status().config_newer, pids(&run)["same:0"]), (false, before["same:0"]));
    sandbox.write("r.json", "{");
    run.signal(Signal::SIGHUP);
    until("it is refused", || run.err().contains("nothing was changed").then_some(()));
    // With all that `apply` would say.
    sandbox.write("r.json", json!({ "name": "r", "workers": { "w": {} } }).to_string());
    run.signal(Signal::SIGHUP);
    until("it is told what to do", || run.err().contains("hint: add it: \"command\"").then_some(()));
    assert_eq!(run.instance("w", 0).launch, Some(2));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_can_take_it_up_by_a_signal_is_not_started_again() {
    let sandbox = Sandbox::new();
    sandbox.write("app.conf", "one");
    let script = "trap 'echo again >> heard' USR1; echo up >> heard; while :; do sleep 1000 & wait $!; done";
    let worker = json!({ "command": script, "reload": { "signal": "USR1", "files": ["app.conf"] } });
    let mut run = run_of(&sandbox, &json!({ "w": worker.clone() }));
    until("it is up", || sandbox.read("heard").contains("up").then_some(()));
    let before = pids(&run);
    sandbox.write("app.conf", "two");
    assert!(run.status().config_newer);
    let next = config(&sandbox, &json!({ "w": worker.clone() }));
    let planned = json_lines(&sandbox.supervisor(&["plan", &next, "--json"]), 0);
    let (action, reason) = rows(&planned[0])["w"].clone();
    assert!(action == "signal" && reason.ends_with("app.conf changed"), "{action} {reason}");
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    until("it was told", || sandbox.read("heard").contains("again").then_some(()));
    assert_eq!(pids(&run), before);
    // More than the file has changed: it is started again.
    sandbox.write("app.conf", "three");
    let next = config(&sandbox, &json!({ "w": with(worker, "env", json!({ "A": "b" })) }));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert_ne!(pids(&run), before);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_queue_with_messages_in_it_is_never_thrown_away() {
    let sandbox = Sandbox::new();
    let with_queues = |queues: Value| json!({ "name": "r", "queues": queues, "workers": { "w": lasting() } });
    let mut run = sandbox.run(&with_queues(json!({ "jobs": { "capacity": 5 }, "empty": {} })));
    printed(&sandbox.supervisor(&["queue", "put", "jobs", "precious"]), 0);
    let without = write(&sandbox, &with_queues(json!({})));
    for verb in ["plan", "apply"] {
        let said = complained(&sandbox.supervisor(&[verb, &without]), 9);
        assert!(said.contains("queue jobs still has 1 messages"), "{said}");
    }
    let larger = write(&sandbox, &with_queues(json!({ "jobs": { "capacity": 6 }, "empty": {} })));
    let said = complained(&sandbox.supervisor(&["apply", &larger]), 9);
    assert!(said.contains("capacity changed") && said.contains("nothing was changed"), "{said}");
    assert_eq!(run.queue("jobs").len, 1);

    let next = write(&sandbox, &with_queues(json!({ "jobs": { "capacity": 5 }, "new": {} })));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    printed(&sandbox.supervisor(&["queue", "put", "new", "hello"]), 0);
    complained(&sandbox.supervisor(&["queue", "len", "empty"]), 4);
    assert_eq!(printed(&sandbox.supervisor(&["queue", "get", "jobs", "--lines"]), 0), "precious\n");
    let without = write(&sandbox, &with_queues(json!({})));
    complained(&sandbox.supervisor(&["apply", &without, "--no-wait"]), 9);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_plan_says_what_takes_effect_later_only() {
    let sandbox = Sandbox::new();
    let all = |timeout: &str, locks: Value| json!({ "name": "r", "stop_timeout": timeout, "locks": locks, "workers": { "w": lasting() } });
    let mut run = sandbox.run(&all("1m", json!(["ledger", "other"])));
    run.until_all("running");
    let next = write(&sandbox, &all("2m", json!(["other"])));
    let planned = json_lines(&sandbox.supervisor(&["plan", &next, "--json"]), 0).remove(0).to_string();
    assert!(planned.contains("stop_timeout changed"), "{planned}");
    assert!(planned.contains("it stays for whoever uses it until the run ends"), "{planned}");
    let before = pids(&run);
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert_eq!(pids(&run), before, "nobody is started anew for it");
    printed(&sandbox.supervisor(&["lock", "run", "ledger", "--", "true"]), 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_changed_stop_timeout_holds_at_once() {
    let sandbox = Sandbox::new();
    let deaf = json!({ "command": "trap '' TERM; echo x > deaf; while :; do sleep 0.05; done", "stop": { "grace": "10m" } });
    let all = |timeout: &str| json!({ "name": "r", "stop_timeout": timeout, "workers": { "w": deaf } });
    let mut run = sandbox.run(&all("10m"));
    sandbox.until_written("deaf");
    // It runs, and its supervisor may still have to hear of it.
    run.until_all("running");
    let before = pids(&run);
    let next = write(&sandbox, &all("300ms"));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert_eq!(pids(&run), before, "nobody is started anew for it");
    // It would take ten minutes by what held before.
    assert_eq!(run.stop(), 0, "{}", run.err());
}

#[test]
fn a_queue_closes_when_all_that_still_put_into_it_have_ended() {
    let sandbox = Sandbox::new();
    let puts = |command: &str| json!({ "command": command, "queues": { "put": ["q"] } });
    let all = |workers: Value| json!({ "name": "r", "queues": { "q": {} }, "workers": workers });
    let mut run =
        sandbox.run(&all(json!({ "done": puts("true"), "other": puts("exec sleep 1000"), "w": lasting() })));
    run.until_state("done", "done");
    run.until_state("other", "running");
    assert!(!run.queue("q").closed);
    let next = write(&sandbox, &all(json!({ "done": puts("true"), "w": lasting() })));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert!(run.queue("q").closed, "nobody is left who might put");
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_failed_by_its_config_is_tried_again_with_the_new_one() {
    let sandbox = Sandbox::new();
    let broken = json!({ "command": "exit 3", "restart": "never" });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": broken, "other": lasting() } }));
    run.until_state("w", "failed");
    let next = config(&sandbox, &json!({ "w": lasting(), "other": lasting() }));
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    assert_eq!(run.instance("w", 0).state, "running");
    let worse =
        config(&sandbox, &json!({ "w": { "command": "exit 4", "restart": "never" }, "other": lasting() }));
    printed(&sandbox.supervisor(&["apply", &worse]), 0);
    run.until_state("w", "failed");
    assert_eq!(run.stop(), 4);
}

#[test]
fn a_worker_that_comes_back_counts_its_launches_on() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "other": lasting() }));
    let first = pids(&run)["w:0"];
    let without = config(&sandbox, &json!({ "other": lasting() }));
    printed(&sandbox.supervisor(&["apply", &without]), 0);
    until_gone(first);
    let back = config(&sandbox, &json!({ "w": lasting(), "other": lasting() }));
    printed(&sandbox.supervisor(&["apply", &back]), 0);
    assert_eq!(run.instance("w", 0).launch, Some(2));
    assert_eq!(run.stop(), 0);
}

#[test]
fn two_that_apply_at_once_are_carried_out_one_after_the_other() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting(), "same": lasting() }));
    let same = pids(&run)["same:0"];
    let configs: Vec<String> = (0..4)
        .map(|number| {
            let workers =
                json!({ "w": with(lasting(), "env", json!({ "N": number.to_string() })), "same": lasting() });
            let config = json!({ "name": "r", "workers": workers });
            let path = sandbox.write(&format!("next-{number}.json"), config.to_string());
            path.to_string_lossy().into_owned()
        })
        .collect();
    std::thread::scope(|scope| {
        for config in &configs {
            scope.spawn(|| printed(&sandbox.supervisor(&["apply", config]), 0));
        }
    });
    let after = pids(&run);
    assert_eq!((after.len(), after["same:0"]), (2, same));
    // The last of them is what runs, whichever that was.
    let config = run.status().config.expect("it has one");
    let planned = json_lines(&sandbox.supervisor(&["plan", &config, "--json"]), 0);
    assert_eq!(planned[0]["changes"], json!(false), "{}", planned[0]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn nothing_is_applied_once_the_run_stops() {
    let sandbox = Sandbox::new();
    let deaf = json!({
        "command": "trap '' TERM; echo deaf; while :; do sleep 1000; done", "stop": { "grace": "600s" },
    });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": deaf } }));
    until("it is deaf", || run.out().contains("deaf").then_some(()));
    run.signal(Signal::SIGTERM);
    run.until_state("w", "stopping");
    let next = config(&sandbox, &json!({ "v": lasting() }));
    let said = complained(&sandbox.supervisor(&["apply", &next]), 9);
    assert!(said.contains("the run is stopping"), "{said}");
    printed(&sandbox.supervisor(&["shutdown", "--now"]), 0);
    run.wait();
}

/// Numbers that look random and are always the same (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn workers(&mut self) -> Value {
        let mut workers = json!({ "anchor": lasting() });
        for name in ["a", "b", "c", "d"] {
            if self.below(4) == 0 {
                continue;
            }
            let mut worker = lasting();
            worker["instances"] = json!(1 + self.below(2));
            worker["env"] = json!({ "X": self.below(2).to_string() });
            worker["backoff"] = json!({ "initial": 1 + self.below(2) });
            if self.below(2) == 0 {
                worker["after"] = json!({ "anchor": "ready" });
            }
            workers[name] = worker;
        }
        workers
    }
}

#[test]
fn whatever_is_planned_is_exactly_what_is_done() {
    let sandbox = Sandbox::new();
    let mut dice = Dice(7);
    let mut run = run_of(&sandbox, &dice.workers());
    for round in 0..8 {
        let next = config(&sandbox, &dice.workers());
        let before = pids(&run);
        let planned = json_lines(&sandbox.supervisor(&["plan", &next, "--json"]), 0);
        let applied = json_lines(&sandbox.supervisor(&["apply", &next, "--json"]), 0);
        assert_eq!(planned[0]["workers"], applied[0]["workers"], "round {round}");
        let after = pids(&run);
        for row in planned[0]["workers"].as_array().expect("rows") {
            let (from, to) = (row["from"].as_u64().expect("a number"), row["to"].as_u64().expect("a number"));
            let action = row["action"].as_str().expect("a word");
            for index in 0..from.max(to) {
                let name = format!("{}:{index}", row["worker"].as_str().expect("a name"));
                let (was, is) = (before.get(&name), after.get(&name));
                match action {
                    "restart" if index < from.min(to) => {
                        assert!(was != is && is.is_some(), "round {round}: {row}")
                    }
                    "add" => assert!(was.is_none() && is.is_some(), "round {round}: {row}"),
                    "remove" => assert!(was.is_some() && is.is_none(), "round {round}: {row}"),
                    _ if index >= to => assert!(is.is_none(), "round {round}: {row}"),
                    _ if index >= from => assert!(was.is_none() && is.is_some(), "round {round}: {row}"),
                    _ => assert!(was == is && is.is_some(), "round {round}: {row}"),
                }
            }
        }
        let again = json_lines(&sandbox.supervisor(&["plan", &next, "--json"]), 0);
        assert_eq!(again[0]["changes"], json!(false), "round {round}: {}", again[0]);
    }
    assert_eq!(run.stop(), 0);
}
