//! Locks: held by one, by threads that wait in circles, and again by who holds them.

use std::thread;
use std::time::{Duration, Instant};

use ipc::sync::{Lock, LockError, LockTimeoutError, RLock, SyncOptions, TryLockError};

use crate::{LONG, SHORT, family, names, until, waiting};

#[test]
fn a_lock_is_held_by_one_and_free_when_its_guard_is_gone() {
    let lock = Lock::create_anonymous("one").unwrap();
    let guard = lock.acquire().unwrap();
    assert!(lock.is_held().unwrap());
    assert_eq!(lock.try_acquire().unwrap_err(), TryLockError::Held, "also for the holder itself");
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(lock.try_acquire().unwrap_err(), TryLockError::Held));
    });
    guard.release();
    assert!(!lock.is_held().unwrap());
    drop(lock.try_acquire().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| drop(lock.try_acquire().unwrap()));
    });
}

#[test]
fn threads_that_count_under_a_lock_lose_nothing() {
    let options =
        SyncOptions { locks: names(&["ledger"]), values: vec![("total".into(), 0)], ..Default::default() };
    let family = family(&options);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (lock, total) = (family.lock("ledger").unwrap(), family.value("total").unwrap());
                for _ in 0..5000 {
                    let _guard = lock.acquire().unwrap();
                    total.add_unprotected(1);
                }
            });
        }
    });
    assert_eq!(family.value("total").unwrap().get(), 20_000);
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told_at_once() {
    let family = family(&SyncOptions { locks: names(&["ledger"]), ..Default::default() });
    family.set_label("clerk").unwrap();
    let lock = family.lock("ledger").unwrap();
    let guard = lock.acquire().unwrap();
    let LockError::Deadlock(deadlock) = lock.acquire().unwrap_err() else { panic!("not a deadlock") };
    assert_eq!(deadlock.cycle.len(), 1);
    let pid = std::process::id();
    assert_eq!(
        deadlock.to_string(),
        format!("deadlock: clerk (pid {pid}) holds \"ledger\" and waits for \"ledger\"")
    );
    let start = Instant::now();
    assert_eq!(lock.acquire_timeout(SHORT).unwrap_err(), LockTimeoutError::Timeout);
    assert!(start.elapsed() >= SHORT, "a wait that ends by itself is waited out");
    drop(guard);
    drop(lock.acquire().unwrap());
}

#[test]
fn a_recursive_lock_is_free_when_as_many_guards_are_gone() {
    let lock = RLock::create_anonymous("deep").unwrap();
    let first = lock.acquire().unwrap();
    let second = lock.try_acquire().unwrap();
    let third = lock.acquire_timeout(Duration::ZERO).unwrap();
    let is_held_elsewhere =
        || thread::scope(|scope| scope.spawn(|| lock.try_acquire().is_err()).join().unwrap());
    assert!(is_held_elsewhere());
    drop(first);
    drop(third);
    assert!(is_held_elsewhere());
    drop(second);
    assert!(!is_held_elsewhere());
}

#[test]
fn a_timed_acquire_waits_so_long_and_takes_what_comes_free_before() {
    let family = family(&SyncOptions { locks: names(&["a"]), ..Default::default() });
    let lock = family.lock("a").unwrap();
    let guard = lock.acquire().unwrap();
    thread::scope(|scope| {
        scope
            .spawn(|| {
                let start = Instant::now();
                assert_eq!(lock.acquire_timeout(SHORT).unwrap_err(), LockTimeoutError::Timeout);
                assert!(start.elapsed() >= SHORT);
            })
            .join()
            .unwrap();
        let waiter = scope.spawn(|| lock.acquire_timeout(LONG).map(drop));
        until("somebody waits", || waiting(&family, "a") == 1);
        drop(guard);
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(waiting(&family, "a"), 0);
}

#[test]
fn of_threads_that_wait_in_a_circle_exactly_one_is_told() {
    for round in 0..5 {
        let family = family(&SyncOptions { locks: names(&["a", "b", "c"]), ..Default::default() });
        let all_hold = std::sync::Barrier::new(3);
        let told: Vec<Option<String>> = thread::scope(|scope| {
            let threads: Vec<_> = [("a", "b"), ("b", "c"), ("c", "a")]
                .into_iter()
                .map(|(holds, wants)| {
                    let (family, all_hold) = (&family, &all_hold);
                    scope.spawn(move || {
                        let _held = family.lock(holds).unwrap().acquire().unwrap();
                        all_hold.wait();
                        match family.lock(wants).unwrap().acquire() {
                            Ok(_) => None,
                            Err(error) => Some(error.to_string()),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let told: Vec<String> = told.into_iter().flatten().collect();
        assert_eq!(told.len(), 1, "round {round}: {told:?}");
        for link in ["\"a\" and waits for \"b\"", "\"b\" and waits for \"c\"", "\"c\" and waits for \"a\""] {
            assert!(told[0].contains(link), "{}", told[0]);
        }
    }
}

#[test]
fn a_circle_with_a_wait_that_ends_by_itself_is_no_deadlock() {
    let family = family(&SyncOptions { locks: names(&["a", "b"]), ..Default::default() });
    let both_hold = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        let patient = scope.spawn(|| {
            let _a = family.lock("a").unwrap().acquire().unwrap();
            both_hold.wait();
            family.lock("b").unwrap().acquire().map(drop)
        });
        let _b = family.lock("b").unwrap().acquire().unwrap();
        both_hold.wait();
        let hasty = family.lock("a").unwrap().acquire_timeout(Duration::from_millis(150));
        assert_eq!(hasty.unwrap_err(), LockTimeoutError::Timeout);
        drop(_b);
        patient.join().unwrap().unwrap();
    });
}

#[test]
fn a_guard_that_is_printed_is_a_line_and_not_the_whole_memory() {
    let lock = Lock::create_anonymous("one").unwrap();
    let guard = lock.acquire().unwrap();
    let printed = format!("{guard:?}");
    assert!(printed.contains("\"one\"") && printed.len() < 300, "{printed}");
}
