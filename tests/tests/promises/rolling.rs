//! Rolling restarts: the new is ready before the old is asked to stop.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, lives};

fn pids(run: &Run) -> Vec<i32> {
    run.status().workers.iter().filter_map(|row| row.pid).collect()
}

/// Each launch writes when it starts and when it is asked to stop; it is ready when it says so.
fn careful(instances: u32) -> Value {
    json!({ "workers": { "web": {
        "command": "echo start $SUPERVISOR_INSTANCE >> story; \
                    trap 'echo stop $SUPERVISOR_INSTANCE >> story; exit 0' TERM; \
                    if [ -e broken ]; then exit 7; fi; \
                    echo ready $SUPERVISOR_INSTANCE >> story; probe notify READY=1 & \
                    while :; do sleep 0.01; done",
        "instances": instances, "ready": "notify", "backoff": { "initial": "20s" },
    } } })
}

/// Each of `web` is ready: their pids, the first one's first.
fn all_ready(run: &Run, instances: u32) -> Vec<i32> {
    let pid = |index| {
        tests::until("it is ready", || {
            let row = run.instance("web", index);
            (row.state == "running").then_some(row.pid).flatten()
        })
    };
    (0..instances).map(pid).collect()
}

/// The same, but that `web` rolls, and has one more variable.
fn rolling_with(config: &Value, variable: &str) -> Value {
    let mut config = config.clone();
    config["workers"]["web"]["rolling"] = json!(true);
    config["workers"]["web"]["env"] = json!({ variable: "1" });
    config
}

fn apply(sandbox: &Sandbox, config: &Value) -> Said {
    let next = sandbox.write("next.json", config.to_string());
    sandbox.supervisor(&["apply", &next.to_string_lossy(), "--name", "config"])
}

fn has_variable(pid: i32, variable: &str) -> bool {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).expect("it is ours");
    String::from_utf8_lossy(&environ).split('\0').any(|entry| entry == format!("{variable}=1"))
}

#[test]
fn a_new_launch_is_ready_before_the_first_old_one_is_asked_to_stop() {
    for by_config in [false, true] {
        let sandbox = Sandbox::new();
        let mut config = careful(2);
        config["workers"]["web"]["rolling"] = json!(by_config);
        let mut run = sandbox.run(&config);
        for index in [0, 1] {
            tests::until("both are ready", || (run.instance("web", index).state == "running").then_some(()));
        }
        let before = pids(&run);
        std::fs::remove_file(sandbox.path().join("story")).expect("they have started");
        let verb: &[&str] = if by_config { &["restart", "web"] } else { &["restart", "web", "--rolling"] };
        sandbox.supervisor(verb).ends_with(0);
        let expected = "start 2\nready 2\nstop 0\nstart 0\nready 0\nstop 1\nstart 1\nready 1\nstop 2\n";
        assert_eq!(sandbox.read("story"), expected);
        assert!(before.iter().all(|pid| !lives(*pid)), "each was replaced");
        assert_eq!(pids(&run).len(), 2, "and there are as many as before");
        assert_eq!(run.stop(), 0);
    }
}

#[test]
fn when_the_new_one_does_not_get_ready_the_old_ones_stay_and_the_verb_says_so() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&careful(2));
    for index in [0, 1] {
        tests::until("both are ready", || (run.instance("web", index).state == "running").then_some(()));
    }
    let before = pids(&run);
    sandbox.write("broken", "");
    let said = sandbox.supervisor(&["restart", "web", "--rolling"]).ends_with(1);
    said.tells("web:2 did not get ready: exit code 7").tells("what was not replaced runs on");
    assert_eq!(pids(&run), before, "nobody was touched");
    assert!(!sandbox.read("story").contains("stop"));
    std::fs::remove_file(sandbox.path().join("broken")).expect("it is there");
    sandbox.supervisor(&["restart", "web", "--rolling"]).ends_with(0);
    assert_eq!(pids(&run).len(), 2);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_changed_config_replaces_each_old_one_only_when_a_new_one_is_ready() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&careful(3));
    let before = all_ready(&run, 3);
    std::fs::remove_file(sandbox.path().join("story")).expect("they have started");
    apply(&sandbox, &rolling_with(&careful(3), "COLOUR")).ends_with(0);
    let expected = "start 3\nready 3\nstop 0\nstart 0\nready 0\nstop 1\nstart 1\nready 1\n\
                    stop 2\nstart 2\nready 2\nstop 3\n";
    assert_eq!(sandbox.read("story"), expected);
    let after = pids(&run);
    assert!(before.iter().all(|pid| !lives(*pid) && !after.contains(pid)), "each was replaced");
    assert_eq!(after.len(), 3, "and there are as many as before");
    assert!(after.iter().all(|pid| has_variable(*pid, "COLOUR")), "by the new config");
    assert_eq!(run.stop(), 0);
}

