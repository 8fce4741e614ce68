//! Families: made, opened, added to, interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ipc::sync::{BarrierError, DefineError, Event, Family, LockError, SyncOptions, Value, WaitError};
use ipc::{OpenError, Queue, QueueOptions};

use crate::{family, names, until, waiting};

#[test]
fn a_name_that_is_not_known_is_answered_with_those_that_are() {
    let family = family(&SyncOptions { locks: names(&["ledger", "till"]), ..Default::default() });
    let error = family.lock("legder").unwrap_err();
    assert_eq!(error.to_string(), "no lock \"legder\" (known: ledger, till)");
    assert_eq!(family.event("go").unwrap_err().to_string(), "no event \"go\" (there are none)");
    assert!(family.rlock("ledger").is_err(), "a plain lock is not a recursive one");
}

#[test]
fn impossible_options_are_refused() {
    let refused = |options: SyncOptions| {
        matches!(Family::create_anonymous("bad", &options), Err(OpenError::Options(_)))
    };
    assert!(refused(SyncOptions { locks: names(&["a", "a"]), ..Default::default() }));
    assert!(refused(SyncOptions { locks: names(&["a"]), rlocks: names(&["a"]), ..Default::default() }));
    assert!(refused(SyncOptions { events: names(&[""]), ..Default::default() }));
    assert!(refused(SyncOptions { events: vec!["x".repeat(201)], ..Default::default() }));
    assert!(refused(SyncOptions { semaphores: vec![("s".into(), 1025)], ..Default::default() }));
    assert!(refused(SyncOptions { bounded_semaphores: vec![("s".into(), 0)], ..Default::default() }));
    assert!(refused(SyncOptions { barriers: vec![("b".into(), 0)], ..Default::default() }));
    assert!(refused(SyncOptions { participants: 0, ..Default::default() }));
    assert!(refused(SyncOptions { arrays: vec![("a".into(), u32::MAX)], ..Default::default() }));
}

#[test]
fn a_family_is_opened_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.shm");
    let options = SyncOptions { locks: names(&["a"]), values: vec![("v".into(), -5)], ..Default::default() };
    let made = Family::create(&path, &options).unwrap();
    assert!(matches!(Family::create(&path, &options), Err(OpenError::Exists)));
    assert!(matches!(Queue::open(&path), Err(OpenError::WrongKind)));
    let queue = Queue::create_anonymous("q", &QueueOptions { capacity: Some(1), ..Default::default() });
    assert!(matches!(Family::open(queue.unwrap().descriptor_path()), Err(OpenError::WrongKind)));
    let opened = Family::open(&path).unwrap();
    assert_eq!((opened.name(), opened.uuid()), ("bank", made.uuid()));
    assert_eq!(opened.value("v").unwrap().get(), -5);
    let held = made.lock("a").unwrap().acquire().unwrap();
    assert!(opened.lock("a").unwrap().try_acquire().is_err(), "another handle is another participant");
    drop(held);
    assert_eq!(Value::open(&path).unwrap().get(), -5);
    assert!(matches!(Event::open(&path), Err(OpenError::WrongKind)));
}

#[test]
fn what_was_leaked_is_let_go_of_with_the_last_handle() {
    let options =
        SyncOptions { locks: names(&["a"]), bounded_semaphores: vec![("s".into(), 1)], ..Default::default() };
    let family = family(&options);
    let other = Family::open(family.descriptor_path()).unwrap();
    other.semaphore("s").unwrap().acquire().unwrap().keep();
    assert_eq!(family.semaphore("s").unwrap().value().unwrap(), 0);
    drop(other);
    assert_eq!(family.semaphore("s").unwrap().value().unwrap(), 1);
}

#[test]
fn threads_come_and_go_without_using_up_the_room_for_them() {
    let family = family(&SyncOptions { locks: names(&["a"]), participants: 1, ..Default::default() });
    for _ in 0..600 {
        thread::scope(|scope| {
            scope.spawn(|| drop(family.lock("a").unwrap().acquire().unwrap()));
        });
    }
}

#[test]
fn recursive_locks_and_small_arrays_can_be_defined_later_and_others_see_them() {
    let family = family(&SyncOptions { spare: 3, ..Default::default() });
    let other = Family::open(family.descriptor_path()).unwrap();
    let tree = family.define_rlock("tree").unwrap();
    let (outer, inner) = (tree.acquire().unwrap(), tree.acquire().unwrap());
    assert!(tree.is_held_for_me().unwrap());
    assert!(other.locks().unwrap()[0].is_recursive);
    drop((outer, inner));
    assert!(!tree.is_held_for_me().unwrap());
    assert!(matches!(family.define_array("long", 513), Err(DefineError::Options(_))));
    let row = family.define_array("row", 512).unwrap();
    // Whatever is defined behind it begins with nothing of it.
    let next = family.define_value("next", 5).unwrap();
    for index in 0..512 {
        assert!(row.set(index, -1));
    }
    assert_eq!(next.get(), 5);
    assert_eq!(other.array("row").unwrap().to_vec(), vec![-1; 512]);
    assert_eq!(other.arrays().len(), 1);
}

#[test]
fn who_waits_can_be_interrupted() {
    let options = SyncOptions {
        locks: names(&["a"]),
        events: names(&["never"]),
        semaphores: vec![("none".into(), 0)],
        barriers: vec![("two".into(), 2)],
        conditions: names(&["news"]),
        ..Default::default()
    };
    let family = family(&options);
    let flag = Arc::new(AtomicBool::new(false));
    family.set_interrupt(Arc::clone(&flag));
    let guard = family.lock("a").unwrap().acquire().unwrap();
    thread::scope(|scope| {
        let lock = scope.spawn(|| family.lock("a").unwrap().acquire().map(drop));
        let event = scope.spawn(|| family.event("never").unwrap().wait());
        let semaphore = scope.spawn(|| family.semaphore("none").unwrap().acquire().map(drop));
        let barrier = scope.spawn(|| family.barrier("two").unwrap().wait());
        until("they wait", || {
            waiting(&family, "a") == 1 && family.barrier("two").unwrap().waiting().unwrap() == 1
        });
        flag.store(true, Ordering::Release);
        family.wake_me();
        assert_eq!(lock.join().unwrap().unwrap_err(), LockError::Interrupted);
        assert_eq!(event.join().unwrap().unwrap_err(), WaitError::Interrupted);
        assert!(semaphore.join().unwrap().is_err());
        assert_eq!(barrier.join().unwrap().unwrap_err(), BarrierError::Interrupted);
    });
    let condition = family.condition("news").unwrap();
    assert_eq!(condition.wait(guard).unwrap_err(), LockError::Interrupted);
    assert!(!family.lock("a").unwrap().is_held().unwrap());
}
