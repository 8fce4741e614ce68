//! What the primitives of a family promise to one process and its threads.

mod families;
mod locks;
mod meeting;
mod scribbled;

use std::thread;
use std::time::{Duration, Instant};

use ipc::sync::{Family, SyncOptions};

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
