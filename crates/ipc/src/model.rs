//! Every interleaving of small programs over the real code, with a death at every atomic step.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ipc --lib model -- --nocapture`. Loom runs each program again
//! and again until it has seen all orders in which its steps can happen, up to `PREEMPTIONS` switches that were
//! not forced. What is modelled is the ring, the blocks, the claims, the recovery, and sleeping with a table of sleepers
//! in the place of the kernel; values that are out of date are not, since loads count as writes here (see
//! [`crate::atomic`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use loom::thread;

use crate::atomic::model::killed_after;
use crate::core::Core;
use crate::get::Next;
use crate::layout;
use crate::liveness::Identity;
use crate::put::Published;
use crate::queue::Queue;
use crate::segment::Recover;
use crate::tag::Which;
use crate::waiting::{self, Ended, Pace, Patience, Spins, Try};
use crate::{QueueOptions, Stats};

const PREEMPTIONS: usize = 2;

/// Explores a program once for every number of steps after which its victim dies, until it survives in every
/// interleaving; says how many interleavings that were.
pub(crate) fn explore(name: &str, program: impl Fn(u32, &Deaths) + Sync + Send + 'static) {
    let program = Arc::new(program);
    let mut interleavings = 0;
    for steps in 0.. {
        let deaths = Arc::new(Deaths::default());
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        builder.max_branches = 100_000;
        let (one, program) = (Arc::clone(&deaths), Arc::clone(&program));
        builder.check(move || {
            one.runs.fetch_add(1, Relaxed);
            program(steps, &one);
        });
        interleavings += deaths.runs.load(Relaxed);
        if deaths.deaths.load(Relaxed) == 0 {
            println!("{name}: killed after each of {steps} steps in {interleavings} interleavings");
            assert!(steps > 3, "the victim hardly lived");
            return;
        }
    }
}

/// How often a program ran, and in how many of these its victim died.
#[derive(Default)]
pub(crate) struct Deaths {
    runs: AtomicU64,
    deaths: AtomicU64,
}

impl Deaths {
    pub(crate) fn note<T>(&self, outcome: Option<T>) -> Option<T> {
        self.deaths.fetch_add(u64::from(outcome.is_none()), Relaxed);
        outcome
    }
}

/// A queue for two messages, and so many participants in it.
fn queue(participants: u32) -> Queue {
    let options = QueueOptions {
        capacity: Some(2),
        participants: participants + 1,
        max_message: 8,
        ..Default::default()
    };
    let queue = Queue::create_anonymous("model", &options).expect("memory");
    for number in 0..participants {
        let who = Identity { pid: 1 + number, mark: 1 };
        queue.core().segment.participants().join(who).expect("a place is free");
    }
    touch(queue.core());
    queue
}

/// Brings all words into being that the programs use: for loom that is an access too, and it must come before
/// all others.
fn touch(core: &Core) {
    let memory = core.segment.memory();
    for which in [Which::First, Which::Again, Which::Dead] {
        let ring = core.ring(which);
        (0..6).for_each(|ticket| drop(ring.read(ring.origin() + ticket)));
    }
    for block in 0..6 {
        let at = core.layout.block(block);
        for field in [0, layout::RAISED, layout::ID, layout::CHAIN] {
            memory.u64(at + field);
        }
        for field in [layout::LENGTH, layout::CHECKSUM] {
            memory.u32(at + field);
        }
    }
    for side in [layout::CAME, layout::PLACE, layout::MEMORY, layout::DRAINED] {
        memory.u64(side);
        memory.u32(side + 8);
    }
    for word in [layout::DUE, layout::INCARNATION, layout::ID_BASE] {
        memory.u64(word);
    }
    for word in [layout::WINDOW, layout::REACH, layout::PAGE_WINDOW, layout::CLOSED] {
        memory.u32(word);
    }
    core.segment.check().expect("it is well");
}

fn put(core: &Core, me: u32, message: u8) -> Published {
    core.locals.with(|local| {
        let block = core.write_message(me, local, &[message]).expect("there is memory");
        core.publish_first(me, block, local).expect("it is well")
    })
}

/// Puts both with one call; answers how many found a place.
fn put_both(core: &Core, me: u32, messages: [u8; 2]) -> usize {
    core.locals.with(|local| {
        let mut run = core.begin_run();
        let is_put = |message| {
            if !core.has_place(run, local) {
                return false;
            }
            let block = core.write_message(me, local, &[message]).expect("there is memory");
            let is_put = core.publish_in_run(me, block, &mut run).expect("it is well");
            if !is_put {
                core.free_block(block);
            }
            is_put
        };
        let put = messages.into_iter().map(is_put).take_while(|&is_put| is_put).count();
        core.end_run(run);
        put
    })
}

/// Gets the next message without acknowledging it.
fn claim(core: &Core, me: u32) -> Option<u8> {
    match core.claim(me).expect("it is well") {
        Next::Claimed(claim) => Some(core.read_message(claim.block).expect("it is whole")[0]),
        Next::Empty | Next::Ended => None,
    }
}

