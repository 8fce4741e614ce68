//! The life of one instance: what news of its process does to it, and how it comes up and goes down.

use std::sync::Arc;

use crate::instance::{Fate, Member, Reached, State, Step};
use crate::stopping::Run;
use crate::vigil::Vigil;
use crate::words::{Blame, Cause};
use crate::{
    Action, Ending, InstanceId, LaunchFailure, Leftover, MAX_INSTANCES, OnFailed, Process, Supervisor,
};

impl Supervisor {
    /// Puts `id` on its way up: it waits for what it comes after and is launched when that has come.
    pub(crate) fn begin(&mut self, id: InstanceId) {
        let state = match self.regroup_of(id) {
            Some(culprit) => State::Held(culprit),
            None => State::Waiting,
        };
        self.change(id, |member| member.state = state);
    }

    /// Begins a new life of `id`: what was before is forgiven.
    pub(crate) fn start_anew(&mut self, id: InstanceId) {
        if !self.member(id).state.follows_schedule() {
            self.arm(id);
        }
        self.change(id, |member| {
            member.begin_life();
            // Who asks for it wants it now.
            member.delay_over = true;
        });
        self.begin(id);
    }

    pub(crate) fn launch(&mut self, id: InstanceId) {
        self.change(id, |member| {
            member.restarts = Some(member.restarts.map_or(0, |restarts| restarts + 1));
            member.launch += 1;
            member.launched_at = None;
            member.remark = None;
            member.complaint = None;
            member.state = State::Launching;
        });
        self.order(Action::Launch(self.process(id)));
    }

    pub(crate) fn taken_back(&mut self, process: Process) {
        let id = process.instance;
        let is_ahead = matches!(self.run, Run::Ahead);
        let one_too_many = is_ahead && process.launch.0 > 0 && self.makes_room_for(id);
        let idle = self.known(id).is_some_and(|member| member.state == State::Idle);
        // What it left behind before is of a launch before this one.
        let is_last = self.known(id).is_some_and(|member| member.launch < process.launch.0);
        if !is_ahead || !idle || !is_last {
            return;
        }
        let now = self.now;
        let vigil = Vigil::over(&self.crew(id.worker).spec, now);
        self.change(id, |member| {
            member.launch = process.launch.0;
            member.restarts = Some(0);
            member.launched_at = Some(now);
            member.delay_over = true;
            member.reached = Reached::Ready;
            member.state = State::Running { vigil };
        });
        self.arm(id);
        if one_too_many {
            self.ask(id, Fate::Vanishes);
        }
    }

    /// Enters an instance that is more than the family has, for as long as it lives; says whether it did.
    fn makes_room_for(&mut self, id: InstanceId) -> bool {
        let Some(crew) = self.crews.get_mut(id.worker.0 as usize) else { return false };
        let is_more = (crew.instances..MAX_INSTANCES).contains(&id.index);
        if crew.removed || !is_more {
            return false;
        }
        let now = self.now;
        while crew.members.len() <= id.index as usize {
            crew.members.push(Member { state: State::Absent, ..Member::idle(now) });
        }
        if !matches!(self.member(id).state, State::Absent) {
            return false;
        }
        self.change(id, |member| member.renew(State::Idle, now));
        true
    }

    /// The state of `process`'s instance, if that is its present launch and may still be heard of.
    pub(crate) fn present(&self, process: Process) -> Option<&State> {
        let member = self.known(process.instance)?;
        (member.launch == process.launch.0 && member.state.is_up()).then_some(&member.state)
    }

    /// Whether this is the present launch of its instance and not yet gone: launched, or about to be, and what it held
    /// not yet given back.
    pub fn is_present(&self, process: Process) -> bool {
        self.present(process).is_some()
    }

    pub(crate) fn launched(&mut self, process: Process) {
        let id = process.instance;
        let (now, (state, reached)) = match self.present(process) {
            Some(State::Launching) => (self.now, self.executed(&self.crew(id.worker).spec)),
            Some(State::Leaving { step: Step::Unborn { kill }, .. }) => return self.born_to_leave(id, *kill),
            _ => return,
        };
        self.change(id, |member| {
            member.launched_at = Some(now);
            member.reached = member.reached.max(reached);
            member.state = state;
        });
    }

