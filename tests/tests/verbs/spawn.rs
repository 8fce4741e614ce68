//! `spawn`: a worker from a script.

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, lives, until, until_gone};

use crate::{complained, json_lines, lasting, printed, run_of};

fn base(sandbox: &Sandbox) -> Run {
    run_of(sandbox, &json!({ "base": lasting() }))
}

/// What `spawn` printed: name and pid, a line each.
#[track_caller]
fn spawned(sandbox: &Sandbox, arguments: &[&str]) -> Vec<(String, i32)> {
    let arguments: Vec<&str> = ["spawn"].iter().chain(arguments).copied().collect();
    let text = printed(&sandbox.supervisor(&arguments), 0);
    let row = |line: &str| {
        let (name, pid) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), pid.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    text.lines().map(row).collect()
}

#[test]
fn it_prints_name_and_pid_and_wait_passes_on_the_exit_code() {
    let sandbox = Sandbox::new();
    let mut run = base(&sandbox);
    let [(name, pid)] = &spawned(&sandbox, &["--", "sleep", "1000"])[..] else { panic!("one line") };
    assert_eq!((name.as_str(), run.instance("sleep", 0).pid), ("sleep", Some(*pid)));
    assert_eq!(spawned(&sandbox, &["--", "/bin/sleep", "1000"])[0].0, "sleep-2");
    assert_eq!(run.ps().iter().find(|row| row.pid == *pid).expect("it is of the run").command, "sleep 1000");

    assert_eq!(spawned(&sandbox, &["--name", "once", "--", "sh", "-c", "exit 7"])[0].0, "once");
    assert_eq!(sandbox.supervisor(&["wait", "once"]).code, 7);
    // Run once: that it failed is no reason to run it again.
    assert_eq!((run.instance("once", 0).state.as_str(), run.instance("once", 0).launch), ("failed", Some(1)));
    printed(&sandbox.supervisor(&["stop", "sleep"]), 0);
    assert!(!lives(*pid));
    printed(&sandbox.supervisor(&["start", "sleep"]), 0);
    assert_eq!(run.instance("sleep", 0).launch, Some(2));
    // The first that failed speaks for the run.
    assert_eq!(run.stop(), 7);
}

