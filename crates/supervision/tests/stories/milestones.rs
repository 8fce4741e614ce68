//! Waiting for what others reach.

use std::time::Duration;

use supervision::{
    After, Conclusion, Ending, Milestone, Phase, Policy, Readiness, Restart, Worker, WorkerId,
};

use crate::world::{World, worker};

fn after(name: &str, on: u32, milestone: Milestone) -> Worker {
    Worker { after: vec![After { worker: WorkerId(on), milestone }], ..worker(name) }
}

fn told() -> Readiness {
    Readiness::Told { timeout: Duration::from_secs(30) }
}

fn once(name: &str) -> Worker {
    Worker { restart: Restart::Never, ..worker(name) }
}

#[test]
fn a_worker_waits_until_all_instances_are_ready() {
    let db = Worker { readiness: told(), instances: 2, ..worker("db") };
    let mut world = World::of([db, after("api", 0, Milestone::Ready)]);
    world.ready("db");
    assert_eq!((world.phase("api"), world.why("api")), (Phase::Waiting, "waits for db to be ready".into()));
    assert_eq!(world.seen("api").waits_for, Some((WorkerId(0), Milestone::Ready)));
    world.ready("db:1");
    assert_eq!(world.phase("api"), Phase::Running);
}

#[test]
fn started_needs_no_readiness() {
    let db = Worker { readiness: told(), ..worker("db") };
    let world = World::of([db, after("api", 0, Milestone::Started)]);
    assert_eq!((world.phase("db"), world.phase("api")), (Phase::Starting, Phase::Running));
}

#[test]
fn succeeded_and_ended_come_for_good_only() {
    let mut world = World::of([
        worker("job"),
        after("then", 0, Milestone::Succeeded),
        after("finally", 0, Milestone::Ended),
    ]);
    world.exits("job", 1);
    world.wait(100);
    assert_eq!([world.phase("then"), world.phase("finally")], [Phase::Waiting; 2]);
    world.exits("job", 0);
    assert_eq!([world.phase("then"), world.phase("finally")], [Phase::Running; 2]);
}

#[test]
fn who_waits_for_what_can_no_longer_come_has_failed_and_the_first_to_fail_is_named() {
    let mut world = World::of([
        once("job"),
        after("then", 0, Milestone::Succeeded),
        after("last", 1, Milestone::Ready),
        after("finally", 0, Milestone::Ended),
    ]);
    world.exits("job", 1);
    for name in ["then", "last"] {
        assert_eq!((world.phase(name), world.why(name)), (Phase::Failed, "job failed: exit code 1".into()));
    }
    assert_eq!(world.phase("finally"), Phase::Running);
    world.exits("finally", 0);
    let ending = Some(Ending::Code(1));
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance: world.id("job"), ending }));
}

#[test]
fn who_ended_well_after_it_was_ready_counts_as_ready() {
    let db = Worker { readiness: told(), ..worker("db") };
    let api = Worker {
        after: [0, 1].map(|on| After { worker: WorkerId(on), milestone: Milestone::Ready }).into(),
        ..worker("api")
    };
    let mut world = World::of([worker("setup"), db, api]);
    world.exits("setup", 0);
    assert_eq!(world.why("api"), "waits for db to be ready");
    world.ready("db");
    assert_eq!(world.phase("api"), Phase::Running);
}

#[test]
fn who_ended_well_without_ever_being_ready_never_will_be() {
    let db = Worker { readiness: told(), ..worker("db") };
    let mut world = World::of([db, after("api", 0, Milestone::Ready)]);
    world.exits("db", 0);
    assert_eq!(
        (world.phase("api"), world.why("api")),
        (Phase::Failed, "db ended before it was ready".into())
    );
}

#[test]
fn who_is_always_started_again_never_succeeds() {
    let beat = Worker { restart: Restart::Always, ..worker("beat") };
    let world = World::of([beat, after("then", 0, Milestone::Succeeded), worker("other")]);
    assert_eq!(world.phase("then"), Phase::Failed);
    assert_eq!(world.why("then"), "beat is always started again, it never succeeds");
}

#[test]
fn who_was_stopped_by_request_may_still_come() {
    let mut world =
        World::of([Worker { autostart: false, ..worker("db") }, after("api", 0, Milestone::Ready)]);
    assert_eq!((world.phase("db"), world.phase("api")), (Phase::Stopped, Phase::Waiting));
    world.stop("db");
    assert_eq!(world.phase("api"), Phase::Waiting);
    world.start("db");
    assert_eq!(world.phase("api"), Phase::Running);
}

#[test]
fn milestones_are_asked_again_before_every_launch() {
    let mut world = World::of([worker("db"), after("api", 0, Milestone::Ready)]);
    world.exits("db", 1);
    world.exits("api", 1);
    // db rests until 100, so that at 100 both could be launched; db comes first, then api at once.
    world.wait(99);
    assert_eq!([world.phase("db"), world.phase("api")], [Phase::Backoff; 2]);
    world.wait(1);
    assert_eq!([world.phase("db"), world.phase("api")], [Phase::Running; 2]);
    world.exits("db", 1);
    world.wait(50);
    world.exits("api", 1);
    world.stop("db");
    world.wait(10_000);
    assert_eq!((world.phase("api"), world.why("api")), (Phase::Waiting, "waits for db to be ready".into()));
}

#[test]
fn a_failed_dependant_is_started_again_only_by_request() {
    let mut world = World::of([once("job"), after("then", 0, Milestone::Succeeded), worker("other")]);
    world.exits("job", 1);
    world.start("job");
    assert_eq!(world.phase("then"), Phase::Failed);
    world.start("then");
    assert_eq!(world.phase("then"), Phase::Waiting);
    world.exits("job", 0);
    assert_eq!(world.phase("then"), Phase::Running);
}

#[test]
fn a_circle_fails_instead_of_hanging() {
    let world = World::of([
        after("a", 1, Milestone::Ready),
        after("b", 0, Milestone::Started),
        after("c", 0, Milestone::Ended),
    ]);
    assert_eq!(world.why("a"), "waits for one that waits for it");
    assert_eq!([world.phase("a"), world.phase("b")], [Phase::Failed; 2]);
    assert_eq!(world.phase("c"), Phase::Running, "a has ended, for good");
}

#[test]
fn a_worker_without_instances_has_reached_nothing_yet() {
    let none = Worker { instances: 0, policy: Policy::Terminate, ..worker("none") };
    let mut world = World::of([none, after("api", 0, Milestone::Ready)]);
    assert_eq!(world.phase("api"), Phase::Waiting);
    world.scale("none", 1);
    assert_eq!(world.phase("api"), Phase::Running);
}

#[test]
fn the_first_of_ten_thousand_in_a_row_is_to_blame_for_all() {
    let rest = (1..10_000).map(|id| after(&format!("w{id}"), id - 1, Milestone::Succeeded));
    let mut world = World::of(std::iter::once(once("w0")).chain(rest));
    world.exits("w0", 2);
    assert_eq!(world.why("w9999"), "w0 failed: exit code 2");
    let ending = Some(Ending::Code(2));
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance: world.id("w0"), ending }));
}
