//! What follows when an instance is gone: its restart policy, and the strategy of its family.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::groups::{FIRST, ROOT, Restarted, Standpoint};
use crate::instance::{Fate, Kind, Reached, State};
use crate::restart::{chance, rest};
use crate::stopping::{Plan, Run};
use crate::words::{Blame, Cause};
use crate::{Action, Ending, GroupId, InstanceId, Intensity, Remark, Restart, Strategy, Supervisor};

/// A restart of the family, or of a group, under way: those concerned go down level by level; when all are gone and
/// those to blame have rested, all that were not ended for good or stopped by request come up again together.
///
/// An instance takes part in one of them at most: one that begins further up the tree takes in those below it.
#[derive(Debug)]
pub(crate) struct Regroup {
    /// The first that is concerned; so is all that stands behind it.
    from: Standpoint,
    /// Who is to blame.
    culprit: InstanceId,
    pub(crate) plan: Plan,
    resting: BTreeSet<InstanceId>,
    held: BTreeSet<InstanceId>,
}

impl Regroup {
    /// Keeps count of an instance that was one kind of thing and is now another.
    pub(crate) fn moved(&mut self, id: InstanceId, old: Kind, new: Kind) {
        match old {
            Kind::Up => self.plan.remove(id),
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
        if self.crew(id.worker).removed {
            return self.vanish(id);
        }
        match fate {
            Fate::Policy(cause) | Fate::PolicyOrStopped(cause) if self.is_on_trial(id) => {
                self.fail_trial(id, &Blame::Cause(cause));
            }
            Fate::Policy(_) | Fate::PolicyOrStopped(_) if self.goes_with_its_roll(id) => self.vanish(id),
            // It was to be asked for what has changed, and ended before its turn.
            Fate::Policy(_) if self.changing.awaits(id) => self.start_anew(id),
            Fate::Policy(cause) => self.judge(id, cause, None),
            Fate::PolicyOrStopped(cause) => self.judge(id, cause, Some(Blame::Requested)),
            Fate::Stays(blame) => self.stay_down(id, blame),
            Fate::Rejoins(culprit) if self.regroup_of(id).is_some() => self.hold(id, culprit),
            // What it took part in is no more.
            Fate::Rejoins(_) => self.begin(id),
            Fate::Starts | Fate::Changes => self.start_anew(id),
            Fate::Vanishes => self.vanish(id),
        }
    }

    /// Lets the restart policy decide; where it would start the instance again, it stays `stopped` instead, if given.
    fn judge(&mut self, id: InstanceId, cause: Cause, stopped: Option<Blame>) {
        let spec = &self.crew(id.worker).spec;
        let succeeded = match cause {
            Cause::Ended { remark: Some(Remark::LeftBehind(_)), .. } => false,
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
            (false, _) if succeeded => self.succeed(id, cause),
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

    /// Ends an instance well, for good.
    fn succeed(&mut self, id: InstanceId, cause: Cause) {
        self.end_if_essential(id, &Blame::Cause(cause.clone()), self.member(id).last);
        self.change(id, |member| member.state = State::Done(cause));
    }

    /// Starts `id` again, and with it whom the strategies say; unless that was done too often of late.
    fn restart(&mut self, id: InstanceId, cause: Cause) {
        if let Some(culprit) = self.regroup_of(id) {
            // It comes up again with the others anyway.
            return self.hold(id, culprit);
        }
        let (now, ending) = (self.now, self.ending_of(id, &cause));
        let Claim { node, gave_up } = match self.who_restarts(id) {
            Ok(claim) => claim,
            Err(allowed) => {
                let blame = Blame::FamilySpent(Box::new((allowed, cause)));
                self.doom(Blame::Lost(Arc::new((id, blame.clone()))));
                return self.fail(id, blame, ending);
            }
        };
        let allowed = self.crew(id.worker).spec.intensity;
        let anew = gave_up.last().copied();
        let mut room = false;
        self.change(id, |member| {
            // With its group it begins a new record.
            room = if anew.is_some() { allowed.restarts > 0 } else { member.window.has_room(now, allowed) };
            if room && anew.is_none() {
                member.window.spend(now);
            }
        });
        if !room {
            let blame = Blame::Spent(Box::new((allowed, cause)));
            if !self.run_is_over(id, &blame, false) {
                self.fail(id, blame, ending);
            }
            return;
        }
        let restarted = if anew.is_some() { Restarted::Group } else { Restarted::Instance };
        self.groups.spend(node, restarted, now);
        let blame = match anew {
            None => Blame::Cause(cause),
            Some((group, allowed)) => {
                self.give_up(&gave_up, group, id);
                Blame::GroupSpent(Box::new((Arc::clone(&self.groups.node(group).name), allowed, cause)))
            }
        };
        let strategy = self.groups.node(node).strategy;
        match (strategy, anew) {
            (Strategy::OneForOne, None) => {}
            (Strategy::OneForOne, Some((group, _))) => self.gather(group, FIRST, id),
            (Strategy::OneForAll, _) => self.gather(node, FIRST, id),
            (Strategy::RestForOne, _) => {
                let from = self.groups.standpoint_in(node, id).unwrap_or(FIRST);
                self.gather(node, from, id);
            }
        }
        self.rest(id, blame);
    }

    /// The nearest node above `id` that may spend a restart, and the groups below it that may not.
    ///
    /// # Errors
    /// Not even the family may: what it was allowed.
    fn who_restarts(&mut self, id: InstanceId) -> Result<Claim, Intensity> {
        let (mut node, mut gave_up) = (self.groups.owner(id.worker), Vec::new());
        loop {
            let restarted = if gave_up.is_empty() { Restarted::Instance } else { Restarted::Group };
            match (self.groups.has_room(node, restarted, self.now), self.groups.parent(node)) {
                (Ok(()), _) => return Ok(Claim { node, gave_up }),
                (Err(allowed), None) => return Err(allowed),
                (Err(allowed), Some(parent)) => {
                    gave_up.push((node, allowed));
                    node = parent;
                }
            }
        }
    }

    /// Tells that these groups gave up, and lets all of the outermost begin a new record.
    fn give_up(&mut self, gave_up: &[(usize, Intensity)], outermost: usize, culprit: InstanceId) {
        for (group, _) in gave_up {
            debug_assert_ne!(*group, ROOT, "the family does not give up to anybody");
            self.outbox.told.push(Action::GaveUp(GroupId(*group as u32 - 1), culprit));
        }
        self.groups.forgive(outermost);
        for id in self.concerned(outermost, FIRST) {
            self.change(id, |member| member.window.clear());
        }
    }

    fn rest(&mut self, id: InstanceId, blame: Blame) {
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
        self.change(id, |member| member.state = State::Resting { until, blame });
    }

    /// The node whose restart under way `id` takes part in, if it does in one.
    pub(crate) fn regrouping_of(&self, id: InstanceId) -> Option<usize> {
        if self.groups.regrouping.is_empty() {
            return None;
        }
        let concerns = |(node, standpoint): &(usize, Standpoint)| {
            self.groups.node(*node).regroup.as_ref().is_some_and(|regroup| *standpoint >= regroup.from)
        };
        self.groups.above(id).find(concerns).map(|(node, _)| node)
    }

    /// Who is to blame for the restart that `id` takes part in, if there is one under way.
    pub(crate) fn regroup_of(&self, id: InstanceId) -> Option<InstanceId> {
        let node = self.regrouping_of(id)?;
        self.groups.node(node).regroup.as_ref().map(|regroup| regroup.culprit)
    }

    /// Keeps an instance that is gone until its family comes up again.
    fn hold(&mut self, id: InstanceId, culprit: InstanceId) {
        self.change(id, |member| {
            member.reached = Reached::Nothing;
            member.state = State::Held(culprit);
        });
    }

    /// The instances of `node` that stand at `from` in it or behind.
    fn concerned(&self, node: usize, from: Standpoint) -> Vec<InstanceId> {
        let mut all = self.all_present();
        all.retain(|&id| self.groups.standpoint_in(node, id).is_some_and(|standpoint| standpoint >= from));
        all
    }

    /// Begins to take down all of `node` from `from` on for the sake of `culprit`, or widens what is under way.
    fn gather(&mut self, node: usize, from: Standpoint, culprit: InstanceId) {
        let mut members = self.concerned(node, from);
        members.retain(|&id| id != culprit && self.regroup_of(id).is_none());
        let mut plan = Plan::of(self, &members);
        let (mut resting, mut held) = (BTreeSet::new(), BTreeSet::new());
        for inner in self.groups.within(node, from).into_iter().chain([node]) {
            if let Some(under_way) = self.groups.node_mut(inner).regroup.take() {
                self.groups.regrouping.remove(&inner);
                plan.absorb(under_way.plan);
                resting.extend(under_way.resting);
                held.extend(under_way.held);
            }
        }
        self.groups.node_mut(node).regroup = Some(Regroup { from, culprit, plan, resting, held });
        self.groups.regrouping.insert(node);
        for id in members {
            if self.member(id).state == State::Waiting {
                self.hold(id, culprit);
            }
        }
    }

    /// Asks one that takes part in a restart of its family to stop for it.
    fn ask_to_rejoin(&mut self, id: InstanceId) {
        if let Some(culprit) = self.regroup_of(id) {
            self.ask(id, Fate::Rejoins(culprit));
        }
    }

    /// Takes the next level of each restart under way down; says whether there was one.
    pub(crate) fn take_down(&mut self) -> bool {
        let mut any = false;
        for node in self.groups.regrouping.clone() {
            let turn =
                self.groups.node_mut(node).regroup.as_mut().and_then(|regroup| regroup.plan.next_turn());
            any |= turn.is_some();
            for id in turn.into_iter().flatten() {
                self.ask_to_rejoin(id);
            }
        }
        any
    }

    /// Brings those up again who are all gone and have rested; says whether there were any.
    pub(crate) fn reassemble(&mut self) -> bool {
        let complete = |regroup: &mut Regroup| regroup.plan.is_empty() && regroup.resting.is_empty();
        let mut any = false;
        for node in self.groups.regrouping.clone() {
            if let Some(regroup) = self.groups.node_mut(node).regroup.take_if(complete) {
                any = true;
                self.groups.regrouping.remove(&node);
                self.disband(regroup);
            }
        }
        any
    }

    fn disband(&mut self, regroup: Regroup) {
        for id in regroup.held {
            self.begin(id);
        }
    }

    /// Who depends on whom has changed: plans what is under way anew.
    pub(crate) fn replan(&mut self) {
        for node in self.groups.regrouping.clone() {
            let left = self.groups.node(node).regroup.as_ref().map(|regroup| regroup.plan.left());
            let plan = Plan::of(self, &left.unwrap_or_default());
            if let Some(regroup) = &mut self.groups.node_mut(node).regroup {
                regroup.plan = plan;
            }
        }
    }

    /// Ends every restart under way as if it had come to its end; who is still to go rejoins nobody.
    pub(crate) fn disband_all(&mut self) {
        for node in std::mem::take(&mut self.groups.regrouping) {
            if let Some(regroup) = self.groups.node_mut(node).regroup.take() {
                self.disband(regroup);
            }
        }
    }

    /// Forgets every restart under way.
    pub(crate) fn forget_regrouping(&mut self) {
        for node in std::mem::take(&mut self.groups.regrouping) {
            self.groups.node_mut(node).regroup = None;
        }
    }
}

/// Who spends a restart.
struct Claim {
    node: usize,
    /// The groups below that had nothing left, the innermost first, and what they were allowed.
    gave_up: Vec<(usize, Intensity)>,
}
