//! What follows when an instance is gone: its restart policy, and the strategy of its family.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::instance::{Fate, Kind, Reached, State};
use crate::restart::{chance, rest};
use crate::stopping::{Plan, Run};
use crate::words::{Blame, Cause};
use crate::{Ending, InstanceId, Restart, Strategy, Supervisor, WorkerId};

/// A restart of the family under way: those of `scope` go down level by level; when all are gone and those to blame
/// have rested, all that were not ended for good or stopped by request come up again together.
#[derive(Debug)]
pub(crate) struct Regroup {
    /// The first instance that is concerned; so are all after it in the order of the file.
    scope: InstanceId,
    /// Who is to blame.
    culprit: InstanceId,
    pub(crate) plan: Plan,
    resting: BTreeSet<InstanceId>,
    held: BTreeSet<InstanceId>,
}

impl Regroup {
    /// Keeps count of an instance that was one kind of thing and is now another.
    pub(crate) fn moved(&mut self, id: InstanceId, level: u32, old: Kind, new: Kind) {
        match old {
            Kind::Up => self.plan.remove(level, id),
            Kind::Resting => drop(self.resting.remove(&id)),
            Kind::Held => drop(self.held.remove(&id)),
            Kind::Waiting | Kind::Down => {}
        }
        match new {
            Kind::Resting => drop(self.resting.insert(id)),
            Kind::Held => drop(self.held.insert(id)),
            Kind::Up | Kind::Waiting | Kind::Down => {}
        }
    }
}

impl Supervisor {
    /// Nothing of `id` is left, and what it held was given back: its fate comes about.
    pub(crate) fn gone(&mut self, id: InstanceId, fate: Fate) {
        match fate {
            Fate::Policy(cause) => self.judge(id, cause, None),
            Fate::PolicyOrStopped(cause) => self.judge(id, cause, Some(Blame::Requested)),
            Fate::Stays(blame) => self.stay_down(id, blame),
            Fate::Rejoins(culprit) => self.hold(id, culprit),
            Fate::Starts => self.start_anew(id),
            Fate::Vanishes => self.vanish(id),
        }
    }

    /// Lets the restart policy decide; where it would start the instance again, it stays `stopped` instead, if given.
    fn judge(&mut self, id: InstanceId, cause: Cause, stopped: Option<Blame>) {
        let spec = &self.crew(id.worker).spec;
        let succeeded = match cause {
            Cause::Ended { ending: Ending::Code(code), .. } => spec.success_codes.contains(&code),
            _ => false,
        };
        let again = match spec.restart {
            Restart::Never => false,
            Restart::OnFailure => !succeeded,
            Restart::Always => true,
        };
        let scheduled = spec.schedule.is_some();
        let stopped = match &self.run {
            Run::Stopping { blame, .. } => Some(blame.clone()),
            _ => stopped,
        };
        match (again, stopped) {
            (_, Some(blame)) if again || scheduled => self.stay_down(id, blame),
            (true, _) => self.restart(id, cause),
            (false, _) if self.run_is_over(id, &Blame::Cause(cause.clone()), succeeded) => {}
            (false, _) if succeeded => self.change(id, |member| member.state = State::Done(cause)),
            (false, _) => {
                let ending = self.ending_of(id, &cause);
                self.fail(id, Blame::Cause(cause), ending);
            }
        }
    }

    fn ending_of(&self, id: InstanceId, cause: &Cause) -> Option<Ending> {
        match cause {
            Cause::Ended { ending, .. } => Some(*ending),
            Cause::Departing
            | Cause::NotReady(..)
            | Cause::NeverReady(_)
            | Cause::Silent(_)
            | Cause::Ailing
            | Cause::Unhealthy(..) => self.member(id).last,
            Cause::NotExecuted(_) => None,
        }
    }