/// Recovers the `dead` and drains the queue: what waited, in order. The living have `held` in hand.
fn drain(core: &Core, dead: &[u32], me: u32, held: u64) -> Vec<u8> {
    for &dead in dead {
        core.recover(dead, me).expect("it is well");
    }
    let mut all = Vec::new();
    while let Next::Claimed(claim) = core.claim(me).expect("it is well") {
        all.push(core.read_message(claim.block).expect("it is whole")[0]);
        core.acknowledge(me, claim);
    }
    let stats = Stats::of(core);
    assert_eq!((stats.len, stats.in_flight, stats.bytes), (0, held, held), "nothing is left behind");
    all
}

#[test]
fn model_two_producers_one_of_which_may_die_anywhere() {
    explore("a put that dies beside a put", |steps, deaths| {
        let queue = queue(3);
        let other = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || put(queue.core(), 1, b'x'))
        });
        assert_eq!(put(queue.core(), 0, b'a'), Published::Done);
        let outcome = deaths.note(other.join().expect("a thread of the model"));
        let left: BTreeSet<u8> = drain(queue.core(), &[1], 2, 0).into_iter().collect();
        assert!(left.contains(&b'a'));
        assert!(outcome.is_none() || left.contains(&b'x'));
        assert!(left.len() <= 2);
    });
}

#[test]
fn model_a_producer_of_two_beside_a_look_at_the_length_leaves_no_tail_behind_wherever_it_dies() {
    explore("two puts in one call that die beside a look", |steps, deaths| {
        let queue = queue(3);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || put_both(queue.core(), 1, *b"xy"))
        });
        let seen = queue.core().waiting(Which::First);
        let put = deaths.note(producer.join().expect("a thread of the model"));
        if put.is_none() {
            queue.core().recover(1, 2).expect("it is well");
        }
        let shown = queue.core().ring(Which::First).length();
        let left = drain(queue.core(), &[], 2, 0);
        assert_eq!(shown, left.len() as u64, "who takes several together finds them all");
        assert!(b"xy".starts_with(&left) && seen <= shown);
        assert!(put.is_none_or(|put| put == left.len()));
    });
}

#[test]
fn model_a_producer_and_a_consumer_that_may_die_anywhere() {
    explore("a get that dies beside a put", |steps, deaths| {
        let queue = queue(3);
        put(queue.core(), 0, b'a');
        let consumer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || claim(queue.core(), 1))
        });
        assert_eq!(put(queue.core(), 0, b'b'), Published::Done);
        let got = deaths.note(consumer.join().expect("a thread of the model"));
        assert!(matches!(got, None | Some(Some(b'a'))), "first in, first out");
        assert_eq!(drain(queue.core(), &[1], 2, 0), b"ab", "what was not acknowledged comes again, in order");
    });
}

#[test]
fn model_two_consumers_never_get_the_same() {
    explore("a get that dies beside a get", |steps, deaths| {
        let queue = queue(3);
        put(queue.core(), 0, b'a');
        put(queue.core(), 0, b'b');
        let other = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || claim(queue.core(), 1))
        });
        let mine = claim(queue.core(), 0).expect("there are two");
        let others = deaths.note(other.join().expect("a thread of the model")).flatten();
        assert_ne!(Some(mine), others);
        let mut left = drain(queue.core(), &[1], 2, 1);
        left.push(mine);
        left.sort_unstable();
        assert_eq!(left, b"ab");
    });
}

#[test]
fn model_a_recoverer_that_may_die_anywhere_beside_a_consumer() {
    explore("a recovery that dies beside a get", |steps, deaths| {
        let queue = queue(4);
        put(queue.core(), 0, b'a');
        claim(queue.core(), 3);
        put(queue.core(), 0, b'b');
        // Participant 3 is dead and holds "a"; 1 recovers it and may die; 2 recovers both.
        let recoverer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || queue.core().recover(3, 1).is_ok())
        });
        let mine = claim(queue.core(), 0);
        deaths.note(recoverer.join().expect("a thread of the model"));
        let mut left = drain(queue.core(), &[1, 3], 2, u64::from(mine.is_some()));
        left.extend(mine);
        left.sort_unstable();
        assert_eq!(left, b"ab");
    });
}

#[test]
fn model_closing_beside_a_put_loses_nothing() {
    explore("a put that dies beside a close", |steps, deaths| {
        let queue = queue(3);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || put(queue.core(), 1, b'x'))
        });
        // What `close` does, without waking anybody.
        while !queue.core().is_ended().expect("it is well") {
            queue.core().mark_end().expect("it is well");
        }
        let outcome = deaths.note(producer.join().expect("a thread of the model"));
        let left = drain(queue.core(), &[1], 2, 0);
        assert_eq!(put(queue.core(), 0, b'y'), Published::Closed);
        match outcome {
            Some(Published::Done) => assert_eq!(left, b"x"),
            Some(_) => assert!(left.is_empty()),
            None => assert!(left.len() <= 1),
        }
    });
}

