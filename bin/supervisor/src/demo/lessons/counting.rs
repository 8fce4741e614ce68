//! What the lessons on shared state share: several who count together, each by reading, adding one, and writing.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use ipc::sync::{Family, SyncOptions, Value};
use nix::time::{ClockId, clock_gettime};

use crate::demo::actor::{Actor, say};

/// How many count.
pub const COUNTERS: i64 = 4;

/// When the one who counts holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Never.
    Never,
    /// From the reading to the writing, each time.
    Each,
    /// Only while it writes.
    Write,
    /// Once, from the first reading to the last writing.
    All,
}

impl Hold {
    fn word(self) -> &'static str {
        match self {
            Hold::Never => "never",
            Hold::Each => "each",
            Hold::Write => "write",
            Hold::All => "all",
        }
    }

    fn parse(word: &str) -> Option<Hold> {
        [Hold::Never, Hold::Each, Hold::Write, Hold::All].into_iter().find(|hold| hold.word() == word)
    }
}

/// A total that is shared, a gate, and the lock `ledger`.
///
/// # Errors
/// Without memory.
pub fn family() -> io::Result<Family> {
    let options = SyncOptions {
        locks: vec!["ledger".to_owned()],
        values: vec![("total".to_owned(), 0), ("gate".to_owned(), 0)],
        participants: 16,
        ..Default::default()
    };
    Family::create_anonymous("bank", &options).map_err(io::Error::other)
}

/// What processes that counted together came to.
#[derive(Debug)]
pub struct Counted {
    /// Who they were.
    pub pids: Vec<i32>,
    /// The total.
    pub total: i64,
    /// How long it took, from the first start of counting to the last end, in microseconds.
    pub took_us: i64,
}

/// Lets [`COUNTERS`] processes count `rounds` each, all at the same time.
///
/// # Errors
/// When one of them fails.
pub fn together(lesson: &str, rounds: i64, hold: Hold) -> io::Result<Counted> {
    let family = family()?;
    let mut counters = Vec::new();
    for _ in 0..COUNTERS {
        counters.push(start(lesson, &family, rounds, hold)?);
    }
    value(&family, "gate")?.set(1);
    let mut times = Vec::new();
    for counter in &mut counters {
        times.extend([counter.hear_number()?, counter.hear_number()?]);
        counter.join()?;
    }
    let took_us = times.iter().max().zip(times.iter().min()).map_or(0, |(last, first)| last - first);
    let pids = counters.iter().map(Actor::pid).collect();
    Ok(Counted { pids, total: value(&family, "total")?.get(), took_us })
}

/// Lets [`COUNTERS`] processes count `rounds` each, one after the other.
///
/// # Errors
/// When one of them fails.
pub fn one_by_one(lesson: &str, rounds: i64) -> io::Result<(Counted, Vec<i64>)> {
    let family = family()?;
    value(&family, "gate")?.set(1);
    let (mut pids, mut after_each, mut took_us) = (Vec::new(), Vec::new(), 0);
    for _ in 0..COUNTERS {
        let mut counter = start(lesson, &family, rounds, Hold::Never)?;
        took_us += -counter.hear_number()? + counter.hear_number()?;
        counter.join()?;
        pids.push(counter.pid());
        after_each.push(value(&family, "total")?.get());
    }
    Ok((Counted { pids, total: value(&family, "total")?.get(), took_us }, after_each))
}

fn start(lesson: &str, family: &Family, rounds: i64, hold: Hold) -> io::Result<Actor> {
    let path = family.descriptor_path().to_string_lossy().into_owned();
    let counter = Actor::of(lesson, "count", &[&path, &rounds.to_string(), hold.word()])?;
    counter.hear()?;
    Ok(counter)
}

/// The part of one who counts.
///
/// # Errors
/// When the parent has gone, or the family cannot be used.
pub fn part(_: &str, arguments: &[String]) -> io::Result<()> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let [path, rounds, hold] = arguments else { return Err(wrong()) };
    let rounds: i64 = rounds.parse().map_err(|_| wrong())?;
    let hold = Hold::parse(hold).ok_or_else(wrong)?;
    let family = Family::open(path).map_err(io::Error::other)?;
    let (total, gate) = (value(&family, "total")?, value(&family, "gate")?);
    let ledger = family.lock("ledger").map_err(io::Error::other)?;
    let locked = |when: bool| when.then(|| ledger.acquire()).transpose().map_err(io::Error::other);
    say("ready")?;
    // Not a message each: all are to begin at the same moment. Should the parent die, this process does too.
    while gate.get() == 0 {
        thread::yield_now();
    }
    let began = now_us()?;
    let all = locked(hold == Hold::All)?;
    for round in 0..rounds {
        let each = locked(hold == Hold::Each)?;
        let read = total.get();
        switch(round);
        let write = locked(hold == Hold::Write)?;
        total.set(read + 1);
        drop((write, each));
    }
    drop(all);
    let ended = now_us()?;
    say(began)?;
    say(ended)
}

/// Lets as many threads of this process count `rounds` each; one after the other if they are joined at once.
pub fn threads(rounds: i64, joined_at_once: bool) -> i64 {
    let total = AtomicI64::new(0);
    let count = || {
        for round in 0..rounds {
            let read = total.load(Ordering::Relaxed);
            switch(round);
            total.store(read + 1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..COUNTERS {
            let thread = scope.spawn(count);
            if joined_at_once {
                // It has no way to panic, and the scope would say so.
                let _ = thread.join();
            }
        }
    });
    total.load(Ordering::Relaxed)
}

/// Now and then offers the processor to somebody else between the reading and the writing, as the kernel may do at any
/// time: so that the lesson is the same on a machine with one processor.
fn switch(round: i64) {
    if round % 9973 == 9972 {
        thread::yield_now();
    }
}

fn value(family: &Family, name: &str) -> io::Result<Value> {
    family.value(name).map_err(io::Error::other)
}

/// The time, the same for all processes of this machine, in microseconds.
///
/// # Errors
/// Those of the kernel.
pub fn now_us() -> io::Result<i64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}
