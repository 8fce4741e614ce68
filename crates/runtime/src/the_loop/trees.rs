//! The trees of processes: entered, asked, killed, seen to end, swept and given back.

use std::collections::BTreeSet;
use std::time::Duration;

use process::{Exit, Pid, Vigil};
use std::os::fd::AsFd;
use supervision::{Ending, Event, Moment, Process, Remark};

use super::{Loop, PARENT_REAPS_WITHIN, Watched};
use crate::asking::hold;
use crate::processes::{Kinship, Tree};
use crate::setup::StopTo;
use crate::sweeping::{Marks, Swept};
use crate::waiting::Held;
use crate::{sweeping, talk, words};

/// How long an orphan may take to be executed until a sweep goes on without knowing whose it is.
const EXECUTED_WITHIN: Duration = Duration::from_secs(1);
/// How soon it is looked at again; then after twice as long, and so on.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// An orphan is being executed, and does not tell whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsure {
    since: Moment,
    /// When to look again.
    pub(super) at: Moment,
}

impl Loop {
    /// Enters a tree and watches its leader.
    pub(crate) fn enter(&mut self, process: Process, tree: Tree) {
        let watched = self.watch(&tree.pidfd, Watched::Leader(process));
        let pid = tree.pid;
        self.processes.insert(process, tree);
        if let Err(error) = watched {
            // Without a watch its end would go unheard: end it now, and hear that through SIGCHLD.
            talk::say(format_args!("cannot watch pid {pid}: {error}; it is killed"));
            self.kill_tree(process);
        }
    }

    /// Has a launch that seems to hang leave a core dump and end, if it does not prevent that.
    pub(super) fn abort(&mut self, process: Process) {
        let Some(tree) = self.processes.get(process).filter(|tree| tree.ended.is_none()) else { return };
        process::signal::ask(tree.pidfd.as_fd(), libc::SIGABRT);
    }

    /// Asks a launch to stop: first over its channel, then by its stop signal, and lets it run if it was stopped. Its leader
    /// gets that at the next [`Loop::ask_leaders`], together with others.
    pub(super) fn ask(&mut self, process: Process) {
        let Some((signal, to)) = self.how_to_stop(process) else { return };
        let signal = self.passed_on.unwrap_or(signal);
        let Some(tree) = self.processes.get_mut(process) else { return };
        tree.order_to_stop();
        let leader = tree.pid;
        if tree.ended.is_none() {
            self.to_be_asked.push((process, signal));
        }
        if to == StopTo::Main {
            return;
        }
        self.ask_leaders();
        self.bury();
        let Ok(snapshot) = process::Snapshot::take() else { return };
        for pid in self.tree_of(process, &snapshot).into_iter().filter(|pid| *pid != leader) {
            if let Some(held) = hold(pid.as_raw()) {
                process::signal::ask(held.as_fd(), signal);
            }
        }
    }

    /// Asks all leaders that are to be asked. Must be done before anything else is carried out.
    pub(super) fn ask_leaders(&mut self) {
        let to_be_asked = std::mem::take(&mut self.to_be_asked);
        let pidfd = |process: Process| self.processes.get(process).map(|tree| tree.pidfd.as_fd());
        let asked = to_be_asked.into_iter().filter_map(|(process, signal)| Some((pidfd(process)?, signal)));
        process::signal::ask_all(&asked.collect::<Vec<_>>());
    }

    pub(super) fn how_to_stop(&self, process: Process) -> Option<(i32, StopTo)> {
        let by_setup = || {
            let setup = self.setup.workers.get(process.instance.worker.0 as usize)?;
            Some((setup.kept.stop_signal, setup.kept.stop_to))
        };
        self.former_stops.get(&process).copied().or_else(by_setup)
    }

    /// Before a worker's setup is exchanged: what runs of it and is to be started again is stopped as it expects.
    pub(crate) fn remember_how_to_stop(&mut self, worker: supervision::WorkerId) {
        for instance in self.instances_of_worker(worker).collect::<Vec<_>>() {
            let Some((process, _)) = self.processes.of_instance(instance) else { continue };
            if let Some(stop) = self.how_to_stop(process) {
                self.former_stops.insert(process, stop);
            }
        }
    }

