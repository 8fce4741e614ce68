//! What a launch leaves behind and is to live on: beside its worker, and not longer than that is wanted.

use std::time::Duration;

use supervision::{
    After, Conclusion, Ending, Event, Family, InstanceId, Launch, LeftBehind, Leftover, Milestone, Phase,
    Policy, Process, Restart, Worker, WorkerId,
};

use crate::world::{Trait, World, worker};

fn adopting(name: &str) -> Worker {
    Worker { leftover: Leftover::Adopt, restart: Restart::Never, ..worker(name) }
}

fn lasting(workers: Vec<Worker>) -> World {
    let mut world = World::ahead(Family { lasts: true, ..Family::of(workers) }).begin();
    world.story();
    world
}

#[test]
fn a_restart_of_any_kind_leaves_alone_what_was_adopted() {
    let mut world = lasting(vec![Worker { restart: Restart::Always, ..adopting("w") }]);
    world.exits("w", 1);
    world.wait(100);
    world.restart("w");
    world.wait(5000);
    assert_eq!(world.story(), ["0 w adopted", "100 w launched", "100 w asked", "100 w launched"]);
    assert_eq!(world.seen("w").left_behind, LeftBehind { count: 2, leaving: false });
    assert_eq!(world.why("w"), "2 processes that it left behind live on");
    assert_eq!(world.phase("w"), Phase::Running);
}

#[test]
fn who_has_ended_and_is_told_to_stop_parts_with_what_it_left() {
    let mut world = lasting(vec![adopting("w"), worker("other")]);
    world.exits("w", 0);
    assert_eq!(world.why("w"), "exit code 0, and 2 processes that it left behind live on");
    world.let_be("w", Trait::Deaf);
    world.stop("w");
    assert_eq!((world.phase("w"), world.seen("w").left_behind.leaving), (Phase::Done, true));
    world.wait(1500);
    assert_eq!(
        world.story(),
        ["0 w adopted", "0 w retired", "0 w's leftovers asked", "1000 w's leftovers killed"]
    );
    assert_eq!((world.phase("w"), world.why("w")), (Phase::Done, "exit code 0".into()));
}

#[test]
fn whoever_is_started_meanwhile_waits_until_what_is_leaving_is_gone() {
    let mut world = lasting(vec![adopting("w")]);
    world.exits("w", 0);
    world.let_be("w", Trait::Deaf);
    world.stop("w");
    world.start("w");
    assert_eq!(world.phase("w"), Phase::Waiting);
    world.wait(2000);
    let [.., killed, launched] = &world.story()[..] else { panic!("it is launched") };
    assert_eq!((killed.as_str(), launched.as_str()), ("1000 w's leftovers killed", "1000 w launched"));
}

#[test]
fn at_the_end_of_the_run_they_have_their_turn_with_their_worker_and_their_grace() {
    let above = Worker {
        after: vec![After { worker: WorkerId(0), milestone: Milestone::Started }],
        ..adopting("above")
    };
    let mut world = lasting(vec![worker("db"), above]);
    world.exits("above", 0);
    world.let_be("above", Trait::Deaf);
    world.story();
    world.shutdown();
    world.wait(5000);
    assert_eq!(
        world.story(),
        ["0 above's leftovers asked", "1000 above's leftovers killed", "1000 db asked"]
    );
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn the_limit_of_the_stop_holds_for_them_and_a_daemon_s_have_no_grace() {
    let daemon = Worker { policy: Policy::Daemon, ..adopting("daemon") };
    let family = Family {
        lasts: true,
        stop_within: Some(Duration::from_millis(300)),
        ..Family::of(vec![adopting("w"), daemon])
    };
    let mut world = World::ahead(family).begin();
    world.exits("w", 0);
    world.exits("daemon", 0);
    world.let_be("w", Trait::Deaf);
    world.story();
    world.shutdown();
    world.wait(5000);
    let expected = ["0 daemon's leftovers killed", "0 w's leftovers asked", "300 w's leftovers killed"];
    assert_eq!(world.story(), expected);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn who_is_counted_when_the_stop_has_begun_has_its_turn_all_the_same() {
    let daemon = Worker { policy: Policy::Daemon, ..adopting("daemon") };
    let above = Worker {
        after: vec![After { worker: WorkerId(0), milestone: Milestone::Started }],
        ..worker("above")
    };
    let mut world = lasting(vec![daemon, above]);
    world.let_be("daemon", Trait::SlowToAdopt);
    world.let_be("above", Trait::Deaf);
    world.exits("daemon", 0);
    // It was to be started again: the stop of the run makes it stay down.
    world.start("daemon");
    world.shutdown();
    assert_eq!(world.story(), ["0 daemon adopted", "0 above asked"]);
    world.tell(Event::Adopted(world.process("daemon"), 2));
    world.wait(1000);
    assert_eq!(world.story(), ["1000 above killed", "1000 daemon's leftovers killed"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn what_a_former_run_left_is_this_run_s_and_its_launch_number_is_not_given_again() {
    let mut world = World::ahead(Family { lasts: true, ..Family::of(vec![adopting("w")]) });
    let instance = InstanceId { worker: WorkerId(0), index: 0 };
    let left = |launch| Process { instance, launch: Launch(launch) };
    world.tell(Event::Adopted(left(3), 2));
    assert!(world.core.has_left(left(3)));
    world.tell(Event::Adopted(left(2), 1));
    assert!(!world.core.has_left(left(2)), "earlier launches are to be told first");
    world.tell(Event::Begin);
    assert_eq!(world.seen("w").launch, Some(Launch(4)));
    world.tell(Event::Adopted(left(3), 1));
    assert_eq!(world.why("w"), "a process that it left behind lives on");
    world.stop("w");
    assert_eq!(world.story(), ["0 w launched", "0 w's leftovers asked", "0 w asked"]);
}

#[test]
fn who_was_asked_or_killed_leaves_nobody() {
    let mut world = lasting(vec![adopting("w")]);
    world.stop("w");
    assert_eq!(world.story(), ["0 w asked"]);
    assert_eq!(world.seen("w").left_behind.count, 0);
    // It says that it stops, and does not: that is no end by itself.
    world.start("w");
    world.tell(Event::Departs(world.process("w")));
    world.wait(1000);
    assert_eq!(world.story(), ["0 w launched", "1000 w killed", "1000 w retired"]);
    assert_eq!(world.seen("w").last, Some(Ending::Signal(9)));
    assert_eq!(world.seen("w").left_behind.count, 0);
}
