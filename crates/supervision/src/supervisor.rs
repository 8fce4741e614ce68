//! The one who decides: holds all state, takes news, hands out orders.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::changing::Changing;
use crate::groups::Groups;
use crate::instance::{Kind, Member, State, Tally};
use crate::leftovers::Leftovers;
use crate::order::{Place, places};
use crate::rolling::Rolling;
use crate::specs::Specs;
use crate::stopping::Run;
use crate::waiting::Waits;
use crate::{
    Action, Conclusion, Ending, Event, Family, InstanceId, Launch, Moment, Policy, Process, Purpose, Worker,
    WorkerId,
};

/// More instances than this a worker cannot have; who asks for more gets so many.
pub const MAX_INSTANCES: u32 = 10_000;

/// Decides what happens to a [`Family`] of workers: events in, actions out.
///
/// [`handle`](Supervisor::handle) is the only way in. After each, [`poll_action`](Supervisor::poll_action) is to be
/// called until it says `None`, and every action carried out in that order; at
/// [`next_deadline`](Supervisor::next_deadline), [`Event::Tick`] is to be handed in if nothing else came before.
/// The same events at the same moments always give the same actions. News that cannot be true, or is no longer,
/// has no effect; nothing that is handed in makes it panic.
///
/// The cost of one event does not grow with the number of workers (but for a logarithm); only what concerns the whole
/// family by its nature does: its beginning, its stop, and its restart together.
///
/// # A short life
///
/// ```
/// use supervision::*;
///
/// let mut supervisor = Supervisor::new(Family::of(vec![Worker::named("reader")]));
/// let reader = InstanceId { worker: WorkerId(0), index: 0 };
/// let first = Process { instance: reader, launch: Launch(1) };
/// let second = Process { instance: reader, launch: Launch(2) };
/// let mut now = Moment::START;
/// let mut hear = |now, event| {
///     supervisor.handle(now, event);
///     let orders: Vec<Action> = std::iter::from_fn(|| supervisor.poll_action()).collect();
///     let told = |action: &Action| !matches!(action, Action::Changed(_));
///     (orders.into_iter().filter(told).collect::<Vec<_>>(), supervisor.next_deadline())
/// };
///
/// // It is launched with the run, and dies.
/// assert_eq!(hear(now, Event::Begin).0, [Action::Launch(first)]);
/// assert_eq!(hear(now, Event::Launched(first)).0, []);
/// assert_eq!(hear(now, Event::Ended(first, Ending::Code(1))).0, [Action::Kill(first)]);
///
/// // What it left behind is cleared, what it held is given back; only then it rests for its next launch.
/// assert_eq!(hear(now, Event::Emptied(first)).0, [Action::Reclaim(first)]);
/// let (orders, deadline) = hear(now, Event::Reclaimed(first));
/// assert_eq!(orders, []);
/// now = deadline.expect("it rests until then");
/// assert_eq!(hear(now, Event::Tick).0, [Action::Launch(second)]);
///
/// // This time its work gets done, and so does that of the run.
/// hear(now, Event::Launched(second));
/// hear(now, Event::Ended(second, Ending::Code(0)));
/// hear(now, Event::Emptied(second));
/// let (orders, _) = hear(now, Event::Reclaimed(second));
/// assert_eq!(orders, [Action::Retired(reader.worker), Action::Conclude(Conclusion::Succeeded)]);
/// ```
#[derive(Debug)]
pub struct Supervisor {
    /// Who belongs together, and what each group and the family have spent.
    pub(crate) groups: Groups,
    /// Whether more may be added when the work is done.
    lasts: bool,
    pub(crate) seed: u64,
    /// How long stopping the run may take.
    pub(crate) stop_within: Option<Duration>,
    pub(crate) crews: Vec<Crew>,
    /// What workers have in common.
    pub(crate) specs: Specs,
    pub(crate) names: BTreeMap<Arc<str>, WorkerId>,
    pub(crate) now: Moment,
    pub(crate) run: Run,
    /// What is to go for a change of the family that is under way.
    pub(crate) changing: Changing,
    /// The rolling restarts under way.
    pub(crate) rolling: BTreeMap<WorkerId, Rolling>,
    pub(crate) waits: Waits,
    /// What launches left behind that lives on.
    pub(crate) leftovers: Leftovers,
    deadlines: BTreeSet<(Moment, InstanceId)>,
    /// Those that have failed for good, the first first.
    failures: BTreeSet<(u64, InstanceId)>,
    /// How many instances have ever failed for good.
    pub(crate) failed_ever: u64,
    /// The essential instance that ended the run, and how it ended.
    pub(crate) essential: Option<(InstanceId, Option<Ending>)>,
    pub(crate) work: Work,
    pub(crate) outbox: Outbox,
}

