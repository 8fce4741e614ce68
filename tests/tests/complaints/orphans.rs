//! What survived a stop, a crash or the supervisor's own death, though it should not have.

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Sandbox, kill_9, lives, until, until_gone};

use crate::one;

#[test]
fn supervisord_1101_grandchildren_survive_stop() {
    let sandbox = Sandbox::new();
    let script = "sh -c 'sh -c \"sleep 1000 & wait\" & wait' & wait";
    let mut run = sandbox.run(&one(&json!({ "command": script })));
    let all = run.until_so_many("w", 4);
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!all.iter().any(|pid| lives(*pid)), "something of it lives");
    run.until_state("w", "stopped");
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_944_the_stop_signal_reaches_what_the_shell_has_started() {
    let sandbox = Sandbox::new();
    let script = "trap 'wait; exit 0' TERM; \
                  sh -c 'trap \"echo asked > asked; exit 0\" TERM; echo $$ > child; while :; do sleep 0.02; done' & wait";
    let stop = json!({ "to": "tree", "grace": "5m" });
    let mut run = sandbox.run(&one(&json!({ "command": script, "stop": stop })));
    let child = sandbox.until_pid("child");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("asked"), "only the shell was asked");
    assert!(!lives(child));
}

#[test]
fn process_compose_67_the_stop_signal_goes_to_the_main_process_alone_unless_told_otherwise() {
    let sandbox = Sandbox::new();
    let script = "sh -c 'trap \"echo asked > child.term\" TERM; echo $$ > child; while [ ! -e end ]; do sleep 0.02; done; echo finished > finished' & \
                  trap 'echo asked > main.term; touch end; while [ ! -e finished ]; do sleep 0.02; done; exit 0' TERM; \
                  while :; do sleep 0.02; done";
    let mut run = sandbox.run(&one(&json!({ "command": script })));
    sandbox.until_pid("child");
    assert_eq!(run.stop(), 0);
    assert!(sandbox.has("main.term") && sandbox.has("finished"));
    assert!(!sandbox.has("child.term"), "the child was asked too");
}

#[test]
fn process_compose_520_a_stop_is_complete_only_when_the_tree_is_empty() {
    let sandbox = Sandbox::new();
    let script = "trap 'exit 0' TERM; sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.02; done' & \
                  while :; do sleep 0.02; done";
    let mut run = sandbox.run(&one(&json!({ "command": script, "stop": { "grace": "300ms" } })));
    let child = sandbox.until_pid("child");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!lives(child), "the stop was answered while a child lived");
    assert_eq!(run.stop(), 0);
}

