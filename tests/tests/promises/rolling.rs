//! Rolling restarts: the new is ready before the old is asked to stop.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tests::{Run, Sandbox, lives};

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
