//! `kill`, `ps` and `pid`: whole trees, and nobody else.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use process::{Pid, Stat};
use serde_json::{Value, json};
use tests::{Said, Sandbox, lives, skipped, until, until_gone};

use super::{complained, lasting, printed, run_of};

fn pids(said: &Said) -> Vec<i32> {
    let rows = said.json();
    let all = rows[0]["pids"].as_array().expect("a list");
    all.iter().map(|pid| i32::try_from(pid.as_i64().expect("a pid")).expect("a pid")).collect()
}

/// A worker with a child and a grandchild, which write their pids to `child` and `grandchild`.
fn three() -> Value {
    let grandchild = "echo $$ > grandchild; exec sleep 1000";
    let child = format!("echo $$ > child; sh -c '{grandchild}' & wait");
    json!({ "command": format!("sh -c \"{}\" & wait", child.replace('$', "\\$")), "restart": "never" })
}

#[test]
fn a_dry_run_shows_who_would_get_what_and_sends_nothing() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": three(), "other": lasting() }));
    let (child, grandchild) = (sandbox.until_pid("child"), sandbox.until_pid("grandchild"));
    let leader = run.leader("w", 0);
    // It writes its pid before it becomes what it is to be.
    until("the grandchild sleeps", || {
        run.ps().iter().any(|row| row.pid == grandchild && row.command == "sleep 1000").then_some(())
    });
    let said =
        sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL", "--dry-run", "--json"]).ends_with(0);
    assert_eq!(pids(&said), [grandchild, child, leader], "leaves first");
    let rows = said.json();
    assert_eq!(rows[0]["processes"][0]["command"], "sleep 1000");
    assert_eq!(rows[0]["processes"][2]["worker"], "w");
    let other =
        sandbox.supervisor(&["kill", "w", "--tree", "--root-first", "--dry-run", "--json"]).ends_with(0);
    assert_eq!(pids(&other), [leader, child, grandchild]);
    let table = sandbox.supervisor(&["kill", "w", "--tree", "--grace", "5s", "--dry-run"]).ends_with(0).out;
    assert!(table.contains(&format!("{grandchild}  TERM, KILL after 5s  w:0")), "{table}");
    let alone = sandbox.supervisor(&["kill", "w", "--dry-run", "--json"]).ends_with(0);
    assert_eq!(pids(&alone), [leader]);
    assert!([leader, child, grandchild].into_iter().all(lives));
    complained(&sandbox.supervisor(&["kill", "w", "--root-first"]), 2);
    let really = sandbox.supervisor(&["kill", "w", "--tree", "--json"]).ends_with(0);
    assert_eq!(pids(&really), [grandchild, child, leader], "as it was foretold");
    until_gone(leader);
    run.until_state("w", "failed");
    assert_eq!(run.stop(), 143);
}

#[test]
fn a_member_of_a_tree_that_stood_still_before_a_signal_stands_still_after_it() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": three() }));
    let (child, grandchild) = (sandbox.until_pid("child"), sandbox.until_pid("grandchild"));
    let state = |pid: i32| Stat::of(Pid::from_raw(pid)).unwrap().map(|stat| stat.state);
    kill(Pid::from_raw(grandchild), Signal::SIGSTOP).unwrap();
    until("it stands", || (state(grandchild) == Some('T')).then_some(()));
    // One that none of them reacts to.
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "URG"]).ends_with(0);
    until("the others go on", || (state(child) == Some('S')).then_some(()));
    assert_eq!(state(grandchild), Some('T'));
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "STOP"]).ends_with(0);
    until("all stand", || (state(child) == Some('T')).then_some(()));
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "CONT"]).ends_with(0);
    until("all go on", || (state(child) == Some('S') && state(grandchild) == Some('S')).then_some(()));
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL", "--wait"]).ends_with(0);
    assert!(![child, grandchild].into_iter().any(lives));
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn after_its_grace_a_tree_is_killed_again_and_again_until_nobody_is_left() {
    let sandbox = Sandbox::new();
    // Whoever is asked to end starts another one in a session that nobody is asked in.
    let script = "trap 'sleep 1000 & echo $! >> born' TERM; echo up > up; while :; do sleep 0.01; done";
    let mut run = run_of(&sandbox, &json!({ "w": { "command": script, "restart": "never" } }));
    sandbox.until_written("up");
    let leader = run.leader("w", 0);
    sandbox.supervisor(&["kill", "w", "--tree", "--grace", "200ms"]).ends_with(0);
    assert!(!lives(leader));
    let born: Vec<i32> = sandbox.until_written("born").lines().map(|line| line.parse().unwrap()).collect();
    assert!(!born.is_empty() && !born.into_iter().any(lives), "who was born after the signal is gone too");
    assert_eq!(run.exit_code(), 137);
}

