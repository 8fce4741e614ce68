//! What people, programs and confused news do to a run.

use supervision::{
    Ending, Event, InstanceId, Launch, LaunchFailure, Manner, Phase, Process, Remark, Request, Target,
    WorkerId,
};

use super::{Body, Happening, Line, World};
use crate::families::{a_little_change, any_change, any_worker};

impl World {
    /// Some processes of a former run still live.
    pub(super) fn take_back(&mut self) {
        for instance in self.core.instances().collect::<Vec<_>>() {
            for _ in 0..self.random.pick(&[0, 0, 0, 0, 0, 0, 1, 2]) {
                self.find_leftovers(instance.id);
            }
            if self.random.percent(5) {
                self.take_one_back(instance.id);
            }
        }
        // The former run may have had more of some.
        let workers = self.checks.present().0.workers;
        for (worker, spec) in (0..).map(WorkerId).zip(&workers) {
            while self.random.percent(5) {
                let index = spec.instances + self.random.below(3) as u32;
                self.take_one_back(InstanceId { worker, index });
            }
        }
    }

    fn take_one_back(&mut self, instance: InstanceId) {
        let process = Process { instance, launch: Launch(1 + self.random.below(5)) };
        let taken = match self.core.instance(instance, self.now) {
            Some(now) => {
                now.phase == Phase::Stopped && now.launch.is_none_or(|launch| launch < process.launch)
            }
            None => true,
        };
        if taken {
            // It lives before the core is told, which may have it asked to stop at once.
            let conduct = self.conduct(process);
            self.come_alive(process, conduct);
            self.checks.taken_back(process);
        }
        let was_there = self.core.is_present(process);
        self.tell(Event::TakenBack(process));
        assert_eq!(self.core.is_present(process), taken || was_there, "{process:?} is taken back or not");
    }

    /// What a launch of a former run left behind still lives; where the run does not want it, we end it.
    fn find_leftovers(&mut self, instance: InstanceId) {
        let process = Process { instance, launch: Launch(self.random.below(5)) };
        let count = self.random.below(3) as u32;
        if self.bodies.contains_key(&process) {
            return;
        }
        // Not to be told again: that would be untrue if they are not wanted.
        self.hand_in(Event::Adopted(process, count));
        if self.core.has_left(process) {
            let conduct = self.conduct(process);
            self.checks.left_before(process);
            let (leader, tree, adopted, holds) = (false, true, true, false);
            let body = Body { leader, tree, adopted, holds, conduct, born: self.now };
            self.bodies.insert(process, body);
            self.let_leftovers_live(process);
        }
    }

    /// The leader has ended: what it left behind lives on.
    pub(super) fn adopt(&mut self, process: Process) {
        let Some(body) = self.bodies.get_mut(&process) else { return };
        body.adopted = body.tree;
        let count = if body.tree { 1 + self.random.below(3) as u32 } else { 0 };
        self.report(Event::Adopted(process, count));
        if count > 0 {
            self.let_leftovers_live(process);
        }
    }

    fn let_leftovers_live(&mut self, process: Process) {
        if let Some(after) = self.bodies.get(&process).and_then(|body| body.conduct.left_lives) {
            self.plan(after, Happening::LeftoversEnd(process));
        }
    }

    /// All that a launch left behind and that lives on ends, at times one after the other.
    pub(super) fn end_leftovers(&mut self, process: Process) {
        let Some(body) = self.bodies.get_mut(&process).filter(|body| body.adopted && body.tree) else {
            return;
        };
        body.tree = false;
        if self.random.percent(30) {
            self.report(Event::Adopted(process, 1));
        }
        self.report(Event::Adopted(process, 0));
    }

