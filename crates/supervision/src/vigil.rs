//! Watching a launch: the probes that find out whether it is ready, the signs of life it must give, the probes that
//! find out whether it is well.
//!
//! ```text
//!   Starting ─ probe ─► asked ─ well ──────────────────────────► Running
//!                │ ▲      └─ ill ─ a pause that doubles ─┐          │ watchdog: alive ─► until one period later
//!                │ └─────────────────────────────────────┘          │           silent ─► aborted, its policy decides
//!                └─ ready_timeout ─► asked to stop, its policy      │ health:   well ─► the next one, failures forgotten
//!                                                                   │           ill, too often ─► asked, its policy
//! ```
//!
//! A probe never overlaps another of the same launch and purpose: the next one is due only when the last was answered.

use std::time::Duration;

use crate::instance::{Fate, Reached, State, Step};
use crate::words::Cause;
use crate::{Action, InstanceId, Moment, Process, Purpose, Readiness, Supervisor, Worker};

/// The first pause between two probes for readiness; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two probes for readiness.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the first probe for readiness may take; each may take twice as long as the one before.
const FIRST_TRY: Duration = Duration::from_secs(1);
/// How long a probe for readiness may take at most.
const LONGEST_TRY: Duration = Duration::from_secs(8);

/// A launch that has closed the way on which it was to say that it is ready may be about to end: so long it has for
/// that, since then its ending tells more.
pub(crate) const LAST_CHANCE: Duration = Duration::from_secs(1);

/// A stop is put off by no more than this, however often a launch asks for more time.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(600);

/// What comes next of a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Probing {
    /// It is due then.
    At(Moment),
    /// It was ordered then and is not answered yet.
    Asked(Moment),
    /// None: somebody else tells.
    Never,
}

/// How a launch that is not ready yet is doing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) probing: Probing,
    tries: u32,
    /// Why it was not ready when it was last asked; or why it never will be.
    pub(crate) last: Option<Box<str>>,
    /// Nothing can make it ready any more.
    pub(crate) hopeless: bool,
}

/// How a launch that is ready is watched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vigil {
    pub(crate) pulse: Option<Pulse>,
    pub(crate) checkup: Option<Checkup>,
}

/// It must give a sign of life by then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pulse {
    every: Duration,
    by: Moment,
}

/// How well it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkup {
    pub(crate) probing: Probing,
    /// Failures in a row that count.
    pub(crate) failures: u32,
    /// Until then no failure counts; nor does one before the first success that came earlier.
    spared_until: Moment,
    pub(crate) last: Option<Box<str>>,
}

impl Trial {
    fn probed(now: Moment) -> Trial {
        Trial { probing: Probing::At(now), tries: 0, last: None, hopeless: false }
    }
}

impl Vigil {
    /// The watch over a launch that has become ready `now`; `None` where nothing is to be watched.
    pub(crate) fn over(spec: &Worker, now: Moment) -> Option<Box<Vigil>> {
        let pulse = spec.watchdog.map(|every| Pulse { every, by: now + every });
        let checkup = spec.health.map(|health| Checkup {
            probing: Probing::At(now + health.every),
            failures: 0,
            spared_until: now + health.start_grace,
            last: None,
        });
        (pulse.is_some() || checkup.is_some()).then(|| Box::new(Vigil { pulse, checkup }))
    }

    pub(crate) fn deadline(&self) -> Option<Moment> {
        let pulse = self.pulse.map(|pulse| pulse.by);
        let probe = self.checkup.as_ref().and_then(|checkup| checkup.probing.due());
        pulse.into_iter().chain(probe).min()
    }
}

impl Probing {
    pub(crate) fn due(self) -> Option<Moment> {
        match self {
            Probing::At(at) => Some(at),
            Probing::Asked(_) | Probing::Never => None,
        }
    }
}

impl Supervisor {
    /// How `worker` stands right after its command was executed, and how far it has come with that.
    pub(crate) fn executed(&self, spec: &Worker) -> (State, Reached) {
        let now = self.now;
        match spec.readiness {
            Readiness::Start => (State::Running { vigil: Vigil::over(spec, now) }, Reached::Ready),
            Readiness::Told { timeout } => {
                (State::Starting { ready_by: now + timeout, within: timeout, trial: None }, Reached::Executed)
            }
            Readiness::Probed { timeout } => {
                let trial = Some(Box::new(Trial::probed(now)));
                (State::Starting { ready_by: now + timeout, within: timeout, trial }, Reached::Executed)
            }
        }
    }

