//! What is promised to launches that are watched: when they are probed, when they are taken for ill, and when for hung.

use std::time::Duration;

use supervision::{Change, Event, Instance, Moment, Phase, Process, Purpose, Request, Target};

use super::Checks;

/// What was told of, and asked about, a launch.
#[derive(Default)]
pub struct Watch {
    /// Probes that were ordered and not answered: when each was.
    asked: [Option<Moment>; 2],
    ready_since: Option<Moment>,
    /// Its last sign of life since, and how often it must give one, where it said so itself.
    sign: Option<Moment>,
    every: Option<Duration>,
    /// Health failures in a row that count, and until when they do not.
    failures: u32,
    spared_until: Option<Moment>,
    last_checked: Option<Moment>,
}

/// Whether this is why something is stopped that has failed though it did not end.
pub fn is_failure(why: &str) -> bool {
    ["not ready within", "not ready: ", "no sign of life", "unhealthy", "said that something is wrong"]
        .iter()
        .any(|words| why.starts_with(words))
}

impl Checks {
    /// Notes what is about to be told.
    pub fn note_watched(&mut self, now: Moment, event: &Event) {
        let process = match event {
            Event::Probed(process, ..) | Event::Alive(process) | Event::Beats(process, _) => *process,
            Event::Asked(Request::Change(change)) if self.stopping_since.is_none() => {
                return self.note_watched_anew(now, change);
            }
            Event::Departs(process) => {
                if self.is_latest(*process) && self.is_up_and_not_leaving(*process) {
                    self.record(*process).lives_since.get_or_insert(now);
                    let grace = self.spec(process.instance).grace;
                    self.record(*process).asked_at.get_or_insert((now, grace));
                }
                return;
            }
            Event::NeverReady(process, _) if self.is_latest(*process) => {
                self.record(*process).lives_since.get_or_insert(now);
                return;
            }
            _ => return,
        };
        if !self.is_latest(process) {
            return;
        }
        let running = self.phase(process.instance) == Some(Phase::Running);
        let health = self.spec(process.instance).health;
        let watch = &mut self.record(process).watch;
        match event {
            Event::Probed(_, purpose, answer) => {
                let was_asked = watch.asked[*purpose as usize].take().is_some();
                if *purpose == Purpose::Health && was_asked && running && health.is_some() {
                    let spared = watch.spared_until.is_some_and(|until| now < until);
                    match answer {
                        Ok(()) => (watch.failures, watch.spared_until) = (0, None),
                        Err(_) if spared => {}
                        Err(_) => watch.failures += 1,
                    }
                }
            }
            Event::Alive(_) if running => watch.sign = Some(now),
            Event::Beats(_, every) if running => (watch.sign, watch.every) = (Some(now), Some(*every)),
            _ => {}
        }
    }

    /// Those that are watched in another way from now on begin anew.
    fn note_watched_anew(&mut self, now: Moment, change: &Change) {
        let mut anew = Vec::new();
        for (id, worker, _) in &change.changed {
            let Some(former) = self.family.workers.get(id.0 as usize) else { continue };
            if (former.watchdog, former.health) != (worker.watchdog, worker.health) {
                anew.extend(self.targets(Target::Worker(*id)).into_iter().map(|id| (id, worker.health)));
            }
        }
        for (id, health) in anew {
            if self.phase(id) == Some(Phase::Running)
                && let Some(&launch) = self.latest.get(&id)
            {
                let watch = &mut self.record(Process { instance: id, launch }).watch;
                let asked = watch.asked;
                let last_checked = asked[Purpose::Health as usize];
                *watch = Watch {
                    asked,
                    last_checked,
                    ready_since: Some(now),
                    sign: Some(now),
                    ..Watch::default()
                };
                watch.spared_until = health.map(|health| now + health.start_grace);
            }
        }
    }

    fn is_up_and_not_leaving(&self, process: Process) -> bool {
        matches!(self.phase(process.instance), Some(Phase::Starting | Phase::Running))
    }

