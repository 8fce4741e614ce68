//! What is known of an end beside how it ended.

use supervision::{Event, Leftover, Remark, Restart, Worker};

use crate::world::{Trait, World, worker};

/// A run of one worker whose tree is empty only when it is said to be.
fn one(leftover: Leftover, restart: Restart) -> World {
    let mut world = World::of([Worker { restart, leftover, ..worker("a") }]);
    world.let_be("a", Trait::SlowToEmpty);
    world
}

fn ends(world: &mut World, code: i32, before: Option<Remark>, after: Option<Remark>) {
    let it = world.process("a");
    before.into_iter().for_each(|remark| world.tell(Event::Remarked(it, remark)));
    world.exits("a", code);
    after.into_iter().for_each(|remark| world.tell(Event::Remarked(it, remark)));
    world.emptied("a");
}

#[test]
fn want_of_memory_is_told_as_the_reason_and_does_not_last() {
    let mut world = one(Leftover::Kill, Restart::OnFailure);
    ends(&mut world, 1, Some(Remark::OutOfMemory), None);
    assert_eq!(world.why("a"), "exit code 1, out of memory");
    world.wait(60_000);
    ends(&mut world, 1, None, None);
    assert_eq!(world.why("a"), "exit code 1");
}

#[test]
fn who_ends_well_and_leaves_somebody_behind_has_failed_only_where_that_is_said() {
    for (leftover, failed) in [(Leftover::Kill, false), (Leftover::Fail, true)] {
        let mut world = one(leftover, Restart::Never);
        ends(&mut world, 0, None, Some(Remark::LeftBehind(2)));
        let expected = if failed { "exit code 0, but it left 2 processes behind" } else { "exit code 0" };
        assert_eq!(
            (world.why("a"), world.phase("a") == supervision::Phase::Failed),
            (expected.into(), failed)
        );
    }
}

#[test]
fn who_leaves_nobody_behind_or_was_told_to_stop_has_not_failed() {
    let mut world = one(Leftover::Fail, Restart::Never);
    ends(&mut world, 0, None, Some(Remark::LeftBehind(0)));
    assert_eq!(world.phase("a"), supervision::Phase::Done);
    let mut world = one(Leftover::Fail, Restart::Never);
    world.let_be("a", Trait::Deaf);
    world.stop("a");
    ends(&mut world, 0, None, Some(Remark::LeftBehind(3)));
    assert_eq!(world.phase("a"), supervision::Phase::Stopped);
}

#[test]
fn a_remark_that_comes_too_late_has_no_effect() {
    let mut world = one(Leftover::Fail, Restart::Never);
    let it = world.process("a");
    ends(&mut world, 0, None, None);
    for remark in [Remark::OutOfMemory, Remark::LeftBehind(1)] {
        world.tell(Event::Remarked(it, remark));
    }
    assert_eq!((world.why("a"), world.phase("a")), ("exit code 0".into(), supervision::Phase::Done));
}
