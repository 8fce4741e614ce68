//! Making the family another one while it runs.

use supervision::{
    After, Change, Conclusion, Ending, Manner, Milestone, Phase, Policy, Restart, Strategy, Worker, WorkerId,
};

use crate::world::{Trait, World, worker};

fn after(name: &str, on: u32) -> Worker {
    Worker { after: vec![After { worker: WorkerId(on), milestone: Milestone::Ready }], ..worker(name) }
}

fn order(count: u32) -> Vec<WorkerId> {
    (0..count).map(WorkerId).collect()
}

/// These are not the same any more.
fn restarted(count: u32, changed: impl IntoIterator<Item = (u32, Worker)>) -> Change {
    let changed = changed.into_iter().map(|(id, worker)| (WorkerId(id), worker, Manner::Restart));
    Change { changed: changed.collect(), order: order(count), ..Change::default() }
}

fn removed(count: u32, ids: &[u32]) -> Change {
    Change { removed: ids.iter().copied().map(WorkerId).collect(), order: order(count), ..Change::default() }
}

fn added(count: u32, workers: impl IntoIterator<Item = Worker>) -> Change {
    let added: Vec<Worker> = workers.into_iter().collect();
    Change { order: order(count + added.len() as u32), added, ..Change::default() }
}

#[test]
fn who_has_changed_goes_by_dependence_and_comes_back_by_milestones_and_nobody_else_is_touched() {
    let mut world = World::of([worker("db"), after("api", 0), after("web", 1), worker("other")]);
    world.let_be("api", Trait::Deaf);
    world.story();
    world.change(restarted(4, [(0, worker("db")), (1, after("api", 0))]));
    assert_eq!(world.story(), ["0 api asked"], "db waits for api to be gone, and web is not concerned");
    assert_eq!((world.phase("db"), world.phase("web")), (Phase::Running, Phase::Running));
    assert_eq!(world.why("api"), "its config has changed");
    world.wait(1000);
    assert_eq!(world.story(), ["1000 api killed", "1000 db asked", "1000 db launched", "1000 api launched"]);
    assert_eq!(world.seen("web").restarts, 0);
}

#[test]
fn who_comes_back_waits_until_what_it_comes_after_is_gone_though_that_is_ready_still() {
    // By the former config api came after nobody: both are asked at once, and db takes its time.
    let mut world = World::of([worker("db"), worker("api")]);
    world.let_be("db", Trait::Deaf);
    world.story();
    world.change(restarted(2, [(0, worker("db")), (1, after("api", 0))]));
    assert_eq!(world.story(), ["0 db asked", "0 api asked"]);
    assert_eq!(world.why("api"), "waits for db to be gone, which has changed");
    world.wait(1000);
    assert_eq!(world.story(), ["1000 db killed", "1000 db launched", "1000 api launched"]);
}

#[test]
fn nobody_waits_for_a_change_that_does_not_concern_it() {
    let mut world = World::of([worker("slow"), worker("db"), after("api", 1)]);
    world.let_be("slow", Trait::Deaf);
    world.story();
    world.change(restarted(3, [(0, worker("slow")), (2, after("api", 1))]));
    assert_eq!(world.story(), ["0 slow asked", "0 api asked", "0 api launched"]);
}

#[test]
fn who_is_removed_goes_after_its_dependants_and_is_told_of_when_nothing_is_left() {
    let mut world = World::of([worker("db"), after("api", 0), worker("other")]);
    world.let_be("db", Trait::SlowToReclaim);
    world.story();
    world.change(removed(3, &[0, 1]));
    assert_eq!(world.story(), ["0 api asked", "0 api removed", "0 db asked"]);
    world.wait(100_000);
    world.reclaimed("db");
    assert_eq!(world.story(), ["100000 db removed"]);
    assert_eq!(world.core.find("db"), None);
    assert_eq!(world.core.instances().count(), 1);
}

#[test]
fn who_is_added_starts_with_what_it_comes_after() {
    let mut world = World::of([worker("a")]);
    world.story();
    world.change(added(1, [after("c", 2), worker("b"), Worker { autostart: false, ..worker("idle") }]));
    assert_eq!(world.story(), ["0 b launched", "0 c launched"]);
    assert_eq!(world.why("idle"), "not started");
}

