//! How a run ends, and with which exit code.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use process::{Pid, Stat};
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, stays, until, until_gone};

/// A run of shell workers that are not started again.
fn shells(all: &[(&str, &str)]) -> Value {
    let workers: serde_json::Map<String, Value> = all
        .iter()
        .map(|(name, script)| ((*name).to_owned(), json!({ "command": script, "restart": "never" })))
        .collect();
    json!({ "name": "r", "workers": workers })
}

#[test]
fn a_run_whose_workers_all_succeed_ends_with_0() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox.run_to_its_end(&shells(&[("a", "echo one"), ("b", "echo two; exit 0")]));
    assert_eq!(code, 0, "{}", run.err());
    assert!(run.out().contains("one") && run.out().contains("two"), "{}", run.out());
}

#[test]
fn a_run_ends_with_the_code_of_the_first_that_failed() {
    let sandbox = Sandbox::new();
    let mut config = shells(&[("first", "exit 3"), ("second", "exit 4"), ("fine", "true")]);
    config["workers"]["second"]["after"] = json!({ "first": "ended" });
    assert_eq!(sandbox.run_to_its_end(&config).0, 3);
}

#[test]
fn a_run_waits_for_the_others_when_one_has_failed() {
    let sandbox = Sandbox::new();
    let mut config = shells(&[("fails", "exit 3"), ("works", "echo done > done; exit 0")]);
    config["workers"]["works"]["after"] = json!({ "fails": "ended" });
    assert_eq!(sandbox.run_to_its_end(&config).0, 3);
    assert_eq!(sandbox.read("done"), "done\n");
}

#[test]
fn who_was_killed_before_the_supervisor_was_told_to_stop_has_failed() {
    for (signal, killed) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGQUIT, Signal::SIGKILL)] {
        let sandbox = Sandbox::new();
        let script = "(setsid sleep 1000 & echo $! > orphan); exec sleep 1000";
        let mut run = sandbox.run(&shells(&[("w", script), ("stay", "exec sleep 1000")]));
        let (orphan, leader) = (sandbox.until_pid("orphan"), run.until_launch("w", 1));
        let adopted = || Some(Stat::of(Pid::from_raw(orphan)).ok()??.ppid.as_raw());
        until("the orphan is the supervisor's", || (adopted()? == run.pid()).then_some(()));
        // It finds all of it at once: first that some child has ended, and a signal behind that, then whose end it was.
        run.signal(Signal::SIGSTOP);
        let state = || Some(Stat::of(Pid::from_raw(run.pid())).ok()??.state);
        until("the supervisor stands still", || (state()? == 'T').then_some(()));
        for pid in [orphan, leader] {
            kill(Pid::from_raw(pid), killed).unwrap();
            until_gone(pid);
        }
        run.signal(signal);
        run.signal(Signal::SIGCONT);
        assert_eq!(run.exit_code(), 128 + killed as i32, "{}", run.err());
    }
}

#[test]
fn a_signal_shows_as_128_and_its_number() {
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        let sandbox = Sandbox::new();
        let script = format!("ulimit -c 0; kill -{signal} $$");
        assert_eq!(sandbox.run_to_its_end(&shells(&[("w", &script)])).0, code);
    }
}

#[test]
fn any_exit_code_arrives_as_it_was() {
    for expected in [1, 2, 42, 127, 128, 255] {
        let sandbox = Sandbox::new();
        assert_eq!(sandbox.run_to_its_end(&shells(&[("w", &format!("exit {expected}"))])).0, expected);
    }
}

#[test]
fn a_command_that_does_not_exist_fails_the_run_with_1_and_says_which_file() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": ["./no-such-program", "--now"], "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 1);
    assert!(run.err().contains("no-such-program"), "{}", run.err());
    assert!(run.err().to_lowercase().contains("no such file"), "{}", run.err());
}

#[test]
fn a_command_that_may_not_be_executed_fails_the_run_with_1_and_says_why() {
    let sandbox = Sandbox::new();
    sandbox.write("plain.txt", "not a program");
    let config =
        json!({ "name": "r", "workers": { "w": { "command": ["./plain.txt"], "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 1);
    assert!(run.err().contains("plain.txt"), "{}", run.err());
    assert!(run.err().to_lowercase().contains("permission denied"), "{}", run.err());
}

#[test]
fn a_working_folder_that_does_not_exist_fails_its_worker_and_nobody_else() {
    let sandbox = Sandbox::new();
    let mut config = shells(&[("lost", "true"), ("fine", "echo fine > fine")]);
    config["workers"]["lost"]["cwd"] = json!("not-there");
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 1, "{}", run.err());
    assert!(run.err().contains("not-there"), "{}", run.err());
    assert_eq!(sandbox.read("fine"), "fine\n");
}

#[test]
fn the_restart_policy_applies_to_a_command_that_cannot_be_executed() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": {
        "command": ["./late"], "restart": "on-failure", "backoff": { "initial": "20ms", "max": "20ms" },
        "intensity": { "restarts": 10_000, "within": "10s" } } } });
    let mut run = sandbox.run(&config);
    until("it was tried again", || (run.instance("w", 0).restarts >= 2).then_some(()));
    let text = sandbox.write("made", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&text, sandbox.path().join("late")).unwrap();
    assert_eq!(run.exit_code(), 0, "{}", run.err());
}