    /// The processes of a launch, its leader first: all below the leader, and the orphans that belong to it with all
    /// below them.
    pub(crate) fn tree_of(&mut self, process: Process, snapshot: &process::Snapshot) -> Vec<Pid> {
        let mut all = Vec::new();
        if let Some(cgroup) = self.processes.get(process).and_then(Tree::kept_by) {
            let leader = self.processes.get(process).filter(|tree| tree.ended.is_none()).map(|tree| tree.pid);
            all.extend(leader);
            all.extend(cgroup.members().into_iter().filter(|pid| Some(*pid) != leader));
            return all;
        }
        let socket = self.folder.socket();
        // What escaped while nobody had a reason to look is not known yet.
        let marks = Marks { roster: &self.roster, socket: &socket, cgroups: self.cgroups.name() };
        sweeping::recognise(&mut self.processes, snapshot, marks);
        let Some(tree) = self.processes.get(process) else { return all };
        if tree.ended.is_none() {
            all.push(tree.pid);
            all.extend(snapshot.descendants(tree.pid));
        }
        if let Some(founder) = self.processes.founder_of(process).filter(|founder| !founder.ended) {
            all.push(founder.pid);
            all.extend(snapshot.descendants(founder.pid));
        }
        for (pid, owner) in self.escaped_from_taken_back(snapshot) {
            if owner == process {
                all.extend(snapshot.subtree(pid).into_iter().map(|(_, stat)| stat.pid));
            }
        }
        for (identity, owner) in self.processes.orphans().values() {
            if *owner == Some(process) && snapshot.get(identity.pid).is_some() {
                all.push(identity.pid);
                all.extend(snapshot.descendants(identity.pid));
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|pid| seen.insert(*pid));
        all
    }

    /// Kills everything of a launch. What is its leader's group dies at once; what escaped from it becomes our child
    /// when the leader is dead, and is swept then.
    pub(super) fn kill_tree(&mut self, process: Process) {
        self.processes.condemn(process);
        self.kill_founder(process);
        let Some(tree) = self.processes.get(process) else { return };
        if tree.ended.is_some() {
            self.sweep();
            return;
        }
        if let Some(cgroup) = tree.kept_by() {
            cgroup.kill();
            return;
        }
        match tree.kinship {
            Kinship::Child => {
                // The leader is our child and not reaped, so the group is still its own.
                let _ = process::signal::send_group(tree.pidfd.as_fd(), tree.pid, libc::SIGKILL);
                let _ = process::signal::send(tree.pidfd.as_fd(), libc::SIGKILL);
            }
            Kinship::TakenBack | Kinship::Appointed => {
                // Its orphans would not come to us: take them all while they hang together.
                if let Ok(Some(identity)) = process::Identity::of(tree.pid) {
                    let _ = process::freeze_and_kill(&[identity], |_| false);
                }
                let _ = process::signal::send(tree.pidfd.as_fd(), libc::SIGKILL);
            }
        }
    }

    /// Waits until nothing of a launch lives whose leader has ended, and lets the others end by themselves.
    pub(super) fn await_tree(&mut self, process: Process) {
        self.processes.look_out_for(process);
        self.sweep();
    }

    pub(super) fn leader_may_have_ended(&mut self, process: Process, token: u64) {
        // What it said before it ended comes first.
        self.hear_notifications(process);
        self.hear_newline(process);
        let Some(tree) = self.processes.get(process).filter(|tree| tree.ended.is_none()) else {
            self.watched.remove(&token);
            return;
        };
        let mut dumped_core = false;
        let mut ending_of = |exit: Exit| {
            dumped_core = matches!(exit, Exit::Signal { core_dumped: true, .. });
            words::ending(exit)
        };
        let later = self.may_be_buried_later(process, tree);
        let ending = match tree.kinship {
            Kinship::Child if later => match process::look_at_leader(tree.pidfd.as_fd()) {
                Ok(exit) => exit.map(&mut ending_of),
                Err(_) => Some(Ending::Unknown),
            },
            Kinship::Child => match process::wait_leader(tree.pidfd.as_fd()) {
                Ok(exit) => exit.map(&mut ending_of),
                // Nobody else waits for our children; should somebody have, its end is all that is known.
                Err(_) => Some(Ending::Unknown),
            },
            Kinship::TakenBack | Kinship::Appointed if !process::is_dead(tree.pidfd.as_fd()) => None,
            Kinship::Appointed => match self.exit_of_appointed(process) {
                Some(exit) => Some(ending_of(exit)),
                None => (!self.await_reaping(process, token)).then_some(Ending::Unknown),
            },
            Kinship::TakenBack => match process::exit_of(tree.pidfd.as_fd()) {
                Some(exit) => Some(ending_of(exit)),
                None => (!self.await_reaping(process, token)).then_some(Ending::Unknown),
            },
        };
        let Some(ending) = ending else { return };
        if later {
            self.dead.leader(process);
        } else if let Some(tree) = self.processes.get(process) {
            let _ = self.epoll.delete(&tree.pidfd);
        }
        self.watched.remove(&token);
        // Nobody is to wait until its tree is empty for what it alone held.
        if let Some(tree) = self.processes.get(process) {
            self.primitives.reclaim(tree.pid.as_raw());
        }
        self.processes.leader_ended(process, ending);
        self.note_core(process.instance, dumped_core);
        self.remark_on(process, dumped_core);
        self.when_its_feeder_has_ended(process, ending);
    }

    /// Tells what an ending does not: that the kernel killed something of it for want of memory, that it left a core.
    fn remark_on(&mut self, process: Process, dumped_core: bool) {
        let nest = self.processes.get(process).and_then(|tree| tree.cgroup.as_ref());
        if nest.is_some_and(|nest| nest.cgroup.oom_kills() > 0) {
            self.news.push_back(Event::Remarked(process, Remark::OutOfMemory));
        } else if dumped_core {
            self.news.push_back(Event::Remarked(process, Remark::CoreDumped));
        }
    }

    /// Tells that a leader has ended, and how.
    pub(super) fn tell_ended(&mut self, process: Process, ending: Ending) {
        self.tell_leader_ended(process, ending);
        self.changed = true;
        self.news.push_back(Event::Ended(process, ending));
    }

    /// The kernel tells how somebody else's child ended only once its parent has reaped it. Gives that parent a moment;
    /// says whether it has any of it left.
    pub(super) fn await_reaping(&mut self, process: Process, token: u64) -> bool {
        let now = self.clock.now();
        let Some(tree) = self.processes.get_mut(process) else { return false };
        if let Some(at) = tree.exit_unknown_at {
            return now < at;
        }
        tree.exit_unknown_at = Some(now + PARENT_REAPS_WITHIN);
        // That it is dead is known; wake up when it is reaped.
        self.watch_reaping(process, token)
    }

    /// Looks again at the leaders whose parent has had its moment.
    pub(super) fn stop_awaiting_reaping(&mut self) {
        let now = self.clock.now();
        let due = |tree: &Tree| tree.ended.is_none() && tree.exit_unknown_at.is_some_and(|at| at <= now);
        let due: Vec<Process> =
            self.processes.iter().filter(|(_, tree)| due(tree)).map(|(process, _)| process).collect();
        for process in due {
            let token = self.watched.iter().find(|(_, what)| **what == Watched::Leader(process));
            if let Some(token) = token.map(|(token, _)| *token) {
                self.leader_may_have_ended(process, token);
            }
        }
    }

    pub(super) fn other_may_have_ended(&mut self, pid: i32, token: u64) {
        let Some(held) = self.others.get(&pid) else {
            self.watched.remove(&token);
            return;
        };
        if process::is_dead(held.pidfd.as_fd()) {
            let _ = self.epoll.delete(&held.pidfd);
            self.others.remove(&pid);
            self.watched.remove(&token);
            self.reclaim_from(pid);
            self.changed = true;
            if !self.processes.sweeping().is_empty() {
                self.sweep();
            }
            self.count_adopted_now();
        }
    }

    /// Watches a process that is no leader until it ends. `None`: it is gone already, or cannot be held.
    pub(crate) fn watch_other(&mut self, pid: i32) -> Option<()> {
        if self.others.contains_key(&pid) {
            return Some(());
        }
        let pidfd = hold(pid)?;
        self.watch(&pidfd, Watched::Other(pid)).ok()?;
        self.others.insert(pid, Held { pid, pidfd });
        Some(())
    }

    /// Reaps, kills what is to be killed, and tells whose tree is empty. Says whether any orphan lives, whoever it belongs to.
    pub(super) fn sweep(&mut self) -> bool {
        self.child_changed = false;
        let socket = self.folder.socket();
        let marks = Marks { roster: &self.roster, socket: &socket, cgroups: self.cgroups.name() };
        let now = self.clock.now();
        let patience = self.unsure.is_none_or(|unsure| now.since(unsure.since) < EXECUTED_WITHIN);
        let dead = sweeping::reap_orphans(&mut self.processes);
        if dead.orphans_live || self.processes.has_foreign() {
            // Who is looked for among all processes is not to be found among the dead.
            self.dead.bury(&self.processes, &self.epoll);
        }
        let Swept { empty, reaped, watch, populated, left_behind, orphans_live, unsure } =
            sweeping::sweep(&mut self.processes, marks, patience, dead);
        let unsure =
            unsure | (self.processes.take_stirred() || self.unsure.is_some()) && self.count_adopted(patience);
        self.unsure = unsure.then(|| {
            let since = self.unsure.map_or(now, |unsure| unsure.since);
            // Nothing tells when somebody is executed. Mostly that takes less than the first look again.
            Unsure { since, at: now + now.since(since).max(LOOK_AGAIN_AFTER) }
        });
        for pid in reaped {
            self.reclaim_from(pid);
        }
        for pid in watch {
            self.watch_other(pid);
        }
        for (process, count) in left_behind {
            self.news.push_back(Event::Remarked(process, Remark::LeftBehind(count)));
        }
        // One that became empty between the killing and the watching is told by nothing else.
        let again = populated.into_iter().filter(|process| self.watch_cgroup(*process)).count() > 0;
        for process in empty {
            self.processes.swept(process);
            self.news.push_back(Event::Emptied(process));
        }
        if again { self.sweep() } else { orphans_live }
    }

    /// Watches for a cgroup's becoming empty; says whether it has become so already.
    fn watch_cgroup(&mut self, process: Process) -> bool {
        let Some(tree) = self.processes.get(process) else { return false };
        let Some(nest) = tree.cgroup.as_ref().filter(|nest| nest.vigil.is_none()) else { return false };
        // Where it cannot be watched (version 1), the ends of its processes lead to the next sweep.
        let Ok(Some(vigil)) = nest.cgroup.watch() else { return false };
        let watched = self.watch(&vigil, Watched::Cgroup(process)).is_ok();
        if !vigil.is_populated() {
            let _ = self.epoll.delete(&vigil);
            return true;
        }
        if let Some(nest) = self.processes.get_mut(process).and_then(|tree| tree.cgroup.as_mut()) {
            nest.vigil = Some(vigil).filter(|_| watched);
        }
        false
    }

    /// Sweeps again, if it is time, because an orphan did not tell whose it is.
    pub(super) fn sweep_again(&mut self) {
        if self.unsure.is_some_and(|unsure| unsure.at <= self.clock.now()) {
            self.sweep();
        }
    }

    fn unwatch_cgroup(&mut self, process: Process) {
        let nest = self.processes.get_mut(process).and_then(|tree| tree.cgroup.as_mut());
        if let Some(vigil) = nest.and_then(|nest| nest.vigil.take()) {
            let _ = self.epoll.delete(&vigil);
        }
    }

    pub(super) fn cgroup_may_be_empty(&mut self, process: Process, token: u64) {
        let nest = self.processes.get(process).and_then(|tree| tree.cgroup.as_ref());
        if nest.and_then(|nest| nest.vigil.as_ref()).is_some_and(Vigil::is_populated) {
            return;
        }
        self.watched.remove(&token);
        self.unwatch_cgroup(process);
        self.sweep();
    }

    /// Removes the temporary folder of a launch that is over, if it had one.
    pub(super) fn take_back_temporary(&mut self, process: Process) {
        if self.temporary.has_any() {
            self.temporary.take_back(&self.roster.leaf(process));
        }
    }

    /// Gives back what a dead launch held, and lets its output run dry.
    pub(super) fn reclaim(&mut self, process: Process) {
        self.former_stops.remove(&process);
        if let Some(mut tree) = self.processes.remove(process) {
            self.reclaim_from(tree.pid.as_raw());
            let was_led = tree.founder.is_some();
            // A later run would take who was executed first, and lives on, for who leads.
            let founder =
                tree.founder.take().filter(|founder| !founder.ended && self.processes.is_adopted(process));
            if founder.is_none() && (was_led || tree.kinship == Kinship::TakenBack) {
                crate::appointments::forget(self.folder.path(), &self.roster.leaf(process));
            }
            for place in tree.meeting_places() {
                crate::joining::clear_meeting_place(place);
            }
            match self.processes.adopted_mut(process) {
                // What it left behind lives on in it.
                Some(adopted) => {
                    adopted.cgroup = tree.cgroup.map(|nest| Box::new(nest.cgroup));
                    adopted.streams = tree.streams.into_iter().collect();
                    adopted.founder = founder;
                }
                None => {
                    if let Some(nest) = &tree.cgroup {
                        nest.cgroup.remove();
                    }
                    self.take_back_temporary(process);
                    tree.streams.into_iter().for_each(|stream| self.pump.finish(stream));
                }
            }
            self.dead.given_back(process, tree.pidfd);
        }
        let dead: Vec<i32> = self
            .others
            .values()
            .filter(|held| process::is_dead(held.pidfd.as_fd()))
            .map(|held| held.pid)
            .collect();
        for pid in dead {
            self.reclaim_from(pid);
        }
        self.close_ear(process);
        self.given_back(process);
    }
}
