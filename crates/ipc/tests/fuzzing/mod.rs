//! What is done with the bytes of a segment that anybody may have written: everything, and it must come to an end.
//!
//! The input is a list of changes to a good segment; some are made before it is opened and some while it is used.
//! Nothing is checked but that every call answers: the answer may be anything that its type allows.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ipc::sync::{Family, SyncOptions};
use ipc::{Queue, QueueOptions};

const SHORT: Duration = Duration::from_millis(1);
/// Bytes of the header, which has a checksum; changes to it are the business of [`header`].
const HEADER: usize = 512;
/// Where most is decided: the object's page, the participants and what follows them.
const HOT: usize = 0x4000;

/// One change: where, and which bits.
struct Change {
    at: usize,
    bits: u32,
}

/// Seven bytes a change.
fn changes(data: &[u8]) -> impl Iterator<Item = Change> + '_ {
    data.chunks_exact(7).map(|chunk| Change {
        at: usize::from(chunk[0]) << 16 | usize::from(chunk[1]) << 8 | usize::from(chunk[2]),
        bits: u32::from_le_bytes(chunk[3..7].try_into().expect("four bytes")),
    })
}

fn make(file: &File, change: &Change) {
    let length = file.metadata().expect("it is open").len() as usize;
    // The highest bit says whether it goes anywhere or where most is decided.
    let reach = if change.at & 0x80_0000 == 0 { HOT.min(length) } else { length };
    let at = (HEADER + (change.at & 0x7f_ffff) % (reach - HEADER - 4)) as u64;
    let mut word = [0; 4];
    file.read_exact_at(&mut word, at).expect("it is as long as before");
    let changed = u32::from_le_bytes(word) ^ change.bits;
    file.write_all_at(&changed.to_le_bytes(), at).expect("it can be written");
}

fn split(fd: impl AsFd) -> (OwnedFd, File) {
    let copy = || fd.as_fd().try_clone_to_owned().expect("a descriptor is left");
    (copy(), File::from(copy()))
}

/// Changes the bytes of a queue and uses it.
pub fn queue(data: &[u8]) {
    let options = QueueOptions {
        capacity: Some(4),
        max_bytes: Some(16 << 10),
        max_message: 4096,
        max_deliveries: Some(3),
        participants: 4,
        checksums: data.first().is_some_and(|byte| byte & 1 == 1),
        ..Default::default()
    };
    let good = Queue::create_anonymous("fuzz", &options).expect("memory");
    for message in [&b"one"[..], &[2; 2000], b"three"] {
        good.try_put(message).expect("there is room");
    }
    drop(good.try_lease());
    let (fd, file) = split(&good);
    let mut changes = changes(data.get(1..).unwrap_or_default());
    for change in changes.by_ref().take(data.len() / 20) {
        make(&file, &change);
    }
    let Ok(queue) = Queue::from_fd(fd) else { return };
    let steps: [&dyn Fn(&Queue); 12] = [
        &|queue| any(queue.try_put(b"new")),
        &|queue| any(queue.try_put(&[7; 3000])),
        &|queue| any(queue.try_get()),
        &|queue| any(queue.try_lease().map(|lease| lease.nack_after(SHORT))),
        &|queue| any(queue.peek()),
        &|queue| any((queue.len(), queue.is_full(), queue.is_closed(), queue.stats())),
        &|queue| any(queue.put_many_timeout(&[&b"a"[..], &[8; 1500]], SHORT)),
        &|queue| any(queue.lease_timeout(SHORT).map(ipc::Lease::ack)),
        &|queue| any(queue.take_dead()),
        &|queue| any(queue.reclaim_dead()),
        &|queue| any(queue.put_timeout(&[9; 100], SHORT)),
        &|queue| any((queue.close(), queue.get_timeout(SHORT), queue.reopen())),
    ];
    for step in steps {
        step(&queue);
        if let Some(change) = changes.next() {
            make(&file, &change);
        }
    }
    drop((queue, good));
}

