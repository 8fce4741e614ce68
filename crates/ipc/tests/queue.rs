//! What a queue promises to one process, its threads and its children.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ipc::{
    Acknowledge, Batch, GetError, GetTimeoutError, PutError, PutTimeoutError, Queue, QueueOptions,
    TryGetError, TryPutError,
};

fn bounded(capacity: u64) -> Queue {
    Queue::create_anonymous("test", &QueueOptions { capacity: Some(capacity), ..Default::default() }).unwrap()
}

fn bytes_of(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(31) ^ (i >> 10).wrapping_mul(seed + 7) ^ seed) as u8).collect()
}

#[test]
fn messages_come_out_in_the_order_they_went_in_many_times_around() {
    let queue = bounded(5);
    let mut put = 0u32;
    let mut got = 0u32;
    for round in 0..1000 {
        for _ in 0..round % 6 {
            match queue.try_put(&put.to_le_bytes()) {
                Ok(()) => put += 1,
                Err(error) => assert_eq!((error, put - got), (TryPutError::Full, 5)),
            }
        }
        assert_eq!(queue.len(), u64::from(put - got));
        for _ in 0..round % 4 {
            match queue.try_get() {
                Ok(bytes) => {
                    assert_eq!(bytes, got.to_le_bytes());
                    got += 1;
                }
                Err(error) => assert_eq!((error, put - got), (TryGetError::Empty, 0)),
            }
        }
    }
    assert!(put > 1000);
}

#[test]
fn capacity_is_exact_for_every_small_capacity() {
    for capacity in 1..40 {
        let queue = bounded(capacity);
        for turn in 0..3 {
            for i in 0..capacity {
                assert!(!queue.is_full(), "{i} of {capacity} in turn {turn}");
                queue.try_put(b"x").unwrap();
            }
            assert!(queue.is_full());
            assert_eq!(queue.try_put(b"x"), Err(TryPutError::Full));
            for _ in 0..capacity {
                queue.try_get().unwrap();
            }
            assert!(queue.is_empty());
        }
    }
}

#[test]
fn messages_of_every_size_come_back_whole() {
    let queue = bounded(4);
    let sizes = (0..260).chain([1023, 1024, 1025, 4096, 65_535, 65_536, 1 << 20, (16 << 20) - 1, 16 << 20]);
    for (seed, size) in sizes.enumerate() {
        let message = bytes_of(size, seed);
        queue.put(&message).unwrap();
        queue.put(b"after").unwrap();
        assert!(queue.peek().unwrap().unwrap() == message, "peeked at {size} bytes");
        assert!(queue.get().unwrap() == message, "{size} bytes");
        assert_eq!(queue.get().unwrap(), b"after");
    }
}

#[test]
fn a_message_larger_than_allowed_is_refused_with_both_sizes() {
    let options = QueueOptions { capacity: Some(2), max_message: 1000, ..Default::default() };
    let queue = Queue::create_anonymous("small", &options).unwrap();
    assert_eq!(queue.put(&[0; 1001]), Err(PutError::TooLarge { length: 1001, limit: 1000 }));
    queue.put(&[0; 1000]).unwrap();
}

#[test]
fn a_lease_dropped_comes_again_first_with_its_count_raised_and_its_id_kept() {
    let queue = bounded(8);
    queue.put(b"a").unwrap();
    queue.put(b"b").unwrap();
    let lease = queue.lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"a"[..], 1));
    let id = lease.id();
    drop(lease);
    for deliveries in 2..10 {
        let lease = queue.lease().unwrap();
        assert_eq!((lease.bytes(), lease.deliveries(), lease.id()), (&b"a"[..], deliveries, id));
        lease.nack();
    }
    queue.lease().unwrap().ack();
    let lease = queue.lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"b"[..], 1));
    assert_ne!(lease.id(), id);
}

#[test]
fn a_message_put_off_comes_when_it_is_due_and_not_before() {
    let queue = bounded(8);
    queue.put(b"later").unwrap();
    queue.put(b"now").unwrap();
    let start = Instant::now();
    queue.lease().unwrap().nack_after(Duration::from_millis(80));
    assert_eq!(queue.get().unwrap(), b"now");
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    assert_eq!(queue.stats().in_flight, 1);
    let lease = queue.lease().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"later"[..], 2));
}

