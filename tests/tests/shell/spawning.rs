//! Supervisors that wait for scripts, and supervisors of one command.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::Value;
use tests::{Said, Sandbox, lives, stays, until, until_gone};

/// Starts a supervisor that waits for scripts, and says its pid.
#[track_caller]
fn empty(sandbox: &Sandbox) -> i32 {
    let said = sandbox.supervisor(&["run", "--empty", "--detach", "--name", "s"]).ends_with(0);
    let (name, pid) = said.out.trim().split_once(' ').expect("a name and a pid");
    assert_eq!(name, "s");
    pid.parse().expect("a pid")
}

#[track_caller]
fn spawned(sandbox: &Sandbox, arguments: &[&str]) -> i32 {
    let said = sandbox.supervisor(&[&["spawn"], arguments].concat()).ends_with(0);
    said.out.trim().rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid")
}

#[track_caller]
fn status(sandbox: &Sandbox) -> Value {
    sandbox.supervisor(&["status", "--json"]).ends_with(0).json()
}

#[test]
fn without_a_supervisor_spawn_says_how_to_start_one() {
    let sandbox = Sandbox::new();
    let said = sandbox.supervisor(&["spawn", "--", "true"]).ends_with(5);
    assert!(said.err.contains("supervisor run --empty --detach"), "{}", said.err);
}

#[test]
fn an_empty_run_lasts_whatever_comes_and_goes_until_it_is_told_to_end() {
    let sandbox = Sandbox::new();
    let pid = empty(&sandbox);
    sandbox.supervisor(&["spawn", "--name", "quick", "--", "true"]).ends_with(0);
    sandbox.supervisor(&["wait", "quick"]).ends_with(0);
    stays("it lasts", Duration::from_millis(100), || lives(pid));
    sandbox.supervisor(&["spawn", "--name", "failing", "--no-wait", "--", "sh", "-c", "exit 3"]).ends_with(0);
    sandbox.supervisor(&["wait", "failing"]).ends_with(3);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    until_gone(pid);
}

