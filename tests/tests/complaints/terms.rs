//! Complaints about the terms that workers run under: whose they are, and what they may take.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::{Sandbox, is_root, skipped};

use crate::one;

/// What a shell command says, run under `keys`.
fn said(sandbox: &Sandbox, command: &str, keys: &Value) -> Vec<String> {
    let mut worker = json!({ "command": format!("{{ {command}; }} > said") });
    worker.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let (code, run) = sandbox.run_to_its_end(&one(&worker));
    assert_eq!(code, 0, "{}", run.err());
    sandbox.read("said").lines().map(str::to_owned).collect()
}

#[test]
fn supervisord_161_who_runs_as_another_user_finds_that_users_home() {
    if !is_root() {
        return skipped("only root may run it as another user");
    }
    let Some(nobody) = nix::unistd::User::from_name("nobody").unwrap() else {
        return skipped("this machine has no user nobody");
    };
    let sandbox = Sandbox::new();
    std::fs::set_permissions(sandbox.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let lines = said(&sandbox, "id -un; echo $HOME; echo $USER; echo $LOGNAME", &json!({ "user": "nobody" }));
    let home = nobody.dir.to_string_lossy().into_owned();
    assert_eq!(lines, ["nobody".to_owned(), home, "nobody".to_owned(), "nobody".to_owned()]);
}

#[test]
fn supervisord_229_a_limit_holds_for_one_worker_and_not_for_the_supervisor() {
    let sandbox = Sandbox::new();
    let limited = json!({ "command": "ulimit -n > limited; ulimit -c >> limited", "limits": { "nofile": 77, "core": 0 } });
    let free = json!({ "command": "ulimit -n > free" });
    let config = json!({ "name": "r", "workers": { "limited": limited, "free": free } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    assert_eq!(sandbox.read("limited"), "77\n0\n");
    assert_ne!(sandbox.read("free"), "77\n");
}

#[test]
fn supervisord_366_a_limit_that_cannot_be_given_is_said_before_anything_starts() {
    let sandbox = Sandbox::new();
    let command = "touch started";
    // More than the kernel itself allows to anybody.
    let worker = json!({ "command": command, "limits": { "nofile": 4_000_000_000_u64 } });
    sandbox.write("r.json", one(&worker).to_string());
    sandbox.supervisor(&["check", "r.json"]).ends_with(3).tells("workers.w.limits.nofile");
    sandbox.supervisor(&["run", "r.json"]).ends_with(3).tells("workers.w.limits.nofile");
    assert!(!sandbox.has("started"));
}

#[test]
fn supervisord_719_a_worker_may_be_nicer_than_its_supervisor() {
    let sandbox = Sandbox::new();
    let own: i32 = said(&sandbox, "nice", &json!({}))[0].parse().unwrap();
    let nicer: i32 = said(&sandbox, "nice", &json!({ "nice": 15 }))[0].parse().unwrap();
    assert!(nicer > own || own >= 15, "{own} {nicer}");
    assert_eq!(nicer.max(own), nicer);
}

#[test]
fn supervisord_754_the_kernel_is_told_whom_to_kill_first_when_memory_is_short() {
    let sandbox = Sandbox::new();
    let lines = said(&sandbox, "cat /proc/self/oom_score_adj", &json!({ "oom_score_adj": 900 }));
    assert_eq!(lines, ["900"]);
}
