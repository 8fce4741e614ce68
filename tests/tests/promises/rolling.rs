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