#[test]
fn spawned_workers_are_joined_by_queues_that_scripts_made() {
    let sandbox = Sandbox::new();
    empty(&sandbox);
    sandbox.supervisor(&["queue", "create", "in", "--capacity", "3", "--max-deliveries", "5"]).ends_with(0);
    sandbox.supervisor(&["queue", "create", "in"]).ends_with(9);
    sandbox.supervisor(&["queue", "create", "out"]).ends_with(0);
    let rows = sandbox.supervisor(&["queue", "ls", "--json"]).ends_with(0).json();
    assert_eq!((rows[0]["queue"].as_str(), rows[0]["capacity"].as_u64()), (Some("in"), Some(3)));
    spawned(
        &sandbox,
        &["--name", "double", "--queue-in", "in", "--queue-out", "out", "--", "awk", "{ print 2 * $1 }"],
    );
    // A queue in use stays.
    sandbox.supervisor(&["queue", "rm", "out"]).ends_with(9);
    sandbox.supervisor(&["spawn", "--queue-out", "in", "--", "seq", "100"]).ends_with(0);
    let out = sandbox.supervisor(&["queue", "get", "out", "--lines", "--follow"]).ends_with(0).out;
    let expected: String = (1..=100).map(|n: u32| format!("{}\n", 2 * n)).collect();
    assert_eq!(out, expected);
    sandbox.supervisor(&["wait", "double"]).ends_with(0);
    let said = sandbox.supervisor(&["spawn", "--queue-out", "in", "--", "true"]).ends_with(8);
    assert!(said.err.contains("closed"), "{}", said.err);
    let said = sandbox.supervisor(&["spawn", "--queue-in", "inn", "--", "cat"]).ends_with(4);
    assert!(said.err.contains("did you mean \"in\"?"), "{}", said.err);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn a_queue_that_a_script_made_can_be_removed_and_who_waits_at_it_is_told() {
    let sandbox = Sandbox::new();
    empty(&sandbox);
    sandbox.supervisor(&["queue", "create", "q", "--dead-letter", "nobody"]).ends_with(4);
    sandbox.supervisor(&["queue", "create", "dead"]).ends_with(0);
    sandbox.supervisor(&["queue", "create", "q", "--dead-letter", "dead"]).ends_with(0);
    sandbox.supervisor(&["queue", "rm", "dead"]).ends_with(9);
    let mut getter = sandbox.command("supervisor");
    getter.args(["queue", "get", "q"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut getter = getter.spawn().expect("it can be executed");
    stays("it waits", Duration::from_millis(100), || getter.try_wait().unwrap().is_none());
    sandbox.supervisor(&["queue", "rm", "q"]).ends_with(0);
    Said::at_the_end_of(getter).ends_with(8);
    sandbox.supervisor(&["queue", "len", "q"]).ends_with(4);
    sandbox.supervisor(&["queue", "rm", "dead"]).ends_with(0);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn the_next_run_of_the_name_takes_back_what_scripts_had_added() {
    let sandbox = Sandbox::new();
    let supervisor = empty(&sandbox);
    sandbox.supervisor(&["queue", "create", "in", "--capacity", "7"]).ends_with(0);
    sandbox.supervisor(&["queue", "create", "unused"]).ends_with(0);
    let reader = spawned(
        &sandbox,
        &["--name", "reader", "--queue-in", "in", "--", "sh", "-c", "read -r a; read -r b; echo $b"],
    );
    let plain = spawned(&sandbox, &["--name", "plain", "--env", "A=b", "--", "sleep", "1000"]);
    let ended = spawned(&sandbox, &["--name", "ended", "--", "sleep", "1000"]);
    let always = spawned(&sandbox, &["--name", "always", "--restart", "always", "--", "sleep", "1000"]);
    sandbox.supervisor(&["queue", "put", "in", "one"]).ends_with(0);
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    until_gone(supervisor);
    for pid in [ended, always] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        until_gone(pid);
    }
    empty(&sandbox);
    let row = |name: &str| {
        let status = status(&sandbox);
        let rows = status["workers"].as_array().expect("rows").clone();
        rows.into_iter().find(|row| row["worker"] == name)
    };
    assert_eq!(row("reader").expect("taken back")["pid"], reader);
    assert_eq!(row("plain").expect("taken back")["pid"], plain);
    // What was to run once, and has ended unseen, is not run again; what is always to run is.
    assert!(row("ended").is_none());
    let again = until("it runs again", || row("always")?["pid"].as_i64());
    assert_ne!(again, i64::from(always));
    let rows = sandbox.supervisor(&["queue", "ls", "--json"]).ends_with(0).json();
    let queues: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["queue"].as_str()).collect();
    assert_eq!((queues, rows[0]["capacity"].as_u64()), (vec!["in", "unused"], Some(7)));
    sandbox.supervisor(&["queue", "put", "in", "two"]).ends_with(0);
    sandbox.supervisor(&["wait", "reader"]);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    // A run that ended well leaves nothing to the next one.
    empty(&sandbox);
    assert_eq!(status(&sandbox)["workers"], serde_json::json!([]));
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn one_command_has_input_output_and_exit_code_of_its_own() {
    let sandbox = Sandbox::new();
    let said = sandbox
        .supervisor_with_input(&["run", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 7"], b"in\n")
        .ends_with(7);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("in\nout\n", "err\n"));
    sandbox.supervisor(&["run", "--", "sh", "-c", "kill -9 $$"]).ends_with(137);
    let said = sandbox.supervisor(&["run", "--", "nosuchcommand"]).ends_with(127);
    assert!(said.err.contains("not found"), "{}", said.err);
    for (arguments, words) in [
        (&["run"][..], "supervisor run --empty"),
        (&["run", "x.json", "--", "true"], "cannot be used with"),
        (&["run", "--empty", "--", "true"], "cannot be used with"),
        (&["run", "--detach", "--", "true"], "cannot be used with"),
        (&["run", "--empty", "--grace", "1s"], "--grace"),
    ] {
        let said = sandbox.supervisor(arguments).ends_with(2);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn one_command_gets_every_signal_and_decides_itself_when_it_ends() {
    let sandbox = Sandbox::new();
    let script = "for s in HUP USR1 USR2 WINCH INT TERM; do trap \"echo $s >> got\" $s; done; trap 'exit 5' QUIT; \
                  echo $$ > pid; while :; do sleep 0.02; done";
    let mut command = sandbox.command("supervisor");
    command.args(["run", "--", "sh", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it can be executed");
    let supervisor = Pid::from_raw(i32::try_from(child.id()).unwrap());
    sandbox.until_pid("pid");
    let names = ["HUP", "USR1", "USR2", "WINCH", "TERM", "INT", "TERM"];
    for (place, name) in names.iter().enumerate() {
        kill(supervisor, format!("SIG{name}").parse::<Signal>().unwrap()).unwrap();
        until(&format!("{name} has come"), || {
            (sandbox.read("got").lines().nth(place) == Some(name)).then_some(())
        });
    }
    kill(supervisor, Signal::SIGQUIT).unwrap();
    let said = Said::at_the_end_of(child).ends_with(5);
    assert_eq!(said.err, "");
}

#[test]
fn one_command_takes_everything_it_left_behind_along_and_dies_with_its_supervisor() {
    let sandbox = Sandbox::new();
    let script = "(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &); while [ ! -s orphan ]; do sleep 0.01; done; exit 4";
    sandbox.supervisor(&["run", "--", "sh", "-c", script]).ends_with(4);
    until_gone(sandbox.until_pid("orphan"));
    let script = "sh -c 'echo $$ > child; exec sleep 1000' & echo $$ > leader; wait";
    let mut child = sandbox.command("supervisor").args(["run", "--", "sh", "-c", script]).spawn().unwrap();
    let (leader, below) = (sandbox.until_pid("leader"), sandbox.until_pid("child"));
    child.kill().unwrap();
    child.wait().unwrap();
    until_gone(leader);
    until_gone(below);
    until("nothing is left", || sandbox.processes().is_empty().then_some(()));
}

#[test]
fn one_command_is_started_again_where_that_is_wanted_but_not_after_a_signal_to_end() {
    let sandbox = Sandbox::new();
    let script = "echo $$ >> starts; if [ $(wc -l < starts) -lt 3 ]; then exit 1; fi; exec sleep 1000";
    let mut command = sandbox.command("supervisor");
    command.args(["run", "--restart", "on-failure", "--", "sh", "-c", script]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it can be executed");
    until("it was started three times", || (sandbox.read("starts").lines().count() == 3).then_some(()));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    Said::at_the_end_of(child).ends_with(143);
    assert_eq!(sandbox.read("starts").lines().count(), 3);
}

#[test]
fn a_command_that_does_not_end_is_killed_after_the_grace_that_was_given() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let mut command = sandbox.command("supervisor");
    command.args(["run", "--grace", "200ms", "--", "sh", "-c", script]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be executed");
    sandbox.until_pid("pid");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    Said::at_the_end_of(child).ends_with(137);
}
