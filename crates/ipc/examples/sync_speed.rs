//! What taking and giving back costs, in nanoseconds: medians of several runs.
//!
//! `cargo run --release -p ipc --example sync_speed`

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Instant;

use ipc::sync::{Family, SyncOptions};

const RUNS: usize = 9;

fn main() -> ExitCode {
    let options = SyncOptions {
        locks: vec!["lock".into(), "ping".into()],
        rlocks: vec!["rlock".into()],
        bounded_semaphores: vec![("two".into(), 2), ("many".into(), 1024)],
        values: vec![("total".into(), 0)],
        barriers: vec![("start".into(), 3)],
        ..Default::default()
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let family = match arguments.as_slice() {
        [path] => Family::open(path),
        _ => Family::create_anonymous("speed", &options),
    };
    let family = family.expect("a family can be had");
    if arguments.len() == 1 {
        contend(&family);
        return ExitCode::SUCCESS;
    }
    let lock = family.lock("lock").expect("made so");
    let rlock = family.rlock("rlock").expect("made so");
    let value = family.value("total").expect("made so");
    report("lock and unlock", 1_000_000, || drop(black_box(lock.acquire())));
    report("try and unlock", 1_000_000, || drop(black_box(lock.try_acquire())));
    report("recursive, first level", 1_000_000, || drop(black_box(rlock.acquire())));
    let outer = rlock.acquire();
    report("recursive, second level", 1_000_000, || drop(black_box(rlock.acquire())));
    drop(outer);
    for name in ["two", "many"] {
        let semaphore = family.semaphore(name).expect("made so");
        report(&format!("permit of {name}"), 1_000_000, || drop(black_box(semaphore.acquire())));
    }
    report("add to a value", 1_000_000, || assert_ne!(black_box(value.add(1)), 0));
    let mutex = Mutex::new(0);
    report("std::sync::Mutex, for comparison", 1_000_000, || drop(black_box(mutex.lock())));

    let program = std::env::current_exe().expect("this program has a path");
    let mut others: Vec<_> = (0..2)
        .map(|_| Command::new(&program).arg(family.descriptor_path()).spawn().expect("a process starts"))
        .collect();
    family.barrier("start").expect("made so").wait().expect("all come");
    let start = Instant::now();
    others.iter_mut().for_each(|other| drop(other.wait()));
    let each = start.elapsed().as_nanos() as f64 / (2 * CONTENDED) as f64;
    println!("{:<36} {each:>8.1} ns", "lock and unlock, two processes at once");
    ExitCode::SUCCESS
}

const CONTENDED: usize = 1_000_000;

fn contend(family: &Family) {
    let lock = family.lock("lock").expect("made so");
    let value = family.value("total").expect("made so");
    family.barrier("start").expect("made so").wait().expect("all come");
    for _ in 0..CONTENDED {
        let _guard = lock.acquire().expect("there is no circle");
        value.add_unprotected(1);
    }
}

fn report(what: &str, times: u32, mut work: impl FnMut()) {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            (0..times).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / f64::from(times)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{what:<36} {:>8.1} ns  [{:.1} .. {:.1}]", runs[RUNS / 2], runs[0], runs[RUNS - 1]);
}
