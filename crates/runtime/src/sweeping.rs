//! Emptying the trees of launches whose leader has ended.
//!
//! Parenthood belongs to threads: leaders are children of those threads that spawn, of which the main thread is none, so
//! its children are adopted orphans and nothing else. That makes "is anything left behind?" one system call. Only when there is an
//! orphan is `/proc` read, to see whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use process::{Identity, Origin, Orphans, Pid, Snapshot};
use supervision::{InstanceId, Launch, Process};

use crate::attendant::{self, Role};
use crate::cgroups::launch_in;
use crate::processes::{Kinship, Processes, Tree};
use crate::roster::Roster;

/// What one sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// Condemned trees in which nothing lives any more.
    pub empty: Vec<Process>,
    /// Orphans that were reaped.
    pub reaped: Vec<i32>,
    /// Processes that were killed and are not our children: their death has to be watched for.
    pub watch: Vec<i32>,
    /// How many processes each tree had whose leader had ended.
    pub left_behind: Vec<(Process, u32)>,
    /// Trees whose cgroup was killed and is not empty yet: that has to be watched for.
    pub populated: Vec<Process>,
    /// Whether any orphan lives.
    pub orphans_live: bool,
    /// Whether nothing was killed because an orphan is just being executed and does not tell whose it is: to be swept
    /// again soon. Who is killed before all are known is counted before all are there.
    pub unsure: bool,
}

/// What marks a process as one of this run's.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// The names of the workers.
    pub roster: &'a Roster,
    /// The run's control socket, which no other run has.
    pub socket: &'a Path,
    /// What the run's cgroups are told by, if it has any.
    pub cgroups: Option<&'a str>,
}

/// What a process's environment tells of where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The launch it belongs to.
    pub process: Process,
    /// Whether it leads that launch.
    pub leads: bool,
}

/// Reaps what is dead, and kills what is left of condemned trees whose leader has ended. To be called whenever such a leader has ended and whenever a child has changed its state.
///
/// With `patience`, those who do not tell yet whose they are are waited for, by the caller; without it they are passed over.
///
/// `swept` is what [`reap_orphans`] has just found.
pub fn sweep(processes: &mut Processes, marks: Marks<'_>, patience: bool, mut swept: Swept) -> Swept {
    let mut orphans_live = swept.orphans_live;
    let leaderless: BTreeSet<Process> = processes
        .sweeping()
        .iter()
        .copied()
        .filter(|process| processes.get(*process).is_some_and(|tree| tree.ended.is_some()))
        // Who was executed first is our child, and no orphan: it ends on its own.
        .filter(|process| processes.founder_of(*process).is_none_or(|founder| founder.ended))
        .collect();
    let leaderless = kill_cgroups(processes, leaderless, &mut swept);
    // A cgroup that is empty leaves nothing to be looked for by marks.
    let by_marks = |tree: &Tree| tree.kinship == Kinship::TakenBack && tree.kept_by().is_none();
    let taken_back: Vec<Process> =
        leaderless.iter().copied().filter(|process| processes.get(*process).is_some_and(by_marks)).collect();
    if leaderless.is_empty() {
        return swept;
    }
    for _ in 0..LOOKS_AT_MOST {
        if !orphans_live && taken_back.is_empty() {
            swept.empty.extend(leaderless);
            return swept;
        }
        // Without a look at the processes nothing can be called empty; the next change is another chance.
        let Ok(snapshot) = Snapshot::take() else { return swept };
        let sure = recognise(processes, &snapshot, marks);
        if !sure && patience {
            orphans_live = reap(processes, &mut swept.reaped);
            swept.unsure = true;
            continue;
        }
        swept.unsure = false;
        let left = kill_left(processes, &leaderless, &taken_back, &snapshot, marks, &mut swept);
        if left.len() == leaderless.len() {
            // Nothing can be called empty; the ends of what was killed bring us here again.
            return swept;
        }
        // Who ended during the look may have left a child behind that the look could not show.
        let before = swept.reaped.len();
        orphans_live = reap(processes, &mut swept.reaped);
        if swept.reaped.len() == before {
            swept.empty.extend(leaderless.difference(&left));
            return swept;
        }
    }
    // They end faster than they can be looked at. Each end is a signal that brings us here again.
    swept
}

