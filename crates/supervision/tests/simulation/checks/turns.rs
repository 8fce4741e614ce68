//! What a change of the family means: who goes, in what order, and who comes back when.

use std::collections::{BTreeMap, BTreeSet};

use supervision::{Change, Instance, InstanceId, Manner, Moment, Phase, Process, WorkerId};

use super::Checks;
use crate::world::Body;

/// Who is still to go for a change.
#[derive(Default)]
pub struct Turns {
    /// Processes that are to go, each with the workers that must not be asked before it is gone.
    leaving: BTreeMap<Process, BTreeSet<WorkerId>>,
    /// Those of them that are to be started anew and were not asked yet, as far as it could be seen.
    awaited: BTreeSet<Process>,
    /// For workers that changed: whose leaving processes must be gone before they are launched.
    behind: BTreeMap<WorkerId, BTreeSet<Process>>,
}

impl Turns {
    /// Whether a process is to be asked for a change and was not yet: however it ends, it is started anew.
    pub fn awaits(&self, process: Process) -> bool {
        self.awaited.contains(&process)
    }

    /// Forgets who has gone.
    pub fn look(&mut self, seen: &BTreeMap<InstanceId, Instance>) {
        let is_up = |process: &Process| {
            seen.get(&process.instance).is_some_and(|now| {
                now.launch == Some(process.launch)
                    && matches!(now.phase, Phase::Starting | Phase::Running | Phase::Stopping)
            })
        };
        self.leaving.retain(|process, _| is_up(process));
        self.awaited.retain(is_up);
        self.behind.retain(|_, processes| {
            processes.retain(is_up);
            !processes.is_empty()
        });
    }
}

impl Checks {
    pub fn note_change(&mut self, change: &Change, now: Moment) {
        let known = |id: &WorkerId| (id.0 as usize) < self.family.workers.len();
        let removed: BTreeSet<WorkerId> =
            change.removed.iter().copied().filter(|id| known(id) && !self.removed.contains(id)).collect();
        let rolls = self.note_rolls(change);
        let known = |id: &WorkerId| (id.0 as usize) < self.family.workers.len();
        let restarts = |id: &WorkerId, manner: Manner| {
            manner != Manner::Keep && !rolls.contains(id) || self.removed.contains(id)
        };
        let anew: BTreeSet<WorkerId> = change
            .changed
            .iter()
            .filter(|(id, _, manner)| known(id) && restarts(id, *manner))
            .map(|(id, ..)| *id)
            .filter(|id| !removed.contains(id))
            .collect();
        let going: BTreeSet<WorkerId> = removed.union(&anew).copied().collect();
        self.note_leaving(&going, &anew);

        for &id in &removed {
            self.removed.insert(id);
            self.told_gone.remove(&id);
        }
        for (id, worker, _) in change.changed.iter().filter(|(id, ..)| !removed.contains(id)) {
            let place = id.0 as usize;
            let Some(former) = self.family.workers.get_mut(place) else { continue };
            let name = former.name.clone();
            let unseen = former.backoff.initial.is_zero();
            let rescheduled = former.schedule != worker.schedule;
            *former = supervision::Worker { name, ..worker.clone() };
            self.longest_grace = self.longest_grace.max(worker.grace);
            self.removed.remove(id);
            self.scaled.push((*id, worker.instances));
            for instance in self.targets(supervision::Target::Worker(*id)).into_iter().filter(|_| unseen) {
                self.rests.insert(instance, None);
            }
            if rescheduled {
                self.rescheduled(*id, now);
            }
            self.may_come_back(*id);
        }
        for worker in &change.added {
            self.longest_grace = self.longest_grace.max(worker.grace);
            self.family.workers.push(worker.clone());
        }
        for &worker in anew.union(&rolls) {
            for id in self.targets(supervision::Target::Worker(worker)) {
                // Who was told to stop, and ended by itself before, has ended.
                if matches!(self.phase(id), Some(Phase::Done | Phase::Failed)) {
                    self.down.remove(&id);
                }
                if !matches!(self.phase(id), Some(Phase::Stopped)) && !self.down.contains(&id) {
                    self.forgive(id);
                }
            }
        }
        (self.family.strategy, self.family.intensity) = (change.strategy, change.intensity);
        self.family.stop_within = change.stop_within;
        self.stop_within = change.stop_within;
        self.family.groups.clone_from(&change.groups);
        let workers = self.family.workers.len();
        self.tree.rebuild(change.strategy, change.intensity, &change.groups, workers, &change.order);
        self.regrouped();
        let added = (workers - change.added.len()..workers).map(|id| WorkerId(id as u32));
        let changed = change.changed.iter().map(|(id, ..)| *id).filter(|id| !removed.contains(id));
        let starting: Vec<WorkerId> = changed.filter(|id| (id.0 as usize) < workers).chain(added).collect();
        self.note_behind(&starting, &going);
    }

