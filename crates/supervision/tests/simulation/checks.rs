//! What must hold after every action. Knows nothing of the inside of the core: only what went in, what came out, what
//! people can see, and what is true of the processes.

mod clock;
mod groups;
mod leftovers;
mod orders;
mod rolling;
mod seen;
mod turns;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use supervision::{
    Ending, Event, Family, Instance, InstanceId, Launch, Moment, Phase, Process, Request, Supervisor, Target,
    Worker, WorkerId,
};

use clock::Clock;
use groups::Tree;
use leftovers::{Left, without_leftovers};
use rolling::Rolls;
use turns::Turns;
use watch::Watch;

/// Why an instance is on its way down whose own ending decides nothing any more.
const STARTED_ANEW: [&str; 4] =
    ["is started again once it is gone", "scaled away", "taken out of the config", "its config has changed"];

pub struct Checks {
    /// The family as it is by now; those that were removed keep their place.
    family: Family,
    removed: BTreeSet<WorkerId>,
    /// Those of them that were told to be gone.
    told_gone: BTreeSet<WorkerId>,
    /// Whether nothing had ended the run before the present event.
    was_open: bool,
    /// The same, and the event itself does not.
    is_open: bool,
    tree: Tree,
    turns: Turns,
    rolls: Rolls,
    /// The longest grace there ever was.
    longest_grace: Duration,
    /// What people saw after the last event.
    seen: BTreeMap<InstanceId, Instance>,
    begun_run: bool,
    /// Instances that were ever started.
    begun: BTreeSet<InstanceId>,
    stopping_since: Option<Moment>,
    stop_within: Option<Duration>,
    killing_since: Option<Moment>,
    /// Told to stop, and not told to start since.
    down: BTreeSet<InstanceId>,
    /// Ended for good, and not told to start since.
    finals: BTreeSet<InstanceId>,
    /// Failed for good, with the number of the event that failed them.
    failed: BTreeMap<InstanceId, u64>,
    events: u64,
    latest: BTreeMap<InstanceId, Launch>,
    processes: BTreeMap<Process, Record>,
    /// Whose fate the present event decides by policy, and whether it succeeded.
    judged: Option<(Process, bool)>,
    /// What the present event asks for.
    asked: Option<Request>,
    /// Which workers the present event scales, and to how many.
    scaled: Vec<(WorkerId, u32)>,
    /// Whom the present event may take down by request.
    requested: Vec<InstanceId>,
    restarts: BTreeMap<InstanceId, Vec<Moment>>,
    /// Whose restarts could not all be seen: together with others it is not plain who is charged.
    unseen: BTreeSet<InstanceId>,
    /// How many rests in a row an instance has had; `None`: some of no length, which nobody sees.
    rests: BTreeMap<InstanceId, Option<i32>>,
    /// Who says in the present event that something is wrong with it.
    ailing: Option<Process>,
    /// Essential instances that ended while nothing else had ended the run.
    essential: BTreeSet<InstanceId>,
    /// Something else ended the run at the same moment.
    ended_otherwise: bool,
    retired: BTreeSet<WorkerId>,
    /// Of those that run by the clock.
    clocks: BTreeMap<InstanceId, Clock>,
    concluded: bool,
}

/// What was ordered for, and told of, a process.
#[derive(Default)]
struct Record {
    /// When it was first known to live.
    lives_since: Option<Moment>,
    known_to_have_ended: bool,
    /// It ended without having been told to: how.
    own_ending: Option<Ending>,
    /// When it was asked, and the grace it had then.
    asked_at: Option<(Moment, Duration)>,
    kills_alive: u32,
    kills_dead: u32,
    reclaims: u32,
    judged: bool,
    left: Left,
    watch: Watch,
}

impl Checks {
    pub fn new(family: &Family) -> Checks {
        Checks {
            family: family.clone(),
            removed: BTreeSet::new(),
            told_gone: BTreeSet::new(),
            was_open: true,
            is_open: true,
            tree: Tree::of(family),
            turns: Turns::default(),
            rolls: Rolls::default(),
            longest_grace: family.workers.iter().map(|worker| worker.grace).max().unwrap_or_default(),
            seen: BTreeMap::new(),
            begun_run: false,
            begun: BTreeSet::new(),
            stopping_since: None,
            stop_within: family.stop_within,
            killing_since: None,
            down: BTreeSet::new(),
            finals: BTreeSet::new(),
            failed: BTreeMap::new(),
            events: 0,
            latest: BTreeMap::new(),
            processes: BTreeMap::new(),
            judged: None,
            asked: None,
            scaled: Vec::new(),
            requested: Vec::new(),
            restarts: BTreeMap::new(),
            unseen: BTreeSet::new(),
            rests: BTreeMap::new(),
            ailing: None,
            essential: BTreeSet::new(),
            ended_otherwise: false,
            retired: BTreeSet::new(),
            clocks: BTreeMap::new(),
            concluded: false,
        }
    }

