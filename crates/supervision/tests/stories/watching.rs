//! How launches are watched: whether they are ready, alive and well, and what they say of themselves.

use std::time::Duration;

use supervision::{
    After, Conclusion, Ending, Event, Family, Health, Milestone, Phase, Policy, Purpose, Readiness, Restart,
    Worker, WorkerId,
};

use crate::world::{Trait, World, worker};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const HEALTH: Health = Health { every: ms(1000), timeout: ms(500), failures: 2, start_grace: ms(0) };

fn refused() -> Result<(), String> {
    Err("refused".into())
}

#[test]
fn a_probe_for_readiness_comes_at_once_and_then_after_pauses_that_double() {
    let readiness = Readiness::Probed { timeout: ms(10_000) };
    let mut world = World::of([Worker { readiness, ..worker("db") }]);
    for _ in 0..9 {
        world.tell(Event::Probed(world.process("db"), Purpose::Readiness, refused()));
        world.wait(1000);
    }
    let expected = [0, 20, 1040, 2080, 3160, 4320, 5640, 7000, 8000, 9000];
    let asked: Vec<String> = expected.map(|at| format!("{at} db probed for readiness")).into();
    assert_eq!(world.story()[1..], asked);
    assert_eq!(world.why("db"), "not ready yet: refused");
    world.wait(1000);
    assert_eq!(world.why("db"), "not ready within 10s; last: refused");
}

#[test]
fn a_probe_that_is_not_answered_is_not_asked_again() {
    let readiness = Readiness::Probed { timeout: ms(60_000) };
    let mut world = World::of([Worker { readiness, ..worker("db") }]);
    world.wait(30_000);
    assert_eq!(world.story(), ["0 db launched", "0 db probed for readiness"]);
}

#[test]
fn who_waits_for_what_can_no_longer_become_ready_is_told_as_soon_as_that_is_known() {
    let readiness = Readiness::Told { timeout: ms(60_000) };
    let after = vec![After { worker: WorkerId(0), milestone: Milestone::Ready }];
    let mut world = World::of([
        Worker { readiness, restart: Restart::Never, ..worker("db") },
        Worker { after, ..worker("app") },
        Worker { policy: Policy::Wait, ..worker("other") },
    ]);
    world.tell(Event::NeverReady(world.process("db"), "it has closed descriptor 3".into()));
    world.wait(1000);
    assert_eq!(world.phase("db"), Phase::Failed);
    assert_eq!(world.why("app"), "db failed: not ready: it has closed descriptor 3");
}

#[test]
fn one_that_ends_in_its_last_chance_is_judged_by_its_ending() {
    let readiness = Readiness::Told { timeout: ms(60_000) };
    let mut world = World::of([Worker { readiness, restart: Restart::Never, ..worker("db") }]);
    world.tell(Event::NeverReady(world.process("db"), "closed".into()));
    world.wait(500);
    world.exits("db", 3);
    assert_eq!(world.why("db"), "exit code 3");
}

#[test]
fn news_of_readiness_that_comes_after_the_end_counts() {
    let readiness = Readiness::Told { timeout: ms(60_000) };
    let after = vec![After { worker: WorkerId(0), milestone: Milestone::Ready }];
    let mut world = World::of([Worker { readiness, ..worker("job") }, Worker { after, ..worker("app") }]);
    world.let_be("job", Trait::SlowToReclaim);
    world.exits("job", 0);
    world.ready("job");
    world.reclaimed("job");
    assert_eq!((world.phase("job"), world.phase("app")), (Phase::Done, Phase::Running));
}

#[test]
fn a_launch_is_ill_after_so_many_failures_in_a_row_and_its_policy_follows() {
    let mut world = World::of([Worker { health: Some(HEALTH), ..worker("web") }]);
    let answer = |world: &mut World, answer| {
        world.tell(Event::Probed(world.process("web"), Purpose::Health, answer));
    };
    world.wait(1000);
    answer(&mut world, refused());
    assert_eq!(world.why("web"), "1 of 2 health probes failed: refused");
    world.wait(1000);
    answer(&mut world, Ok(()));
    assert_eq!(world.why("web"), "");
    for _ in 0..2 {
        world.wait(1000);
        answer(&mut world, refused());
    }
    assert_eq!(world.why("web"), "unhealthy: 2 probes in a row failed; last: refused");
    world.wait(100);
    let expected = [
        "0 web launched",
        "1000 web probed for health",
        "2000 web probed for health",
        "3000 web probed for health",
        "4000 web probed for health",
        "4000 web asked",
        "4100 web launched",
    ];
    assert_eq!(world.story(), expected);
}