/// Reaps what is dead and has nobody else to do it: the first step of a [`sweep`].
pub fn reap_orphans(processes: &mut Processes) -> Swept {
    let mut swept = Swept::default();
    swept.orphans_live = reap(processes, &mut swept.reaped);
    swept
}

/// Kills what is left in the cgroups of these, and gives those of which nothing is, or which have none.
fn kill_cgroups(
    processes: &Processes,
    leaderless: BTreeSet<Process>,
    swept: &mut Swept,
) -> BTreeSet<Process> {
    let mut empty = BTreeSet::new();
    for process in leaderless {
        let cgroup = processes.get(process).and_then(|tree| tree.cgroup.as_ref()).map(|nest| &nest.cgroup);
        match cgroup.filter(|cgroup| cgroup.is_populated()) {
            Some(cgroup) => {
                if processes.is_condemned(process) {
                    let count = u32::try_from(cgroup.members().len()).unwrap_or(u32::MAX);
                    swept.left_behind.push((process, count));
                    cgroup.kill();
                }
                swept.populated.push(process);
            }
            None => drop(empty.insert(process)),
        }
    }
    empty
}

/// How often a sweep looks again when what it saw has changed meanwhile.
const LOOKS_AT_MOST: u32 = 10;

/// Kills what a look shows of launches whose leader has ended, and says of which of them there was something.
fn kill_left(
    processes: &Processes,
    leaderless: &BTreeSet<Process>,
    taken_back: &[Process],
    snapshot: &Snapshot,
    marks: Marks<'_>,
    swept: &mut Swept,
) -> BTreeSet<Process> {
    let mut left: BTreeMap<Process, u32> = BTreeMap::new();
    let mut roots: Vec<Identity> = Vec::new();
    for (identity, owner) in processes.orphans().values() {
        if let Some(owner) = owner.filter(|owner| leaderless.contains(owner))
            && snapshot.get(identity.pid).is_some_and(|stat| stat.start_time == identity.start_time)
        {
            let living = snapshot.subtree(identity.pid).iter().filter(|(_, stat)| !stat.is_zombie()).count();
            *left.entry(owner).or_default() += u32::try_from(living).unwrap_or(u32::MAX);
            if processes.is_condemned(owner) {
                roots.push(*identity);
            }
        }
    }
    for process in taken_back {
        for stat in snapshot.iter().filter(|stat| !stat.is_zombie() && stat.pid != Pid::this()) {
            if mark_of(stat.pid, marks).is_some_and(|mark| mark.process == *process) {
                *left.entry(*process).or_default() += 1;
                swept.watch.push(stat.pid.as_raw());
                if processes.is_condemned(*process) {
                    roots.push(Identity::from(stat));
                }
            }
        }
    }
    kill(&roots);
    let condemned = left.iter().filter(|(process, _)| processes.is_condemned(**process));
    swept.left_behind.extend(condemned.map(|(process, count)| (*process, *count)));
    left.into_keys().collect()
}

/// Kills every orphan, whoever it belongs to, and reaps what is dead. Says whether any is left. The guard is no orphan.
pub fn kill_strays(processes: &mut Processes, guard: Option<Pid>) -> bool {
    if !reap(processes, &mut Vec::new()) {
        return false;
    }
    if let Ok(snapshot) = Snapshot::take() {
        let me = Pid::this();
        let children = snapshot.children(me).iter().filter(|pid| Some(**pid) != guard);
        let strays = children.filter_map(|pid| snapshot.get(*pid)).map(Identity::from);
        kill(&strays.collect::<Vec<_>>());
    }
    true
}

fn kill(roots: &[Identity]) {
    if !roots.is_empty() {
        // What was found before an error is killed; what was not is found by the next sweep.
        let _ = process::freeze_and_kill(roots, |_| false);
    }
}

/// Reaps every dead orphan. Says whether a living one is left.
fn reap(processes: &mut Processes, reaped: &mut Vec<i32>) -> bool {
    loop {
        match process::reap_orphan() {
            Orphans::None => return false,
            Orphans::Living => return true,
            Orphans::Reaped(pid, exit) => {
                processes.orphan_reaped(pid.as_raw(), exit);
                reaped.push(pid.as_raw());
            }
        }
    }
}