/// A worker and its instances.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) name: Arc<str>,
    /// How many instances were last asked for.
    pub(crate) instances: u32,
    /// What is decided by: everything but its name and its number of instances, in which alone most workers differ.
    pub(crate) spec: Arc<Worker>,
    pub(crate) place: Place,
    /// By their numbers. Never shrinks: those scaled away keep their place, and the count of their launches.
    pub(crate) members: Vec<Member>,
    pub(crate) tally: Tally,
    /// The instances of others that now wait for this worker.
    pub(crate) waiters: BTreeSet<InstanceId>,
    /// Whether it was taken out of the family. What is left of it is on its way down.
    pub(crate) removed: bool,
    /// Whether somebody was told that it is gone.
    told_gone: bool,
    retired: bool,
}

/// What the run waits for: of the instances of `wait` workers, how many were ever started, and how many of them have
/// ended for good.
#[derive(Debug, Default)]
pub(crate) struct Work {
    begun: u64,
    ended: u64,
}

impl Work {
    /// Counts the part of a worker anew, whose policy has changed.
    pub(crate) fn reconsider(&mut self, tally: Tally, was_waited_for: bool, is_waited_for: bool) {
        if was_waited_for {
            self.begun -= u64::from(tally.begun);
            self.ended -= u64::from(tally.ended());
        }
        if is_waited_for {
            self.begun += u64::from(tally.begun);
            self.ended += u64::from(tally.ended());
        }
    }
}

/// What one event has brought about, until it is settled.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Whose face may have changed.
    pub(crate) touched: Vec<InstanceId>,
    /// Who may have retired, or may run again.
    pub(crate) turned: BTreeSet<WorkerId>,
    /// What people are told beside that.
    pub(crate) told: Vec<Action>,
    pub(crate) orders: Vec<Action>,
    /// Probes that are due, unless what else this event brings about makes them idle.
    pub(crate) probes: Vec<(Process, Purpose, Duration)>,
    actions: VecDeque<Action>,
}

/// More room than this is not kept for what one event brings about: few do more than this, and one that concerns the
/// whole family comes rarely.
const ROOM_KEPT: usize = 64;

impl Outbox {
    /// Lets go of the room that an event took which concerned many.
    fn keep_little(&mut self) {
        self.touched.shrink_to(ROOM_KEPT);
        self.told.shrink_to(ROOM_KEPT);
        self.orders.shrink_to(ROOM_KEPT);
        self.probes.shrink_to(ROOM_KEPT);
        self.actions.shrink_to(ROOM_KEPT);
    }
}

impl Crew {
    pub(crate) fn new(worker: Worker, place: Place, now: Moment, specs: &mut Specs) -> Crew {
        let instances = worker.instances.min(MAX_INSTANCES);
        let name = Arc::from(worker.name.as_str());
        let members: Vec<Member> = (0..instances).map(|_| Member::idle(now)).collect();
        let tally = Tally { present: instances, ..Default::default() };
        Crew {
            name,
            instances,
            spec: specs.of(worker),
            place,
            members,
            tally,
            waiters: BTreeSet::new(),
            removed: false,
            told_gone: false,
            retired: false,
        }
    }

    /// Belongs to the family, be it again.
    pub(crate) fn come_back(&mut self) {
        (self.removed, self.told_gone) = (false, false);
    }

    /// Whether it has retired, or may run again, and nobody was told. One that is scaled down to nothing stays what it
    /// was: it neither ended nor will it run.
    fn turns(&self) -> bool {
        self.tally.present > 0 && (self.tally.ended() == self.tally.present) != self.retired
    }
}

impl Supervisor {
    /// One that will lead this family. Nothing starts by itself before [`Event::Begin`].
    pub fn new(family: Family) -> Supervisor {
        let groups = Groups::of_family(&family);
        let places = places(family.workers.iter());
        let mut specs = Specs::default();
        // Not collected: that would keep the memory of the family, whose workers are several times larger.
        let mut crews = Vec::with_capacity(family.workers.len());
        for (worker, place) in family.workers.into_iter().zip(places) {
            crews.push(Crew::new(worker, place, Moment::START, &mut specs));
        }
        let names = crews.iter().map(|crew| Arc::clone(&crew.name)).zip((0..).map(WorkerId)).collect();
        Supervisor {
            groups,
            seed: family.seed,
            stop_within: family.stop_within,
            crews,
            specs,
            names,
            now: Moment::START,
            run: Run::Ahead,
            changing: Changing::default(),
            rolling: BTreeMap::new(),
            waits: Waits::default(),
            leftovers: Leftovers::default(),
            deadlines: BTreeSet::new(),
            failures: BTreeSet::new(),
            failed_ever: 0,
            lasts: family.lasts,
            essential: None,
            work: Work::default(),
            outbox: Outbox::default(),
        }
    }

