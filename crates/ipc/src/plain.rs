//! The operations by themselves, in a form that Miri can run: threads of one process, no files, nobody that dies.
//!
//! `MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p ipc --lib plain`. Miri has no mappings of files, so
//! its memory is allocated ([`crate::memory`]); all else is the code that runs elsewhere, but for the copies in
//! assembly, in whose place come those by atomics.

use std::thread;

use crate::queue::Queue;
use crate::sync::{Family, SyncOptions};
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
