//! What a queue promises about memory that is not what it should be: errors that say which, and nothing else.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipc::sync::{Family, SyncOptions};
use ipc::{
    Damage, Fault, GetError, GetTimeoutError, OpenError, PutError, PutTimeoutError, Queue, QueueOptions,
};
use proptest::prelude::*;

fn options() -> QueueOptions {
    QueueOptions { capacity: Some(8), participants: 8, max_bytes: Some(64 << 10), ..Default::default() }
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Opens a copy of a good queue after `spoil` and answers how that was refused.
fn refusal(spoil: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue");
    drop(Queue::create(&path, &options()).unwrap());
    spoil(&path);
    Queue::open(&path).err().map_or_else(|| "opened".to_owned(), |error| error.to_string())
}

#[test]
fn a_queue_in_a_file_keeps_its_messages_after_everybody_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    let queue = Queue::create(&path, &options()).unwrap();
    assert_eq!(queue.name(), "jobs");
    queue.put(b"kept").unwrap();
    let uuid = queue.uuid();
    drop(queue);
    let queue = Queue::open(&path).unwrap();
    assert_eq!((queue.uuid(), queue.len()), (uuid, 1));
    assert_eq!(queue.get().unwrap(), b"kept");
    assert!(matches!(Queue::create(&path, &options()), Err(OpenError::Exists)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn opening_says_what_is_wrong() {
    assert_eq!(refusal(|_| ()), "opened");
    assert_eq!(refusal(|path| fs::write(path, b"").unwrap()), "truncated: only 0 bytes");
    assert_eq!(refusal(|path| fs::write(path, [7; 9000]).unwrap()), "not a shared object of this program");
    assert_eq!(
        refusal(|path| patch(path, 12, &99u32.to_ne_bytes())),
        "written by another version (layout 99)"
    );
    assert_eq!(refusal(|path| patch(path, 100, &[1])), "its header is corrupt");
    assert_eq!(
        refusal(|path| {
            let header = fs::read(path).unwrap();
            let turned: Vec<u8> =
                header[..8].iter().rev().chain(header[8..12].iter().rev()).copied().collect();
            patch(path, 0, &turned);
        }),
        "written on a machine of the other byte order"
    );
    assert!(
        refusal(|path| OpenOptions::new().write(true).open(path).unwrap().set_len(8192).unwrap())
            .starts_with("truncated: 8192 bytes of ")
    );
    assert!(
        refusal(|path| {
            let length = fs::metadata(path).unwrap().len();
            OpenOptions::new().write(true).open(path).unwrap().set_len(length + 1).unwrap();
        })
        .starts_with("wrong size: ")
    );
    assert_eq!(
        refusal(|path| {
            fs::rename(path, path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
        }),
        "a symbolic link, which is not followed"
    );
    assert_eq!(
        refusal(|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        "not a file"
    );
    assert!(matches!(Queue::open("/nonexistent/queue"), Err(OpenError::System(_))));
}

#[test]
fn a_queue_of_another_user_is_refused() {
    let me = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap();
    if me != 0 {
        println!("skipped: only root can give a file away");
        return;
    }
    let answer = refusal(|path| std::os::unix::fs::chown(path, Some(12345), None).unwrap());
    assert_eq!(answer, "it belongs to another user (uid 12345)");
}

#[test]
fn a_file_cut_short_while_in_use_is_an_error_and_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    for keep in [0, 512, 4096, 8192, 12288] {
        let path = folder.path().join(keep.to_string());
        let queue = Queue::create(&path, &options()).unwrap();
        queue.put(b"a").unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(queue.put(&[7; 3000]).err());
            let _ = queue.try_get();
        }
        assert_eq!(answers.last().unwrap(), &Some(PutError::Fault(Fault::Corrupt(Damage::Cut))), "{keep}");
        assert_eq!(queue.get(), Err(GetError::Fault(Fault::Corrupt(Damage::Cut))));
        let _ = (queue.len(), queue.stats(), queue.peek());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_header_of_any_bytes_is_refused_or_read(
        at in 0u64..512,
        bytes in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        drop(Queue::create(&path, &options()).unwrap());
        let length = bytes.len().min(512 - at as usize);
        patch(&path, at, &bytes[..length]);
        if let Ok(queue) = Queue::open(&path) {
            prop_assert_eq!(queue.capacity(), Some(8));
        }
    }
}

/// Uses a queue until it is damaged or `is_over`; anything but an answer is a failure.
fn use_it(queue: &Queue, is_over: &AtomicBool, number: usize) {
    let short = Duration::from_millis(2);
    while !is_over.load(Ordering::Relaxed) {
        let message = vec![number as u8; [3, 80, 200, 5000][number % 4]];
        match queue.put_timeout(&message, short) {
            Ok(()) | Err(PutTimeoutError::Timeout | PutTimeoutError::Closed) => {}
            Err(_) => return,
        }
        match queue.lease_timeout(short) {
            Ok(lease) if number.is_multiple_of(3) => lease.nack(),
            Ok(lease) => lease.ack(),
            Err(GetTimeoutError::Timeout | GetTimeoutError::Closed) => {}
            Err(_) => return,
        }
        let _ = (queue.len(), queue.peek(), queue.stats());
    }
}

#[test]
fn bits_flipped_in_a_live_segment_make_errors_only() {
    let rounds = std::env::var("IPC_DAMAGE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60u64);
    let mut seed = std::env::var("IPC_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1u64);
    for round in 0..rounds {
        let queue = Queue::create_anonymous("flipped", &options()).unwrap();
        let file = fs::File::from(queue.as_fd().try_clone_to_owned().unwrap());
        let length = file.metadata().unwrap().len();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..4 {
                let (queue, is_over) = (&queue, &is_over);
                let own = Queue::open(queue.descriptor_path()).unwrap();
                scope.spawn(move || use_it(&own, is_over, number));
            }
            for flip in 0..400 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                // Most flips go where much is decided: the object's page, the participants and the rings.
                let reach = if flip % 4 == 0 { length } else { 0x4000.min(length) };
                let at = 512 + (seed >> 8) % (reach - 512);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << (seed & 7);
                file.write_all_at(&byte, at).unwrap();
                thread::yield_now();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let _ = (round, queue.reclaim_dead());
    }
}

/// Uses a family until `is_over`; anything but an answer is a failure. What is damaged stays so, and says so.
fn use_family(family: &Family, is_over: &AtomicBool) {
    let short = Duration::from_millis(2);
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(lock) = family.lock("lock") {
            let guard = lock.acquire_timeout(short);
            if let (Ok(guard), Ok(condition)) = (guard, family.condition("condition")) {
                let _ = condition.wait_timeout(guard, short);
                let _ = condition.notify_all();
            }
        }
        if let Ok(lock) = family.rlock("rlock") {
            let _ = (lock.acquire_timeout(short), lock.is_held());
        }
        if let Ok(semaphore) = family.semaphore("semaphore") {
            let _ = (semaphore.acquire_timeout(short), semaphore.value(), semaphore.holders());
        }
        if let Ok(event) = family.event("event") {
            let _ = (event.wait_timeout(short), event.set(), event.clear());
        }
        if let Ok(barrier) = family.barrier("barrier") {
            let _ = (barrier.wait_timeout(short), barrier.reset());
        }
        if let Ok(value) = family.value("value") {
            let _ = (value.add(1), value.get());
        }
        let _ = (family.locks(), family.reclaim_dead());
    }
}

#[test]
fn bits_flipped_in_a_live_family_make_errors_only() {
    let rounds = std::env::var("IPC_DAMAGE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20u64);
    let mut seed = std::env::var("IPC_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1u64);
    let options = SyncOptions {
        locks: vec!["lock".to_owned()],
        rlocks: vec!["rlock".to_owned()],
        semaphores: vec![("semaphore".to_owned(), 2)],
        events: vec!["event".to_owned()],
        conditions: vec!["condition".to_owned()],
        barriers: vec![("barrier".to_owned(), 2)],
        values: vec![("value".to_owned(), 0)],
        participants: 8,
        ..Default::default()
    };
    for _ in 0..rounds {
        let family = Family::create_anonymous("flipped", &options).unwrap();
        let file = fs::File::from(family.as_fd().try_clone_to_owned().unwrap());
        let length = file.metadata().unwrap().len();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                let own = Family::open(family.descriptor_path()).unwrap();
                let is_over = &is_over;
                scope.spawn(move || use_family(&own, is_over));
            }
            for _ in 0..200 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = 512 + (seed >> 8) % (length - 512);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << (seed & 7);
                file.write_all_at(&byte, at).unwrap();
                thread::yield_now();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let _ = family.reclaim_dead();
    }
}
