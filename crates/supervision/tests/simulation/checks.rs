//! What must hold after every action. Knows nothing of the inside of the core: only what went in, what came out, what
//! people can see, and what is true of the processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use supervision::{
    Action, Conclusion, Ending, Event, Family, Instance, InstanceId, Intensity, Launch, Milestone, Moment,
    OnFailed, Phase, Policy, Process, Request, Restart, Strategy, Supervisor, Target, Worker, WorkerId,
};

use crate::world::{Body, LATEST_NEWS};

/// Every step of a stop that news or the world takes part in, each as slow as it can be; and late ticks.
const SLOWEST_END: Duration = Duration::from_millis(8 * LATEST_NEWS + 100);

pub struct Checks {
    workers: Vec<Worker>,
    strategy: Strategy,
    family_intensity: Option<Intensity>,
    /// What people saw after the last event.
    seen: BTreeMap<InstanceId, Instance>,
    begun_run: bool,
    /// Instances that were ever started.
    begun: BTreeSet<InstanceId>,
    stopping_since: Option<Moment>,
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
    restarts: BTreeMap<InstanceId, Vec<Moment>>,
    family_restarts: Vec<Moment>,
    retired: BTreeSet<WorkerId>,
    concluded: bool,
}

/// What was ordered for, and told of, a process.
#[derive(Default)]
struct Record {
    known_to_live: bool,
    known_to_have_ended: bool,
    /// It ended without having been told to: how.
    own_ending: Option<Ending>,
    asked_at: Option<Moment>,
    kills_alive: u32,
    kills_dead: u32,
    reclaims: u32,
    judged: bool,
}

impl Checks {
    pub fn new(family: &Family) -> Checks {
        Checks {
            workers: family.workers.clone(),
            strategy: family.strategy,
            family_intensity: family.intensity,
            seen: BTreeMap::new(),
            begun_run: false,
            begun: BTreeSet::new(),
            stopping_since: None,
            killing_since: None,
            down: BTreeSet::new(),
            finals: BTreeSet::new(),
            failed: BTreeMap::new(),
            events: 0,
            latest: BTreeMap::new(),
            processes: BTreeMap::new(),
            judged: None,
            restarts: BTreeMap::new(),
            family_restarts: Vec::new(),
            retired: BTreeSet::new(),
            concluded: false,
        }
    }

    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    pub fn has_begun(&self) -> bool {
        self.begun_run
    }

    pub fn taken_back(&mut self, process: Process) {
        self.latest.insert(process.instance, process.launch);
        self.record(process).known_to_live = true;
    }

    fn record(&mut self, process: Process) -> &mut Record {
        self.processes.entry(process).or_default()
    }

    fn spec(&self, id: InstanceId) -> &Worker {
        &self.workers[id.worker.0 as usize]
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
        if self.seen.is_empty() {
            self.seen = core.instances().map(|instance| (instance.id, instance)).collect();
        }
        if self.concluded {
            return;
        }
        match event {
            Event::Begin => self.begun_run = true,
            Event::Launched(process) | Event::Ready(process) if self.is_latest(*process) => {
                self.record(*process).known_to_live = true;
            }
            Event::Ended(process, ending) if self.is_latest(*process) => {
                let phase = self.phase(process.instance);
                let record = self.record(*process);
                record.known_to_live = true;
                if !record.known_to_have_ended && matches!(phase, Some(Phase::Starting | Phase::Running)) {
                    record.own_ending = Some(*ending);
                }
                record.known_to_have_ended = true;
            }
            Event::Reclaimed(process) if self.is_latest(*process) => self.note_reclaimed(*process),
            Event::LaunchFailed(process, _) if self.is_latest(*process) => {
                let starting = self.phase(process.instance) == Some(Phase::Starting);
                let record = self.record(*process);
                if !record.known_to_live && !record.judged && starting {
                    record.judged = true;
                    self.judged = Some((*process, false));
                }
            }
            Event::Shutdown => self.note_stop(now),
            Event::ShutdownNow => {
                self.note_stop(now);
                self.killing_since = self.killing_since.or(Some(now));
            }
            Event::Asked(request) => self.note_request(request),
            _ => {}
        }
    }

    fn note_stop(&mut self, now: Moment) {
        self.stopping_since = self.stopping_since.or(Some(now));
    }

