//! Objects that are defined later, and threads that act for others.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use ipc::sync::{Deadlock, DefineError, Family, LockError, SyncOptions};

const WATCHDOG: Duration = Duration::from_secs(60);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < WATCHDOG, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn family(spare: u32) -> Family {
    let options = SyncOptions { locks: vec!["a".into()], spare, ..SyncOptions::default() };
    Family::create_anonymous("growing", &options).expect("there is memory")
}

/// Another handle, as another process has one.
fn again(family: &Family) -> Family {
    Family::open(family.descriptor_path()).expect("it is there")
}

#[test]
fn what_is_defined_later_is_there_for_those_who_came_before() {
    let family = family(8);
    let other = again(&family);
    assert!(other.lock("b").is_err());
    let lock = family.define_lock("b").expect("there is room");
    family.define_bounded_semaphore("gpu", 2).expect("there is room");
    family.define_event("go").expect("there is room");
    family.define_value("total", -7).expect("there is room");
    family.define_barrier("line", 3).expect("there is room");
    family.define_condition("news").expect("there is room");
    let guard = lock.acquire().expect("it is free");
    assert!(other.lock("b").expect("it is defined").try_acquire().is_err());
    drop(guard);
    drop(other.lock("b").expect("it is defined").try_acquire().expect("it is free"));
    let gpu = other.semaphore("gpu").expect("it is defined");
    assert!(gpu.is_bounded());
    assert_eq!((gpu.permits(), gpu.value()), (2, Ok(2)));
    let permit = gpu.acquire().expect("there are two");
    let holders = family.semaphore("gpu").expect("it is defined").holders().expect("it is well");
    assert_eq!(holders.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [std::process::id()]);
    drop(permit);
    assert_eq!(other.value("total").expect("it is defined").get(), -7);
    assert_eq!(other.barrier("line").expect("it is defined").parties(), 3);
    other.event("go").expect("it is defined").set().expect("it is well");
    assert_eq!(family.event("go").expect("it is defined").is_set(), Ok(true));
    other.condition("news").expect("it is defined").notify_all().expect("it is well");
    let names: Vec<String> = other.locks().expect("it is well").into_iter().map(|lock| lock.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_name_is_defined_once_a_kind_and_no_more_than_there_is_room_for() {
    let family = family(2);
    assert_eq!(family.define_lock("a").err(), Some(DefineError::Exists));
    assert!(matches!(family.define_lock("").err(), Some(DefineError::Options(_))));
    assert!(matches!(family.define_barrier("x", 0).err(), Some(DefineError::Options(_))));
    let long = "x".repeat(200);
    family.define_event(&long).expect("there is room");
    assert_eq!(again(&family).event(&long).expect("it is defined").name(), long);
    family.define_event("a").expect("another kind");
    assert_eq!(family.define_lock("b").err(), Some(DefineError::Full(2)));
    assert_eq!(again(&family).define_lock("b").err(), Some(DefineError::Full(2)));
}

/// Somebody who holds a lock, and another who acts for it and waits for a second lock: what the second one is told.
fn pair(family: &Family, holds: &str, wants: &str) -> thread::JoinHandle<Result<(), Deadlock>> {
    let (family, holds, wants) = (family.clone(), holds.to_owned(), wants.to_owned());
    let (ready, is_ready) = channel();
    let pair = thread::spawn(move || {
        let guard = family.lock(&holds).expect("it is there").acquire().expect("it is free");
        let warrant = family.warrant().expect("it is well");
        let helper = family.clone();
        ready.send(()).expect("the test listens");
        let told = thread::spawn(move || {
            assert_eq!(helper.act_for(&warrant), Ok(true));
            // Only when both locks are taken the circle can close.
            until("both are held", || {
                helper.locks().expect("it is well").iter().all(|lock| lock.holder.is_some())
            });
            match helper.lock(&wants).expect("it is there").acquire() {
                Ok(_) => Ok(()),
                Err(LockError::Deadlock(deadlock)) => Err(*deadlock),
                Err(other) => panic!("{other}"),
            }
        });
        let told = told.join().expect("it does not panic");
        drop(guard);
        told
    });
    is_ready.recv_timeout(WATCHDOG).expect("it holds its lock");
    pair
}

#[test]
fn a_circle_through_those_who_act_for_others_is_told_to_exactly_one() {
    let family = family(1);
    family.define_lock("b").expect("there is room");
    let pairs = [pair(&family, "a", "b"), pair(&family, "b", "a")];
    let told: Vec<_> = pairs.into_iter().map(|pair| pair.join().expect("it does not panic")).collect();
    let deadlocks: Vec<&Deadlock> = told.iter().filter_map(|told| told.as_ref().err()).collect();
    assert_eq!(deadlocks.len(), 1, "{told:?}");
    let mut links: Vec<_> =
        deadlocks[0].cycle.iter().map(|link| (link.holds.as_str(), link.wants.as_str())).collect();
    links.sort();
    assert_eq!(links, [("a", "b"), ("b", "a")]);
    assert!(family.locks().expect("it is well").iter().all(|lock| lock.holder.is_none()));
}

#[test]
fn who_waits_for_the_lock_of_the_one_it_acts_for_is_told() {
    let family = family(0);
    let deadlock = pair(&family, "a", "a").join().expect("it does not panic").expect_err("it cannot end");
    assert_eq!(deadlock.cycle.len(), 1);
    assert_eq!((deadlock.cycle[0].holds.as_str(), deadlock.cycle[0].wants.as_str()), ("a", "a"));
}

#[test]
fn a_warrant_of_the_dead_or_of_strangers_is_worth_nothing() {
    let (family, stranger) = (family(0), family(0));
    let warrant = family.warrant().expect("it is well");
    assert_eq!(family.act_for(&warrant), Ok(false), "nobody acts for itself");
    assert_eq!((family.giver_of(&warrant), stranger.giver_of(&warrant)), (Some(std::process::id()), None));
    assert_eq!(stranger.act_for(&warrant), Ok(false));
    for nonsense in ["", ":", "x:y:z", &warrant[..32], &format!("{}:ffff:1", &warrant[..32])] {
        assert_eq!(family.act_for(nonsense), Ok(false), "{nonsense}");
    }
    let dead = {
        let family = family.clone();
        thread::spawn(move || family.warrant().expect("it is well")).join().expect("it does not panic")
    };
    assert_eq!((family.act_for(&dead), family.giver_of(&dead)), (Ok(false), None));
}