    pub fn workers(&self) -> usize {
        self.family.workers.len()
    }

    /// The family as it is by now, and who of it was removed.
    pub fn present(&self) -> (Family, Vec<WorkerId>) {
        (self.family.clone(), self.removed.iter().copied().collect())
    }

    pub fn has_begun(&self) -> bool {
        self.begun_run
    }

    pub fn taken_back(&mut self, process: Process) {
        self.latest.insert(process.instance, process.launch);
        self.record(process).lives_since = Some(Moment::START);
    }

    fn record(&mut self, process: Process) -> &mut Record {
        self.processes.entry(process).or_default()
    }

    fn spec(&self, id: InstanceId) -> &Worker {
        &self.family.workers[id.worker.0 as usize]
    }

    fn phase(&self, id: InstanceId) -> Option<Phase> {
        self.seen.get(&id).map(|instance| instance.phase)
    }

    fn is_latest(&self, process: Process) -> bool {
        self.latest.get(&process.instance) == Some(&process.launch)
    }

    /// Notes what is about to be told.
    pub fn before(&mut self, core: &Supervisor, now: Moment, event: &Event) {
        self.events += 1;
        self.judged = None;
        self.ailing = match event {
            Event::Ails(process) => Some(*process),
            _ => None,
        };
        self.was_open = self.stopping_since.is_none();
        self.scaled.clear();
        self.requested.clear();
        self.asked = match event {
            Event::Asked(request) => Some(request.clone()),
            _ => None,
        };
        if self.seen.is_empty() {
            self.seen = core.instances().map(|instance| (instance.id, without_leftovers(instance))).collect();
        }
        if self.concluded {
            return;
        }
        self.note_watched(now, event);
        self.note_due(event);
        self.note_leftovers(event);
        match event {
            Event::Begin => self.begun_run = true,
            // Those beyond the family's are on their way out at once.
            Event::TakenBack(process) if !self.begun_run => {
                let worker = process.instance.worker;
                let spec = self.family.workers.get(worker.0 as usize);
                self.scaled.extend(spec.map(|spec| (worker, spec.instances)));
            }
            Event::Launched(process) | Event::Ready(process) if self.is_latest(*process) => {
                self.record(*process).lives_since.get_or_insert(now);
            }
            Event::Ended(process, ending) if self.is_latest(*process) => {
                let phase = self.phase(process.instance);
                let departing = self
                    .seen
                    .get(&process.instance)
                    .is_some_and(|instance| instance.why == "says that it is stopping");
                let reset_after = self.spec(process.instance).backoff.reset_after;
                let born = self.seen.get(&process.instance).and_then(|instance| instance.launched_at);
                let record = self.record(*process);
                record.lives_since.get_or_insert(now);
                let lived = born.map_or(Duration::ZERO, |born| now.since(born));
                let rests_anew = !record.known_to_have_ended && lived >= reset_after;
                let by_itself = departing || matches!(phase, Some(Phase::Starting | Phase::Running));
                if !record.known_to_have_ended && by_itself {
                    record.own_ending = Some(*ending);
                    record.left.by_itself = true;
                }
                record.known_to_have_ended = true;
                if rests_anew {
                    self.rests.remove(&process.instance);
                }
            }
            Event::Reclaimed(process) if self.is_latest(*process) => self.note_reclaimed(*process),
            Event::LaunchFailed(process, _) if self.is_latest(*process) => {
                let starting = self.phase(process.instance) == Some(Phase::Starting);
                let record = self.record(*process);
                if record.lives_since.is_none() && !record.judged && starting {
                    record.judged = true;
                    self.judged = Some((*process, false));
                }
            }
            Event::Shutdown => self.note_stop(now),
            Event::ShutdownNow => {
                self.note_stop(now);
                self.killing_since = self.killing_since.or(Some(now));
            }
            Event::Asked(request) => self.note_request(request, now),
            _ => {}
        }
        self.is_open = self.stopping_since.is_none();
    }