#[test]
fn a_plain_get_is_done_with_the_next_one_or_when_told_or_with_the_handle() {
    let queue = bounded(8);
    for i in 0..4u8 {
        queue.put(&[i]).unwrap();
    }
    queue.get().unwrap();
    assert_eq!(queue.stats().in_flight, 1);
    queue.get().unwrap();
    assert_eq!(queue.stats().in_flight, 1);
    queue.ack_got();
    assert_eq!(queue.stats().in_flight, 0);
    let other = Queue::open(queue.descriptor_path()).unwrap();
    assert_eq!(other.get().unwrap(), [2]);
    assert_eq!(queue.stats().in_flight, 1);
    drop(other);
    assert_eq!(queue.stats().in_flight, 0);
    queue.set_acknowledge(Acknowledge::AtOnce);
    assert_eq!(queue.get().unwrap(), [3]);
    assert_eq!(queue.stats().in_flight, 0);
}

#[test]
fn what_a_thread_got_when_it_panicked_is_delivered_again() {
    let queue = bounded(8);
    queue.put(b"hard").unwrap();
    let path = queue.descriptor_path();
    let worker = thread::spawn(move || {
        let queue = Queue::open(path).unwrap();
        let message = queue.get().unwrap();
        assert!(message.is_empty(), "a panic on purpose");
    });
    assert!(worker.join().is_err());
    let lease = queue.lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"hard"[..], 2));
}

#[test]
fn a_closed_queue_refuses_puts_at_once_and_drains() {
    let queue = bounded(3);
    for i in 0..3u8 {
        queue.put(&[i]).unwrap();
    }
    let blocked = thread::spawn({
        let queue = queue.clone();
        move || queue.put(b"late")
    });
    queue.close();
    assert_eq!(blocked.join().unwrap(), Err(PutError::Closed));
    assert!(queue.is_closed());
    assert_eq!(queue.try_put(b"no"), Err(TryPutError::Closed));
    for i in 0..3u8 {
        assert_eq!(queue.get().unwrap(), [i]);
    }
    assert_eq!(queue.get(), Err(GetError::Closed));
    assert_eq!(queue.try_get(), Err(TryGetError::Closed));
}

#[test]
fn a_getter_of_a_closed_queue_waits_for_what_others_have_in_hand() {
    let queue = bounded(3);
    queue.put(b"a").unwrap();
    queue.put(b"b").unwrap();
    let first = queue.lease().unwrap();
    let second = queue.lease().unwrap();
    queue.close();
    assert_eq!(queue.try_lease().unwrap_err(), TryGetError::Empty);
    let getter = thread::spawn({
        let queue = queue.clone();
        move || (queue.lease().map(|mut lease| lease.take_bytes()), queue.get())
    });
    first.ack();
    second.nack();
    // The getter takes the one given back, lets it go again, gets it, and has it acknowledged by dropping.
    let (leased, got) = getter.join().unwrap();
    assert_eq!(leased.unwrap(), b"b");
    assert_eq!(got.unwrap(), b"b");
    queue.ack_got();
    drop(queue);
}

#[test]
fn timeouts_are_kept_and_nothing_is_lost_by_them() {
    let queue = bounded(1);
    let start = Instant::now();
    assert_eq!(queue.get_timeout(Duration::from_millis(30)), Err(GetTimeoutError::Timeout));
    assert!(start.elapsed() >= Duration::from_millis(30));
    queue.put(b"a").unwrap();
    let start = Instant::now();
    assert_eq!(queue.put_timeout(b"b", Duration::from_millis(30)), Err(PutTimeoutError::Timeout));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.get_timeout(Duration::ZERO).unwrap(), b"a");
}