#[test]
fn who_comes_back_after_it_was_removed_counts_its_launches_on() {
    let mut world = World::of([worker("a"), worker("other")]);
    world.change(removed(2, &[0]));
    world.change(restarted(2, [(0, worker("a"))]));
    assert_eq!((world.phase("a"), world.seen("a").launch), (Phase::Running, Some(supervision::Launch(2))));
}

#[test]
fn who_comes_back_before_it_has_gone_is_started_once_it_has() {
    let mut world = World::of([worker("db"), after("api", 0)]);
    world.let_be("api", Trait::Deaf);
    world.story();
    world.change(removed(2, &[0, 1]));
    // api is asked, db has its turn still before it.
    world.change(restarted(2, [(0, worker("db")), (1, after("api", 0))]));
    world.wait(1000);
    assert_eq!(
        world.story(),
        ["0 api asked", "1000 api killed", "1000 db asked", "1000 db launched", "1000 api launched"]
    );
}

#[test]
fn what_was_stopped_by_request_stays_so() {
    let mut world = World::of([Worker { instances: 2, ..worker("a") }, worker("b")]);
    world.stop("a");
    world.story();
    world.change(restarted(2, [(0, Worker { instances: 3, ..worker("a") }), (1, worker("b"))]));
    assert_eq!(world.story(), ["0 b asked", "0 b launched"]);
    assert_eq!(["a:0", "a:1", "a:2"].map(|name| world.phase(name)), [Phase::Stopped; 3]);
    world.start("a");
    assert_eq!(world.story().len(), 3);
}

#[test]
fn what_failed_or_rests_is_tried_again_at_once_and_its_record_is_cleared() {
    let mut world = World::of([Worker { restart: Restart::Never, ..worker("a") }, worker("b"), worker("c")]);
    world.exits("a", 1);
    world.exits("b", 1);
    world.exits("c", 0);
    world.story();
    let all = ["a", "b", "c"].map(worker).into_iter().enumerate().map(|(id, worker)| (id as u32, worker));
    world.change(restarted(3, all));
    assert_eq!(
        world.story(),
        ["0 a unretired", "0 c unretired", "0 a launched", "0 b launched", "0 c launched"]
    );
}

#[test]
fn a_change_that_can_be_kept_touches_no_process_and_holds_from_then_on() {
    let mut world = World::of([worker("a"), worker("b")]);
    world.let_be("a", Trait::Deaf);
    world.story();
    let patient = Worker { grace: std::time::Duration::from_secs(5), ..worker("a") };
    let changed = vec![(WorkerId(0), patient, Manner::Keep)];
    world.change(Change { changed, order: order(2), ..Change::default() });
    assert_eq!(world.story(), [""; 0]);
    world.stop("a");
    world.wait(5000);
    assert_eq!(world.story(), ["0 a asked", "5000 a killed"]);
}

#[test]
fn only_the_difference_in_number_is_touched() {
    let mut world = World::of([Worker { instances: 2, ..worker("a") }]);
    world.story();
    for instances in [4, 1] {
        let changed = vec![(WorkerId(0), Worker { instances, ..worker("a") }, Manner::Keep)];
        world.change(Change { changed, order: order(1), ..Change::default() });
    }
    let expected = ["0 a:2 launched", "0 a:3 launched", "0 a:3 asked", "0 a:2 asked", "0 a:1 asked"];
    assert_eq!(world.story(), expected);
}

#[test]
fn who_waits_for_a_removed_worker_waits_in_vain_and_is_told() {
    let mut world = World::of([worker("a"), Worker { autostart: false, ..worker("db") }, after("api", 1)]);
    world.change(removed(3, &[1]));
    assert_eq!(
        (world.phase("api"), world.why("api")),
        (Phase::Failed, "db was taken out of the config".into())
    );
}

#[test]
fn the_run_waits_for_its_new_workers_and_no_longer_for_the_removed() {
    let mut world = World::of([worker("a"), worker("b")]);
    world.exits("a", 0);
    world.change(added(2, [worker("c")]));
    world.change(removed(3, &[1]));
    assert_eq!(world.conclusion(), None, "c still works");
    world.exits("c", 3);
    assert_eq!(world.conclusion(), None, "it is started again");
    let changed = vec![(WorkerId(2), Worker { policy: Policy::Terminate, ..worker("c") }, Manner::Keep)];
    world.change(Change { changed, order: order(3), ..Change::default() });
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded), "nobody is waited for but a, which is done");
}

