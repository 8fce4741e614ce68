//! Rolling restarts: the new is ready before the old is asked to stop.

use std::time::Duration;

use supervision::{
    Ending, Event, Manner, OnFailed, Phase, Readiness, Request, Strategy, Target, Worker, WorkerId,
};

use crate::world::{Trait, World, worker};

const WEB: WorkerId = WorkerId(0);

fn web(instances: u32) -> Worker {
    let readiness = Readiness::Told { timeout: Duration::from_secs(5) };
    Worker { instances, readiness, ..worker("web") }
}

fn ready(world: &mut World, name: &str) {
    let seen = world.seen(name);
    let launch = seen.launch.expect("it was launched");
    world.tell(Event::Ready(supervision::Process { instance: seen.id, launch }));
}

/// Two of them, both ready.
fn two(strategy: Strategy, web: Worker) -> World {
    let mut world = World::under(strategy, None, [web]);
    ready(&mut world, "web:0");
    ready(&mut world, "web:1");
    world.story();
    world
}

#[test]
fn each_is_asked_only_when_the_one_before_it_is_ready_and_the_one_more_goes_last() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    assert_eq!(world.seen("web:2").phase, Phase::Starting);
    for name in ["web:2", "web:0"] {
        assert_eq!(world.seen("web:1").launch.map(|launch| launch.0), Some(1), "nobody is out of turn");
        ready(&mut world, name);
    }
    assert!(world.core.is_rolling(WEB));
    ready(&mut world, "web:1");
    assert!(!world.core.is_rolling(WEB));
    let launches = ["web:0", "web:1"].map(|name| world.seen(name).launch.map(|launch| launch.0));
    assert_eq!(launches, [Some(2); 2]);
    assert_eq!(world.core.instances().count(), 2, "and there are as many as before");
    assert!(world.story().iter().any(|line| line.ends_with("web rolled")));
}

/// Not even where they are restarted together, and one that fails would end the run: it is on trial.
#[test]
fn the_failure_of_the_new_one_touches_nobody_whatever_the_strategy() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let mut world = two(strategy, Worker { on_failed: OnFailed::Stop, ..web(2) });
        world.let_be("web:2", Trait::Broken);
        world.tell(Event::Asked(Request::Roll(WEB)));
        let story = world.story();
        assert!(
            story.iter().any(|line| line.ends_with("web: web:2 did not get ready: exec: no such file")),
            "{story:?}"
        );
        assert_eq!(world.core.instances().count(), 2);
        for name in ["web:0", "web:1"] {
            let now = world.seen(name);
            assert_eq!((now.phase, now.launch.map(|launch| launch.0)), (Phase::Running, Some(1)));
        }
    }
}

#[test]
fn who_stops_the_worker_breaks_it_off_and_nothing_of_it_is_launched_any_more() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    world.tell(Event::Asked(Request::Stop(Target::Worker(WEB))));
    assert!(!world.core.is_rolling(WEB));
    let phases: Vec<Phase> = world.core.instances().map(|now| now.phase).collect();
    assert_eq!(phases, [Phase::Stopped; 2]);
}

#[test]
fn where_nothing_is_ready_it_is_a_plain_restart() {
    let mut world = World::of([web(1)]);
    world.tell(Event::Asked(Request::Roll(WEB)));
    assert!(!world.core.is_rolling(WEB));
    assert_eq!(world.seen("web").launch.map(|launch| launch.0), Some(2));
}

#[test]
fn a_change_that_rolls_tries_the_new_config_before_it_touches_what_runs_by_the_old() {
    let mut world = two(Strategy::OneForOne, web(2));
    let next = Worker { grace: Duration::from_secs(7), ..web(3) };
    let change = supervision::Change {
        changed: vec![(WEB, next, Manner::Roll)],
        order: vec![WEB],
        ..supervision::Change::default()
    };
    world.tell(Event::Asked(Request::Change(Box::new(change))));
    for name in ["web:0", "web:1"] {
        assert_eq!(world.seen(name).phase, Phase::Running, "it waits for the new one");
    }
    for name in ["web:2", "web:3", "web:0", "web:1"] {
        ready(&mut world, name);
    }
    assert!(!world.core.is_rolling(WEB));
    let launches: Vec<u64> = world.core.instances().map(|now| now.launch.map_or(0, |l| l.0)).collect();
    assert_eq!(launches, [2, 2, 1], "what is new already need not be replaced");
    assert_ne!(world.seen("web:0").last, Some(Ending::Code(1)));
}

