//! Restarts, rests and limits of one worker.

use std::time::Duration;

use supervision::{
    Backoff, Conclusion, Ending, Event, Family, Intensity, Launch, Phase, Process, Readiness, Restart, Worker,
};

use crate::world::{Trait, World, worker};

#[test]
fn every_rest_is_twice_as_long_as_the_one_before() {
    let mut world = World::of([worker("a")]);
    for rest in [100, 200, 400, 800, 1000] {
        world.exits("a", 1);
        assert_eq!(world.phase("a"), Phase::Backoff);
        assert_eq!(world.seen("a").next_launch_in, Some(Duration::from_millis(rest)));
        world.wait(rest - 1);
        assert_eq!(world.phase("a"), Phase::Backoff);
        world.wait(1);
        assert_eq!(world.phase("a"), Phase::Running);
    }
}

#[test]
fn a_launch_that_lived_long_enough_makes_the_next_rest_the_first_again() {
    let mut world = World::of([worker("a")]);
    world.exits("a", 1);
    world.wait(100);
    world.wait(9_999);
    world.exits("a", 1);
    assert_eq!(world.seen("a").next_launch_in, Some(Duration::from_millis(200)));
    world.wait(200);
    world.wait(10_000);
    // Only the life counts, not how long its leftovers took to go.
    world.exits("a", 1);
    assert_eq!(world.seen("a").next_launch_in, Some(Duration::from_millis(100)));
}

#[test]
fn without_a_rest_it_is_launched_at_once() {
    let backoff = Backoff { initial: Duration::ZERO, ..Backoff::default() };
    let mut world = World::of([Worker { backoff, ..worker("a") }]);
    world.exits("a", 1);
    assert_eq!(world.story(), ["0 a launched", "0 a launched"]);
    assert_eq!(world.seen("a").restarts, 1);
}

#[test]
fn one_restart_too_many_within_the_window_is_one_for_good() {
    let mut world = World::of([worker("a")]);
    for _ in 0..5 {
        world.exits("a", 1);
        world.wait(1000);
    }
    world.exits("a", 3);
    assert_eq!(world.phase("a"), Phase::Failed);
    assert_eq!(world.why("a"), "5 restarts within 10s; last: exit code 3");
    let instance = world.id("a");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: Some(Ending::Code(3)) }));
}

#[test]
fn restarts_that_have_left_the_window_are_forgotten() {
    let mut world = World::of([worker("a")]);
    for _ in 0..20 {
        world.exits("a", 1);
        world.wait(2000);
    }
    assert_eq!(world.phase("a"), Phase::Running);
}

#[test]
fn no_restarts_allowed_says_so() {
    let intensity = Intensity { restarts: 0, ..Intensity::default() };
    let mut world = World::of([Worker { intensity, ..worker("a") }]);
    world.dies("a", Ending::Signal(11));
    assert_eq!(world.why("a"), "no restarts allowed; last: killed by signal 11 (SEGV)");
}

#[test]
fn a_launch_that_fails_counts_as_one_that_failed_and_names_no_ending() {
    let mut world = World::ahead(Family::of(vec![worker("a")]));
    world.let_be("a", Trait::Broken);
    let mut world = world.begin();
    assert_eq!((world.phase("a"), world.why("a")), (Phase::Backoff, "exec: no such file".into()));
    world.wait(10_000);
    assert_eq!(world.why("a"), "5 restarts within 10s; last: exec: no such file");
    assert_eq!(world.seen("a").launch, Some(Launch(6)));
    let instance = world.id("a");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: None }));
}

#[test]
fn policies_and_endings_decide_who_is_started_again() {
    let again = [Phase::Backoff; 3];
    let cases = [
        (Restart::Never, [Phase::Done, Phase::Failed, Phase::Failed]),
        (Restart::OnFailure, [Phase::Done, Phase::Backoff, Phase::Backoff]),
        (Restart::Always, again),
    ];
    for (restart, expected) in cases {
        let ended = [Ending::Code(3), Ending::Code(0), Ending::Unknown].map(|ending| {
            let mut world = World::of([Worker { restart, success_codes: vec![3], ..worker("a") }]);
            world.dies("a", ending);
            world.phase("a")
        });
        assert_eq!(ended, expected, "{restart:?}");
    }
}