#[test]
fn a_run_that_is_told_to_stop_ends_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        let mut run = sandbox.run(&shells(&[("w", "exec sleep 1000")]));
        let pid = run.until_state("w", "running").pid.unwrap();
        run.signal(signal);
        assert_eq!(run.exit_code(), 0, "{}", run.err());
        assert!(!lives(pid));
    }
}

#[test]
fn a_run_that_is_told_to_stop_after_a_failure_ends_with_that_failure() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&shells(&[("fails", "exit 5"), ("lives", "exec sleep 1000")]));
    run.until_state("fails", "failed");
    assert_eq!(run.stop(), 5);
}

#[test]
fn a_run_with_no_wait_worker_lasts_until_it_is_told_to_stop() {
    let sandbox = Sandbox::new();
    let mut config = shells(&[("d", "true"), ("t", "true")]);
    config["workers"]["d"]["policy"] = json!("daemon");
    config["workers"]["t"]["policy"] = json!("terminate");
    let mut run = sandbox.run(&config);
    run.until_state("d", "done");
    run.until_state("t", "done");
    stays("the run is up", Duration::from_millis(200), || lives(run.pid()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_whose_failure_stops_the_run_ends_it_with_its_code() {
    let sandbox = Sandbox::new();
    let mut config = shells(&[
        ("vital", "echo $$ > vital; while [ ! -e go ]; do sleep 0.01; done; exit 9"),
        ("w", "exec sleep 1000"),
    ]);
    config["workers"]["vital"]["on_failed"] = json!("stop");
    let mut run = sandbox.run(&config);
    let pid = run.until_state("w", "running").pid.unwrap();
    sandbox.write("go", "");
    assert_eq!(run.exit_code(), 9, "{}", run.err());
    assert!(!lives(pid));
}

#[test]
fn a_config_with_problems_ends_with_3_and_starts_nothing() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "fine": { "command": "echo ran > ran" }, "w": { "command": ["true"], "restart": "allways" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 3);
    assert!(run.err().contains("workers.w.restart") && run.err().contains("always"), "{}", run.err());
    assert!(!sandbox.has("ran"));
    assert!(!sandbox.has("run"), "a runtime folder was made for nothing");
}

#[test]
fn a_missing_config_ends_with_3_and_says_its_path() {
    let sandbox = Sandbox::new();
    for verb in ["run", "check"] {
        let said = sandbox.supervisor(&[verb, "not-there.json"]).ends_with(3);
        assert!(said.err.contains("not-there.json"), "{}", said.err);
        assert_eq!(said.out, "");
    }
}

#[test]
fn a_second_run_of_the_same_name_is_refused_with_the_pid_of_the_first() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.run(&shells(&[("w", "exec sleep 1000")]));
    let pid = first.until_state("w", "running").pid;
    let said = sandbox.supervisor(&["run", "r.json"]).ends_with(1);
    assert!(said.err.contains(&first.pid().to_string()), "{}", said.err);
    assert_eq!(first.instance("w", 0).pid, pid, "the first goes on as if nothing had been");
    let mut other = Run::start(
        &sandbox,
        &json!({ "name": "s", "workers": { "w": { "command": ["sleep", "1000"] } } }),
        &[],
    );
    assert_eq!(other.stop(), 0, "another name has its own place");
    assert_eq!(first.stop(), 0);
}

#[test]
fn a_run_has_the_name_that_the_command_line_gives_it() {
    let sandbox = Sandbox::new();
    let config = shells(&[("w", "exec sleep 1000")]);
    let mut one = Run::start(&sandbox, &config, &[]);
    let path = sandbox.path().join("r.json");
    let mut command = sandbox.command("supervisor");
    let mut two = command.args(["run", path.to_str().unwrap(), "--name", "other"]).spawn().unwrap();
    until("the other answers", || {
        (sandbox.supervisor(&["--name", "other", "status", "w"]).code == 0).then_some(())
    });
    let status = sandbox.supervisor(&["--name", "other", "status", "--json"]).ends_with(0).json();
    assert_eq!(status["name"], "other");
    assert_eq!(status["pid"], two.id());
    let said = sandbox.supervisor(&["status"]).ends_with(2);
    assert!(said.err.contains("other") && said.err.contains("--name"), "{}", said.err);
    sandbox.supervisor(&["--name", "other", "shutdown"]).ends_with(0);
    assert_eq!(two.wait().unwrap().code(), Some(0));
    assert_eq!(one.stop(), 0);
}

#[test]
fn a_run_without_a_name_is_called_like_its_file() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "workers": { "w": { "command": ["sleep", "1000"] } } }));
    assert_eq!(run.status().name, "config");
    assert_eq!(run.stop(), 0);
}

#[test]
fn twice_told_kills_at_once() {
    let sandbox = Sandbox::new();
    let mut config = shells(&[("deaf", "trap '' TERM INT; echo $$ > deaf; while :; do sleep 0.01; done")]);
    config["workers"]["deaf"]["stop"] = json!({ "grace": "1h" });
    // An hour would be at most ten minutes here if the config had such a limit; what matters is that it never passes.
    config["workers"]["deaf"]["stop"]["grace"] = json!("10m");
    let mut run = sandbox.run(&config);
    let pid = sandbox.until_pid("deaf");
    run.signal(Signal::SIGINT);
    run.until_state("deaf", "stopping");
    assert!(lives(pid));
    run.signal(Signal::SIGINT);
    run.wait();
    until_gone(pid);
}