#[test]
fn dead_letters_are_kept_apart_until_forwarded() {
    let options = QueueOptions { capacity: Some(4), max_deliveries: Some(2), ..Default::default() };
    let queue = Queue::create_anonymous("jobs", &options).unwrap();
    let failed = bounded(4);
    for name in [&b"bad"[..], b"worse"] {
        queue.put(name).unwrap();
        queue.lease().unwrap().nack();
        queue.lease().unwrap().nack_after(Duration::from_secs(3600));
    }
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    assert_eq!(queue.stats().dead_waiting, 2);
    let letter = queue.take_dead().unwrap().unwrap();
    assert_eq!((letter.bytes(), letter.deliveries()), (&b"bad"[..], 3));
    drop(letter);
    assert_eq!(queue.stats().dead_waiting, 2);
    assert_eq!(queue.forward_dead(&failed).unwrap(), 2);
    assert_eq!(failed.get().unwrap(), b"worse");
    assert_eq!(failed.get().unwrap(), b"bad");
    assert!(queue.take_dead().unwrap().is_none());
}

#[test]
fn an_unbounded_queue_grows_refuses_past_its_memory_and_can_be_drained() {
    let options = QueueOptions { max_bytes: Some(4 << 20), ..Default::default() };
    let queue = Queue::create_anonymous("wide", &options).unwrap();
    let mut put = 0u32;
    while queue.try_put(&put.to_le_bytes()).is_ok() {
        put += 1;
    }
    assert_eq!(u64::from(put), (2 << 20) / 128);
    assert_eq!(queue.len(), u64::from(put));
    for expected in 0..put {
        assert_eq!(queue.try_get().unwrap(), expected.to_le_bytes());
    }
    let mut large = 0;
    while queue.try_put(&bytes_of(64 << 10, large)).is_ok() {
        large += 1;
    }
    assert_eq!(large, (2 << 20) / (64 << 10));
    for seed in 0..large {
        assert!(queue.try_get().unwrap() == bytes_of(64 << 10, seed));
    }
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
}

#[test]
fn a_queue_that_had_grown_gives_its_memory_back_when_it_is_drained() {
    use std::os::{fd::AsFd, unix::fs::MetadataExt};
    let options = QueueOptions { max_bytes: Some(256 << 20), ..Default::default() };
    let queue = Queue::create_anonymous("tide", &options).unwrap();
    let file = std::fs::File::from(queue.as_fd().try_clone_to_owned().unwrap());
    let bytes_used = || file.metadata().unwrap().blocks() * 512;
    for turn in 0..2 {
        for i in 0..20_000u32 {
            queue.put(&i.to_le_bytes()).unwrap();
        }
        for i in 0..30u8 {
            queue.put(&vec![i; 1 << 20]).unwrap();
        }
        assert!(bytes_used() > 32 << 20, "turn {turn}");
        for i in 0..20_000u32 {
            assert_eq!(queue.try_get().unwrap(), i.to_le_bytes());
        }
        for i in 0..30u8 {
            assert!(queue.try_get().unwrap() == vec![i; 1 << 20]);
        }
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
        let start = Instant::now();
        while bytes_used() > 8 << 20 {
            assert!(start.elapsed() < Duration::from_secs(60), "{} MiB are kept", bytes_used() >> 20);
            // A sleeper gives it back too; both ways are taken in turn.
            let _ =
                if turn == 0 { queue.get_timeout(Duration::from_secs(1)).ok() } else { queue.try_get().ok() };
        }
    }
}

#[test]
fn a_large_put_waits_for_memory_until_a_message_is_acknowledged() {
    let options = QueueOptions { max_bytes: Some(2 << 20), ..Default::default() };
    let queue = Queue::create_anonymous("tight", &options).unwrap();
    let message = bytes_of(900 << 10, 1);
    queue.put(&message).unwrap();
    let lease = queue.lease().unwrap();
    assert_eq!(queue.try_put(&message), Err(TryPutError::Full));
    let putter = thread::spawn({
        let (queue, message) = (queue.clone(), message.clone());
        move || queue.put(&message)
    });
    lease.ack();
    putter.join().unwrap().unwrap();
    assert!(queue.get().unwrap() == message);
}

#[test]
fn batches_come_out_as_they_went_in() {
    let queue = bounded(100);
    let messages: Vec<Vec<u8>> = (0..50u8).map(|i| vec![i; usize::from(i) * 7]).collect();
    queue.put_many(&messages).unwrap();
    assert_eq!(queue.get_many(20).unwrap(), messages[..20]);
    assert_eq!(queue.stats().in_flight, 20);
    assert_eq!(queue.get_many(100).unwrap(), messages[20..]);
    assert_eq!(queue.stats().in_flight, 30);
    queue.ack_got();
    assert_eq!(queue.stats().in_flight, 0);
}

