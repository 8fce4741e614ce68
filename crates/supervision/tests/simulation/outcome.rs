//! A plain reading of a config: what becomes of every instance when nobody asks for anything and no news is lost. It
//! knows no time, no order and no events, only endings; the core must come to the same.

use std::collections::BTreeMap;
use std::time::Duration;

use supervision::{
    After, Backoff, Ending, Family, Health, InstanceId, Intensity, Milestone, Phase, Policy, Restart, Worker,
    WorkerId,
};

use crate::random::Random;

/// How the launches of each instance end, one after the other.
pub type Scripts = BTreeMap<InstanceId, Vec<Ending>>;

/// A family whose end can be told from its config: jobs that end as scripted and services that end when told; jobs
/// come after jobs that end, and after services that are ready.
pub fn quiet_family(random: &mut Random) -> (Family, Scripts) {
    let count = 1 + random.below(7) as u32;
    let mut workers: Vec<Worker> = Vec::new();
    let mut scripts = Scripts::new();
    for id in 0..count {
        let service = id > 0 && id + 1 < count && random.percent(30);
        let mut after = Vec::new();
        for _ in 0..random.below(3) {
            if id > 0 {
                let on = random.below(u64::from(id)) as u32;
                let milestones = match workers[on as usize].policy {
                    Policy::Wait => [Milestone::Succeeded, Milestone::Ended],
                    Policy::Terminate | Policy::Daemon => [Milestone::Ready, Milestone::Started],
                };
                after.push(After { worker: WorkerId(on), milestone: random.pick(&milestones) });
            }
        }
        let worker = Worker {
            instances: 1 + random.below(3) as u32,
            policy: if service { random.pick(&[Policy::Terminate, Policy::Daemon]) } else { Policy::Wait },
            restart: random.pick(&[Restart::Never, Restart::OnFailure]),
            success_codes: random.pick(&[vec![0], vec![0, 3]]),
            backoff: Backoff { initial: Duration::from_millis(random.below(50)), ..Backoff::default() },
            intensity: Intensity { restarts: random.below(4) as u32, within: Duration::from_secs(1_000_000) },
            after,
            // All news is quicker than this, and nobody is ill.
            watchdog: random.percent(30).then(|| random.millis(2000, 4000)),
            health: random.percent(30).then(|| Health {
                every: random.millis(100, 1000),
                timeout: random.millis(100, 1000),
                failures: 1,
                start_grace: Duration::ZERO,
            }),
            ..Worker::named(format!("w{id}"))
        };
        for index in 0..worker.instances {
            if !service {
                let endings = [Ending::Code(0), Ending::Code(3), Ending::Code(1), Ending::Signal(11)];
                let script = (0..6).map(|_| random.pick(&endings)).collect();
                scripts.insert(InstanceId { worker: WorkerId(id), index }, script);
            }
        }
        workers.push(worker);
    }
    (Family { seed: random.below(u64::MAX), ..Family::of(workers) }, scripts)
}

/// What becomes of each instance: its last phase and its number of launches.
pub fn outcomes(family: &Family, scripts: &Scripts) -> BTreeMap<InstanceId, (Phase, u64)> {
    let mut outcomes: BTreeMap<InstanceId, (Phase, u64)> = BTreeMap::new();
    for (worker, id) in family.workers.iter().zip((0..).map(WorkerId)) {
        let hopeless = worker.after.iter().any(|after| {
            let failed = |index| outcomes[&InstanceId { worker: after.worker, index }].0 == Phase::Failed;
            let failed = (0..family.workers[after.worker.0 as usize].instances).any(failed);
            failed && after.milestone != Milestone::Ended
        });
        for index in 0..worker.instances {
            let id = InstanceId { worker: id, index };
            let outcome = match scripts.get(&id) {
                _ if hopeless => (Phase::Failed, 0),
                None => (Phase::Stopped, 1),
                Some(script) => follow(worker, script),
            };
            outcomes.insert(id, outcome);
        }
    }
    outcomes
}

fn follow(worker: &Worker, script: &[Ending]) -> (Phase, u64) {
    let most = match worker.restart {
        Restart::Never => 1,
        _ => 1 + worker.intensity.restarts as usize,
    };
    let succeeds =
        |ending: &Ending| matches!(ending, Ending::Code(code) if worker.success_codes.contains(code));
    match script.iter().take(most).position(succeeds) {
        Some(before) => (Phase::Done, before as u64 + 1),
        None => (Phase::Failed, most as u64),
    }
}
