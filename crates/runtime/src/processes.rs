//! The one table of pids: which process is which launch, and what of its tree is still to be cleared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use process::{Cgroup, Exit, Identity, Pid, Vigil};
use supervision::{Ending, InstanceId, Moment, Process};

use crate::attendant::Role;
use crate::logs::{StreamId, Streams};
use crate::orders::Orders;

/// What the runtime holds of one launch, from its execution until its tree is empty and given back.
#[derive(Debug)]
pub struct Tree {
    /// The process that leads it.
    pub pid: Pid,
    /// How to watch and signal the leader.
    pub pidfd: OwnedFd,
    /// Whose child the leader is.
    pub kinship: Kinship,
    /// When a former run launched it, in clock ticks since the machine started; `None`: this run did.
    pub launched: Option<u64>,
    /// How the leader ended, once it has.
    pub ended: Option<Ending>,
    /// How an appointed leader ended, where its exit came to us.
    pub exit: Option<Exit>,
    /// Who was executed first, where another leads now.
    pub founder: Option<Box<Founder>>,
    /// When to stop waiting for how it ended: it is not our child, and only its parent's reaping tells.
    pub exit_unknown_at: Option<Moment>,
    /// Whether it was asked to stop.
    pub asked: bool,
    /// Whether everything of it is to be killed.
    pub condemned: bool,
    /// Whether its feeder died before its queue was at its end: what it takes for the end of its input is none.
    pub lost_its_feeder: bool,
    /// The streams of the log that it writes to.
    pub streams: Streams,
    /// The cgroup that it is in, if it has one of its own.
    pub cgroup: Option<Box<Nest>>,
    /// What was said, if anything was: most programs know nothing of their supervisor, and cost nothing here.
    talk: Option<Box<Talk>>,
}

/// The cgroup of a launch.
#[derive(Debug)]
pub struct Nest {
    /// The group.
    pub cgroup: Cgroup,
    /// Watches for its becoming empty, once that is waited for.
    pub vigil: Option<Vigil>,
}

/// What was said between a launch and us.
#[derive(Debug, Default)]
pub struct Talk {
    /// What it says of itself.
    pub status: Option<String>,
    /// The way to it, once it has joined.
    pub orders: Option<Orders>,
    /// Whether it is loading its configuration anew.
    pub reloading: bool,
    /// One-shot servers that it opened to meet us; their folders go with it.
    pub meeting_places: Vec<String>,
}

/// Whose child a leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// Ours: what it leaves behind becomes our child too.
    Child,
    /// It was launched by a former supervisor and taken back: it leaves its orphans to somebody else.
    TakenBack,
    /// It was named by the tree itself: a child of one of its own, or an orphan that came to us.
    Appointed,
}

/// The process that was executed first, once another leads its tree.
#[derive(Debug)]
pub struct Founder {
    /// Its pid.
    pub pid: Pid,
    /// It, held.
    pub pidfd: OwnedFd,
    /// Whose child it is.
    pub kinship: Kinship,
    /// Whether it has ended, and its exit was taken if it was our child.
    pub ended: bool,
}

/// What a launch left behind that lives on.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Whether a former run launched it: it is somebody else's child, and told by its marks.
    pub foreign: bool,
    /// How many of it the core knows of, once it does.
    pub told: Option<u32>,
    /// When it was asked to stop.
    pub asked_at: Option<Moment>,
    /// Whether it is to be killed.
    pub killed: bool,
    /// Whether the last look found nobody.
    pub nobody: bool,
    /// Who was executed first, where another led the launch and this one lives on. Until the launch is given back its tree
    /// has it.
    pub founder: Option<Box<Founder>>,
    /// The cgroup of the launch, if it has one of its own.
    pub cgroup: Option<Box<Cgroup>>,
    /// The streams of the log that it may write to.
    pub streams: Vec<StreamId>,
}

impl Adopted {
    /// Left by a launch of this run, or of a former one.
    pub fn by(foreign: bool) -> Adopted {
        Adopted { foreign, ..Adopted::default() }
    }
}

/// A process that joins a stream of a launch to a queue.
#[derive(Debug)]
pub struct Attendant {
    /// What it does.
    pub role: Role,
    /// The launch that it attends.
    pub process: Process,
    /// Its pid.
    pub pid: Pid,
    /// It, held.
    pub pidfd: OwnedFd,
    /// Whose child it is.
    pub kinship: Kinship,
    /// Our end of its socket; `None`: a former supervisor had it.
    pub socket: Option<UnixStream>,
    /// The stream of the log by which it tells what people must know.
    pub stream: Option<StreamId>,
}

