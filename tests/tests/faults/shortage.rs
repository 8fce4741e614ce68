//! Neither processes nor descriptors are left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use serde_json::json;
use tests::{Run, Said, Sandbox, is_root, kill_9, programs, skipped, until};

use crate::{lasting, limit, offers, run_of};

/// A user that nobody else is: limits of processes count all that a user has.
const STRANGER: &str = "54321";

/// What makes a command line one that the limit of processes counts for: nothing, unless this is root.
fn as_ordinary_user(sandbox: &Sandbox) -> Option<String> {
    if !is_root() {
        return Some(String::new());
    }
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let become_stranger = format!("setpriv --reuid {STRANGER} --regid {STRANGER} --clear-groups");
    let check = format!("{become_stranger} test -x {}", programs().join("supervisor").display());
    let possible = offers("sh", &["-c", &check], "no other user may execute the programs here (setpriv)");
    possible.then_some(become_stranger)
}

#[test]
fn a_fork_that_fails_is_tried_again_until_there_is_room_for_it() {
    let sandbox = Sandbox::new();
    let workers = json!({ "victim": lasting(), "bystander": lasting() });
    sandbox.write("r.json", run_of(&workers).to_string());
    let Some(user) = as_ordinary_user(&sandbox) else { return };
    if !offers("prlimit", &["--version"], "no prlimit on this machine") {
        return;
    }
    let command = |line: &str| {
        let mut command = sandbox.shell();
        command.arg(format!("exec {user} supervisor {line}")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let child = command("run r.json").spawn().unwrap();
    let supervisor = i32::try_from(child.id()).unwrap();
    let row = |worker: &str| {
        let said = Said::of(&mut command(&format!("status {worker} --json")));
        (said.code == 0).then(|| said.json()["workers"][0].clone())
    };
    let running = |worker: &str, launch: u64| {
        until(&format!("{worker} runs in launch {launch} or later"), || {
            row(worker).filter(|row| row["state"] == "running" && row["launch"].as_u64() >= Some(launch))
        })
    };
    let (victim, bystander) = (running("victim", 1), running("bystander", 1));
    limit(&user, supervisor, "nproc=1:");
    kill_9(i32::try_from(victim["pid"].as_i64().unwrap()).unwrap());
    let failed = until("a launch has failed", || {
        row("victim").filter(|row| row["state"] == "backoff" && row["launch"].as_u64() >= Some(3))
    });
    let why = failed["why"].as_str().unwrap();
    assert!(why.contains("limit of processes"), "{why}");
    assert_eq!(row("bystander").unwrap()["pid"], bystander["pid"]);
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    limit(&user, supervisor, &format!("nproc={most}:"));
    running("victim", 4);
    Said::of(&mut command("shutdown")).ends_with(0);
    Said::at_the_end_of(child).ends_with(0);
}

/// How many processor ticks a process has used.
fn ticks(pid: i32) -> u64 {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = line.rsplit(") ").next().unwrap().split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Leaves a supervisor no free descriptor.
fn take_all_descriptors(run: &Run) {
    let open = || fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count();
    // The one after the last that is open; those in between are not free for long.
    let numbers = fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().flatten();
    let highest: u64 = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().unwrap();
    assert!(open() > 10);
    limit("", run.pid(), &format!("nofile={}:", open().min(highest as usize + 1)));
}

#[test]
fn without_descriptors_deaths_are_seen_and_all_comes_back_with_them() {
    if !offers("prlimit", &["--version"], "no prlimit on this machine") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut workers = json!({ "victim": lasting(), "bystander": lasting() });
    workers["victim"]["instances"] = json!(5);
    let mut run = sandbox.run(&run_of(&workers));
    let before = run.until_all("running");
    take_all_descriptors(&run);
    for row in before.iter().filter(|row| row.worker == "victim") {
        kill_9(row.pid.unwrap());
    }
    // Each death gives a few descriptors back, so that some may return at once; none is forgotten.
    until("the deaths are seen", || {
        let me = process::Pid::from_raw(run.pid());
        let all = process::Snapshot::take().unwrap();
        let zombies = all.children(me).iter().filter_map(|pid| all.get(*pid)).filter(|stat| stat.is_zombie());
        (zombies.count() == 0).then_some(())
    });
    // Somebody who wants in can not be let in, and that is no reason to try again and again.
    let waits = sandbox.begin(&["status", "--json"]);
    let before_ticks = ticks(run.pid());
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(run.pid()) - before_ticks;
    assert!(used < 50, "it used {used} hundredths of a second of processor time in a second");
    limit("", run.pid(), "nofile=1000:");
    Said::at_the_end_of(waits).ends_with(0);
    until("all run again", || {
        let rows = run.status().workers;
        let back = rows
            .iter()
            .all(|row| row.state == "running" && (row.worker != "victim" || row.launch >= Some(2)));
        back.then_some(())
    });
    assert_eq!(
        run.instance("bystander", 0).pid,
        before.iter().find(|row| row.worker == "bystander").unwrap().pid
    );
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_run_that_begins_with_too_few_descriptors_says_so_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", run_of(&json!({ "w": lasting() })).to_string());
    let mut refused = 0;
    for most in [3, 5, 8, 12, 16, 20, 24] {
        let mut command = sandbox.shell();
        command.arg(format!("ulimit -n {most}; exec supervisor run r.json"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Either it is up, or it has ended and said why.
        let mut child = child;
        let up = until("it is up or has ended", || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => (sandbox.supervisor(&["status"]).code == 0).then_some(true),
        });
        if up {
            sandbox.supervisor(&["shutdown"]).ends_with(0);
        }
        let said = Said::at_the_end_of(child);
        assert!(up || (said.code != 0 && said.err.starts_with("supervisor: ")), "{most}: {said:?}");
        assert!(!said.err.contains("panicked"), "{most}: {}", said.err);
        refused += u32::from(!up);
        assert_eq!(sandbox.processes(), [] as [i32; 0], "{most}");
    }
    if refused == 0 {
        skipped("so few descriptors were enough for it");
    }
}
