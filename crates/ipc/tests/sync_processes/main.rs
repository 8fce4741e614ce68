//! What the primitives of a family promise to several processes, of which some are killed or stopped.
//!
//! Each process is this program again; it does what the test tells it, line by line. Arguments: words that must be
//! part of a test's name, `--kills N`, `--seed N`.

mod child;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use child::Puppet;
use ipc::sync::{Family, SyncOptions, TryLockError};
use nix::sys::signal::Signal;

/// How long anything may take to come about.
pub const WATCHDOG: Duration = Duration::from_secs(90);

/// A test.
struct Promise {
    name: &'static str,
    keep: fn(&Args),
}

struct Args {
    kills: u64,
    seed: u64,
}

macro_rules! promises {
    ($($name:ident,)*) => { &[$(Promise { name: stringify!($name), keep: $name },)*] };
}

const PROMISES: &[Promise] = promises![
    processes_that_count_under_a_lock_lose_nothing,
    without_the_lock_nothing_is_counted_twice,
    the_lock_of_a_killed_holder_is_handed_on_and_says_whose_it_was,
    the_lock_of_a_killed_holder_is_handed_on_with_no_supervisor,
    the_lock_of_a_killed_holder_is_handed_on_though_the_supervisor_is_dead,
    a_stopped_holder_keeps_its_lock,
    a_killed_waiter_leaves_the_lock_to_the_next,
    two_processes_in_a_circle_get_one_error_that_names_both,
    three_processes_in_a_circle_get_one_error_that_names_all,
    a_circle_with_a_killed_member_is_no_deadlock,
    the_permits_of_a_killed_process_come_back_and_those_used_up_do_not,
    permits_come_back_and_barriers_break_with_no_supervisor,
    an_event_reaches_every_process_that_waits,
    a_notification_of_a_killed_process_goes_to_the_next,
    a_barrier_breaks_when_a_party_is_killed,
    kills_at_random_lose_no_lock_and_no_permit,
    kills_at_random_lose_nothing_with_no_supervisor,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "child") {
        return child::main(&args[1..]);
    }
    if let [word, path] = args.as_slice()
        && word == "make"
    {
        Family::create(path, &options(true)).expect("nothing is there");
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let numbers =
        Args { kills: number("--kills", 100), seed: number("--seed", u64::from(std::process::id())) };
    let words: Vec<&String> =
        args.iter().filter(|arg| !arg.starts_with('-') && arg.parse::<u64>().is_err()).collect();
    let (mut passed, mut failed) = (0, 0);
    for promise in PROMISES.iter().filter(|promise| words.iter().all(|word| promise.name.contains(*word))) {
        let start = Instant::now();
        let is_kept = catch_unwind(AssertUnwindSafe(|| (promise.keep)(&numbers))).is_ok();
        let outcome = if is_kept { "ok" } else { "FAILED" };
        println!("test {} ... {outcome} ({:.2} s)", promise.name, start.elapsed().as_secs_f64());
        if is_kept { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(is_supervised: bool) -> SyncOptions {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let values = ["total", "begun", "ended", "inside", "faults", "rounds", "told"];
    SyncOptions {
        locks: names(&["ledger", "a", "b", "c"]),
        rlocks: names(&["deep"]),
        semaphores: vec![("signals".into(), 3)],
        bounded_semaphores: vec![("gpu".into(), 3)],
        events: names(&["go"]),
        conditions: names(&["news"]),
        barriers: vec![("line".into(), 3)],
        values: values.iter().map(|&name| (name.to_owned(), 0)).collect(),
        participants: 32,
        supervised: is_supervised,
        ..Default::default()
    }
}

fn supervised() -> Family {
    Family::create_anonymous("test", &options(true)).unwrap()
}

/// Waits for what must come about, however slow the machine.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < WATCHDOG, "waited too long: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn waiting(family: &Family, lock: &str) -> usize {
    family.locks().unwrap().into_iter().find(|state| state.name == lock).unwrap().waiters.len()
}

fn processes_that_count_under_a_lock_lose_nothing(_: &Args) {
    let family = supervised();
    let mut puppets: Vec<Puppet> = (0..4).map(|_| Puppet::of(&family, "clerk")).collect();
    puppets.iter_mut().for_each(|puppet| puppet.tell("count 5000 ledger"));
    puppets.iter_mut().for_each(|puppet| assert_eq!(puppet.answer(), "ok"));
    assert_eq!(family.value("total").unwrap().get(), 20_000);
}

fn without_the_lock_nothing_is_counted_twice(_: &Args) {
    let family = supervised();
    let mut puppets: Vec<Puppet> = (0..4).map(|_| Puppet::of(&family, "clerk")).collect();
    puppets.iter_mut().for_each(|puppet| puppet.tell("count 50000 -"));
    puppets.iter_mut().for_each(|puppet| assert_eq!(puppet.answer(), "ok"));
    // Some may be lost; how many is luck.
    let total = family.value("total").unwrap().get();
    assert!((1..=200_000).contains(&total), "{total}");
    println!("     without the lock {} of 200000 were lost", 200_000 - total);
}

fn the_lock_of_a_killed_holder_is_handed_on_and_says_whose_it_was(_: &Args) {
    let family = supervised();
    let mut holder = Puppet::of(&family, "holder:0");
    let mut heir = Puppet::of(&family, "heir");
    assert_eq!(holder.ask("acquire ledger"), "ok");
    heir.tell("acquire ledger");
    until("the heir waits", || waiting(&family, "ledger") == 1);
    let state = family.locks().unwrap().into_iter().find(|state| state.name == "ledger").unwrap();
    assert_eq!(state.holder, Some((holder.pid(), "holder:0".to_owned())));
    let pid = holder.kill();
    let reclaimed = family.reclaim(pid).unwrap();
    assert_eq!((reclaimed.dead, reclaimed.handed_on), (1, 1));
    assert_eq!(heir.answer(), format!("recovered {pid} holder:0"));
    assert_eq!(heir.ask("release ledger"), "ok");
    assert!(family.lock("ledger").unwrap().acquire().unwrap().recovered().is_none(), "it is said once");
    assert_eq!(family.reclaim(pid).unwrap().dead, 0);
}

fn the_lock_of_a_killed_holder_is_handed_on_with_no_supervisor(_: &Args) {
    let family = Family::create_anonymous("alone", &options(false)).unwrap();
    let mut holder = Puppet::of(&family, "holder");
    let mut heir = Puppet::of(&family, "heir");
    assert_eq!(holder.ask("acquire ledger"), "ok");
    heir.tell("acquire ledger");
    until("the heir waits", || waiting(&family, "ledger") == 1);
    let pid = holder.kill();
    assert_eq!(heir.answer(), format!("recovered {pid} holder"));
}

fn the_lock_of_a_killed_holder_is_handed_on_though_the_supervisor_is_dead(_: &Args) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orphan.shm");
    let program = std::env::current_exe().unwrap();
    // The one that made the family promised to look after the dead, and is dead itself.
    let made = std::process::Command::new(program).arg("make").arg(&path).status().unwrap();
    assert!(made.success());
    let family = Family::open(&path).unwrap();
    let mut holder = Puppet::of(&family, "holder");
    let mut heir = Puppet::of(&family, "heir");
    assert_eq!(holder.ask("acquire ledger"), "ok");
    heir.tell("acquire ledger");
    let pid = holder.kill();
    assert_eq!(heir.answer(), format!("recovered {pid} holder"));
}

fn a_stopped_holder_keeps_its_lock(_: &Args) {
    let family = Family::create_anonymous("alone", &options(false)).unwrap();
    let mut holder = Puppet::of(&family, "holder");
    let mut other = Puppet::of(&family, "other");
    assert_eq!(holder.ask("acquire ledger"), "ok");
    holder.signal(Signal::SIGSTOP);
    assert_eq!(other.ask("timed ledger 600"), "timed out");
    assert_eq!(family.reclaim_dead().unwrap().dead, 0);
    assert_eq!(family.lock("ledger").unwrap().try_acquire().unwrap_err(), TryLockError::Held);
    holder.signal(Signal::SIGCONT);
    other.tell("acquire ledger");
    assert_eq!(holder.ask("release ledger"), "ok");
    assert_eq!(other.answer(), "ok");
}

fn a_killed_waiter_leaves_the_lock_to_the_next(_: &Args) {
    let family = supervised();
    let mut doomed = Puppet::of(&family, "doomed");
    let mut next = Puppet::of(&family, "next");
    let guard = family.lock("ledger").unwrap().acquire().unwrap();
    doomed.tell("acquire ledger");
    until("the first waits", || waiting(&family, "ledger") == 1);
    next.tell("acquire ledger");
    until("both wait", || waiting(&family, "ledger") == 2);
    // Stopped, it cannot act on being woken; killed, it never will.
    doomed.signal(Signal::SIGSTOP);
    drop(guard);
    let pid = doomed.kill();
    family.reclaim(pid).unwrap();
    assert_eq!(next.answer(), "ok");
    assert_eq!(waiting(&family, "ledger"), 0);
}

fn in_a_circle(names: &[&str]) {
    let family = supervised();
    let mut puppets: Vec<Puppet> =
        names.iter().map(|name| Puppet::of(&family, &format!("holds-{name}"))).collect();
    for (puppet, name) in puppets.iter_mut().zip(names) {
        assert_eq!(puppet.ask(&format!("acquire {name}")), "ok");
    }
    // The one to give way waits longest, so that another must find the circle and tell it.
    for (index, puppet) in puppets.iter_mut().enumerate().rev() {
        puppet.tell(&format!("acquire {}", names[(index + 1) % names.len()]));
    }
    let mut told = None;
    until("one is told", || {
        told = puppets.iter_mut().position(|puppet| {
            puppet.has_answered().is_some_and(|answer| {
                for other in names {
                    let next = names[(names.iter().position(|n| n == other).unwrap() + 1) % names.len()];
                    let link = format!("holds \"{other}\" and waits for \"{next}\"");
                    assert!(answer.starts_with("deadlock: ") && answer.contains(&link), "{answer}");
                    assert!(answer.contains(&format!("holds-{other} (pid ")), "{answer}");
                }
                true
            })
        });
        told.is_some()
    });
    let mut at = told.expect("just found");
    assert_eq!(at, names.len() - 1, "always the one that came last gives way");
    // It gives way; then one after the other gets what it waits for.
    for _ in 1..names.len() {
        assert_eq!(puppets[at].ask(&format!("release {}", names[at])), "ok");
        at = (at + names.len() - 1) % names.len();
        assert_eq!(puppets[at].answer(), "ok", "no other was told");
        let gained = names[(at + 1) % names.len()];
        assert_eq!(puppets[at].ask(&format!("release {gained}")), "ok");
    }
}

fn two_processes_in_a_circle_get_one_error_that_names_both(_: &Args) {
    in_a_circle(&["a", "b"]);
}

fn three_processes_in_a_circle_get_one_error_that_names_all(_: &Args) {
    in_a_circle(&["a", "b", "c"]);
}

fn a_circle_with_a_killed_member_is_no_deadlock(_: &Args) {
    let family = Family::create_anonymous("alone", &options(false)).unwrap();
    let mut first = Puppet::of(&family, "first");
    let mut second = Puppet::of(&family, "second");
    assert_eq!(first.ask("acquire a"), "ok");
    assert_eq!(second.ask("acquire b"), "ok");
    first.tell("acquire b");
    until("the first waits", || waiting(&family, "b") == 1);
    let pid = first.kill();
    assert_eq!(second.ask("acquire a"), format!("recovered {pid} first"));
}

fn the_permits_of_a_killed_process_come_back_and_those_used_up_do_not(_: &Args) {
    let family = supervised();
    let mut holder = Puppet::of(&family, "holder");
    let mut heir = Puppet::of(&family, "heir");
    (0..3).for_each(|_| assert_eq!(holder.ask("permit gpu"), "ok"));
    (0..3).for_each(|_| assert_eq!(holder.ask("permit signals"), "ok"));
    assert_eq!(holder.ask("keep"), "ok");
    assert_eq!(holder.ask("consume"), "ok");
    assert_eq!(family.semaphore("gpu").unwrap().value().unwrap(), 0);
    heir.tell("permit gpu");
    let reclaimed = family.reclaim(holder.kill()).unwrap();
    assert_eq!(reclaimed.handed_on, 5);
    assert_eq!(heir.answer(), "ok");
    assert_eq!(family.semaphore("gpu").unwrap().value().unwrap(), 2);
    assert_eq!(family.semaphore("signals").unwrap().value().unwrap(), 2);
}

fn permits_come_back_and_barriers_break_with_no_supervisor(_: &Args) {
    let family = Family::create_anonymous("alone", &options(false)).unwrap();
    let mut holder = Puppet::of(&family, "holder");
    let mut party = Puppet::of(&family, "party");
    let mut heir = Puppet::of(&family, "heir");
    let barrier = family.barrier("line").unwrap();
    (0..3).for_each(|_| assert_eq!(holder.ask("permit gpu"), "ok"));
    holder.tell("barrier line");
    party.tell("barrier line");
    until("both wait", || barrier.waiting().unwrap() == 2);
    heir.tell("permit gpu");
    holder.kill();
    assert_eq!(heir.answer(), "ok");
    assert_eq!(party.answer(), "the barrier is broken");
}

fn an_event_reaches_every_process_that_waits(_: &Args) {
    let family = supervised();
    let mut puppets: Vec<Puppet> = (0..3).map(|_| Puppet::of(&family, "runner")).collect();
    puppets.iter_mut().for_each(|puppet| puppet.tell("event go"));
    let mut starter = Puppet::of(&family, "starter");
    assert_eq!(starter.ask("set go"), "ok");
    puppets.iter_mut().for_each(|puppet| assert_eq!(puppet.answer(), "ok"));
}

fn a_notification_of_a_killed_process_goes_to_the_next(_: &Args) {
    let family = supervised();
    let mut first = Puppet::of(&family, "first");
    let mut second = Puppet::of(&family, "second");
    for puppet in [&mut first, &mut second] {
        assert_eq!(puppet.ask("acquire ledger"), "ok");
        puppet.tell("wait news ledger");
        // It lets go of the lock only by waiting.
        drop(family.lock("ledger").unwrap().acquire().unwrap());
    }
    let guard = family.lock("ledger").unwrap().acquire().unwrap();
    assert!(family.condition("news").unwrap().notify_one().unwrap());
    // The first has been told, and cannot go on while we hold the lock.
    until("it waits for the lock", || waiting(&family, "ledger") == 1);
    assert!(second.has_answered().is_none());
    family.reclaim(first.kill()).unwrap();
    drop(guard);
    assert_eq!(second.answer(), "ok");
    assert_eq!(second.ask("release ledger"), "ok");
    assert!(!family.condition("news").unwrap().notify_one().unwrap(), "nobody waits any more");
}

fn a_barrier_breaks_when_a_party_is_killed(_: &Args) {
    let family = supervised();
    let barrier = family.barrier("line").unwrap();
    let mut first = Puppet::of(&family, "first");
    let mut second = Puppet::of(&family, "second");
    first.tell("barrier line");
    second.tell("barrier line");
    until("both wait", || barrier.waiting().unwrap() == 2);
    family.reclaim(first.kill()).unwrap();
    assert_eq!(second.answer(), "the barrier is broken");
    assert_eq!(second.ask("barrier line"), "the barrier is broken");
    barrier.reset().unwrap();
    let mut third = Puppet::of(&family, "third");
    second.tell("barrier line");
    third.tell("barrier line");
    barrier.wait().unwrap();
    assert_eq!((second.answer(), third.answer()), ("passed".to_owned(), "passed".to_owned()));
    // One that has passed and dies is not missed.
    family.reclaim(second.kill()).unwrap();
    assert!(!barrier.is_broken().unwrap());
}

fn kills_at_random_lose_no_lock_and_no_permit(args: &Args) {
    kill_at_random(&supervised(), args.kills, args.seed, true);
}

fn kills_at_random_lose_nothing_with_no_supervisor(args: &Args) {
    let family = Family::create_anonymous("alone", &options(false)).unwrap();
    kill_at_random(&family, args.kills / 4, args.seed, false);
}

fn kill_at_random(family: &Family, kills: u64, seed: u64, is_supervised: bool) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) % limit
    };
    let start_one = || {
        let mut puppet = Puppet::of(family, "worker");
        puppet.tell("churn");
        puppet
    };
    let value = |name: &str| family.value(name).unwrap().get();
    let mut puppets: Vec<Puppet> = (0..4).map(|_| start_one()).collect();
    for kill in 0..kills {
        // A moment of their work, not of time: a random number of rounds more.
        let rounds = value("rounds") + below(200) as i64;
        until("the work goes on", || value("rounds") >= rounds);
        let pid = puppets.swap_remove(below(4) as usize).kill();
        if is_supervised {
            family.reclaim(pid).unwrap();
        }
        puppets.push(start_one());
        assert_eq!(value("faults"), 0, "after {kill} kills, --seed {seed}");
    }
    let rounds = value("rounds") + 100;
    until("the work goes on after all kills", || value("rounds") >= rounds);
    for puppet in puppets {
        puppet.kill();
    }
    family.reclaim_dead().unwrap();
    assert_eq!(value("faults"), 0, "--seed {seed}");
    assert_eq!(family.semaphore("gpu").unwrap().value().unwrap(), 3, "--seed {seed}");
    for state in family.locks().unwrap() {
        assert_eq!((state.holder, state.waiters), (None, vec![]), "{}, --seed {seed}", state.name);
    }
    println!(
        "     {kills} kills in {} rounds, {} times told of a dead holder",
        value("rounds"),
        value("told")
    );
}
