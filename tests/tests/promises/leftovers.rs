//! What a worker leaves behind and is adopted: it lives on beside its worker, and is taken leave of with it.

use std::time::Duration;

use control::api::InstanceStatus;
use serde_json::{Value, json};
use tests::{Run, Sandbox, kill_9, lives, stays, until, until_gone};

/// Leaves behind a process that writes its pid to the file `name`, and to `name.asked` that it was asked to stop.
fn left(name: &str) -> String {
    format!(
        "setsid sh -c 'trap \"echo x > {name}.asked; exit 0\" TERM; echo $$ > {name}; while :; do sleep 0.02; done' & \
         while [ ! -s {name} ]; do sleep 0.02; done;"
    )
}

/// The same, but it does not care.
fn deaf(name: &str) -> String {
    format!(
        "setsid sh -c 'trap \"echo x > {name}.asked\" TERM; echo $$ > {name}; while :; do sleep 0.02; done' & \
         while [ ! -s {name} ]; do sleep 0.02; done;"
    )
}

/// Leaves others behind and ends well; the next launch stays.
fn adopting(leaves: &str, grace: &str) -> Value {
    json!({ "command": format!("if [ -e again ]; then exec sleep 1000; fi; {leaves} touch again; exit 0"),
        "restart": "never", "leftover": "adopt", "stop": { "grace": grace } })
}

fn family(worker: &Value) -> Value {
    json!({ "name": "r", "workers": { "w": worker, "other": { "command": ["sleep", "1000"] } } })
}

fn why(run: &Run, worker: &str) -> String {
    run.instance(worker, 0).why.unwrap_or_default()
}

/// The launch of the worker `w` that a process is of, as `ps` shows it.
fn launch_of(run: &Run, pid: i32) -> Option<u64> {
    let row = run.ps().into_iter().find(|row| row.pid == pid)?;
    assert_eq!(row.worker.as_deref(), Some("w"));
    row.launch
}

#[test]
fn what_a_worker_leaves_behind_lives_on_as_its_own_until_it_is_stopped_where_that_is_asked_for() {
    for tree in ["auto", "cgroup"] {
        if tree == "cgroup" && process::Cgroups::look().unified().is_err() {
            continue;
        }
        let sandbox = Sandbox::new();
        let worker = |command: String, restart: &str| json!({ "command": command, "restart": restart, "leftover": "adopt", "tree": tree, "stop": { "grace": "5m" } });
        let again = format!("if [ -e again ]; then exec sleep 1000; fi; {} exit 0", left("again"));
        let mut run = sandbox.run(&json!({ "name": "r", "workers": {
            "once": worker(format!("{} exit 0", left("once")), "never"),
            "again": worker(again, "always"),
            "last": worker(format!("{} exit 0", left("last")), "never"),
            "other": { "command": ["sleep", "1000"] } } }));
        let why = run.until_state("once", "done").why.unwrap_or_default();
        // It, and mostly the `sleep` that it waits for.
        let told = ["a process that it left behind lives on", "2 processes that it left behind live on"]
            .map(|who| why == format!("exit code 0, and {who}"));
        assert!(told.contains(&true), "{tree}: {why}");
        run.until_state("last", "done");
        let pids = ["once", "again", "last"].map(|name| sandbox.until_pid(name));
        let second = run.until_launch("again", 2);
        stays("all of them live", Duration::from_millis(200), || pids.iter().all(|pid| lives(*pid)));
        for (pid, worker) in pids.iter().zip(["once", "again", "last"]) {
            let row = run.ps().into_iter().find(|row| row.pid == *pid).expect("it is shown");
            assert_eq!((row.worker.as_deref(), row.launch), (Some(worker), Some(1)), "{tree}");
        }
        // Of one that has ended, and of one that runs again.
        sandbox.supervisor(&["stop", "once"]).ends_with(0);
        assert!(!lives(pids[0]), "the verb returns when it is gone");
        assert!(sandbox.has("once.asked"));
        assert_eq!(run.instance("once", 0).why.as_deref(), Some("exit code 0"));
        assert!(lives(pids[1]) && lives(second), "that is somebody else's");
        sandbox.supervisor(&["stop", "again"]).ends_with(0);
        assert!(!lives(pids[1]) && !lives(second));
        assert!(lives(pids[2]));
        assert_eq!(run.stop(), 0, "{}", run.err());
        assert!(!lives(pids[2]), "the end of the run is its end");
        assert!(sandbox.has("last.asked"), "and it was asked");
    }
}

