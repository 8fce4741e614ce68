//! A world that obeys at once, but for those who are said not to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use supervision::{
    Action, Backoff, Change, Conclusion, Ending, Event, Family, Instance, InstanceId, Intensity,
    LaunchFailure, Moment, Phase, Process, Purpose, Request, Strategy, Supervisor, Target, Worker, WorkerId,
};

/// A worker that rests exactly 100 ms, 200 ms, and so on up to a second, and has a second of grace.
pub fn worker(name: &str) -> Worker {
    Worker {
        backoff: Backoff { max: Duration::from_secs(1), jitter: 0.0, ..Backoff::default() },
        grace: Duration::from_secs(1),
        ..Worker::named(name)
    }
}

pub struct World {
    pub core: Supervisor,
    now: Moment,
    present: BTreeMap<InstanceId, Process>,
    alive: BTreeSet<Process>,
    traits: BTreeMap<String, BTreeSet<Trait>>,
    story: Vec<String>,
    conclusion: Option<Conclusion>,
}

/// How somebody is not as all others are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    /// Does not care when it is asked to stop.
    Deaf,
    /// Its command cannot be executed.
    Broken,
    /// The news of its launch comes only when `launched` is called.
    SlowToLaunch,
    /// How many it has left behind is known only when that is told.
    SlowToAdopt,
    /// What it left behind goes only when `emptied` is called.
    SlowToEmpty,
    /// What it held is given back only when `reclaimed` is called.
    SlowToReclaim,
}

impl World {
    /// Begins a run of these workers under `one_for_one`.
    pub fn of(workers: impl IntoIterator<Item = Worker>) -> World {
        World::under(Strategy::OneForOne, None, workers)
    }

    /// Begins a run of these workers.
    pub fn under(
        strategy: Strategy,
        intensity: Option<Intensity>,
        workers: impl IntoIterator<Item = Worker>,
    ) -> World {
        World::ahead(Family { strategy, intensity, ..Family::of(workers.into_iter().collect()) }).begin()
    }

    /// A run that has not begun.
    pub fn ahead(family: Family) -> World {
        World {
            core: Supervisor::new(family),
            now: Moment::START,
            present: BTreeMap::new(),
            alive: BTreeSet::new(),
            traits: BTreeMap::new(),
            story: Vec::new(),
            conclusion: None,
        }
    }

    /// It lives since a former run, and is this run's again.
    pub fn take_back(&mut self, process: Process) {
        self.alive.insert(process);
        self.present.insert(process.instance, process);
        self.tell(Event::TakenBack(process));
    }

    pub fn begin(mut self) -> World {
        self.tell(Event::Begin);
        self
    }

    /// From now on, `name` is so.
    pub fn let_be(&mut self, name: &str, what: Trait) {
        self.traits.entry(name.into()).or_default().insert(what);
    }

    pub fn tell(&mut self, event: Event) {
        self.core.handle(self.now, event);
        let mut orders = Vec::new();
        while let Some(action) = self.core.poll_action() {
            assert_eq!(self.conclusion, None, "{action:?} after the last action");
            match action {
                Action::Conclude(conclusion) => self.conclusion = Some(conclusion),
                Action::Retired(worker) => self.note(format!("{} retired", self.name_of(worker.0))),
                Action::Unretired(worker) => self.note(format!("{} unretired", self.name_of(worker.0))),
                Action::Removed(worker) => self.note(format!("{} removed", self.name_of(worker.0))),
                Action::GaveUp(group, culprit) => {
                    let (group, culprit) = (group.0, self.label(culprit));
                    self.note(format!("group {group} gave up for {culprit}"));
                }
                Action::Rolled(worker, Ok(())) => self.note(format!("{} rolled", self.name_of(worker.0))),
                Action::Rolled(worker, Err(why)) => {
                    let line = format!("{}: {why}", self.name_of(worker.0));
                    self.note(line);
                }
                Action::Changed(_) => {}
                order => orders.push(order),
            }
        }
        for order in orders {
            self.obey(order);
        }
    }

    fn obey(&mut self, order: Action) {
        match order {
            Action::Launch(process) => {
                let name = self.label(process.instance);
                self.note(format!("{name} launched"));
                self.present.insert(process.instance, process);
                if self.is(process, Trait::Broken) {
                    self.tell(Event::LaunchFailed(process, LaunchFailure("exec: no such file".into())));
                } else {
                    self.alive.insert(process);
                    if !self.is(process, Trait::SlowToLaunch) {
                        self.tell(Event::Launched(process));
                    }
                }
            }
            Action::Ask(process) => {
                self.note(format!("{} asked", self.label(process.instance)));
                if !self.is(process, Trait::Deaf) {
                    self.end(process, Ending::Signal(15));
                }
            }
            Action::Abort(process) => {
                self.note(format!("{} aborted", self.label(process.instance)));
                if !self.is(process, Trait::Deaf) {
                    self.end(process, Ending::Signal(6));
                }
            }
            Action::Probe(process, purpose, _) => {
                let what = if purpose == Purpose::Health { "health" } else { "readiness" };
                self.note(format!("{} probed for {what}", self.label(process.instance)));
            }
            Action::Kill(process) => {
                if self.alive.contains(&process) {
                    self.note(format!("{} killed", self.label(process.instance)));
                    self.end(process, Ending::Signal(9));
                } else if !self.is(process, Trait::SlowToEmpty) {
                    self.tell(Event::Emptied(process));
                }
            }
            Action::Adopt(process) => {
                self.note(format!("{} adopted", self.label(process.instance)));
                if !self.is(process, Trait::SlowToAdopt) {
                    self.tell(Event::Adopted(process, 2));
                }
            }
            Action::AskLeftovers(process) => {
                self.note(format!("{}'s leftovers asked", self.label(process.instance)));
                if !self.is(process, Trait::Deaf) {
                    self.tell(Event::Adopted(process, 0));
                }
            }
            Action::KillLeftovers(process) => {
                self.note(format!("{}'s leftovers killed", self.label(process.instance)));
                self.tell(Event::Adopted(process, 0));
            }
            Action::Reclaim(process) if !self.is(process, Trait::SlowToReclaim) => {
                self.tell(Event::Reclaimed(process));
            }
            _ => {}
        }
    }