#[test]
fn watchexec_960_a_restart_starts_no_second_copy_beside_what_is_left_of_the_first() {
    let sandbox = Sandbox::new();
    let script = "for pid in $(cat child 2>/dev/null); do readlink /proc/$pid/exe > target && echo $pid > both; done; \
                  sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.02; done' & echo $$ >> leaders; wait";
    let mut run = sandbox.run(&one(&json!({ "command": script, "stop": { "grace": "200ms" } })));
    sandbox.until_pid("child");
    sandbox.supervisor(&["restart", "w"]).ends_with(0);
    sandbox.until_lines("leaders", 2);
    assert!(!sandbox.has("both"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn systemd_2416_what_a_crashed_leader_left_is_gone_before_its_successor_runs() {
    let sandbox = Sandbox::new();
    let script = "for pid in $(cat left 2>/dev/null); do [ ! -d /proc/$pid ] || echo $pid > beside; done; \
                  [ -e left ] && echo looked > looked && exec sleep 1000; \
                  sleep 1000 & echo $! > new; (setsid sh -c 'echo $$ >> new; exec sleep 1000' &); \
                  until [ $(wc -l < new) = 2 ]; do sleep 0.02; done; mv new left; exit 1";
    let mut run = sandbox.run(&one(&json!({ "command": script, "backoff": { "initial": 0 } })));
    sandbox.until_written("looked");
    assert_eq!(sandbox.lines("left"), 2);
    assert!(!sandbox.has("beside"), "left over beside the successor: {}", sandbox.read("beside"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn tini_138_what_has_forked_away_is_asked_before_it_is_killed() {
    let sandbox = Sandbox::new();
    let script = "trap 'until [ -e asked ]; do sleep 0.02; done; exit 0' TERM; \
                  (setsid sh -c 'trap \"echo asked > asked; exit 0\" TERM; echo $$ > daemon; while :; do sleep 0.02; done' &); \
                  while :; do sleep 0.02; done";
    let stop = json!({ "to": "tree", "grace": "5m" });
    let mut run = sandbox.run(&one(&json!({ "command": script, "stop": stop })));
    let daemon = sandbox.until_pid("daemon");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("asked") && !lives(daemon));
}

#[test]
fn pueue_347_killing_the_tree_of_a_shell_leaves_none_of_its_descendants() {
    let sandbox = Sandbox::new();
    let script = "sh -c 'sleep 1000; true'; true";
    let mut run = sandbox.run(&one(&json!({ "command": script, "restart": "never", "policy": "terminate" })));
    let all = run.until_so_many("w", 3);
    sandbox.supervisor(&["kill", "w", "--tree", "--signal", "KILL"]).ends_with(0);
    run.until_state("w", "failed");
    assert!(!all.iter().any(|pid| lives(*pid)), "a descendant of the shell lives");
    assert_eq!(run.stop(), 137, "killed by somebody who did not say that it should stop");
}

#[test]
fn graphite_88_stopping_a_script_stops_the_service_that_it_runs() {
    let sandbox = Sandbox::new();
    let script = "sh -c 'echo $$ > service; exec sleep 1000'; echo after > after";
    let mut run = sandbox.run(&one(&json!({ "command": script })));
    let service = sandbox.until_pid("service");
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    assert!(!lives(service), "the service lives on without its script");
    assert!(!sandbox.has("after"), "the script went on");
    assert_eq!(run.stop(), 0);
}

#[test]
fn foreman_628_nothing_is_left_when_the_run_is_over() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & echo $! > child; (setsid sh -c 'echo $$ > daemon; exec sleep 1000' &); \
                  until [ -s daemon ]; do sleep 0.02; done; exit 0";
    let (code, run) = sandbox.run_to_its_end(&one(&json!({ "command": script })));
    assert_eq!(code, 0, "{}", run.err());
    for name in ["child", "daemon"] {
        assert!(!lives(sandbox.until_pid(name)), "the {name} outlived the run");
    }
    assert_eq!(sandbox.processes(), [] as [i32; 0]);
}

#[test]
fn overmind_182_no_zombie_is_left_below_the_supervisor() {
    let sandbox = Sandbox::new();
    let script = "i=0; while [ $i -lt 20 ]; do (sleep 0.05 &); i=$((i+1)); done; sleep 0.3; echo done > made; exec sleep 1000";
    let mut run = sandbox.run(&one(&json!({ "command": script })));
    sandbox.until_written("made");
    until("all orphans are reaped", || {
        let all = process::Snapshot::take().unwrap();
        let me = process::Pid::from_raw(run.pid());
        let zombies = all.iter().filter(|stat| stat.ppid == me && stat.is_zombie()).count();
        (zombies == 0).then_some(())
    });
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_168_daemon_when_the_supervisor_is_killed_the_kernel_kills_it() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let run = sandbox.run(&one(&json!({ "command": script, "policy": "daemon" })));
    let pid = sandbox.until_pid("pid");
    run.kill_9();
    until_gone(pid);
    assert!(!sandbox.has("asked"));
    sandbox.clean();
}

#[test]
fn pm2_2174_workers_are_asked_to_end_when_their_supervisor_is_killed() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let run = sandbox.run(&one(&json!({ "command": script, "policy": "terminate" })));
    let pid = sandbox.until_pid("pid");
    run.kill_9();
    until_gone(pid);
    assert!(sandbox.has("asked"), "it was not asked");
    sandbox.clean();
}

#[test]
fn supervisord_995_no_second_copy_is_started_beside_one_that_outlived_its_supervisor() {
    let sandbox = Sandbox::new();
    let config = one(&json!({ "command": "echo $$ >> starts; exec sleep 1000" }));
    let first = sandbox.run(&config);
    let pid = sandbox.until_pid("starts");
    first.kill_9();
    let mut second = sandbox.run(&config);
    assert_eq!(second.until_state("w", "running").pid, Some(pid));
    assert_eq!(sandbox.lines("starts"), 1);
    assert_eq!(second.stop(), 0);
    assert!(!lives(pid));
}

#[test]
fn s6_overlay_204_a_stop_does_not_sleep_through_a_grace_that_nobody_needs() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"], "stop": { "grace": "10m" } })));
    run.until_state("w", "running");
    // The watchdog of this wait is shorter than the grace.
    assert_eq!(run.stop(), 0);
}

#[test]
fn pm2_1732_a_worker_has_the_whole_grace_that_its_config_gives_it() {
    let sandbox = Sandbox::new();
    // Longer than the 1.6 s after which others kill.
    let script =
        "trap 'sleep 2; echo finished > finished; exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let mut run = sandbox.run(&one(&json!({ "command": script, "stop": { "grace": "5m" } })));
    sandbox.until_pid("pid");
    assert_eq!(run.stop(), 0, "{}", run.err());
    assert!(sandbox.has("finished"), "it was killed before its grace was over");
}

#[test]
fn pitchfork_632_a_pid_that_is_not_of_the_run_is_not_killed() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one(&json!({ "command": ["sleep", "1000"] })));
    let pid = run.until_state("w", "running").pid.unwrap();
    let mut innocent = sandbox.shell().arg("exec sleep 1000").spawn().unwrap();
    let said = sandbox.supervisor(&["kill", &innocent.id().to_string(), "--signal", "KILL"]).ends_with(9);
    assert!(said.err.contains("--foreign"), "{}", said.err);
    // A worker's former pid means nobody.
    sandbox.supervisor(&["stop", "w"]).ends_with(0);
    sandbox.supervisor(&["kill", &pid.to_string(), "--signal", "KILL"]).ends_with(4);
    assert!(innocent.try_wait().unwrap().is_none(), "an innocent process was killed");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
    assert_eq!(run.stop(), 0);
}

