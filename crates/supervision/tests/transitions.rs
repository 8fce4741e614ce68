//! Every state of an instance, met by every event: what people then see, and what is ordered. What is not in the table
//! has no effect.

use std::time::Duration;

use supervision::{
    Action, After, Change, Ending, Event, Family, Instance, InstanceId, Launch, LaunchFailure, Manner,
    Milestone, Moment, Process, Readiness, Request, Supervisor, Target, Worker, WorkerId,
};

/// The state, the event, what it becomes, and what is ordered. `worker` comes after `gate`, has a second of grace, two
/// to get ready, and restarts on failure after a rest; the run waits for both.
const TABLE: &str = include_str!("transitions.txt");

const GATE: InstanceId = InstanceId { worker: WorkerId(0), index: 0 };
const WORKER: InstanceId = InstanceId { worker: WorkerId(1), index: 0 };

fn process(instance: InstanceId) -> Process {
    Process { instance, launch: Launch(1) }
}

struct Scene {
    core: Supervisor,
    now: Moment,
}

impl Scene {
    fn new(autostart: bool) -> Scene {
        let gate = Worker { autostart: false, ..Worker::named("gate") };
        let worker = Worker {
            after: vec![After { worker: GATE.worker, milestone: Milestone::Started }],
            readiness: Readiness::Told { timeout: Duration::from_secs(2) },
            grace: Duration::from_secs(1),
            autostart,
            ..Worker::named("worker")
        };
        let mut scene = Scene { core: Supervisor::new(Family::of(vec![gate, worker])), now: Moment::START };
        scene.tell(Event::Begin);
        scene
    }

    /// Hands an event in; says what was ordered, of `worker` only.
    fn tell(&mut self, event: Event) -> Vec<&'static str> {
        self.now = self.now + Duration::from_millis(1);
        if event == Event::Tick
            && let Some(deadline) = self.core.next_deadline()
        {
            self.now = deadline;
        }
        self.core.handle(self.now, event);
        let mut orders = Vec::new();
        while let Some(action) = self.core.poll_action() {
            let (instance, order) = match action {
                Action::Launch(process) => (process.instance, "launch"),
                Action::Ask(process) => (process.instance, "ask"),
                Action::Kill(process) => (process.instance, "kill"),
                Action::Reclaim(process) => (process.instance, "reclaim"),
                Action::Retired(worker) => (InstanceId { worker, index: 0 }, "retired"),
                Action::Unretired(worker) => (InstanceId { worker, index: 0 }, "unretired"),
                Action::Removed(worker) => (InstanceId { worker, index: 0 }, "removed"),
                Action::Changed(_) | Action::GaveUp(..) => continue,
                Action::Conclude(_) => (WORKER, "conclude"),
            };
            if instance == WORKER {
                orders.push(order);
            }
        }
        orders
    }

    fn seen(&self) -> Instance {
        self.core.instance(WORKER, self.now).expect("it is not scaled away")
    }
}

/// The events that lead to each state.
fn ways() -> Vec<(&'static str, Vec<Event>)> {
    let it = process(WORKER);
    let open = [Event::Asked(Request::Start(Target::Instance(GATE))), Event::Launched(process(GATE))];
    let way = |steps: &[Event]| open.iter().chain(steps).cloned().collect::<Vec<_>>();
    let launched = Event::Launched(it);
    let up = [launched.clone(), Event::Ready(it)];
    let stop = Event::Asked(Request::Stop(Target::Instance(WORKER)));
    let ended = |code| Event::Ended(it, Ending::Code(code));
    let gone = |code| [up[0].clone(), up[1].clone(), ended(code), Event::Emptied(it), Event::Reclaimed(it)];
    let mut failed = way(&[]);
    for launch in (1..=6).map(Launch) {
        let it = Process { launch, ..it };
        failed.extend([Event::LaunchFailed(it, LaunchFailure("exec: no such file".into())), Event::Tick]);
    }
    vec![
        ("idle", vec![]),
        ("waiting", vec![]),
        ("launching", way(&[])),
        ("starting", way(&up[..1])),
        ("running", way(&up)),
        ("unborn", way(std::slice::from_ref(&stop))),
        ("doomed", way(&[stop.clone(), Event::ShutdownNow])),
        ("asked", way(&[up[0].clone(), up[1].clone(), stop.clone()])),
        ("unready", way(&[launched.clone(), Event::Tick])),
        ("killed", way(&[up[0].clone(), up[1].clone(), stop.clone(), Event::Tick])),
        ("clearing", way(&[up[0].clone(), up[1].clone(), ended(1)])),
        ("reclaiming", way(&[up[0].clone(), up[1].clone(), ended(1), Event::Emptied(it)])),
        ("resting", way(&gone(1))),
        ("done", way(&gone(0))),
        (
            "stopped",
            way(&[up[0].clone(), up[1].clone(), stop, ended(1), Event::Emptied(it), Event::Reclaimed(it)]),
        ),
        ("failed", failed),
    ]
}