#[test]
fn no_restart_of_its_worker_touches_what_was_adopted() {
    let sandbox = Sandbox::new();
    let mut worker = adopting(&left("a"), "5m");
    worker["restart"] = json!("always");
    let mut run = sandbox.run(&family(&worker));
    let (first, adopted) = (run.until_launch("w", 2), sandbox.until_pid("a"));
    sandbox.supervisor(&["restart", "w"]).ends_with(0);
    assert!(!lives(first) && lives(adopted));
    kill_9(run.until_launch("w", 3));
    run.until_launch("w", 4);
    let mut next = family(&worker);
    next["workers"]["w"]["env"] = json!({ "COLOUR": "1" });
    let next = sandbox.write("next.json", next.to_string());
    sandbox.supervisor(&["apply", &next.to_string_lossy()]).ends_with(0);
    run.until_launch("w", 5);
    assert!(lives(adopted) && !sandbox.has("a.asked"));
    assert!(why(&run, "w").contains("left behind live"), "{}", why(&run, "w"));
    assert_eq!(launch_of(&run, adopted), Some(1));
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(!lives(adopted) && sandbox.has("a.asked"));
}

#[test]
fn what_does_not_care_is_killed_after_its_grace_and_the_verb_waits_for_it() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&family(&adopting(&deaf("a"), "400ms")));
    run.until_state("w", "done");
    let adopted = sandbox.until_pid("a");
    let stop = sandbox.begin(&["stop", "w"]);
    sandbox.until_written("a.asked");
    if lives(adopted) && why(&run, "w").contains("behind") {
        // Unless its grace was over meanwhile.
        let why = why(&run, "w");
        assert!(
            ["exit code 0; what it left behind is being stopped", "exit code 0"].contains(&why.as_str()),
            "{why}"
        );
    }
    tests::Said::at_the_end_of(stop).ends_with(0);
    assert!(!lives(adopted), "the verb returns when it is gone");
    assert_eq!((run.instance("w", 0).state.as_str(), why(&run, "w").as_str()), ("done", "exit code 0"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_is_started_meanwhile_waits_until_what_is_leaving_is_gone() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&family(&adopting(&deaf("a"), "5m")));
    run.until_state("w", "done");
    let adopted = sandbox.until_pid("a");
    sandbox.supervisor(&["stop", "w", "--no-wait"]).ends_with(0);
    sandbox.supervisor(&["start", "w", "--no-wait"]).ends_with(0);
    let row = run.until_state("w", "waiting");
    let why = row.why.unwrap_or_default();
    assert!(why.starts_with("waits for what it left behind to be gone"), "{why}");
    kill_9(adopted);
    run.until_launch("w", 2);
    assert_eq!(run.stop(), 0);
}

#[test]
fn at_the_end_of_the_run_it_is_asked_is_named_and_is_killed_when_the_stop_takes_too_long() {
    let sandbox = Sandbox::new();
    let mut config = family(&adopting(&deaf("a"), "5m"));
    config["stop_timeout"] = json!("4s");
    let mut run = sandbox.run(&config);
    run.until_state("w", "done");
    let adopted = sandbox.until_pid("a");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(!lives(adopted) && sandbox.has("a.asked"));
    assert!(run.err().contains("waiting for what w left behind: pid "), "{}", run.err());
}

#[test]
fn the_next_run_takes_back_what_was_adopted_and_numbers_its_launches_behind_it() {
    for tree in ["auto", "cgroup"] {
        if tree == "cgroup" && process::Cgroups::look().unified().is_err() {
            continue;
        }
        let sandbox = Sandbox::new();
        // One that is there, and one that it begets later.
        let begets = "setsid sh -c 'echo $$ > a; while [ ! -e go ]; do sleep 0.02; done; setsid sh -c \
                      \"trap \\\"echo x > b.asked; exit 0\\\" TERM; echo \\$\\$ > b; while :; do sleep 0.02; done\" & exit 0' & \
                      while [ ! -s a ]; do sleep 0.02; done;";
        let mut worker = adopting(begets, "5m");
        worker["tree"] = json!(tree);
        let config = family(&worker);
        let run = sandbox.run(&config);
        run.until_state("w", "done");
        let a = sandbox.until_pid("a");
        let other = run.until_launch("other", 1);
        run.kill_9();
        let mut run = sandbox.run(&config);
        let second = run.until_launch("w", 2);
        assert!(lives(a) && lives(other), "{}", run.err());
        assert!(run.err().contains("that it left behind in a former run: adopted"), "{}", run.err());
        assert_eq!(launch_of(&run, a), Some(1));
        assert!(why(&run, "w").contains("left behind live"), "{}", why(&run, "w"));
        sandbox.write("go", "");
        let b = sandbox.until_pid("b");
        until_gone(a);
        let launch = until("it is known whose the other is", || launch_of(&run, b));
        assert_eq!(launch, 1, "it is of the same launch");
        sandbox.supervisor(&["restart", "w"]).ends_with(0);
        assert!(lives(b) && !lives(second));
        sandbox.supervisor(&["stop", "w"]).ends_with(0);
        assert!(!lives(b) && sandbox.has("b.asked"));
        assert_eq!(why(&run, "w"), "stopped by request");
        assert_eq!(run.stop(), 0, "{}", run.err());
    }
}