/// Whether it ends, or just never says that it is ready.
#[test]
fn when_a_changed_config_does_not_get_ready_the_old_ones_stay_until_one_comes_that_does() {
    let silent = "while :; do sleep 0.01; done";
    for (broken, why) in [("exit 7", "exit code 7"), (silent, "not ready within 300ms")] {
        let sandbox = Sandbox::new();
        let mut run = sandbox.run(&careful(2));
        let before = all_ready(&run, 2);
        let mut next = rolling_with(&careful(2), "COLOUR");
        next["workers"]["web"]["command"] = json!(broken);
        next["workers"]["web"]["ready_timeout"] = json!("300ms");
        let said = apply(&sandbox, &next).ends_with(1);
        said.tells(&format!("web: web:2 did not get ready: {why}"));
        said.tells("what was not replaced runs on as before");
        said.tells("whatever is started from now on is by the new config");
        assert_eq!(pids(&run), before, "nobody was touched, and nobody is there but them");
        assert!(!sandbox.read("story").contains("stop"));
        apply(&sandbox, &rolling_with(&careful(2), "SHAPE")).ends_with(0);
        let after = all_ready(&run, 2);
        assert!(before.iter().all(|pid| !lives(*pid) && !after.contains(pid)));
        assert!(after.iter().all(|pid| has_variable(*pid, "SHAPE")));
        assert_eq!(run.stop(), 0);
    }
}