    /// How often a launch must give a sign of life; `None`: it need not.
    fn must_give_signs(&self, process: Process) -> Option<Duration> {
        let own = self.processes.get(&process).and_then(|record| record.watch.every);
        own.or(self.spec(process.instance).watchdog).filter(|every| !every.is_zero())
    }

    /// Looks at what people see of one that may be watched.
    pub fn look_at_watched(&mut self, now: Moment, instance: &Instance) {
        let Some(launch) = instance.launch else { return };
        let process = Process { instance: instance.id, launch };
        if instance.phase == Phase::Running {
            let grace = self.spec(instance.id).health.map(|health| now + health.start_grace);
            let watch = &mut self.record(process).watch;
            if watch.ready_since.is_none() {
                (watch.ready_since, watch.sign, watch.spared_until) = (Some(now), Some(now), grace);
            }
            let (sign, failures) = (watch.sign, watch.failures);
            if let (Some(every), Some(sign)) = (self.must_give_signs(process), sign) {
                assert!(now < sign + every, "it gives no sign of life, and runs: {instance:?}");
            }
            if let Some(health) = self.spec(instance.id).health {
                assert!(failures < health.failures, "it is ill, and runs: {instance:?}");
            }
        } else if instance.why.starts_with("unhealthy")
            && instance.phase == Phase::Stopping
            && self.phase(instance.id) == Some(Phase::Running)
        {
            let failures = self.record(process).watch.failures;
            let allowed = self.spec(instance.id).health.map(|health| health.failures);
            assert!(Some(failures) >= allowed, "it is well: {instance:?}, {failures} failures");
        }
    }

    pub fn aborted(&mut self, now: Moment, process: Process) {
        assert!(self.is_latest(process), "an old launch is aborted");
        let every = self.must_give_signs(process);
        let grace = self.spec(process.instance).grace;
        let seen = self.seen.get(&process.instance);
        // What has just been said may be outdone at the same moment by what it is started again for.
        let ails = self.ailing == Some(process) || seen.is_some_and(|seen| seen.why.starts_with("said that"));
        let record = self.record(process);
        assert!(!record.known_to_have_ended && record.kills_alive == 0, "aborted, and not alive");
        assert_eq!(record.asked_at.replace((now, grace)), None, "aborted after it was asked");
        let silent = matches!((every, record.watch.sign), (Some(every), Some(sign)) if sign + every <= now);
        assert!(
            ails || silent,
            "aborted, though it gave signs of life: {:?}",
            self.seen.get(&process.instance)
        );
    }

    pub fn probe(&mut self, now: Moment, process: Process, purpose: Purpose, within: Duration) {
        assert!(self.is_latest(process), "an old launch is probed");
        let spec = self.spec(process.instance).clone();
        let phase = self.phase(process.instance);
        let record = self.record(process);
        assert!(record.lives_since.is_some() && !record.known_to_have_ended, "probed, and not known to live");
        assert!(record.asked_at.is_none() && record.kills_alive == 0, "probed after it was asked to stop");
        assert_eq!(record.watch.asked[purpose as usize].replace(now), None, "a probe overlaps another");
        match purpose {
            Purpose::Readiness => {
                // What the launch began with; its worker may have changed since.
                assert!(within <= Duration::from_secs(8), "a probe for readiness may take {within:?}");
                assert_eq!(phase, Some(Phase::Starting), "it is ready, and asked whether it is");
            }
            Purpose::Health => {
                let health = spec.health.expect("its health is to be probed");
                assert_eq!((phase, within), (Some(Phase::Running), health.timeout));
                let before = record.watch.last_checked.replace(now).or(record.watch.ready_since);
                let since = before.expect("it has been ready");
                assert!(now.since(since) >= health.every, "probed too early");
            }
        }
    }

    /// Whether the run's stop has taken as long as it may.
    pub fn is_overdue(&self, now: Moment) -> bool {
        matches!((self.stopping_since, self.stop_within), (Some(since), Some(within)) if since + within <= now)
    }
}