    pub(super) fn deed(&mut self) {
        match self.random.below(24) {
            0 => self.tell(Event::Shutdown),
            1 => self.tell(Event::ShutdownNow),
            2 => self.tell(Event::Begin),
            7..10 => {
                // The clock says so; it may have been set, or have stood still.
                let worker = WorkerId(self.random.below(self.checks.workers() as u64 + 1) as u32);
                let times = self.random.pick(&[0, 1, 1, 1, 2, 5, 1000, u32::MAX]);
                let on_time = self.random.percent(70);
                self.tell(Event::Due { worker, times, on_time });
            }
            3..7 => {
                // Somebody else kills a process.
                let alive: Vec<Process> =
                    self.bodies.iter().filter(|(_, body)| body.leader).map(|(&process, _)| process).collect();
                if !alive.is_empty() {
                    let victim = self.random.pick(&alive);
                    self.die(victim, Ending::Signal(9));
                }
            }
            _ => {
                let request = self.any_request();
                let rolls: Vec<WorkerId> = match &request {
                    Request::Roll(worker) => vec![*worker],
                    Request::Change(change) => {
                        let rolling = change.changed.iter().filter(|(.., manner)| *manner == Manner::Roll);
                        rolling.map(|(id, ..)| *id).collect()
                    }
                    _ => Vec::new(),
                };
                self.tell(Event::Asked(request));
                for worker in rolls {
                    for _ in 0..self.random.below(3) {
                        let longest = self.random.pick(&[100, 1000, 4000]);
                        let after = self.random.millis(0, longest);
                        self.plan(after, Happening::Meddles(worker));
                    }
                }
            }
        }
    }

    /// Somebody changes a worker that rolls: a little, and nothing else.
    pub(super) fn meddle(&mut self, worker: WorkerId) {
        let (present, removed) = self.checks.present();
        if removed.contains(&worker) || !self.core.is_rolling(worker) {
            return;
        }
        let change = a_little_change(&mut self.random, &present, worker);
        self.tell(Event::Asked(Request::Change(Box::new(change))));
    }

    pub(super) fn any_request(&mut self) -> Request {
        let workers = self.checks.workers() as u64;
        // One too many, at times.
        let worker = WorkerId(self.random.below(workers + 1) as u32);
        let target = match self.random.below(2) {
            0 => Target::Worker(worker),
            _ => Target::Instance(InstanceId { worker, index: self.random.below(3) as u32 }),
        };
        match self.random.below(18) {
            0..4 => Request::Start(target),
            4..8 => Request::Stop(target),
            8..11 => Request::Restart(target),
            11..13 => Request::Scale(worker, self.random.below(5) as u32),
            13..15 => Request::Roll(worker),
            15..17 => {
                let (present, removed) = self.checks.present();
                Request::Change(Box::new(any_change(&mut self.random, &present, &removed)))
            }
            _ => Request::Add(Box::new(any_worker(&mut self.random, workers as u32, workers as u32))),
        }
    }

    /// Old news told again, and news that cannot be true.
    pub(super) fn tell_nonsense(&mut self) {
        if self.random.percent(60) && !self.told.is_empty() {
            let old = self.random.pick(&self.told);
            return self.hand_in(old);
        }
        let processes: Vec<Process> = self.bodies.keys().copied().collect();
        if processes.is_empty() {
            return;
        }
        let process = self.random.pick(&processes);
        let phase = self.core.instance(process.instance, self.now).map(|instance| instance.phase);
        let present = self.core.is_present(process);
        let alive = self.bodies.get(&process).is_some_and(|body| body.leader);
        let unborn = Process { launch: Launch(process.launch.0 + 1), ..process };
        let nobody = InstanceId { worker: WorkerId(99), index: 7 };
        let nonsense = match self.random.below(9) {
            0 if alive => Event::Emptied(process),
            1 if phase == Some(Phase::Running) && present => Event::Reclaimed(process),
            2 if phase == Some(Phase::Running) && present => {
                Event::LaunchFailed(process, LaunchFailure("no".into()))
            }
            3 if !self.bodies.contains_key(&unborn) => Event::Ended(unborn, Ending::Code(0)),
            4 => Event::Ready(Process { instance: nobody, launch: Launch(1) }),
            // Whenever it comes, it changes no decision about who is started, stopped or killed.
            5 => Event::Remarked(process, Remark::OutOfMemory),
            6 => Event::Remarked(process, Remark::LeftBehind(2)),
            // Nobody has asked for it, so that it has no effect.
            7 if alive => Event::Adopted(process, 2),
            _ => Event::TakenBack(unborn),
        };
        self.note(Line::Nonsense);
        // Nonsense before the beginning may be taken for sense.
        if self.checks.has_begun() || !matches!(nonsense, Event::TakenBack(_)) {
            self.hand_in(nonsense);
        }
    }
}
