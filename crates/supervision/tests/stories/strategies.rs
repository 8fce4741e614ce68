//! Who else is restarted when one is.

use std::time::Duration;

use supervision::{
    After, Conclusion, Ending, Intensity, Milestone, Phase, Policy, Readiness, Restart, Strategy, Worker,
    WorkerId,
};

use crate::world::{Trait, World, worker};

fn after(name: &str, on: u32) -> Worker {
    Worker { after: vec![After { worker: WorkerId(on), milestone: Milestone::Ready }], ..worker(name) }
}

fn together(workers: impl IntoIterator<Item = Worker>) -> World {
    let mut world = World::under(Strategy::OneForAll, None, workers);
    world.story();
    world
}

#[test]
fn one_for_all_takes_all_down_in_reverse_and_brings_them_up_in_order() {
    let mut world = together([worker("a"), worker("b"), worker("c")]);
    world.exits("b", 1);
    assert_eq!(world.story(), ["0 c asked", "0 a asked"]);
    assert_eq!((world.phase("b"), world.why("b")), (Phase::Backoff, "exit code 1".into()));
    assert_eq!(
        (world.phase("c"), world.why("c")),
        (Phase::Waiting, "is started again together with b".into())
    );
    world.wait(100);
    assert_eq!(world.story(), ["100 a launched", "100 b launched", "100 c launched"]);
}

#[test]
fn the_family_goes_down_by_levels_and_comes_up_by_milestones() {
    let told = Readiness::Told { timeout: Duration::from_secs(30) };
    let mut world = together([Worker { readiness: told, ..worker("db") }, after("api", 0), worker("other")]);
    world.ready("db");
    world.let_be("api", Trait::Deaf);
    world.story();
    world.exits("other", 1);
    world.wait(999);
    assert_eq!(world.story(), ["0 api asked"], "db waits for api to be gone, and all wait for db");
    world.wait(1);
    assert_eq!(
        world.story(),
        ["1000 api killed", "1000 db asked", "1000 db launched", "1000 other launched"]
    );
    world.ready("db");
    assert_eq!(world.story(), ["1000 api launched"]);
}

#[test]
fn rest_for_one_leaves_those_before_alone() {
    let workers = [worker("a"), Worker { instances: 2, ..worker("b") }, worker("c")];
    let mut world = World::under(Strategy::RestForOne, None, workers);
    world.story();
    world.exits("b", 1);
    world.wait(100);
    let expected = ["0 c asked", "0 b:1 asked", "100 b launched", "100 b:1 launched", "100 c launched"];
    assert_eq!(world.story(), expected);
    world.exits("b:1", 1);
    world.wait(100);
    assert_eq!(world.story(), ["100 c asked", "200 b:1 launched", "200 c launched"]);
}

#[test]
fn who_ended_for_good_or_was_stopped_stays_so() {
    let mut world = together([
        worker("done"),
        Worker { restart: Restart::Never, ..worker("failed") },
        worker("stopped"),
        worker("a"),
    ]);
    world.exits("done", 0);
    world.exits("failed", 1);
    world.stop("stopped");
    world.story();
    world.exits("a", 1);
    world.wait(100);
    assert_eq!(world.story(), ["100 a launched"]);
    assert_eq!(
        ["done", "failed", "stopped"].map(|name| world.phase(name)),
        [Phase::Done, Phase::Failed, Phase::Stopped]
    );
}

#[test]
fn siblings_are_charged_nothing() {
    let strict = Intensity { restarts: 1, within: Duration::from_secs(1000) };
    let mut world = together([Worker { intensity: strict, ..worker("a") }, worker("b")]);
    for _ in 0..3 {
        world.exits("b", 1);
        world.wait(3000);
    }
    assert_eq!((world.phase("a"), world.seen("a").restarts), (Phase::Running, 3));
    world.exits("a", 1);
    assert_eq!(world.seen("a").next_launch_in, Some(Duration::from_millis(100)), "its own first rest");
    world.wait(100);
    world.exits("a", 1);
    assert_eq!(world.why("a"), "1 restart within 1000s; last: exit code 1");
}

#[test]
fn a_family_that_restarts_too_often_fails_as_a_whole() {
    let many = Intensity { restarts: 100, within: Duration::from_secs(10) };
    let mut world = together([
        Worker { intensity: many, ..worker("a") },
        Worker { intensity: many, ..worker("b") },
        Worker { policy: Policy::Daemon, ..worker("c") },
    ]);
    for name in ["a", "b", "a", "b", "a"] {
        world.exits(name, 1);
        world.wait(1000);
    }
    world.exits("b", 9);
    assert_eq!(world.why("b"), "5 restarts of the family within 10s; last: exit code 9");
    assert_eq!(world.why("a"), "b failed: 5 restarts of the family within 10s; last: exit code 9");
    let instance = world.id("b");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: Some(Ending::Code(9)) }));
}

