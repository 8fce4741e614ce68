//! What a worker leaves behind when it ends by itself, where that is to live on (`"leftover": "adopt"`): kept count of, shown,
//! and taken leave of when the core says so.
//!
//! It is counted whenever somebody of it may have ended: the topmost of it are our children, whose ends are signals; where a
//! former run launched them they are somebody else's, are told by their marks, and each is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use process::{Identity, Pid, Snapshot};
use supervision::{Event, Process};

use super::Loop;
use crate::asking::hold;
use crate::processes::{Adopted, Kinship};
use crate::takeover::Leftovers;
use crate::{appointments, logs, sweeping, talk, words};

impl Loop {
    /// Lets what a launch left behind live on, and says how much that is.
    pub(super) fn adopt(&mut self, process: Process) {
        let tree = self.processes.get(process);
        let founder = tree.and_then(|tree| tree.founder.as_deref());
        let left_founder = founder.filter(|founder| !founder.ended && founder.kinship == Kinship::Child);
        let left_founder = left_founder.and_then(|founder| Identity::of(founder.pid).ok()?);
        let kinships =
            tree.map(|tree| tree.kinship).into_iter().chain(founder.map(|founder| founder.kinship));
        let foreign = kinships.into_iter().any(|kinship| kinship == Kinship::TakenBack);
        self.processes.adopt_leftovers(process, Adopted::by(foreign));
        if let Some(founder) = left_founder {
            // A child of ours, though no orphan.
            self.processes.adopt(founder, Some(process));
        }
        self.sweep();
        self.count_adopted_now();
    }

    /// What a former run left behind is this run's, if the core takes it; else it is killed.
    pub(crate) fn take_leftovers_back(&mut self, process: Process, left: Leftovers) {
        let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
        self.news.push_back(Event::Adopted(process, count));
        self.settle();
        let whom = words::processes(left.len());
        if !self.core.has_left(process) {
            talk::say(format_args!("killing {whom} that a former run left behind"));
            if let Err(error) = process::freeze_and_kill(&left, |pid| pid == Pid::this()) {
                talk::say(format_args!("what a former run left behind: {error}"));
            }
            return;
        }
        let show = self.roster.show(process.instance);
        talk::say(format_args!("{show}: {whom} that it left behind in a former run: adopted"));
        let mut adopted = Adopted { told: Some(count), ..Adopted::by(true) };
        adopted.cgroup = left.iter().find_map(|one| self.cgroups.of_survivor(one.pid)).map(Box::new);
        adopted.streams = self.streams_of_leftovers(process, &left);
        self.processes.adopt_leftovers(process, adopted);
        // Some may have ended since they were found.
        self.count_adopted_now();
    }

    /// Goes on reading what they print, where their worker's output goes to the log.
    fn streams_of_leftovers(&self, process: Process, left: &[Identity]) -> Vec<logs::StreamId> {
        let id = process.instance;
        let place = id.worker.0 as usize;
        let (Some(worker), Some(decided)) = (self.setup.workers.get(place), self.core.worker(id.worker))
        else {
            return Vec::new();
        };
        let (name, show) = (&self.roster.shared_name(id.worker), &self.roster.shared_show(id));
        let (policy, mail) = (decided.policy, &self.mail);
        let launch =
            crate::launching::Launch { process, name, show, policy, worker, notify: None, door: None, mail };
        let adopt = |stream| left.iter().find_map(|one| logs::adopt(one.pid.as_raw(), stream).ok());
        let outputs =
            [(&worker.kept.stdout, logs::Stream::Stdout), (&worker.kept.stderr, logs::Stream::Stderr)];
        let logged = outputs.into_iter().filter(|(output, _)| **output == crate::setup::Output::Log);
        let read = logged.filter_map(|(_, stream)| {
            let read = adopt(stream)?;
            let file = worker.kept.log.as_deref().cloned().map(|settings| self.pump.file(settings));
            Some(self.pump.attach(read, launch.writer().label(stream), file))
        });
        read.collect()
    }

    /// Counts what lives on of what was left behind, and tells what has changed; if need be again a little later.
    pub(super) fn count_adopted_now(&mut self) {
        if self.count_adopted(true) {
            self.processes.stir();
            self.sweep();
        }
    }

    /// Counts what lives on of what was left behind, and tells what has changed. With `patience`, nothing is called gone while
    /// somebody is just being executed, who does not tell whose he is; says whether that is so.
    pub(super) fn count_adopted(&mut self, patience: bool) -> bool {
        if !self.processes.has_adopted() {
            return false;
        }
        self.bury();
        // The next change is another chance.
        let Ok(snapshot) = Snapshot::take() else { return true };
        let socket = self.folder.socket();
        let marks = sweeping::Marks { roster: &self.roster, socket: &socket, cgroups: self.cgroups.name() };
        let sure = sweeping::recognise(&mut self.processes, &snapshot, marks);
        let mut unsure = false;
        let members = self.all_adopted(&snapshot);
        for process in self.processes.adopted().map(|(process, _)| process).collect::<Vec<_>>() {
            let members = members.get(&process).map(Vec::as_slice).unwrap_or_default();
            if members.is_empty() && patience && (!sure || !self.was_nobody_found(process)) {
                unsure = true;
                continue;
            }
            self.note_adopted(process, members);
        }
        unsure
    }