#[test]
fn who_was_taken_back_and_ends_by_itself_leaves_others_to_be_adopted() {
    let sandbox = Sandbox::new();
    let command = format!("{} while [ ! -e end ]; do sleep 0.02; done; exit 0", left("a"));
    let worker =
        json!({ "command": command, "restart": "never", "leftover": "adopt", "stop": { "grace": "5m" } });
    let config = family(&worker);
    let run = sandbox.run(&config);
    let (leader, adopted) = (run.until_launch("w", 1), sandbox.until_pid("a"));
    run.kill_9();
    let mut run = sandbox.run(&config);
    assert_eq!(run.instance("w", 0).pid, Some(leader));
    sandbox.write("end", "");
    until_gone(leader);
    // What it left behind is counted first; how it ended itself is not known to every kernel.
    let is_over = |row: &InstanceStatus| matches!(row.state.as_str(), "done" | "failed");
    let row = until("it has ended", || Some(run.instance("w", 0)).filter(is_over));
    assert!(row.why.as_deref().is_some_and(|why| why.contains("left behind live")), "{row:?} {}", run.err());
    assert!(lives(adopted));
    assert_eq!(launch_of(&run, adopted), Some(1));
    run.stop();
    assert!(!lives(adopted) && sandbox.has("a.asked"), "{}", run.err());
}

#[test]
fn what_a_daemon_left_behind_dies_with_its_supervisor_and_at_the_end_of_the_run() {
    let sandbox = Sandbox::new();
    let mut worker = adopting(&left("a"), "5m");
    worker["policy"] = json!("daemon");
    let run = sandbox.run(&family(&worker));
    run.until_state("w", "done");
    let adopted = sandbox.until_pid("a");
    run.kill_9();
    until_gone(adopted);
    for file in ["again", "a"] {
        std::fs::remove_file(sandbox.path().join(file)).expect("it is there");
    }
    let mut run = sandbox.run(&family(&worker));
    run.until_state("w", "done");
    let adopted = sandbox.until_pid("a");
    assert_eq!(run.stop(), 0);
    assert!(!lives(adopted) && !sandbox.has("a.asked"), "without a word");
}

