//! What is promised of a rolling restart: the new is ready before the old is asked to stop, one after the other; and when
//! one does not get ready, the rest is left alone.

use std::collections::{BTreeMap, BTreeSet};

use supervision::{
    Action, Change, Instance, InstanceId, Manner, Moment, Overlap, Phase, Process, Supervisor, WorkerId,
};

use super::Checks;

#[derive(Default)]
pub struct Rolls {
    under_way: BTreeMap<WorkerId, Roll>,
    /// Those that the present event breaks off; whether all that was old had been replaced by then.
    broken_off: BTreeMap<WorkerId, bool>,
    /// Those that the present event changes while they roll: whether all that was old had been replaced by then, and the last
    /// that was asked.
    renewed: BTreeMap<WorkerId, (bool, Option<Process>)>,
    /// Those that the present event changes while they roll, in whatever manner.
    changed: BTreeSet<WorkerId>,
    /// Who is, by the present event, on its way down to be started again; and whether it had not got ready.
    going: Vec<(Process, bool)>,
}

struct Roll {
    /// How many instances there are to be at its end.
    size: u32,
    /// The launches that are to be replaced.
    old: BTreeSet<Process>,
    /// The last of them that was asked.
    last: Option<Process>,
    /// Who was on its way when there were to be more instances, and has not got ready since.
    awaited: Option<InstanceId>,
    /// Whether the worker was changed since it began: which is the one more is not plain any more.
    meddled: bool,
}

fn runs_on(seen: &BTreeMap<InstanceId, Instance>, old: &Process) -> bool {
    let now = seen.get(&old.instance).filter(|now| now.launch == Some(old.launch));
    now.is_some_and(|now| matches!(now.phase, Phase::Starting | Phase::Running))
}

impl Checks {
    /// Whether a worker that is to have so many instances, if that is said, has any to be kept up.
    pub fn keeps_up(&self, worker: WorkerId, instances: Option<u32>) -> bool {
        let kept = |now: &&Instance| instances.is_none_or(|instances| now.id.index < instances);
        let mut of_it = self.seen.values().filter(|now| now.id.worker == worker).filter(kept);
        let spec = self.family.workers.get(worker.0 as usize);
        spec.is_some_and(|spec| spec.schedule.is_none())
            && !self.removed.contains(&worker)
            && of_it.any(|now| now.phase == Phase::Running)
    }

    pub fn is_rolling(&self, worker: WorkerId) -> bool {
        self.rolls.under_way.contains_key(&worker)
    }

    /// Whether the present event has changed a worker that rolls, and goes on with that.
    pub fn goes_on_rolling(&self, worker: WorkerId) -> bool {
        self.rolls.changed.contains(&worker)
    }

    /// A rolling restart is asked for; says whether it is one.
    pub fn note_roll(&mut self, worker: WorkerId) -> bool {
        if !self.keeps_up(worker, None) {
            return false;
        }
        let of_it = self.seen.values().filter(|now| now.id.worker == worker && now.why != "scaled away");
        let instances = of_it.count() as u32;
        self.begin_roll(worker, instances, instances, &BTreeSet::new());
        true
    }

    /// There are to be so many at its end. Of so many the launches are old: of those that are too many only where it goes on.
    fn begin_roll(&mut self, worker: WorkerId, instances: u32, among: u32, spared: &BTreeSet<InstanceId>) {
        let coming = |now: &&Instance| matches!(now.phase, Phase::Starting | Phase::Running);
        let of_it = self.seen.values().filter(|now| now.id.worker == worker && now.id.index < among);
        let old = of_it.filter(coming).filter(|now| !spared.contains(&now.id));
        let old = old.filter_map(|now| Some(Process { instance: now.id, launch: now.launch? })).collect();
        let roll = Roll { size: instances, old, last: None, awaited: None, meddled: false };
        self.rolls.under_way.insert(worker, roll);
    }

    /// Whether an instance is the one more of a rolling restart: then its failure is nobody's but that one's.
    pub fn is_one_more(&self, id: InstanceId) -> bool {
        let roll = self.rolls.under_way.get(&id.worker);
        roll.is_some_and(|roll| !roll.meddled && id.index == roll.size)
    }

    pub fn break_off(&mut self, worker: WorkerId) {
        if let Some(roll) = self.rolls.under_way.remove(&worker) {
            let all_replaced = self.is_done(&roll);
            self.rolls.broken_off.insert(worker, all_replaced);
        }
    }

    fn runs_on(&self, old: &Process) -> bool {
        runs_on(&self.seen, old)
    }

    /// Whether all is replaced that is not too many.
    fn is_done(&self, roll: &Roll) -> bool {
        let mut old = roll.old.iter().filter(|old| old.instance.index < roll.size);
        !old.any(|old| self.runs_on(old))
    }