impl Tree {
    /// A tree whose leader has just been executed or taken back.
    pub fn new(pid: Pid, pidfd: OwnedFd, kinship: Kinship, streams: Streams) -> Tree {
        Tree {
            pid,
            pidfd,
            kinship,
            launched: None,
            ended: None,
            exit: None,
            founder: None,
            exit_unknown_at: None,
            asked: false,
            condemned: false,
            lost_its_feeder: false,
            streams,
            cgroup: None,
            talk: None,
        }
    }

    /// How long ago a former run launched it; `None`: this run did.
    pub fn age_where_taken_back(&self) -> Option<Duration> {
        let ticks = process::ticks_since_boot().saturating_sub(self.launched?);
        Some(Duration::from_millis(ticks.saturating_mul(1000 / process::TICKS_A_SECOND)))
    }

    /// Whether its leader lives and is not our child.
    pub fn is_taken_back(&self) -> bool {
        self.kinship == Kinship::TakenBack && self.ended.is_none()
    }

    /// The same in a cgroup of its own.
    pub fn within(self, cgroup: Option<Cgroup>) -> Tree {
        Tree { cgroup: cgroup.map(|cgroup| Box::new(Nest { cgroup, vigil: None })), ..self }
    }

    /// Its cgroup, if that keeps all of it together.
    pub fn kept_by(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref().map(|nest| &nest.cgroup).filter(|cgroup| cgroup.keeps_tree())
    }

    /// What was said, to add to it.
    pub fn talk(&mut self) -> &mut Talk {
        self.talk.get_or_insert_default()
    }

    /// What it says of itself.
    pub fn status(&self) -> Option<String> {
        let talk = self.talk.as_deref()?;
        match (&talk.status, talk.reloading) {
            (Some(status), true) => Some(format!("reloading: {status}")),
            (None, true) => Some("reloading".to_owned()),
            (status, false) => status.clone(),
        }
    }

    /// Whether it is loading its configuration anew.
    pub fn is_reloading(&self) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.reloading)
    }

    /// The one-shot servers that it opened; to be called when it is gone.
    pub fn meeting_places(&self) -> &[String] {
        self.talk.as_ref().map_or(&[], |talk| &talk.meeting_places)
    }

    /// Orders it to stop, if it has joined.
    pub fn order_to_stop(&mut self) {
        self.asked = true;
        if let Some(Talk { orders: Some(orders), .. }) = self.talk.as_deref_mut() {
            orders.stop();
        }
    }
}

/// All trees of the run.
#[derive(Debug, Default)]
pub struct Processes {
    /// Apart from the table, half of which may be empty.
    trees: BTreeMap<Process, Box<Tree>>,
    by_pid: HashMap<i32, Process>,
    /// How many trees are led by somebody who is not our child.
    foreign: usize,
    /// Launches whose leader ended and whose tree is to be emptied.
    sweeping: BTreeSet<Process>,
    /// Adopted orphans that were recognised, with whom they belong to; `None`: to nobody in particular.
    orphans: HashMap<i32, (Identity, Option<Process>)>,
    /// Launches that have ended by themselves, and whose leftovers live on.
    adopted: BTreeMap<Process, Adopted>,
    /// Whether somebody has ended who may have been of these.
    adopted_stirred: bool,
    /// By pid.
    attendants: BTreeMap<i32, Attendant>,
}

impl Processes {
    /// Enters a new tree.
    pub fn insert(&mut self, process: Process, tree: Tree) {
        self.by_pid.insert(tree.pid.as_raw(), process);
        self.by_pid.extend(tree.founder.iter().map(|founder| (founder.pid.as_raw(), process)));
        // Somebody may have looked at our children before the news of this one came.
        self.orphans.remove(&tree.pid.as_raw());
        self.foreign += usize::from(tree.kinship != Kinship::Child);
        self.trees.insert(process, Box::new(tree));
    }

    /// Forgets a tree that is empty and given back.
    pub fn remove(&mut self, process: Process) -> Option<Tree> {
        let tree = self.trees.remove(&process)?;
        self.foreign -= usize::from(tree.kinship != Kinship::Child);
        if let Some(founder) = &tree.founder
            && self.by_pid.get(&founder.pid.as_raw()) == Some(&process)
        {
            self.by_pid.remove(&founder.pid.as_raw());
        }
        if self.by_pid.get(&tree.pid.as_raw()) == Some(&process) {
            self.by_pid.remove(&tree.pid.as_raw());
        }
        self.sweeping.remove(&process);
        if !self.adopted.contains_key(&process) {
            self.orphans.retain(|_, (_, owner)| *owner != Some(process));
        }
        Some(*tree)
    }

