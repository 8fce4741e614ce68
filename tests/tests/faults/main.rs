//! What the machine may do to a run: nothing left of processes, descriptors or disk, children that neither run nor end,
//! exits by the thousand, pids that come round again, clocks that are set.
//!
//! | what fails | how it is brought about | what is promised |
//! |---|---|---|
//! | fork (`EAGAIN`) | `RLIMIT_NPROC` of an ordinary user, lowered while it runs | the launch is tried again by its policy, with the reason; all else goes on |
//! | descriptors (`EMFILE`) | `RLIMIT_NOFILE` lowered to what is open | deaths are still seen, nobody spins; all comes back with them |
//! | disk (`ENOSPC`, `EFBIG`) | a full tmpfs, `/dev/full`, `RLIMIT_FSIZE` | no worker is held up or ended by it; what is lost is counted |
//! | a child is stopped, or unkillable | `SIGSTOP`; a frozen cgroup of version 1 | asked and killed all the same; who cannot be killed blocks nobody else, and the stop of the run ends without it, by exit code 7 |
//! | the supervisor is killed at a birth | `ptrace` holds the child between its birth and its execution | the next run takes it back or it is gone; never are there two |
//! | a probe hangs | a listener that nobody reads from, a program that never ends | it has failed when its time is over; nobody else waits for it |
//! | exits in a storm | ten thousand of them | each is counted once, each successor started once |
//! | pids wrap | a pid namespace with few pids | a number is not a process: nobody is mistaken for another |
//! | the clock is set | a C library of which the run's wall clock is ours to set; a time namespace; a look at who reads the wall clock | nothing is decided by it |
#![forbid(unsafe_code)]

mod births;
mod clocks;
mod disk;
mod probes;
mod shortage;
mod storms;
mod stuck;

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{is_root, skipped};

/// The run `r` of these workers.
fn run_of(workers: &Value) -> Value {
    json!({ "name": "r", "workers": workers })
}

/// A worker that lives until it is told not to, comes back soon and always, and needs three descriptors of its
/// supervisor.
fn lasting() -> Value {
    json!({ "command": ["sleep", "1000"], "backoff": { "initial": "50ms", "max": "50ms" },
            "intensity": { "restarts": 1_000_000, "within": "1s" } })
}

/// Sets a limit of a running process, as the `user` whose it is: `nofile=7:100`, `nproc=1:`.
#[track_caller]
fn limit(user: &str, pid: i32, what: &str) {
    let line = format!("exec {user} prlimit --pid {pid} --{what}");
    let set = Command::new("sh").arg("-c").arg(&line).status();
    assert!(set.is_ok_and(|status| status.success()), "{line}");
}

/// Whether there is such a program, and it does this; says so when not.
fn offers(program: &str, arguments: &[&str], why: &str) -> bool {
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let does = quiet(Command::new(program).args(arguments)).is_ok_and(|status| status.success());
    if !does {
        skipped(why);
    }
    does
}

/// What begins a command line that is to run in new namespaces of these kinds (`--mount`, `--pid`), as their superuser; if
/// this machine lets us have them, who may be an ordinary user.
fn in_own(kinds: &str, why: &str) -> Option<String> {
    let user = if is_root() { "" } else { "--user --map-root-user " };
    let begin = format!("unshare {user}{kinds}");
    offers("sh", &["-c", &format!("{begin} true")], why).then_some(begin)
}