#[test]
fn an_exit_code_of_zero_is_never_named_as_how_a_run_failed() {
    let mut world = World::of([Worker { restart: Restart::Never, success_codes: vec![3], ..worker("a") }]);
    world.exits("a", 0);
    let instance = world.id("a");
    assert_eq!(world.conclusion(), Some(Conclusion::Failed { instance, ending: None }));
}

#[test]
fn what_is_not_ready_in_time_is_asked_then_killed_and_has_failed() {
    let readiness = Readiness::Told { timeout: Duration::from_secs(30) };
    let mut world = World::of([Worker { readiness, restart: Restart::Never, ..worker("a") }]);
    world.let_be("a", Trait::Deaf);
    world.wait(31_000);
    assert_eq!(world.story(), ["0 a launched", "30000 a asked", "31000 a killed", "31000 a retired"]);
    assert_eq!((world.phase("a"), world.why("a")), (Phase::Failed, "not ready within 30s".into()));
}

#[test]
fn what_says_that_it_is_ready_in_time_runs_on() {
    let readiness = Readiness::Told { timeout: Duration::from_secs(30) };
    let mut world = World::of([Worker { readiness, ..worker("a") }]);
    assert_eq!((world.phase("a"), world.why("a")), (Phase::Starting, "not ready yet".into()));
    world.ready("a");
    world.wait(100_000);
    assert_eq!(world.phase("a"), Phase::Running);
}

#[test]
fn a_successor_waits_until_the_tree_is_empty_and_all_is_given_back() {
    let backoff = Backoff { initial: Duration::ZERO, ..Backoff::default() };
    let mut world = World::of([Worker { backoff, ..worker("a") }]);
    world.let_be("a", Trait::SlowToEmpty);
    world.let_be("a", Trait::SlowToReclaim);
    world.exits("a", 1);
    world.reclaimed("a");
    assert_eq!(world.phase("a"), Phase::Stopping, "nothing was to be given back yet");
    world.wait(60_000);
    world.emptied("a");
    world.wait(60_000);
    assert_eq!(world.story(), ["0 a launched"]);
    world.reclaimed("a");
    assert_eq!(world.story(), ["120000 a launched"]);
}

#[test]
fn news_of_an_old_launch_has_no_effect() {
    let mut world = World::of([worker("a")]);
    let old = world.process("a");
    world.exits("a", 1);
    world.wait(100);
    for late in
        [Event::Ended(old, Ending::Code(0)), Event::Emptied(old), Event::Reclaimed(old), Event::Launched(old)]
    {
        world.tell(late);
        assert_eq!(world.phase("a"), Phase::Running);
    }
    assert!(!world.core.is_present(old));
    assert!(world.core.is_present(world.process("a")));
    assert!(!world.core.is_present(Process { launch: Launch(3), ..old }));
}

#[test]
fn an_end_that_is_heard_of_before_the_launch_is_an_end() {
    let mut world = World::ahead(Family::of(vec![worker("a")]));
    world.let_be("a", Trait::SlowToLaunch);
    let mut world = world.begin();
    world.exits("a", 0);
    assert_eq!(world.phase("a"), Phase::Done);
}

#[test]
fn jitter_comes_from_the_seed_alone() {
    let rests = |seed| -> Vec<Option<Duration>> {
        let backoff = Backoff { jitter: 0.5, ..Backoff::default() };
        let workers = (0..3).map(|i| Worker { backoff, ..worker(&format!("w{i}")) }).collect();
        let mut world = World::ahead(Family { seed, ..Family::of(workers) }).begin();
        ["w0", "w1", "w2"]
            .map(|name| {
                world.exits(name, 1);
                world.seen(name).next_launch_in
            })
            .into()
    };
    assert_eq!(rests(1), rests(1));
    assert_ne!(rests(1), rests(2));
    let drawn = rests(1);
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2], "nobody rests in step: {drawn:?}");
}
