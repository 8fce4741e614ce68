//! The core in a seeded world that hurts it. A failure prints the seed, what happened, and how to see it again.
//!
//! `SIMULATION_SEEDS` says how many seeds are run (20,000), `SIMULATION_SEED` from which on (0), `SIMULATION_LINES` how many
//! lines of a story that went wrong are told, the last ones (200).

mod checks;
mod families;
mod outcome;
mod random;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use supervision::{Conclusion, Phase};

use crate::outcome::{outcomes, quiet_family};
use crate::random::Random;
use crate::world::{Mood, Nature, World};

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, found {text}")),
        Err(_) => default,
    }
}

fn seeds() -> std::ops::Range<u64> {
    let first = number("SIMULATION_SEED", 0);
    first..first.saturating_add(number("SIMULATION_SEEDS", 20_000))
}

/// Lives through `world`; when something is wrong, tells the story that led to it.
fn live(seed: u64, test: &str, mut world: World, life: impl FnOnce(&mut World)) -> World {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| life(&mut world))) {
        world.tell_story();
        eprintln!("seed {seed} failed; to see it again:");
        eprintln!(
            "  SIMULATION_SEED={seed} SIMULATION_SEEDS=1 cargo test -p supervision --test simulation {test}"
        );
        resume_unwind(panic);
    }
    world
}

fn hurt(seed: u64, test: &str) -> World {
    let mut random = Random::new(seed);
    let family = families::any(&mut random);
    let mood = if seed.is_multiple_of(4) { Mood::Kind } else { Mood::Unkind };
    let world = World::new(random.below(u64::MAX), mood, family, Nature::Any);
    live(seed, test, world, World::live_and_be_hurt)
}

#[test]
fn whatever_happens_the_core_keeps_its_word() {
    let mut actions = 0;
    for seed in seeds() {
        actions += hurt(seed, "whatever_happens_the_core_keeps_its_word").actions;
    }
    println!("{} seeds, {actions} actions checked", seeds().count());
}

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in seeds().take(100) {
        let [one, other] = [(); 2].map(|()| hurt(seed, "the_same_seed_gives_the_same_story"));
        assert!(one.story == other.story, "seed {seed}");
        assert!(one.actions > 0, "seed {seed} shows nothing");
    }
}

#[test]
fn a_quiet_run_ends_as_a_plain_reading_of_its_config_says() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let (family, scripts) = quiet_family(&mut random);
        let expected = outcomes(&family, &scripts);
        let mood = if seed.is_multiple_of(2) { Mood::Kind } else { Mood::Unkind };
        let world = World::new(random.below(u64::MAX), mood, family, Nature::Scripted(scripts));
        let test = "a_quiet_run_ends_as_a_plain_reading_of_its_config_says";
        live(seed, test, world, |world| {
            world.live_quietly();
            let seen: BTreeMap<_, _> = world
                .core
                .instances()
                .map(|instance| (instance.id, (instance.phase, instance.launch.map_or(0, |launch| launch.0))))
                // A service may come too late to be launched at all.
                .map(|(id, (phase, launches))| {
                    (id, (phase, launches.max(u64::from(phase == Phase::Stopped))))
                })
                .collect();
            assert_eq!(seen, expected);
            let failed = expected.iter().any(|(_, (phase, _))| *phase == Phase::Failed);
            match &world.conclusion {
                Some(Conclusion::Essential { .. }) => panic!("nobody is essential"),
                Some(Conclusion::Failed { instance, ending }) => {
                    let (phase, launches) = expected[instance];
                    assert_eq!(phase, Phase::Failed);
                    assert!(launches > 0 && ending.is_some(), "the first to fail failed by itself");
                }
                conclusion => {
                    assert!(!failed && *conclusion == Some(Conclusion::Succeeded), "{conclusion:?}")
                }
            }
        });
    }
}
