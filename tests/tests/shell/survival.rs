//! What a kill of an attendant, or of the supervisor, does to a worker with a queue for its standard streams.

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, until, until_gone};

/// Doubles what it reads; a message called after a file waits until that is there.
fn doubler() -> Value {
    json!({ "name": "r", "queues": { "in": {}, "out": {} }, "workers": { "w": {
        "command": "while read -r n; do echo $n >> got; while [ $n = wait ] && [ ! -e go ]; do sleep 0.01; done; echo $n $n; done",
        "backoff": { "initial": 0 }, "stdin": { "queue": "in" }, "stdout": { "queue": "out" } } } })
}

#[track_caller]
fn put(sandbox: &Sandbox, message: &str) {
    sandbox.supervisor(&["queue", "put", "in", message]).ends_with(0);
}

#[track_caller]
fn attendant(run: &Run, role: &str) -> i32 {
    let wanted = format!(" attend {role} ");
    // What has just been executed may not show its command yet.
    until("it is there", || Some(run.ps().into_iter().find(|row| row.command.contains(&wanted))?.pid))
}

#[track_caller]
fn get(sandbox: &Sandbox, count: &str) -> String {
    sandbox.supervisor(&["queue", "get", "out", "--lines", "-n", count, "--timeout", "1m"]).ends_with(0).out
}

#[test]
fn a_killed_feeder_takes_its_worker_with_it_and_the_message_comes_again() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&doubler());
    let worker = run.until_launch("w", 1);
    put(&sandbox, "wait");
    sandbox.until_written("got");
    kill(Pid::from_raw(attendant(&run, "feeder")), Signal::SIGKILL).unwrap();
    until_gone(worker);
    run.until_launch("w", 2);
    sandbox.write("go", "");
    assert_eq!(get(&sandbox, "1"), "wait wait\n");
    assert_eq!(sandbox.read("got"), "wait\nwait\n");
    assert!(run.err().contains("its feeder was killed"), "{}", run.err());
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_takes_its_feeders_death_for_the_end_is_not_done() {
    let sandbox = Sandbox::new();
    // As quick as can be: often it has ended before anybody could kill it.
    let config = json!({ "name": "r", "queues": { "in": {} }, "workers": { "w": {
        "command": ["cat"], "backoff": { "initial": 0 }, "intensity": { "restarts": 100 },
        "stdin": { "queue": "in" } } } });
    let mut run = sandbox.run(&config);
    for launch in 1..=10 {
        run.until_launch("w", launch);
        kill(Pid::from_raw(attendant(&run, "feeder")), Signal::SIGKILL).unwrap();
    }
    run.until_launch("w", 11);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_killed_collector_takes_its_worker_with_it() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&doubler());
    let worker = run.until_launch("w", 1);
    kill(Pid::from_raw(attendant(&run, "collector")), Signal::SIGKILL).unwrap();
    until_gone(worker);
    run.until_launch("w", 2);
    put(&sandbox, "x");
    assert_eq!(get(&sandbox, "1"), "x x\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_killed_supervisor_is_not_noticed_by_worker_attendants_and_messages() {
    let sandbox = Sandbox::new();
    let first = sandbox.run(&doubler());
    let worker = first.until_launch("w", 1);
    let (feeder, collector) = (attendant(&first, "feeder"), attendant(&first, "collector"));
    put(&sandbox, "wait");
    for message in ["a", "b", "c"] {
        put(&sandbox, message);
    }
    sandbox.until_written("got");
    first.kill_9();
    // They go on without anybody.
    sandbox.write("go", "");
    until("all have come", || (sandbox.read("got") == "wait\na\nb\nc\n").then_some(()));
    let mut second = sandbox.run(&doubler());
    assert_eq!(second.until_launch("w", 1), worker);
    assert_eq!((attendant(&second, "feeder"), attendant(&second, "collector")), (feeder, collector));
    assert_eq!(get(&sandbox, "4"), "wait wait\na a\nb b\nc c\n");
    put(&sandbox, "d");
    assert_eq!(get(&sandbox, "1"), "d d\n");
    // Whoever is stopped before it was seen to come back for more gets the last message again.
    until("it has come back for more", || (second.queue("in").in_flight == 0).then_some(()));
    // Those that were taken back end like any others.
    sandbox.supervisor(&["restart", "w"]).ends_with(0);
    until_gone(feeder);
    until_gone(collector);
    put(&sandbox, "e");
    assert_eq!(get(&sandbox, "1"), "e e\n");
    assert_eq!(second.queue("in").redelivered, 0);
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_message_in_hand_is_given_back_when_worker_and_supervisor_are_both_killed() {
    let sandbox = Sandbox::new();
    let mut config = doubler();
    config["workers"]["keeper"] = json!({ "command": ["sleep", "1000"], "stdin": { "queue": "in" } });
    config["workers"]["keeper"]["stdin"] = json!("null");
    config["workers"]["other"] = json!({ "command": ["sleep", "1000"], "stdout": { "queue": "in" } });
    let first = sandbox.run(&config);
    let worker = first.until_launch("w", 1);
    let feeder = attendant(&first, "feeder");
    put(&sandbox, "wait");
    sandbox.until_written("got");
    first.kill_9();
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    until_gone(feeder);
    sandbox.write("go", "");
    // The queue lives on in the hands of those who are left.
    let mut second = sandbox.run(&config);
    assert_eq!(get(&sandbox, "1"), "wait wait\n");
    assert_eq!(second.stop(), 0);
}

#[test]
fn a_daemons_attendants_die_with_the_supervisor() {
    let sandbox = Sandbox::new();
    let mut config = doubler();
    config["workers"]["w"]["policy"] = json!("daemon");
    let run = sandbox.run(&config);
    let worker = run.until_launch("w", 1);
    let pids = [worker, attendant(&run, "feeder"), attendant(&run, "collector")];
    run.kill_9();
    for pid in pids {
        until_gone(pid);
    }
}

#[test]
fn killing_workers_at_random_loses_no_message() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "queues": { "in": { "capacity": 10 }, "out": {} }, "workers": {
        "from": { "command": "seq 1 300", "stdout": { "queue": "in" } },
        "w": { "command": "while read -r n; do echo $n; done", "instances": 3, "backoff": { "initial": 0 },
            "intensity": { "restarts": 10_000 }, "stdin": { "queue": "in" }, "stdout": { "queue": "out" } },
        "to": { "command": "cat > got", "stdin": { "queue": "out" } } } });
    let mut run = Run::begin(&sandbox, &config, &[]);
    for round in 0u32.. {
        let Ok(status) = run.ask::<control::api::Status>(&control::api::Request::Status { workers: vec![] })
        else {
            if round == 0 || !lives(run.pid()) {
                break;
            }
            continue;
        };
        let victims = status.workers.iter().filter(|row| row.worker == "w" && row.pid.is_some());
        let victims: Vec<i32> = victims.filter_map(|row| row.pid).collect();
        if round < 20
            && let Some(victim) = victims.get(round as usize % victims.len().max(1))
        {
            // It may be gone by now, and its pid is not yet anybody else's: the supervisor reaps it when it hears.
            let _ = kill(Pid::from_raw(*victim), Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    run.exit_code();
    let mut got: Vec<u32> = sandbox.read("got").lines().filter_map(|line| line.parse().ok()).collect();
    got.sort_unstable();
    got.dedup();
    assert_eq!(got, (1..=300).collect::<Vec<_>>());
}