    fn note_reclaimed(&mut self, process: Process) {
        let why = self.seen.get(&process.instance).map(|instance| instance.why.clone()).unwrap_or_default();
        let success_codes = self.spec(process.instance).success_codes.clone();
        let record = self.record(process);
        if record.reclaims == 0 || record.judged {
            return;
        }
        record.judged = true;
        let again_by_request = why == "is started again once it is gone" || why == "scaled away";
        if again_by_request {
            return;
        }
        if why.starts_with("not ready within") {
            self.judged = Some((process, false));
        } else if let Some(ending) = record.own_ending {
            let succeeded = matches!(ending, Ending::Code(code) if success_codes.contains(&code));
            self.judged = Some((process, succeeded));
        }
    }

    fn note_request(&mut self, request: &Request) {
        if let Request::Add(worker) = request {
            self.workers.push((**worker).clone());
        }
        if self.stopping_since.is_some() {
            return;
        }
        match request {
            Request::Start(target) | Request::Restart(target) => {
                for id in self.targets(*target) {
                    self.down.remove(&id);
                    self.finals.remove(&id);
                    self.restarts.remove(&id);
                    self.failed.remove(&id);
                    // How it ended is forgiven, whatever comes next.
                    if let Some(&launch) = self.latest.get(&id) {
                        self.record(Process { instance: id, launch }).own_ending = None;
                    }
                }
            }
            Request::Stop(target) => {
                for id in self.targets(*target) {
                    if !matches!(self.phase(id), None | Some(Phase::Done | Phase::Failed | Phase::Stopped)) {
                        self.down.insert(id);
                    }
                }
            }
            Request::Scale(worker, _) => {
                for id in self.targets(Target::Worker(*worker)) {
                    if self.seen.get(&id).is_some_and(|instance| instance.why == "scaled away") {
                        self.down.remove(&id);
                    }
                }
            }
            Request::Add(_) => {}
        }
    }

    fn targets(&self, target: Target) -> Vec<InstanceId> {
        let means = |id: &InstanceId| match target {
            Target::Worker(worker) => id.worker == worker,
            Target::Instance(instance) => *id == instance,
        };
        self.seen.keys().copied().filter(means).collect()
    }

    /// Looks at what people see after an event, before the orders are carried out.
    pub fn settled(&mut self, core: &Supervisor, now: Moment, actions: &[Action]) {
        if self.concluded {
            assert_eq!(actions, [], "an action after the last");
            return;
        }
        let seen: BTreeMap<InstanceId, Instance> =
            core.instances().map(|instance| (instance.id, instance)).collect();
        for (&id, instance) in &seen {
            self.look_at(core, now, id, instance, actions);
            self.look_at_waiting(instance, &seen);
        }
        for (&id, instance) in &self.seen {
            if !seen.contains_key(&id) {
                assert!(actions.contains(&Action::Changed(id)), "{instance:?} vanished unnoticed");
                for forgetful in [&mut self.begun, &mut self.down, &mut self.finals] {
                    forgetful.remove(&id);
                }
                self.failed.remove(&id);
                self.restarts.remove(&id);
            }
        }
        let changed = |action: &Action| match action {
            Action::Changed(id) => Some(*id),
            _ => None,
        };
        let changed: Vec<InstanceId> = actions.iter().filter_map(changed).collect();
        assert_eq!(changed.iter().collect::<BTreeSet<_>>().len(), changed.len(), "changed twice");
        self.look_at_retired(&seen, actions);
        self.seen = seen;
        if self.begun_run && self.work_is_done() {
            self.note_stop(now);
        }
        self.judge_restart(now);

        let deadline = core.next_deadline();
        assert!(deadline.is_none_or(|at| at > now), "a deadline in the past: {deadline:?}, now {now:?}");
        self.stop_in_time(now);
    }

    fn look_at(
        &mut self,
        core: &Supervisor,
        now: Moment,
        id: InstanceId,
        instance: &Instance,
        actions: &[Action],
    ) {
        let fresh = (Phase::Stopped, "not started");
        let before = self.seen.get(&id);
        let differs = match before {
            Some(before) => {
                (before.phase, before.launch) != (instance.phase, instance.launch)
                    || before.why != instance.why && unnumbered(&before.why) != unnumbered(&instance.why)
            }
            None => fresh != (instance.phase, instance.why.as_str()),
        };
        let changed = actions.contains(&Action::Changed(id));
        assert_eq!(changed, differs, "changed from {before:?} to {instance:?}");

        let silent = matches!(instance.phase, Phase::Starting | Phase::Running | Phase::Waiting);
        assert!(silent || !instance.why.is_empty(), "no reason for {instance:?}");
        assert_eq!(instance.next_launch_in.is_some(), instance.phase == Phase::Backoff, "{instance:?}");
        let up = matches!(instance.phase, Phase::Starting | Phase::Running | Phase::Stopping);
        assert!(up || instance.launched_at.is_none(), "{instance:?}");
        if let Some(launch) = instance.launch
            && self.is_latest(Process { instance: id, launch })
        {
            assert_eq!(core.is_present(Process { instance: id, launch }), up, "{instance:?}");
        }

        if instance.phase != Phase::Stopped {
            self.begun.insert(id);
        }
        let wants_up =
            matches!(instance.phase, Phase::Backoff | Phase::Waiting | Phase::Starting | Phase::Running);
        assert!(!wants_up || !self.down.contains(&id), "stopped by request, and {instance:?}");
        assert!(!wants_up || !self.finals.contains(&id), "ended for good, and {instance:?}");
        if matches!(instance.phase, Phase::Done | Phase::Failed) {
            self.finals.insert(id);
        }
        if instance.phase != Phase::Failed {
            self.failed.remove(&id);
        } else if !self.failed.contains_key(&id) {
            self.failed.insert(id, self.events);
            if self.spec(id).on_failed == OnFailed::Stop || instance.why.contains("of the family") {
                self.note_stop(now);
            }
        }
    }

