//! Workers that run by the clock, and those whose start is delayed.

use std::time::Duration;

use supervision::{
    After, CatchUp, Conclusion, Event, Milestone, OnFailed, Overlap, Phase, Policy, Restart, Schedule,
    Timing, Worker, WorkerId,
};

use crate::world::{Trait, World, worker};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn clocked(name: &str, timing: Timing, overlap: Overlap, catch_up: CatchUp) -> Worker {
    Worker { schedule: Some(Schedule { timing, overlap, catch_up }), ..worker(name) }
}

fn every(period: u64, overlap: Overlap) -> Worker {
    clocked("w", Timing::Every(ms(period)), overlap, CatchUp::Once)
}

fn due(world: &mut World, times: u32, on_time: bool) {
    world.tell(Event::Due { worker: WorkerId(0), times, on_time });
}

fn launches(world: &mut World) -> Vec<String> {
    world.story().into_iter().filter(|line| line.ends_with("launched")).collect()
}

#[test]
fn every_runs_at_once_and_then_on_its_grid_however_long_the_runs_take() {
    let mut world = World::of([every(1000, Overlap::Skip)]);
    for lasts in [100, 900, 300] {
        world.wait(lasts);
        world.exits("w", 0);
        assert_eq!(
            (world.phase("w"), world.why("w")),
            (Phase::Waiting, "between two runs; last: exit code 0".into())
        );
        let rest = world.seen("w").next_launch_in.expect("it is known");
        world.wait(u64::try_from(rest.as_millis()).unwrap());
    }
    assert_eq!(
        launches(&mut world),
        ["0 w launched", "1000 w launched", "2000 w launched", "3000 w launched"]
    );
}

#[test]
fn a_run_that_is_due_during_another_is_skipped_queued_or_takes_its_place() {
    for (overlap, expected) in [
        (Overlap::Skip, ["0 w launched", "3000 w launched"].as_slice()),
        (Overlap::Queue, &["0 w launched", "2500 w launched"]),
        (Overlap::Replace, &["0 w launched", "1000 w launched", "2000 w launched", "3000 w launched"]),
    ] {
        let mut world = World::of([every(1000, overlap)]);
        world.wait(2500);
        world.exits("w", 0);
        world.wait(500);
        assert_eq!(launches(&mut world), expected, "{overlap:?}");
    }
}

#[test]
fn one_run_is_queued_at_most_unless_all_are_to_be_made_up_for() {
    for (catch_up, owed) in [(CatchUp::Once, 1), (CatchUp::All, 7)] {
        let mut world = World::of([clocked("w", Timing::Told, Overlap::Queue, catch_up)]);
        due(&mut world, 1, true);
        due(&mut world, 7, true);
        let mut runs = 0;
        while world.phase("w") == Phase::Running {
            world.exits("w", 0);
            runs += 1;
        }
        assert_eq!(runs, 1 + owed);
        assert_eq!(world.why("w"), "between two runs; last: exit code 0");
    }
}

#[test]
fn missed_times_are_left_out_made_up_for_by_one_or_by_each() {
    for (catch_up, missed, expected) in [
        (CatchUp::Skip, (5, false), 0),
        (CatchUp::Skip, (5, true), 1),
        (CatchUp::Once, (5, false), 1),
        (CatchUp::All, (5, false), 5),
        (CatchUp::All, (u32::MAX, true), 100),
    ] {
        let mut world = World::of([clocked("w", Timing::Told, Overlap::Skip, catch_up)]);
        due(&mut world, missed.0, missed.1);
        let mut runs = 0;
        while world.phase("w") == Phase::Running {
            world.exits("w", 0);
            runs += 1;
        }
        assert_eq!(runs, expected, "{catch_up:?} {missed:?}");
    }
}

#[test]
fn a_late_look_does_not_shift_the_runs_to_come() {
    let mut world = World::of([clocked("w", Timing::Every(ms(1000)), Overlap::Skip, CatchUp::Once)]);
    world.exits("w", 0);
    world.sleep(4300);
    world.exits("w", 0);
    world.wait(2000);
    assert_eq!(launches(&mut world), ["0 w launched", "4300 w launched", "5000 w launched"]);
}

