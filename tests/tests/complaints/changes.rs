//! Complaints about changes of a config while it runs.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, stays, until};

/// Two workers, of which `changing` prints a word, and an environment of both.
fn config(word: &str, extra: Option<&str>) -> Value {
    let worker = |word: &str| json!({ "command": format!("echo {word} >> $0.out; exec sleep 1000"), "restart": "always", "env": { "WORD": word } });
    let mut workers = json!({ "steady": worker("steady"), "changing": worker(word) });
    if let Some(extra) = extra {
        workers[extra] = worker(extra);
    }
    json!({ "name": "r", "workers": workers })
}

fn pid(run: &Run, worker: &str) -> i32 {
    run.until_state(worker, "running").pid.expect("it runs")
}

#[test]
fn supervisord_504_adding_and_removing_a_worker_leaves_the_others_alone() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&config("one", None));
    let before = [pid(&run, "steady"), pid(&run, "changing")];
    sandbox.write("r.json", config("one", Some("third")).to_string());
    sandbox.supervisor(&["apply", "r.json"]).ends_with(0);
    let third = pid(&run, "third");
    assert_eq!([pid(&run, "steady"), pid(&run, "changing")], before);
    sandbox.write("r.json", config("one", None).to_string());
    sandbox.supervisor(&["apply", "r.json"]).ends_with(0);
    assert!(!lives(third));
    assert_eq!([pid(&run, "steady"), pid(&run, "changing")], before);
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_910_whoever_restarts_under_an_old_config_is_told_that_there_is_a_newer_one() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&config("one", None));
    run.until_all("running");
    assert!(!run.status().config_newer);
    sandbox.write("r.json", config("two", None).to_string());
    sandbox.supervisor(&["restart", "changing"]).ends_with(0);
    // What runs is what was applied last, and that is said.
    assert!(run.status().config_newer);
    let said = sandbox.supervisor(&["status"]).ends_with(0);
    assert!(format!("{}{}", said.out, said.err).contains("newer"), "{}{}", said.out, said.err);
    let planned = sandbox.supervisor(&["plan", "r.json"]).ends_with(0).out;
    assert!(planned.contains("env changed: WORD") && planned.contains("command changed"), "{planned}");
    let steady = pid(&run, "steady");
    sandbox.supervisor(&["apply", "r.json"]).ends_with(0);
    assert_eq!(pid(&run, "steady"), steady);
    assert!(!run.status().config_newer);
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_214_a_change_starts_nothing_that_was_stopped_by_hand() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&config("one", None));
    run.until_all("running");
    sandbox.supervisor(&["stop", "changing"]).ends_with(0);
    sandbox.write("r.json", config("two", None).to_string());
    sandbox.supervisor(&["apply", "r.json"]).ends_with(0);
    let stopped = || run.instance("changing", 0).state == "stopped";
    stays("it stays stopped", std::time::Duration::from_millis(200), stopped);
    sandbox.supervisor(&["start", "changing"]).ends_with(0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_53_a_signal_has_the_config_read_again_and_a_wrong_one_changes_nothing() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&config("one", None));
    let before = [pid(&run, "steady"), pid(&run, "changing")];
    sandbox.write("r.json", "{ \"workers\": { \"steady\": { \"comand\": \"x\" } } }");
    run.signal(Signal::SIGHUP);
    until("it says what is wrong", || run.err().contains("comand").then_some(()));
    assert_eq!([pid(&run, "steady"), pid(&run, "changing")], before);
    sandbox.write("r.json", config("two", None).to_string());
    run.signal(Signal::SIGHUP);
    until("what has changed runs anew", || {
        run.instance("changing", 0).pid.filter(|now| *now != before[1]).map(drop)
    });
    assert_eq!(pid(&run, "steady"), before[0]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn pm2_3291_a_change_of_many_instances_leaves_no_second_copy_of_any() {
    let sandbox = Sandbox::new();
    let crew = |word: &str| {
        let worker = json!({ "command": ["sleep", "1000"], "instances": 4, "restart": "always", "env": { "WORD": word } });
        json!({ "name": "r", "workers": { "w": worker } })
    };
    let mut run = sandbox.run(&crew("one"));
    run.until_all("running");
    for word in ["two", "three", "four"] {
        sandbox.write("r.json", crew(word).to_string());
        sandbox.supervisor(&["apply", "r.json"]).ends_with(0);
        assert_eq!(run.until_so_many("w", 4).len(), 4);
        assert_eq!(run.pids_of("w").len(), 4);
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn pm2_3192_a_changed_environment_is_told_and_given_to_the_next_launch() {
    let sandbox = Sandbox::new();
    let with = |value: &str| {
        json!({ "name": "r", "workers": {
            "w": { "command": "echo $FOO >> said; exec sleep 1000", "env": { "FOO": value } },
            "other": { "command": ["sleep", "1000"] } } })
    };
    let mut run = sandbox.run(&with("old"));
    assert_eq!(sandbox.until_lines("said", 1), "old\n");
    let other = pid(&run, "other");
    sandbox.write("r.json", with("new").to_string());
    let plan = sandbox.supervisor(&["plan", "r.json"]).ends_with(0).out;
    assert!(
        plan.lines().any(|line| line.contains("restart") && line.contains("env") && line.contains("FOO")),
        "{plan}"
    );
    assert_eq!(sandbox.read("said"), "old\n", "a plan changes nothing");
    sandbox.supervisor(&["apply", "r.json"]).ends_with(0);
    assert_eq!(sandbox.until_lines("said", 2), "old\nnew\n");
    let why = sandbox.supervisor(&["why", "w"]).ends_with(0).out;
    assert!(why.contains("FOO"), "{why}");
    assert_eq!(pid(&run, "other"), other);
    assert_eq!(run.stop(), 0);
}