    fn note_stop(&mut self, now: Moment) {
        self.stopping_since = self.stopping_since.or(Some(now));
    }

    fn note_reclaimed(&mut self, process: Process) {
        let why = self.seen.get(&process.instance).map(|instance| instance.why.clone()).unwrap_or_default();
        let success_codes = self.spec(process.instance).success_codes.clone();
        let awaited = self.turns.awaits(process);
        let left_others = self.record(process).left.others_are_a_failure;
        let record = self.record(process);
        if record.reclaims == 0 || record.judged {
            return;
        }
        record.judged = true;
        if STARTED_ANEW.contains(&why.as_str()) || awaited {
            return;
        }
        if watch::is_failure(&why) {
            self.judged = Some((process, false));
        } else if let Some(ending) = record.own_ending {
            let well = matches!(ending, Ending::Code(code) if success_codes.contains(&code));
            let succeeded = well && !left_others;
            self.judged = Some((process, succeeded));
        }
    }

    fn note_request(&mut self, request: &Request, now: Moment) {
        if let Request::Add(worker) = request {
            self.longest_grace = self.longest_grace.max(worker.grace);
            self.family.workers.push((**worker).clone());
            self.tree.add();
        }
        if self.stopping_since.is_some() {
            return;
        }
        self.requested = match request {
            Request::Stop(target) | Request::Restart(target) => self.targets(*target),
            Request::Scale(worker, _) => self.targets(Target::Worker(*worker)),
            Request::Roll(worker) if !self.keeps_up(*worker, None) => self.targets(Target::Worker(*worker)),
            Request::Roll(_) | Request::Start(_) | Request::Add(_) | Request::Change(_) => Vec::new(),
        };
        match request {
            Request::Start(target) | Request::Restart(target) => {
                for id in self.targets(*target) {
                    self.down.remove(&id);
                    self.forgive(id);
                }
            }
            Request::Roll(worker) if self.is_rolling(*worker) => {}
            Request::Roll(worker) => {
                let rolls = self.note_roll(*worker);
                for id in self.targets(Target::Worker(*worker)) {
                    if rolls && matches!(self.phase(id), Some(Phase::Starting | Phase::Running)) {
                        // It is forgiven when it is replaced.
                        continue;
                    }
                    self.down.remove(&id);
                    self.forgive(id);
                }
            }
            Request::Stop(target) => {
                if let Target::Worker(worker) = target {
                    self.break_off(*worker);
                }
                for id in self.targets(*target) {
                    if !matches!(self.phase(id), None | Some(Phase::Done | Phase::Failed | Phase::Stopped)) {
                        self.down.insert(id);
                    }
                }
            }
            Request::Scale(worker, instances) => {
                if !self.removed.contains(worker) {
                    self.break_off(*worker);
                    self.scaled.push((*worker, *instances));
                    self.may_come_back(*worker);
                }
            }
            Request::Change(change) => {
                self.note_change(change, now);
            }
            Request::Add(_) => {}
        }
    }

    /// Who was on its way out may come up again.
    fn may_come_back(&mut self, worker: WorkerId) {
        for id in self.targets(Target::Worker(worker)) {
            let leaves = |instance: &Instance| {
                ["scaled away", "taken out of the config"].contains(&instance.why.as_str())
            };
            if self.seen.get(&id).is_some_and(leaves) {
                // It comes back as a new one.
                self.down.remove(&id);
                self.forgive(id);
            }
        }
    }

    /// What was before does not count any more.
    fn forgive(&mut self, id: InstanceId) {
        self.finals.remove(&id);
        self.restarts.remove(&id);
        self.unseen.remove(&id);
        self.rests.remove(&id);
        self.failed.remove(&id);
        // How it ended is forgiven, whatever comes next.
        if let Some(&launch) = self.latest.get(&id) {
            self.record(Process { instance: id, launch }).own_ending = None;
        }
    }

    fn targets(&self, target: Target) -> Vec<InstanceId> {
        let means = |id: &InstanceId| match target {
            Target::Worker(worker) => id.worker == worker,
            Target::Instance(instance) => *id == instance,
        };
        self.seen.keys().copied().filter(means).collect()
    }
}
