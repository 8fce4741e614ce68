//! Waiting for what others reach. A milestone is a level, not an edge: it is met as long as it holds, open as long as
//! it can still come, and never to be met from the moment on when it cannot.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::instance::State;
use crate::order::Hope;
use crate::supervisor::{Crew, Supervisor};
use crate::words::Blame;
use crate::{After, InstanceId, Milestone, Restart, WorkerId};

/// Who must be looked at before the present event is settled.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Workers of which some milestone now stands otherwise.
    pub(crate) stirred: BTreeSet<WorkerId>,
    /// Instances that wait and may no longer have to, or no longer can.
    pub(crate) candidates: BTreeSet<InstanceId>,
    /// Instances all of whose milestones are met.
    ready: BTreeSet<InstanceId>,
}

/// How a milestone of a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Met,
    Open,
    Never,
}

/// What an instance that waits can look forward to.
pub(crate) enum Prospect {
    /// Its launch.
    Launch,
    /// The end of what runs by a former config.
    AfterChange(WorkerId),
    /// The end of what it left behind.
    AfterLeftovers,
    /// Something else first.
    Open(After),
    /// Nothing any more.
    Never(Blame),
}

impl Crew {
    /// How a milestone stands. A worker without instances has reached nothing; it may still be scaled up.
    pub(crate) fn standing(&self, milestone: Milestone) -> Standing {
        if self.removed {
            return Standing::Never;
        }
        let (tally, scheduled) = (self.tally, self.spec.schedule.is_some());
        let (met, never) = match milestone {
            Milestone::Started => (tally.executed, tally.failed_unexecuted > 0),
            Milestone::Ready => (tally.ready, tally.failed > 0 || tally.done_unready > 0),
            Milestone::Succeeded => {
                (tally.done, tally.failed > 0 || self.spec.restart == Restart::Always || scheduled)
            }
            Milestone::Ended => (tally.ended(), scheduled),
        };
        if never {
            Standing::Never
        } else if tally.present > 0 && met == tally.present {
            Standing::Met
        } else {
            Standing::Open
        }
    }

    /// How all milestones stand.
    pub(crate) fn standings(&self) -> [Standing; 4] {
        [Milestone::Started, Milestone::Ready, Milestone::Succeeded, Milestone::Ended]
            .map(|m| self.standing(m))
    }
}

impl Supervisor {
    /// What `id` can look forward to if it waits.
    pub(crate) fn prospect(&self, id: InstanceId) -> Prospect {
        let crew = self.crew(id.worker);
        match crew.place.hope {
            Hope::Open => {}
            Hope::Circle => return Prospect::Never(Blame::Circle),
            Hope::NoSuchWorker => return Prospect::Never(Blame::NoSuchWorker),
        }
        if let Some(worker) = self.changing.blocks(id.worker) {
            return Prospect::AfterChange(worker);
        }
        if self.waits_for_leftovers(id) {
            return Prospect::AfterLeftovers;
        }
        let mut open = None;
        for &after in &crew.spec.after {
            match self.crew(after.worker).standing(after.milestone) {
                Standing::Met => {}
                Standing::Open => open = open.or(Some(after)),
                Standing::Never => return Prospect::Never(self.who_is_to_blame(after)),
            }
        }
        open.map_or(Prospect::Launch, Prospect::Open)
    }

    /// Looks at everybody who waits for something that now stands otherwise, until nothing does.
    pub(crate) fn propagate(&mut self) {
        loop {
            while let Some(worker) = self.waits.stirred.pop_first() {
                self.waits.candidates.extend(&self.crews[worker.0 as usize].waiters);
            }
            let Some(id) = self.waits.candidates.pop_first() else { return };
            if self.member(id).state != State::Waiting {
                continue;
            }
            match self.prospect(id) {
                Prospect::Launch => {
                    self.waits.ready.insert(id);
                }
                Prospect::Open(_) | Prospect::AfterChange(_) | Prospect::AfterLeftovers => {
                    self.outbox.touched.push(id)
                }
                Prospect::Never(blame) if self.is_on_trial(id) => self.fail_trial(id, &blame),
                Prospect::Never(_) if self.goes_with_its_roll(id) => self.vanish(id),
                Prospect::Never(blame) => self.fail(id, blame, None),
            }
        }
    }

    /// Launches those that are still to be launched once everything is settled.
    pub(crate) fn launch_ready(&mut self) {
        for id in std::mem::take(&mut self.waits.ready) {
            if self.member(id).state != State::Waiting || !matches!(self.prospect(id), Prospect::Launch) {
                continue;
            }
            let delay = self.crew(id.worker).spec.start_delay;
            if delay.is_zero() || self.member(id).delay_over {
                self.launch(id);
            } else {
                let until = self.now + delay;
                self.change(id, |member| member.state = State::Delayed { until, by: delay });
            }
        }
    }

    /// From now on `id` is looked at when something changes that it waits for; and once in any case.
    pub(crate) fn await_all(&mut self, id: InstanceId) {
        for on in self.awaited(id) {
            self.crews[on].waiters.insert(id);
        }
        self.waits.candidates.insert(id);
    }

    pub(crate) fn await_no_more(&mut self, id: InstanceId) {
        for on in self.awaited(id) {
            self.crews[on].waiters.remove(&id);
        }
    }

    fn awaited(&self, id: InstanceId) -> Vec<usize> {
        let after = self.crew(id.worker).spec.after.iter();
        after.map(|after| after.worker.0 as usize).filter(|&on| on < self.crews.len()).collect()
    }

    /// Why a milestone can never come. In a chain of failures the first is named: the others are its work.
    fn who_is_to_blame(&self, after: After) -> Blame {
        if self.crew(after.worker).removed {
            return Blame::Removed(after.worker);
        }
        let members = || (0..).map(|index| InstanceId { worker: after.worker, index });
        let members = || members().zip(&self.crew(after.worker).members);
        let failed = members().find_map(|(id, member)| match &member.state {
            State::Failed { blame: Blame::Lost(first), .. } => Some(Arc::clone(first)),
            State::Failed { blame, .. } => Some(Arc::new((id, blame.clone()))),
            _ => None,
        });
        match failed {
            Some(first) => Blame::Lost(first),
            None if after.milestone == Milestone::Ready => members()
                .find(|(_, member)| member.stance().tally.done_unready > 0)
                .map_or(Blame::Nothing, |(id, _)| Blame::NeverReady(id)),
            None if self.crew(after.worker).spec.schedule.is_some() => Blame::Scheduled(after.worker),
            None => Blame::NeverEnds(after.worker),
        }
    }
}