    /// Nobody waits for what has come, or for what cannot come.
    fn look_at_waiting(&self, instance: &Instance, seen: &BTreeMap<InstanceId, Instance>) {
        if instance.phase != Phase::Waiting {
            return;
        }
        let Some((worker, milestone)) = instance.waits_for else {
            return assert!(instance.why.contains("together with"), "waits for nothing: {instance:?}");
        };
        let phases: Vec<Phase> = seen.values().filter(|i| i.id.worker == worker).map(|i| i.phase).collect();
        let all = |wanted: &[Phase]| !phases.is_empty() && phases.iter().all(|phase| wanted.contains(phase));
        let failed = phases.contains(&Phase::Failed);
        let (come, never) = match milestone {
            Milestone::Started => (false, false),
            Milestone::Ready => (all(&[Phase::Running]), failed),
            Milestone::Succeeded => (all(&[Phase::Done]), failed),
            Milestone::Ended => (all(&[Phase::Done, Phase::Failed]), false),
        };
        assert!(!come, "waits for what has come: {instance:?}");
        assert!(!never, "waits for what cannot come: {instance:?}");
    }

    fn look_at_retired(&mut self, seen: &BTreeMap<InstanceId, Instance>, actions: &[Action]) {
        for worker in (0..self.workers.len() as u32).map(WorkerId) {
            let mut phases = seen.values().filter(|i| i.id.worker == worker).map(|i| i.phase).peekable();
            let was = self.retired.contains(&worker);
            // Who is scaled down to nothing stays what it was.
            let retired = match phases.peek() {
                Some(_) => phases.all(|phase| matches!(phase, Phase::Done | Phase::Failed)),
                None => was,
            };
            assert_eq!(actions.contains(&Action::Retired(worker)), retired && !was, "{worker:?} retired");
            assert_eq!(actions.contains(&Action::Unretired(worker)), !retired && was, "{worker:?} unretired");
            if retired {
                self.retired.insert(worker);
            } else {
                self.retired.remove(&worker);
            }
        }
    }

    /// Holds what became of one that ended by itself against its policy, its limits and those of its family.
    fn judge_restart(&mut self, now: Moment) {
        let Some((process, succeeded)) = self.judged else { return };
        let id = process.instance;
        let Some(instance) = self.seen.get(&id) else { return };
        let spec = self.spec(id).clone();
        let again = match spec.restart {
            Restart::Never => false,
            Restart::OnFailure => !succeeded,
            Restart::Always => true,
        };
        if !again {
            let expected = if succeeded { Phase::Done } else { Phase::Failed };
            return assert_eq!(instance.phase, expected, "ended for good: {instance:?}");
        }
        let allowed = spec.intensity;
        let at_one = self.strategy == Strategy::OneForOne;
        let restarts = self.restarts.entry(id).or_default();
        restarts.retain(|&at| at + allowed.within > now);
        match instance.phase {
            Phase::Backoff | Phase::Waiting | Phase::Starting if at_one => {
                restarts.push(now);
                assert!(restarts.len() <= allowed.restarts as usize, "too many restarts: {instance:?}");
                if let Some(allowed) = self.family_intensity {
                    self.family_restarts.retain(|&at| at + allowed.within > now);
                    self.family_restarts.push(now);
                    assert!(
                        self.family_restarts.len() <= allowed.restarts as usize,
                        "too many of the family"
                    );
                }
            }
            Phase::Backoff => {
                // Under the other strategies only the one to blame rests; each such rest is a restart of the family.
                let allowed = self.family_intensity.unwrap_or_default();
                self.family_restarts.retain(|&at| at + allowed.within > now);
                self.family_restarts.push(now);
                assert!(self.family_restarts.len() <= allowed.restarts as usize, "too many of the family");
            }
            Phase::Waiting | Phase::Starting => {}
            Phase::Failed if instance.why.contains("of the family") => {}
            Phase::Failed if instance.why.contains("; last:") && !instance.why.contains(" failed: ") => {
                assert!(
                    !at_one || restarts.len() == allowed.restarts as usize,
                    "given up too early: {instance:?}"
                );
            }
            // It was to be started again, but what it comes after can no longer come.
            Phase::Failed => assert!(!spec.after.is_empty(), "{instance:?}"),
            Phase::Stopped => {
                assert!(self.stopping_since.is_some() || self.down.contains(&id), "{instance:?}");
            }
            _ => panic!("to be started again, and {instance:?}"),
        }
    }

