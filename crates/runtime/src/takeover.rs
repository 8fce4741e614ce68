//! What a former run of the same name left behind when its supervisor was killed: workers to be taken back, the queues
//! that they hold, and processes that nobody leads any more.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipc::Queue;
use process::{Identity, Pid, Snapshot};
use supervision::Process;

use crate::roster::RunMarks;
use crate::sweeping::mark_of;
use crate::talk;

/// A worker that outlived its supervisor.
#[derive(Debug)]
pub struct Survivor {
    /// Which launch of which instance it is.
    pub process: Process,
    /// Its pid.
    pub pid: Pid,
    /// It, held.
    pub pidfd: OwnedFd,
}

/// Finds the survivors of the run whose marks these are, and kills what has no leader any more. One launch an instance:
/// the latest, should there be several.
pub fn survivors(marks: &RunMarks<'_>) -> Vec<Survivor> {
    let snapshot = Snapshot::take();
    let me = Pid::this();
    let mut leaders: BTreeMap<Process, Survivor> = BTreeMap::new();
    let mut marked: Vec<(Pid, Process)> = Vec::new();
    for stat in snapshot.iter().filter(|stat| stat.state != 'Z' && stat.pid != me) {
        let Some(process) = mark_of(stat.pid, marks) else { continue };
        marked.push((stat.pid, process));
        if crate::sweeping::led_by_itself(stat.pid) {
            let identity = Identity { pid: stat.pid, start_time: stat.start_time };
            if let Ok(Some(pidfd)) = identity.hold() {
                leaders.insert(process, Survivor { process, pid: stat.pid, pidfd });
            }
        }
    }
    let mut latest: BTreeMap<_, Process> = BTreeMap::new();
    for process in leaders.keys() {
        latest.insert(process.instance, *process);
    }
    leaders.retain(|process, _| latest.get(&process.instance) == Some(process));
    let leaderless: Vec<Pid> = marked
        .into_iter()
        .filter(|(_, process)| !leaders.contains_key(process))
        .map(|(pid, _)| pid)
        .collect();
    if !leaderless.is_empty() {
        talk::say(format_args!("killing {} processes that a former run left behind", leaderless.len()));
        process::freeze_and_kill(&leaderless, |pid| leaders.values().any(|survivor| survivor.pid == pid));
    }
    leaders.into_values().collect()
}

/// Finds a queue by the name of its memory among the descriptors of survivors.
pub fn queue_of(survivors: &[Survivor], segment: &str) -> Option<Queue> {
    let target = format!("/memfd:{segment} (deleted)");
    for survivor in survivors {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", survivor.pid)) else { continue };
        for descriptor in descriptors.flatten() {
            if std::fs::read_link(descriptor.path()).is_ok_and(|link| link == Path::new(&target))
                && let Ok(queue) = Queue::open(descriptor.path())
            {
                return Some(queue);
            }
        }
    }
    None
}

/// The pipe that a survivor still writes to, opened to be read on from where the former supervisor stopped.
pub fn output_of(survivor: &Survivor, descriptor: i32) -> Option<OwnedFd> {
    let path = PathBuf::from(format!("/proc/{}/fd/{descriptor}", survivor.pid));
    if !std::fs::metadata(&path).ok()?.file_type().is_fifo() {
        return None;
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    Some(file.into())
}
