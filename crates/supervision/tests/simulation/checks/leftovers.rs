//! What is promised of those whom a launch leaves behind: who waits for whom, who lives on, and who takes leave when.

use std::collections::BTreeMap;

use supervision::{
    Event, Instance, InstanceId, Leftover, Moment, Phase, Policy, Process, Remark, Request, Supervisor,
    Target, WorkerId,
};

use super::Checks;
use crate::world::Body;

/// What was ordered for, and told of, those whom a launch left behind.
#[derive(Default)]
pub struct Left {
    /// Whether the launch ended by itself, whatever is made of that.
    pub by_itself: bool,
    /// Whether the rest of its tree is waited for that was asked to stop.
    pub awaited: bool,
    /// Whether they are to live on.
    pub adopts: bool,
    /// Whether it is known that they are a failure of it.
    pub others_are_a_failure: bool,
    asked_at: Option<(Moment, std::time::Duration)>,
    killed: bool,
    /// Whether it is known that none of them is left.
    gone: bool,
}

impl Left {
    pub fn is_leaving(&self) -> bool {
        self.asked_at.is_some() || self.killed
    }
}

/// An instance as if it had left nobody behind: that has a look of its own.
pub fn without_leftovers(mut instance: Instance) -> Instance {
    let words = match (instance.left_behind.count, instance.left_behind.leaving) {
        (0, _) => return instance,
        (_, true) => "what it left behind is being stopped".to_owned(),
        (1, false) => "a process that it left behind lives on".to_owned(),
        (count, false) => format!("{count} processes that it left behind live on"),
    };
    let joint = if instance.left_behind.leaving { "; " } else { ", and " };
    let why = instance.why.strip_suffix(&words).expect("what it left behind is told");
    instance.why = why.strip_suffix(joint).unwrap_or(why).to_owned();
    instance
}

impl Checks {
    /// What a launch of a former run left behind is this run's.
    pub fn left_before(&mut self, process: Process) {
        let latest = self.latest.entry(process.instance).or_insert(process.launch);
        *latest = process.launch.max(*latest);
        let record = self.record(process);
        record.known_to_have_ended = true;
        record.left.adopts = true;
    }

    pub fn note_leftovers(&mut self, event: &Event) {
        match event {
            Event::Remarked(process, Remark::LeftBehind(count)) if self.is_latest(*process) && *count > 0 => {
                let fails = self.spec(process.instance).leftover == Leftover::Fail;
                let leaves = self.phase(process.instance) == Some(Phase::Stopping);
                let record = self.record(*process);
                let counts =
                    record.known_to_have_ended && record.reclaims == 0 && record.own_ending.is_some();
                record.left.others_are_a_failure |= fails && leaves && counts && !record.left.adopts;
            }
            Event::Adopted(process, 0) if self.processes.contains_key(process) => {
                let record = self.record(*process);
                record.left.gone |= record.left.adopts;
            }
            _ => {}
        }
    }

    /// The rest of a tree is waited for whose leader was asked to stop and has ended.
    pub fn awaits(&mut self, process: Process, bodies: &BTreeMap<Process, Body>) {
        assert!(!bodies[&process].leader, "its leader lives, and what it leaves is waited for");
        assert!(self.spec(process.instance).asks_tree, "{process:?} alone was asked");
        let record = self.record(process);
        assert!(record.asked_at.is_some() && record.kills_alive + record.kills_dead == 0, "nobody was asked");
        assert!(!std::mem::replace(&mut record.left.awaited, true), "waited for twice");
    }

    /// What a launch leaves behind is to live on: it has ended by itself.
    pub fn adopts(&mut self, process: Process, bodies: &BTreeMap<Process, Body>) {
        assert!(!bodies[&process].leader, "its leader lives, and what it leaves is adopted");
        assert_eq!(self.spec(process.instance).leftover, Leftover::Adopt, "{process:?} is to leave nobody");
        let record = self.record(process);
        assert!(record.left.by_itself, "it did not end by itself");
        assert_eq!(record.kills_alive + record.kills_dead, 0, "adopted after it was killed");
        assert!(!std::mem::replace(&mut record.left.adopts, true), "adopted twice");
    }

