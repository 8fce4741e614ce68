//! Rolling restarts: a new launch of a worker is ready before an old one is asked to stop.
//!
//! ```text
//!   Surging ─ the one instance more is ready ─► Replacing 0 ─ ready ─► Replacing 1 … ─ ready ─► Shrinking ─ it is gone ─► over
//!      └──────── it fails ───────────────────────────┴── it fails ─────────────────────────────────┘
//! ```
//!
//! The worker has one instance more for a while, numbered as the next would be, so that never fewer are ready than usual.
//! When that one does not get ready, nothing old was touched; when a later one does not, those after it keep running.
//! What decides about launches does not know of this: it is asked to scale and to restart, one step after the other.

use std::collections::VecDeque;

use control::api::{ApiError, ErrorCode};
use supervision::{Event, InstanceId, Launch, MAX_INSTANCES, Phase, Request as Wish, Target, WorkerId};

use crate::the_loop::Loop;
use crate::waiting::Until;

/// The number of a rolling restart among those of the run.
pub type RollId = u64;

/// One worker's rolling restart.
#[derive(Debug)]
pub struct Rolling {
    id: RollId,
    worker: WorkerId,
    /// How many instances it has as a rule: the number of the one more.
    size: u32,
    /// The instances that are still to be replaced.
    left: VecDeque<u32>,
    step: Step,
    /// Why it has failed, once it has.
    failed: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The one more is to get ready.
    Surging,
    /// An instance is to get ready in another launch than this one.
    Replacing { index: u32, not: Option<Launch> },
    /// The one more is to go.
    Shrinking,
}

/// How an instance that is to get ready stands.
enum Progress {
    Ready,
    Wait,
    Failed(String),
}

impl Loop {
    /// Begins a rolling restart of a worker. Nothing of it runs: then there is nothing to be kept up, and `None`.
    pub(crate) fn begin_rolling(&mut self, worker: WorkerId) -> Result<Option<RollId>, ApiError> {
        let refused = |why: String| ApiError::new(ErrorCode::Refused, why);
        let name = self.roster.name(worker).to_owned();
        if self.rollings.iter().any(|rolling| rolling.worker == worker) {
            return Err(refused(format!("{name} is in the middle of a rolling restart")));
        }
        let ids: Vec<InstanceId> = self.instances_of_worker(worker).collect();
        let runs = |id: &InstanceId| matches!(self.core.standing(*id), Some((Phase::Running, _)));
        if !ids.iter().any(runs) {
            return Ok(None);
        }
        let size = u32::try_from(ids.len()).unwrap_or(MAX_INSTANCES);
        if size >= MAX_INSTANCES {
            return Err(refused(format!("{name} has no room for one instance more")));
        }
        let one_more = InstanceId { worker, index: size };
        if self.core.standing(one_more).is_some() {
            return Err(refused(format!("{name} was scaled down and is not down yet")));
        }
        self.rolls += 1;
        let left = ids.iter().map(|id| id.index).collect();
        let rolling = Rolling { id: self.rolls, worker, size, left, step: Step::Surging, failed: None };
        self.rollings.push(rolling);
        self.news_of(Event::Asked(Wish::Scale(worker, size + 1)));
        Ok(Some(self.rolls))
    }

    /// Takes every rolling restart as far as it can go now; says whether there is news for the core.
    pub(crate) fn roll(&mut self) -> bool {
        let mut any = false;
        for mut rolling in std::mem::take(&mut self.rollings) {
            match self.advance(&mut rolling) {
                Some(event) => {
                    any = true;
                    self.news_of(event);
                    self.rollings.push(rolling);
                }
                None if self.is_over(&rolling) => {
                    any = true;
                    self.tell_rolled(&rolling);
                }
                None => self.rollings.push(rolling),
            }
        }
        any
    }

    fn advance(&self, rolling: &mut Rolling) -> Option<Event> {
        let one_more = InstanceId { worker: rolling.worker, index: rolling.size };
        if matches!(rolling.step, Step::Shrinking) {
            return None;
        }
        let sized = self.core.worker(rolling.worker).map(|worker| worker.instances);
        if self.core.is_stopping() || sized != Some(rolling.size + 1) {
            // Somebody else decides now how many there are.
            rolling.failed = Some("it was stopped or scaled meanwhile".to_owned());
            rolling.step = Step::Shrinking;
            return None;
        }
        let progress = match rolling.step {
            Step::Surging => self.progress(one_more, None),
            Step::Replacing { index, not } => self.progress(InstanceId { index, ..one_more }, not),
            Step::Shrinking => Progress::Wait,
        };
        match progress {
            Progress::Wait => None,
            Progress::Failed(why) => {
                rolling.failed = Some(why);
                Some(shrink(rolling))
            }
            Progress::Ready => match rolling.left.pop_front() {
                None => Some(shrink(rolling)),
                Some(index) => {
                    let instance = InstanceId { index, ..one_more };
                    let not = self.core.standing(instance).and_then(|(_, launch)| launch);
                    rolling.step = Step::Replacing { index, not };
                    Some(Event::Asked(Wish::Restart(Target::Instance(instance))))
                }
            },
        }
    }

    fn progress(&self, id: InstanceId, not: Option<Launch>) -> Progress {
        let Some(now) = self.core.instance(id, self.clock.now()) else {
            return Progress::Failed("it was scaled away meanwhile".to_owned());
        };
        let show = format!("{}:{}", self.roster.name(id.worker), id.index);
        let replaced = not.is_none() || now.launch != not;
        let failed = || Progress::Failed(format!("{show} did not get ready: {}", now.why));
        match now.phase {
            Phase::Running if replaced => Progress::Ready,
            // Its first failure is enough: it is the new that is on trial.
            Phase::Backoff | Phase::Failed | Phase::Done if replaced => failed(),
            Phase::Stopped => failed(),
            // A launch that failed and is started again at once is as much a failure.
            _ if not.is_none() && now.restarts > 0 => failed(),
            _ => Progress::Wait,
        }
    }

    fn is_over(&self, rolling: &Rolling) -> bool {
        let one_more = InstanceId { worker: rolling.worker, index: rolling.size };
        let leaves = matches!(self.core.standing(one_more), Some((Phase::Stopping, _)));
        matches!(rolling.step, Step::Shrinking) && !leaves
    }

    fn tell_rolled(&mut self, rolling: &Rolling) {
        let name = self.roster.name(rolling.worker).to_owned();
        for waiter in &mut self.waiters {
            if let Until::Rolled { rolling: ids, failures, .. } = &mut waiter.until
                && let Some(place) = ids.iter().position(|id| *id == rolling.id)
            {
                ids.remove(place);
                failures.extend(rolling.failed.iter().map(|why| format!("{name}: {why}")));
            }
        }
        if let Some(why) = &rolling.failed {
            crate::talk::say(format_args!("{name}: the rolling restart has ended early: {why}"));
        }
        self.changed_now();
    }
}

fn shrink(rolling: &mut Rolling) -> Event {
    rolling.step = Step::Shrinking;
    Event::Asked(Wish::Scale(rolling.worker, rolling.size))
}
