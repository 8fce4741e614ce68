//! Semaphores, events, conditions, barriers and values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ipc::sync::{
    AcquireTimeoutError, Barrier, BarrierError, BarrierTimeoutError, Event, ReleaseError, Semaphore,
    SyncOptions, TryAcquireError, TryLockError, Value, WaitTimeoutError,
};

use crate::{SHORT, family, names, until};

#[test]
fn permits_run_out_and_come_back() {
    let semaphore = Semaphore::create_anonymous("gpu", 3).unwrap();
    let mut permits: Vec<_> = (0..3).map(|_| semaphore.try_acquire().unwrap()).collect();
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Held);
    let start = Instant::now();
    assert_eq!(semaphore.acquire_timeout(SHORT).unwrap_err(), AcquireTimeoutError::Timeout);
    assert!(start.elapsed() >= SHORT);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore.acquire().map(drop));
        let permit = permits.pop().unwrap();
        scope.spawn(move || permit.release());
        waiter.join().unwrap().unwrap();
    });
    drop(permits);
    assert_eq!(semaphore.value().unwrap(), 3);
}

#[test]
fn a_bounded_semaphore_never_has_more_permits_than_at_first() {
    let options = SyncOptions {
        semaphores: vec![("free".into(), 1)],
        bounded_semaphores: vec![("bound".into(), 2)],
        ..Default::default()
    };
    let family = family(&options);
    let bound = family.semaphore("bound").unwrap();
    assert!(bound.is_bounded());
    assert_eq!(bound.release(), Err(ReleaseError::NotHeld));
    bound.acquire().unwrap().keep();
    let _held = bound.acquire().unwrap();
    assert_eq!(bound.value().unwrap(), 0);
    bound.release().unwrap();
    assert_eq!(bound.release(), Err(ReleaseError::NotHeld), "a permit in hand is released by its guard");
    assert_eq!(bound.value().unwrap(), 1);

    let free = family.semaphore("free").unwrap();
    assert!(!free.is_bounded());
    for _ in 1..1024 {
        free.release().unwrap();
    }
    assert_eq!((free.value().unwrap(), free.release()), (1024, Err(ReleaseError::NotHeld)));
}

#[test]
fn a_semaphore_counts_signals_that_are_used_up() {
    let semaphore = Semaphore::create_anonymous("signals", 0).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| (0..3000).for_each(|_| until("there is room", || semaphore.release().is_ok())));
        for _ in 0..3000 {
            semaphore.acquire().unwrap().consume();
        }
    });
    assert_eq!(semaphore.value().unwrap(), 0);
}

#[test]
fn who_waits_for_an_event_goes_on_though_it_is_cleared_at_once() {
    let event = Event::create_anonymous("go").unwrap();
    assert_eq!(event.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
    let waiters = 3;
    let gone = std::sync::atomic::AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..waiters {
            scope.spawn(|| {
                event.wait().unwrap();
                gone.fetch_add(1, Ordering::Relaxed);
            });
        }
        // A pulse wakes whoever waits by then; those who come later wait for the next.
        until("all have gone", || {
            event.set().unwrap();
            event.clear().unwrap();
            gone.load(Ordering::Relaxed) == waiters
        });
    });
    assert!(!event.is_set().unwrap());
    event.set().unwrap();
    event.set().unwrap();
    assert!(event.is_set().unwrap());
    event.wait().unwrap();
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());
}

#[test]
fn notifications_go_to_the_longest_waiting_one_by_one() {
    let options = SyncOptions {
        locks: names(&["a"]),
        conditions: names(&["news"]),
        arrays: vec![("order".into(), 4)],
        values: vec![("next".into(), 0)],
        ..Default::default()
    };
    let family = family(&options);
    let (lock, news) = (family.lock("a").unwrap(), family.condition("news").unwrap());
    let (order, next) = (family.array("order").unwrap(), family.value("next").unwrap());
    assert!(!news.notify_one().unwrap(), "nobody waits");
    thread::scope(|scope| {
        for number in 1..=3 {
            let (lock, news, order, next) = (&lock, &news, &order, &next);
            let holds = Arc::new(AtomicBool::new(false));
            let shown = Arc::clone(&holds);
            scope.spawn(move || {
                let guard = lock.acquire().unwrap();
                shown.store(true, Ordering::Release);
                let guard = news.wait(guard).unwrap();
                order.set(next.add_unprotected(1) as usize, number);
                drop(guard);
            });
            until("it holds the lock", || holds.load(Ordering::Acquire));
            // It lets go of the lock only by waiting.
            drop(lock.acquire().unwrap());
        }
        for told in 1..=3 {
            let guard = lock.acquire().unwrap();
            assert!(news.notify_one().unwrap());
            drop(guard);
            until("the one that was told has gone", || next.get() == told);
        }
    });
    assert_eq!(order.to_vec(), [0, 1, 2, 3]);
    let start = Instant::now();
    let (guard, is_notified) = news.wait_timeout(lock.acquire().unwrap(), SHORT).unwrap();
    assert!(!is_notified && start.elapsed() >= SHORT);
    assert_eq!(lock.try_acquire().unwrap_err(), TryLockError::Held, "it is held again");
    drop(guard);
    assert_eq!(news.notify_all().unwrap(), 0);
}

