//! Groups that nest, and workers without which there is no run.

use std::time::Duration;

use supervision::{
    Conclusion, Ending, Event, Family, Group, GroupId, Intensity, Phase, Request, Restart, Strategy, Target,
    Worker, WorkerId,
};

use crate::world::{World, worker};

fn group(name: &str, strategy: Strategy, restarts: u32, workers: &[u32], groups: &[u32]) -> Group {
    Group {
        name: name.into(),
        strategy,
        intensity: Intensity { restarts, within: Duration::from_secs(10) },
        workers: workers.iter().copied().map(WorkerId).collect(),
        groups: groups.iter().copied().map(GroupId).collect(),
    }
}

/// One that may be restarted often.
fn tough(name: &str) -> Worker {
    let backoff = supervision::Backoff { initial: Duration::ZERO, ..worker(name).backoff };
    Worker {
        intensity: Intensity { restarts: 1000, within: Duration::from_secs(10) },
        backoff,
        ..worker(name)
    }
}

fn world(strategy: Strategy, names: &[&str], groups: Vec<Group>) -> World {
    let workers = names.iter().map(|name| tough(name)).collect();
    let mut world = World::ahead(Family { strategy, groups, ..Family::of(workers) }).begin();
    world.story();
    world
}

#[test]
fn a_groups_strategy_concerns_its_own_alone() {
    let groups = vec![group("g", Strategy::OneForAll, 5, &[0, 2], &[])];
    let mut world = world(Strategy::OneForOne, &["a", "b", "c"], groups);
    world.exits("a", 1);
    assert_eq!(world.story(), ["0 c asked", "0 a launched", "0 c launched"]);
    world.exits("b", 1);
    assert_eq!(world.story(), ["0 b launched"]);
}

#[test]
fn rest_for_one_in_a_group_takes_its_groups_as_a_whole() {
    let groups = vec![
        group("outer", Strategy::RestForOne, 5, &[0, 2, 4], &[1]),
        group("inner", Strategy::OneForOne, 5, &[1, 3], &[]),
    ];
    let mut world = world(Strategy::OneForOne, &["a", "b", "c", "d", "e"], groups);
    // The inner group stands where b stands: before c.
    world.exits("c", 1);
    assert_eq!(world.story(), ["0 e asked", "0 c launched", "0 e launched"]);
    world.exits("a", 1);
    assert_eq!(world.story().len(), 4 + 5);
    world.exits("d", 1);
    assert_eq!(world.story(), ["0 d launched"], "in the inner group each is for itself");
}

#[test]
fn a_group_that_has_spent_its_restarts_is_one_failure_to_its_parent() {
    let groups = vec![
        group("outer", Strategy::OneForAll, 1, &[0], &[1]),
        group("inner", Strategy::OneForOne, 1, &[1, 2], &[]),
    ];
    let mut world = world(Strategy::OneForOne, &["a", "b", "c", "d"], groups);
    world.exits("b", 1);
    assert_eq!(world.story(), ["0 b launched"]);
    world.exits("b", 1);
    assert_eq!(
        world.story(),
        ["0 group 1 gave up for b", "0 c asked", "0 a asked", "0 a launched", "0 b launched", "0 c launched"]
    );
    // The inner begins a new record; the outer's goes on.
    world.exits("c", 1);
    assert_eq!(world.story(), ["0 c launched"]);
    world.exits("c", 1);
    assert_eq!(
        world.story()[..2],
        ["0 group 1 gave up for c", "0 group 0 gave up for c"],
        "both have nothing left, and the family starts the outer again"
    );
    assert_eq!(world.seen("d").restarts, 0);
    assert_eq!(world.conclusion(), None);
}

#[test]
fn the_family_starts_a_group_again_five_times_within_ten_seconds_and_then_the_run_has_failed() {
    let groups = vec![group("g", Strategy::OneForOne, 0, &[0], &[])];
    let mut world = world(Strategy::OneForOne, &["a", "b"], groups);
    for _ in 0..5 {
        world.exits("a", 7);
        assert_eq!(world.conclusion(), None);
    }
    world.exits("a", 7);
    let instance = world.id("a");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: Some(Ending::Code(7)) }));
    assert_eq!(world.why("a"), "5 restarts of the family within 10s; last: exit code 7");
}

#[test]
fn who_rests_for_its_group_says_so() {
    let groups = vec![group("g", Strategy::OneForOne, 1, &[0, 1], &[])];
    let workers = vec![worker("a"), worker("b")];
    let mut world = World::ahead(Family { groups, ..Family::of(workers) }).begin();
    world.exits("a", 1);
    world.wait(100);
    world.exits("a", 1);
    assert_eq!(
        world.why("a"),
        "1 restart of the group g within 10s; last: exit code 1; the group is started again"
    );
    assert_eq!(world.why("b"), "is started again together with a");
    world.wait(200);
    assert_eq!([world.phase("a"), world.phase("b")], [Phase::Running; 2]);
}

#[test]
fn a_restart_further_up_takes_in_the_one_below_it() {
    let groups = vec![
        group("outer", Strategy::OneForAll, 5, &[0], &[1]),
        group("inner", Strategy::OneForAll, 5, &[1, 2], &[]),
    ];
    let workers = vec![worker("a"), worker("b"), worker("c")];
    let mut world = World::ahead(Family { groups, ..Family::of(workers) }).begin();
    world.story();
    world.exits("b", 1);
    world.wait(50);
    world.exits("a", 1);
    world.wait(100);
    assert_eq!(world.story(), ["0 c asked", "150 a launched", "150 b launched", "150 c launched"]);
}

#[test]
fn two_groups_restart_side_by_side() {
    let groups = vec![
        group("x", Strategy::OneForAll, 5, &[0, 1], &[]),
        group("y", Strategy::OneForAll, 5, &[2, 3], &[]),
    ];
    let workers = ["a", "b", "c", "d"].map(worker).to_vec();
    let mut world = World::ahead(Family { groups, ..Family::of(workers) }).begin();
    world.story();
    world.exits("a", 1);
    world.wait(50);
    world.exits("d", 1);
    world.wait(1000);
    let expected =
        ["0 b asked", "50 c asked", "100 a launched", "100 b launched", "150 c launched", "150 d launched"];
    assert_eq!(world.story(), expected);
}

#[test]
fn an_essential_worker_takes_the_run_with_it_well_or_not() {
    for (code, ending) in [(0, Ending::Code(0)), (3, Ending::Code(3))] {
        let essential = Worker { essential: true, restart: Restart::Never, ..worker("main") };
        let mut world =
            World::of([essential, worker("side"), Worker { restart: Restart::Never, ..worker("bad") }]);
        world.exits("bad", 9);
        world.story();
        world.exits("main", code);
        assert_eq!(world.story(), ["0 main retired", "0 side asked"]);
        let instance = world.id("main");
        assert_eq!(world.conclusion(), Some(Conclusion::Essential { instance, ending: Some(ending) }));
        let how = format!("main, which is essential, ended: exit code {code}");
        assert_eq!(world.why("side"), how);
    }
}

#[test]
fn an_essential_worker_that_is_started_again_or_stopped_by_request_ends_nothing() {
    let mut world = World::of([Worker { essential: true, ..worker("main") }, worker("side")]);
    world.exits("main", 1);
    world.wait(100);
    world.tell(Event::Asked(Request::Stop(Target::Worker(WorkerId(0)))));
    assert_eq!((world.phase("main"), world.conclusion()), (Phase::Stopped, None));
    world.tell(Event::ShutdownNow);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}