#[test]
fn a_health_probe_that_takes_longer_than_its_period_puts_off_the_next() {
    let mut world = World::of([Worker { health: Some(HEALTH), ..worker("web") }]);
    world.wait(3500);
    world.tell(Event::Probed(world.process("web"), Purpose::Health, Ok(())));
    assert_eq!(world.story(), ["0 web launched", "1000 web probed for health", "3500 web probed for health"]);
}

#[test]
fn failures_in_the_grace_at_the_start_do_not_count_until_one_has_succeeded() {
    let health = Health { failures: 1, start_grace: ms(5000), ..HEALTH };
    for succeeds in [false, true] {
        let mut world = World::of([Worker { health: Some(health), ..worker("web") }]);
        let answers = [refused(), if succeeds { Ok(()) } else { refused() }, refused()];
        for answer in answers {
            world.wait(1000);
            world.tell(Event::Probed(world.process("web"), Purpose::Health, answer));
        }
        assert_eq!(world.phase("web") == Phase::Running, !succeeds);
        world.wait(2000);
    }
}

#[test]
fn a_launch_that_gives_no_sign_of_life_is_aborted_and_killed_after_its_grace() {
    let mut world = World::of([Worker { watchdog: Some(ms(500)), ..worker("deaf") }]);
    world.let_be("deaf", Trait::Deaf);
    for _ in 0..3 {
        world.wait(400);
        world.tell(Event::Alive(world.process("deaf")));
    }
    world.wait(1500);
    assert_eq!(world.story(), ["0 deaf launched", "1700 deaf aborted", "2700 deaf killed"]);
    assert_eq!(
        (world.phase("deaf"), world.why("deaf")),
        (Phase::Backoff, "no sign of life within 500ms".into())
    );
}

#[test]
fn signs_of_life_are_owed_from_when_it_is_ready() {
    let readiness = Readiness::Told { timeout: ms(60_000) };
    let mut world = World::of([Worker { readiness, watchdog: Some(ms(500)), ..worker("slow") }]);
    world.wait(10_000);
    world.ready("slow");
    world.wait(499);
    assert_eq!(world.phase("slow"), Phase::Running);
    world.wait(1);
    assert_eq!(world.story(), ["0 slow launched", "10500 slow aborted"]);
}

#[test]
fn one_that_departs_is_not_asked_and_its_ending_counts() {
    for (code, phase) in [(0, Phase::Done), (1, Phase::Backoff)] {
        let mut world = World::of([worker("w"), worker("other")]);
        world.tell(Event::Departs(world.process("w")));
        assert_eq!((world.phase("w"), world.why("w")), (Phase::Stopping, "says that it is stopping".into()));
        world.wait(500);
        world.exits("w", code);
        assert_eq!(world.phase("w"), phase);
        assert!(!world.story().contains(&"0 w asked".to_owned()));
    }
}

#[test]
fn more_time_puts_off_a_stop_but_not_for_ever() {
    let mut world = World::of([worker("w"), worker("other")]);
    world.let_be("w", Trait::Deaf);
    world.stop("w");
    for _ in 0..400 {
        world.tell(Event::NeedsTime(world.process("w"), ms(2000)));
        world.wait(1999);
    }
    assert_eq!(world.story()[2..], ["0 w asked", "600000 w killed"]);
}

#[test]
fn what_it_said_went_wrong_stands_beside_its_ending_and_is_forgotten_with_it() {
    let mut world = World::of([worker("w"), worker("other")]);
    world.tell(Event::Complains(world.process("w"), "no disk (errno 28)".into()));
    world.exits("w", 1);
    assert_eq!(world.why("w"), "exit code 1; it said: no disk (errno 28)");
    world.wait(100);
    world.exits("w", 1);
    assert_eq!(world.why("w"), "exit code 1");
}

#[test]
fn a_stop_of_the_whole_run_is_over_when_its_time_is_whatever_the_graces_are() {
    let after = vec![After { worker: WorkerId(0), milestone: Milestone::Ready }];
    let slow = |name| Worker { grace: ms(10_000), ..worker(name) };
    let family = Family {
        stop_within: Some(ms(3000)),
        ..Family::of(vec![slow("db"), Worker { after, ..slow("app") }])
    };
    let mut world = World::ahead(family).begin();
    world.let_be("app", Trait::Deaf);
    world.let_be("db", Trait::Deaf);
    world.shutdown();
    world.wait(3000);
    assert_eq!(world.story()[2..], ["0 app asked", "3000 app killed", "3000 db killed"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn a_launch_that_hangs_and_dies_of_being_aborted_has_failed_by_that_signal() {
    let hangs = Worker { watchdog: Some(ms(500)), restart: Restart::Never, ..worker("w") };
    let mut world = World::of([hangs]);
    world.wait(500);
    assert_eq!(world.seen("w").last, Some(Ending::Signal(6)));
    assert!(matches!(world.conclusion(), Some(Conclusion::Failed { ending: Some(Ending::Signal(6)), .. })));
}
