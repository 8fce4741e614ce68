//! What becomes of a message that its taker can not, or need not, deliver.

use std::thread;

use ipc::{GetError, Queue, QueueOptions, TryGetError};

fn queue(most: Option<u32>) -> Queue {
    Queue::create_anonymous("test", &QueueOptions { max_deliveries: most, ..Default::default() }).unwrap()
}

#[test]
fn a_message_put_back_comes_next_and_its_delivery_does_not_count() {
    let queue = queue(Some(2));
    queue.put(b"first").unwrap();
    queue.put(b"second").unwrap();
    for _ in 0..10 {
        queue.lease().unwrap().put_back();
    }
    let lease = queue.lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"first"[..], 1));
    lease.nack();
    let lease = queue.lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"first"[..], 2));
    lease.put_back();
    queue.lease().unwrap().nack();
    assert_eq!(queue.lease().unwrap().bytes(), b"second");
    assert_eq!(queue.stats().dead, 1);
}

#[test]
fn a_message_buried_is_a_dead_letter_at_once() {
    let (queue, grave) = (queue(None), queue(None));
    queue.put(b"odd").unwrap();
    queue.put(b"good").unwrap();
    queue.lease().unwrap().bury();
    assert_eq!(queue.lease().unwrap().into_bytes(), b"good");
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    assert_eq!(queue.forward_dead(&grave).unwrap(), 1);
    assert_eq!(grave.try_get().unwrap(), b"odd");
}

#[test]
fn who_holds_a_message_learns_that_a_closed_queue_has_no_more() {
    let queue = queue(None);
    queue.put(b"last").unwrap();
    let held = queue.lease().unwrap();
    let waiter = {
        let queue = queue.clone();
        thread::spawn(move || queue.lease_or_end().map(drop))
    };
    queue.close();
    assert_eq!(waiter.join().unwrap(), Err(GetError::Closed));
    // It may still be given back, and then there is one more.
    held.nack();
    assert_eq!(queue.lease_or_end().unwrap().into_bytes(), b"last");
    assert!(matches!(queue.lease(), Err(GetError::Closed)));
}

#[test]
fn many_are_taken_together_as_far_as_they_are_there() {
    let queue = queue(None);
    assert!(matches!(queue.try_lease_many(3), Err(TryGetError::Empty)));
    for number in 0..5u8 {
        queue.put(&[number]).unwrap();
    }
    assert!(queue.try_lease_many(0).unwrap().is_empty());
    let mut got = Vec::new();
    let first = queue.try_lease_many(3).unwrap();
    got.extend(first.iter().map(|lease| lease.bytes()[0]));
    assert_eq!((got.as_slice(), queue.len(), queue.stats().in_flight), (&[0, 1, 2][..], 2, 3));
    // In their order, before what was never delivered.
    first.into_iter().for_each(ipc::Lease::put_back);
    queue.close();
    got.clear();
    while let Ok(leases) = queue.try_lease_many(4) {
        got.extend(leases.into_iter().map(|lease| lease.into_bytes()[0]));
    }
    assert_eq!(got, [0, 1, 2, 3, 4]);
    assert!(matches!(queue.try_lease_many(1), Err(TryGetError::Closed)));
}
