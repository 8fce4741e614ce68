//! What people and programs may see.

use crate::instance::{Face, Fate, Member, State};
use crate::supervisor::Crew;
use crate::waiting::Prospect;
use crate::words::{Blame, Names};
use crate::{GroupId, Instance, InstanceId, Launch, Moment, Phase, Policy, Supervisor, Worker, WorkerId};

impl Supervisor {
    /// All instances, in the order of the file, as of the last event. Those that were scaled away are left out once
    /// they are gone.
    pub fn instances(&self) -> impl Iterator<Item = Instance> + '_ {
        let ids = (0..).map(WorkerId).zip(&self.crews).flat_map(|(worker, crew)| {
            (0..crew.members.len() as u32).map(move |index| InstanceId { worker, index })
        });
        ids.filter_map(|id| self.instance(id, self.now))
    }

    /// One instance as of `now`, from which [`Instance::next_launch_in`] counts. `None`: there is none of this id, or
    /// it was scaled away.
    pub fn instance(&self, id: InstanceId, now: Moment) -> Option<Instance> {
        let member = self.known(id)?;
        let waits_for = match self.open(id, member) {
            Some(Prospect::Open(after)) => Some((after.worker, after.milestone)),
            _ => None,
        };
        Some(Instance {
            id,
            phase: member.state.phase(),
            since: member.since,
            launch: (member.launch > 0).then_some(Launch(member.launch)),
            launched_at: member.launched_at.filter(|_| member.state.is_up()),
            restarts: member.restarts.unwrap_or(0),
            last: member.last,
            why: self.left_behind(id).added_to(self.blame(id, member).words(self)),
            left_behind: self.left_behind(id),
            waits_for,
            between_runs: match member.state {
                State::Scheduled { well, .. } => Some(well),
                _ => None,
            },
            next_launch_in: match member.state {
                State::Resting { until, .. } | State::Delayed { until, .. } => Some(until.since(now)),
                State::Scheduled { .. } => member.dues.next.map(|next| next.since(now)),
                _ => None,
            },
        })
    }

    /// Where an instance stands and its present or last launch: what [`Supervisor::instance`] says, without the words.
    pub fn standing(&self, id: InstanceId) -> Option<(Phase, Option<Launch>)> {
        let member = self.known(id)?;
        Some((member.state.phase(), (member.launch > 0).then_some(Launch(member.launch))))
    }

    /// Whether an instance waits for the time of its next run: it is as far up as it can be.
    pub fn is_between_runs(&self, id: InstanceId) -> bool {
        self.known(id).is_some_and(|member| matches!(member.state, State::Scheduled { .. }))
    }

    /// The worker of this id. Its number of instances is the one last asked for.
    pub fn worker(&self, id: WorkerId) -> Option<Worker> {
        let Crew { name, instances, spec, .. } = self.crews.get(id.0 as usize)?;
        Some(Worker { name: name.as_ref().to_owned(), instances: *instances, ..Worker::clone(spec) })
    }

    /// How many instances a worker is to have as a rule: a rolling restart has others for a while.
    pub fn wanted_instances(&self, id: WorkerId) -> u32 {
        let now = self.crews.get(id.0 as usize).map_or(0, |crew| crew.instances);
        self.rolling.get(&id).map_or(now, |rolling| rolling.size)
    }

    /// How a worker and its supervisor part: what [`Supervisor::worker`] says of it, and no more.
    pub fn policy(&self, id: WorkerId) -> Option<Policy> {
        Some(self.crews.get(id.0 as usize)?.spec.policy)
    }

    /// The name of a group.
    pub fn group_name(&self, group: GroupId) -> Option<&str> {
        self.groups.name(group.0 as usize + 1)
    }

    /// The worker of this name: of several, the one that was added last.
    pub fn find(&self, name: &str) -> Option<WorkerId> {
        self.names.get(name).copied()
    }

    pub(crate) fn face(&self, id: InstanceId) -> Face {
        let member = self.member(id);
        Face {
            phase: member.state.phase(),
            left: self.left_behind(id),
            launch: member.launch,
            blame: self.blame(id, member),
        }
    }

    fn open(&self, id: InstanceId, member: &Member) -> Option<Prospect> {
        (member.state == State::Waiting).then(|| self.prospect(id))
    }

    fn blame(&self, id: InstanceId, member: &Member) -> Blame {
        match &member.state {
            State::Absent => Blame::Vanishes,
            State::Idle => Blame::NeverStarted,
            State::Launching => Blame::Nothing,
            State::Starting { trial, .. } => {
                Blame::Unready(trial.as_ref().and_then(|trial| trial.last.clone()))
            }
            State::Running { vigil } => {
                let checkup = vigil.as_ref().and_then(|vigil| vigil.checkup.as_ref());
                let of = self.crew(id.worker).spec.health.map_or(1, |health| health.failures);
                match checkup.and_then(|checkup| Some((checkup.failures, checkup.last.clone()?))) {
                    Some((failures, last)) => Blame::Poorly(failures, of, last),
                    None => Blame::Nothing,
                }
            }
            State::Waiting => match self.prospect(id) {
                Prospect::Launch => Blame::Nothing,
                Prospect::AfterChange(worker) => Blame::AfterChange(worker),
                Prospect::AfterLeftovers => Blame::AfterLeftovers,
                Prospect::Open(after) => Blame::Waits(after.worker, after.milestone),
                Prospect::Never(blame) => blame,
            },
            State::Delayed { by, .. } => Blame::Delayed(*by),
            State::Scheduled { last, .. } if **last == Blame::Nothing => Blame::NotDue,
            State::Scheduled { last, .. } => Blame::BetweenRuns(last.clone()),
            State::Held(culprit) => Blame::Together(*culprit),
            State::Done(cause) => Blame::Cause(cause.clone()),
            State::Resting { blame, .. } | State::Stopped(blame) | State::Failed { blame, .. } => {
                blame.clone()
            }
            State::Leaving { fate, .. } => match fate {
                Fate::Policy(cause) | Fate::PolicyOrStopped(cause) => Blame::Cause(cause.clone()),
                Fate::Stays(blame) => blame.clone(),
                Fate::Rejoins(culprit) => Blame::Together(*culprit),
                Fate::Starts => Blame::StartsAgain,
                Fate::Changes => Blame::Changes,
                Fate::Vanishes if self.crew(id.worker).removed => Blame::TakenOut,
                Fate::Vanishes => Blame::Vanishes,
            },
        }
    }
}

impl Names for Supervisor {
    fn worker(&self, id: WorkerId) -> String {
        self.crews
            .get(id.0 as usize)
            .map_or_else(|| format!("worker {}", id.0), |crew| crew.name.as_ref().to_owned())
    }

    fn instance(&self, id: InstanceId) -> String {
        let several = self.crews.get(id.worker.0 as usize).is_some_and(|crew| crew.members.len() > 1);
        let worker = Names::worker(self, id.worker);
        if several { format!("{worker}:{}", id.index) } else { worker }
    }
}
