//! Workers of other users outlive their supervisor, and meet the next one.

use serde_json::json;
use tests::{Run, Said, Sandbox, kill_9, lives, until};

use crate::{NOBODY, door, of, sandbox_of_root, written};

#[test]
fn a_worker_of_another_user_outlives_its_supervisor_and_reaches_the_next() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "supervisor queue put jobs before; until [ -e again ]; do sleep 0.01; done; \
                supervisor queue put jobs after; supervisor status > status; echo $? > code; \
                supervisor lock run ledger -- echo locked > locked";
    let mut worker = of(NOBODY, line);
    worker["queues"] = json!({ "put": ["jobs"] });
    let holder = json!({ "command": ["probe", "hold", "jobs"], "user": NOBODY, "restart": "never" });
    let config = json!({ "queues": { "jobs": {} }, "locks": ["ledger"], "workers": { "w": worker, "holder": holder } });
    let run = sandbox.run(&config);
    until("it is put", || (run.queue("jobs").puts == 1).then_some(()));
    until("the queue is held", || run.out().contains("holds ").then_some(()));
    let (worker, holder) = (run.until_launch("w", 1), run.until_launch("holder", 1));
    let door = door(&run, "w");
    run.kill_9();
    assert!(lives(worker) && lives(holder));
    assert!(door.exists(), "nobody has taken it away");

    let mut next = sandbox.run(&config);
    assert_eq!(next.instance("w", 0).pid, Some(worker), "{}", next.err());
    assert_eq!(next.instance("holder", 0).pid, Some(holder));
    assert_eq!(next.queue("jobs").len, 1, "what was in the queue is there");
    sandbox.write("again", "");
    assert_eq!(written(&sandbox, "code"), ["0"], "{}", next.err());
    assert_eq!(next.queue("jobs").len, 2);
    sandbox.until_written("locked");
    assert_eq!(crate::door(&next, "w"), door);
    assert_eq!(next.stop(), 0);
    assert!(!door.exists() && !door.parent().expect("a folder").exists());
    assert!(!lives(worker) && !lives(holder));
}

#[test]
fn a_daemon_of_another_user_dies_with_its_supervisor_and_its_whole_tree_with_it() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut worker = of(NOBODY, "setsid sleep 1000 & echo $! > below.new; mv below.new below");
    worker["policy"] = "daemon".into();
    let config = json!({ "workers": { "w": worker } });
    let run = sandbox.run(&config);
    let below = sandbox.until_pid("below");
    let leader = run.until_launch("w", 1);
    run.kill_9();
    tests::until_gone(leader);
    tests::until_gone(below);
    std::fs::remove_file(sandbox.path().join("below")).expect("it is there");
    let mut next = sandbox.run(&config);
    let below = sandbox.until_pid("below");
    assert_eq!(next.stop(), 0);
    assert!(!lives(below));
}

#[test]
fn what_escapes_from_a_worker_of_another_user_is_still_its_and_goes_with_it() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "(setsid sh -c 'echo $$ > escaped.new; mv escaped.new escaped; supervisor status > asked.new; \
                echo $? > asked; exec sleep 1000' &)";
    let mut run = sandbox.run(&json!({ "workers": { "w": of(NOBODY, line) } }));
    let escaped = sandbox.until_pid("escaped");
    assert_eq!(written(&sandbox, "asked"), ["0"], "it is of the worker, and is answered as that");
    assert!(run.pids_of("w").contains(&escaped));
    kill_9(run.until_launch("w", 1));
    tests::until_gone(escaped);
    run.stop();
}

/// `supervisor` as root has it in most containers: without the right to look into others' processes.
fn without_the_right_to_trace(sandbox: &Sandbox, arguments: &[&str]) -> Said {
    let outfit = sandbox.command("supervisor");
    let mut command = std::process::Command::new("setpriv");
    let rights = "-sys_ptrace,-perfmon,-sys_admin";
    command.args([&format!("--bounding-set={rights}"), &format!("--inh-caps={rights}")]);
    command.arg(outfit.get_program()).args(arguments).current_dir(sandbox.path());
    for (name, value) in outfit.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Said::of(&mut command)
}