#[test]
fn model_opening_again_beside_a_put_loses_nothing() {
    explore("an opening again that dies beside a put", |steps, deaths| {
        let queue = queue(3);
        queue.core().end_first().expect("it is well");
        let opener = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || queue.core().open_again().is_ok())
        });
        let mine = put(queue.core(), 0, b'x');
        let outcome = deaths.note(opener.join().expect("a thread of the model"));
        let expected: &[u8] = if mine == Published::Done { b"x" } else { b"" };
        assert_eq!(drain(queue.core(), &[1], 2, 0), expected);
        if outcome.is_some() {
            assert_eq!(put(queue.core(), 0, b'y'), Published::Done);
        }
    });
}

#[test]
fn model_a_get_from_an_empty_queue_beside_a_put_that_may_die_anywhere() {
    explore("a put that dies beside a get of nothing", |steps, deaths| {
        let queue = queue(3);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || put(queue.core(), 1, b'x'))
        });
        let got = claim(queue.core(), 0);
        let outcome = deaths.note(producer.join().expect("a thread of the model"));
        let left = drain(queue.core(), &[1], 2, u64::from(got.is_some()));
        match got {
            Some(message) => assert_eq!((message, left.len()), (b'x', 0)),
            None if outcome.is_some() => assert_eq!(left, b"x"),
            None => assert!(left.is_empty() || left == b"x"),
        }
    });
}

/// Tries until it is done, asleep on a side in between, with no end but success.
fn wait<T>(core: &Core, side: usize, mut attempt: impl FnMut() -> Option<T>) -> T {
    let spins = Spins::new();
    let patience = Patience {
        until_ns: u64::MAX,
        interrupt: None,
        spins: &spins,
        pace: Pace::Eager,
        is_worth_a_try: &|| true,
    };
    let attempt = || Ok::<_, Ended>(attempt().map_or(Try::NotBefore(u64::MAX), Try::Done));
    let waited = waiting::wait(core.segment.memory(), || side, &patience, attempt, || u64::MAX, || Ok(()));
    waited.expect("nothing ends it but success")
}

#[test]
fn model_a_sleeper_is_woken_by_a_put_or_by_the_recovery_of_one_who_died_in_it() {
    explore("a put that dies beside a sleeper", |steps, deaths| {
        let queue = queue(3);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || put(queue.core(), 1, b'x'))
        });
        let consumer = thread::spawn({
            let queue = queue.clone();
            move || wait(queue.core(), layout::CAME, || claim(queue.core(), 0))
        });
        if deaths.note(producer.join().expect("a thread of the model")).is_none() {
            queue.core().recover(1, 2).expect("it is well");
            // It may have died before its message was there; then this one wakes the sleeper.
            put(queue.core(), 2, b'y');
        }
        assert!(matches!(consumer.join().expect("a thread of the model"), b'x' | b'y'));
    });
}

#[test]
fn model_a_put_that_sleeps_for_a_place_is_woken_by_a_get_or_by_the_recovery_of_one_who_died_in_it() {
    explore("a get that dies beside a put asleep", |steps, deaths| {
        let queue = queue(3);
        put(queue.core(), 0, b'a');
        put(queue.core(), 0, b'b');
        let consumer = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || claim(queue.core(), 1))
        });
        let producer = thread::spawn({
            let queue = queue.clone();
            move || {
                let core = queue.core();
                core.locals.with(|local| {
                    let block = core.write_message(0, local, b"c").expect("there is memory");
                    wait(core, layout::PLACE, || {
                        let published = core.publish_first(0, block, local).expect("it is well");
                        (published == Published::Done).then_some(())
                    });
                });
            }
        });
        if deaths.note(consumer.join().expect("a thread of the model")).is_none() {
            queue.core().recover(1, 2).expect("it is well");
            claim(queue.core(), 2);
        }
        producer.join().expect("a thread of the model");
    });
}

#[test]
fn model_one_who_dies_when_woken_keeps_no_message_from_another_sleeper() {
    explore("a sleeper that dies beside a sleeper", |steps, deaths| {
        let queue = queue(3);
        let other = thread::spawn({
            let queue = queue.clone();
            move || killed_after(steps, || wait(queue.core(), layout::CAME, || claim(queue.core(), 1)))
        });
        let consumer = thread::spawn({
            let queue = queue.clone();
            move || wait(queue.core(), layout::CAME, || claim(queue.core(), 0))
        });
        put(queue.core(), 2, b'x');
        put(queue.core(), 2, b'y');
        // Asleep for ever is one of the two only if it has no message to get; the dead one's comes again.
        if deaths.note(other.join().expect("a thread of the model")).is_none() {
            queue.core().recover(1, 2).expect("it is well");
        }
        assert!(matches!(consumer.join().expect("a thread of the model"), b'x' | b'y'));
    });
}
