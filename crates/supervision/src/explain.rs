//! Why an instance stands where it stands, beyond one sentence: what is running out for it, how many restarts it has
//! left, and the chain of those it waits for down to the one to blame.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::instance::State;
use crate::waiting::Prospect;
use crate::words::Blame;
use crate::{InstanceId, Intensity, Milestone, Moment, Phase, Supervisor, WorkerId};

/// What is known beyond [`crate::Instance`].
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What is running out, and how much is left of it.
    pub running_out: Option<(RunningOut, Duration)>,
    /// How many restarts it has spent of late, and may spend.
    pub spent: u32,
    /// Its intensity.
    pub allowed: Intensity,
    /// When the oldest restart is forgotten; `None`: none is remembered.
    pub forgotten_in: Option<Duration>,
    /// Whom it waits for, whom that one waits for, and so on; or who failed, or is to blame for its restart. The last is
    /// the root of it.
    pub chain: Vec<InstanceId>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningOut {
    /// It must be ready.
    Ready,
    /// It is killed.
    Grace,
    /// It is launched again.
    Rest,
}

impl Supervisor {
    /// Why an instance stands where it stands, as of `now`. `None`: there is none of this id, or it was scaled away.
    pub fn explain(&self, id: InstanceId, now: Moment) -> Option<Explanation> {
        let member = self.known(id)?;
        // A probe that is due, or a sign of life that is awaited, comes and goes: nothing runs out for good there.
        let running_out = match member.state {
            State::Resting { until, .. } | State::Delayed { until, .. } => Some((RunningOut::Rest, until)),
            State::Starting { ready_by, .. } => Some((RunningOut::Ready, ready_by)),
            State::Leaving { .. } => member.state.deadline().map(|at| (RunningOut::Grace, at)),
            _ => None,
        };
        let allowed = self.crew(id.worker).spec.intensity;
        let (spent, forgotten_in) = member.window.spent(now, allowed);
        Some(Explanation {
            running_out: running_out.map(|(what, at)| (what, at.since(now))),
            spent,
            allowed,
            forgotten_in,
            chain: self.chain(id),
        })
    }

    /// From `id` down to the root, itself left out. Everybody is named once, so that not even a circle is endless.
    fn chain(&self, id: InstanceId) -> Vec<InstanceId> {
        let mut chain = Vec::new();
        let mut named = BTreeSet::from([id]);
        let mut last = id;
        while let Some(next) = self.holds_up(last) {
            if !named.insert(next) {
                break;
            }
            chain.push(next);
            last = next;
        }
        chain
    }

    /// Who keeps `id` from running.
    fn holds_up(&self, id: InstanceId) -> Option<InstanceId> {
        match &self.known(id)?.state {
            State::Waiting => match self.prospect(id) {
                Prospect::Open(after) => self.first_short_of(after.worker, after.milestone),
                Prospect::AfterChange(worker) => self.first_short_of(worker, Milestone::Ended),
                Prospect::Launch | Prospect::AfterLeftovers | Prospect::Never(_) => None,
            },
            State::Held(culprit) => Some(*culprit),
            State::Failed { blame: Blame::Lost(first), .. } => Some(first.0),
            State::Failed { blame: Blame::NeverReady(first), .. } => Some(*first),
            _ => None,
        }
    }

    /// The first instance of a worker that has not reached what is waited for.
    fn first_short_of(&self, worker: WorkerId, milestone: Milestone) -> Option<InstanceId> {
        let count = self.crews.get(worker.0 as usize)?.members.len() as u32;
        let all = (0..count).map(|index| InstanceId { worker, index });
        let mut present = all.filter(|id| self.known(*id).is_some());
        present.find(|id| match (milestone, self.member(*id).state.phase()) {
            (Milestone::Started, phase) => !matches!(phase, Phase::Starting | Phase::Running | Phase::Done),
            (Milestone::Ready, phase) => !matches!(phase, Phase::Running | Phase::Done),
            (Milestone::Succeeded, phase) => phase != Phase::Done,
            (Milestone::Ended, phase) => !matches!(phase, Phase::Done | Phase::Failed),
        })
    }
}