/// The family as it is, but that the worker is not quite the same.
fn changed(manner: Manner) -> Event {
    let scene = Scene::new(true);
    let worker = scene.core.worker(WORKER.worker).expect("it is there").clone();
    let change =
        Change { changed: vec![(WORKER.worker, worker, manner)], order: order(), ..Change::default() };
    Event::Asked(Request::Change(Box::new(change)))
}

fn removal() -> Change {
    Change { removed: vec![WORKER.worker], order: order(), ..Change::default() }
}

fn order() -> Vec<WorkerId> {
    vec![GATE.worker, WORKER.worker]
}

fn events() -> Vec<(&'static str, Event)> {
    let it = process(WORKER);
    let target = Target::Instance(WORKER);
    vec![
        ("begin", Event::Begin),
        ("taken back", Event::TakenBack(it)),
        ("launched", Event::Launched(it)),
        ("launch failed", Event::LaunchFailed(it, LaunchFailure("exec: no such file".into()))),
        ("ready", Event::Ready(it)),
        ("ended well", Event::Ended(it, Ending::Code(0))),
        ("ended badly", Event::Ended(it, Ending::Code(1))),
        ("killed by another", Event::Ended(it, Ending::Signal(9))),
        ("ended unseen", Event::Ended(it, Ending::Unknown)),
        ("emptied", Event::Emptied(it)),
        ("reclaimed", Event::Reclaimed(it)),
        ("deadline", Event::Tick),
        ("start", Event::Asked(Request::Start(target))),
        ("stop", Event::Asked(Request::Stop(target))),
        ("restart", Event::Asked(Request::Restart(target))),
        ("scale away", Event::Asked(Request::Scale(WORKER.worker, 0))),
        ("config changes", changed(Manner::Restart)),
        ("a limit changes", changed(Manner::Keep)),
        ("taken out", Event::Asked(Request::Change(Box::new(removal())))),
        ("gate opens", Event::Launched(process(GATE))),
        ("shutdown", Event::Shutdown),
        ("shutdown now", Event::ShutdownNow),
    ]
}

fn transitions() -> Vec<String> {
    let mut table = Vec::new();
    for (state, way) in ways() {
        for (name, event) in events() {
            let mut scene = Scene::new(state != "idle");
            if name == "gate opens" {
                scene.tell(Event::Asked(Request::Start(Target::Instance(GATE))));
            }
            for step in &way {
                scene.tell(step.clone());
            }
            let before = scene.seen();
            let orders = scene.tell(event);
            let (phase, why) = match scene.core.instance(WORKER, scene.now) {
                Some(after)
                    if (after.phase, &after.why) == (before.phase, &before.why) && orders.is_empty() =>
                {
                    continue;
                }
                Some(after) => (after.phase.to_string(), after.why),
                None => ("(vanished)".into(), String::new()),
            };
            let orders = orders.join(", ");
            table.push(
                format!("{state:<10} | {name:<17} | {phase:<10} | {why:<40} | {orders}")
                    .trim_end()
                    .to_string(),
            );
        }
    }
    table
}

#[test]
fn every_state_meets_every_event_as_the_table_says() {
    let expected: Vec<&str> = TABLE.lines().map(str::trim_end).collect();
    let found = transitions();
    for line in &found {
        assert!(
            expected.contains(&line.as_str()),
            "not in the table:\n{line}\nall that was found:\n{}",
            found.join("\n")
        );
    }
    for line in expected {
        assert!(found.iter().any(|found| found == line), "only in the table:\n{line}");
    }
}
