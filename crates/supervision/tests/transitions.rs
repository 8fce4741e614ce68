//! Every state of an instance, met by every event: what people then see, and what is ordered. What is not in the table
//! has no effect.

use std::slice::from_ref;
use std::time::Duration;

use supervision::{
    Action, After, CatchUp, Change, Ending, Event, Family, Health, Instance, InstanceId, Launch,
    LaunchFailure, Leftover, Manner, Milestone, Moment, Overlap, Process, Purpose, Readiness, Remark,
    Request, Schedule, Strategy, Supervisor, Target, Timing, Worker, WorkerId,
};

/// The state, the event, what it becomes, and what is ordered. `worker` comes after `gate`, has a second of grace, two
/// to get ready, must leave nobody behind, and restarts on failure after a rest; the run waits for both.
const TABLE: &str = include_str!("transitions.txt");

const GATE: InstanceId = InstanceId { worker: WorkerId(0), index: 0 };
const WORKER: InstanceId = InstanceId { worker: WorkerId(1), index: 0 };
/// What `worker` has one more of while it rolls.
const ONE_MORE: InstanceId = InstanceId { worker: WorkerId(1), index: 1 };

fn process(instance: InstanceId) -> Process {
    Process { instance, launch: Launch(1) }
}

struct Scene {
    core: Supervisor,
    now: Moment,
}

impl Scene {
    /// Before the worker was started, where `state` is `idle`. Where its name says so, the worker is watched: it is ready
    /// when a probe says so, must give a sign of life every 10 s, and is asked every second whether it is well; the first
    /// failure counts. Or it runs by the clock: what is due while a run is under way follows it, and what was
    /// missed is left out. Or its start is delayed by a second; or it is restarted together with `gate`; or the run has not
    /// begun; or all of its tree is asked to stop; or what it leaves behind is adopted.
    fn new(state: &str) -> Scene {
        let watched = state.starts_with("watched");
        let clocked = state.starts_with("clock");
        let schedule = Schedule { timing: Timing::Told, overlap: Overlap::Queue, catch_up: CatchUp::Skip };
        let timeout = Duration::from_secs(2);
        let second = Duration::from_secs(1);
        let health = Health { every: second, timeout: second, failures: 1, start_grace: Duration::ZERO };
        let gate = Worker { autostart: false, ..Worker::named("gate") };
        let worker = Worker {
            after: vec![After { worker: GATE.worker, milestone: Milestone::Started }],
            readiness: if watched { Readiness::Probed { timeout } } else { Readiness::Told { timeout } },
            watchdog: watched.then_some(10 * second),
            health: watched.then_some(health),
            schedule: clocked.then_some(schedule),
            start_delay: if state.starts_with("delayed") { second } else { Duration::ZERO },
            leftover: if state.starts_with("adopts") { Leftover::Adopt } else { Leftover::Fail },
            asks_tree: state.starts_with("tree"),
            grace: Duration::from_secs(1),
            autostart: state != "idle",
            ..Worker::named("worker")
        };
        let together = state.starts_with("together");
        let strategy = if together { Strategy::OneForAll } else { Strategy::OneForOne };
        let family = Family { strategy, ..Family::of(vec![gate, worker]) };
        let mut scene = Scene { core: Supervisor::new(family), now: Moment::START };
        if !state.starts_with("ahead") {
            scene.tell(Event::Begin);
        }
        scene
    }