    /// Whether the last look found nobody either. Who begets another and ends while it is looked for is not seen any more,
    /// and the other one not yet.
    fn was_nobody_found(&mut self, process: Process) -> bool {
        self.processes.adopted_mut(process).is_none_or(|adopted| std::mem::replace(&mut adopted.nobody, true))
    }

    fn note_adopted(&mut self, process: Process, members: &[Identity]) {
        let Some(adopted) = self.processes.adopted_mut(process) else { return };
        adopted.nobody = members.is_empty();
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let (foreign, killed) = (adopted.foreign, adopted.killed);
        if adopted.told.is_none_or(|told| count < told) {
            adopted.told = Some(count);
            self.news.push_back(Event::Adopted(process, count));
        }
        if foreign {
            for member in members {
                self.watch_other(member.pid.as_raw());
            }
        }
        if killed && let Err(error) = process::freeze_and_kill(members, |pid| pid == Pid::this()) {
            let show = self.roster.show(process.instance);
            talk::say(format_args!("what {show} left behind: {error}"));
        }
        if count == 0 && !self.is_founder_left(process) {
            self.part_with_adopted(process);
        }
    }

    /// Whether the exit of who was executed first is still to be taken, where it is among what was left behind.
    fn is_founder_left(&self, process: Process) -> bool {
        self.processes.founder_of(process).is_some_and(|founder| !founder.ended)
    }

    /// All that lives of what was left behind and adopted, by launch.
    pub(super) fn all_adopted(&self, snapshot: &Snapshot) -> BTreeMap<Process, Vec<Identity>> {
        let mut all: BTreeMap<Process, BTreeMap<Pid, Identity>> = BTreeMap::new();
        let mut note = |process: Process, pid: Pid| {
            if let Some(stat) = snapshot.get(pid).filter(|stat| !stat.is_zombie() && pid != Pid::this()) {
                all.entry(process).or_default().insert(pid, Identity::from(stat));
            }
        };
        for (root, owner) in self.processes.orphans().values() {
            if let Some(process) = owner.filter(|owner| self.processes.is_adopted(*owner)) {
                snapshot.subtree(root.pid).iter().for_each(|(_, stat)| note(process, stat.pid));
            }
        }
        let mut foreign = BTreeSet::new();
        for (process, adopted) in self.processes.adopted() {
            let members = adopted.cgroup.iter().flat_map(|cgroup| cgroup.members());
            members.for_each(|pid| note(process, pid));
            foreign.extend(adopted.foreign.then_some(process));
        }
        if !foreign.is_empty() {
            let socket = self.folder.socket();
            for stat in snapshot.iter() {
                let mark = sweeping::mark_of(stat.pid, self.marks(&socket));
                if let Some(mark) = mark.filter(|mark| foreign.contains(&mark.process)) {
                    note(mark.process, stat.pid);
                }
            }
        }
        all.into_iter().map(|(process, members)| (process, members.into_values().collect())).collect()
    }

    /// Nothing is left of what a launch left behind: what was kept for it goes too.
    fn part_with_adopted(&mut self, process: Process) {
        let Some(adopted) = self.processes.part_with_adopted(process) else { return };
        if self.processes.get(process).is_none() {
            self.temporary.take_back(&self.roster.leaf(process));
        }
        if adopted.founder.is_some() {
            appointments::forget(self.folder.path(), &self.roster.leaf(process));
        }
        for stream in adopted.streams {
            self.pump.finish(stream);
        }
        if let Some(cgroup) = adopted.cgroup {
            cgroup.remove();
        }
        self.changed = true;
    }

    /// Asks what a launch left behind to stop, as its worker is asked.
    pub(super) fn ask_leftovers(&mut self, process: Process) {
        let now = self.clock.now();
        if let Some(adopted) = self.processes.adopted_mut(process) {
            adopted.asked_at.get_or_insert(now);
        }
        let Some((signal, _)) = self.how_to_stop(process) else { return };
        let Ok(snapshot) = Snapshot::take() else { return };
        for member in self.all_adopted(&snapshot).remove(&process).unwrap_or_default() {
            if let Some(held) = hold(member.pid.as_raw()) {
                process::signal::ask(held.as_fd(), signal);
            }
        }
        self.count_adopted_now();
    }

    /// Kills what a launch left behind, until nothing of it is left.
    pub(super) fn kill_leftovers(&mut self, process: Process) {
        let now = self.clock.now();
        if let Some(adopted) = self.processes.adopted_mut(process) {
            adopted.killed = true;
            adopted.asked_at.get_or_insert(now);
        }
        self.count_adopted_now();
    }

    /// It is not waited for any longer: it cannot be killed.
    pub(super) fn abandon_leftovers(&mut self, process: Process) {
        self.news.push_back(Event::Adopted(process, 0));
        self.part_with_adopted(process);
    }
}
