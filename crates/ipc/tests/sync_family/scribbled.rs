//! Memory that somebody scribbles over, and words that nobody can have written.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipc::sync::{Family, Lock, LockError, SyncOptions, TryLockError};

use crate::names;

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
