//! What launches left behind that lives on (`leftover: adopt`): counted by launch, taken leave of with its worker.
//!
//! ```text
//!   a launch ends by itself ─► Adopting ─ adopted ─► Lives ─ its instance is stopped, or goes; or ─► Asked ─ grace over ─► Killed
//!   a former run left it ────────────────────────────┘        the turn of its level comes             │                     │
//!                                                             in the stop of the run                  └──── none left ──────┴─► (nothing)
//! ```
//!
//! A restart of its worker, for whatever reason, touches none of it. Who was asked, or is to be, is gone before the instance is
//! launched again. At the end of the run it has its turn when its worker has, and a level is gone only when it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::instance::{Fate, State, Step};
use crate::stopping::Run;
use crate::{Action, InstanceId, Launch, Moment, Policy, Process, Supervisor};

/// All that was left behind and lives on.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    by_launch: BTreeMap<Process, Left>,
    deadlines: BTreeSet<(Moment, Process)>,
}

/// What one launch left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// How many processes, as was last told.
    count: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Lives,
    Asked { kill_at: Moment },
    Killed,
}

/// What lives on of what an instance left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// How many processes; 0: none.
    pub count: u32,
    /// Whether some of them were asked to stop, or killed.
    pub leaving: bool,
}

impl LeftBehind {
    /// These words, with what is to be said of it behind them.
    pub(crate) fn added_to(self, why: String) -> String {
        let (joint, words) = match (self.count, self.leaving) {
            (0, _) => return why,
            (_, true) => ("; ", "what it left behind is being stopped".to_owned()),
            (1, false) => (", and ", "a process that it left behind lives on".to_owned()),
            (count, false) => (", and ", format!("{count} processes that it left behind live on")),
        };
        if why.is_empty() { words } else { format!("{why}{joint}{words}") }
    }
}

impl Leftovers {
    fn of(&self, instance: InstanceId) -> impl Iterator<Item = (&Process, &Left)> {
        let launch = |launch| Process { instance, launch: Launch(launch) };
        self.by_launch.range(launch(0)..=launch(u64::MAX))
    }

    fn set(&mut self, process: Process, left: Option<Left>) {
        let deadline = |left: Option<Left>| match left.map(|left| left.stage) {
            Some(Stage::Asked { kill_at }) => Some((kill_at, process)),
            _ => None,
        };
        let old = match left {
            Some(left) => self.by_launch.insert(process, left),
            None => self.by_launch.remove(&process),
        };
        deadline(old).map(|at| self.deadlines.remove(&at));
        deadline(left).map(|at| self.deadlines.insert(at));
    }

    /// When what was asked first is killed.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// The instances of which something was left behind that lives on.
    pub(crate) fn instances(&self) -> BTreeSet<InstanceId> {
        self.by_launch.keys().map(|process| process.instance).collect()
    }

    /// Whether there is any of a worker.
    pub(crate) fn has_any_of(&self, worker: crate::WorkerId) -> bool {
        let first = |worker| Process { instance: InstanceId { worker, index: 0 }, launch: Launch(0) };
        let mut from = self.by_launch.range(first(worker)..);
        from.next().is_some_and(|(process, _)| process.instance.worker == worker)
    }
}

impl Supervisor {
    /// What lives on of what an instance left behind: also of one that was scaled away since.
    pub fn left_behind(&self, id: InstanceId) -> LeftBehind {
        let mut all = LeftBehind::default();
        for (_, left) in self.leftovers.of(id) {
            all.count = all.count.saturating_add(left.count);
            all.leaving |= left.stage != Stage::Lives;
        }
        all
    }

    /// Whether it is known that something lives on that this launch left behind.
    pub fn has_left(&self, process: Process) -> bool {
        self.leftovers.by_launch.contains_key(&process)
    }