#[test]
fn a_restart_of_the_family_and_a_change_end_well_together() {
    let mut world = World::under(Strategy::OneForAll, None, [worker("a"), worker("b"), worker("c")]);
    world.let_be("c", Trait::Deaf);
    world.story();
    world.exits("a", 1);
    let strategy = Strategy::OneForAll;
    world.change(Change { strategy, ..restarted(3, [(1, worker("b"))]) });
    world.wait(1000);
    let expected =
        ["0 c asked", "0 b asked", "1000 c killed", "1000 a launched", "1000 b launched", "1000 c launched"];
    assert_eq!(world.story(), expected);
}

#[test]
fn another_strategy_ends_a_restart_of_the_family() {
    let mut world = World::under(Strategy::OneForAll, None, [worker("a"), worker("b")]);
    world.story();
    world.exits("a", 1);
    assert_eq!(world.story(), ["0 b asked"]);
    world.change(Change { order: order(2), ..Change::default() });
    assert_eq!(world.story(), ["0 b launched"], "a still rests");
    world.wait(100);
    assert_eq!(world.story(), ["100 a launched"]);
}

#[test]
fn the_order_is_that_of_the_new_file() {
    let mut world = World::under(Strategy::RestForOne, None, [worker("a"), worker("b"), worker("c")]);
    world.story();
    let order = [2, 0, 1].map(WorkerId).to_vec();
    world.change(Change { order, strategy: Strategy::RestForOne, ..Change::default() });
    world.exits("b", 1);
    world.wait(100);
    assert_eq!(world.story(), ["100 b launched"], "b is the last now");
    world.exits("c", 1);
    world.wait(1000);
    assert_eq!(world.story().len(), 5, "and c the first");
}

#[test]
fn who_ends_before_its_turn_is_started_anew_and_who_is_removed_is_not() {
    let mut world = World::of([worker("db"), worker("old"), after("api", 0), after("job", 1)]);
    world.let_be("api", Trait::Deaf);
    world.let_be("job", Trait::Deaf);
    world.story();
    let ids = |ids: &[u32]| ids.iter().copied().map(WorkerId).collect::<Vec<_>>();
    let changed = [(0, worker("db")), (2, after("api", 0)), (3, worker("job"))];
    world.change(Change { removed: ids(&[1]), ..restarted(4, changed) });
    assert_eq!(world.story(), ["0 api asked", "0 job asked"]);
    world.dies("db", Ending::Code(1));
    world.dies("old", Ending::Code(1));
    assert_eq!(world.story(), ["0 db launched", "0 old removed"]);
    world.wait(1000);
    assert_eq!(
        world.story(),
        ["1000 api killed", "1000 api launched", "1000 job killed", "1000 job launched"]
    );
}

#[test]
fn a_shutdown_in_the_middle_of_a_change_is_a_shutdown() {
    let mut world = World::of([worker("db"), after("api", 0)]);
    world.let_be("api", Trait::Deaf);
    world.change(restarted(2, [(0, worker("db")), (1, after("api", 0))]));
    world.story();
    world.shutdown();
    world.wait(1000);
    assert_eq!(world.story(), ["1000 api killed", "1000 db asked"]);
    assert_eq!(world.conclusion(), Some(Conclusion::Succeeded));
}

#[test]
fn who_ends_before_its_turn_and_is_gone_after_it_came_is_started_anew() {
    let mut world = World::of([worker("db"), after("api", 0)]);
    world.let_be("api", Trait::Deaf);
    world.let_be("db", Trait::SlowToReclaim);
    world.story();
    world.change(restarted(2, [(0, worker("db")), (1, after("api", 0))]));
    world.exits("db", 0);
    world.wait(1000);
    world.reclaimed("db");
    let expected = ["0 api asked", "1000 api killed", "1000 db launched", "1000 api launched"];
    assert_eq!(world.story(), expected);
}
