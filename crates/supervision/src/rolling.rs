//! Rolling restarts: a new launch of a worker is ready before an old one is asked to stop.
//!
//! ```text
//!   MakingRoom ─ its place is free ─► Trying the one more ─ ready ─► Trying 0 ─ ready ─► Trying 1 … ─ ready ─► Shrinking ─► over
//!                                          └─────── failed ──────────────┴─ failed ─────────────────────────────┘
//! ```
//!
//! The worker has one instance more for a while, numbered as the next would be, so that never fewer are ready than usual.
//! When that one does not get ready, nothing old was touched: it is on trial, so its failure is not for its policy to judge,
//! charges nobody, and takes nobody with it, whatever the strategy of its group. When a later one does not get ready, it
//! stays in the care of its policy, and those after it keep running. A launch is good when it has been ready for as long as its
//! worker says (`min_ready`): one that ends at once costs no old one.
//!
//! When the worker is changed meanwhile, it goes on by what holds now: who was launched by what held before is replaced too, and
//! who of them is not ready yet is launched again at once. How many there are to be at the end may be another number then; those
//! that are too many stay until the end, if they do not end by themselves. Whoever scales or stops the worker breaks it off: what was not replaced runs on.

use std::collections::{BTreeSet, VecDeque};

use crate::instance::{Fate, Member, State};
use crate::supervisor::MAX_INSTANCES;
use crate::words::{Blame, ended};
use crate::{Action, InstanceId, Moment, Phase, Supervisor, Target, Worker, WorkerId};

/// Why one has ended early that somebody else has broken off.
const BROKEN_OFF: &str = "it was stopped, scaled or changed meanwhile";

/// One worker's rolling restart.
#[derive(Debug)]
pub(crate) struct Rolling {
    /// How many instances it has as a rule, and is to have at the end.
    pub(crate) size: u32,
    /// The number of the one more.
    one_more: u32,
    /// The launches that are still to be replaced, by their instances. Of those that are too many there may be some too: they
    /// need not be replaced, unless there are to be as many again.
    left: VecDeque<(u32, u64)>,
    step: Step,
}

impl Rolling {
    fn has_any_left(&self) -> bool {
        self.left.iter().any(|(index, _)| *index < self.size)
    }

    fn pop_left(&mut self) -> Option<(u32, u64)> {
        let next = self.left.iter().position(|(index, _)| *index < self.size)?;
        self.left.remove(next)
    }
}

#[derive(Debug)]
enum Step {
    /// The place of the one more is still taken by one that was scaled away.
    MakingRoom,
    /// An instance is to get ready in the launch after this one.
    Trying { index: u32, before: u64 },
    /// The same, while there is no one more: what was that is one like the others since there are to be more of them.
    Growing { index: u32, before: u64 },
    /// The one more is to go; how it went.
    Shrinking(Result<(), String>),
}

/// How an instance that is to get ready stands.
enum Progress {
    Ready,
    Open,
    Failed(String),
}

impl Supervisor {
    /// Whether a worker is in the middle of a rolling restart.
    pub fn is_rolling(&self, worker: WorkerId) -> bool {
        self.rolling.contains_key(&worker)
    }

    /// Whether a rolling restart of a worker has anything to keep up: then that is what
    /// [`crate::Request::Roll`] does; else it restarts plainly. One that runs by the clock is replaced by its next run, and
    /// does not roll.
    pub fn can_roll(&self, worker: WorkerId) -> bool {
        self.crews.get(worker.0 as usize).is_some_and(|crew| self.can_roll_with(worker, crew.instances))
    }

    /// Whether [`crate::Manner::Roll`] has anything to keep up where a worker is to be like this from now on; else it is
    /// [`crate::Manner::Restart`].
    pub fn would_roll(&self, worker: WorkerId, next: &Worker) -> bool {
        let is_there = (worker.0 as usize) < self.crews.len();
        let rolls = || self.is_rolling(worker) || self.can_roll_with(worker, next.instances);
        is_there && next.schedule.is_none() && rolls()
    }

