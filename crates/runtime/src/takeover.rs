//! What a former run of the same name left behind when its supervisor was killed: workers to be taken back, the queues
//! that they hold, and processes that nobody leads any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use ipc::Queue;
use ipc::sync::Family;
use process::{Identity, Pid, Snapshot, Stat};
use supervision::{InstanceId, Process};

use crate::appointments::{self, Appointment};
use crate::attendant::{self, Role};
use crate::sweeping::{Marks, attendant_mark_of, bears_mark_of, is_of, mark_of};
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
    /// Who was executed for the launch, where that one leads by the launch's own word.
    pub founder: Option<(Pid, OwnedFd)>,
    /// When it was launched, in clock ticks since the machine started.
    pub launched: u64,
}

/// An attendant that outlived its supervisor.
#[derive(Debug)]
pub struct OldAttendant {
    /// What it does.
    pub role: Role,
    /// Which launch it attends.
    pub process: Process,
    /// Its pid.
    pub pid: Pid,
    /// It, held.
    pub pidfd: OwnedFd,
}

/// Who outlived a supervisor.
#[derive(Debug, Default)]
pub struct Survivors {
    /// The leaders.
    pub leaders: Vec<Survivor>,
    /// Those who attend them, or are at what is left of those who have ended since.
    pub attendants: Vec<OldAttendant>,
    /// What launches that are over left behind, and is to live on.
    pub leftovers: BTreeMap<Process, Leftovers>,
}

/// What one launch left behind.
pub type Leftovers = Vec<Identity>;

/// How long a process may take to be executed, and how long until it is looked at again.
const EXECUTED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// Whether a former run with this control socket was killed: one that ended by itself took its socket with it. Where somebody
/// has removed the run's folder, there are only its workers to tell of it, who lead sessions.
pub fn was_killed(socket: &Path) -> io::Result<bool> {
    // Most have no such variable: they are passed by quickly.
    let is_of = |pid| process::environ_var(pid, "SUPERVISOR_SOCKET").is_some() && bears_mark_of(pid, socket);
    let leads = |stat: Stat| stat.pid == stat.session && !stat.is_zombie() && stat.pid != Pid::this();
    let is_left = |pid| is_of(pid) && Stat::of(pid).is_ok_and(|stat| stat.is_some_and(leads));
    Ok(socket.exists() || bereaved()?.into_iter().any(is_left))
}

/// Those whose parent has died, and others: the children of all who may have adopted what a supervisor left that was started
/// from where we are. Every run asks for them when it begins, so all processes of the machine are not looked at.
fn bereaved() -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    let mut adopter = Pid::this();
    while let Some(stat) = Stat::of(adopter)?.filter(|stat| stat.ppid.as_raw() > 0) {
        adopter = stat.ppid;
        match process::children_of(adopter) {
            Ok(children) => all.extend(children),
            // No list is kept, or it may not be read.
            Err(_) => return Ok(Snapshot::take()?.iter().map(|stat| stat.pid).collect()),
        }
    }
    Ok(all)
}

/// Whether anybody lives who is of the run with this control socket.
pub fn anybody_of(socket: &Path) -> io::Result<bool> {
    let is_of = |stat: &Stat| !stat.is_zombie() && stat.pid != Pid::this() && bears_mark_of(stat.pid, socket);
    Ok(Snapshot::take()?.iter().any(is_of))
}