    /// Of the workers that a change is to replace: those that roll. Called while the former config still holds.
    pub fn note_rolls(&mut self, change: &Change) -> BTreeSet<WorkerId> {
        let removed = self.removed.clone();
        let is_spared = |id: &&InstanceId| !removed.contains(&id.worker);
        let spared: BTreeSet<InstanceId> = change.spared.iter().filter(is_spared).copied().collect();
        for id in &change.removed {
            self.break_off(*id);
        }
        let mut rolls: Vec<(WorkerId, u32)> = Vec::new();
        for (id, worker, manner) in &change.changed {
            let was_rolling = self.rolls.under_way.contains_key(id) && !change.removed.contains(id);
            let goes_on = *manner != Manner::Restart && worker.schedule.is_none();
            if was_rolling && !goes_on {
                self.break_off(*id);
            } else if was_rolling {
                self.rolls.changed.insert(*id);
                let of_it = self.seen.values().filter(|now| now.id.worker == *id && now.why != "scaled away");
                let one_more = of_it.map(|now| now.id.index).max();
                if let Some(roll) = self.rolls.under_way.get_mut(id) {
                    let former_size = std::mem::replace(&mut roll.size, worker.instances);
                    roll.meddled = true;
                    roll.awaited = roll.awaited.filter(|awaited| awaited.index < worker.instances);
                    if one_more.is_none_or(|one_more| worker.instances > one_more) {
                        // That is one like the others now, and another comes first; but what is on its way comes
                        // before that.
                        let on_its_way = roll.last.map(|last| last.instance);
                        let newest = one_more.filter(|one_more| *one_more >= former_size);
                        let newest = newest.map(|index| InstanceId { worker: *id, index });
                        roll.awaited = roll.awaited.or(on_its_way).or(newest);
                        roll.last = None;
                    }
                }
            }
            let keeps_up = || was_rolling || self.keeps_up(*id, Some(worker.instances));
            if *manner == Manner::Roll && goes_on && !change.removed.contains(id) && keeps_up() {
                rolls.push((*id, worker.instances));
            }
        }
        for &(id, instances) in &rolls {
            if let Some(roll) = self.rolls.under_way.get(&id) {
                let all_replaced = self.is_done(roll);
                self.rolls.renewed.insert(id, (all_replaced, roll.last));
            }
            let awaited = self.rolls.under_way.get(&id).and_then(|roll| roll.awaited);
            let was_rolling = self.rolls.renewed.contains_key(&id);
            self.begin_roll(id, instances, if was_rolling { u32::MAX } else { instances }, &spared);
            if let Some(roll) = self.rolls.under_way.get_mut(&id) {
                (roll.meddled, roll.awaited) = (was_rolling, awaited);
            }
            let is_empty = self.rolls.under_way[&id].old.is_empty();
            if is_empty && !was_rolling {
                // There is nothing to replace.
                self.rolls.under_way.remove(&id);
            }
        }
        rolls.into_iter().map(|(id, _)| id).collect()
    }

    /// One that was scaled away may be gone, and its number the one more's, by one event.
    pub fn look_for_one_more(&mut self, instance: &Instance) {
        let id = instance.id;
        let scaled = |(worker, instances): &(WorkerId, u32)| *worker == id.worker && id.index >= *instances;
        let is_one_too_many = self.scaled.iter().any(scaled) && !self.goes_on_rolling(id.worker);
        // Or it was one too many of a rolling restart that came to its end, and another has begun.
        let is_more = self.rolls.under_way.get(&id.worker).is_some_and(|roll| id.index >= roll.size);
        let was_over =
            |before: &Instance| matches!(before.phase, Phase::Done | Phase::Failed | Phase::Stopped);
        let is_over = was_over(instance);
        let was_leaving = |before: &Instance| {
            is_one_too_many || before.why == "scaled away" || is_more && was_over(before) && !is_over
        };
        if instance.phase != Phase::Stopping
            && self.is_rolling(id.worker)
            && self.seen.get(&id).is_some_and(was_leaving)
        {
            self.forget(instance.id);
        }
    }

    /// An instance is no more.
    pub fn forget(&mut self, id: InstanceId) {
        for forgetful in [&mut self.begun, &mut self.down, &mut self.finals] {
            forgetful.remove(&id);
        }
        self.failed.remove(&id);
        self.restarts.remove(&id);
        self.unseen.remove(&id);
        self.rests.remove(&id);
        self.clocks.remove(&id);
    }

    /// Looks at one that may have been told to stop for being started again.
    pub fn look_at_rolled(&mut self, instance: &Instance) {
        const AGAIN: &str = "is started again once it is gone";
        let Some(before) = self.seen.get(&instance.id) else { return };
        let leaves = instance.phase == Phase::Stopping && instance.why == AGAIN;
        if matches!(before.phase, Phase::Starting | Phase::Running)
            && leaves
            && let Some(launch) = instance.launch
        {
            let process = Process { instance: instance.id, launch };
            self.rolls.going.push((process, before.phase == Phase::Starting));
        }
        if before.phase == Phase::Stopping && before.why == AGAIN && instance.phase != Phase::Stopping {
            // What was before is forgiven with it.
            self.restarts.remove(&instance.id);
            self.unseen.remove(&instance.id);
            self.rests.remove(&instance.id);
        }
    }

