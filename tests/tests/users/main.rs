//! Workers that run as another user than their supervisor: what they can do, and what they cannot.
//!
//! Only root can have any. Everybody else is told so, which is what is looked at then.

mod asking;
mod doors;
mod sharing;
mod surviving;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;
use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, is_root, skipped, until};

/// A user that every machine has and that has no rights.
const NOBODY: &str = "nobody";

/// Another one, who is only a number.
const SOMEBODY: u32 = 12_345;

/// A sandbox that others may look into and write to, for root; `None` for anybody else, to whom such a run is refused.
fn sandbox_of_root() -> Option<Sandbox> {
    let sandbox = Sandbox::new();
    if is_root() {
        std::fs::set_permissions(sandbox.path(), std::fs::Permissions::from_mode(0o777)).expect("it is ours");
        return Some(sandbox);
    }
    // Whoever this is, it is not root.
    let config = json!({ "workers": { "w": { "command": "touch started", "user": "root" } } });
    sandbox.write("config.json", config.to_string());
    for verb in ["check", "run"] {
        let said = sandbox.supervisor(&[verb, "config.json"]).ends_with(3);
        said.tells("workers.w.user").tells("only root may run it as another user, \"root\"");
    }
    assert!(!sandbox.has("started"));
    skipped("only root can have workers of other users; others are refused, as was seen");
    None
}

fn nobody() -> u32 {
    User::from_name(NOBODY).expect("users can be read").expect("every machine has it").uid.as_raw()
}

/// A worker of another user that executes this line, and then waits.
fn of(user: impl ToString, line: &str) -> Value {
    let user = user.to_string();
    let group = if user.parse::<u32>().is_ok() { user.clone() } else { String::new() };
    json!({ "command": format!("{line}; exec sleep 1000"), "user": user, "group": group, "restart": "never" })
}

/// The control socket of workers of this user, as one that lives was told.
fn door(run: &Run, worker: &str) -> PathBuf {
    let pid = run.until_launch(worker, 1);
    // For a moment it is its supervisor still.
    let told = until("it is told", || process::environ_var(process::Pid::from_raw(pid), "SUPERVISOR_SOCKET"));
    String::from_utf8(told).expect("paths here are text").into()
}

/// `supervisor` with these arguments and this control socket, run from outside as this user.
fn from_outside(sandbox: &Sandbox, uid: u32, door: &Path, arguments: &[&str]) -> Said {
    let mut command = as_user(uid);
    command.arg(tests::program("supervisor")).args(arguments).env("SUPERVISOR_SOCKET", door);
    command.current_dir("/").env_remove("SUPERVISOR_NAME");
    command.env("SUPERVISOR_RUNTIME_DIR", sandbox.path().join("elsewhere"));
    Said::of(&mut command)
}

/// What runs the rest of its command line as this user.
fn as_user(uid: u32) -> Command {
    let mut command = Command::new("setpriv");
    let uid = uid.to_string();
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--bounding-set=-all"]);
    command
}

/// Waits until a worker has written this to its file, and says what.
#[track_caller]
fn written(sandbox: &Sandbox, name: &str) -> Vec<String> {
    sandbox.until_written(name).lines().map(str::to_owned).collect()
}