    /// The tree of a launch.
    pub fn get(&self, process: Process) -> Option<&Tree> {
        self.trees.get(&process).map(|tree| &**tree)
    }

    /// The tree of a launch, to change it.
    pub fn get_mut(&mut self, process: Process) -> Option<&mut Tree> {
        self.trees.get_mut(&process).map(|tree| &mut **tree)
    }

    /// Enters an attendant.
    pub fn attend(&mut self, attendant: Attendant) {
        self.orphans.remove(&attendant.pid.as_raw());
        self.attendants.insert(attendant.pid.as_raw(), attendant);
    }

    /// The attendant that has this pid.
    pub fn attendant(&self, pid: i32) -> Option<&Attendant> {
        self.attendants.get(&pid)
    }

    /// All attendants.
    pub fn attendants(&self) -> impl Iterator<Item = &Attendant> {
        self.attendants.values()
    }

    /// The feeder of a launch, if it has one that lives.
    pub fn feeder_of(&self, process: Process) -> Option<&Attendant> {
        self.attendants().find(|attendant| attendant.process == process && attendant.role == Role::Feeder)
    }

    /// Forgets an attendant that has ended.
    pub fn attendant_ended(&mut self, pid: i32) -> Option<Attendant> {
        self.attendants.remove(&pid)
    }

    /// The launch that a process leads, as long as that leader lives.
    pub fn led_by(&self, pid: i32) -> Option<Process> {
        self.by_pid.get(&pid).copied()
    }

    /// The tree of an instance's present launch.
    pub fn of_instance(&self, instance: InstanceId) -> Option<(Process, &Tree)> {
        let first = Process { instance, launch: supervision::Launch(0) };
        let last = Process { instance, launch: supervision::Launch(u64::MAX) };
        self.trees.range(first..=last).next_back().map(|(process, tree)| (*process, &**tree))
    }

    /// Every tree.
    pub fn iter(&self) -> impl Iterator<Item = (Process, &Tree)> {
        self.trees.iter().map(|(process, tree)| (*process, &**tree))
    }

    /// Whether any tree is led by somebody who is not our child.
    pub fn has_foreign(&self) -> bool {
        self.foreign > 0
    }

    /// When to stop waiting for how a leader ended that is not our child.
    pub fn next_exit_unknown(&self) -> Option<Moment> {
        if self.foreign == 0 {
            return None;
        }
        self.trees.values().filter(|tree| tree.ended.is_none()).filter_map(|tree| tree.exit_unknown_at).min()
    }

    /// Notes that the leader has ended. From now on its pid may belong to somebody else.
    pub fn leader_ended(&mut self, process: Process, ending: Ending) {
        if let Some(tree) = self.trees.get_mut(&process) {
            tree.ended = Some(ending);
            if self.by_pid.get(&tree.pid.as_raw()) == Some(&process) {
                self.by_pid.remove(&tree.pid.as_raw());
            }
        }
    }

    /// The founder of a tree that another leads, or led and is over.
    pub fn founder_of(&self, process: Process) -> Option<&Founder> {
        let of_tree = self.trees.get(&process).and_then(|tree| tree.founder.as_deref());
        of_tree.or_else(|| self.adopted.get(&process)?.founder.as_deref())
    }

    /// The founder of a launch has ended. From now on its pid may belong to somebody else.
    pub fn founder_ended(&mut self, process: Process) {
        let of_tree = self.trees.get_mut(&process).and_then(|tree| tree.founder.as_deref_mut());
        let of_adopted = self.adopted.get_mut(&process).and_then(|adopted| adopted.founder.as_deref_mut());
        if let Some(founder) = of_tree.or(of_adopted) {
            founder.ended = true;
            if self.by_pid.get(&founder.pid.as_raw()) == Some(&process) {
                self.by_pid.remove(&founder.pid.as_raw());
            }
            let known = self.orphans.get(&founder.pid.as_raw());
            if known.is_some_and(|(_, owner)| *owner == Some(process)) {
                self.orphans.remove(&founder.pid.as_raw());
            }
        }
    }

    /// Has a tree led by another process from now on. Who led it first becomes its founder; who led it between is one
    /// like any other.
    pub fn appoint(&mut self, process: Process, pid: Pid, pidfd: OwnedFd) {
        let Some(tree) = self.trees.get_mut(&process) else { return };
        let (former, held) = (tree.pid, std::mem::replace(&mut tree.pidfd, pidfd));
        let kinship = std::mem::replace(&mut tree.kinship, Kinship::Appointed);
        self.foreign += usize::from(kinship == Kinship::Child);
        tree.pid = pid;
        if tree.founder.is_none() {
            tree.founder = Some(Box::new(Founder { pid: former, pidfd: held, kinship, ended: false }));
        } else if self.by_pid.get(&former.as_raw()) == Some(&process) {
            self.by_pid.remove(&former.as_raw());
        }
        self.by_pid.insert(pid.as_raw(), process);
        self.orphans.remove(&pid.as_raw());
    }