    /// Holds what the event brought about against what people now see.
    pub fn look_at_rolls(&mut self, core: &Supervisor, now: Moment, actions: &[Action]) {
        let renewed = std::mem::take(&mut self.rolls.renewed);
        self.rolls.changed.clear();
        let mut told_before = BTreeSet::new();
        for (worker, (all_replaced, last)) in &renewed {
            let told = actions.iter().find_map(|action| match action {
                Action::Rolled(of, outcome) if of == worker => Some(outcome),
                _ => None,
            });
            if let Some(outcome) = told {
                // It was about to be over, and another one has begun; or nothing is left to be replaced by what holds now.
                let of_now = self.rolls.under_way.get(worker).filter(|_| !core.is_rolling(*worker));
                let none_left = of_now.is_some_and(|roll| self.is_done(roll));
                assert!(
                    outcome.is_err() || *all_replaced || none_left,
                    "{worker:?} is told to be replaced, and is not"
                );
                told_before.insert(*worker);
                if let Some(roll) = self.rolls.under_way.get_mut(worker) {
                    roll.awaited = None;
                }
                if !core.is_rolling(*worker) {
                    self.rolls.under_way.remove(worker);
                }
            } else if let Some(roll) = self.rolls.under_way.get_mut(worker) {
                roll.last = *last;
            }
        }
        for (process, was_starting) in std::mem::take(&mut self.rolls.going) {
            let id = process.instance;
            let replaces =
                self.spec(id).schedule.is_some_and(|schedule| schedule.overlap == Overlap::Replace);
            if !self.requested.contains(&id) && !replaces {
                // Who was launched by what held before, and is not ready, is launched again at once.
                if !(was_starting && renewed.contains_key(&id.worker)) {
                    self.its_roll_has_come(now, process);
                }
            }
        }
        for action in actions {
            let Action::Rolled(worker, outcome) = action else { continue };
            if told_before.contains(worker) {
                continue;
            }
            if let Some(all_replaced) = self.rolls.broken_off.remove(worker) {
                assert!(
                    outcome.is_err() || all_replaced,
                    "{worker:?} was broken off, and is told to be replaced"
                );
                continue;
            }
            let roll = self.rolls.under_way.remove(worker);
            let roll = roll.unwrap_or_else(|| panic!("{worker:?} was not to roll, and is told to be over"));
            let surplus = self.seen.keys().find(|id| id.worker == *worker && id.index >= roll.size);
            let is_over = self.stopping_since.is_none();
            assert!(!is_over || surplus.is_none(), "{worker:?} has one too many at the end: {surplus:?}");
            assert!(outcome.is_err() || self.is_done(&roll), "{worker:?} is told to be replaced, and is not");
        }
        assert!(self.rolls.broken_off.is_empty(), "broken off, and nobody is told");
        for (worker, roll) in &mut self.rolls.under_way {
            let min_ready = self.family.workers[worker.0 as usize].min_ready;
            let is_good = |instance: &Instance| {
                instance.phase == Phase::Running && now.since(instance.since) >= min_ready
            };
            roll.awaited = roll.awaited.filter(|id| !self.seen.get(id).is_some_and(is_good));
            let mut of_it = self.seen.values().filter(|now| now.id.worker == *worker).peekable();
            let all_good = of_it.peek().is_some() && of_it.all(is_good);
            let runs_on = |old: &Process| runs_on(&self.seen, old);
            let replaced = !roll.old.iter().any(runs_on);
            assert!(!all_good || !replaced, "all of {worker:?} is replaced, and its rolling restart goes on");
        }
        let over = self.stopping_since.is_none() || self.rolls.under_way.is_empty();
        assert!(over, "the run is being stopped, and a worker rolls on");
    }

    fn its_roll_has_come(&mut self, now: Moment, process: Process) {
        let InstanceId { worker, index } = process.instance;
        let roll = self.rolls.under_way.get(&worker).filter(|roll| roll.old.contains(&process));
        let Some(roll) = roll else { panic!("{process:?} is to be started again, and nobody wants that") };
        // One that was launched by what held before is replaced once more: then the one more stands in for it.
        let last = roll.last.filter(|last| last.instance != process.instance);
        let new = match last {
            Some(last) => self.seen.get(&last.instance).filter(|now| now.launch > Some(last.launch)),
            None => self
                .seen
                .values()
                .rfind(|now| now.id.worker == worker && now.why != "scaled away")
                .filter(|now| now.id.index > index),
        };
        let min_ready = self.spec(process.instance).min_ready;
        let is_good = |new: &Instance| new.phase == Phase::Running && now.since(new.since) >= min_ready;
        let awaited = roll.awaited.filter(|id| !self.seen.get(id).is_some_and(is_good));
        assert!(awaited.is_none(), "{process:?} is asked, and {awaited:?} is still on its way");
        assert!(
            new.is_some_and(is_good),
            "{process:?} is asked, and the new is not ready, or has not been for long enough: {new:?}"
        );
        if let Some(roll) = self.rolls.under_way.get_mut(&worker) {
            roll.last = Some(process);
        }
    }
}