    /// The same, where it is to have so many instances.
    fn can_roll_with(&self, worker: WorkerId, instances: u32) -> bool {
        let crew = self.crew(worker);
        let mut kept = crew.members.iter().take(instances as usize);
        !crew.removed
            && crew.spec.schedule.is_none()
            && instances < MAX_INSTANCES
            && kept.any(|member| member.state.phase() == Phase::Running)
    }

    /// Begins a rolling restart; what is not up is started at once.
    pub(crate) fn roll(&mut self, worker: WorkerId) {
        if self.is_rolling(worker) {
            return;
        }
        if !self.can_roll(worker) {
            return self.each(Target::Worker(worker), Supervisor::ask_to_restart);
        }
        let left = self.those_to_replace(worker, self.crew(worker).instances);
        for index in 0..self.crew(worker).instances {
            if left.iter().all(|(old, _)| *old != index) {
                self.ask_to_restart(InstanceId { worker, index });
            }
        }
        self.begin_to_roll(worker, left);
    }

    /// The launches of a worker that a rolling restart replaces, where it is to have so many instances.
    pub(crate) fn those_to_replace(&self, worker: WorkerId, instances: u32) -> VecDeque<(u32, u64)> {
        let members = (0..instances).zip(&self.crew(worker).members);
        let up = members.filter(|(_, member)| is_coming_or_up(&member.state));
        up.map(|(index, member)| (index, member.launch)).collect()
    }

    pub(crate) fn begin_to_roll(&mut self, worker: WorkerId, left: VecDeque<(u32, u64)>) {
        let size = self.crew(worker).instances;
        self.rolling.insert(worker, Rolling { size, one_more: size, left, step: Step::MakingRoom });
    }

    /// The worker has changed in the middle of a rolling restart, and is to have so many instances. `spared`: who is like that
    /// already, where the others are to be replaced.
    pub(crate) fn roll_on(
        &mut self,
        worker: WorkerId,
        size: u32,
        spared: Option<&BTreeSet<InstanceId>>,
        starts: bool,
    ) {
        let Some(mut rolling) = self.rolling.remove(&worker) else { return };
        let id = |index| InstanceId { worker, index };
        rolling.size = size;
        // Who is tried, and the one more, stay what they are, unless that is to be one like the others.
        let stays = matches!(rolling.step, Step::Trying { .. }) && size <= rolling.one_more;
        if let Step::Trying { index, before } | Step::Growing { index, before } = &mut rolling.step {
            let member = self.member(id(*index));
            let (launch, is_new) = (member.launch, member.launch > *before);
            if is_new && spared.is_some_and(|spared| !spared.contains(&id(*index))) {
                match &member.state {
                    State::Running { .. } => {}
                    State::Launching | State::Starting { .. } => {
                        self.ask(id(*index), Fate::Starts);
                        *before = launch;
                    }
                    State::Leaving { fate: Fate::Policy(_), .. } => {
                        self.destine(id(*index), Fate::Starts);
                        *before = launch;
                    }
                    _ => *before = launch,
                }
            }
        }
        if let Some(spared) = spared {
            rolling.left = self.those_to_replace(worker, u32::MAX);
            rolling.left.retain(|(index, _)| !spared.contains(&id(*index)));
        }
        if !stays {
            self.resize(worker, size, starts);
            rolling.one_more = size;
            if let Step::Shrinking(outcome) = &rolling.step {
                if spared.is_none() || !rolling.has_any_left() {
                    return drop(self.rolling.insert(worker, rolling));
                }
                self.outbox.told.push(Action::Rolled(worker, outcome.clone()));
            }
            rolling.step = match rolling.step {
                // What is on its way is not left to itself.
                Step::Trying { index, before } | Step::Growing { index, before } if index < size => {
                    Step::Growing { index, before }
                }
                _ => Step::MakingRoom,
            };
        }
        self.rolling.insert(worker, rolling);
    }

    /// When a launch that is ready has been so for long enough.
    pub(crate) fn next_deadline_of_rolls(&self) -> Option<Moment> {
        let proven = self.rolling.iter().filter_map(|(&worker, rolling)| match rolling.step {
            Step::Trying { index, before } | Step::Growing { index, before } => {
                let member = self.known(InstanceId { worker, index })?;
                let runs = matches!(member.state, State::Running { .. }) && member.launch > before;
                runs.then_some(member.since + self.crew(worker).spec.min_ready).filter(|at| *at > self.now)
            }
            Step::MakingRoom | Step::Shrinking(_) => None,
        });
        proven.min()
    }

