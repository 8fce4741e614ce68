//! What one event costs, with 10 to 10,000 workers: the rounds of a crash, from the end of a launch to the next launch
//! being ready. Run with `cargo run -p supervision --release --example event_cost`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use supervision::{
    Action, After, Backoff, Ending, Event, Family, InstanceId, Intensity, Launch, Milestone, Moment, Policy,
    Process, Supervisor, Worker, WorkerId,
};

const ROUNDS: u32 = 20_000;
const EVENTS_A_ROUND: u32 = 5;

/// Workers of which every one comes after the first and after the one before it.
fn family(count: u32) -> Family {
    let after = |id: u32| {
        let before = [0, id.saturating_sub(1)].map(WorkerId);
        let before = before.into_iter().filter(move |on| on.0 != id);
        before.map(|worker| After { worker, milestone: Milestone::Ready }).collect()
    };
    let worker = |id| Worker {
        policy: Policy::Terminate,
        intensity: Intensity { restarts: 1000, within: Duration::from_secs(1) },
        backoff: Backoff {
            initial: Duration::from_millis(1),
            reset_after: Duration::ZERO,
            ..Backoff::default()
        },
        after: after(id),
        ..Worker::named(format!("worker-{id}"))
    };
    Family::of((0..count).map(worker).collect())
}

fn tell(core: &mut Supervisor, now: Moment, event: Event) {
    core.handle(now, event);
    while let Some(action) = core.poll_action() {
        black_box(&action);
    }
}

/// Begins the run; says how long that took.
fn begin(core: &mut Supervisor) -> Duration {
    let start = Instant::now();
    let mut open = vec![];
    core.handle(Moment::START, Event::Begin);
    loop {
        while let Some(action) = core.poll_action() {
            if let Action::Launch(process) = action {
                open.push(process);
            }
        }
        let Some(process) = open.pop() else { return start.elapsed() };
        core.handle(Moment::START, Event::Launched(process));
    }
}

fn main() {
    println!("{:>8} {:>14} {:>14} {:>14}", "workers", "begin, a worker", "one event", "shutdown, a worker");
    for count in [10, 100, 1000, 10_000] {
        let mut core = Supervisor::new(family(count));
        let begun = begin(&mut core);
        let mut now = Moment::START;
        let mut launches = vec![1u64; count as usize];
        let start = Instant::now();
        for round in 0..ROUNDS {
            // Far apart in the table, so that nothing is measured that happens to lie in the cache.
            let id = round.wrapping_mul(7919) % count;
            now = now + Duration::from_millis(10);
            let instance = InstanceId { worker: WorkerId(id), index: 0 };
            let process = Process { instance, launch: Launch(launches[id as usize]) };
            for event in
                [Event::Ended(process, Ending::Code(1)), Event::Emptied(process), Event::Reclaimed(process)]
            {
                tell(&mut core, now, event);
            }
            now = core.next_deadline().expect("it rests before its next launch");
            tell(&mut core, now, Event::Tick);
            launches[id as usize] += 1;
            let process = Process { instance, launch: Launch(launches[id as usize]) };
            tell(&mut core, now, Event::Launched(process));
            assert!(core.is_present(process));
        }
        let round = start.elapsed();
        let start = Instant::now();
        tell(&mut core, now, Event::ShutdownNow);
        println!(
            "{count:>8} {:>14.0?} {:>14.0?} {:>14.0?}",
            begun / count,
            round / (ROUNDS * EVENTS_A_ROUND),
            start.elapsed() / count
        );
    }
}