    /// Has a tree led by its founder again; gives back the descriptor of who led it.
    pub fn lead_again(&mut self, process: Process) -> Option<OwnedFd> {
        let tree = self.trees.get_mut(&process)?;
        let founder = *tree.founder.take_if(|founder| !founder.ended)?;
        if self.by_pid.get(&tree.pid.as_raw()) == Some(&process) {
            self.by_pid.remove(&tree.pid.as_raw());
        }
        self.foreign -= usize::from(founder.kinship == Kinship::Child);
        (tree.pid, tree.kinship) = (founder.pid, founder.kinship);
        Some(std::mem::replace(&mut tree.pidfd, founder.pidfd))
    }

    /// Marks a tree as to be emptied.
    pub fn condemn(&mut self, process: Process) {
        if let Some(tree) = self.trees.get_mut(&process) {
            tree.condemned = true;
            self.sweeping.insert(process);
        }
    }

    /// Has a tree looked at until it is empty, without anybody of it being killed.
    pub fn look_out_for(&mut self, process: Process) {
        if self.trees.contains_key(&process) {
            self.sweeping.insert(process);
        }
    }

    /// What a launch leaves behind is to live on.
    pub fn adopt_leftovers(&mut self, process: Process, adopted: Adopted) {
        self.sweeping.remove(&process);
        self.adopted.insert(process, adopted);
    }

    /// Whether anything may live on that launches which are over left behind.
    pub fn has_adopted(&self) -> bool {
        !self.adopted.is_empty()
    }

    /// Whether what this launch left behind is to live on.
    pub fn is_adopted(&self, process: Process) -> bool {
        self.adopted.contains_key(&process)
    }

    /// What launches left behind that lives on.
    pub fn adopted(&self) -> impl Iterator<Item = (Process, &Adopted)> {
        self.adopted.iter().map(|(process, adopted)| (*process, adopted))
    }

    /// What one launch left behind, to change what is known of it.
    pub fn adopted_mut(&mut self, process: Process) -> Option<&mut Adopted> {
        self.adopted.get_mut(&process)
    }

    /// Nothing lives on of what a launch left behind.
    pub fn part_with_adopted(&mut self, process: Process) -> Option<Adopted> {
        self.adopted.remove(&process)
    }

    /// Whether somebody has ended since the last time who may have been left behind and adopted.
    pub fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.adopted_stirred) && self.has_adopted()
    }

    /// They are to be looked at with the next sweep.
    pub fn stir(&mut self) {
        self.adopted_stirred = true;
    }

    /// The launch that one with the marks of `process` belongs to, if it is of any that is known.
    pub fn belongs_to(&self, process: Process) -> Option<Process> {
        (self.trees.contains_key(&process) || self.is_adopted(process)).then_some(process)
    }

    /// Whether all of a tree is to be killed.
    pub fn is_condemned(&self, process: Process) -> bool {
        self.trees.get(&process).is_some_and(|tree| tree.condemned)
    }

    /// The trees to be emptied, or to become empty.
    pub fn sweeping(&self) -> &BTreeSet<Process> {
        &self.sweeping
    }

    /// A tree has been found empty.
    pub fn swept(&mut self, process: Process) {
        self.sweeping.remove(&process);
    }

    /// The orphans known so far.
    pub fn orphans(&self) -> &HashMap<i32, (Identity, Option<Process>)> {
        &self.orphans
    }

    /// Notes whom an orphan belongs to.
    pub fn adopt(&mut self, identity: Identity, owner: Option<Process>) {
        self.orphans.insert(identity.pid.as_raw(), (identity, owner));
    }

    /// Forgets an orphan that was reaped, but for how it ended where it led a tree.
    pub fn orphan_reaped(&mut self, pid: i32, exit: Exit) {
        let owner = self.orphans.remove(&pid).and_then(|(_, owner)| owner);
        // Whose one was that nobody had looked at yet is not known.
        self.adopted_stirred |= owner.is_none_or(|owner| self.adopted.contains_key(&owner));
        if let Some(tree) = self.by_pid.get(&pid).and_then(|process| self.trees.get_mut(process))
            && tree.kinship == Kinship::Appointed
            && tree.pid.as_raw() == pid
        {
            tree.exit = Some(exit);
        }
    }
}
