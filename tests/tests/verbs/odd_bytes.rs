//! Arguments that are not UTF-8: passed on byte for byte where they are for somebody else, refused with a word elsewhere.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;
use tests::{Said, Sandbox};

use super::{complained, lasting, run_of};

const ODD: &[u8] = b"a\xff\xfeb";

fn with_odd(sandbox: &Sandbox, before: &[&str], after: &[&str]) -> Said {
    let mut command = sandbox.command("supervisor");
    Said::of(command.args(before).arg(OsStr::from_bytes(ODD)).args(after))
}

#[test]
fn a_name_that_is_not_utf_8_is_wrong_usage() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    let verbs: &[&[&str]] = &[
        &["status"],
        &["stop"],
        &["kill"],
        &["ps"],
        &["pid"],
        &["why"],
        &["logs"],
        &["wait"],
        &["scale"],
        &["queue", "get"],
        &["lock", "create"],
        &["event", "set"],
        &["value", "get"],
        &["barrier", "wait"],
        &["--name"],
        &["kill", "w", "--signal"],
        &["wait", "w", "--timeout"],
    ];
    for before in verbs {
        let said = with_odd(&sandbox, before, &[]);
        assert!(!complained(&said, 2).is_empty(), "{before:?}");
    }
    let said = with_odd(&sandbox, &["lock", "run"], &["--", "true"]);
    assert!(!complained(&said, 2).is_empty());
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_arguments_of_a_command_under_a_lock_arrive_byte_for_byte() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "locks": ["l"], "semaphores": { "s": 1 }, "workers": {
        "w": lasting() } }));
    run.until_state("w", "running");
    for verb in [["lock", "run", "l"], ["semaphore", "run", "s"]] {
        let said = with_odd(&sandbox, &[&verb[..], &["--", "printf", "%s"]].concat(), &[]).ends_with(0);
        assert_eq!(said.bytes, ODD);
    }
    // A program by such a name.
    let program = sandbox.path().join(OsStr::from_bytes(ODD));
    std::fs::write(&program, "#!/bin/sh\necho ran\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = sandbox.command("supervisor");
    let said = Said::of(command.args(["lock", "run", "l", "--"]).arg(&program)).ends_with(0);
    assert_eq!(said.out, "ran\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_arguments_of_what_is_run_or_spawned_arrive_byte_for_byte() {
    let sandbox = Sandbox::new();
    let said = with_odd(&sandbox, &["run", "--", "printf", "%s"], &[]).ends_with(0);
    assert_eq!(said.bytes, ODD);
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    sandbox.supervisor(&["queue", "create", "q"]).ends_with(0);
    let spawn = ["spawn", "--name", "odd", "--queue-out", "q", "--", "printf", "%s\\n"];
    with_odd(&sandbox, &spawn, &[]).ends_with(0);
    assert_eq!(sandbox.supervisor(&["queue", "get", "q"]).ends_with(0).bytes, ODD);
    // A program by such a name, started again by a supervisor that knows of it from what is kept.
    let program = sandbox.path().join(OsStr::from_bytes(ODD));
    std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = sandbox.command("supervisor");
    let path = OsStr::from_bytes(b"./a\xff\xfeb");
    let said = Said::of(command.args(["spawn", "--restart", "always", "--"]).arg(path)).ends_with(0);
    let (name, pid) = said.out.trim().split_once(' ').expect("a name and a pid");
    assert_eq!(name, "a__b");
    sandbox.supervisor(&["kill", pid, "--signal", "KILL"]).ends_with(0);
    run.until_launch("a__b", 2);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_calls_itself_odd_things_paints_no_terminal() {
    let sandbox = Sandbox::new();
    let mut run = run_of(
        &sandbox,
        &json!({ "w": { "command": "exec sh -c 'sleep 1000; :' \"$(printf '\\033[2J\\377')\"" } }),
    );
    let shown = sandbox.supervisor(&["ps"]).ends_with(0);
    assert!(!shown.bytes.contains(&0x1b), "{}", shown.out);
    let json = sandbox.supervisor(&["ps", "--json"]).ends_with(0);
    assert!(json.json().is_array() && !json.bytes.contains(&0x1b));
    assert_eq!(run.stop(), 0);
}