#[test]
fn watchexec_716_ctrl_c_on_the_terminal_reaches_the_supervisor_and_not_its_workers() {
    use std::io::Write;
    let sandbox = Sandbox::new();
    let script = "trap 'echo interrupted > interrupted' INT; trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; \
                  while :; do sleep 0.02; done";
    sandbox.write("r.json", one(&json!({ "command": script })).to_string());
    let Some(mut command) = sandbox.on_a_terminal("supervisor run r.json") else { return };
    let mut child = command.spawn().unwrap();
    let pid = sandbox.until_pid("pid");
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    keys.flush().unwrap();
    until("it has ended", || child.try_wait().unwrap());
    drop(keys);
    assert!(!lives(pid));
    assert!(sandbox.has("asked") && !sandbox.has("interrupted"));
}

#[test]
fn foreman_779_a_worker_that_is_killed_from_outside_is_noticed_whatever_it_left() {
    let sandbox = Sandbox::new();
    let script = "echo start >> starts; sleep 1000 & wait";
    let mut run = sandbox.run(&one(&json!({ "command": script, "backoff": { "initial": 0 } })));
    for launch in 1..=5 {
        let pid = run.until_launch("w", launch);
        let all = run.until_so_many("w", 2);
        kill_9(pid);
        run.until_launch("w", launch + 1);
        assert!(!all.iter().any(|pid| lives(*pid)));
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.exit_code(), 0);
    assert_eq!(sandbox.processes(), [] as [i32; 0]);
}
