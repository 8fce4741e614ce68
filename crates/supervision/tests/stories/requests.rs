//! Start, stop, restart, add, scale.

use std::time::Duration;

use supervision::{
    Ending, Event, Launch, MAX_INSTANCES, Phase, Policy, Process, Request, Restart, Target, Worker, WorkerId,
};

use crate::world::{Trait, World, worker};

#[test]
fn a_start_clears_the_record_of_restarts() {
    let mut world = World::of([worker("a"), worker("b")]);
    for _ in 0..5 {
        world.exits("a", 1);
        world.wait(1000);
    }
    world.exits("a", 1);
    assert_eq!(world.phase("a"), Phase::Failed);
    world.start("a");
    world.exits("a", 1);
    assert_eq!(world.seen("a").next_launch_in, Some(Duration::from_millis(100)));
}

#[test]
fn a_start_ends_a_rest() {
    let mut world = World::of([worker("a")]);
    world.exits("a", 1);
    world.wait(10);
    world.start("a");
    assert_eq!(world.story(), ["0 a launched", "10 a launched"]);
}

#[test]
fn a_start_has_no_effect_on_what_is_up() {
    let mut world = World::of([worker("a")]);
    world.start("a");
    assert_eq!(world.story(), ["0 a launched"]);
}

#[test]
fn a_stop_that_is_asked_for_twice_keeps_its_deadline() {
    let mut world = World::of([worker("a")]);
    world.let_be("a", Trait::Deaf);
    world.stop("a");
    world.wait(900);
    world.stop("a");
    world.wait(100);
    assert_eq!(world.story(), ["0 a launched", "0 a asked", "1000 a killed"]);
    assert_eq!((world.phase("a"), world.seen("a").last), (Phase::Stopped, Some(Ending::Signal(9))));
}

#[test]
fn a_start_while_it_stops_is_kept_until_it_is_gone() {
    for ask in [World::start, World::restart] {
        let mut world = World::of([worker("a")]);
        world.let_be("a", Trait::Deaf);
        world.stop("a");
        ask(&mut world, "a");
        assert_eq!(
            (world.phase("a"), world.why("a")),
            (Phase::Stopping, "is started again once it is gone".into())
        );
        world.wait(1000);
        assert_eq!(world.story(), ["0 a launched", "0 a asked", "1000 a killed", "1000 a launched"]);
    }
}

#[test]
fn of_a_stop_and_a_start_the_last_counts() {
    let mut world = World::of([worker("a")]);
    world.let_be("a", Trait::Deaf);
    world.restart("a");
    world.stop("a");
    world.wait(5000);
    assert_eq!(world.phase("a"), Phase::Stopped);
}

#[test]
fn a_stop_while_its_leftovers_are_cleared_prevents_the_restart_only() {
    for (code, phase) in [(0, Phase::Done), (1, Phase::Stopped)] {
        let mut world = World::of([worker("a"), worker("b")]);
        world.let_be("a", Trait::SlowToEmpty);
        world.exits("a", code);
        world.stop("a");
        world.emptied("a");
        assert_eq!(world.phase("a"), phase);
    }
}

#[test]
fn one_instance_can_be_meant_or_all() {
    let mut world = World::of([Worker { instances: 3, ..worker("a") }]);
    world.story();
    world.restart("a:1");
    assert_eq!(world.story(), ["0 a:1 asked", "0 a:1 launched"]);
    world.stop("a");
    assert_eq!(world.story(), ["0 a asked", "0 a:1 asked", "0 a:2 asked"]);
    world.start("a:2");
    assert_eq!(
        ["a:0", "a:1", "a:2"].map(|label| world.phase(label)),
        [Phase::Stopped, Phase::Stopped, Phase::Running]
    );
}

#[test]
fn scaling_touches_only_the_difference_and_numbers_launches_on() {
    let mut world = World::of([Worker { instances: 3, ..worker("a") }]);
    world.let_be("a:2", Trait::Deaf);
    world.story();
    world.scale("a", 1);
    assert_eq!(world.story(), ["0 a:2 asked", "0 a:1 asked"]);
    assert_eq!(world.core.instances().count(), 2, "a:1 is gone, a:2 is on its way");
    assert_eq!(world.why("a:2"), "scaled away");
    world.wait(1000);
    assert_eq!(world.core.instances().count(), 1);
    world.scale("a", 2);
    assert_eq!(world.story(), ["1000 a:2 killed", "1000 a:1 launched"]);
    assert_eq!((world.seen("a:1").launch, world.seen("a:1").restarts), (Some(Launch(2)), 0));
    assert_eq!(world.core.worker(WorkerId(0)).map(|worker| worker.instances), Some(2));
}

#[test]
fn who_is_scaled_up_again_on_its_way_down_is_started_once_it_is_gone() {
    let mut world = World::of([Worker { instances: 2, ..worker("a") }]);
    world.let_be("a:1", Trait::Deaf);
    world.scale("a", 1);
    world.start("a:1");
    assert_eq!(world.why("a:1"), "scaled away", "a start does not bring back what is scaled away");
    world.scale("a", 2);
    world.wait(1000);
    assert_eq!(world.phase("a:1"), Phase::Running);
}

#[test]
fn nobody_gets_more_instances_than_there_can_be() {
    let mut world = World::of([Worker { autostart: false, instances: u32::MAX, ..worker("a") }]);
    assert_eq!(world.core.instances().count(), MAX_INSTANCES as usize);
    world.scale("a", 2);
    assert_eq!(world.core.instances().count(), 2);
}

