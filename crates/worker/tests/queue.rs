//! Typed queues, as a worker's author uses them: what goes in comes out, by ones and by many.

use std::time::{Duration, Instant};

use worker::ipc::{Queue as Memory, QueueOptions};
use worker::{Acknowledge, BytesQueue, GetError, PutError, Queue, UnlessClosed};

fn memory(options: QueueOptions) -> Memory {
    Memory::create_anonymous("queue", &options).expect("memory")
}

#[test]
fn many_messages_go_in_and_come_out_at_once_in_their_order() {
    let queue = Queue::<u32>::from(memory(QueueOptions::default()));
    let messages: Vec<u32> = (0..100).collect();
    assert_eq!(queue.put_many(&messages).expect("there is room"), 100);
    assert_eq!(queue.len(), 100);
    assert!(queue.get_many(0).expect("nothing is asked for").is_empty());
    assert_eq!(queue.get_many(30).expect("they are there"), messages[..30]);
    assert_eq!(queue.get().expect("it is there"), 30);
    assert_eq!(queue.get_many(1000).expect("they are there"), messages[31..]);
    queue.close();
    assert!(queue.get_many(1000).unless_closed().expect("it is closed").is_none());
}

#[test]
fn what_is_got_together_is_acknowledged_together_by_the_next_get() {
    let memory = memory(QueueOptions::default());
    let queue = Queue::<u32>::from(memory.clone());
    queue.put_many(&[1, 2, 3]).expect("there is room");
    assert_eq!(queue.get_many(3).expect("they are there"), [1, 2, 3]);
    assert_eq!(memory.stats().in_flight, 3);
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    assert_eq!(memory.stats().in_flight, 0);
}

#[test]
fn a_message_of_another_type_ends_a_batch_and_costs_no_other_a_delivery() {
    let memory = memory(QueueOptions { max_deliveries: Some(2), ..Default::default() });
    let (queue, bytes) = (Queue::<u32>::from(memory.clone()), BytesQueue::from(memory.clone()));
    bytes.put_many(&["1", "2", "three", "4"]).expect("there is room");
    assert_eq!(queue.get_many(10).expect("the first is fine"), [1, 2]);
    // It comes again, first, and is refused a second time: that was its last.
    assert!(matches!(queue.get_many(10), Err(GetError::Decode(_))));
    let lease = queue.lease().expect("the last is there");
    assert_eq!((*lease, lease.deliveries()), (4, 1));
    lease.ack();
    let stats = memory.stats();
    assert_eq!((stats.len, stats.in_flight, stats.dead), (0, 0, 1), "{stats:?}");
}

#[test]
fn of_many_messages_those_before_a_refused_one_are_put() {
    let memory = memory(QueueOptions { max_message: 8, ..Default::default() });
    let queue = Queue::<String>::from(memory);
    let words = ["short", "much too long", "late"].map(str::to_owned);
    let error = queue.put_many(&words).expect_err("the second is too long");
    assert_eq!(error.put, 1);
    assert!(matches!(error.error, PutError::TooLarge { length: 15, limit: 8 }));
    assert_eq!(error.to_string(), "after 1 messages: too large: 15 bytes where 8 are allowed");
    assert_eq!(queue.get().expect("it was put"), "short");
    queue.close();
    assert!(matches!(queue.put_many(&words).expect_err("closed").error, PutError::Closed));
}

#[test]
fn a_bounded_queue_says_how_full_it_is() {
    let queue = Queue::<u8>::from(memory(QueueOptions { capacity: Some(2), ..Default::default() }));
    assert_eq!((queue.capacity(), queue.len()), (Some(2), 0));
    assert!(queue.is_empty() && !queue.is_full() && !queue.is_closed());
    queue.put_many(&[1, 2]).expect("there is room");
    assert!(queue.is_full() && matches!(queue.try_put(&3), Err(PutError::Full)));
    assert!(matches!(queue.put_timeout(&3, Duration::from_millis(5)), Err(PutError::Timeout)));
    assert_eq!(queue.get_timeout(Duration::from_secs(60)).expect("it is there"), 1);
    queue.try_put(&3).expect("there is room again");
    queue.close();
    assert!(queue.is_closed() && matches!(queue.put(&4), Err(PutError::Closed)));
    assert_eq!(queue.get_many(5).expect("what is left"), [2, 3]);
    assert!(matches!(queue.get(), Err(GetError::Closed)));
}

#[test]
fn a_lease_that_is_dropped_is_delivered_again_under_its_id() {
    let queue = Queue::<String>::from(memory(QueueOptions::default()));
    queue.put(&"job".to_owned()).expect("there is room");
    let first = queue.lease().expect("it is there");
    let id = first.id();
    assert_eq!((first.as_str(), first.deliveries()), ("job", 1));
    drop(first);
    let again = queue.lease_timeout(Duration::from_secs(60)).expect("it comes again");
    assert_eq!((again.id(), again.deliveries()), (id, 2));
    again.nack();
    let last = queue.try_lease().expect("it comes again");
    assert_eq!(last.deliveries(), 3);
    last.ack();
    assert!(matches!(queue.try_lease(), Err(GetError::Empty)));
}

#[test]
fn what_is_given_back_for_later_comes_not_before() {
    let queue = Queue::<String>::from(memory(QueueOptions::default()));
    queue.put(&"later".to_owned()).expect("there is room");
    let begun = Instant::now();
    queue.lease().expect("it is there").nack_after(Duration::from_millis(50));
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    queue.close();
    // Closed, and not over: it is still to come.
    let lease = queue.lease_timeout(Duration::from_secs(60)).expect("it comes again");
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!((lease.as_str(), lease.deliveries()), ("later", 2));
    lease.ack();
    assert!(matches!(queue.get(), Err(GetError::Closed)));
}

#[test]
fn a_plain_get_is_settled_by_word_or_at_once_where_that_is_chosen() {
    let memory = memory(QueueOptions::default());
    let queue = Queue::<u8>::from(memory.clone());
    queue.put_many(&[1, 2, 3]).expect("there is room");
    assert_eq!(queue.get().expect("it is there"), 1);
    assert_eq!(memory.stats().in_flight, 1);
    queue.ack();
    assert_eq!(memory.stats().in_flight, 0);
    queue.nack();
    assert_eq!(queue.get().expect("what was acknowledged does not come back"), 2);
    queue.nack();
    assert_eq!(queue.lease().expect("it comes again").deliveries(), 2);
    queue.set_acknowledge(Acknowledge::AtOnce);
    assert_eq!((queue.get().expect("it is there"), memory.stats().in_flight), (2, 0));
}