#[test]
fn one_for_one_knows_a_limit_of_the_family_only_if_given() {
    for (intensity, concluded) in
        [(None, false), (Some(Intensity { restarts: 5, within: Duration::from_secs(10) }), true)]
    {
        let workers = (0..6).map(|i| worker(&format!("w{i}")));
        let mut world = World::under(Strategy::OneForOne, intensity, workers);
        for i in 0..6 {
            world.exits(&format!("w{i}"), 1);
        }
        assert_eq!(world.conclusion().is_some(), concluded);
    }
}

#[test]
fn who_crashes_while_the_family_goes_down_is_charged_nothing_and_comes_up_with_it() {
    let mut world = together([worker("db"), after("api", 0), worker("b")]);
    world.let_be("api", Trait::Deaf);
    world.exits("b", 1);
    world.exits("db", 1);
    assert_eq!(world.phase("db"), Phase::Waiting);
    world.wait(1000);
    assert_eq!(
        world.story(),
        ["0 api asked", "1000 api killed", "1000 db launched", "1000 api launched", "1000 b launched"]
    );
    world.exits("db", 1);
    assert_eq!(world.seen("db").next_launch_in, Some(Duration::from_millis(100)));
}

#[test]
fn a_crash_further_up_widens_what_is_under_way() {
    let mut world = World::under(Strategy::RestForOne, None, [worker("a"), worker("b"), worker("c")]);
    world.let_be("c", Trait::Deaf);
    world.story();
    world.exits("b", 1);
    world.wait(50);
    world.exits("a", 1);
    world.wait(10_000);
    let expected = ["0 c asked", "1000 c killed", "1000 a launched", "1000 b launched", "1000 c launched"];
    assert_eq!(world.story(), expected);
}

#[test]
fn who_is_started_while_the_family_goes_down_comes_up_with_it() {
    let mut world = together([worker("a"), worker("b"), Worker { autostart: false, ..worker("c") }]);
    world.exits("a", 1);
    world.start("c");
    assert_eq!(world.phase("c"), Phase::Waiting);
    world.wait(100);
    assert_eq!(world.story(), ["0 b asked", "100 a launched", "100 b launched", "100 c launched"]);
}

#[test]
fn who_waits_while_the_family_goes_down_is_launched_with_it_not_before() {
    let milestone = Milestone::Ended;
    let then = Worker { after: vec![After { worker: WorkerId(0), milestone }], ..worker("then") };
    let mut world = World::under(Strategy::RestForOne, None, [worker("job"), worker("b"), worker("c"), then]);
    world.let_be("c", Trait::Deaf);
    world.story();
    world.exits("b", 1);
    world.exits("job", 0);
    assert_eq!((world.phase("job"), world.phase("then")), (Phase::Done, Phase::Waiting));
    world.wait(1000);
    let together = ["1000 b launched", "1000 c launched", "1000 then launched"];
    assert_eq!(world.story(), [&["0 c asked", "0 job retired", "1000 c killed"][..], &together].concat());
}

#[test]
fn who_was_asked_for_its_family_comes_up_again_however_it_ended() {
    let mut world = together([worker("job"), worker("b")]);
    world.let_be("job", Trait::Deaf);
    world.exits("b", 1);
    world.exits("job", 0);
    world.wait(100);
    assert_eq!(world.story(), ["0 job asked", "100 job launched", "100 b launched"]);
}

#[test]
fn who_is_stopped_by_request_while_the_family_goes_down_stays_down() {
    let mut world = together([worker("a"), worker("b"), worker("c")]);
    world.let_be("b", Trait::Deaf);
    world.exits("a", 1);
    world.stop("b");
    world.stop("c");
    world.wait(5000);
    assert_eq!(world.story(), ["0 c asked", "0 b asked", "1000 b killed", "1000 a launched"]);
    assert_eq!([world.phase("b"), world.phase("c")], [Phase::Stopped; 2]);
}

#[test]
fn if_the_one_to_blame_is_stopped_the_others_come_up_without_it() {
    let mut world = together([worker("a"), worker("b")]);
    world.exits("a", 1);
    world.stop("a");
    assert_eq!(world.story(), ["0 b asked", "0 b launched"]);
}

#[test]
fn a_shutdown_ends_a_restart_of_the_family() {
    let mut world = together([worker("a"), worker("b"), worker("c")]);
    world.let_be("b", Trait::Deaf);
    world.exits("a", 1);
    assert_eq!(
        ["a", "b", "c"].map(|name| world.phase(name)),
        [Phase::Backoff, Phase::Stopping, Phase::Waiting]
    );
    world.shutdown();
    assert_eq!(
        ["a", "b", "c"].map(|name| world.phase(name)),
        [Phase::Stopped, Phase::Stopping, Phase::Stopped]
    );
    world.wait(5000);
    assert_eq!(world.story(), ["0 c asked", "0 b asked", "1000 b killed"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}
