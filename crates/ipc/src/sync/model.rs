//! Every interleaving of taking, giving back and recovering locks and permits, with a death at every atomic step.
//!
//! As [`crate::model`], and with the same limits: nobody sleeps in a model, and nothing in it is out of date. What is
//! modelled is a lock and a semaphore: their words, the actors' records, and recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use loom::thread;

use crate::atomic::model::killed_after;
use crate::liveness::Identity;
use crate::model::explore;
use crate::segment::Recover;
use crate::sync::inner::Core;
use crate::sync::lock::Took;
use crate::sync::semaphore::Semaphore;
use crate::sync::{SyncOptions, directory::What};

/// A lock and a semaphore of one permit, and participants 0 to 3, each with an actor of the same number.
struct World {
    core: Arc<Core>,
    lock: usize,
    semaphore: Semaphore,
    /// How many hold the lock, as they see it themselves.
    inside: AtomicU32,
}

fn world() -> Arc<World> {
    let options = SyncOptions {
        locks: vec!["lock".to_owned()],
        bounded_semaphores: vec![("semaphore".to_owned(), 1)],
        participants: 5,
        ..Default::default()
    };
    let core = Core::create_anonymous("model", &options).expect("memory");
    let lock = core.place(core.find(&[What::Lock], "lock").expect("made so"));
    let semaphore = core.find(&[What::BoundedSemaphore], "semaphore").expect("made so");
    let semaphore = Semaphore::of(&core, semaphore);
    for number in 0..4 {
        let who = Identity { pid: 1 + number, mark: 1 };
        assert_eq!(core.segment.participants().join(who), Ok(number), "a place is free");
        assert_eq!(core.claim_actor(number, 1 + number), Ok(number), "a record is free");
    }
    let world = Arc::new(World { core, lock, semaphore, inside: AtomicU32::new(0) });
    // Brings all words into being that the programs use: for loom that is an access too, and must come first.
    assert!(world.take(0).is_some());
    world.give_back(0);
    assert!(world.permit(0));
    world.core.recover(0, 3).expect("it is well");
    assert_eq!(world.core.claim_actor(0, 1), Ok(0), "a record is free");
    world
}

impl World {
    /// Takes the lock, if it is free; whether somebody had died with it.
    fn take(&self, actor: u32) -> Option<bool> {
        match self.core.take(self.lock, actor, 1).expect("it is well") {
            Took::Yes { died } => Some(died),
            Took::Mine | Took::Held => None,
        }
    }

    fn give_back(&self, actor: u32) {
        assert_eq!(self.core.release(self.lock, actor, false), 1, "it was held once");
    }

    fn permit(&self, participant: u32) -> bool {
        self.semaphore.take_now(participant).expect("it is well").is_some()
    }

    fn recover(&self, dead: u32, by: u32) -> u32 {
        self.core.recover(dead, by).expect("it is well").handed_on
    }
}

#[test]
fn model_a_holder_that_may_die_anywhere_beside_one_who_wants_the_lock() {
    explore("a lock's holder that dies beside another", |steps, deaths| {
        let world = world();
        let holder = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                killed_after(steps, || {
                    let is_taken = world.take(1).is_some();
                    if is_taken {
                        assert_eq!(world.inside.fetch_add(1, Relaxed), 0, "nobody else is inside");
                        world.inside.fetch_sub(1, Relaxed);
                        world.give_back(1);
                    }
                    is_taken
                })
            }
        });
        let died = world.take(0);
        if died.is_some() {
            assert_eq!(died, Some(false), "nobody has been recovered yet");
            assert_eq!(world.inside.fetch_add(1, Relaxed), 0, "nobody else is inside");
            world.inside.fetch_sub(1, Relaxed);
            world.give_back(0);
        }
        let outcome = deaths.note(holder.join().expect("a thread of the model"));
        let handed_on = if outcome.is_none() { world.recover(1, 2) } else { 0 };
        assert_eq!(world.take(0), Some(handed_on == 1), "it is free, and says whether somebody died with it");
        assert_eq!(world.take(2), None, "and only one has it");
    });
}

#[test]
fn model_a_recoverer_of_a_lock_that_may_die_anywhere_beside_one_who_wants_it() {
    explore("a lock's recoverer that dies beside another", |steps, deaths| {
        let world = world();
        assert!(world.take(3).is_some() && world.permit(3));
        // Participant 3 is dead; 1 recovers it and may die; 2 recovers both.
        let recoverer = thread::spawn({
            let world = Arc::clone(&world);
            move || killed_after(steps, || world.recover(3, 1))
        });
        let mine = world.take(0);
        assert!(matches!(mine, None | Some(true)), "who takes it learns of the death");
        deaths.note(recoverer.join().expect("a thread of the model"));
        world.recover(1, 2);
        world.recover(3, 2);
        match mine {
            Some(_) => assert_eq!(world.take(2), None, "what was taken meanwhile is not handed on again"),
            None => assert_eq!(world.take(2), Some(true)),
        }
        assert!(world.permit(2) && !world.permit(2), "the permit came back once");
    });
}

#[test]
fn model_a_holder_of_a_permit_that_may_die_anywhere_beside_one_who_wants_it() {
    explore("a permit's holder that dies beside another", |steps, deaths| {
        let world = world();
        let holder = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                killed_after(steps, || {
                    let taken = world.semaphore.take_now(1).expect("it is well");
                    if let Some(permit) = taken {
                        assert_eq!(world.inside.fetch_add(1, Relaxed), 0, "there is one permit");
                        world.inside.fetch_sub(1, Relaxed);
                        world.semaphore.hold(permit, 1).release();
                    }
                })
            }
        });
        let mine = world.permit(0);
        if mine {
            assert_eq!(world.inside.load(Relaxed), 0, "there is one permit");
        }
        let outcome = deaths.note(holder.join().expect("a thread of the model"));
        if outcome.is_none() {
            world.recover(1, 2);
        }
        assert_eq!(world.permit(2), !mine, "the dead one's is there again, and no other");
    });
}