    fn work_is_done(&self) -> bool {
        let mut waited = self.begun.iter().filter(|id| self.spec(**id).policy == Policy::Wait).peekable();
        waited.peek().is_some()
            && waited.all(|id| matches!(self.phase(*id), Some(Phase::Done | Phase::Failed)))
    }

    /// A stop ends in bounded time: level after level, each as slow as it can be.
    fn stop_in_time(&self, now: Moment) {
        let up = self
            .seen
            .values()
            .filter(|i| matches!(i.phase, Phase::Starting | Phase::Running | Phase::Stopping));
        let up: Vec<_> = up.map(|instance| instance.id).collect();
        if let Some(since) = self.stopping_since {
            let grace = self.workers.iter().map(|worker| worker.grace).max().unwrap_or_default();
            let bound = (grace + SLOWEST_END) * (1 + self.workers.len() as u32);
            assert!(now.since(since) <= bound, "told to stop at {since:?}, up at {now:?}: {up:?}");
        }
        if let Some(since) = self.killing_since {
            assert!(now.since(since) <= SLOWEST_END, "told to kill at {since:?}, up at {now:?}: {up:?}");
        }
    }

    /// Nothing is under way in the world, and no deadline will come.
    pub fn nothing_hangs(&self, _: &Supervisor, _: Moment) {
        assert!(self.stopping_since.is_none(), "the stop hangs");
        assert!(!self.begun_run || !self.work_is_done(), "the work is done, and nothing follows");
        for instance in self.seen.values() {
            let moving = matches!(instance.phase, Phase::Starting | Phase::Stopping | Phase::Backoff);
            let held = instance.phase == Phase::Waiting && instance.waits_for.is_none();
            assert!(!moving && !held, "it hangs: {instance:?}");
        }
    }

    /// Looks at one action, before it is carried out.
    pub fn action(
        &mut self,
        core: &Supervisor,
        now: Moment,
        bodies: &BTreeMap<Process, Body>,
        action: &Action,
    ) {
        assert!(!self.concluded, "an action after the last");
        match action {
            Action::Launch(process) => self.launch(*process, bodies),
            Action::Ask(process) => self.ask(core, now, *process),
            Action::Kill(process) => self.kill(core, now, *process),
            Action::Reclaim(process) => {
                let body = &bodies[process];
                assert!(!body.leader && !body.tree, "reclaimed from the living");
                let record = self.record(*process);
                record.reclaims += 1;
                assert_eq!(record.reclaims, 1, "reclaimed twice");
            }
            Action::Conclude(conclusion) => self.conclude(conclusion, bodies),
            Action::Changed(_) | Action::Retired(_) | Action::Unretired(_) => {}
        }
    }

    fn launch(&mut self, process: Process, bodies: &BTreeMap<Process, Body>) {
        let id = process.instance;
        assert!(self.stopping_since.is_none(), "launched after the run was told to stop");
        let last = self.latest.insert(id, process.launch).map_or(0, |launch| launch.0);
        assert_eq!(process.launch.0, last + 1, "launches are numbered in order");
        for (old, body) in bodies.iter().filter(|(old, _)| old.instance == id) {
            assert!(!body.leader && !body.tree, "{old:?} still lives");
            assert!(!body.holds, "what {old:?} held was not given back");
        }
        assert_eq!(self.phase(id), Some(Phase::Starting));
        for after in &self.spec(id).after {
            let awaited: Vec<_> = self.seen.values().filter(|i| i.id.worker == after.worker).collect();
            let reached = |instance: &&Instance| match after.milestone {
                Milestone::Started => {
                    self.processes.iter().any(|(p, record)| p.instance == instance.id && record.known_to_live)
                }
                Milestone::Ready => matches!(instance.phase, Phase::Running | Phase::Done),
                Milestone::Succeeded => instance.phase == Phase::Done,
                Milestone::Ended => matches!(instance.phase, Phase::Done | Phase::Failed),
            };
            assert!(
                !awaited.is_empty() && awaited.iter().all(reached),
                "too early: {after:?} of {awaited:?}"
            );
        }
    }