    /// Its launch was under way when it was told to stop.
    fn born_to_leave(&mut self, id: InstanceId, kill: bool) {
        let now = self.now;
        let next = if kill { Step::Killed } else { self.asked_now(id) };
        self.change(id, |member| {
            member.launched_at = Some(now);
            member.reached = member.reached.max(Reached::Executed);
            if let State::Leaving { step, .. } = &mut member.state {
                *step = next;
            }
        });
        let process = self.process(id);
        self.order(if kill { Action::Kill(process) } else { Action::Ask(process) });
    }

    pub(crate) fn launch_failed(&mut self, process: Process, failure: LaunchFailure) {
        let id = process.instance;
        let fate = match self.present(process) {
            Some(State::Launching) => Fate::Policy(Cause::NotExecuted(failure)),
            Some(State::Leaving { step: Step::Unborn { .. }, fate }) => fate.clone(),
            _ => return,
        };
        self.change(id, |member| member.last = None);
        self.gone(id, fate);
    }

    pub(crate) fn ready(&mut self, process: Process) {
        let id = process.instance;
        if self.present(process) == Some(&State::Launching) {
            // The news of its launch is late; it will be recognised as such.
            self.launched(process);
        }
        match self.present(process) {
            Some(State::Starting { .. }) => {
                let vigil = Vigil::over(&self.crew(id.worker).spec, self.now);
                self.change(id, |member| {
                    member.reached = Reached::Ready;
                    member.state = State::Running { vigil };
                });
            }
            // It was ready before it ended by itself; only the news is late.
            Some(State::Leaving {
                step: Step::Clearing | Step::Reclaiming,
                fate: Fate::Policy(Cause::Ended { .. }) | Fate::PolicyOrStopped(Cause::Ended { .. }),
            }) => self.change(id, |member| member.reached = Reached::Ready),
            _ => {}
        }
    }

    pub(crate) fn ended(&mut self, process: Process, ending: Ending) {
        let id = process.instance;
        if self.present(process) == Some(&State::Launching) {
            self.launched(process);
        }
        let fate = match self.present(process) {
            Some(State::Starting { .. } | State::Running { .. }) => Fate::Policy(self.ending(id, ending)),
            Some(State::Leaving { step: Step::Unborn { .. } | Step::Asked { .. } | Step::Killed, fate }) => {
                match fate {
                    // Now it is known how.
                    Fate::Policy(Cause::Departing) => Fate::Policy(self.ending(id, ending)),
                    Fate::PolicyOrStopped(Cause::Departing) => Fate::PolicyOrStopped(self.ending(id, ending)),
                    fate => fate.clone(),
                }
            }
            _ => return,
        };
        let spec = &self.crew(id.worker).spec;
        // Who was asked to stop, or killed, or failed in another way, leaves nobody.
        let adopts = spec.leftover == Leftover::Adopt
            && matches!(fate, Fate::Policy(Cause::Ended { .. }))
            && !self.leaves_by(process, Step::Killed);
        let step = match self.present(process) {
            Some(State::Leaving { step: Step::Asked { kill_at, .. }, fate: before })
                if spec.asks_tree && !before.is_of_who_departs() =>
            {
                Step::Outlived { kill_at: *kill_at }
            }
            _ if adopts => Step::Adopting,
            _ => Step::Clearing,
        };
        let (now, reset_after) = (self.now, self.crew(id.worker).spec.backoff.reset_after);
        self.change(id, |member| {
            member.last = Some(ending);
            if member.launched_at.is_some_and(|at| now.since(at) >= reset_after) {
                member.rests = 0;
            }
            member.state = State::Leaving { step, fate };
        });
        self.order(match step {
            Step::Outlived { .. } => Action::Await(process),
            Step::Adopting => Action::Adopt(process),
            // Also when it was killed before: what it left behind must be known to be gone, and the news of the first
            // KILL's success may have outrun the news of the end.
            _ => Action::Kill(process),
        });
    }

    fn ending(&self, id: InstanceId, ending: Ending) -> Cause {
        let member = self.member(id);
        Cause::Ended { ending, remark: member.remark, said: member.complaint.clone() }
    }

    pub(crate) fn emptied(&mut self, process: Process) {
        let leaves = |step: &Step| matches!(step, Step::Clearing | Step::Outlived { .. });
        if matches!(self.present(process), Some(State::Leaving { step, .. }) if leaves(step)) {
            self.step(process.instance, Step::Reclaiming);
            self.order(Action::Reclaim(process));
        }
    }