/// Says whose each orphan is that is not known yet: by its mark, by its session, or by the leader that marked it.
/// `false`: some did not tell, because they are just being executed; they are looked at again next time.
pub fn recognise(processes: &mut Processes, snapshot: &Snapshot, marks: Marks<'_>) -> bool {
    let mut found = Vec::new();
    let mut all_told = true;
    for stat in snapshot.children(Pid::this()).iter().filter_map(|pid| snapshot.get(*pid)) {
        let identity = Identity::from(stat);
        let known = processes.orphans().get(&stat.pid.as_raw()).is_some_and(|(known, _)| *known == identity);
        let pid = stat.pid.as_raw();
        if known || processes.led_by(pid).is_some() || processes.attendant(pid).is_some() {
            continue;
        }
        let owner = owner(processes, stat, marks);
        if owner.is_some() {
            found.push((identity, owner));
        } else if !stat.is_zombie() && process::is_being_executed(stat.pid) {
            all_told = false;
        } else {
            // It may have told between the two looks.
            found.push((identity, self::owner(processes, stat, marks)));
        }
    }
    for (identity, owner) in found {
        processes.adopt(identity, owner);
    }
    all_told
}

fn owner(processes: &Processes, stat: &process::Stat, marks: Marks<'_>) -> Option<Process> {
    let led_by =
        |pid: i32| processes.iter().find(|(_, tree)| tree.pid.as_raw() == pid).map(|(process, _)| process);
    if let Some(owner) = mark_of(stat.pid, marks).and_then(|mark| processes.belongs_to(mark.process)) {
        return Some(owner);
    }
    // A supervisor inside this run marks its workers with its own pid.
    let marked_by = || led_by(process::origin(stat.pid).ok()??.mark("PID")?.parse().ok()?);
    led_by(stat.session.as_raw()).or_else(marked_by)
}

/// Whether a process's environment says that it is of the run with this control socket, whatever worker it names.
pub fn bears_mark_of(pid: Pid, socket: &Path) -> bool {
    let origin = process::origin(pid).ok().flatten();
    origin.is_some_and(|origin| is_of(&origin, socket))
}

/// Whether this is told of the run with this control socket. Workers that run as another user have another socket, and are
/// told the run's folder beside it.
pub fn is_of(origin: &Origin, socket: &Path) -> bool {
    match origin.mark("FOLDER") {
        Some(folder) => Some(Path::new(folder)) == socket.parent(),
        None => origin.mark("SOCKET").map(Path::new) == Some(socket),
    }
}

/// What a process's cgroup or environment tells, if it is of this run and no attendant.
pub fn mark_of(pid: Pid, marks: Marks<'_>) -> Option<Mark> {
    let origin = process::origin(pid).ok()??;
    // A process can empty its environment, and lie in it; it cannot leave its cgroup. Attendants are in none.
    if let Some(process) = marks.cgroups.and_then(|name| launch_in(pid, name, marks.roster)) {
        let leads = origin.mark("LEADER").and_then(|leader| leader.parse().ok()) == Some(pid.as_raw());
        return Some(Mark { process, leads });
    }
    if origin.mark(attendant::MARK).is_some() { None } else { mark_in(&origin, marks) }
}

/// What an attendant of this run does, and whom it attends.
pub fn attendant_mark_of(pid: Pid, marks: Marks<'_>) -> Option<(Role, Process)> {
    let origin = process::origin(pid).ok()??;
    Some((Role::named(origin.mark(attendant::MARK)?)?, mark_in(&origin, marks)?.process))
}

fn mark_in(origin: &Origin, marks: Marks<'_>) -> Option<Mark> {
    if !is_of(origin, marks.socket) {
        return None;
    }
    let worker = marks.roster.worker(origin.mark("WORKER")?)?;
    let instance = InstanceId { worker, index: origin.mark("INSTANCE")?.parse().ok()? };
    let launch = Launch(origin.mark("LAUNCH")?.parse().ok()?);
    let leads =
        origin.mark("LEADER").and_then(|leader| leader.parse().ok()) == Some(origin.identity.pid.as_raw());
    Some(Mark { process: Process { instance, launch }, leads })
}
