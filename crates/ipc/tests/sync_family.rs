//! What the primitives of a family promise to one process and its threads.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc::sync::{
    AcquireTimeoutError, Barrier, BarrierError, BarrierTimeoutError, DefineError, Event, Family, Lock,
    LockError, LockTimeoutError, RLock, ReleaseError, Semaphore, SyncOptions, TryAcquireError, TryLockError,
    Value, WaitError, WaitTimeoutError,
};
use ipc::{OpenError, Queue, QueueOptions};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn family(options: &SyncOptions) -> Family {
    Family::create_anonymous("test", options).unwrap()
}

/// Waits for what must come about, however slow the machine.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "waited too long: {what}");
        thread::yield_now();
    }
}

fn waiting(family: &Family, lock: &str) -> usize {
    family.locks().unwrap().into_iter().find(|state| state.name == lock).unwrap().waiters.len()
}

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

/// Small numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn a_family_scribbled_over_while_in_use_gives_errors_and_nothing_worse() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..=8u64 {
        let path = folder.path().join(format!("{seed}.shm"));
        let options = SyncOptions {
            locks: names(&["a", "b"]),
            rlocks: names(&["r"]),
            bounded_semaphores: vec![("s".into(), 5)],
            conditions: names(&["c"]),
            barriers: vec![("w".into(), 2)],
            events: names(&["e"]),
            arrays: vec![("row".into(), 8)],
            participants: 4,
            ..Default::default()
        };
        let family = Family::create(&path, &options).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let tick = Duration::from_millis(1);
                    while !is_over.load(Ordering::Relaxed) {
                        let a = family.lock("a").unwrap().acquire_timeout(tick);
                        let b = family.lock("b").unwrap().acquire_timeout(tick);
                        let r = family.rlock("r").unwrap().acquire_timeout(tick);
                        if let Ok(guard) = r
                            && let Ok(again) = family.rlock("r").unwrap().try_acquire()
                        {
                            drop((guard, again));
                        }
                        drop((a, b));
                        drop(family.semaphore("s").unwrap().acquire_timeout(tick));
                        let _ = family.condition("c").unwrap().notify_all();
                        let _ = family.barrier("w").unwrap().wait_timeout(tick);
                        let _ = family.barrier("w").unwrap().reset();
                        let _ = family.event("e").unwrap().wait_timeout(tick);
                        let _ = family.event("e").unwrap().set();
                        let _ = family.locks();
                        let _ = family.reclaim_dead();
                    }
                });
            }
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            let mut random = Random(seed);
            for _ in 0..3000 {
                // Not over the header, which nobody reads again.
                let at = 0x1000 + random.next() % ((length - 0x1000) / 8) * 8;
                file.write_all_at(&random.next().to_ne_bytes(), at).unwrap();
                // What was found is forgotten, so that there is more to find.
                file.write_all_at(&0u32.to_ne_bytes(), 0x200).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn an_impossible_word_is_told_to_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.shm");
    let lock = Lock::create(&path).unwrap();
    drop(lock.acquire().unwrap());
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    // The only word that is left behind after an acquire and a release is the lock's, in the last pages.
    let mut word = [0; 8];
    let at = (length - 8192..length).step_by(128).find(|&at| {
        file.read_exact_at(&mut word, at).unwrap();
        u64::from_ne_bytes(word) == 1
    });
    file.write_all_at(&(0xffff_u64 << 48).to_ne_bytes(), at.expect("a lock that was taken once")).unwrap();
    assert!(matches!(lock.acquire(), Err(LockError::Fault(ipc::Fault::Corrupt(ipc::Damage::Sync)))));
    let other = Lock::open(&path).unwrap();
    assert!(matches!(other.try_acquire(), Err(TryLockError::Fault(ipc::Fault::Corrupt(_)))));
}