    /// Takes one piece of news at `now`, and every deadline that has come by then. Time that runs backwards is taken as
    /// standing still. After [`Action::Conclude`] nothing has any effect.
    pub fn handle(&mut self, now: Moment, event: Event) {
        if matches!(self.run, Run::Over) {
            return;
        }
        self.now = self.now.max(now);
        // The event first: what has just ended is not killed for the grace that ended at the same moment.
        self.take(event);
        loop {
            self.meet_deadlines();
            self.propagate();
            if !self.proceed() && self.next_deadline().is_none_or(|at| at > self.now) {
                break;
            }
        }
        self.launch_ready();
        self.order_probes();
        self.hand_out();
    }

    /// The next order, in the order in which they are to be carried out; `None` when there is none left.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.outbox.actions.pop_front();
        if action.is_none() {
            self.outbox.keep_little();
        }
        action
    }

    /// When to hand in [`Event::Tick`] if nothing comes before: always later than the last `now` handed in. `None`:
    /// nothing happens unless there is news.
    pub fn next_deadline(&self) -> Option<Moment> {
        let instances = self.deadlines.first().map(|&(at, _)| at);
        let others = [self.stop_deadline(), self.leftovers.next_deadline(), self.next_deadline_of_rolls()];
        instances.into_iter().chain(others.into_iter().flatten()).min()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin_run(),
            Event::TakenBack(process) => self.taken_back(process),
            Event::Launched(process) => self.launched(process),
            Event::LaunchFailed(process, failure) => self.launch_failed(process, failure),
            Event::Ready(process) => self.ready(process),
            Event::NeverReady(process, why) => self.never_ready(process, why),
            Event::Probed(process, purpose, answer) => self.probed(process, purpose, answer),
            Event::Alive(process) => self.alive(process),
            Event::Beats(process, every) => self.beats(process, every),
            Event::Ails(process) => self.ails(process),
            Event::NeedsTime(process, more) => self.needs_time(process, more),
            Event::Departs(process) => self.departs(process),
            Event::Complains(process, about) => self.complains(process, about),
            Event::Ended(process, ending) => self.ended(process, ending),
            Event::Emptied(process) => self.emptied(process),
            Event::Adopted(process, count) => self.adopted(process, count),
            Event::Reclaimed(process) => self.reclaimed(process),
            Event::Remarked(process, remark) => self.remarked(process, remark),
            Event::Due { worker, times, on_time } => self.due(worker, times, on_time),
            Event::Asked(request) => self.asked(request),
            Event::Shutdown => self.shutdown(),
            Event::ShutdownNow => self.shutdown_now(),
            Event::Tick => {}
        }
    }

    /// Brings forward what concerns the whole family; says whether it did anything.
    fn proceed(&mut self) -> bool {
        self.start_stopping()
            || self.next_level()
            || self.next_change()
            || self.reassemble()
            || self.next_roll()
    }

    /// One more worker, which stands at this place in the order of dependence.
    pub(crate) fn enlist(&mut self, worker: Worker, place: Place) -> WorkerId {
        let id = WorkerId(self.crews.len() as u32);
        let crew = Crew::new(worker, place, self.now, &mut self.specs);
        self.names.insert(Arc::clone(&crew.name), id);
        self.crews.push(crew);
        id
    }

    pub(crate) fn crew(&self, id: WorkerId) -> &Crew {
        &self.crews[id.0 as usize]
    }

    pub(crate) fn member(&self, id: InstanceId) -> &Member {
        &self.crew(id.worker).members[id.index as usize]
    }

    /// The member of this id, unless there is none or it was scaled away.
    pub(crate) fn known(&self, id: InstanceId) -> Option<&Member> {
        let member = self.crews.get(id.worker.0 as usize)?.members.get(id.index as usize)?;
        (!matches!(member.state, State::Absent)).then_some(member)
    }

    pub(crate) fn process(&self, id: InstanceId) -> Process {
        Process { instance: id, launch: Launch(self.member(id).launch) }
    }

    /// All instances that are not scaled away, in the order of their ids.
    pub(crate) fn all_present(&self) -> Vec<InstanceId> {
        let mut present = Vec::new();
        for (worker, crew) in (0..).zip(&self.crews) {
            for (index, member) in (0..).zip(&crew.members) {
                if !matches!(member.state, State::Absent) {
                    present.push(InstanceId { worker: WorkerId(worker), index });
                }
            }
        }
        present
    }

    /// The one place where a member changes: all that is counted of it, or found by it, changes with it.
    pub(crate) fn change(&mut self, id: InstanceId, alter: impl FnOnce(&mut Member)) {
        let crew = &mut self.crews[id.worker.0 as usize];
        let standings = crew.standings();
        let member = &mut crew.members[id.index as usize];
        let old = member.stance();
        alter(member);
        let new = member.stance();
        if (old.phase, old.launch) != (new.phase, new.launch) {
            member.since = self.now;
        }
        self.outbox.touched.push(id);

        crew.tally = crew.tally.replace(old.tally, new.tally);
        if crew.spec.policy == Policy::Wait {
            self.work.begun = self.work.begun + u64::from(new.tally.begun) - u64::from(old.tally.begun);
            self.work.ended = self.work.ended + u64::from(new.tally.ended()) - u64::from(old.tally.ended());
        }
        if crew.turns() || crew.removed {
            self.outbox.turned.insert(id.worker);
        }
        if crew.standings() != standings {
            self.waits.stirred.insert(id.worker);
        }

        if old.deadline != new.deadline {
            old.deadline.map(|at| self.deadlines.remove(&(at, id)));
            new.deadline.map(|at| self.deadlines.insert((at, id)));
        }
        if old.failed != new.failed {
            old.failed.map(|order| self.failures.remove(&(order, id)));
            new.failed.map(|order| self.failures.insert((order, id)));
        }
        if old.kind != new.kind {
            self.move_between(id, old.kind, new.kind);
        }
    }

    fn move_between(&mut self, id: InstanceId, old: Kind, new: Kind) {
        if old == Kind::Waiting {
            self.await_no_more(id);
        }
        if new == Kind::Waiting {
            self.await_all(id);
        }
        if old == Kind::Up
            && !self.has_leftovers(id)
            && let Run::Stopping { plan, .. } = &mut self.run
        {
            plan.remove(id);
        }
        if let Some(node) = self.regrouping_of(id)
            && let Some(regroup) = &mut self.groups.node_mut(node).regroup
        {
            regroup.moved(id, old, new);
        }
        if old == Kind::Up {
            self.has_gone(id);
        }
    }

    pub(crate) fn order(&mut self, action: Action) {
        self.outbox.orders.push(action);
    }

    fn meet_deadlines(&mut self) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= self.now
        {
            // Else it would be met again and again.
            assert_eq!(self.member(id).deadline(), Some(at), "a deadline stands where its state says");
            self.deadline(id);
        }
        self.meet_deadlines_of_leftovers();
        self.meet_stop_deadline();
    }

    pub(crate) fn work_is_done(&self) -> bool {
        !self.lasts && self.work.begun > 0 && self.work.begun == self.work.ended
    }

    /// Hands out what the event brought about: what people are told, then who retired, then the orders, then the end.
    fn hand_out(&mut self) {
        for id in std::mem::take(&mut self.outbox.touched) {
            let face = self.face(id);
            let member = &mut self.crews[id.worker.0 as usize].members[id.index as usize];
            if member.face != face {
                member.face = face;
                self.outbox.actions.push_back(Action::Changed(id));
            }
        }
        for id in std::mem::take(&mut self.outbox.turned) {
            let crew = &mut self.crews[id.0 as usize];
            if crew.turns() {
                crew.retired = !crew.retired;
                let turn = if crew.retired { Action::Retired(id) } else { Action::Unretired(id) };
                self.outbox.actions.push_back(turn);
            }
            let left = self.leftovers.has_any_of(id);
            if crew.removed && crew.tally.present == 0 && !left && !crew.told_gone {
                crew.told_gone = true;
                self.outbox.actions.push_back(Action::Removed(id));
            }
        }
        self.outbox.actions.extend(self.outbox.told.drain(..));
        self.outbox.actions.extend(self.outbox.orders.drain(..));
        if let Run::Stopping { plan, .. } = &self.run
            && plan.is_empty()
        {
            self.run = Run::Over;
            self.outbox.actions.push_back(Action::Conclude(self.conclusion()));
        }
    }

    fn conclusion(&self) -> Conclusion {
        if let Some((instance, ending)) = self.essential {
            return Conclusion::Essential { instance, ending };
        }
        let Some(&(_, instance)) = self.failures.first() else { return Conclusion::Succeeded };
        let ending = match self.member(instance).state {
            State::Failed { ending, .. } => ending,
            _ => None,
        };
        Conclusion::Failed { instance, ending }
    }
}