    /// Ends a rolling restart of a worker early, if there is one: somebody else decides now what becomes of it. When only
    /// the one more was still to go, it has come out as it has.
    pub(crate) fn break_off_rolling(&mut self, worker: WorkerId) {
        if let Some(rolling) = self.rolling.remove(&worker) {
            let outcome = match rolling.step {
                Step::MakingRoom | Step::Trying { .. } | Step::Growing { .. } => Err(BROKEN_OFF.to_owned()),
                Step::Shrinking(outcome) => outcome,
            };
            self.outbox.told.push(Action::Rolled(worker, outcome));
        }
    }

    /// The worker was told to stop, and so was its one more.
    pub(crate) fn stop_rolling(&mut self, worker: WorkerId) {
        let Some(rolling) = self.rolling.get(&worker) else { return };
        let size = rolling.size;
        let has_one_more = !matches!(rolling.step, Step::MakingRoom | Step::Growing { .. });
        self.break_off_rolling(worker);
        if has_one_more {
            self.resize(worker, size, false);
        }
    }

    /// The same for all.
    pub(crate) fn break_off_all_rolling(&mut self) {
        while let Some((&worker, _)) = self.rolling.first_key_value() {
            self.break_off_rolling(worker);
        }
    }

    /// Whether `id` is the one more of a rolling restart: until it goes, its failure ends that, and nothing else.
    pub(crate) fn is_on_trial(&self, id: InstanceId) -> bool {
        self.rolling.get(&id.worker).is_some_and(|rolling| {
            id.index == rolling.one_more && matches!(rolling.step, Step::Trying { .. })
        })
    }

    /// Whether `id` is one of too many that a rolling restart keeps as long as it goes on: its end is nobody's loss, and it is not
    /// started again.
    pub(crate) fn goes_with_its_roll(&self, id: InstanceId) -> bool {
        self.rolling.get(&id.worker).is_some_and(|rolling| id.index >= rolling.size)
    }

    /// The one more has failed, of which nothing lives any more.
    pub(crate) fn fail_trial(&mut self, id: InstanceId, blame: &Blame) {
        let why = blame.words(self);
        self.vanish(id);
        if let Some(mut rolling) = self.rolling.remove(&id.worker) {
            self.fail_rolling(id, &mut rolling, &why);
            self.rolling.insert(id.worker, rolling);
        }
    }

    /// Takes every rolling restart a step further that can go one; says whether there was one.
    pub(crate) fn next_roll(&mut self) -> bool {
        let workers: Vec<WorkerId> = self.rolling.keys().copied().collect();
        let mut any = false;
        for worker in workers {
            if let Some(mut rolling) = self.rolling.remove(&worker) {
                any |= self.advance(worker, &mut rolling);
                let beyond = self.crew(worker).members.iter().skip(rolling.size as usize);
                let gone = beyond.into_iter().all(|member| matches!(member.state, State::Absent));
                match rolling.step {
                    Step::Shrinking(outcome) if gone => {
                        self.outbox.told.push(Action::Rolled(worker, outcome));
                    }
                    _ => drop(self.rolling.insert(worker, rolling)),
                }
            }
        }
        any
    }