#[test]
fn a_recursive_lock_is_let_go_of_in_full_by_a_wait_and_held_as_deep_after_it() {
    let options =
        SyncOptions { rlocks: names(&["deep"]), conditions: names(&["news"]), ..Default::default() };
    let family = family(&options);
    let (lock, news) = (family.rlock("deep").unwrap(), family.condition("news").unwrap());
    let outer = lock.acquire().unwrap();
    let inner = lock.acquire().unwrap();
    let inner = thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = lock.acquire().unwrap();
            until("it waits", || news.notify_one().unwrap());
        });
        news.wait(inner).unwrap()
    });
    let is_free = || thread::scope(|scope| scope.spawn(|| lock.try_acquire().is_ok()).join().unwrap());
    drop(inner);
    assert!(!is_free());
    drop(outer);
    assert!(is_free());
}

#[test]
fn a_barrier_lets_all_pass_together_again_and_again_with_one_leader() {
    let barrier = Barrier::create_anonymous("line", 3).unwrap();
    let leaders = std::sync::atomic::AtomicU32::new(0);
    let rounds = 200;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let passed = barrier.wait().unwrap();
                    assert!(passed.index < 3);
                    leaders.fetch_add(u32::from(passed.is_leader()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(leaders.load(Ordering::Relaxed), rounds);
    assert_eq!(barrier.waiting().unwrap(), 0);
}

#[test]
fn a_broken_barrier_lets_nobody_pass_until_it_is_reset() {
    let barrier = Barrier::create_anonymous("line", 2).unwrap();
    assert_eq!(barrier.wait_timeout(SHORT), Err(BarrierTimeoutError::Timeout));
    assert!(barrier.is_broken().unwrap());
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    barrier.reset().unwrap();
    assert!(!barrier.is_broken().unwrap());
    type Breaking = fn(&Barrier) -> Result<(), ipc::Fault>;
    for (how, breaks) in [(Barrier::abort as Breaking, true), (Barrier::reset as Breaking, false)] {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait());
            until("it waits", || barrier.waiting().unwrap() == 1);
            how(&barrier).unwrap();
            assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
            assert_eq!(barrier.is_broken().unwrap(), breaks);
        });
        barrier.reset().unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| barrier.wait().unwrap());
            barrier.wait().unwrap();
            other.join().unwrap();
        });
    }
}

#[test]
fn a_value_does_each_single_thing_whole() {
    let value = Value::create_anonymous("v", i64::MAX).unwrap();
    assert_eq!(value.add(1), i64::MIN);
    value.set(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| assert!(value.add(1) > 0)));
        }
    });
    assert_eq!(value.get(), 40_000);
    assert_eq!(value.compare_and_set(1, 2), Err(40_000));
    assert_eq!(value.compare_and_set(40_000, -2), Ok(()));
    assert_eq!(value.get(), -2);
}

#[test]
fn an_array_has_so_many_numbers_and_no_more() {
    let family = family(&SyncOptions { arrays: vec![("row".into(), 100)], ..Default::default() });
    let row = family.array("row").unwrap();
    assert_eq!((row.len(), row.is_empty()), (100, false));
    for index in 0..100 {
        assert!(row.set(index, index as i64));
    }
    row.at(7).unwrap().add(1000);
    assert_eq!(row.get(7), Some(1007));
    assert!(row.get(100).is_none() && row.at(usize::MAX).is_none() && !row.set(100, 1));
    assert_eq!(row.to_vec().iter().sum::<i64>(), 4950 + 1000);
}