#[test]
fn without_the_right_to_look_into_others_processes_they_are_told_apart_all_the_same() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "(setsid sh -c 'echo $$ > escaped.new; mv escaped.new escaped; exec sleep 1000' &); \
                until [ -e again ]; do sleep 0.01; done; supervisor status > said; echo $? > code";
    let config = json!({ "workers": { "w": of(NOBODY, line), "other": of(NOBODY, "true") } });
    sandbox.write("config.json", config.to_string());
    let begin = || without_the_right_to_trace(&sandbox, &["run", "config.json", "--detach"]).ends_with(0);
    begin();
    let escaped = sandbox.until_pid("escaped");
    let supervisor = |arguments: &[&str]| sandbox.supervisor(arguments).ends_with(0).json();
    let row = |name: &str| {
        let rows = supervisor(&["status", name, "--json"])["workers"].clone();
        rows[0].clone()
    };
    let owner = || {
        let rows = supervisor(&["ps", "--json"]);
        let rows = rows.as_array().expect("rows").clone();
        rows.into_iter().find(|row| row["pid"] == escaped).map(|row| row["worker"].clone())
    };
    until("it is known whose the escaped is", || (owner()? == "w").then_some(()));
    let (leader, first) = (row("w")["pid"].clone(), supervisor(&["status", "--json"])["pid"].clone());
    kill_9(i32::try_from(first.as_i64().expect("a pid")).expect("pids are small"));
    begin();
    assert_eq!(row("w")["pid"], leader, "it was taken back");
    sandbox.write("again", "");
    assert_eq!(written(&sandbox, "code"), ["0"], "{}", sandbox.read("said"));
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!lives(escaped), "all of it is gone");
    assert_eq!(row("other")["state"], "running");
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn nobody_takes_the_place_of_roots_worker_by_what_it_says_of_itself() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let lie = "export SUPERVISOR_WORKER=roots SUPERVISOR_INSTANCE=0 SUPERVISOR_LAUNCH=999; \
               (setsid sh -c 'export SUPERVISOR_LEADER=$$; echo $$ > liar.new; mv liar.new liar; exec sleep 1000' &); \
               (SUPERVISOR_ATTENDS=feeder setsid sh -c 'echo $$ > feeder.new; mv feeder.new feeder; exec sleep 1000' &)";
    let config = json!({ "workers": {
        "roots": { "command": "exec sleep 1000", "restart": "never" },
        "w": of(NOBODY, lie),
    } });
    let run = sandbox.run(&config);
    let roots = run.until_launch("roots", 1);
    let (liar, feeder) = (sandbox.until_pid("liar"), sandbox.until_pid("feeder"));
    for pid in [liar, feeder] {
        let told = || process::environ_var(process::Pid::from_raw(pid), "SUPERVISOR_LAUNCH");
        until("it is executed", || told().filter(|launch| launch == b"999"));
    }
    run.kill_9();
    let mut next = sandbox.run(&config);
    let row = next.instance("roots", 0);
    assert_eq!((row.pid, row.launch), (Some(roots), Some(1)), "{}", next.err());
    kill_9(feeder);
    tests::until_gone(feeder);
    assert_eq!(next.instance("roots", 0).pid, Some(roots), "the end of a false attendant is no news");
    assert!(lives(roots));
    assert_eq!(next.stop(), 0);
    sandbox.clean();
}

#[test]
fn what_a_killed_run_has_outside_of_its_folder_goes_with_any_later_run_once_its_workers_are_dead() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let tmp = sandbox.path().join("tmp");
    std::fs::create_dir(&tmp).expect("it can be made");
    let mut worker = of(NOBODY, "echo $TMPDIR > told");
    worker["private_tmp"] = "folder".into();
    let started = |name: &str, workers: serde_json::Value| {
        let config = json!({ "name": name, "workers": workers });
        Run::start_with(&sandbox, &config, &[("TMPDIR", tmp.as_os_str())])
    };
    let run = started("killed", json!({ "w": worker }));
    let leader = run.until_launch("w", 1);
    sandbox.until_written("told");
    let door = door(&run, "w");
    let doors = door.parent().and_then(std::path::Path::parent).expect("two folders").to_owned();
    let temporary = || std::fs::read_dir(&tmp).expect("it is there").count();
    assert_eq!(temporary(), 1);
    let other = json!({ "w": { "command": ["sleep", "1000"] } });
    started("beside", other.clone()).stop();
    run.kill_9();
    assert!(lives(leader));
    started("later", other.clone()).stop();
    assert!(door.exists() && temporary() == 1, "its worker lives, and may be taken back");
    kill_9(leader);
    tests::until_gone(leader);
    let mut last = started("last", other);
    until("they are gone", || (!doors.exists() && temporary() == 0).then_some(()));
    assert_eq!(last.stop(), 0);
    // The name that was killed finds nothing of it, and leaves nothing.
    let mut again = started("killed", json!({ "w": of(NOBODY, "echo again > again") }));
    sandbox.until_written("again");
    assert_eq!(again.stop(), 0);
    assert!(!sandbox.runtime().join("killed").exists());
}