    /// Hands an event in; says what was ordered, of `worker` and its one more only.
    fn tell(&mut self, event: Event) -> Vec<String> {
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
                Action::Probe(process, Purpose::Readiness, _) => (process.instance, "probe readiness"),
                Action::Probe(process, Purpose::Health, _) => (process.instance, "probe health"),
                Action::Abort(process) => (process.instance, "abort"),
                Action::Kill(process) => (process.instance, "kill"),
                Action::Adopt(process) => (process.instance, "adopt"),
                Action::Await(process) => (process.instance, "await"),
                Action::AskLeftovers(process) => (process.instance, "ask leftovers"),
                Action::KillLeftovers(process) => (process.instance, "kill leftovers"),
                Action::Reclaim(process) => (process.instance, "reclaim"),
                Action::Retired(worker) => (InstanceId { worker, index: 0 }, "retired"),
                Action::Unretired(worker) => (InstanceId { worker, index: 0 }, "unretired"),
                Action::Removed(worker) => (InstanceId { worker, index: 0 }, "removed"),
                Action::Rolled(worker, Ok(())) => (InstanceId { worker, index: 0 }, "rolled"),
                Action::Rolled(worker, Err(_)) => (InstanceId { worker, index: 0 }, "not rolled"),
                Action::Changed(_) | Action::GaveUp(..) => continue,
                Action::Conclude(_) => (WORKER, "conclude"),
            };
            match instance {
                WORKER => orders.push(order.to_owned()),
                ONE_MORE => orders.push(format!("{order} the one more")),
                _ => {}
            }
        }
        orders
    }

    fn seen(&self) -> Option<Instance> {
        self.core.instance(WORKER, self.now)
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
    let end_stop = stop.clone();
    let due = Event::Due { worker: WORKER.worker, times: 1, on_time: true };
    let second = Process { launch: Launch(2), ..it };
    let again = [
        Event::Launched(second),
        Event::Ended(second, Ending::Code(0)),
        Event::Emptied(second),
        Event::Reclaimed(second),
    ];
    let refused = Event::Probed(it, Purpose::Readiness, Err("refused".into()));
    let ended = |code| Event::Ended(it, Ending::Code(code));
    let gone = |code| [up[0].clone(), up[1].clone(), ended(code), Event::Emptied(it), Event::Reclaimed(it)];
    let gate = process(GATE);
    let gate_is_gone = [Event::Ended(gate, Ending::Code(1)), Event::Emptied(gate), Event::Reclaimed(gate)];
    let end = [ended(1), Event::Emptied(it), Event::Reclaimed(it)];
    let ask = |request: Request| Event::Asked(request);
    let asked = |request: Request| way(&[up[0].clone(), up[1].clone(), ask(request)]);
    let scaled = asked(Request::Scale(WORKER.worker, 0));
    let gathered = way(&[&up[..], &gate_is_gone[..]].concat());
    let more = process(ONE_MORE);
    let rolling = asked(Request::Roll(WORKER.worker));
    let and = |way: &[Event], steps: &[Event]| [way, steps].concat();
    let one_up = and(&rolling, &[Event::Launched(more)]);
    let its_turn = and(&one_up, &[Event::Ready(more)]);
    let back = and(&its_turn, &[&end[..], &[Event::Launched(second)]].concat());
    let shrinking = and(&back, &[Event::Ready(second)]);
    let last = and(&shrinking, &[Event::Ended(more, Ending::Code(0)), Event::Emptied(more)]);
    let in_vain = and(&one_up, &[Event::Ended(more, Ending::Code(7)), Event::Emptied(more)]);
    let leaving = way(&[up[0].clone(), up[1].clone(), ended(1), Event::Adopted(it, 2)]);
    let left = way(&[up[0].clone(), up[1].clone(), ended(0), Event::Adopted(it, 2), Event::Reclaimed(it)]);
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
        ("unborn", way(from_ref(&stop))),
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
        ("departing", way(&[up[0].clone(), up[1].clone(), Event::Departs(it)])),
        ("hopeless", way(&[launched.clone(), Event::NeverReady(it, "closed".into())])),
        ("clock, not due", way(&[])),
        ("clock, running", way(&[due.clone(), up[0].clone(), up[1].clone()])),
        ("clock, owing", way(&[from_ref(&due), &gone(0)[..3], from_ref(&due), &gone(0)[3..4]].concat())),
        ("clock, between", way(&[&[due], &gone(1)[..], &[Event::Tick], &again[..]].concat())),
        ("watched, asked", way(&up[..1])),
        ("watched, not yet", way(&[launched, refused.clone()])),
        ("watched, up", way(&up)),
        ("watched, probed", way(&[up[0].clone(), up[1].clone(), Event::Tick])),
        ("watched, aborted", way(&[up[0].clone(), up[1].clone(), Event::Ails(it)])),
        ("ahead", vec![]),
        ("delayed", way(&[])),
        ("tree, asked", way(&[up[0].clone(), up[1].clone(), end_stop.clone()])),
        ("tree, outlived", way(&[up[0].clone(), up[1].clone(), end_stop.clone(), ended(1)])),
        ("adopts, counting", way(&[up[0].clone(), up[1].clone(), ended(1)])),
        ("adopts, resting", and(&leaving, &[Event::Reclaimed(it)])),
        (
            "adopts, up again",
            and(
                &leaving,
                &[Event::Reclaimed(it), Event::Tick, Event::Launched(second), Event::Ready(second)],
            ),
        ),
        ("adopts, done", left.clone()),
        ("adopts, leaving", and(&left, from_ref(&end_stop))),
        ("adopts, killing", and(&left, &[end_stop.clone(), Event::Tick])),
        ("adopts, awaited", and(&left, &[end_stop.clone(), ask(Request::Start(Target::Instance(WORKER)))])),
        ("ended, stopping", way(&[up[0].clone(), up[1].clone(), ended(1), end_stop])),
        ("restarting", asked(Request::Restart(Target::Instance(WORKER)))),
        ("changing", [way(&up), vec![changed("", Manner::Restart)]].concat()),
        ("scaling away", scaled.clone()),
        ("scaled away", [scaled, end.to_vec()].concat()),
        ("being taken out", [way(&up), vec![ask(Request::Change(Box::new(removal())))]].concat()),
        ("rolling", rolling),
        ("rolling, one up", one_up),
        ("rolling, asked", its_turn),
        ("rolling, back", back),
        ("rolling, shrinks", shrinking),
        ("rolling, last", last),
        ("rolling, in vain", in_vain),
        ("together, asked", gathered.clone()),
        ("together, held", [gathered, end.to_vec()].concat()),
    ]
}