    /// Who is up of those that go, and whom each of them must go before.
    fn note_leaving(&mut self, going: &BTreeSet<WorkerId>, anew: &BTreeSet<WorkerId>) {
        // What a former change said of them holds no more.
        self.turns.leaving.retain(|process, _| !going.contains(&process.instance.worker));
        for before in self.turns.leaving.values_mut() {
            before.retain(|worker| !going.contains(worker));
        }
        let up: Vec<(Process, Phase)> = self
            .seen
            .values()
            .filter(|now| going.contains(&now.id.worker))
            .filter(|now| matches!(now.phase, Phase::Starting | Phase::Running | Phase::Stopping))
            .filter_map(|now| Some((Process { instance: now.id, launch: now.launch? }, now.phase)))
            .collect();
        for (process, phase) in up {
            let worker = process.instance.worker;
            let mut before = self.all_awaited(worker);
            before.retain(|on| {
                going.contains(on) && !self.waits_for_a_circle(*on) && !self.worker_after(*on, *on)
            });
            if self.waits_for_a_circle(worker) || self.worker_after(worker, worker) {
                before.clear();
            }
            self.turns.leaving.insert(process, before);
            if anew.contains(&worker) && phase != Phase::Stopping {
                self.turns.awaited.insert(process);
            } else {
                self.turns.awaited.remove(&process);
            }
        }
    }

    /// Who may not come back before which of those that go is gone.
    fn note_behind(&mut self, starting: &[WorkerId], going: &BTreeSet<WorkerId>) {
        for &worker in starting {
            self.turns.behind.remove(&worker);
            if self.waits_for_a_circle(worker) || self.worker_after(worker, worker) {
                continue;
            }
            let awaited = self.all_awaited(worker);
            let ahead = self.turns.leaving.keys().filter(|process| {
                let on = process.instance.worker;
                going.contains(&on) && awaited.contains(&on)
            });
            let ahead: BTreeSet<Process> = ahead.copied().collect();
            self.turns.behind.insert(worker, ahead);
        }
    }

    /// Nobody who is to be started anew is forgotten: it is asked as soon as nobody is left that must go before it.
    pub fn nobody_is_forgotten(&self, asked: &BTreeSet<Process>) {
        for process in self.turns.awaited.iter().filter(|process| !asked.contains(process)) {
            let worker = process.instance.worker;
            let up = matches!(self.phase(process.instance), Some(Phase::Starting | Phase::Running));
            let held =
                self.turns.leaving.iter().any(|(other, before)| other != process && before.contains(&worker));
            let circle = self.waits_for_a_circle(worker) || self.worker_after(worker, worker);
            assert!(!up || held || circle, "{process:?} is to be started anew, and is forgotten");
        }
    }

    /// Whoever is asked for a change has nobody left that must go before it.
    pub fn goes_in_its_turn(&mut self, process: Process, instance: &Instance) {
        // Who is asked because it has failed still changes: it is started anew, however it ends.
        if !super::watch::is_failure(&instance.why) {
            self.turns.awaited.remove(&process);
        }
        if !["its config has changed", "taken out of the config"].contains(&instance.why.as_str()) {
            return;
        }
        let worker = process.instance.worker;
        for (other, before) in &self.turns.leaving {
            let same = other.instance.worker == worker;
            assert!(same || !before.contains(&worker), "{process:?} is asked before {other:?} is gone");
        }
    }

    /// Whoever comes back after a change finds nothing of the former config that it comes after.
    pub fn its_turn_has_come(&self, worker: WorkerId, bodies: &BTreeMap<Process, Body>) {
        if let Some(process) = self.turns.behind.get(&worker).and_then(|processes| processes.first()) {
            let lives = bodies.get(process).is_some_and(|body| body.leader || body.tree || body.holds);
            panic!("{worker:?} comes back, and {process:?} is not gone (lives: {lives})");
        }
    }
}