    /// A probe was answered.
    pub(crate) fn probed(&mut self, process: Process, purpose: Purpose, answer: Result<(), String>) {
        match (purpose, answer) {
            (Purpose::Readiness, Ok(())) => {
                if self.trial_of(process).is_some_and(|trial| matches!(trial.probing, Probing::Asked(_))) {
                    self.ready(process);
                }
            }
            (Purpose::Readiness, Err(why)) => {
                let now = self.now;
                self.on_trial(process, |trial| {
                    if matches!(trial.probing, Probing::Asked(_)) {
                        let pause = FIRST_PAUSE * 2u32.saturating_pow(trial.tries.min(16));
                        trial.tries += 1;
                        trial.probing = Probing::At(now + pause.min(LONGEST_PAUSE));
                        trial.last = Some(why.into());
                    }
                });
            }
            (Purpose::Health, answer) => self.checked(process, answer),
        }
    }

    fn checked(&mut self, process: Process, answer: Result<(), String>) {
        let id = process.instance;
        let (now, Some(health)) = (self.now, self.known(id).and_then(|_| self.crew(id.worker).spec.health))
        else {
            return;
        };
        let mut failed = None;
        self.on_vigil(process, |vigil| {
            let Some(checkup) = &mut vigil.checkup else { return };
            let Probing::Asked(since) = checkup.probing else { return };
            checkup.probing = Probing::At((since + health.every).max(now));
            match answer {
                Ok(()) => {
                    (checkup.failures, checkup.last) = (0, None);
                    checkup.spared_until = now;
                }
                Err(_) if now < checkup.spared_until => {}
                Err(why) => {
                    let why: Box<str> = why.into();
                    checkup.failures += 1;
                    if checkup.failures >= health.failures {
                        failed = Some(Cause::Unhealthy(checkup.failures, why.clone()));
                    }
                    checkup.last = Some(why);
                }
            }
        });
        if let Some(cause) = failed {
            self.ask(id, Fate::Policy(cause));
        }
    }

    /// It gave a sign of life.
    pub(crate) fn alive(&mut self, process: Process) {
        let now = self.now;
        self.on_vigil(process, |vigil| {
            if let Some(pulse) = &mut vigil.pulse {
                pulse.by = now + pulse.every;
            }
        });
    }

    /// It wants to give its signs of life this often from now on; never again, if zero.
    pub(crate) fn beats(&mut self, process: Process, every: Duration) {
        let (id, now) = (process.instance, self.now);
        let pulse = (!every.is_zero()).then(|| Pulse { every, by: now + every });
        if let Some(State::Running { vigil: None }) = self.present(process) {
            let vigil = pulse.map(|pulse| Box::new(Vigil { pulse: Some(pulse), checkup: None }));
            return self.change(id, |member| member.state = State::Running { vigil });
        }
        self.on_vigil(process, |vigil| vigil.pulse = pulse);
    }

    /// It says that something is wrong with it, and wants to be treated as one that gives no sign of life.
    pub(crate) fn ails(&mut self, process: Process) {
        if matches!(self.present(process), Some(State::Starting { .. } | State::Running { .. })) {
            self.abort(process, Cause::Ailing);
        }
    }

    /// It can no longer become ready.
    pub(crate) fn never_ready(&mut self, process: Process, why: String) {
        if self.present(process) == Some(&State::Launching) {
            self.launched(process);
        }
        let last_chance = self.now + LAST_CHANCE;
        if !matches!(self.present(process), Some(State::Starting { .. })) {
            return;
        }
        self.change(process.instance, |member| {
            if let State::Starting { ready_by, trial, .. } = &mut member.state {
                *ready_by = last_chance.min(*ready_by);
                *trial = Some(Box::new(Trial {
                    probing: Probing::Never,
                    tries: 0,
                    last: Some(why.into()),
                    hopeless: true,
                }));
            }
        });
    }

    /// It needs more time: to get ready, or to stop.
    pub(crate) fn needs_time(&mut self, process: Process, more: Duration) {
        let until = self.now + more;
        let puts_off = match self.present(process) {
            Some(State::Starting { trial, .. }) => !trial.as_ref().is_some_and(|trial| trial.hopeless),
            Some(State::Leaving { step: Step::Asked { .. }, .. }) => true,
            _ => false,
        };
        if !puts_off {
            return;
        }
        self.change(process.instance, |member| match &mut member.state {
            State::Starting { ready_by, .. } => *ready_by = until.max(*ready_by),
            State::Leaving { step: Step::Asked { kill_at, latest }, .. } => {
                *kill_at = until.min(*latest).max(*kill_at);
            }
            _ => {}
        });
    }

    /// It says that it is about to end by itself.
    pub(crate) fn departs(&mut self, process: Process) {
        if self.present(process) == Some(&State::Launching) {
            self.launched(process);
        }
        if matches!(self.present(process), Some(State::Starting { .. } | State::Running { .. })) {
            let step = self.asked_now(process.instance);
            let fate = Fate::Policy(Cause::Departing);
            self.change(process.instance, |member| member.state = State::Leaving { step, fate });
        }
    }

