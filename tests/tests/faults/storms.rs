//! Many at once: exits, orphans, launches, and so many pids that they come round.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use tests::{Said, Sandbox, skipped, until};

use crate::{in_own, lasting, offers, run_of};

#[test]
fn ten_thousand_exits_are_each_counted_and_each_answered_once() {
    let sandbox = Sandbox::new();
    let storm = json!({ "command": ["true"], "restart": "always", "instances": 40, "stdout": "null", "stderr": "null",
        "backoff": { "initial": 0 }, "intensity": { "restarts": 1_000_000, "within": "1s" } });
    let mut run = sandbox.run(&run_of(&json!({ "storm": storm, "calm": lasting() })));
    let calm = run.until_launch("calm", 1);
    let restarts = || run.status().workers.iter().map(|row| row.restarts).sum::<u64>();
    until("ten thousand have exited", || (restarts() >= 10_000).then_some(()));
    sandbox.supervisor(&["stop", "storm"]).ends_with(0);
    let rows = run.status().workers;
    for row in rows.iter().filter(|row| row.worker == "storm") {
        // One launch more than there were restarts, and none that was not counted.
        assert_eq!(row.launch, Some(row.restarts + 1), "{row:?}");
        assert_eq!((row.state.as_str(), row.pid), ("stopped", None));
    }
    assert_eq!(run.instance("calm", 0).pid, Some(calm));
    assert_eq!(run.until_so_many("calm", 1), [calm]);
    let me = process::Pid::from_raw(run.pid());
    let children = process::Snapshot::take().unwrap().children(me).to_vec();
    assert_eq!(children, [process::Pid::from_raw(calm)], "something of the storm is left");
    assert_eq!(run.stop(), 0);
}

#[test]
fn two_thousand_orphans_are_reaped_while_others_are_restarted() {
    let sandbox = Sandbox::new();
    let script =
        "i=0; while [ $i -lt 2000 ]; do (true &); i=$((i+1)); done; echo made > made; exec sleep 1000";
    let mut run = sandbox.run(&run_of(&json!({
        "mother": { "command": script, "policy": "terminate" }, "other": lasting() })));
    let mut launch = 1;
    until("all were made", || {
        tests::kill_9(run.until_launch("other", launch));
        launch += 1;
        sandbox.has("made").then_some(())
    });
    run.until_launch("other", launch);
    until("all are reaped", || {
        let me = process::Pid::from_raw(run.pid());
        (process::Snapshot::take().unwrap().children(me).len() == 2).then_some(())
    });
    assert_eq!(run.stop(), 0);
}

/// What begins a command line in a pid namespace with few pids, if there is a limit for a namespace alone (Linux 6.14).
fn with_few_pids() -> Option<String> {
    // Elsewhere the limit is everybody's; so it is looked at first, from inside.
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let enough = matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 14));
    if !enough {
        skipped("no limit of pids for a namespace alone (Linux 6.14)");
        return None;
    }
    let own = in_own("--pid --fork --kill-child --mount-proc", "no pid namespaces here (unshare)")?;
    let set = "test $(cat /proc/sys/kernel/pid_max) -gt 1000 && echo 400 > /proc/sys/kernel/pid_max";
    let check = format!("{own} sh -c '{set}'");
    offers("sh", &["-c", &check], "the limit of pids cannot be set here").then_some(own)
}

#[test]
fn pids_that_come_round_again_and_again_are_never_mistaken() {
    let Some(own) = with_few_pids() else { return };
    let sandbox = Sandbox::new();
    // A hundred numbers for about a dozen processes. Each launch writes its number down.
    let churn = json!({ "command": "echo $$ >> pids; (true &); exit 1", "instances": 4,
        "backoff": { "initial": 0 }, "intensity": { "restarts": 1_000_000, "within": "1s" } });
    let steady = json!({ "command": "trap 'echo asked > asked; exit 0' TERM; echo $$ > steady; while :; do sleep 0.05; done" });
    let judge = json!({ "command": "until [ -s steady ] && [ $(wc -l < pids) -ge 1500 ]; do sleep 0.2; done; \
                                    supervisor status --json > status; supervisor ps --json > ps; supervisor stop churn; \
                                    supervisor shutdown", "restart": "never" });
    let config = run_of(&json!({ "churn": churn, "steady": steady, "judge": judge }));
    sandbox.write("r.json", config.to_string());
    let mut command = sandbox.shell();
    command
        .arg(format!("exec {own} sh -c 'echo 400 > /proc/sys/kernel/pid_max; exec supervisor run r.json'"));
    let said = Said::of(&mut command).ends_with(0);
    let pids = sandbox.read("pids");
    let different: BTreeSet<&str> = pids.lines().collect();
    assert!(pids.lines().count() >= 1500 && different.len() < 400, "{} pids", different.len());
    let status: serde_json::Value = serde_json::from_str(&sandbox.read("status")).expect(&said.err);
    let rows = status["workers"].as_array().unwrap();
    let row = |worker: &str| rows.iter().find(|row| row["worker"] == worker).unwrap();
    assert_eq!((&row("steady")["launch"], &row("steady")["restarts"]), (&json!(1), &json!(0)), "it was hit");
    assert_eq!(row("steady")["pid"].to_string(), sandbox.read("steady").trim());
    // Each line was written by a launch that is counted.
    let launches: u64 =
        rows.iter().filter(|row| row["worker"] == "churn").map(|row| row["launch"].as_u64().unwrap()).sum();
    assert!(launches >= 1500, "{launches}");
    let ps: Vec<serde_json::Value> = serde_json::from_str(&sandbox.read("ps")).unwrap();
    let leaders = ps.iter().filter(|row| row["worker"] == "churn" && row["depth"] == 1).count();
    assert!(leaders <= 8, "{ps:?}");
    assert!(sandbox.has("asked"), "the steady one was not asked to stop");
}