    /// Starts `id` again, and with it whom the strategy says; unless that was done too often of late.
    fn restart(&mut self, id: InstanceId, cause: Cause) {
        if let Some(culprit) = self.regroup_of(id) {
            // It comes up again with the others anyway.
            return self.hold(id, culprit);
        }
        let (now, ending) = (self.now, self.ending_of(id, &cause));
        if let Some(allowed) = self.allowed
            && !self.window.has_room(now, allowed)
        {
            let blame = Blame::FamilySpent(allowed, cause);
            self.doom(Blame::Lost(Arc::new((id, blame.clone()))));
            return self.fail(id, blame, ending);
        }
        let allowed = self.crew(id.worker).spec.intensity;
        let mut room = false;
        self.change(id, |member| {
            room = member.window.has_room(now, allowed);
            if room {
                member.window.spend(now);
            }
        });
        if !room {
            let blame = Blame::Spent(allowed, cause);
            if !self.run_is_over(id, &blame, false) {
                self.fail(id, blame, ending);
            }
            return;
        }
        if self.allowed.is_some() {
            self.window.spend(now);
        }
        match self.strategy {
            Strategy::OneForOne => {}
            Strategy::OneForAll => self.gather(InstanceId { worker: WorkerId(0), index: 0 }, id),
            Strategy::RestForOne => self.gather(id, id),
        }
        self.rest(id, cause);
    }

    fn rest(&mut self, id: InstanceId, cause: Cause) {
        let member = self.member(id);
        let chance = chance(self.seed, id, member.launch);
        let length = rest(&self.crew(id.worker).spec.backoff, member.rests, chance);
        let until = self.now + length;
        self.change(id, |member| member.rests = member.rests.saturating_add(1));
        if let Some(culprit) = self.regroup_of(id) {
            self.change(id, |member| member.reached = Reached::Nothing);
            if length.is_zero() {
                return self.hold(id, culprit);
            }
        } else if length.is_zero() {
            return self.begin(id);
        }
        self.change(id, |member| member.state = State::Resting { until, cause });
    }

    /// Who is to blame for the restart of the family that `id` takes part in, if there is one under way.
    pub(crate) fn regroup_of(&self, id: InstanceId) -> Option<InstanceId> {
        let regroup = self.regroup.as_ref()?;
        (id >= regroup.scope).then_some(regroup.culprit)
    }

    /// Keeps an instance that is gone until its family comes up again.
    fn hold(&mut self, id: InstanceId, culprit: InstanceId) {
        self.change(id, |member| {
            member.reached = Reached::Nothing;
            member.state = State::Held(culprit);
        });
    }

    /// Begins to take down all from `scope` on for the sake of `culprit`, or widens what is under way.
    fn gather(&mut self, scope: InstanceId, culprit: InstanceId) {
        let mut members = self.present_from(scope);
        members.retain(|&id| id != culprit && self.regroup_of(id).is_none());
        let mut plan = Plan::of(self, &members);
        let (mut resting, mut held) = (BTreeSet::new(), BTreeSet::new());
        if let Some(under_way) = self.regroup.take() {
            plan.absorb(under_way.plan);
            (resting, held) = (under_way.resting, under_way.held);
        }
        self.regroup = Some(Regroup { scope, culprit, plan, resting, held });
        for id in members {
            if self.member(id).state == State::Waiting {
                self.hold(id, culprit);
            }
        }
    }

    /// Asks one that takes part in a restart of the family to stop for it.
    pub(crate) fn ask_to_rejoin(&mut self, id: InstanceId) {
        if let Some(culprit) = self.regroup_of(id) {
            self.ask(id, Fate::Rejoins(culprit));
        }
    }

    /// Brings the family up again once all are gone and have rested; says whether it did.
    pub(crate) fn reassemble(&mut self) -> bool {
        let complete = |regroup: &mut Regroup| regroup.plan.is_empty() && regroup.resting.is_empty();
        let Some(regroup) = self.regroup.take_if(complete) else { return false };
        for id in regroup.held {
            self.begin(id);
        }
        true
    }
}
