//! What the tests share: a sandbox with a runtime folder of its own, supervisors in it, and waiting for conditions.
//!
//! Every wait has a generous limit ([`PATIENCE`]) and says what it waited for. When a sandbox goes, nothing that was
//! started in it may be left: no process, no socket. It looks, and fails the test otherwise.
#![forbid(unsafe_code)]

mod nursery;
mod run;
mod said;
mod sandbox;

pub use nursery::Nursery;
pub use run::Run;
pub use said::Said;
pub use sandbox::{Sandbox, program, programs};

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Nothing takes that long on a machine that works.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something; looks often, and gives up after [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process exists and has not ended.
pub fn lives(pid: i32) -> bool {
    matches!(process::Stat::of(process::Pid::from_raw(pid)), Ok(Some(stat)) if !stat.is_zombie())
}

/// Kills a process with -9. It must be there.
#[track_caller]
pub fn kill_9(pid: i32) {
    let killed = nix::sys::signal::kill(process::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    assert_eq!(killed, Ok(()), "process {pid} cannot be killed");
}

/// Waits until a process has ended.
#[track_caller]
pub fn until_gone(pid: i32) {
    until(&format!("process {pid} is gone"), || (!lives(pid)).then_some(()));
}

/// Waits until a child has ended, and says how.
#[track_caller]
pub fn end_of(child: &mut Child) -> ExitStatus {
    let pid = child.id();
    until(&format!("the child {pid} has ended"), || child.try_wait().expect("a child can be waited for"))
}

/// Holds `condition` for a while: looks often, and fails as soon as it does not hold.
#[track_caller]
pub fn stays(what: &str, length: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < length {
        assert!(condition(), "no longer: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The cgroups of runs of this name that are there, in any hierarchy.
pub fn cgroups(name: &str) -> Vec<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut todo: Vec<std::path::PathBuf> =
        mounts.filter(|words| words[2].starts_with("cgroup")).map(|words| words[1].into()).collect();
    let mut found = Vec::new();
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(&format!("supervisor-{name}-")) {
                    found.push(entry.path());
                }
                todo.push(entry.path());
            }
        }
    }
    found
}

/// A name that no other run of any test has.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Says that a part of a test is left out, and why.
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Whether this is the superuser.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