#[test]
fn an_added_worker_is_the_next_and_starts_if_it_does_so_by_itself() {
    let mut world = World::of([worker("a")]);
    world.tell(Event::Asked(Request::Add(Box::new(worker("b")))));
    world.tell(Event::Asked(Request::Add(Box::new(Worker { autostart: false, ..worker("c") }))));
    assert_eq!(
        [world.core.find("b"), world.core.find("c"), world.core.find("d")],
        [Some(WorkerId(1)), Some(WorkerId(2)), None]
    );
    assert_eq!([world.phase("b"), world.phase("c")], [Phase::Running, Phase::Stopped]);
    assert_eq!(world.why("c"), "not started");
}

#[test]
fn a_worker_that_retired_may_be_started_again() {
    let mut world = World::of([Worker { instances: 2, ..worker("a") }, worker("b")]);
    world.story();
    world.exits("a:0", 0);
    assert_eq!(world.story(), [""; 0]);
    world.exits("a:1", 0);
    assert_eq!(world.story(), ["0 a retired"]);
    world.start("a:1");
    assert_eq!(world.story(), ["0 a unretired", "0 a:1 launched"]);
}

#[test]
fn a_worker_retires_only_when_what_its_last_launch_held_is_given_back() {
    let mut world = World::of([worker("a"), worker("b")]);
    world.let_be("a", Trait::SlowToReclaim);
    world.story();
    world.exits("a", 0);
    assert_eq!(world.story(), [""; 0]);
    world.reclaimed("a");
    assert_eq!(world.story(), ["0 a retired"]);
}

#[test]
fn who_is_scaled_down_to_nothing_neither_retires_nor_runs_again() {
    let mut world = World::of([worker("a"), worker("b"), worker("c")]);
    world.exits("a", 0);
    world.story();
    world.scale("a", 0);
    world.scale("b", 0);
    assert_eq!(world.story(), ["0 b asked"]);
    world.scale("a", 1);
    assert_eq!(world.story(), ["0 a unretired", "0 a launched"]);
}

#[test]
fn what_was_taken_back_is_running_and_its_launches_are_numbered_on() {
    let family = supervision::Family::of(vec![worker("a"), worker("b")]);
    let mut world = World::ahead(family);
    let it = Process { instance: world.id("a"), launch: Launch(7) };
    world.tell(Event::TakenBack(it));
    let mut world = world.begin();
    assert_eq!(world.story(), ["0 b launched"]);
    assert_eq!(world.phase("a"), Phase::Running);
    assert!(world.core.is_present(it));
    world.tell(Event::Ended(it, Ending::Unknown));
    world.tell(Event::Emptied(it));
    world.tell(Event::Reclaimed(it));
    assert_eq!(world.why("a"), "ended, and nobody could learn how");
    world.wait(100);
    assert_eq!((world.seen("a").launch, world.seen("a").restarts), (Some(Launch(8)), 1));
    world.tell(Event::TakenBack(it));
    assert!(!world.core.is_present(it), "the run has begun");
}

#[test]
fn what_is_more_than_the_family_has_is_taken_back_to_be_asked_and_killed_after_its_grace() {
    let family = supervision::Family::of(vec![worker("a"), worker("b")]);
    let mut world = World::ahead(family);
    world.let_be("a:3", Trait::Deaf);
    let more = world.id("a:3");
    let it = Process { instance: more, launch: Launch(4) };
    world.take_back(it);
    assert!(world.core.is_present(it));
    assert_eq!(world.phase("a:3"), Phase::Stopping);
    let now = supervision::Moment::START;
    assert_eq!(world.core.instance(world.id("a:2"), now), None, "there is nobody between");
    let mut world = world.begin();
    assert_eq!(world.story(), ["0 a:3 asked", "0 a launched", "0 b launched"]);
    world.wait(60_000);
    assert_eq!(world.story().len(), 1, "it is killed, and that is all");
    assert_eq!(world.core.instance(more, now), None, "it has vanished");
    // Far beyond what any family may have, or of nobody: for the caller to end.
    for index in [MAX_INSTANCES, u32::MAX] {
        let mut world = World::ahead(supervision::Family::of(vec![worker("a")]));
        let it = Process { instance: supervision::InstanceId { index, ..more }, launch: Launch(1) };
        world.tell(Event::TakenBack(it));
        assert!(!world.core.is_present(it));
    }
}

#[test]
fn whom_nobody_knows_is_asked_for_in_vain() {
    let mut world = World::of([Worker { policy: Policy::Terminate, restart: Restart::Never, ..worker("a") }]);
    world.story();
    let nobody = supervision::InstanceId { worker: WorkerId(9), index: u32::MAX };
    let unknown = supervision::InstanceId { index: u32::MAX, ..world.id("a") };
    for target in [Target::Worker(WorkerId(u32::MAX)), Target::Instance(nobody), Target::Instance(unknown)] {
        for request in [Request::Start(target), Request::Stop(target), Request::Restart(target)] {
            world.tell(Event::Asked(request));
        }
    }
    world.tell(Event::Asked(Request::Scale(WorkerId(7), 3)));
    assert_eq!(world.story(), [""; 0]);
    assert_eq!(world.core.instance(nobody, supervision::Moment::START), None);
}