    pub fn asks_leftovers(
        &mut self,
        core: &Supervisor,
        now: Moment,
        process: Process,
        bodies: &BTreeMap<Process, Body>,
    ) {
        let id = process.instance;
        assert!(bodies[&process].adopted, "nothing of {process:?} was adopted");
        if !self.takes_leave_alone(id) {
            assert!(
                self.stopping_since.is_some(),
                "what {process:?} left behind is asked, and nobody wants that"
            );
            let daemon = self.spec(id).policy == Policy::Daemon;
            assert!(!daemon, "what a daemon left behind is asked at the end of the run");
            self.dependants_are_gone(core, now, id);
        }
        let grace = self.spec(id).grace;
        let left = &mut self.record(process).left;
        assert!(left.adopts && !left.killed, "asked after it was killed");
        assert_eq!(left.asked_at.replace((now, grace)), None, "what {process:?} left behind is asked twice");
    }

    pub fn kills_leftovers(&mut self, now: Moment, process: Process, bodies: &BTreeMap<Process, Body>) {
        let id = process.instance;
        assert!(bodies[&process].adopted, "nothing of {process:?} was adopted");
        let daemon = self.spec(id).policy == Policy::Daemon;
        let at_once =
            self.killing_since.is_some() || self.is_overdue(now) || (daemon && self.stopping_since.is_some());
        let left = &mut self.record(process).left;
        let graced = left.asked_at.is_some_and(|(asked, grace)| now >= asked + grace);
        assert!(
            left.adopts && (graced || at_once),
            "what {process:?} left behind is killed within its grace"
        );
        assert!(!std::mem::replace(&mut left.killed, true), "what {process:?} left behind is killed twice");
    }

    /// Whether what an instance left behind may be asked to stop for what concerns it alone: never for its restart.
    fn takes_leave_alone(&self, id: InstanceId) -> bool {
        let stops = match &self.asked {
            Some(Request::Stop(Target::Worker(worker))) => *worker == id.worker,
            Some(Request::Stop(Target::Instance(instance))) => *instance == id,
            _ => false,
        };
        // It may be back by the same event, as the one more of a rolling restart.
        let scaled = self.scaled.iter().any(|(worker, count)| *worker == id.worker && id.index >= *count);
        // Or it was scaled away, and is back by now as one that nobody has started.
        let is_out = |now: &Instance| now.why == "scaled away" || now.why == "not started";
        let goes = scaled || self.seen.get(&id).is_none_or(is_out);
        stops || goes || self.down.contains(&id) || self.removed.contains(&id.worker)
    }

    /// Who was stopped leaves nobody who stays.
    pub fn look_at_leftovers(&self, instance: &Instance) {
        let left = instance.left_behind;
        let is_stopped = instance.phase == Phase::Stopped && instance.why != "not started";
        if left.count > 0 && self.is_open && self.stopping_since.is_none() && is_stopped {
            assert!(left.leaving, "it was stopped, and what it left behind stays: {instance:?}");
        }
        let asked = matches!(&self.asked, Some(Request::Stop(target)) if self.targets(*target).contains(&instance.id));
        if asked && self.was_open {
            assert!(
                left.count == 0 || left.leaving,
                "told to stop, and what it left behind stays: {instance:?}"
            );
        }
        let living = self.processes.range(
            Process { instance: instance.id, launch: supervision::Launch(0) }..=Process {
                instance: instance.id,
                launch: supervision::Launch(u64::MAX),
            },
        );
        let leaving = living.filter(|(_, record)| record.left.is_leaving() && !record.left.gone).count() > 0;
        assert!(left.leaving || !leaving, "what it left behind is to go, and nobody is told: {instance:?}");
    }

    /// Whether it is known that something of a worker lives on that is not of its instances any more.
    pub fn leaves_others(&self, worker: WorkerId, seen: &BTreeMap<InstanceId, Instance>) -> bool {
        self.processes.iter().any(|(process, record)| {
            process.instance.worker == worker
                && record.left.adopts
                && !record.left.gone
                && !seen.contains_key(&process.instance)
        })
    }
}