    fn end(&mut self, process: Process, ending: Ending) {
        assert!(self.alive.remove(&process), "{} lives", self.label(process.instance));
        self.tell(Event::Ended(process, ending));
    }

    fn is(&self, process: Process, what: Trait) -> bool {
        let name = self.label(process.instance);
        self.traits.get(&name).is_some_and(|traits| traits.contains(&what))
    }

    fn note(&mut self, line: String) {
        self.story.push(format!("{} {line}", self.now.as_nanos() / 1_000_000));
    }

    fn name_of(&self, worker: u32) -> String {
        self.core.worker(WorkerId(worker)).map_or_else(String::new, |worker| worker.name.clone())
    }

    fn label(&self, id: InstanceId) -> String {
        let name = self.name_of(id.worker.0);
        if id.index == 0 { name } else { format!("{name}:{}", id.index) }
    }

    pub fn id(&self, label: &str) -> InstanceId {
        let (name, index) = label.split_once(':').unwrap_or((label, "0"));
        let removed =
            || (0..).map(WorkerId).find(|id| self.core.worker(*id).is_none_or(|worker| worker.name == name));
        let worker = self.core.find(name).or_else(removed).expect("there is such a worker");
        InstanceId { worker, index: index.parse().expect("a number") }
    }

    pub fn process(&self, label: &str) -> Process {
        self.present[&self.id(label)]
    }

    pub fn exits(&mut self, label: &str, code: i32) {
        self.end(self.process(label), Ending::Code(code));
    }

    pub fn dies(&mut self, label: &str, ending: Ending) {
        self.end(self.process(label), ending);
    }

    pub fn launched(&mut self, label: &str) {
        self.tell(Event::Launched(self.process(label)));
    }

    pub fn ready(&mut self, label: &str) {
        self.tell(Event::Ready(self.process(label)));
    }

    pub fn emptied(&mut self, label: &str) {
        self.tell(Event::Emptied(self.process(label)));
    }

    pub fn reclaimed(&mut self, label: &str) {
        self.tell(Event::Reclaimed(self.process(label)));
    }

    /// A worker by its name, or one of its instances by `name:index`.
    fn target(&self, label: &str) -> Target {
        let id = self.id(label);
        if label.contains(':') { Target::Instance(id) } else { Target::Worker(id.worker) }
    }

    pub fn start(&mut self, label: &str) {
        self.tell(Event::Asked(Request::Start(self.target(label))));
    }

    pub fn stop(&mut self, label: &str) {
        self.tell(Event::Asked(Request::Stop(self.target(label))));
    }

    pub fn restart(&mut self, label: &str) {
        self.tell(Event::Asked(Request::Restart(self.target(label))));
    }

    pub fn scale(&mut self, name: &str, instances: u32) {
        self.tell(Event::Asked(Request::Scale(self.id(name).worker, instances)));
    }

    /// Makes the family another one; who is not named keeps its place.
    pub fn change(&mut self, change: Change) {
        self.tell(Event::Asked(Request::Change(Box::new(change))));
    }

    pub fn shutdown(&mut self) {
        self.tell(Event::Shutdown);
    }

    /// Lets so much time go by, meeting every deadline.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(deadline) = self.core.next_deadline().filter(|&at| at <= until) {
            self.now = deadline;
            self.tell(Event::Tick);
        }
        self.now = until;
    }

    /// Lets so much time go by with nobody looking, and then meets what is due.
    pub fn sleep(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.tell(Event::Tick);
    }

    /// What happened since this was last asked, each with the milliseconds at which it did.
    pub fn story(&mut self) -> Vec<String> {
        std::mem::take(&mut self.story)
    }

    pub fn seen(&self, label: &str) -> Instance {
        self.core.instance(self.id(label), self.now).expect("it is there")
    }

    pub fn phase(&self, label: &str) -> Phase {
        self.seen(label).phase
    }

    pub fn why(&self, label: &str) -> String {
        self.seen(label).why
    }

    pub fn conclusion(&self) -> Option<Conclusion> {
        self.conclusion.clone()
    }
}