#[test]
fn it_goes_with_a_worker_that_is_taken_out_and_with_an_instance_that_is_scaled_away() {
    let sandbox = Sandbox::new();
    let mut worker = adopting(&left("a"), "5m");
    worker["instances"] = json!(2);
    let command =
        "if [ $SUPERVISOR_INSTANCE = 0 ]; then exec sleep 1000; fi; ".to_owned() + &left("a") + " exit 0";
    worker["command"] = json!(command);
    let mut run = sandbox.run(&family(&worker));
    let adopted = sandbox.until_pid("a");
    until("it has ended", || (run.instance("w", 1).state == "done").then_some(()));
    sandbox.supervisor(&["scale", "w=1"]).ends_with(0);
    assert!(!lives(adopted) && sandbox.has("a.asked"), "the verb returns when it is gone");
    for file in ["a", "a.asked"] {
        std::fs::remove_file(sandbox.path().join(file)).expect("it is there");
    }
    sandbox.supervisor(&["scale", "w=2"]).ends_with(0);
    let adopted = sandbox.until_pid("a");
    until("it has ended", || (run.instance("w", 1).state == "done").then_some(()));
    let next = json!({ "name": "r", "workers": { "other": { "command": ["sleep", "1000"] } } });
    let next = sandbox.write("next.json", next.to_string());
    sandbox.supervisor(&["apply", &next.to_string_lossy()]).ends_with(0);
    assert!(!lives(adopted) && sandbox.has("a.asked"), "the verb returns when it is gone");
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_it_prints_is_still_read_when_its_worker_has_gone_also_by_the_next_run() {
    let sandbox = Sandbox::new();
    let talker = "setsid sh -c 'echo $$ > a; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done' & \
                  while [ ! -s a ]; do sleep 0.02; done;";
    let config = family(&adopting(talker, "5m"));
    let run = sandbox.run(&config);
    run.until_state("w", "done");
    let speaks = |sandbox: &Sandbox| {
        let last = || {
            let said = sandbox.supervisor(&["logs", "w", "-n", "1"]).ends_with(0);
            Some(said.out.trim().to_owned()).filter(|line| line.contains("line "))
        };
        let first = until("it speaks", last);
        until("it goes on", || last().filter(|line| *line != first));
    };
    speaks(&sandbox);
    run.kill_9();
    let mut run = sandbox.run(&config);
    speaks(&sandbox);
    assert_eq!(run.stop(), 0);
}

/// A worker that names another process of its own as the one that leads it; that one ends when `end` is there, and who was
/// executed first lives on: it is left behind as well.
fn led_by_another() -> Value {
    let leader = "echo $$ > leader; while [ ! -e end ]; do sleep 0.02; done; exit 0";
    let command = format!(
        "if [ -e again ]; then probe tell READY=1; exec sleep 1000; fi; touch again; sh -c '{leader}' & \
         while [ ! -s leader ]; do sleep 0.02; done; probe tell MAINPID=$(cat leader) READY=1; \
         trap 'echo x > first.asked; exit 0' TERM; echo $$ > first; \
         while [ ! -e first.end ]; do sleep 0.02; done"
    );
    json!({ "command": command, "ready": "notify", "restart": "always", "backoff": { "initial": 0 },
        "leftover": "adopt", "stop": { "grace": "5m" } })
}

#[test]
fn who_was_executed_first_is_adopted_where_another_leads_and_ends_before_it() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&family(&led_by_another()));
    let (leader, first) = (sandbox.until_pid("leader"), sandbox.until_pid("first"));
    until("it leads", || (run.instance("w", 0).pid == Some(leader)).then_some(()));
    sandbox.write("end", "");
    let second = run.until_launch("w", 2);
    assert!(lives(first) && !lives(leader), "{}", run.err());
    assert_eq!(launch_of(&run, first), Some(1));
    assert!(why(&run, "w").contains("left behind live"), "{}", why(&run, "w"));
    // It may end by itself; then nothing is left, also no dead one that nobody has buried.
    sandbox.write("first.end", "");
    until("it is not counted any more", || why(&run, "w").is_empty().then_some(()));
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
    assert!(lives(second) && !sandbox.has("first.asked"));
    assert_eq!(run.stop(), 0, "{}", run.err());
}

#[test]
fn who_was_executed_first_and_adopted_is_not_taken_for_its_worker_by_a_later_run() {
    let sandbox = Sandbox::new();
    let mut worker = led_by_another();
    worker["restart"] = json!("never");
    let run = sandbox.run(&family(&worker));
    let (leader, first) = (sandbox.until_pid("leader"), sandbox.until_pid("first"));
    until("it leads", || (run.instance("w", 0).pid == Some(leader)).then_some(()));
    sandbox.write("end", "");
    run.until_state("w", "done");
    run.kill_9();
    let mut run = sandbox.run(&family(&worker));
    let second = run.until_launch("w", 2);
    assert!(second != first && lives(first), "{}", run.err());
    assert_eq!(launch_of(&run, first), Some(1));
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(!lives(first) && sandbox.has("first.asked"));
}

#[test]
fn who_was_executed_first_and_adopted_is_asked_with_its_worker_also_by_a_later_run() {
    for killed in [false, true] {
        let sandbox = Sandbox::new();
        let mut run = sandbox.run(&family(&led_by_another()));
        let (leader, first) = (sandbox.until_pid("leader"), sandbox.until_pid("first"));
        until("it leads", || (run.instance("w", 0).pid == Some(leader)).then_some(()));
        sandbox.write("end", "");
        let second = run.until_launch("w", 2);
        if killed {
            run.kill_9();
            run = sandbox.run(&family(&led_by_another()));
            assert_eq!(run.instance("w", 0).pid, Some(second), "{}", run.err());
            assert_eq!(launch_of(&run, first), Some(1));
        }
        sandbox.supervisor(&["stop", "w"]).ends_with(0);
        assert!(!lives(first) && sandbox.has("first.asked"), "{}", run.err());
        assert_eq!(run.stop(), 0, "{}", run.err());
    }
}
