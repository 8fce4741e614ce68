//! Leaks, busy loops, limits and sockets of the supervisor itself.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tests::{Run, Said, Sandbox, kill_9, lives, until, until_gone};

use crate::one;

/// How often the threads of a process have gone to sleep by themselves.
fn sleeps(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    tasks.flatten().map(of).sum()
}

#[test]
fn supervisord_807_a_run_with_nothing_to_do_does_not_wake_up() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": { "capacity": 1 } }, "workers": {
        "sleeper": { "command": ["sleep", "1000"], "instances": 5, "backoff": { "reset_after": "1h" } },
        "waiter": { "command": ["probe", "get-all", "q"], "backoff": { "reset_after": "1h" } } } }));
    run.until_state("waiter", "running");
    until("it sleeps through a second", || {
        let before = sleeps(run.pid());
        std::thread::sleep(Duration::from_secs(1));
        (sleeps(run.pid()) == before).then_some(())
    });
    assert_eq!(run.stop(), 0);
}

fn descriptors(run: &Run) -> usize {
    fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

#[test]
fn supervisord_89_restarts_leave_no_descriptor_and_no_thread_behind() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "w": { "command": ["probe", "hold", "q"], "instances": 4, "backoff": { "initial": 0 },
               "intensity": { "restarts": 100_000, "within": "1s" } } } }));
    let settled = |run: &Run, launch: u64| {
        until(&format!("all have joined in launch {launch}"), || {
            let rows = run.status().workers;
            let up = rows.iter().all(|row| row.state == "running" && row.launch >= Some(launch));
            let joined = run.out().matches("holds").count() as u64 >= 4 * launch;
            (up && joined).then_some(rows)
        })
    };
    let mut rows = settled(&run, 1);
    let threads = |run: &Run| fs::read_dir(format!("/proc/{}/task", run.pid())).unwrap().count();
    let (before, threads_before) = (descriptors(&run), threads(&run));
    for launch in 2..=12 {
        for row in &rows {
            kill_9(row.pid.unwrap());
        }
        rows = settled(&run, launch);
    }
    // Connections that are just being closed go away by themselves, and two pipes may lie ready for the next restart; of these
    // 44 restarts each would leave one, if any did.
    until("there are as many descriptors as before", || (descriptors(&run) <= before + 6).then_some(()));
    until("there are as many threads as before", || (threads(&run) <= threads_before + 1).then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_636_more_workers_than_the_soft_limit_of_descriptors_are_no_trouble() {
    let sandbox = Sandbox::new();
    // Three descriptors each: their two pipes and themselves.
    let worker = json!({ "command": "[ $SUPERVISOR_INSTANCE != 0 ] || ulimit -Sn > limit; exec sleep 1000", "instances": 150, "policy": "daemon" });
    sandbox.write("r.json", one(&worker).to_string());
    let mut command = sandbox.shell();
    command.arg("ulimit -Sn 256; exec supervisor run r.json").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("all run", || {
        let said = sandbox.supervisor(&["status", "--json"]);
        let running = said.out.matches("\"state\":\"running\"").count();
        (said.code == 0 && running == 150).then_some(())
    });
    assert_eq!(sandbox.until_written("limit"), "256\n", "the workers keep the limit that was set for them");
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    Said::at_the_end_of(child).ends_with(0);
}

#[test]
fn process_compose_ghsa_5gm3_nothing_of_it_listens_on_the_network() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"] })));
    let folder = format!("/proc/{}", run.pid());
    let links = fs::read_dir(format!("{folder}/fd")).unwrap().flatten();
    let sockets: BTreeSet<String> = links
        .filter_map(|entry| {
            fs::read_link(entry.path())
                .ok()?
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')
                .map(str::to_owned)
        })
        .collect();
    assert!(!sockets.is_empty(), "it listens on its control socket");
    for table in ["tcp", "tcp6", "udp", "udp6", "raw"] {
        let text = fs::read_to_string(format!("{folder}/net/{table}")).unwrap_or_default();
        let inodes: BTreeSet<String> =
            text.lines().filter_map(|line| line.split_whitespace().nth(9)).map(str::to_owned).collect();
        assert!(inodes.is_disjoint(&sockets), "{table}: {inodes:?}");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn overmind_50_the_stale_socket_of_a_killed_supervisor_is_told_and_reused() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": ["sleep", "1000"], "policy": "daemon" }));
    let run = sandbox.run(&config);
    let pid = run.until_state("w", "running").pid.unwrap();
    let socket = run.socket().to_owned();
    run.kill_9();
    until_gone(pid);
    assert!(socket.exists());
    let said = sandbox.supervisor(&["status"]).ends_with(5);
    assert!(said.err.contains("hint"), "{}", said.err);
    sandbox.supervisor(&["--name", "r", "status"]).ends_with(5);
    let mut second = sandbox.run(&config);
    second.until_state("w", "running");
    assert_eq!(second.stop(), 0);
    assert!(!socket.exists());
}

#[test]
fn supervisord_480_a_run_whose_socket_was_cleaned_away_is_named_and_can_be_stopped() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"] })));
    let worker = run.until_launch("w", 1);
    fs::remove_file(run.socket()).expect("it is there");
    for arguments in [&["status"][..], &["--name", "r", "status"]] {
        let said = sandbox.supervisor(arguments).ends_with(5);
        said.tells(&format!("r is running as pid {} and cannot be asked", run.pid()));
        said.tells(&format!("`kill {}` stops the run in order", run.pid()));
    }
    let again = sandbox.supervisor(&["run", "r.json"]).ends_with(1);
    again.tells(&format!("r is running already, as pid {}", run.pid()));
    assert!(lives(worker));
    assert_eq!(run.stop(), 0);
    assert!(!lives(worker));
    sandbox.supervisor(&["status"]).ends_with(5).tells("no supervisor is running");
}
