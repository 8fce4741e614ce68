//! The supervisor as process 1 of a pid namespace.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Said, Sandbox, is_root, lives, skipped, until, until_gone};

/// Whether a pid namespace can be made here; says so when not.
fn namespaces() -> bool {
    if !is_root() {
        skipped("only root makes pid namespaces");
        return false;
    }
    let made = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        skipped("no pid namespaces here (unshare)");
        return false;
    }
    true
}

/// `supervisor run r.json` as process 1 of a namespace of its own.
fn as_process_1(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.shell();
    command.arg("exec unshare --pid --fork --kill-child --mount-proc supervisor run r.json");
    command
}

#[test]
fn as_process_1_it_reaps_twenty_orphans_that_it_never_started() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    // Orphans of orphans, with nothing of the worker about them.
    let script = "i=0; while [ $i -lt 20 ]; do (env -i setsid sh -c 'sleep 0.1' &); i=$((i+1)); done; sleep 0.5; \
                  until ! cat /proc/[0-9]*/stat 2>/dev/null | grep -q ') Z '; do sleep 0.02; done; echo clean > clean; exit 0";
    let config = json!({ "name": "r", "workers": { "w": { "command": script, "restart": "never" } } });
    sandbox.write("r.json", config.to_string());
    let said = Said::of(&mut as_process_1(&sandbox)).ends_with(0);
    assert_eq!(sandbox.read("clean"), "clean\n", "{}", said.err);
}

#[test]
fn as_process_1_it_passes_the_exit_code_on() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": "exit 7", "restart": "never" } } });
    sandbox.write("r.json", config.to_string());
    Said::of(&mut as_process_1(&sandbox)).ends_with(7);
}

#[test]
fn as_process_1_it_ends_when_it_gets_term_and_takes_its_workers_along() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": {
        "w": { "command": "trap 'echo asked > asked; exit 0' TERM; echo up > up; while :; do sleep 0.02; done" } } });
    sandbox.write("r.json", config.to_string());
    let mut command = as_process_1(&sandbox);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sandbox.until_written("up");
    // As the outer namespace sees it, it is the only child of `unshare`.
    let outer = process::Pid::from_raw(child.id() as i32);
    let inner =
        until("process 1 is there", || process::Snapshot::take().unwrap().children(outer).first().copied());
    nix::sys::signal::kill(inner, Signal::SIGTERM).unwrap();
    Said::at_the_end_of(child).ends_with(0);
    assert!(sandbox.has("asked"));
    assert!(!lives(inner.as_raw()));
    until_gone(inner.as_raw());
}
