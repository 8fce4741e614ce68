//! Families of all kinds.

use std::time::Duration;

use supervision::{
    After, Backoff, CatchUp, Change, Family, Group, GroupId, Health, Intensity, Leftover, Manner, Milestone,
    OnFailed, Overlap, Policy, Readiness, Restart, Schedule, Strategy, Timing, Worker, WorkerId,
};

use crate::random::Random;

/// Any family: every strategy, policy, milestone, limit. Sometimes even with a circle, or with an awaited worker that
/// there is not.
pub fn any(random: &mut Random) -> Family {
    let workers = 1 + random.below(6) as u32;
    Family {
        workers: (0..workers).map(|id| any_worker(random, id, workers)).collect(),
        strategy: any_strategy(random),
        intensity: any_family_intensity(random),
        groups: any_groups(random, workers),
        stop_within: any_limit(random),
        lasts: false,
        seed: random.below(u64::MAX),
    }
}

fn any_limit(random: &mut Random) -> Option<Duration> {
    random.percent(15).then(|| random.millis(0, 8000))
}

fn any_strategy(random: &mut Random) -> Strategy {
    random.pick(&[Strategy::OneForOne, Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne])
}

fn any_family_intensity(random: &mut Random) -> Option<Intensity> {
    match random.below(4) {
        0 => Some(any_intensity(random)),
        1 => Some(Intensity { restarts: 50, within: Duration::from_secs(10) }),
        _ => None,
    }
}

/// Groups that nest; at times a worker or a group is named twice, or a group lies in itself.
fn any_groups(random: &mut Random, workers: u32) -> Vec<Group> {
    let count = random.pick(&[0, 0, 1, 2, 3]);
    let group = |random: &mut Random, id: u32| {
        let share = random.pick(&[30, 50]);
        let inner = if random.percent(5) { 0..count } else { id + 1..count };
        Group {
            name: format!("g{id}"),
            strategy: random.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
            intensity: any_intensity(random),
            workers: (0..workers).filter(|_| random.percent(share)).map(WorkerId).collect(),
            groups: inner.filter(|_| random.percent(50)).map(GroupId).collect(),
        }
    };
    (0..count).map(|id| group(random, id)).collect()
}

/// Any change of a family that is like `present`, of whose workers some were removed.
pub fn any_change(random: &mut Random, present: &Family, removed: &[WorkerId]) -> Change {
    let count = present.workers.len() as u32;
    let mut change = Change {
        stop_within: if random.percent(80) { present.stop_within } else { any_limit(random) },
        strategy: present.strategy,
        intensity: present.intensity,
        groups: present.groups.clone(),
        ..Change::default()
    };
    let added = random.pick(&[0, 0, 1, 2]);
    for id in (0..count).map(WorkerId) {
        let gone = removed.contains(&id);
        match random.below(100) {
            0..25 if !gone => {
                let worker = any_worker(random, id.0, count + added);
                change.changed.push((
                    id,
                    worker,
                    random.pick(&[Manner::Keep, Manner::Restart, Manner::Roll]),
                ));
            }
            0..40 if gone => {
                let worker = any_worker(random, id.0, count + added);
                change.changed.push((id, worker, Manner::Restart));
            }
            25..35 if !gone => change.removed.push(id),
            _ => {}
        }
    }
    if random.percent(2) {
        // Nobody there.
        change.removed.push(WorkerId(count + 77));
    }
    change.added = (0..added).map(|nth| any_worker(random, count + nth, count + added)).collect();
    change.order = (0..count + added).map(WorkerId).filter(|id| !change.removed.contains(id)).collect();
    if random.percent(30) {
        for place in (1..change.order.len()).rev() {
            change.order.swap(place, random.below(place as u64 + 1) as usize);
        }
    }
    if random.percent(30) {
        change.strategy = any_strategy(random);
        change.intensity = any_family_intensity(random);
    }
    if random.percent(40) {
        change.groups = any_groups(random, count + added);
    }
    change
}

