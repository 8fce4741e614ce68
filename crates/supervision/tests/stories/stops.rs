//! The end of a run: why it comes, in which order, and what is said of it.

use std::time::Duration;

use supervision::{
    After, Conclusion, Ending, Event, Family, Milestone, OnFailed, Phase, Policy, Request, Restart, Worker,
    WorkerId,
};

use crate::world::{Trait, World, worker};

fn after(name: &str, on: u32) -> Worker {
    Worker { after: vec![After { worker: WorkerId(on), milestone: Milestone::Ready }], ..worker(name) }
}

fn with(policy: Policy, worker: Worker) -> Worker {
    Worker { policy, ..worker }
}

#[test]
fn a_worker_that_ignores_the_signal_is_killed_after_its_grace() {
    let mut world = World::of([Worker { grace: Duration::from_millis(200), ..worker("deaf") }]);
    world.let_be("deaf", Trait::Deaf);
    world.shutdown();
    world.wait(200);
    assert_eq!(world.story(), ["0 deaf launched", "0 deaf asked", "200 deaf killed"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
    assert_eq!((world.phase("deaf"), world.why("deaf")), (Phase::Stopped, "the run was told to stop".into()));
}

#[test]
fn a_level_goes_only_when_all_above_it_is_gone() {
    let mut world = World::of([worker("db"), after("api", 0), after("web", 1), after("jobs", 0)]);
    world.let_be("api", Trait::SlowToReclaim);
    world.let_be("jobs", Trait::Deaf);
    world.story();
    world.shutdown();
    assert_eq!(world.story(), ["0 web asked", "0 jobs asked", "0 api asked"]);
    world.wait(5000);
    assert_eq!(world.story(), ["1000 jobs killed"]);
    assert_eq!(world.phase("db"), Phase::Running, "what api held is not given back yet");
    world.reclaimed("api");
    assert_eq!(world.story(), ["5000 db asked"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn when_the_work_is_done_the_others_are_asked_and_daemons_killed() {
    let mut world = World::of([
        with(Policy::Terminate, worker("db")),
        with(Policy::Daemon, after("cache", 0)),
        after("job", 1),
    ]);
    world.wait(7);
    world.story();
    world.exits("job", 0);
    assert_eq!(world.story(), ["7 job retired", "7 cache killed", "7 db asked"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
    assert_eq!(world.why("db"), "the run's work is done");
}

#[test]
fn a_run_without_work_lasts_until_it_is_told() {
    let mut world = World::of([
        with(Policy::Terminate, Worker { restart: Restart::Never, ..worker("a") }),
        Worker { autostart: false, ..worker("never started") },
    ]);
    world.exits("a", 0);
    world.wait(1_000_000);
    assert_eq!(world.conclusion(), None);
    world.shutdown();
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn work_that_was_stopped_by_request_holds_the_run() {
    let mut world = World::of([worker("a"), worker("b")]);
    world.exits("a", 0);
    world.stop("b");
    assert_eq!((world.phase("b"), world.why("b")), (Phase::Stopped, "stopped by request".into()));
    world.wait(1_000_000);
    assert_eq!(world.conclusion(), None);
    world.start("b");
    world.exits("b", 0);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn a_worker_whose_failure_is_the_runs_stops_it() {
    let mut world = World::of([
        Worker { restart: Restart::Never, on_failed: OnFailed::Stop, ..worker("a") },
        worker("b"),
    ]);
    world.exits("a", 7);
    let instance = world.id("a");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: Some(Ending::Code(7)) }));
    assert_eq!(world.why("b"), "a failed: exit code 7");
}

#[test]
fn the_first_that_failed_is_named() {
    let fragile = |name: &str| Worker { restart: Restart::Never, ..worker(name) };
    let mut world = World::of([fragile("a"), fragile("b"), worker("c")]);
    world.dies("b", Ending::Signal(11));
    world.exits("a", 1);
    world.exits("c", 0);
    let instance = world.id("b");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: Some(Ending::Signal(11)) }));
}

#[test]
fn a_failure_that_was_made_good_is_none() {
    let mut world = World::of([Worker { restart: Restart::Never, ..worker("a") }, worker("b")]);
    world.exits("a", 1);
    world.start("a");
    world.exits("a", 0);
    world.exits("b", 0);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn told_to_stop_now_all_are_killed_at_once() {
    let mut world = World::of([worker("db"), after("api", 0)]);
    for name in ["db", "api"] {
        world.let_be(name, Trait::Deaf);
    }
    world.story();
    world.shutdown();
    assert_eq!(world.story(), ["0 api asked"]);
    world.tell(Event::ShutdownNow);
    assert_eq!(world.story(), ["0 api killed", "0 db killed"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn told_to_stop_now_from_the_start_nobody_is_asked() {
    let mut world = World::of([worker("db"), with(Policy::Terminate, after("api", 0))]);
    world.story();
    world.tell(Event::ShutdownNow);
    assert_eq!(world.story(), ["0 api killed", "0 db killed"]);
}

#[test]
fn a_launch_under_way_is_asked_as_soon_as_it_lives() {
    let mut world = World::ahead(Family::of(vec![worker("a")]));
    world.let_be("a", Trait::SlowToLaunch);
    let mut world = world.begin();
    world.shutdown();
    world.wait(5000);
    assert_eq!(world.story(), ["0 a launched"]);
    world.launched("a");
    assert_eq!(world.story(), ["5000 a asked"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn nothing_is_started_once_the_run_stops() {
    let mut world = World::of([worker("a"), Worker { autostart: false, ..worker("b") }]);
    world.let_be("a", Trait::Deaf);
    world.story();
    assert!(!world.core.is_stopping());
    world.shutdown();
    assert!(world.core.is_stopping());
    for request in ["b", "a"] {
        world.start(request);
        world.restart(request);
    }
    world.tell(Event::Asked(Request::Add(Box::new(worker("c")))));
    world.scale("b", 3);
    assert_eq!(world.phase("c"), Phase::Stopped);
    world.wait(10_000);
    assert_eq!(world.story(), ["0 a asked", "1000 a killed"]);
}

#[test]
fn who_ends_by_itself_while_the_run_stops_has_ended_as_its_policy_says() {
    let never = |name: &str| Worker { restart: Restart::Never, ..worker(name) };
    let mut world = World::of([worker("again"), never("well"), never("badly"), after("last", 0)]);
    world.let_be("last", Trait::Deaf);
    world.shutdown();
    world.exits("again", 1);
    world.exits("well", 0);
    world.exits("badly", 1);
    assert_eq!(
        ["again", "well", "badly"].map(|name| world.phase(name)),
        [Phase::Stopped, Phase::Done, Phase::Failed]
    );
    world.wait(1000);
    let instance = world.id("badly");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: Some(Ending::Code(1)) }));
}

#[test]
fn who_was_asked_and_ends_badly_has_not_failed() {
    let mut world = World::of([Worker { restart: Restart::Never, ..worker("a") }]);
    world.let_be("a", Trait::Deaf);
    world.shutdown();
    world.exits("a", 1);
    assert_eq!(world.phase("a"), Phase::Stopped);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn a_run_that_never_began_ends_when_told() {
    let mut world = World::ahead(Family::of(vec![worker("a")]));
    world.shutdown();
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
    let mut world = world.begin();
    assert_eq!(world.story(), [""; 0]);
}

#[test]
fn a_daemon_that_was_asked_by_request_is_killed_when_its_turn_comes() {
    let mut world = World::of([with(Policy::Daemon, worker("a"))]);
    world.let_be("a", Trait::Deaf);
    world.stop("a");
    world.wait(10);
    world.shutdown();
    assert_eq!(world.story(), ["0 a launched", "0 a asked", "10 a killed"]);
}

#[test]
fn a_run_that_lasts_outlives_its_work_and_ends_when_it_is_told_to() {
    let mut world = World::ahead(Family { lasts: true, ..Family::of(Vec::new()) }).begin();
    assert_eq!(world.conclusion(), None);
    world.tell(Event::Asked(Request::Add(Box::new(worker("a")))));
    world.exits("a", 0);
    assert_eq!((world.phase("a"), world.conclusion()), (Phase::Done, None));
    world.tell(Event::Asked(Request::Add(Box::new(worker("b")))));
    assert_eq!(world.phase("b"), Phase::Running);
    world.shutdown();
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}