/// Changes the bytes of a family of locks and their companions and uses them.
pub fn sync(data: &[u8]) {
    let named = |name: &str| vec![name.to_owned()];
    let options = SyncOptions {
        locks: named("lock"),
        rlocks: named("rlock"),
        semaphores: vec![("semaphore".to_owned(), 2)],
        bounded_semaphores: vec![("bounded".to_owned(), 2)],
        events: named("event"),
        conditions: named("condition"),
        barriers: vec![("barrier".to_owned(), 2)],
        values: vec![("value".to_owned(), 7)],
        arrays: vec![("array".to_owned(), 3)],
        participants: 4,
        ..Default::default()
    };
    let good = Family::create_anonymous("fuzz", &options).expect("memory");
    let (fd, file) = split(&good);
    let mut changes = changes(data);
    for change in changes.by_ref().take(data.len() / 20) {
        make(&file, &change);
    }
    let Ok(family) = Family::from_fd(fd) else { return };
    let mut guards = Vec::new();
    for turn in 0..2 {
        if let Ok(lock) = family.lock("lock") {
            guards.extend(lock.acquire_timeout(SHORT).ok());
            any((lock.try_acquire().err(), lock.is_held()));
        }
        step(&file, &mut changes);
        if let Ok(lock) = family.rlock("rlock") {
            let _ = (lock.acquire_timeout(SHORT), lock.try_acquire().map(|_| lock.try_acquire().err()));
        }
        step(&file, &mut changes);
        for name in ["semaphore", "bounded"] {
            if let Ok(semaphore) = family.semaphore(name) {
                let _ = semaphore.acquire_timeout(SHORT).map(ipc::sync::Permit::keep);
                let _ = (semaphore.try_acquire().err(), semaphore.value(), semaphore.holders());
                step(&file, &mut changes);
                let _ = (semaphore.release(), semaphore.release());
            }
        }
        if let Ok(event) = family.event("event") {
            let _ = (event.wait_timeout(SHORT), event.set(), event.is_set(), event.clear());
        }
        step(&file, &mut changes);
        if let (Ok(condition), Some(guard)) = (family.condition("condition"), guards.pop()) {
            guards.extend(condition.wait_timeout(guard, SHORT).ok().map(|(guard, _)| guard));
            let _ = (condition.notify_one(), condition.notify_all());
        }
        step(&file, &mut changes);
        if let Ok(barrier) = family.barrier("barrier") {
            let _ = (barrier.wait_timeout(SHORT), barrier.waiting(), barrier.is_broken());
            step(&file, &mut changes);
            let _ = (barrier.reset(), barrier.abort());
        }
        if let (Ok(value), Ok(array)) = (family.value("value"), family.array("array")) {
            let _ = (value.add(1), value.compare_and_set(1, 2), array.to_vec(), array.set(turn, 1));
        }
        let _ = (family.locks(), family.set_label("fuzz"), family.reclaim_dead());
    }
    drop((guards, family, good));
}

/// Opens a file of any bytes, or of a good segment with any bytes in its header.
pub fn header(data: &[u8]) {
    let options = QueueOptions { capacity: Some(4), participants: 2, max_message: 64, ..Default::default() };
    let good = Queue::create_anonymous("fuzz", &options).expect("memory");
    let (fd, file) = split(&good);
    let Some((&how, bytes)) = data.split_first() else { return };
    let at = u64::from(how) * 2;
    let length = bytes.len().min(HEADER - at as usize);
    file.write_all_at(&bytes[..length], at).expect("it can be written");
    if how & 1 == 1 {
        // With a checksum that fits, so that what is said must be doubted for itself.
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).expect("it is as long as before");
        let sum = crc32c::crc32c(&header[..HEADER - 4]);
        file.write_all_at(&sum.to_ne_bytes(), HEADER as u64 - 4).expect("it can be written");
    }
    if let Ok(queue) = Queue::from_fd(fd) {
        let _ = (queue.try_put(b"x"), queue.try_get(), queue.stats(), queue.name().len());
    }
    let _ = Family::from_fd(split(&good).0);
}

/// Whatever it answers is right.
fn any<T>(_: T) {}

fn step(file: &File, changes: &mut impl Iterator<Item = Change>) {
    if let Some(change) = changes.next() {
        make(file, &change);
    }
}