#[test]
fn threads_share_a_handle_and_every_message_reaches_exactly_one() {
    let queue = bounded(7);
    let producers: Vec<_> = (0..4u32)
        .map(|p| {
            let queue = queue.clone();
            thread::spawn(move || (0..5000u32).for_each(|i| queue.put(&(p << 16 | i).to_le_bytes()).unwrap()))
        })
        .collect();
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut got = Vec::new();
                while let Ok(bytes) = queue.get() {
                    got.push(u32::from_le_bytes(bytes.try_into().unwrap()));
                }
                queue.ack_got();
                got
            })
        })
        .collect();
    producers.into_iter().for_each(|p| p.join().unwrap());
    queue.close();
    let mut all = Vec::new();
    for consumer in consumers {
        let got = consumer.join().unwrap();
        for p in 0..4 {
            let of_p: Vec<u32> = got.iter().copied().filter(|m| m >> 16 == p).collect();
            assert!(of_p.is_sorted(), "one producer's messages keep their order");
        }
        all.extend(got);
    }
    all.sort_unstable();
    let expected: Vec<u32> = (0..4).flat_map(|p| (0..5000).map(move |i| p << 16 | i)).collect();
    assert_eq!(all, expected);
    assert_eq!(queue.stats().in_flight, 0);
}

#[test]
fn what_is_given_back_waits_beyond_the_capacity_and_makes_no_room() {
    let queue = bounded(2);
    let put = |names: [&[u8]; 2]| names.iter().for_each(|name| queue.try_put(name).unwrap());
    put([b"a", b"b"]);
    let in_hand = [queue.lease().unwrap(), queue.lease().unwrap()];
    put([b"c", b"d"]);
    in_hand.into_iter().for_each(ipc::Lease::nack);
    // Nobody who gives back is ever refused or made to wait; who puts is.
    assert_eq!((queue.len(), queue.capacity(), queue.is_full()), (4, Some(2), true));
    for name in [b"a", b"b"] {
        assert_eq!(queue.get().unwrap(), name);
        assert_eq!(queue.try_put(b"e"), Err(TryPutError::Full), "two wait for the first time");
    }
    assert_eq!(queue.get().unwrap(), b"c");
    queue.try_put(b"e").unwrap();
    assert_eq!(queue.get_many(9).unwrap(), [b"d", b"e"]);
}

#[test]
fn batches_keep_to_deadlines_and_say_how_far_they_came() {
    let queue = bounded(3);
    let messages = [b"a", b"b", b"c", b"d", b"e"];
    let full = queue.try_put_many(&messages).unwrap_err();
    assert_eq!((full.put, full.error), (3, TryPutError::Full));
    let start = Instant::now();
    let late = queue.put_many_timeout(&messages, Duration::from_millis(30)).unwrap_err();
    assert_eq!((late.put, late.error), (0, PutTimeoutError::Timeout));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(queue.try_get_many(2).unwrap(), [b"a", b"b"]);
    assert_eq!(queue.get_many_timeout(9, Duration::from_secs(60)).unwrap(), [b"c"]);
    assert_eq!(queue.try_get_many(2), Err(TryGetError::Empty));
    let start = Instant::now();
    let nothing = queue.get_many_timeout(2, Duration::from_millis(30));
    assert_eq!(nothing, Err(GetTimeoutError::Timeout));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(queue.get_many(0).unwrap(), Vec::<Vec<u8>>::new());
    queue.close();
    assert_eq!(queue.put_many(&messages).unwrap_err().error, PutError::Closed);
    assert_eq!(queue.get_many(2), Err(GetError::Closed));
}