    fn ask(&mut self, core: &Supervisor, now: Moment, process: Process) {
        assert!(self.is_latest(process), "an old launch is asked");
        let record = self.record(process);
        assert!(record.known_to_live && !record.known_to_have_ended, "asked, and not known to live");
        assert_eq!(record.kills_alive, 0, "asked after it was killed");
        assert_eq!(record.asked_at.replace(now), None, "asked twice");
        self.dependants_are_gone(core, now, process.instance);
    }

    fn kill(&mut self, core: &Supervisor, now: Moment, process: Process) {
        assert!(self.is_latest(process), "an old launch is killed");
        let (grace, daemon) =
            (self.spec(process.instance).grace, self.spec(process.instance).policy == Policy::Daemon);
        let (stopping, killing) = (self.stopping_since.is_some(), self.killing_since.is_some());
        let record = self.record(process);
        if record.known_to_have_ended {
            record.kills_dead += 1;
            return assert_eq!(record.kills_dead, 1, "its leftovers are killed twice");
        }
        record.kills_alive += 1;
        assert_eq!(record.kills_alive, 1, "killed twice");
        assert!(record.known_to_live, "killed, and not known to live");
        let graced = record.asked_at.is_some_and(|asked| now >= asked + grace);
        let at_once = killing || (daemon && stopping);
        assert!(graced || at_once, "killed before its grace was over");
        if !graced && !killing {
            self.dependants_are_gone(core, now, process.instance);
        }
    }

    /// When the run or the family is stopped, dependants go before what they depend on.
    fn dependants_are_gone(&self, core: &Supervisor, now: Moment, id: InstanceId) {
        let Some(instance) = core.instance(id, now) else { return };
        let by_itself = instance.why == "stopped by request"
            || instance.why == "is started again once it is gone"
            || instance.why == "scaled away"
            || instance.why.starts_with("not ready within");
        // What was told to stop while its launch was under way is asked when that is known.
        let told_before = instance.launched_at == Some(now);
        let own = self.worker_after(id.worker, id.worker) || self.waits_for_a_circle(id.worker);
        if by_itself || told_before || own {
            return;
        }
        let whole_run = self.stopping_since.is_some();
        for other in self.seen.values() {
            let concerned = whole_run || other.id > id;
            let up = matches!(other.phase, Phase::Starting | Phase::Running | Phase::Stopping);
            let depends = self.worker_after(other.id.worker, id.worker);
            assert!(!(concerned && up && depends), "{other:?} depends on {instance:?} and is still up");
        }
    }

    /// Whether `worker` comes after `on`, directly or not.
    fn worker_after(&self, worker: WorkerId, on: WorkerId) -> bool {
        self.all_awaited(worker).contains(&on)
    }

    fn waits_for_a_circle(&self, worker: WorkerId) -> bool {
        self.all_awaited(worker).into_iter().any(|on| self.worker_after(on, on))
    }

    fn all_awaited(&self, worker: WorkerId) -> BTreeSet<WorkerId> {
        let mut found = BTreeSet::new();
        let mut open = vec![worker];
        while let Some(worker) = open.pop() {
            for after in self.workers.get(worker.0 as usize).map_or(&[][..], |worker| &worker.after) {
                if found.insert(after.worker) {
                    open.push(after.worker);
                }
            }
        }
        found
    }

    fn conclude(&mut self, conclusion: &Conclusion, bodies: &BTreeMap<Process, Body>) {
        self.concluded = true;
        assert!(self.stopping_since.is_some(), "concluded without a reason");
        for (process, body) in bodies {
            assert!(!body.leader && !body.tree && !body.holds, "concluded while {process:?} is not gone");
        }
        let first = self.failed.values().min();
        match conclusion {
            Conclusion::Succeeded => assert_eq!(first, None, "succeeded, though {:?} failed", self.failed),
            Conclusion::Failed { instance, ending } => {
                assert_eq!(self.failed.get(instance), first, "not the first that failed");
                assert_ne!(*ending, Some(Ending::Code(0)));
                assert!(ending.is_none() || *ending == self.seen[instance].last, "{ending:?}");
            }
        }
    }
}

/// Once a worker is scaled up, `db` is called `db:0`: that is no change.
fn unnumbered(why: &str) -> String {
    why.replace(":0", "")
}