/// It is on trial: not even where all are restarted together, and the run ends when one of them fails.
#[test]
fn a_new_one_that_fails_takes_nobody_with_it_whatever_the_strategy() {
    let sandbox = Sandbox::new();
    let mut config = careful(2);
    config["strategy"] = json!("one_for_all");
    config["workers"]["web"]["on_failed"] = json!("stop");
    config["workers"]["web"]["restart"] = json!("never");
    config["workers"]["db"] = json!({ "command": ["sleep", "1000"] });
    let mut run = sandbox.run(&config);
    let before = all_ready(&run, 2);
    let database = run.until_state("db", "running").pid;
    let stay = |run: &Run| {
        assert_eq!([0, 1].map(|index| run.leader("web", index)), before[..]);
        assert_eq!(run.instance("db", 0).pid, database);
    };
    sandbox.write("broken", "");
    let said = sandbox.supervisor(&["restart", "web", "--rolling"]).ends_with(1);
    said.tells("web:2 did not get ready: exit code 7");
    stay(&run);
    let said = apply(&sandbox, &rolling_with(&config, "COLOUR")).ends_with(1);
    said.tells("web:2 did not get ready: exit code 7");
    stay(&run);
    assert!(!sandbox.read("story").contains("stop"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn one_who_knocks_all_the_time_is_never_refused_while_a_worker_rolls() {
    let sandbox = Sandbox::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound").port();
    let config = json!({ "workers": { "web": {
        "command": ["probe", "serve"], "listen": [format!("tcp:127.0.0.1:{port}")], "rolling": true,
    } } });
    let mut run = sandbox.run(&config);
    let over = Arc::new(AtomicBool::new(false));
    let until_over = Arc::clone(&over);
    let knocker = std::thread::spawn(move || {
        let mut served = std::collections::BTreeSet::new();
        while !until_over.load(Ordering::Relaxed) {
            let mut text = String::new();
            let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("never refused");
            connection.read_to_string(&mut text).expect("nobody hangs up on it but by ending");
            served.insert(text);
        }
        served
    });
    for _ in 0..3 {
        sandbox.supervisor(&["restart", "web"]).ends_with(0);
    }
    over.store(true, Ordering::Relaxed);
    let served = knocker.join().expect("no knock was refused");
    assert!(served.len() > 1, "by one after the other: {served:?}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_cannot_roll_is_said_and_what_does_not_run_is_simply_started() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&careful(1));
    run.until_state("web", "running");
    let said = sandbox.supervisor(&["restart", "web:0", "--rolling"]).ends_with(2);
    said.tells("--rolling is for all instances of a worker");
    sandbox.supervisor(&["stop", "web"]).ends_with(0);
    sandbox.supervisor(&["restart", "web", "--rolling"]).ends_with(0);
    assert_eq!(sandbox.read("story"), "start 0\nready 0\nstop 0\nstart 0\nready 0\n");
    assert_eq!(run.stop(), 0);
}

/// What `plan` says of `web`: the action, how, and why.
fn planned(sandbox: &Sandbox, config: &Value) -> (String, Option<String>, String) {
    let next = sandbox.write("next.json", config.to_string());
    let said =
        sandbox.supervisor(&["plan", &next.to_string_lossy(), "--name", "config", "--json"]).ends_with(0);
    let row = said.json()["workers"][0].clone();
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    (text("action").unwrap_or_default(), text("detail"), text("reason").unwrap_or_default())
}

#[test]
fn the_plan_says_who_will_roll_and_who_will_not() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&careful(2));
    all_ready(&run, 2);
    let next = rolling_with(&careful(2), "COLOUR");
    let (action, detail, reason) = planned(&sandbox, &next);
    assert_eq!((action.as_str(), detail.as_deref()), ("restart", Some("rolling")));
    assert!(reason.contains("env changed: COLOUR"), "{reason}");
    let path = sandbox.path().join("next.json");
    let said = sandbox.supervisor(&["plan", &path.to_string_lossy(), "--name", "config"]).ends_with(0);
    assert!(said.out.contains("restart, rolling"), "{}", said.out);
    // Not what does not roll by its config, and not what does not run.
    let mut plain = next.clone();
    plain["workers"]["web"]["rolling"] = json!(false);
    assert_eq!(planned(&sandbox, &plain).1, None);
    sandbox.supervisor(&["stop", "web"]).ends_with(0);
    assert_eq!(planned(&sandbox, &next).1, None);
    assert_eq!(run.stop(), 0);
}

fn runs_by_an_older_config(sandbox: &Sandbox, instance: &str) -> Value {
    let why = sandbox.supervisor(&["why", instance, "--json"]).ends_with(0).json();
    why[0]["older_config"].clone()
}

#[test]
fn after_one_that_failed_the_plan_tells_what_still_runs_by_the_older_config_and_the_same_file_tries_again() {
    let sandbox = Sandbox::new();
    let original = rolling_with(&careful(2), "SHAPE");
    let mut run = sandbox.run(&original);
    let before = all_ready(&run, 2);
    assert_eq!(planned(&sandbox, &original).0, "none");
    let next = rolling_with(&careful(2), "COLOUR");
    sandbox.write("broken", "");
    let old = "web:0 runs by an older config: env changed: COLOUR, SHAPE";
    for _ in 0..2 {
        apply(&sandbox, &next).ends_with(1).tells("web:2 did not get ready: exit code 7");
        assert_eq!(pids(&run), before, "nobody was touched");
        let (action, detail, reason) = planned(&sandbox, &next);
        assert_eq!((action.as_str(), detail.as_deref()), ("restart", Some("rolling")));
        assert!(reason.contains(old) && reason.contains("web:1 runs by an older config"), "{reason}");
        assert_eq!(run.instance("web", 0).why.as_deref(), Some("runs by an older config"));
        assert_eq!(runs_by_an_older_config(&sandbox, "web:0"), json!(true));
        let said = sandbox.supervisor(&["why", "web:0"]).ends_with(0);
        assert!(said.out.contains("  config:     an older one; the present one holds"), "{}", said.out);
    }
    // Back to what still runs: there is nothing to do for it.
    let (action, _, reason) = planned(&sandbox, &original);
    assert_eq!(action, "update", "{reason}");
    assert!(reason.contains("what runs is like that already"), "{reason}");
    apply(&sandbox, &original).ends_with(0);
    assert_eq!((pids(&run), run.instance("web", 0).why), (before.clone(), None));
    assert_eq!(runs_by_an_older_config(&sandbox, "web:0"), json!(false));
    assert_eq!(planned(&sandbox, &original).0, "none");

    apply(&sandbox, &next).ends_with(1);
    std::fs::remove_file(sandbox.path().join("broken")).expect("it is there");
    apply(&sandbox, &next).ends_with(0);
    let after = all_ready(&run, 2);
    assert!(after.iter().all(|pid| has_variable(*pid, "COLOUR")) && before.iter().all(|pid| !lives(*pid)));
    assert_eq!((planned(&sandbox, &next).0.as_str(), run.instance("web", 1).why), ("none", None));
    assert_eq!(run.stop(), 0);
}

/// Only those are started anew that are not like that already.
#[test]
fn what_was_replaced_before_one_failed_is_not_replaced_again() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&rolling_with(&careful(2), "SHAPE"));
    let before = all_ready(&run, 2);
    let mut next = rolling_with(&careful(2), "COLOUR");
    let command = next["workers"]["web"]["command"].as_str().expect("it is text");
    let command = format!("if [ -e bad$SUPERVISOR_INSTANCE ]; then exit 7; fi; {command}");
    next["workers"]["web"]["command"] = json!(command);
    next["workers"]["web"]["backoff"] = json!({ "initial": "1ms" });
    next["workers"]["web"]["intensity"] = json!({ "restarts": 0 });
    sandbox.write("bad1", "");
    apply(&sandbox, &next).ends_with(1).tells("web:1 did not get ready");
    let first = run.instance("web", 0).pid.expect("it was replaced");
    assert!(first != before[0] && !lives(before[1]));
    std::fs::remove_file(sandbox.path().join("bad1")).expect("it is there");
    sandbox.supervisor(&["start", "web:1"]).ends_with(0);
    apply(&sandbox, &next).ends_with(0);
    assert_eq!(all_ready(&run, 2)[0], first, "it is like that already");
    assert_eq!(run.stop(), 0);
}

