//! The operations by themselves, in a form that Miri can run: threads of one process, no files, nobody that dies.
//!
//! `MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p ipc --lib plain`. Miri has no mappings of files, so
//! its memory is allocated ([`crate::memory`]); all else is the code that runs elsewhere, but for the copies in
//! assembly, in whose place come those by atomics.

use std::sync::atomic::Ordering;
use std::thread;

use crate::put::Run;
use crate::queue::Queue;
use crate::segment::Recover;
use crate::sync::{Family, SyncOptions};
use crate::tag::Which;
use crate::{QueueOptions, TryGetError, TryPutError};

fn queue(capacity: u64) -> Queue {
    let options = QueueOptions {
        capacity: Some(capacity),
        max_bytes: Some(16 << 10),
        max_deliveries: Some(3),
        participants: 2,
        supervised: true,
        checksums: true,
        ..Default::default()
    };
    Queue::create_anonymous("plain", &options).expect("memory")
}

#[test]
fn plain_messages_of_all_sizes_come_back_whole() {
    let queue = queue(4);
    for length in [0, 1, 7, 8, 9, 87, 88, 89, 1024, 1025, 3000] {
        let message: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
        queue.put(&message).expect("there is room");
        assert_eq!(queue.peek().expect("it is well").as_ref(), Some(&message));
        assert_eq!(queue.get().expect("it is there"), message);
    }
    queue.ack_got();
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
}

#[test]
fn plain_a_queue_goes_around_and_is_full_when_it_is() {
    let queue = queue(3);
    for turn in 0..70u32 {
        (0..3).for_each(|_| queue.try_put(&turn.to_le_bytes()).expect("there is room"));
        assert_eq!(queue.try_put(b"one more"), Err(TryPutError::Full));
        let got = queue.get_many(3).expect("they are there");
        assert_eq!(got, [turn.to_le_bytes(); 3]);
    }
    assert_eq!(queue.stats().puts, 210);
}

/// Puts three as one call does, up to where the tail would be moved; `beside` comes in between.
fn put_three_and_stop(queue: &Queue, beside: impl Fn()) -> Run {
    let core = queue.core();
    let me = core.join().expect("a place is free");
    let mut run = core.begin_run();
    core.locals.with(|local| {
        for (nth, message) in [b"a", b"b", b"c"].into_iter().enumerate() {
            if nth == 2 {
                beside();
            }
            let block = core.write_message(me, local, message).expect("there is memory");
            assert!(core.publish_in_run(me, block, &mut run).expect("it is well"));
        }
    });
    run
}

#[test]
fn plain_many_put_together_are_all_shown_though_another_has_moved_the_tail_in_between() {
    let queue = queue(8);
    let core = queue.core();
    let ring = core.ring(Which::First);
    // As a producer does that meets the first of them, and is stopped before it comes to its own.
    let run = put_three_and_stop(&queue, || ring.help_tail(ring.origin()));
    core.end_run(run);
    assert_eq!(ring.length(), 3);
    assert_eq!(queue.try_get_many(9).expect("they are there"), [b"a", b"b", b"c"]);
    assert_eq!(ring.length(), 0);
}

#[test]
fn plain_many_put_together_by_one_who_died_before_the_tail_was_moved_are_all_shown_once_it_is_reclaimed() {
    let queue = queue(8);
    let core = queue.core();
    put_three_and_stop(&queue, || ());
    let me = core.join().expect("a place is free");
    core.recover(me + 1, me).expect("it is well");
    assert_eq!(queue.try_get_many(9).expect("they are there"), [b"a", b"b", b"c"]);
}

#[test]
fn plain_many_are_got_though_one_who_claimed_before_has_not_moved_the_head() {
    let queue = queue(8);
    let core = queue.core();
    queue.put_many(&["a", "b", "c"]).expect("there is room");
    let me = core.join().expect("a place is free");
    let ring = core.ring(Which::First);
    let head = ring.head().load(Ordering::Relaxed);
    core.claim(me + 1).expect("it is well");
    ring.head().store(head, Ordering::Relaxed);
    let mut got = Vec::new();
    queue
        .get_more(9, |message| {
            got.push(message);
            true
        })
        .expect("they are there");
    assert_eq!(got, [b"b", b"c"]);
    assert_eq!(ring.length(), 0);
}

#[test]
fn plain_what_is_given_back_comes_again_until_it_is_given_up_on() {
    let queue = queue(3);
    queue.put_many(&[&b"a"[..], b"b"]).expect("there is room");
    for deliveries in 1..=3 {
        let lease = queue.lease().expect("it is there");
        assert_eq!((lease.bytes(), lease.deliveries()), (&b"a"[..], deliveries));
        lease.nack();
    }
    queue.lease().expect("the other is there").ack();
    let letter = queue.take_dead().expect("it is well").expect("it was given up on");
    assert_eq!(letter.into_bytes(), b"a");
    queue.close();
    assert!(queue.is_closed() && queue.put(b"late").is_err());
    queue.reopen().expect("it is well");
    queue.put(b"again").expect("it is open");
}

#[test]
fn plain_threads_share_a_queue_and_sleep_in_it() {
    let queue = queue(2);
    let producer = thread::spawn({
        let queue = queue.clone();
        move || (0..25u32).for_each(|number| queue.put(&number.to_le_bytes()).expect("it is open"))
    });
    for number in 0..25u32 {
        assert_eq!(queue.get().expect("it comes"), number.to_le_bytes());
    }
    producer.join().expect("it ends well");
}

#[test]
fn plain_threads_share_a_lock_a_permit_and_an_event() {
    let options = SyncOptions {
        locks: vec!["lock".to_owned()],
        semaphores: vec![("semaphore".to_owned(), 1)],
        events: vec!["event".to_owned()],
        values: vec![("value".to_owned(), 0)],
        participants: 2,
        supervised: true,
        ..Default::default()
    };
    let family = Family::create_anonymous("plain", &options).expect("memory");
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let family = family.clone();
            thread::spawn(move || {
                family.event("event").expect("made so").wait().expect("it is set");
                let value = family.value("value").expect("made so");
                for _ in 0..5 {
                    let _guard = family.lock("lock").expect("made so").acquire().expect("it comes free");
                    value.set(value.get() + 1);
                }
                drop(family.semaphore("semaphore").expect("made so").acquire().expect("it comes free"));
            })
        })
        .collect();
    family.event("event").expect("made so").set().expect("it is well");
    threads.into_iter().for_each(|thread| thread.join().expect("it ends well"));
    assert_eq!(family.value("value").expect("made so").get(), 10);
}
