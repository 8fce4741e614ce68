//! Commands that blocked each other, doubled what they started, or touched whom they should not.

use serde_json::json;
use tests::{Said, Sandbox, kill_9, lives, stays};

use crate::one;

#[test]
fn supervisord_177_changing_the_number_of_instances_leaves_the_others_alone() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"], "instances": 3 })));
    let pids = |count: usize| -> Vec<Option<i32>> {
        run.until_all("running").iter().take(count).map(|row| row.pid).collect()
    };
    let before = pids(3);
    sandbox.supervisor(&["scale", "w=5"]).ends_with(0);
    assert_eq!(run.until_all("running").len(), 5);
    assert_eq!(pids(3), before);
    sandbox.supervisor(&["scale", "w=2"]).ends_with(0);
    assert_eq!(pids(3), before[..2]);
    assert!(!lives(before[2].unwrap()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_591_a_worker_stopped_by_hand_is_not_started_again_by_its_policy() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": ["sleep", "1000"], "restart": "always", "backoff": { "initial": 0 } },
        "other": { "command": ["sleep", "1000"] } } }));
    run.until_state("w", "running");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    let stopped = || run.instance("w", 0).state == "stopped";
    stays("it stays stopped", std::time::Duration::from_millis(200), stopped);
    assert_eq!(run.instance("w", 0).restarts, 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn circus_776_a_stop_that_takes_long_blocks_no_other_command() {
    let sandbox = Sandbox::new();
    let slow = "trap 'until [ -e let-go ]; do sleep 0.02; done; exit 0' TERM; touch up; while :; do sleep 0.02; done";
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "slow": { "command": slow, "stop": { "grace": "10m" } }, "other": { "command": ["sleep", "1000"] } } }));
    tests::until("it is up", || sandbox.has("up").then_some(()));
    let (first, second) = (sandbox.begin(&["stop", "slow"]), sandbox.begin(&["stop", "slow"]));
    run.until_state("slow", "stopping");
    for verb in ["restart", "stop", "start"] {
        sandbox.supervisor(&[verb, "other"]).ends_with(0);
    }
    assert_eq!(run.instance("slow", 0).state, "stopping");
    sandbox.write("let-go", "");
    Said::at_the_end_of(first).ends_with(0);
    Said::at_the_end_of(second).ends_with(0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn process_compose_347_restarts_at_the_same_time_never_make_two_copies() {
    let sandbox = Sandbox::new();
    let script = "trap 'rmdir held; exit 0' TERM; mkdir held || echo two >> twice; echo start >> starts; while :; do sleep 0.02; done";
    let mut run = sandbox.run(&one(&json!({ "command": script })));
    sandbox.until_lines("starts", 1);
    let restarts: Vec<_> = (0..8).map(|_| sandbox.begin(&["restart", "w"])).collect();
    for restart in restarts {
        Said::at_the_end_of(restart).ends_with(0);
    }
    run.until_state("w", "running");
    assert!(!sandbox.has("twice"), "two copies lived at the same time");
    let leaders = run.ps().iter().filter(|row| row.depth == 1).count();
    assert_eq!(leaders, 1, "{:?}", run.ps());
    assert_eq!(run.stop(), 0);
}

#[test]
fn pm2_4311_scaling_again_and_again_leaves_exactly_what_was_asked_for_last() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"] })));
    for count in ["w=6", "w=1", "w=5", "w=0", "w=4"] {
        sandbox.supervisor(&["scale", count, "--no-wait"]).ends_with(0);
    }
    sandbox.supervisor(&["scale", "w=3"]).ends_with(0);
    let rows = run.until_all("running");
    assert_eq!(rows.iter().map(|row| row.instance).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(run.until_so_many("w", 3).len(), 3);
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_1444_a_new_supervisor_goes_on_with_the_workers_of_the_old_one() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": ["sleep", "1000"], "instances": 3, "backoff": { "initial": 0 } }));
    let old = sandbox.run(&config);
    let before: Vec<_> = old.until_all("running").iter().map(|row| (row.pid, row.launch)).collect();
    old.kill_9();
    let mut new = sandbox.run(&config);
    let after: Vec<_> = new.until_all("running").iter().map(|row| (row.pid, row.launch)).collect();
    assert_eq!(after, before);
    // Not only seen, but looked after.
    kill_9(before[1].0.unwrap());
    tests::until("the second one runs again", || {
        let row = new.instance("w", 1);
        (row.state == "running" && row.launch > before[1].1).then_some(())
    });
    assert_eq!(new.stop(), 0);
}

#[test]
fn supervisord_1047_a_worker_may_end_at_the_very_moment_it_is_killed() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": "exit 0", "restart": "always", "backoff": { "initial": 0 },
        "intensity": { "restarts": 1_000_000, "within": "1s" } }));
    let mut run = sandbox.run(&config);
    let codes: Vec<i32> =
        (0..40).map(|_| sandbox.supervisor(&["kill", "w", "--signal", "KILL"]).code).collect();
    assert!(codes.iter().all(|code| [0, 4].contains(code)), "{codes:?}");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert_eq!(run.instance("w", 0).state, "stopped");
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_24_the_exit_code_of_a_command_says_what_came_of_it() {
    let sandbox = Sandbox::new();
    sandbox.supervisor(&["status"]).ends_with(5);
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "w": { "command": ["sleep", "1000"] },
        "broken": { "command": ["./not-there"], "restart": "never", "autostart": false } } }));
    for verb in ["stop", "stop", "start", "start", "restart"] {
        sandbox.supervisor(&[verb, "w"]).ends_with(0);
    }
    for verb in ["start", "stop", "restart", "status"] {
        let said = sandbox.supervisor(&[verb, "wx"]).ends_with(4);
        assert!(said.err.contains("wx"), "{}", said.err);
    }
    let said = sandbox.supervisor(&["start", "broken"]).ends_with(1);
    assert!(said.err.contains("not-there"), "{}", said.err);
    sandbox.supervisor(&["no-such-verb"]).ends_with(2);
    run.stop();
}

#[test]
fn supervisord_599_a_percent_sign_means_itself() {
    let sandbox = Sandbox::new();
    let env = json!({ "A": "100%", "B": "%(ENV_HOME)s %s %%", "C": "$1 ${" });
    let script = "printf '%s\\n' \"$A\" \"$B\" \"$C\" > seen";
    let config = one(&json!({ "command": script, "restart": "never", "env": env }));
    let config = config.to_string().replace("${", "$${");
    sandbox.write("r.json", config);
    sandbox.supervisor(&["run", "r.json"]).ends_with(0);
    assert_eq!(sandbox.read("seen"), "100%\n%(ENV_HOME)s %s %%\n$1 ${\n");
}