#[test]
fn one_that_is_ready_from_its_start_and_ends_at_once_costs_no_old_one() {
    let sandbox = Sandbox::new();
    let config =
        json!({ "workers": { "web": { "command": ["sleep", "1000"], "instances": 2, "rolling": true } } });
    let mut run = sandbox.run(&config);
    let before = all_ready(&run, 2);
    let mut next = config.clone();
    next["workers"]["web"]["command"] = json!("exit 3");
    apply(&sandbox, &next).ends_with(1).tells("web:2 did not get ready: exit code 3");
    assert_eq!(pids(&run), before, "nobody was touched");
    // It takes as long as it is told to. Between a launch and its telling the time some time may pass, but not that much.
    next["workers"]["web"]["command"] = json!("date +%s%N >> begun; exec sleep 1000");
    next["workers"]["web"]["min_ready"] = json!("1500ms");
    apply(&sandbox, &next).ends_with(0);
    let begun: Vec<u64> = sandbox.read("begun").lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(begun.len(), 3);
    assert!(begun.windows(2).all(|pair| pair[1] >= pair[0] + 750_000_000), "{begun:?}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_change_in_the_middle_goes_on_by_the_newest_config_and_there_are_never_less() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&careful(1));
    all_ready(&run, 1);
    // The next is ready as the one more, and never is as the only one.
    let mut stuck = rolling_with(&careful(1), "COLOUR");
    let command = stuck["workers"]["web"]["command"].as_str().expect("it is text").to_owned();
    let gate = "if [ $SUPERVISOR_INSTANCE = 0 ]; then while [ ! -e go ]; do sleep 0.01; done; fi; ";
    stuck["workers"]["web"]["command"] = json!(format!("{gate}{command}"));
    let path = sandbox.write("stuck.json", stuck.to_string());
    sandbox.supervisor(&["apply", &path.to_string_lossy(), "--name", "config", "--no-wait"]).ends_with(0);
    let stands_in = tests::until("the one more stands in for the first", || {
        let rows = run.status().workers;
        let first_is_stuck = rows.iter().any(|row| row.instance == 0 && row.state == "starting");
        let more = rows.iter().find(|row| row.instance == 1 && row.state == "running")?;
        first_is_stuck.then_some(more.pid).flatten()
    });
    let (action, detail, _) = planned(&sandbox, &rolling_with(&careful(1), "SHAPE"));
    assert_eq!((action.as_str(), detail.as_deref()), ("restart", Some("rolling")));
    let said = {
        let next = sandbox.write("next.json", rolling_with(&careful(1), "SHAPE").to_string());
        sandbox.begin(&["apply", &next.to_string_lossy(), "--name", "config"])
    };
    Said::at_the_end_of(said).ends_with(0);
    let pid = all_ready(&run, 1)[0];
    assert!(has_variable(pid, "SHAPE"), "by the newest config");
    assert!(!lives(stands_in) && pids(&run) == [pid]);
    // The one that stood in was asked only when the first was ready again.
    let story = sandbox.read("story");
    let place = |line: &str| story.rfind(line).unwrap_or_else(|| panic!("{line}: {story}"));
    assert!(place("ready 0") < place("stop 1"), "{story}");
    assert_eq!(run.stop(), 0);
}
