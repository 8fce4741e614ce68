//! Rolling restarts: a new launch of a worker is ready before an old one is asked to stop. The core takes the steps; here
//! is who asked for one, and what they are told when it is over.

use control::api::{ApiError, ErrorCode};
use supervision::{Event, MAX_INSTANCES, Phase, Request as Wish, WorkerId};

use crate::the_loop::Loop;
use crate::waiting::Until;

/// The rolling restarts that an answer waits for.
#[derive(Debug, Default)]
pub struct Rolls {
    /// Those that are not over.
    pub under_way: Vec<WorkerId>,
    /// Why some have ended early.
    pub failures: Vec<String>,
}

impl Loop {
    /// Asks for a rolling restart of a worker; says whether there is one. Nothing of it runs: then there is nothing to be
    /// kept up, and `false`.
    pub(crate) fn begin_rolling(&mut self, worker: WorkerId) -> Result<bool, ApiError> {
        let refused = |why: String| ApiError::new(ErrorCode::Refused, why);
        let name = self.roster.name(worker);
        if self.core.is_rolling(worker) {
            return Err(refused(format!("{name} is in the middle of a rolling restart")));
        }
        let runs = |id| matches!(self.core.standing(id), Some((Phase::Running, _)));
        let is_full = self.core.worker(worker).is_some_and(|now| now.instances >= MAX_INSTANCES);
        if is_full && self.instances_of_worker(worker).any(runs) {
            return Err(refused(format!("{name} has no room for one instance more")));
        }
        if !self.core.can_roll(worker) {
            return Ok(false);
        }
        self.rolled.remove(&worker);
        self.news_of(Event::Asked(Wish::Roll(worker)));
        Ok(true)
    }

    /// A rolling restart is over.
    pub(crate) fn rolled(&mut self, worker: WorkerId, outcome: Result<(), String>) {
        let name = self.roster.name(worker).to_owned();
        let failure = outcome.err().map(|why| {
            crate::talk::say(format_args!("{name}: the rolling restart has ended early: {why}"));
            format!("{name}: {why}")
        });
        for waiter in &mut self.waiters {
            if let Some(rolls) = waiter.until.rolls() {
                rolls.is_over(worker, failure.as_ref());
            }
        }
        self.rolled.insert(worker, failure);
        self.changed_now();
    }

    /// Notes which of those that were just asked for are over already.
    pub(crate) fn look_at_rolls(&self, rolls: &mut Rolls) {
        let over = rolls.under_way.iter().copied().filter(|worker| !self.core.is_rolling(*worker));
        for worker in over.collect::<Vec<_>>() {
            rolls.is_over(worker, self.rolled.get(&worker).and_then(Option::as_ref));
        }
    }
}

impl Rolls {
    fn is_over(&mut self, worker: WorkerId, failure: Option<&String>) {
        if let Some(place) = self.under_way.iter().position(|other| *other == worker) {
            self.under_way.remove(place);
            self.failures.extend(failure.cloned());
        }
    }
}

impl Until {
    /// The rolling restarts that it is about.
    pub(crate) fn rolls(&mut self) -> Option<&mut Rolls> {
        match self {
            Until::Rolled { rolls, .. } | Until::Applied { rolls, .. } => Some(rolls),
            _ => None,
        }
    }
}