/// Waits until every process tells whose it is, for a moment at most. One that is just being executed bears no mark; nobody
/// tells when it does, as it is not our child. Those that a former supervisor was starting are behind that, or the
/// run's folder would not be ours yet.
pub fn await_executions() -> io::Result<()> {
    let give_up = Instant::now() + EXECUTED_WITHIN;
    while Snapshot::take()?.iter().any(|stat| process::is_being_executed(stat.pid))
        && Instant::now() < give_up
    {
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
    Ok(())
}

/// Finds the survivors of the run whose marks these are. What has no leader any more is killed, but where what a launch leaves
/// behind is `adopted`. One launch an instance: the latest, should there be several.
///
/// A process's environment says what the process likes; its user is a fact. Who runs as somebody else than the launch that
/// it claims to lead does not take the place of one who fits, however late a launch it names; and attendants are ours. The
/// user of an instance is what `user` says, where that is another than ours.
pub fn survivors(
    marks: Marks<'_>,
    adopted: impl Fn(InstanceId) -> bool,
    user: impl Fn(InstanceId) -> Option<u32>,
) -> io::Result<Survivors> {
    let snapshot = Snapshot::take()?;
    let own = nix::unistd::geteuid().as_raw();
    // Who is of several users is at changing from the one to the other.
    let fits = |pid: Pid, wanted: Option<u32>| {
        process::user_of(pid).is_none_or(|uid| uid == own || uid == 0 || Some(uid) == wanted)
    };
    let mut leaders: BTreeMap<InstanceId, (Identity, Process)> = BTreeMap::new();
    let mut fitting: BTreeSet<InstanceId> = BTreeSet::new();
    let mut marked: Vec<(Identity, Process)> = Vec::new();
    let mut attendants = Vec::new();
    let mut founders: BTreeMap<Process, Identity> = BTreeMap::new();
    let mut appointed: BTreeMap<Process, Option<Appointment>> = BTreeMap::new();
    let appointed_for = |process| appointments::read(marks.socket.parent()?, &marks.roster.leaf(process));
    for stat in snapshot.iter().filter(|stat| !stat.is_zombie() && stat.pid != Pid::this()) {
        if let Some((role, process)) = attendant_mark_of(stat.pid, marks) {
            if !fits(stat.pid, None) {
                say_left_alone(stat.pid);
            } else if let Some(pidfd) = Identity::from(stat).hold()? {
                attendants.push(OldAttendant { role, process, pid: stat.pid, pidfd });
            }
            continue;
        }
        let Some(mark) = mark_of(stat.pid, marks) else {
            if bears_mark_of(stat.pid, marks.socket) {
                say_left_alone(stat.pid);
            }
            continue;
        };
        let found = (Identity::from(stat), mark.process);
        marked.push(found);
        let instance = mark.process.instance;
        let (wanted, known) = (user(instance), fitting.contains(&instance));
        let fits = fits(stat.pid, wanted);
        // A worker of ours may have become somebody else by itself; one of another user has no right to that.
        let may_lead = fits || (wanted.is_none() && !known);
        let latest = (fits && !known)
            || leaders.get(&instance).is_none_or(|(_, other)| other.launch < mark.process.launch);
        let appointed = *appointed.entry(mark.process).or_insert_with(|| appointed_for(mark.process));
        if mark.leads {
            founders.insert(mark.process, found.0);
        }
        if appointed.map_or(mark.leads, |appointed| appointed.leader == found.0) && may_lead && latest {
            leaders.insert(instance, found);
            if fits {
                fitting.insert(instance);
            }
        }
    }
    let led = |process: Process| leaders.get(&process.instance).is_some_and(|(_, leads)| *leads == process);
    let is_left = |process: Process| {
        let before = |(_, leads): &(Identity, Process)| process.launch < leads.launch;
        adopted(process.instance) && leaders.get(&process.instance).is_none_or(before)
    };
    let mut leftovers: BTreeMap<Process, Leftovers> = BTreeMap::new();
    let mut leaderless: Vec<Identity> = Vec::new();
    for (identity, process) in marked.iter().filter(|(_, process)| !led(*process)) {
        if is_left(*process) {
            leftovers.entry(*process).or_default().push(*identity);
        } else {
            leaderless.push(*identity);
        }
    }
    if !leaderless.is_empty() {
        let whom = crate::words::processes(leaderless.len());
        talk::say(format_args!("killing {whom} that a former run left behind"));
        let left: BTreeSet<Pid> = leftovers.values().flatten().map(|one| one.pid).collect();
        process::freeze_and_kill(&leaderless, |pid| {
            left.contains(&pid) || leaders.values().any(|(leader, _)| leader.pid == pid)
        })?;
    }
    let mut survivors = Survivors { leaders: Vec::new(), attendants, leftovers };
    for (identity, process) in leaders.into_values() {
        if let Some(pidfd) = identity.hold()? {
            let founder = founders.get(&process).filter(|founder| **founder != identity);
            let founder = founder.and_then(|founder| Some((founder.pid, founder.hold().ok()??)));
            let appointed = appointed.get(&process).copied().flatten();
            let launched = appointed.map_or(identity.start_time, |appointed| appointed.launched);
            survivors.leaders.push(Survivor { process, pid: identity.pid, pidfd, founder, launched });
        }
    }
    Ok(survivors)
}

/// The names of the workers of which a process lives, attendants not counted, in the run with this control socket.
pub fn living_workers(socket: &Path) -> io::Result<BTreeSet<String>> {
    let snapshot = Snapshot::take()?;
    let living = snapshot.iter().filter(|stat| !stat.is_zombie());
    let worker = |pid: Pid| {
        let origin = process::origin(pid).ok()??;
        let here = is_of(&origin, socket) && origin.mark(attendant::MARK).is_none();
        origin.mark("WORKER").filter(|_| here).map(str::to_owned)
    };
    Ok(living.filter_map(|stat| worker(stat.pid)).collect())
}

/// Says that a process of a former run has no place in this one.
pub fn say_left_alone(pid: Pid) {
    talk::say(format_args!(
        "pid {pid} is of a former run, but the config has no such worker any more; it is left alone \
         (`supervisor kill {pid} --foreign` ends it)"
    ));
}

/// Finds a queue by the name of its memory among the descriptors of survivors.
pub fn queue_of(survivors: &Survivors, segment: &str) -> Option<Queue> {
    let leaders = survivors.leaders.iter().map(|survivor| survivor.pid);
    let attendants = survivors.attendants.iter().map(|attendant| attendant.pid);
    leaders.chain(attendants).find_map(|pid| held_by(pid, segment, |path| Queue::open(path).ok()))
}

/// Finds the memory of locks and their like by its name among the descriptors of all processes that may be looked at:
/// whoever holds one of these locks is not always a worker.
pub fn family_of(segment: &str) -> Option<Family> {
    let snapshot = Snapshot::take().ok()?;
    let others = snapshot.iter().filter(|stat| !stat.is_zombie() && stat.pid != Pid::this());
    others.map(|stat| stat.pid).find_map(|pid| held_by(pid, segment, |path| Family::open(path).ok()))
}

/// What a process holds under this name in its descriptors.
fn held_by<T>(pid: Pid, segment: &str, open: impl Fn(&Path) -> Option<T>) -> Option<T> {
    let target = format!("/memfd:{segment} (deleted)");
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut named = descriptors
        .map(|found| found.path())
        .filter(|path| std::fs::read_link(path).is_ok_and(|link| link == Path::new(&target)));
    named.find_map(|path| open(&path))
}
