//! As the one process of a container: who ends it, with which code, and where its output goes.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Said, Sandbox, is_root, skipped, stays, until};

use crate::one;

#[test]
fn supervisord_712_the_run_ends_when_a_vital_worker_gives_up() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "vital": { "command": "exit 6", "on_failed": "stop", "backoff": { "initial": 0 },
                   "intensity": { "restarts": 3, "within": "1h" } },
        "other": { "command": ["sleep", "1000"] } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 6, "{}", run.err());
}

#[test]
fn supervisord_733_the_exit_code_of_what_failed_is_that_of_the_run() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "fine": { "command": "exit 0", "restart": "never" },
        "bad": { "command": "kill -SEGV $$", "restart": "never", "after": { "fine": "succeeded" } } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 128 + 11, "{}", run.err());
}

#[test]
fn foreman_676_one_that_exits_with_0_takes_nobody_with_it() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "short": { "command": "exit 0", "restart": "never" }, "long": { "command": ["sleep", "1000"] } } }));
    run.until_state("short", "done");
    let pid = run.until_state("long", "running").pid.unwrap();
    stays("the other lives", std::time::Duration::from_millis(100), || tests::lives(pid));
    assert_eq!(run.stop(), 0);
}

#[test]
fn runit_27_a_shutdown_restarts_nothing() {
    let sandbox = Sandbox::new();
    let worker = json!({ "command": "echo start >> starts; exec sleep 1000", "restart": "always",
                         "backoff": { "initial": 0 }, "instances": 5 });
    let mut run = sandbox.run(&one(&worker));
    sandbox.until_lines("starts", 5);
    sandbox.supervisor(&["shutdown"]).ends_with(0);
    assert_eq!(run.exit_code(), 0);
    assert_eq!(sandbox.lines("starts"), 5);
    assert_eq!(sandbox.processes(), [] as [i32; 0]);
}

#[test]
fn supervisord_1224_dev_stdout_is_a_place_for_output_like_any_other() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "path": { "command": "echo by path", "stdout": "/dev/stdout", "restart": "never" },
        "inherit": { "command": "echo inherited", "stdout": "inherit", "restart": "never" },
        "log": { "command": "echo logged", "log": { "file": "/dev/stderr", "format": "raw", "max_size": "16KiB" }, "restart": "never" } } });
    sandbox.write("r.json", config.to_string());
    // Through pipes, which cannot be sought in, nor rotated.
    let said = Said::of(sandbox.shell().arg("supervisor run r.json")).ends_with(0);
    assert!(said.out.contains("by path\n") && said.out.contains("inherited\n"), "{said:?}");
    assert!(said.out.contains("logged") && said.err.contains("logged"), "{said:?}");
    for stream in ["/dev/stdout", "/dev/stderr"] {
        assert!(std::fs::symlink_metadata(stream).unwrap().is_symlink(), "{stream} was moved aside");
    }
}

#[test]
fn kubernetes_65502_a_sidecar_is_there_before_and_after_whom_it_serves() {
    let sandbox = Sandbox::new();
    let script = |name: &str| {
        format!(
            "trap 'echo {name} ends >> order; exit 0' TERM; echo {name} begins >> order; while :; do sleep 0.02; done"
        )
    };
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "app": { "command": format!("until grep -q sidecar order; do sleep 0.02; done; {}", script("app")), "after": { "sidecar": "started" } },
        "sidecar": { "command": script("sidecar"), "policy": "terminate" } } }));
    sandbox.until_lines("order", 2);
    assert_eq!(run.stop(), 0);
    assert_eq!(sandbox.read("order"), "sidecar begins\napp begins\napp ends\nsidecar ends\n");
}

/// `supervisor run r.json` as process 1 of a pid namespace, where one can be made; says so where not.
fn as_process_1(sandbox: &Sandbox) -> Option<Command> {
    let probe = ["--pid", "--fork", "--mount-proc", "true"];
    let made = is_root()
        && Command::new("unshare").args(probe).stderr(Stdio::null()).status().is_ok_and(|it| it.success());
    if !made {
        skipped("no pid namespaces here (unshare, as root)");
        return None;
    }
    let mut command = sandbox.shell();
    command.arg("exec unshare --pid --fork --kill-child --mount-proc supervisor run r.json");
    Some(command)
}

#[test]
fn docker_nexus_56_as_process_1_it_stops_its_workers_gracefully_when_it_gets_term() {
    let sandbox = Sandbox::new();
    let script =
        "trap 'sleep 0.3; echo finished > finished; exit 0' TERM; echo up > up; while :; do sleep 0.02; done";
    sandbox.write("r.json", one(&json!({ "command": script })).to_string());
    let Some(mut command) = as_process_1(&sandbox) else { return };
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sandbox.until_written("up");
    let outer = process::Pid::from_raw(child.id() as i32);
    let inner =
        until("process 1 is there", || process::Snapshot::take().unwrap().children(outer).first().copied());
    nix::sys::signal::kill(inner, Signal::SIGTERM).unwrap();
    Said::at_the_end_of(child).ends_with(0);
    assert!(sandbox.has("finished"), "the container ended before its worker had");
}

#[test]
fn supervisord_936_as_process_1_it_reaps_what_it_never_started() {
    let sandbox = Sandbox::new();
    let script = "i=0; while [ $i -lt 20 ]; do (env -i setsid sh -c 'sleep 0.05' &); i=$((i+1)); done; sleep 0.3; \
                  until ! cat /proc/[0-9]*/stat 2>/dev/null | grep -q ') Z '; do sleep 0.02; done; echo clean > clean";
    sandbox.write("r.json", one(&json!({ "command": script, "restart": "never" })).to_string());
    let Some(mut command) = as_process_1(&sandbox) else { return };
    Said::of(&mut command).ends_with(0);
    assert_eq!(sandbox.read("clean"), "clean\n");
}