#[test]
fn all_who_are_named_get_the_signal_before_any_of_them_is_waited_for() {
    let sandbox = Sandbox::new();
    // Each ends only when the other has been asked too.
    let end = |own: &str, other: &str| {
        let script = format!(
            "trap 'echo > asked-{own}; until [ -e asked-{other} ]; do sleep 0.01; done; exit 0' TERM; echo > up-{own}
             while :; do sleep 0.01; done"
        );
        json!({ "command": script, "restart": "never" })
    };
    let mut run = run_of(&sandbox, &json!({ "a": end("a", "b"), "b": end("b", "a"), "c": lasting() }));
    for name in ["up-a", "up-b"] {
        sandbox.until_written(name);
    }
    let late = sandbox.supervisor(&["kill", "c", "--signal", "URG", "--wait", "--timeout", "100ms"]);
    complained(&late, 7);
    let both = printed(&sandbox.supervisor(&["kill", "a", "b", "--wait"]), 0);
    assert_eq!(both.lines().count(), 2, "{both}");
    run.until_state("a", "done");
    run.until_state("b", "done");
    let mixed = sandbox.supervisor(&["kill", "nobody", "c", "--grace", "1m"]);
    assert!(complained(&mixed, 4).contains("nobody"));
    assert!(mixed.out.starts_with("c  TERM"), "{}", mixed.out);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_supervisor_is_in_no_tree_that_gets_a_signal() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    let own = std::process::id().to_string();
    for flags in [&["--foreign", "--tree"][..], &["--foreign", "--tree", "--dry-run"]] {
        let refused = sandbox.supervisor(&[&["kill", &own, "--signal", "URG"], flags].concat());
        assert!(complained(&refused, 9).contains("the supervisor itself is in that tree"), "{}", refused.err);
    }
    let is_kernel_thread = Stat::of(Pid::from_raw(2)).unwrap().is_some_and(|stat| stat.is_kernel_thread());
    if is_kernel_thread {
        complained(&sandbox.supervisor(&["kill", "2", "--foreign"]), 9);
    } else {
        skipped("no thread of the kernel is seen from here");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn who_asks_from_inside_of_a_tree_is_let_alone() {
    let sandbox = Sandbox::new();
    let script =
        "trap 'echo usr1 > got' USR1; supervisor kill w --tree --signal USR1 --json > said; echo $? > code
        while :; do sleep 0.02; done";
    let mut run = run_of(&sandbox, &json!({ "w": { "command": script } }));
    assert_eq!(sandbox.until_written("code"), "0\n");
    sandbox.until_written("got");
    let said: Value = serde_json::from_str(&sandbox.read("said")).unwrap();
    assert_eq!(said[0]["pids"], json!([run.leader("w", 0)]));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_signal_that_does_not_exist_is_wrong_usage_with_a_suggestion() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    let said = complained(&sandbox.supervisor(&["kill", "w", "--signal", "TREM"]), 2);
    assert!(said.contains("did you mean \"TERM\"?"), "{said}");
    printed(&sandbox.supervisor(&["kill", "w", "-s", "SIGURG"]), 0);
    printed(&sandbox.supervisor(&["kill", "w", "-s", "RTMIN+3", "--dry-run"]), 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn ps_shows_all_or_what_belongs_to_a_worker_or_is_below_a_pid() {
    let sandbox = Sandbox::new();
    let mut run =
        run_of(&sandbox, &json!({ "w": three(), "other": { "command": ["sleep", "1000"], "instances": 2 } }));
    let (child, grandchild) = (sandbox.until_pid("child"), sandbox.until_pid("grandchild"));
    let leader = run.leader("w", 0);
    let shown = |whom: &[&str]| -> Vec<i64> {
        let rows = sandbox.supervisor(&[&["ps", "--json"], whom].concat()).ends_with(0).json();
        rows.as_array().unwrap().iter().map(|row| row["pid"].as_i64().unwrap()).collect()
    };
    let [leader, child, grandchild] = [leader, child, grandchild].map(i64::from);
    assert_eq!(shown(&[]).len(), 6);
    assert_eq!(shown(&[&child.to_string()]), [child, grandchild]);
    assert_eq!(shown(&["w"]), [leader, child, grandchild]);
    assert_eq!(shown(&["other"]).len(), 2);
    assert_eq!(shown(&["other:1", &grandchild.to_string()]).len(), 2);
    assert_eq!(shown(&["w:0", &child.to_string()]).len(), 3, "each once");
    let rows = sandbox.supervisor(&["ps", "w", "--json"]).ends_with(0).json();
    assert!(rows[0]["memory_bytes"].as_u64().unwrap() > 0 && rows[0]["threads"] == 1);
    assert!(rows[2]["age_s"].as_f64().unwrap() <= rows[0]["age_s"].as_f64().unwrap());
    assert_eq!(rows[2]["state"], "S");
    let table = printed(&sandbox.supervisor(&["ps", &child.to_string()]), 0);
    let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["PID", "PPID", "S", "WORKER", "LAUNCH", "AGE", "CPU", "MEMORY", "COMMAND"]);
    complained(&sandbox.supervisor(&["ps", "1"]), 4);
    assert!(complained(&sandbox.supervisor(&["ps", "ohter"]), 4).contains("did you mean \"other\"?"));
    sandbox.supervisor(&["stop", "other"]).ends_with(0);
    assert!(complained(&sandbox.supervisor(&["ps", "other"]), 4).contains("nothing of other is running"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn pid_prints_what_scripts_want() {
    let sandbox = Sandbox::new();
    let mut run =
        run_of(&sandbox, &json!({ "w": { "command": ["sleep", "1000"], "instances": 2 }, "x": lasting() }));
    let of = |worker: &str, instance| run.leader(worker, instance);
    let said = |whom: &[&str]| printed(&sandbox.supervisor(&[&["pid"], whom].concat()), 0);
    assert_eq!(said(&["x"]), format!("{}\n", of("x", 0)));
    assert_eq!(said(&["w"]), format!("{}\n{}\n", of("w", 0), of("w", 1)));
    assert_eq!(said(&["w:1", "x"]), format!("{}\n{}\n", of("w", 1), of("x", 0)));
    assert_eq!(said(&[]), format!("{}\n", run.pid()));
    let json = sandbox.supervisor(&["pid", "x", "--json"]).ends_with(0).json();
    assert_eq!(json, json!([{ "worker": "x", "instance": 0, "pid": of("x", 0) }]));
    sandbox.supervisor(&["stop", "x"]).ends_with(0);
    assert!(complained(&sandbox.supervisor(&["pid", "w", "x"]), 4).contains("nothing of x is running"));
    assert!(complained(&sandbox.supervisor(&["pid", "y"]), 4).contains("no worker is called"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_guard_of_daemons_is_a_part_of_the_supervisor() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "d": { "command": ["sleep", "1000"], "policy": "daemon" } }));
    let guard = until("there is a guard", || {
        let snapshot = process::Snapshot::take().unwrap();
        let children = snapshot.children(Pid::from_raw(run.pid())).to_vec();
        children.into_iter().find(|pid| process::cmdline(*pid).contains("guard"))
    });
    complained(&sandbox.supervisor(&["kill", &guard.to_string(), "--signal", "URG"]), 9);
    assert!(lives(guard.as_raw()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_pipe_that_closes_early_is_no_error() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": { "command": ["sleep", "1000"], "instances": 50 } }));
    let script = "supervisor ps | head -1; supervisor ps --json | head -c 1 > /dev/null; echo end";
    let said = Said::of(sandbox.shell().arg(script).stdin(Stdio::null()));
    assert!(said.out.ends_with("end\n") && said.err.is_empty(), "{}{}", said.out, said.err);
    let full = Said::of(sandbox.shell().arg("supervisor ps > /dev/full"));
    assert!(complained(&full, 1).contains("cannot be written"), "{}", full.err);
    assert_eq!(run.stop(), 0);
}