#[test]
fn what_fails_is_started_again_by_its_policy_and_then_waits_for_its_time() {
    let mut world = World::of([every(60_000, Overlap::Skip)]);
    for _ in 0..6 {
        world.exits("w", 1);
        world.wait(1000);
    }
    assert_eq!(world.phase("w"), Phase::Waiting);
    assert_eq!(world.why("w"), "between two runs; last: 5 restarts within 10s; last: exit code 1");
    assert_eq!(world.seen("w").between_runs, Some(false));
    world.wait(54_000);
    // The next run begins with a clean record.
    world.exits("w", 1);
    assert_eq!(world.phase("w"), Phase::Backoff);
}

#[test]
fn a_failed_run_ends_it_all_where_failing_does() {
    let ends = Worker { on_failed: OnFailed::Stop, restart: Restart::Never, ..every(1000, Overlap::Skip) };
    let mut world = World::of([ends, worker("other")]);
    world.exits("w", 3);
    assert_eq!(world.phase("w"), Phase::Failed);
    assert!(matches!(world.conclusion(), Some(Conclusion::Failed { .. })));
}

#[test]
fn the_run_lasts_as_long_as_a_schedule_that_is_waited_for() {
    let mut world = World::of([every(1000, Overlap::Skip), worker("job")]);
    world.exits("job", 0);
    world.exits("w", 0);
    world.wait(10_000);
    assert_eq!(world.conclusion(), None);
    world.shutdown();
    assert_eq!((world.phase("w"), world.conclusion()), (Phase::Stopped, Some(Conclusion::Succeeded)));

    let not_waited_for = Worker { policy: Policy::Terminate, ..every(1000, Overlap::Skip) };
    let mut world = World::of([not_waited_for, worker("job")]);
    world.exits("job", 0);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn a_schedule_rests_while_its_worker_is_stopped() {
    let mut world = World::of([every(1000, Overlap::Replace), worker("other")]);
    world.stop("w");
    world.wait(5000);
    assert_eq!(world.phase("w"), Phase::Stopped);
    world.start("w");
    world.wait(1500);
    let launched = ["0 w launched", "0 other launched", "5000 w launched", "6000 w launched"];
    assert_eq!(launches(&mut world), launched);
}

#[test]
fn one_that_is_told_to_stop_as_it_ends_does_not_come_again() {
    let mut world = World::of([every(1000, Overlap::Queue), worker("other")]);
    world.let_be("w", Trait::SlowToEmpty);
    world.exits("w", 0);
    world.stop("w");
    world.emptied("w");
    world.wait(5000);
    assert_eq!((world.phase("w"), world.why("w")), (Phase::Stopped, "stopped by request".into()));
}

#[test]
fn who_waits_for_the_end_of_what_runs_again_and_again_is_told_so_at_once() {
    for milestone in [Milestone::Succeeded, Milestone::Ended] {
        let after = vec![After { worker: WorkerId(0), milestone }];
        let mut world = World::of([every(1000, Overlap::Skip), Worker { after, ..worker("app") }]);
        world.wait(1);
        assert_eq!(world.phase("app"), Phase::Failed);
        assert_eq!(world.why("app"), "w runs by the clock again and again, it never ends");
    }
}

#[test]
fn a_start_is_delayed_from_when_all_it_comes_after_has_come() {
    let after = vec![After { worker: WorkerId(0), milestone: Milestone::Started }];
    let mut world = World::of([
        Worker { autostart: false, ..worker("db") },
        Worker { after, start_delay: ms(500), ..worker("app") },
    ]);
    world.wait(1000);
    world.start("db");
    assert_eq!(
        (world.phase("app"), world.why("app")),
        (Phase::Waiting, "its start is delayed by 500ms".into())
    );
    assert_eq!(world.seen("app").next_launch_in, Some(ms(500)));
    world.wait(1000);
    // Once: neither a restart nor a start by request is delayed.
    world.exits("app", 1);
    world.wait(100);
    world.stop("app");
    world.start("app");
    let launched = ["1000 db launched", "1500 app launched", "2100 app launched", "2100 app launched"];
    assert_eq!(launches(&mut world), launched);
}
