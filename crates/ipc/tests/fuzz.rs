//! Segments of any bytes: a bounded share of what `fuzz/` does without end, with seeds, in every test run.
//!
//! `IPC_FUZZ_ROUNDS` and `IPC_SEED` choose how much and from where; a failure prints its seed.

mod fuzzing;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What no round takes, even on a machine with much else to do.
const WATCHDOG: Duration = Duration::from_secs(120);

fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let length = 7 * (1 + next() % 24) as usize;
    // Changes of one bit, of a small number and of everything.
    (0..length)
        .map(|at| match (at % 7, next() % 3) {
            (0..3, _) | (_, 0) => next() as u8,
            (_, 1) => 1 << (next() % 8),
            _ => 0,
        })
        .collect()
}

fn run(target: fn(&[u8])) {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let first = number("IPC_SEED", 1u64);
    let rounds = number("IPC_FUZZ_ROUNDS", 1500u64);
    let (tells, hears) = mpsc::channel();
    thread::spawn(move || {
        for seed in first..first + rounds {
            if tells.send(seed).is_err() {
                return;
            }
            target(&bytes(seed));
        }
    });
    let mut last = first;
    loop {
        match hears.recv_timeout(WATCHDOG) {
            Ok(seed) => last = seed,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("IPC_SEED={last} does not come to an end"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    assert_eq!(last, first + rounds - 1, "IPC_SEED={last} ended in a panic");
}

#[test]
fn a_queue_of_any_bytes_answers_everything_it_is_asked() {
    run(fuzzing::queue);
}

#[test]
fn a_family_of_any_bytes_answers_everything_it_is_asked() {
    run(fuzzing::sync);
}

#[test]
fn a_header_of_any_bytes_is_refused_or_believed_without_harm() {
    run(fuzzing::header);
}