#[test]
fn who_scales_it_when_only_the_one_more_is_still_to_go_does_not_undo_that_all_was_replaced() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    world.let_be("web:2", Trait::Deaf);
    for name in ["web:2", "web:0", "web:1"] {
        ready(&mut world, name);
    }
    assert!(world.core.is_rolling(WEB), "the one more takes its time");
    world.story();
    world.tell(Event::Asked(Request::Scale(WEB, 2)));
    assert!(!world.core.is_rolling(WEB));
    assert!(world.story().iter().any(|line| line.ends_with("web rolled")));
}

#[test]
fn a_launch_that_is_ready_costs_an_old_one_only_when_it_has_been_ready_for_long_enough() {
    let min_ready = Duration::from_millis(500);
    let spec = Worker { min_ready, readiness: Readiness::Start, ..worker("web") };
    let mut world = World::of([spec]);
    world.tell(Event::Asked(Request::Roll(WEB)));
    world.wait(499);
    assert_eq!(world.phase("web:0"), Phase::Running);
    world.exits("web:1", 0);
    world.wait(1000);
    let story = world.story();
    assert!(
        story.iter().any(|line| line.ends_with("web: web:1 did not get ready: exit code 0")),
        "{story:?}"
    );
    assert!(!story.iter().any(|line| line.contains("asked")), "it costs no old one: {story:?}");
    assert_eq!(world.seen("web").launch.map(|launch| launch.0), Some(1));

    world.tell(Event::Asked(Request::Roll(WEB)));
    world.wait(5000);
    let expected =
        ["1499 web:1 launched", "1999 web asked", "1999 web launched", "2499 web:1 asked", "2499 web rolled"];
    assert_eq!(world.story(), expected);
}

fn next(worker: Worker, manner: Manner) -> supervision::Change {
    supervision::Change { changed: vec![(WEB, worker, manner)], order: vec![WEB], ..Default::default() }
}

/// How many of them are ready.
fn count_ready(world: &World) -> usize {
    world.core.instances().filter(|now| now.phase == Phase::Running).count()
}

fn launches(world: &World) -> Vec<u64> {
    world.core.instances().map(|now| now.launch.map_or(0, |launch| launch.0)).collect()
}

#[test]
fn one_that_is_changed_while_it_rolls_rolls_on_by_what_holds_now_and_is_never_less() {
    let mut world = World::of([web(1)]);
    ready(&mut world, "web:0");
    world.tell(Event::Asked(Request::Roll(WEB)));
    ready(&mut world, "web:1");
    assert_eq!((world.phase("web:0"), count_ready(&world)), (Phase::Starting, 1), "the one more stands in");
    world.story();
    world.change(next(Worker { grace: Duration::from_secs(7), ..web(1) }, Manner::Roll));
    assert_eq!(world.story(), ["0 web asked", "0 web launched"], "by the newest config, and nobody else");
    assert_eq!(count_ready(&world), 1);
    ready(&mut world, "web:0");
    assert_eq!(world.story(), ["0 web:1 asked", "0 web rolled"]);
    assert_eq!((launches(&world), count_ready(&world)), (vec![3], 1));
}

#[test]
fn who_waits_for_a_launch_that_never_gets_ready_helps_it_with_another_config() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.change(next(Worker { grace: Duration::from_secs(7), ..web(2) }, Manner::Roll));
    assert_eq!(world.phase("web:2"), Phase::Starting);
    world.change(next(web(2), Manner::Roll));
    assert_eq!(world.story(), ["0 web:2 launched", "0 web:2 asked", "0 web:2 launched"]);
    for name in ["web:2", "web:0", "web:1"] {
        assert!(count_ready(&world) >= 2);
        ready(&mut world, name);
    }
    assert_eq!((launches(&world), count_ready(&world)), (vec![2, 2], 2));
    assert_eq!(world.story().last().map(String::as_str), Some("0 web rolled"));
}