    fn advance(&mut self, worker: WorkerId, rolling: &mut Rolling) -> bool {
        let one_more = InstanceId { worker, index: rolling.one_more };
        match rolling.step {
            Step::MakingRoom if self.known(one_more).is_some() => false,
            Step::MakingRoom => {
                let members = &self.crew(worker).members;
                let before = members.get(one_more.index as usize).map_or(0, |member| member.launch);
                rolling.step = Step::Trying { index: one_more.index, before };
                self.resize(worker, one_more.index + 1, true);
                true
            }
            Step::Growing { index, before } => {
                match self.progress(InstanceId { index, ..one_more }, before) {
                    Progress::Open => false,
                    Progress::Failed(why) => {
                        self.fail_rolling(InstanceId { index, ..one_more }, rolling, &why);
                        true
                    }
                    Progress::Ready if !rolling.has_any_left() => {
                        self.shrink(worker, rolling, Ok(()));
                        true
                    }
                    Progress::Ready => {
                        rolling.step = Step::MakingRoom;
                        true
                    }
                }
            }
            Step::Trying { index, before } => match self.progress(InstanceId { index, ..one_more }, before) {
                Progress::Open => false,
                Progress::Failed(why) => {
                    self.fail_rolling(InstanceId { index, ..one_more }, rolling, &why);
                    true
                }
                Progress::Ready => match self.stand_in(one_more, rolling) {
                    Progress::Ready => {
                        self.replace_next(worker, rolling);
                        true
                    }
                    Progress::Open => false,
                    Progress::Failed(why) => {
                        self.fail_rolling(one_more, rolling, &why);
                        true
                    }
                },
            },
            Step::Shrinking(_) => false,
        }
    }

    /// Lets the next of the old ones go. Who has gone already, or was started anew meanwhile, need not.
    fn replace_next(&mut self, worker: WorkerId, rolling: &mut Rolling) {
        while let Some((index, before)) = rolling.pop_left() {
            let id = InstanceId { worker, index };
            let is_old = |member: &Member| member.launch == before && is_coming_or_up(&member.state);
            if self.known(id).is_some_and(is_old) {
                rolling.step = Step::Trying { index, before };
                return self.ask(id, Fate::Starts);
            }
        }
        self.shrink(worker, rolling, Ok(()));
    }

    fn fail_rolling(&mut self, id: InstanceId, rolling: &mut Rolling, why: &str) {
        let name = &self.crew(id.worker).name;
        let outcome = Err(format!("{name}:{} did not get ready: {why}", id.index));
        self.shrink(id.worker, rolling, outcome);
    }

    fn shrink(&mut self, worker: WorkerId, rolling: &mut Rolling, outcome: Result<(), String>) {
        rolling.step = Step::Shrinking(outcome);
        self.resize(worker, rolling.size, false);
    }

    fn progress(&self, id: InstanceId, before: u64) -> Progress {
        let Some(member) = self.known(id) else { return Progress::Failed(BROKEN_OFF.to_owned()) };
        let tried = member.launch > before;
        match &member.state {
            State::Running { .. } if tried && self.is_proven(id) => Progress::Ready,
            State::Launching | State::Starting { .. } | State::Running { .. } if tried => Progress::Open,
            // It has failed, and is about to be started again at once.
            State::Waiting | State::Delayed { .. } if tried => {
                let why = member.last.map_or_else(|| "its launch failed".to_owned(), ended);
                Progress::Failed(why)
            }
            State::Leaving { fate: Fate::Policy(_) | Fate::PolicyOrStopped(_), .. } if tried => {
                Progress::Open
            }
            state if tried || !state.is_on_its_way() => Progress::Failed(self.why(id)),
            _ => Progress::Open,
        }
    }

    /// Whether the one more stands in for whoever is asked next; where nobody is, it need not.
    fn stand_in(&self, one_more: InstanceId, rolling: &Rolling) -> Progress {
        match self.known(one_more).map(|member| &member.state) {
            _ if !rolling.has_any_left() => Progress::Ready,
            Some(State::Running { .. }) => Progress::Ready,
            _ => self.progress(one_more, 0),
        }
    }

    /// Whether a launch that is ready has been so for long enough.
    fn is_proven(&self, id: InstanceId) -> bool {
        self.now >= self.member(id).since + self.crew(id.worker).spec.min_ready
    }

    fn why(&self, id: InstanceId) -> String {
        self.face(id).blame.words(self)
    }
}

/// Whether a launch is ordered, and not told to stop.
fn is_coming_or_up(state: &State) -> bool {
    matches!(state, State::Launching | State::Starting { .. } | State::Running { .. })
}

impl State {
    /// Whether it is to be launched, or will be once it is gone.
    fn is_on_its_way(&self) -> bool {
        !matches!(
            self,
            State::Absent
                | State::Idle
                | State::Stopped(_)
                | State::Done(_)
                | State::Failed { .. }
                | State::Leaving { fate: Fate::Stays(_) | Fate::Vanishes, .. }
        )
    }
}