    pub(crate) fn reclaimed(&mut self, process: Process) {
        if self.leaves_by(process, Step::Reclaiming)
            && let State::Leaving { fate, .. } = self.member(process.instance).state.clone()
        {
            self.gone(process.instance, fate);
        }
    }

    fn leaves_by(&self, process: Process, expected: Step) -> bool {
        matches!(self.present(process), Some(State::Leaving { step, .. }) if *step == expected)
    }

    /// Takes an instance that is on its way down one step further.
    pub(crate) fn step(&mut self, id: InstanceId, next: Step) {
        self.change(id, |member| {
            if let State::Leaving { step, .. } = &mut member.state {
                *step = next;
            }
        });
    }

    /// Gives an instance that is on its way down another fate.
    pub(crate) fn destine(&mut self, id: InstanceId, next: Fate) {
        self.change(id, |member| {
            if let State::Leaving { fate, .. } = &mut member.state {
                *fate = next;
            }
        });
    }

    /// Asks an instance to stop that is not yet on its way down.
    pub(crate) fn ask(&mut self, id: InstanceId, fate: Fate) {
        let step = match self.member(id).state {
            State::Launching => Step::Unborn { kill: false },
            State::Starting { .. } | State::Running { .. } => self.asked_now(id),
            _ => return,
        };
        self.change(id, |member| member.state = State::Leaving { step, fate });
        if matches!(step, Step::Asked { .. }) {
            self.order(Action::Ask(self.process(id)));
        }
    }

    /// Kills an instance that still lives. One that is on its way down keeps its fate; another stays down.
    pub(crate) fn kill(&mut self, id: InstanceId, blame: &Blame) {
        let state = match self.member(id).state.clone() {
            State::Launching => {
                State::Leaving { step: Step::Unborn { kill: true }, fate: Fate::Stays(blame.clone()) }
            }
            State::Starting { .. } | State::Running { .. } => {
                State::Leaving { step: Step::Killed, fate: Fate::Stays(blame.clone()) }
            }
            State::Leaving { step: Step::Unborn { .. }, fate } => {
                State::Leaving { step: Step::Unborn { kill: true }, fate }
            }
            State::Leaving { step: Step::Asked { .. }, fate } => State::Leaving { step: Step::Killed, fate },
            State::Leaving { step: Step::Outlived { .. }, fate } => {
                State::Leaving { step: Step::Clearing, fate }
            }
            _ => return,
        };
        let kills = matches!(state, State::Leaving { step: Step::Killed | Step::Clearing, .. });
        self.change(id, |member| member.state = state);
        if kills {
            self.order(Action::Kill(self.process(id)));
        }
    }

    /// Does what is due for `id` at its deadline.
    pub(crate) fn deadline(&mut self, id: InstanceId) {
        self.period_over(id);
        if self.member(id).state.deadline().is_none_or(|at| at > self.now) {
            return;
        }
        match self.member(id).state {
            State::Resting { .. } => self.begin(id),
            State::Delayed { .. } => {
                self.change(id, |member| member.delay_over = true);
                self.begin(id);
            }
            State::Starting { .. } | State::Running { .. } => self.watch_over(self.process(id)),
            State::Leaving { .. } => self.kill(id, &Blame::Nothing),
            _ => {}
        }
    }

    /// Stops an instance of which nothing lives.
    pub(crate) fn stay_down(&mut self, id: InstanceId, blame: Blame) {
        self.change(id, |member| {
            member.reached = Reached::Nothing;
            member.state = State::Stopped(blame);
        });
    }

    /// Fails an instance for good, of which nothing lives.
    pub(crate) fn fail(&mut self, id: InstanceId, blame: Blame, ending: Option<Ending>) {
        let order = self.failed_ever;
        self.failed_ever += 1;
        self.end_if_essential(id, &blame, ending);
        // An exit code of 0 cannot say of a run that it failed.
        let ending = ending.filter(|&ending| ending != Ending::Code(0));
        if self.crew(id.worker).spec.on_failed == OnFailed::Stop {
            self.doom(Blame::Lost(Arc::new((id, blame.clone()))));
        }
        self.change(id, |member| member.state = State::Failed { order, ending, blame });
    }
}