#[test]
fn what_does_not_touch_what_runs_does_not_disturb_it_and_another_number_comes_about_at_its_end() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    ready(&mut world, "web:2");
    world.story();
    world.change(next(Worker { grace: Duration::from_secs(7), ..web(1) }, Manner::Keep));
    assert_eq!(world.story(), [] as [&str; 0], "those that are too many stand in");
    assert_eq!(world.core.wanted_instances(WEB), 1);
    ready(&mut world, "web:0");
    assert_eq!(world.story(), ["0 web:2 asked", "0 web:1 asked", "0 web rolled"]);
    assert_eq!(launches(&world), [2]);

    world.tell(Event::Asked(Request::Roll(WEB)));
    ready(&mut world, "web:1");
    world.change(next(web(3), Manner::Keep));
    ready(&mut world, "web:2");
    assert!(world.core.is_rolling(WEB), "the new one of web:0 is on its way");
    ready(&mut world, "web:0");
    assert!(!world.core.is_rolling(WEB));
    assert_eq!(count_ready(&world), 3);
}

#[test]
fn where_more_are_wanted_what_is_on_its_way_is_awaited_before_the_next_old_one_goes() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    ready(&mut world, "web:2");
    assert_eq!(world.phase("web:0"), Phase::Starting);
    world.story();
    world.change(next(web(3), Manner::Keep));
    assert_eq!(world.story(), [] as [&str; 0], "what was the one more is one of them");
    ready(&mut world, "web:0");
    assert_eq!(world.story(), ["0 web:3 launched"], "another one stands in");
    ready(&mut world, "web:3");
    assert_eq!(world.story(), ["0 web:1 asked", "0 web:1 launched"]);
    ready(&mut world, "web:1");
    assert_eq!(world.story(), ["0 web:3 asked", "0 web rolled"]);
    assert_eq!((launches(&world), count_ready(&world)), (vec![2, 2, 1], 3));

    // And where it fails, no other is touched.
    world.tell(Event::Asked(Request::Roll(WEB)));
    ready(&mut world, "web:3");
    world.change(next(web(4), Manner::Keep));
    world.story();
    world.exits("web:0", 7);
    let story = world.story();
    assert!(
        story.iter().any(|line| line.ends_with("web: web:0 did not get ready: exit code 7")),
        "{story:?}"
    );
    assert!(!story.iter().any(|line| line.contains("asked")), "{story:?}");
    assert!(!world.core.is_rolling(WEB));
}

#[test]
fn who_was_one_too_many_for_a_while_is_replaced_like_the_others() {
    let mut world = two(Strategy::OneForOne, web(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    world.change(next(web(1), Manner::Keep));
    world.change(next(web(2), Manner::Keep));
    for name in ["web:2", "web:0", "web:1"] {
        ready(&mut world, name);
    }
    assert!(!world.core.is_rolling(WEB));
    assert_eq!((launches(&world), count_ready(&world)), (vec![2, 2], 2));
}

#[test]
fn who_is_one_too_many_and_fails_before_its_turn_to_go_does_not_end_the_run() {
    let mortal = |instances| Worker {
        restart: supervision::Restart::Never,
        on_failed: OnFailed::Stop,
        ..web(instances)
    };
    let mut world = two(Strategy::OneForOne, mortal(2));
    world.tell(Event::Asked(Request::Roll(WEB)));
    world.change(next(mortal(1), Manner::Keep));
    assert_eq!(world.phase("web:1"), Phase::Running, "it stays as long as the roll goes on");
    world.exits("web:1", 7);
    for name in ["web:2", "web:0"] {
        ready(&mut world, name);
    }
    assert_eq!((launches(&world), count_ready(&world)), (vec![2], 1));
    assert_eq!(world.conclusion(), None);
}

#[test]
fn who_is_like_that_already_is_spared() {
    let mut world = two(Strategy::OneForOne, web(2));
    let spared = vec![supervision::InstanceId { worker: WEB, index: 0 }];
    world.change(supervision::Change { spared: spared.clone(), ..next(web(2), Manner::Restart) });
    assert_eq!(world.story(), ["0 web:1 asked", "0 web:1 launched"]);
    ready(&mut world, "web:1");
    world.change(supervision::Change { spared, ..next(web(2), Manner::Roll) });
    for name in ["web:2", "web:1"] {
        ready(&mut world, name);
    }
    assert!(!world.core.is_rolling(WEB));
    assert_eq!(launches(&world), [1, 3]);
}