#[test]
fn a_put_that_waits_is_interrupted_when_its_flag_goes_up() {
    use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
    let queue = bounded(1);
    queue.put(b"a").unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    queue.set_interrupt(Arc::clone(&flag));
    let putter = thread::spawn({
        let queue = queue.clone();
        move || (queue.put(b"b"), queue.put_many(&[b"c"]).unwrap_err().error)
    });
    flag.store(true, Ordering::Release);
    queue.wake_me();
    assert_eq!(putter.join().unwrap(), (Err(PutError::Interrupted), PutError::Interrupted));
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_message_of_one_gib_goes_through_and_one_byte_more_is_refused() {
    const MOST: usize = ipc::MOST_MESSAGE_BYTES as usize;
    let options = |max_message| QueueOptions {
        max_message,
        capacity: Some(1),
        max_bytes: Some(MOST as u64 + (1 << 20)),
        ..Default::default()
    };
    assert!(Queue::create_anonymous("vast", &options(ipc::MOST_MESSAGE_BYTES + 1)).is_err());
    let queue = Queue::create_anonymous("vast", &options(ipc::MOST_MESSAGE_BYTES)).unwrap();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    if kib.is_none_or(|kib| kib < 6 << 20) {
        println!("skipped: there is not enough memory for it here");
        return;
    }
    // Zeros that were never written take no memory; what goes through the queue does.
    let mut message = vec![0; MOST + 1];
    for at in (0..MOST).step_by(1 << 24) {
        message[at] = (at >> 24) as u8 | 1;
    }
    let refused = PutError::TooLarge { length: MOST as u64 + 1, limit: MOST as u64 };
    assert_eq!(queue.put(&message), Err(refused));
    queue.put(&message[..MOST]).unwrap();
    assert!(queue.get().unwrap() == message[..MOST]);
}

#[test]
fn threads_that_come_to_a_fresh_handle_together_can_all_settle_what_they_hold() {
    const THREADS: u64 = 3;
    for _ in 0..500 {
        // Each thread's first call is what makes the process a participant.
        let (queue, barrier) = (bounded(THREADS), Barrier::new(THREADS as usize));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    queue.put(b"a message").unwrap();
                    queue.lease().unwrap().ack();
                });
            }
        });
        let stats = queue.stats();
        assert_eq!(
            (stats.puts, stats.gets, stats.len, stats.in_flight),
            (THREADS, THREADS, 0, 0),
            "{stats:?}"
        );
    }
}

#[test]
fn a_batch_holds_what_was_got_together_and_nothing_of_before() {
    let queue = bounded(100);
    let large = bytes_of(70_000, 3);
    let messages = [&b"first"[..], b"", &large, &[7; 88], &[8; 89]];
    queue.put_many(&messages).unwrap();
    let mut batch = Batch::new();
    queue.get_batch(3, &mut batch).unwrap();
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
    assert_eq!(batch.iter().collect::<Vec<_>>(), messages[..3]);
    queue.try_get_batch(64, &mut batch).unwrap();
    assert_eq!([batch.get(0), batch.get(1), batch.get(2)], [Some(messages[3]), Some(messages[4]), None]);
    assert_eq!(queue.try_get_batch(64, &mut batch), Err(TryGetError::Empty));
    assert!(batch.is_empty() && batch.iter().next().is_none());
    let nothing = queue.get_batch_timeout(64, &mut batch, Duration::from_millis(5));
    assert_eq!(nothing, Err(GetTimeoutError::Timeout));
    queue.put(b"last").unwrap();
    assert_eq!(queue.get_batch(0, &mut batch), Ok(()));
    assert!(batch.is_empty(), "none was asked for");
    queue.close();
    queue.get_batch_timeout(1, &mut batch, Duration::from_secs(60)).unwrap();
    assert_eq!(batch.get(0), Some(&b"last"[..]));
    assert_eq!(queue.get_batch(1, &mut batch), Err(GetError::Closed));
    let stats = queue.stats();
    assert_eq!((stats.gets, stats.in_flight), (6, 0), "{stats:?}");
}

#[test]
fn a_batch_that_was_not_acknowledged_comes_again_in_its_order() {
    let queue = bounded(100);
    queue.put_many(&["a", "b", "c", "d"]).unwrap();
    let mut batch = Batch::new();
    queue.get_batch(3, &mut batch).unwrap();
    queue.nack_got();
    let again: Vec<_> = (0..4).map(|_| queue.lease().unwrap()).collect();
    let seen: Vec<_> = again.iter().map(|lease| (lease.bytes(), lease.deliveries())).collect();
    assert_eq!(seen, [(&b"a"[..], 2), (b"b", 2), (b"c", 2), (b"d", 1)]);
}