    pub(crate) fn adopted(&mut self, process: Process, count: u32) {
        let id = process.instance;
        if let Some(&left) = self.leftovers.by_launch.get(&process) {
            // Late news may tell of more than there are by now.
            return match count.min(left.count) {
                0 => self.none_is_left(process),
                count => self.note_left(process, Some(Left { count, ..left })),
            };
        }
        let Some(State::Leaving { step: Step::Adopting, fate }) = self.present(process) else {
            return self.left_by_a_former_run(process, count);
        };
        let is_to_go = matches!(fate, Fate::PolicyOrStopped(_) | Fate::Stays(_) | Fate::Vanishes)
            || self.crew(id.worker).removed;
        if count > 0 {
            self.note_left(process, Some(Left { count, stage: Stage::Lives }));
            match &self.run {
                Run::Stopping { limit, .. } if limit.is_over() => self.kill_leftovers(id),
                Run::Stopping { plan, .. } if plan.has_turned_to(id) => self.part_with_leftovers(id),
                // The stop of the run made it stay down: what it left has its turn with its level.
                Run::Stopping { .. } => {}
                _ if is_to_go => self.end_leftovers(id),
                _ => {}
            }
        }
        self.step(id, Step::Reclaiming);
        self.order(Action::Reclaim(process));
    }

    /// Before the run begins: the next launch of its instance is numbered behind it.
    fn left_by_a_former_run(&mut self, process: Process, count: u32) {
        let id = process.instance;
        let Some(member) = self.known(id) else { return };
        let is_next = member.state == State::Idle && member.launch < process.launch.0;
        if !matches!(self.run, Run::Ahead) || count == 0 || !is_next {
            return;
        }
        self.change(id, |member| member.launch = process.launch.0);
        self.note_left(process, Some(Left { count, stage: Stage::Lives }));
    }

    fn note_left(&mut self, process: Process, left: Option<Left>) {
        self.leftovers.set(process, left);
        self.outbox.touched.push(process.instance);
    }

    fn none_is_left(&mut self, process: Process) {
        let id = process.instance;
        self.note_left(process, None);
        if self.leftovers.of(id).next().is_none() {
            if !self.member(id).state.is_up()
                && let Run::Stopping { plan, .. } = &mut self.run
            {
                plan.remove(id);
            }
            // Its worker may be waiting to be gone.
            if self.crew(id.worker).removed {
                self.outbox.turned.insert(id.worker);
            }
        }
        if self.member(id).state == State::Waiting {
            self.waits.candidates.insert(id);
        }
    }

    /// Asks what an instance left behind to stop, if it was not asked before.
    pub(crate) fn end_leftovers(&mut self, id: InstanceId) {
        let lives = self.leftovers.of(id).filter(|(_, left)| left.stage == Stage::Lives);
        let lives: Vec<(Process, Left)> = lives.map(|(process, left)| (*process, *left)).collect();
        let kill_at = self.now + self.crew(id.worker).spec.grace;
        for (process, left) in lives {
            self.note_left(process, Some(Left { stage: Stage::Asked { kill_at }, ..left }));
            self.order(Action::AskLeftovers(process));
        }
    }

    /// Kills what an instance left behind, if it was not killed before.
    pub(crate) fn kill_leftovers(&mut self, id: InstanceId) {
        let lives = self.leftovers.of(id).filter(|(_, left)| left.stage != Stage::Killed);
        let lives: Vec<(Process, Left)> = lives.map(|(process, left)| (*process, *left)).collect();
        for (process, left) in lives {
            self.note_left(process, Some(Left { stage: Stage::Killed, ..left }));
            self.order(Action::KillLeftovers(process));
        }
    }

    /// At the end of the run: what becomes of it says the policy of its worker.
    pub(crate) fn part_with_leftovers(&mut self, id: InstanceId) {
        match self.crew(id.worker).spec.policy {
            Policy::Daemon => self.kill_leftovers(id),
            Policy::Wait | Policy::Terminate => self.end_leftovers(id),
        }
    }

    /// Kills what has had its grace.
    pub(crate) fn meet_deadlines_of_leftovers(&mut self) {
        while let Some(&(at, process)) = self.leftovers.deadlines.first()
            && at <= self.now
            && let Some(&left) = self.leftovers.by_launch.get(&process)
        {
            self.note_left(process, Some(Left { stage: Stage::Killed, ..left }));
            self.order(Action::KillLeftovers(process));
        }
    }

    /// Whether something that an instance left behind is on its way out, and must be gone before its next launch.
    pub(crate) fn waits_for_leftovers(&self, id: InstanceId) -> bool {
        !self.leftovers.by_launch.is_empty() && self.left_behind(id).leaving
    }

    /// Whether anything lives on that an instance left behind.
    pub(crate) fn has_leftovers(&self, id: InstanceId) -> bool {
        self.leftovers.of(id).next().is_some()
    }
}
