//! What one event costs the deciding core, with few workers and with many.

use std::time::{Duration, Instant};

use supervision::{
    Action, Backoff, Ending, Event, Family, InstanceId, Intensity, Launch, Moment, Process, Restart,
    Supervisor, Worker, WorkerId,
};

/// Events in a measurement.
const EVENTS: u64 = 200_000;

/// A core with so many running workers, and where it is in time.
struct World {
    core: Supervisor,
    now: u64,
    launches: Vec<u64>,
}

/// Nanoseconds from an event to the last of the actions it brings about, on average over whole restarts (death, tree
/// emptied, holdings given back, executed anew), which go through all of `workers` in turn.
pub fn event_ns(workers: u32) -> f64 {
    let mut world = World::of(workers);
    let restarts = EVENTS / 4;
    // Every worker once before it counts, or as often as it takes to get warm.
    world.restart(u64::from(workers).max(restarts / 10));
    let begun = Instant::now();
    world.restart(restarts);
    begun.elapsed().as_nanos() as f64 / (restarts * 4) as f64
}

impl World {
    fn of(workers: u32) -> World {
        let worker = |id: u32| Worker {
            restart: Restart::Always,
            backoff: Backoff { initial: Duration::ZERO, ..Backoff::default() },
            intensity: Intensity { restarts: 1_000_000, within: Duration::from_micros(1) },
            ..Worker::named(format!("w{id}"))
        };
        let core = Supervisor::new(Family::of((0..workers).map(worker).collect()));
        let mut world = World { core, now: 0, launches: vec![1; workers as usize] };
        world.hear(Event::Begin);
        for id in 0..workers {
            let process = world.process(id);
            world.hear(Event::Launched(process));
        }
        world
    }

    fn process(&self, id: u32) -> Process {
        let instance = InstanceId { worker: WorkerId(id), index: 0 };
        Process { instance, launch: Launch(self.launches[id as usize]) }
    }

    fn hear(&mut self, event: Event) -> Option<Process> {
        self.now += 10_000;
        self.core.handle(Moment::from_nanos(self.now), event);
        let mut launched = None;
        while let Some(action) = self.core.poll_action() {
            if let Action::Launch(process) = action {
                launched = Some(process);
            }
        }
        launched
    }

    fn restart(&mut self, times: u64) {
        let workers = self.launches.len() as u64;
        for turn in 0..times {
            // In strides, as deaths come, and not along the memory.
            let id = (turn * 7919 % workers) as u32;
            let old = self.process(id);
            self.hear(Event::Ended(old, Ending::Code(1)));
            self.hear(Event::Emptied(old));
            let next = self.hear(Event::Reclaimed(old)).or_else(|| self.hear(Event::Tick));
            let next = next.expect("a worker without backoff is launched at once");
            self.launches[id as usize] = next.launch.0;
            self.hear(Event::Launched(next));
        }
    }
}