/// The worker `id` of `workers`.
pub fn any_worker(random: &mut Random, id: u32, workers: u32) -> Worker {
    Worker {
        instances: random.pick(&[1, 1, 1, 2, 3]),
        policy: random.pick(&[Policy::Wait, Policy::Wait, Policy::Terminate, Policy::Daemon]),
        restart: random.pick(&[Restart::Never, Restart::OnFailure, Restart::OnFailure, Restart::Always]),
        success_codes: random.pick(&[vec![0], vec![0], vec![0, 3], vec![3]]),
        backoff: Backoff {
            initial: random.pick(&[0, 10, 100, 3000].map(Duration::from_millis)),
            factor: random.pick(&[1.0, 2.0, 1.5]),
            max: Duration::from_secs(5),
            jitter: random.pick(&[0.0, 0.1, 1.0]),
            reset_after: random.pick(&[1, 10].map(Duration::from_secs)),
        },
        intensity: any_intensity(random),
        on_failed: random.pick(&[OnFailed::Ignore, OnFailed::Ignore, OnFailed::Ignore, OnFailed::Stop]),
        grace: random.pick(&[0, 50, 1000, 5000].map(Duration::from_millis)),
        asks_tree: random.percent(25),
        leftover: random.pick(&[
            Leftover::Kill,
            Leftover::Kill,
            Leftover::Fail,
            Leftover::Adopt,
            Leftover::Adopt,
        ]),
        after: any_after(random, id, workers),
        readiness: match random.below(4) {
            0 => Readiness::Told { timeout: random.pick(&[0, 100, 3000].map(Duration::from_millis)) },
            1 => Readiness::Probed { timeout: random.pick(&[0, 100, 3000].map(Duration::from_millis)) },
            _ => Readiness::Start,
        },
        watchdog: random.percent(20).then(|| random.millis(300, 3000)),
        health: random.percent(20).then(|| any_health(random)),
        schedule: random.percent(15).then(|| any_schedule(random)),
        start_delay: random.pick(&[0, 0, 0, 0, 0, 200, 3000].map(Duration::from_millis)),
        autostart: random.percent(85),
        essential: random.percent(4),
        ..Worker::named(format!("w{id}"))
    }
}

fn any_schedule(random: &mut Random) -> Schedule {
    Schedule {
        timing: match random.below(2) {
            0 => Timing::Every(random.millis(20, 5000)),
            _ => Timing::Told,
        },
        overlap: random.pick(&[Overlap::Skip, Overlap::Queue, Overlap::Replace]),
        catch_up: random.pick(&[CatchUp::Skip, CatchUp::Once, CatchUp::All]),
    }
}

fn any_health(random: &mut Random) -> Health {
    Health {
        every: random.millis(50, 2000),
        timeout: random.millis(1, 3000),
        failures: 1 + random.below(3) as u32,
        start_grace: random.pick(&[0, 0, 500, 5000].map(Duration::from_millis)),
    }
}

fn any_intensity(random: &mut Random) -> Intensity {
    Intensity {
        restarts: random.pick(&[0, 1, 2, 5, 20]),
        within: random.pick(&[0, 500, 3000, 30_000].map(Duration::from_millis)),
    }
}

fn any_after(random: &mut Random, id: u32, workers: u32) -> Vec<After> {
    let milestones =
        [Milestone::Started, Milestone::Ready, Milestone::Ready, Milestone::Succeeded, Milestone::Ended];
    // Mostly on those before it in the file; a circle is what config refuses, but must not hang us.
    let reach = if random.percent(4) { workers + 1 } else { id };
    let mut after: Vec<After> = Vec::new();
    for _ in 0..random.pick(&[0, 0, 1, 1, 2]) {
        if reach > 0 {
            let on = random.below(u64::from(reach)) as u32;
            // An added worker comes last, and may be told to wait for itself.
            let worker = WorkerId(if on == workers && id < workers { 1000 } else { on });
            after.push(After { worker, milestone: random.pick(&milestones) });
        }
    }
    after
}
