//! The process that is stepped and killed, and the peer that sleeps meanwhile.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ipc::sync::Family;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};

/// `child PATH OPERATION`
pub fn main(args: &[String]) -> ExitCode {
    let [path, operation] = args else { return ExitCode::from(2) };
    let family = Family::open(path).expect("the family opens");
    let lock = family.lock("a").expect("made so");
    let rlock = family.rlock("r").expect("made so");
    let semaphore = family.semaphore("s").expect("made so");
    let stop = || raise(Signal::SIGSTOP).expect("the tracer waits for it");
    match operation.as_str() {
        // A peer only sleeps: it is not stepped.
        "peer-lock" => drop(lock.acquire().expect("it is handed on")),
        "peer-permit" => {
            drop((0..3).map(|_| semaphore.acquire().expect("they come back")).collect::<Vec<_>>())
        }
        _ => {
            ptrace::traceme().expect("a child may be traced");
            // Joined, and warm, where that leaves no trace of a former death behind.
            let _ = family.reclaim(u32::MAX);
            drop(rlock.acquire());
            drop(semaphore.acquire());
        }
    }
    match operation.as_str() {
        "peer-lock" | "peer-permit" => return ExitCode::SUCCESS,
        "hold-and-stop" => {
            let _held = (lock.acquire(), semaphore.acquire());
            stop();
        }
        "unlock-before-peer" => {
            let guard = lock.acquire();
            stop();
            drop(guard);
        }
        "release-before-peer" => {
            let permits: Vec<_> = (0..3).map(|_| semaphore.acquire()).collect();
            stop();
            drop(permits);
        }
        operation => {
            stop();
            operate(&family, operation);
        }
    }
    stop();
    ExitCode::SUCCESS
}

fn operate(family: &Family, operation: &str) {
    let lock = family.lock("a").expect("made so");
    let rlock = family.rlock("r").expect("made so");
    let semaphore = family.semaphore("s").expect("made so");
    let barrier = |name: &str| family.barrier(name).expect("made so");
    match operation {
        "lock-unlock" | "lock-unlock-orphaned" => drop(lock.acquire()),
        "rlock-twice" => drop((rlock.acquire(), rlock.acquire())),
        "permit" => drop(semaphore.acquire()),
        "keep-release" => {
            let _ = semaphore.acquire().map(|permit| permit.keep());
            let _ = semaphore.release();
        }
        "consume-release" => {
            let _ = semaphore.acquire().map(|permit| permit.consume());
            let _ = semaphore.release();
        }
        "event-set" => drop(family.event("e").expect("made so").set()),
        "notify" => drop(family.condition("c").expect("made so").notify_one()),
        "condition-timeout" => {
            let guard = lock.acquire().expect("it is free");
            drop(family.condition("c").expect("made so").wait_timeout(guard, Duration::from_nanos(1)));
        }
        "barrier-pass" => drop(barrier("one").wait()),
        "barrier-timeout" => drop(barrier("two").wait_timeout(Duration::from_nanos(1))),
        "barrier-reset" => {
            let _ = barrier("two").abort();
            let _ = barrier("two").reset();
        }
        "reclaim" => drop(family.reclaim_dead()),
        other => panic!("no such operation: {other}"),
    }
}

/// Waits until a process sleeps on a futex.
pub fn until_asleep(pid: u32, watchdog: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        // The first number is that of the system call it is in.
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).map_err(|e| e.to_string())?;
        if call.split(' ').next() == Some(&libc::SYS_futex.to_string()) {
            return Ok(());
        }
        if start.elapsed() > watchdog {
            return Err(format!("the peer never slept: {call}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