#[test]
fn it_runs_in_the_callers_folder_with_the_supervisors_environment_and_its_own() {
    let sandbox = Sandbox::new();
    let mut run = base(&sandbox);
    std::fs::create_dir(sandbox.path().join("inner")).expect("a folder can be made");
    let script = "echo $PWD $OWN $CALLERS $SUPERVISOR_WORKER $SUPERVISOR_INSTANCE";
    let run_it = |more: &[&str]| {
        let mut command = sandbox.command("supervisor");
        command.env("CALLERS", "not passed on");
        command.args(["spawn", "--env", "OWN=a=b"]).args(more).args(["--", "sh", "-c", script]);
        let name = printed(&Said::of(&mut command), 0);
        let name = name.split(' ').next().expect("a name").to_owned();
        printed(&sandbox.supervisor(&["wait", &name]), 0);
        until("it is printed", || {
            json_lines(&sandbox.supervisor(&["logs", &name, "--json"]), 0)
                .first()
                .map(|line| line["line"].clone())
        })
    };
    let here = sandbox.path().canonicalize().expect("it is there");
    let here = here.to_str().expect("UTF-8");
    assert_eq!(run_it(&[]), format!("{here} a=b sh 0"));
    assert_eq!(run_it(&["--cwd", "inner"]), format!("{here}/inner a=b sh-2 0"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_program_is_found_from_the_callers_folder_wherever_it_is_to_run() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let mut run = base(&sandbox);
    let script = sandbox.write("mine", "#!/bin/sh\npwd\n");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    assert_eq!(spawned(&sandbox, &["--cwd", "/", "--", "./mine"])[0].0, "mine");
    printed(&sandbox.supervisor(&["wait", "mine"]), 0);
    until("it is printed", || run.out().lines().any(|line| line.ends_with("| /")).then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn instances_restart_and_what_it_comes_after_are_as_asked() {
    let sandbox = Sandbox::new();
    let mut run = base(&sandbox);
    let pair = spawned(
        &sandbox,
        &["--instances", "2", "--restart", "always", "--after", "base", "--", "sleep", "1000"],
    );
    assert_eq!(pair.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["sleep:0", "sleep:1"]);
    printed(&sandbox.supervisor(&["kill", "sleep:1", "--signal", "KILL"]), 0);
    let successor = until("it is started again", || {
        Some(run.instance("sleep", 1)).filter(|row| row.launch == Some(2) && row.state == "running")
    });
    assert_ne!(successor.pid, Some(pair[1].1));

    let arguments = ["spawn", "--no-wait", "--name", "late", "--after", "sleep=ended", "--", "sleep", "1000"];
    assert_eq!(printed(&sandbox.supervisor(&arguments), 0), "late -\n");
    assert_eq!(run.instance("late", 0).why.as_deref(), Some("waits for sleep to end"));
    printed(&sandbox.supervisor(&["shutdown"]), 0);
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn a_daemon_dies_with_the_work_and_with_the_supervisor() {
    let sandbox = Sandbox::new();
    let mut run = base(&sandbox);
    let daemon = spawned(&sandbox, &["--policy", "daemon", "--", "sleep", "1000"])[0].1;
    printed(&sandbox.supervisor(&["stop", "base"]), 0);
    assert!(lives(daemon));
    assert_eq!(run.stop(), 0);
    assert!(!lives(daemon));

    let run = base(&sandbox);
    let daemon = spawned(&sandbox, &["--policy", "daemon", "--", "sh", "-c", "sleep 1001 & sleep 1000"])[0].1;
    let child = until("it has started something", || {
        run.ps().into_iter().find(|row| row.command == "sleep 1001").map(|row| row.pid)
    });
    run.kill_9();
    until_gone(daemon);
    until_gone(child);
    sandbox.clean();
}

#[test]
fn what_cannot_be_is_refused_and_says_what_to_do() {
    let sandbox = Sandbox::new();
    let said = complained(&sandbox.supervisor(&["spawn", "--", "true"]), 5);
    assert!(said.contains("supervisor run --empty --detach"), "{said}");
    let mut run = base(&sandbox);
    let refused: &[(&[&str], i32, &str)] = &[
        (&["--", "no-such-program"], 1, "no-such-program:0 failed: exec no-such-program: not found in PATH"),
        (&["--name", "base", "--", "true"], 9, "a worker is called \"base\" already"),
        (&["--after", "bose", "--", "true"], 4, "did you mean \"base\"?"),
        (&["--name", "12", "--", "true"], 2, "not digits alone"),
        (&["--policy", "maybe", "--", "true"], 2, "terminate"),
        (&["--cwd", "nowhere", "--", "true"], 2, "is no folder"),
        (&["--queue-in", "q", "--", "true"], 4, "no queue is called"),
        (&["--queue-out", "7", "--", "true"], 2, "a queue's name"),
        (&["--instances", "200000", "--", "true"], 2, "at most 10000"),
        (&["true"], 2, "--"),
    ];
    for (arguments, code, words) in refused {
        let arguments: Vec<&str> = ["spawn"].iter().chain(*arguments).copied().collect();
        let said = complained(&sandbox.supervisor(&arguments), *code);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let names: Vec<String> = run.status().workers.into_iter().map(|row| row.worker).collect();
    assert_eq!(names, ["base", "no-such-program"]);
    run.stop();
}

#[test]
fn the_run_is_picked_by_the_environment_and_by_run() {
    let sandbox = Sandbox::new();
    let config = |name: &str| json!({ "name": name, "workers": { "base": lasting() } });
    let (mut one, mut two) = (sandbox.run(&config("one")), sandbox.run(&config("two")));
    complained(&sandbox.supervisor(&["spawn", "--name", "web", "--", "sleep", "1000"]), 2);
    printed(&sandbox.supervisor(&["spawn", "--run", "one", "--name", "web", "--", "sleep", "1000"]), 0);
    printed(&sandbox.supervisor(&["--name", "two", "spawn", "--", "sleep", "1000"]), 0);
    let mut command = sandbox.command("supervisor");
    command.env("SUPERVISOR_NAME", "two").args(["spawn", "--name", "web", "--json", "--", "sleep", "1000"]);
    let acted = json_lines(&Said::of(&mut command), 0);
    assert_eq!(acted[0]["instances"][0]["worker"], "web");
    let names =
        |run: &Run| -> Vec<Value> { run.status().workers.iter().map(|row| json!(row.worker)).collect() };
    assert_eq!(names(&one), ["base", "web"]);
    assert_eq!(names(&two), ["base", "sleep", "web"]);
    assert_eq!((one.stop(), two.stop()), (0, 0));
}
