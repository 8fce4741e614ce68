//! What people and programs may ask for.

use crate::instance::{Fate, Member, State};
use crate::order::place_of_added;
use crate::stopping::Run;
use crate::supervisor::MAX_INSTANCES;
use crate::words::Blame;
use crate::{InstanceId, Request, Supervisor, Target, Worker, WorkerId};

impl Supervisor {
    /// Once the run is being stopped, a worker can still be added but nothing else has any effect.
    pub(crate) fn asked(&mut self, request: Request) {
        match request {
            Request::Add(worker) => self.add(*worker),
            _ if !self.is_open() => {}
            Request::Start(target) => self.each(target, Supervisor::ask_to_start),
            Request::Stop(target) => {
                self.each(target, Supervisor::ask_to_stop);
                if let Target::Worker(worker) = target {
                    self.stop_rolling(worker);
                }
            }
            Request::Restart(target) => self.each(target, Supervisor::ask_to_restart),
            Request::Roll(worker) => self.roll(worker),
            Request::Scale(worker, instances) => self.scale(worker, instances),
            Request::Change(change) => self.change_family(*change),
        }
    }

    pub(crate) fn each(&mut self, target: Target, act: fn(&mut Supervisor, InstanceId)) {
        let count =
            |worker: WorkerId| self.crews.get(worker.0 as usize).map_or(0, |crew| crew.members.len() as u32);
        let (worker, indexes) = match target {
            Target::Worker(worker) => (worker, 0..count(worker)),
            Target::Instance(id) if id.index < count(id.worker) => (id.worker, id.index..id.index + 1),
            Target::Instance(id) => (id.worker, 0..0),
        };
        for index in indexes {
            act(self, InstanceId { worker, index });
        }
    }

    fn ask_to_start(&mut self, id: InstanceId) {
        match &self.member(id).state {
            State::Idle
            | State::Stopped(_)
            | State::Delayed { .. }
            | State::Scheduled { .. }
            | State::Resting { .. }
            | State::Done(_)
            | State::Failed { .. } => {
                self.start_anew(id);
            }
            State::Leaving { fate: Fate::Vanishes, .. } => {}
            State::Leaving { .. } => self.destine(id, Fate::Starts),
            State::Waiting
            | State::Held(_)
            | State::Launching
            | State::Starting { .. }
            | State::Running { .. } => {
                self.change(id, Member::forgive);
            }
            State::Absent => {}
        }
    }

    fn ask_to_stop(&mut self, id: InstanceId) {
        self.end_leftovers(id);
        match self.member(id).state.clone() {
            State::Waiting
            | State::Delayed { .. }
            | State::Scheduled { .. }
            | State::Held(_)
            | State::Resting { .. } => self.stay_down(id, Blame::Requested),
            State::Launching | State::Starting { .. } | State::Running { .. } => {
                self.ask(id, Fate::Stays(Blame::Requested));
            }
            State::Leaving { fate, .. } => {
                let fate = match fate {
                    Fate::Policy(cause) | Fate::PolicyOrStopped(cause) => Fate::PolicyOrStopped(cause),
                    Fate::Stays(_) | Fate::Rejoins(_) | Fate::Starts | Fate::Changes => {
                        Fate::Stays(Blame::Requested)
                    }
                    Fate::Vanishes => Fate::Vanishes,
                };
                self.destine(id, fate);
            }
            State::Absent | State::Idle | State::Stopped(_) | State::Done(_) | State::Failed { .. } => {}
        }
    }

    pub(crate) fn ask_to_restart(&mut self, id: InstanceId) {
        match &self.member(id).state {
            State::Launching | State::Starting { .. } | State::Running { .. } => self.ask(id, Fate::Starts),
            _ => self.ask_to_start(id),
        }
    }

    fn add(&mut self, worker: Worker) {
        let Ok(id) = u32::try_from(self.crews.len()).map(WorkerId) else { return };
        let level = |on: usize| self.crews.get(on).map(|crew| crew.place.level);
        let place = place_of_added(&worker, level, self.crews.len());
        self.enlist(worker, place);
        self.groups.add();
        if matches!(self.run, Run::Going) {
            self.autostart(id);
        }
    }

    fn scale(&mut self, worker: WorkerId, instances: u32) {
        if self.crews.get(worker.0 as usize).is_some_and(|crew| !crew.removed) {
            self.break_off_rolling(worker);
            self.resize(worker, instances.min(MAX_INSTANCES), true);
        }
    }

    /// Lets a worker have so many instances; the new ones are started if they are to be.
    pub(crate) fn resize(&mut self, worker: WorkerId, instances: u32, starts: bool) {
        let crew = &mut self.crews[worker.0 as usize];
        let had = crew.members.len() as u32;
        crew.instances = instances;
        for _ in had..instances {
            crew.members.push(Member { state: State::Absent, ..Member::idle(self.now) });
        }
        for id in (instances..had).rev().map(|index| InstanceId { worker, index }) {
            self.scale_away(id);
        }
        for id in (0..instances).map(|index| InstanceId { worker, index }) {
            match &self.member(id).state {
                State::Absent => {
                    let now = self.now;
                    self.change(id, |member| member.renew(State::Idle, now));
                    if starts {
                        self.begin_with_run(id);
                    }
                }
                State::Leaving { fate: Fate::Vanishes, .. } if starts => self.destine(id, Fate::Starts),
                State::Leaving { fate: Fate::Vanishes, .. } => {
                    self.destine(id, Fate::Stays(Blame::NeverStarted))
                }
                _ => {}
            }
        }
    }

    fn scale_away(&mut self, id: InstanceId) {
        self.end_leftovers(id);
        match &self.member(id).state {
            State::Absent => {}
            State::Launching | State::Starting { .. } | State::Running { .. } => self.ask(id, Fate::Vanishes),
            State::Leaving { .. } => self.destine(id, Fate::Vanishes),
            _ => self.vanish(id),
        }
    }

    /// Takes an instance out of the family, of which nothing lives.
    pub(crate) fn vanish(&mut self, id: InstanceId) {
        let now = self.now;
        self.change(id, |member| member.renew(State::Absent, now));
        self.end_leftovers(id);
    }
}
