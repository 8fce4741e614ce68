//! Emptying the trees of launches whose leader has ended, or that are condemned.
//!
//! Parenthood belongs to threads: leaders are children of the spawner's threads, so the children of the main thread are
//! adopted orphans and nothing else. That makes "is anything left behind?" one system call. Only when there is an
//! orphan is `/proc` read, to see whose it is.

use std::collections::BTreeSet;

use process::{Identity, Orphans, Pid, Snapshot};
use supervision::{InstanceId, Launch, Process};

use crate::processes::{Kinship, Processes};

/// What one sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// Condemned trees in which nothing lives any more.
    pub empty: Vec<Process>,
    /// Orphans that were reaped.
    pub reaped: Vec<i32>,
    /// Whether something condemned still lives that does not announce its death to us.
    pub watch: Vec<i32>,
}

/// Finds the instance that a mark in a process's environment names.
pub trait Marks {
    /// The instance called `worker` with this number, in this run.
    fn instance(&self, worker: &str, instance: u32) -> Option<InstanceId>;
    /// The run's name.
    fn run(&self) -> &str;
}

/// Reaps what is dead, and kills what is left of condemned trees. To be called on the main thread, whenever a leader of
/// a condemned tree has ended and whenever a child has changed its state.
pub fn sweep(processes: &mut Processes, marks: &dyn Marks) -> Swept {
    let mut swept = Swept::default();
    let living = reap(processes, &mut swept.reaped);
    let leaderless: BTreeSet<Process> = processes
        .sweeping()
        .iter()
        .copied()
        .filter(|process| processes.get(*process).is_some_and(|tree| tree.ended.is_some()))
        .collect();
    if leaderless.is_empty() {
        return swept;
    }
    let taken_back =
        leaderless.iter().any(|p| processes.get(*p).is_some_and(|t| t.kinship == Kinship::TakenBack));
    if !living && !taken_back {
        swept.empty.extend(leaderless);
        return swept;
    }
    let snapshot = Snapshot::take();
    recognise(processes, &snapshot, marks);
    let mut left: BTreeSet<Process> = BTreeSet::new();
    let mut roots: Vec<Pid> = Vec::new();
    for (identity, owner) in processes.orphans().values() {
        let condemned = owner.is_some_and(|owner| leaderless.contains(&owner));
        let lives = snapshot.get(identity.pid).is_some_and(|stat| stat.start_time == identity.start_time);
        if condemned && lives {
            left.extend(*owner);
            roots.push(identity.pid);
        }
    }
    for process in leaderless.iter().filter(|p| processes.get(**p).is_some_and(|t| t.kinship == Kinship::TakenBack)) {
        let strays = marked(&snapshot, *process, marks);
        if !strays.is_empty() {
            left.insert(*process);
            swept.watch.extend(strays.iter().map(|pid| pid.as_raw()));
            roots.extend(strays);
        }
    }
    if !roots.is_empty() {
        process::freeze_and_kill(&roots, |_| false);
    }
    swept.empty.extend(leaderless.difference(&left));
    swept
}

/// Reaps every dead orphan. Says whether a living one is left.
fn reap(processes: &mut Processes, reaped: &mut Vec<i32>) -> bool {
    loop {
        match process::reap_orphan() {
            Orphans::None => return false,
            Orphans::Living => return true,
            Orphans::Reaped(pid, _) => {
                processes.orphan_reaped(pid.as_raw());
                reaped.push(pid.as_raw());
            }
        }
    }
}

/// Says whose each orphan is that is not known yet: by its session, by its mark, or by the orphan above it.
fn recognise(processes: &mut Processes, snapshot: &Snapshot, marks: &dyn Marks) {
    let me = Pid::this();
    let mut found = Vec::new();
    for stat in snapshot.children(me) {
        let identity = Identity { pid: stat.pid, start_time: stat.start_time };
        let known = processes.orphans().get(&stat.pid.as_raw()).is_some_and(|(known, _)| *known == identity);
        if processes.led_by(stat.pid.as_raw()).is_some() || known {
            continue;
        }
        let by_session = || {
            let mut trees = processes.iter().filter(|(_, tree)| tree.pid == stat.session);
            trees.next().map(|(process, _)| process)
        };
        let owner = mark_of(stat.pid, marks)
            .filter(|process| processes.get(*process).is_some())
            .or_else(by_session);
        found.push((identity, owner));
    }
    for (identity, owner) in found {
        processes.adopt(identity, owner);
    }
}

/// Every process that bears the mark of a launch, wherever it hangs in the tree.
pub fn marked(snapshot: &Snapshot, process: Process, marks: &dyn Marks) -> Vec<Pid> {
    snapshot
        .iter()
        .filter(|stat| stat.state != 'Z' && mark_of(stat.pid, marks) == Some(process))
        .map(|stat| stat.pid)
        .collect()
}

/// The launch whose mark a process bears in its environment.
pub fn mark_of(pid: Pid, marks: &dyn Marks) -> Option<Process> {
    let origin = process::origin(pid)?;
    if origin.name.as_deref() != Some(marks.run()) {
        return None;
    }
    let instance = marks.instance(origin.worker.as_deref()?, origin.instance?)?;
    Some(Process { instance, launch: Launch(origin.launch?) })
}