/// The family as it is, but that the worker is not quite the same.
fn changed(state: &str, manner: Manner) -> Event {
    // One that does not start with the run does by the new config.
    let scene = Scene::new(if state == "idle" { "" } else { state });
    let worker = scene.core.worker(WORKER.worker).expect("it is there").clone();
    let strategy = if state.starts_with("together") { Strategy::OneForAll } else { Strategy::OneForOne };
    let change = Change {
        strategy,
        changed: vec![(WORKER.worker, worker, manner)],
        order: order(),
        ..Change::default()
    };
    Event::Asked(Request::Change(Box::new(change)))
}

/// Takes the worker out; whoever was restarted together is no more.
fn removal() -> Change {
    Change { removed: vec![WORKER.worker], order: order(), ..Change::default() }
}

fn order() -> Vec<WorkerId> {
    vec![GATE.worker, WORKER.worker]
}

fn events(state: &str) -> Vec<(&'static str, Event)> {
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
        ("due", Event::Due { worker: WORKER.worker, times: 2, on_time: true }),
        ("missed", Event::Due { worker: WORKER.worker, times: 2, on_time: false }),
        ("emptied", Event::Emptied(it)),
        ("adopted", Event::Adopted(it, 1)),
        ("none is left", Event::Adopted(it, 0)),
        ("reclaimed", Event::Reclaimed(it)),
        ("never ready", Event::NeverReady(it, "closed".into())),
        ("found ready", Event::Probed(it, Purpose::Readiness, Ok(()))),
        ("found unready", Event::Probed(it, Purpose::Readiness, Err("refused".into()))),
        ("found well", Event::Probed(it, Purpose::Health, Ok(()))),
        ("found ill", Event::Probed(it, Purpose::Health, Err("refused".into()))),
        ("sign of life", Event::Alive(it)),
        ("another beat", Event::Beats(it, Duration::from_secs(1))),
        ("ails", Event::Ails(it)),
        ("needs time", Event::NeedsTime(it, Duration::from_secs(60))),
        ("departs", Event::Departs(it)),
        ("complains", Event::Complains(it, "no disk".into())),
        ("out of memory", Event::Remarked(it, Remark::OutOfMemory)),
        ("dumps core", Event::Remarked(it, Remark::CoreDumped)),
        ("leaves others", Event::Remarked(it, Remark::LeftBehind(2))),
        ("due no times", Event::Due { worker: WORKER.worker, times: 0, on_time: true }),
        ("deadline", Event::Tick),
        ("start", Event::Asked(Request::Start(target))),
        ("stop", Event::Asked(Request::Stop(target))),
        ("restart", Event::Asked(Request::Restart(target))),
        ("scale away", Event::Asked(Request::Scale(WORKER.worker, 0))),
        ("scale to one", Event::Asked(Request::Scale(WORKER.worker, 1))),
        ("another is added", Event::Asked(Request::Add(Box::new(Worker::named("other"))))),
        ("roll", Event::Asked(Request::Roll(WORKER.worker))),
        ("stop all of it", Event::Asked(Request::Stop(Target::Worker(WORKER.worker)))),
        ("config changes", changed(state, Manner::Restart)),
        ("config rolls", changed(state, Manner::Roll)),
        ("a limit changes", changed(state, Manner::Keep)),
        ("taken out", Event::Asked(Request::Change(Box::new(removal())))),
        ("gate opens", Event::Launched(process(GATE))),
        ("next is ready", Event::Ready(Process { launch: Launch(2), ..it })),
        ("one more up", Event::Launched(process(ONE_MORE))),
        (
            "one more fails",
            Event::LaunchFailed(process(ONE_MORE), LaunchFailure("exec: no such file".into())),
        ),
        ("one more ready", Event::Ready(process(ONE_MORE))),
        ("one more ends", Event::Ended(process(ONE_MORE), Ending::Code(7))),
        ("one more emptied", Event::Emptied(process(ONE_MORE))),
        ("one more is gone", Event::Reclaimed(process(ONE_MORE))),
        ("shutdown", Event::Shutdown),
        ("shutdown now", Event::ShutdownNow),
    ]
}

fn transitions() -> Vec<String> {
    let mut table = Vec::new();
    for (state, way) in ways() {
        for (name, event) in events(state) {
            let mut scene = Scene::new(state);
            if name == "gate opens" {
                scene.tell(Event::Asked(Request::Start(Target::Instance(GATE))));
            }
            for step in &way {
                scene.tell(step.clone());
            }
            let (before, deadline) = (scene.seen(), scene.core.next_deadline());
            let mut orders = scene.tell(event);
            let moved = scene.core.next_deadline() != deadline && !name.starts_with("deadline");
            let after = scene.seen();
            let face = |seen: &Option<Instance>| seen.as_ref().map(|seen| (seen.phase, seen.why.clone()));
            let same = face(&after) == face(&before);
            if moved && orders.is_empty() && same {
                orders.push("(the deadline moves)".to_owned());
            }
            let (phase, why) = match after {
                _ if same && orders.is_empty() => continue,
                Some(after) => (after.phase.to_string(), after.why),
                None => ("(vanished)".into(), String::new()),
            };
            let orders = orders.join(", ");
            table.push(
                format!("{state:<16} | {name:<17} | {phase:<10} | {why:<40} | {orders}")
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
