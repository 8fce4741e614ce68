//! What each thread keeps for itself in a handle: what it got and has not acknowledged, and where it looked
//! last. Nothing here is shared with other processes.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::get::Claim;
use crate::waiting::Spins;

/// Threads of one process that have their state at hand; further ones look it up.
const SEATS: usize = 64;

/// One thread's state in one handle.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Local {
    /// The head when last seen; at most the true one.
    pub(crate) head: Number,
    /// Where to look for the next free block, and page.
    pub(crate) block: Number,
    pub(crate) page: Number,
    /// What was got and not acknowledged: block + 1 and ticket; zero for nothing.
    pub(crate) got_block: Number,
    pub(crate) got_ticket: Number,
    /// What was got together beside that; how many, and which.
    pub(crate) batch_length: Number,
    pub(crate) batch: Mutex<Vec<Claim>>,
    /// When the queue was first found empty since something was got, of `futex::now_ns`; zero for not.
    pub(crate) empty_since: Number,
    pub(crate) spins: Spins,
}

impl Local {
    fn new() -> Self {
        Self {
            head: Number::default(),
            block: Number::default(),
            page: Number::default(),
            got_block: Number::default(),
            got_ticket: Number::default(),
            batch_length: Number::default(),
            batch: Mutex::new(Vec::new()),
            empty_since: Number::default(),
            spins: Spins::new(),
        }
    }
}

/// A number that only one thread changes.
#[derive(Debug)]
pub(crate) struct Number(AtomicU64);

impl Default for Number {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Number {
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The states of all threads in one handle.
#[derive(Debug)]
pub(crate) struct Locals {
    seats: Box<[Local]>,
    others: Mutex<HashMap<u64, Arc<Local>>>,
}

impl Locals {
    pub(crate) fn new() -> Self {
        Self { seats: (0..SEATS).map(|_| Local::new()).collect(), others: Mutex::new(HashMap::new()) }
    }

    /// Runs `work` with this thread's state.
    #[inline]
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Local) -> T) -> T {
        let number = THREAD.with(|thread| thread.0.get());
        match self.seats.get(number as usize) {
            Some(local) => work(local),
            None => {
                let number = thread_number(number);
                match self.seats.get(number as usize) {
                    Some(local) => work(local),
                    None => work(&self.other(number)),
                }
            }
        }
    }

    fn other(&self, number: u64) -> Arc<Local> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(others.entry(number).or_insert_with(|| Arc::new(Local::new())))
    }

    /// Every thread's state, for the end.
    pub(crate) fn for_each(&self, mut work: impl FnMut(&Local)) {
        self.seats.iter().for_each(&mut work);
        // At the end of a process another thread may have been stopped with the lock held.
        if let Ok(others) = self.others.try_lock() {
            others.values().for_each(|local| work(local));
        }
    }
}

/// Numbers of threads: small ones are used again when their thread has ended.
static TAKEN: AtomicSeats = AtomicSeats::new();

struct AtomicSeats {
    bits: AtomicU64,
    next: AtomicU64,
}

impl AtomicSeats {
    const fn new() -> Self {
        Self { bits: AtomicU64::new(0), next: AtomicU64::new(SEATS as u64) }
    }

    fn take(&self) -> u64 {
        let mut bits = self.bits.load(Ordering::Relaxed);
        while bits != u64::MAX {
            let free = bits.trailing_ones();
            match self.bits.compare_exchange(bits, bits | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return u64::from(free),
                Err(now) => bits = now,
            }
        }
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn give_back(&self, number: u64) {
        if number < SEATS as u64 {
            self.bits.fetch_and(!(1 << number), Ordering::Release);
        }
    }
}

const UNNUMBERED: u64 = u64::MAX;

struct Thread(Cell<u64>);

impl Drop for Thread {
    fn drop(&mut self) {
        TAKEN.give_back(self.0.get());
    }
}

thread_local! {
    static THREAD: Thread = const { Thread(Cell::new(UNNUMBERED)) };
}

#[cold]
fn thread_number(known: u64) -> u64 {
    if known != UNNUMBERED {
        return known;
    }
    THREAD.with(|thread| {
        thread.0.set(TAKEN.take());
        thread.0.get()
    })
}