    /// It says what went wrong.
    pub(crate) fn complains(&mut self, process: Process, about: String) {
        if self.is_present(process) {
            self.change(process.instance, |member| member.complaint = Some(about.into()));
        }
    }

    /// Does what is due of the watch over `process`: asks whether it is ready or well, or takes it for hung.
    pub(crate) fn watch_over(&mut self, process: Process) {
        let (id, now) = (process.instance, self.now);
        let spec = &self.crew(id.worker).spec;
        let due = |probing: Probing| probing.due().is_some_and(|at| at <= now);
        match &self.member(id).state {
            State::Starting { ready_by, within, trial } if *ready_by <= now => {
                let trial = trial.as_deref();
                let last = trial.and_then(|trial| trial.last.clone());
                let cause = match (trial.is_some_and(|trial| trial.hopeless), last) {
                    (true, Some(why)) => Cause::NeverReady(why),
                    (_, last) => Cause::NotReady(*within, last),
                };
                self.ask(id, Fate::Policy(cause));
            }
            State::Starting { ready_by, trial: Some(trial), .. } if due(trial.probing) => {
                let limit = (FIRST_TRY * 2u32.saturating_pow(trial.tries.min(16))).min(LONGEST_TRY);
                let limit = limit.min(ready_by.since(now));
                self.on_trial(process, |trial| trial.probing = Probing::Asked(now));
                self.outbox.probes.push((process, Purpose::Readiness, limit));
            }
            State::Running { vigil: Some(vigil) } => {
                if let Some(pulse) = vigil.pulse
                    && pulse.by <= now
                {
                    return self.abort(process, Cause::Silent(pulse.every));
                }
                if vigil.checkup.as_ref().is_some_and(|checkup| due(checkup.probing)) {
                    let timeout = spec.health.map_or(Duration::ZERO, |health| health.timeout);
                    self.on_vigil(process, |vigil| {
                        if let Some(checkup) = &mut vigil.checkup {
                            checkup.probing = Probing::Asked(now);
                        }
                    });
                    self.outbox.probes.push((process, Purpose::Health, timeout));
                }
            }
            _ => {}
        }
    }

    /// It is to be watched in another way from now on. A probe that is under way goes on.
    pub(crate) fn watch_anew(&mut self, id: InstanceId) {
        let State::Running { vigil: former } = &self.member(id).state else { return };
        let asked = former.as_ref().and_then(|vigil| match vigil.checkup.as_ref()?.probing {
            Probing::Asked(since) => Some(since),
            Probing::At(_) | Probing::Never => None,
        });
        let mut vigil = Vigil::over(&self.crew(id.worker).spec, self.now);
        if let (Some(since), Some(checkup)) = (asked, vigil.as_mut().and_then(|vigil| vigil.checkup.as_mut()))
        {
            checkup.probing = Probing::Asked(since);
        }
        self.change(id, |member| member.state = State::Running { vigil });
    }

    /// Has one that seems to hang aborted; it is killed when its grace is over.
    fn abort(&mut self, process: Process, cause: Cause) {
        let step = self.asked_now(process.instance);
        let fate = Fate::Policy(cause);
        self.change(process.instance, |member| member.state = State::Leaving { step, fate });
        self.order(Action::Abort(process));
    }

    /// The step of one that begins to stop now.
    pub(crate) fn asked_now(&self, id: InstanceId) -> Step {
        let grace = self.crew(id.worker).spec.grace;
        Step::Asked { kill_at: self.now + grace, latest: self.now + grace.max(LONGEST_GRACE) }
    }

    /// Orders the probes that are due, but for those whose launch was told to stop by the same event.
    pub(crate) fn order_probes(&mut self) {
        for (process, purpose, limit) in std::mem::take(&mut self.outbox.probes) {
            let wanted = match purpose {
                Purpose::Readiness => matches!(self.present(process), Some(State::Starting { .. })),
                Purpose::Health => matches!(self.present(process), Some(State::Running { .. })),
            };
            if wanted {
                self.order(Action::Probe(process, purpose, limit));
            }
        }
    }

    fn trial_of(&self, process: Process) -> Option<&Trial> {
        match self.present(process)? {
            State::Starting { trial, .. } => trial.as_deref(),
            _ => None,
        }
    }

    fn on_trial(&mut self, process: Process, act: impl FnOnce(&mut Trial)) {
        if self.trial_of(process).is_some() {
            self.change(process.instance, |member| {
                if let State::Starting { trial: Some(trial), .. } = &mut member.state {
                    act(trial);
                }
            });
        }
    }

    fn on_vigil(&mut self, process: Process, act: impl FnOnce(&mut Vigil)) {
        if let Some(State::Running { vigil: Some(_) }) = self.present(process) {
            self.change(process.instance, |member| {
                if let State::Running { vigil: Some(vigil) } = &mut member.state {
                    act(vigil);
                }
            });
        }
    }
}
