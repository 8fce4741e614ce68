//! The machine is started again, in order or by a loss of power.
//!
//! What a boot leaves in a file is a file that says another boot; a loss of power leaves any mixture of what each of
//! its sectors held since it was last made to be on the disk.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ipc::{Fsync, Queue, QueueOptions};

use crate::Story;
use crate::lives::{drain, options, place, restore};
use crate::roles::Actor;

pub const ALL: &[Story] = &[
    ("an orderly restart of the machine changes nothing", orderly),
    ("after a disorderly one what waited counts as delivered before", disorderly),
    ("what was in hand and what was put off comes again after a restart", in_hand),
    ("closed stays closed through a restart", closed),
    ("ids are not given again after a restart", ids),
    ("rings full of noise are made anew", noise),
    ("a torn message is left out and counted", torn),
    ("more than may wait is delivered all the same", too_many),
    ("a damaged queue heals when it is opened by one alone", heals),
];

const HEADER: usize = 512;
const BOOT: usize = 56;
const SETTLED: usize = 68;
const RINGS: u64 = 0x1000;

/// Makes the file look as if another boot of the machine had left it, in order or not.
pub fn reboot(path: &Path, is_settled: bool) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).unwrap();
    header[BOOT] ^= 0xff;
    header[SETTLED..SETTLED + 4].copy_from_slice(&u32::from(is_settled).to_ne_bytes());
    let sum = crc32c::crc32c(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&sum.to_ne_bytes());
    file.write_all_at(&header, 0).unwrap();
}

fn is_settled(path: &Path) -> bool {
    std::fs::read(path).unwrap()[SETTLED] == 1
}

fn filled() -> (tempfile::TempDir, PathBuf, QueueOptions) {
    let (folder, path) = place();
    let options = options(Fsync::Always);
    let queue = restore(&path, &options);
    for name in ["a", "b", "c"] {
        queue.put(name.as_bytes()).unwrap();
    }
    queue.put(&[9; 4000]).unwrap();
    (folder, path, options)
}

fn expected(deliveries: u32) -> Vec<(Vec<u8>, u32)> {
    [&b"a"[..], b"b", b"c", &[9; 4000]].iter().map(|bytes| (bytes.to_vec(), deliveries)).collect()
}

fn orderly() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    assert!(is_settled(&path));
    reboot(&path, true);
    let queue = restore(&path, &options);
    assert!(!is_settled(&path), "it is in use again");
    assert_eq!(drain(&queue), expected(1));
    for turn in 0..3000u32 {
        queue.put(&turn.to_le_bytes()).unwrap();
        assert_eq!(queue.get().unwrap(), turn.to_le_bytes());
    }
    None
}

fn disorderly() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    reboot(&path, false);
    let queue = restore(&path, &options);
    queue.put(b"new").unwrap();
    let mut all = expected(2);
    all.push((b"new".to_vec(), 1));
    assert_eq!(drain(&queue), all);
    None
}

fn in_hand() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    let queue = Queue::open(&path).unwrap();
    queue.try_lease().unwrap().nack_after(std::time::Duration::from_secs(100_000));
    let mut holder = Actor::start("hold", &path);
    assert_eq!(holder.line(), "b");
    drop(queue);
    holder.kill();
    reboot(&path, false);
    let mut all = expected(2);
    let queue = restore(&path, &options);
    assert_eq!(queue.len(), 4);
    assert_eq!(drain(&queue), all);
    drop(queue);
    // The same, but in order: what only waited has its count.
    let (_folder, path, options) = filled();
    let queue = Queue::open(&path).unwrap();
    queue.try_lease().unwrap().nack_after(std::time::Duration::from_secs(100_000));
    drop(queue);
    reboot(&path, true);
    all[1].1 = 1;
    all[2].1 = 1;
    all[3].1 = 1;
    assert_eq!(drain(&restore(&path, &options)), all);
    None
}

fn closed() -> Option<&'static str> {
    for is_settled in [true, false] {
        let (_folder, path, options) = filled();
        Queue::open(&path).unwrap().close();
        reboot(&path, is_settled);
        let queue = restore(&path, &options);
        assert!(queue.is_closed());
        assert_eq!(drain(&queue).len(), 4);
        queue.reopen().unwrap();
        queue.put(b"x").unwrap();
        drop(queue);
        reboot(&path, is_settled);
        assert!(!restore(&path, &options).is_closed());
    }
    None
}

fn ids() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    let queue = Queue::open(&path).unwrap();
    let mut highest = 0;
    while let Ok(lease) = queue.try_lease() {
        highest = highest.max(lease.id());
        lease.ack();
    }
    drop(queue);
    for is_settled in [false, true] {
        reboot(&path, is_settled);
        let queue = restore(&path, &options);
        queue.put(b"x").unwrap();
        let lease = queue.try_lease().unwrap();
        assert!(lease.id() > highest, "{} after {highest}", lease.id());
        highest = lease.id();
        lease.ack();
    }
    None
}

fn noise() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    reboot(&path, false);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // Everything but the header, the blocks and their pages: the queue's page, the participants and the rings.
    for page in 1..8u64 {
        let noise: Vec<u8> = (0..4096u64).map(|i| (i.wrapping_mul(page + 77) >> 3) as u8).collect();
        file.write_all_at(&noise, if page == 1 { RINGS } else { page * 4096 }).unwrap();
    }
    let restored = Queue::restore(&path, &options).unwrap();
    assert_eq!(restored.damaged, 0);
    let queue = restored.queue;
    assert_eq!(drain(&queue), expected(2));
    for _ in 0..1000 {
        queue.try_put(b"x").unwrap();
    }
    assert!(queue.is_full());
    None
}

fn torn() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    reboot(&path, false);
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    // The last page of the large message, as if it had never reached the disk.
    let last = bytes.windows(64).rposition(|window| window == [9; 64]).unwrap() + 64;
    file.write_all_at(&[0; 512], (last - 512) as u64).unwrap();
    let restored = Queue::restore(&path, &options).unwrap();
    assert_eq!(restored.damaged, 1);
    assert_eq!(drain(&restored.queue), expected(2)[..3]);
    drop(restored);
    // It is gone for good, and its memory can be used.
    assert_eq!(Queue::restore(&path, &options).unwrap().damaged, 0);
    None
}

/// Acknowledgements that did not reach the disk bring back more than may wait.
fn too_many() -> Option<&'static str> {
    let (_folder, path) = place();
    let options = QueueOptions { capacity: Some(4), ..options(Fsync::Always) };
    let queue = restore(&path, &options);
    let put = |names: std::ops::Range<u8>| names.for_each(|name| queue.try_put(&[name]).unwrap());
    put(0..4);
    let before = std::fs::read(&path).unwrap();
    let leases: Vec<_> = (0..4).map(|_| queue.try_lease().unwrap()).collect();
    put(4..8);
    drop(leases.into_iter().map(ipc::Lease::ack).collect::<Vec<_>>());
    drop(queue);
    // The blocks of the first four as they were, those of the others as they are.
    let after = std::fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for (index, (old, new)) in before.chunks(128).zip(after.chunks(128)).enumerate().skip(0x2000 / 128 + 16) {
        if old[7] >> 4 == 2 && new[7] >> 4 == 0 && old[8] == 1 {
            file.write_all_at(old, index as u64 * 128).unwrap();
        }
    }
    reboot(&path, false);
    let queue = restore(&path, &options);
    assert_eq!((queue.len(), queue.is_full()), (8, true));
    let all = drain(&queue);
    assert_eq!(all, (0..8).map(|name| (vec![name], 2)).collect::<Vec<_>>());
    None
}

fn heals() -> Option<&'static str> {
    let (_folder, path, options) = filled();
    let queue = Queue::open(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0x5a; 0x300], RINGS).unwrap();
    assert!(queue.try_get().is_err() && queue.try_put(b"x").is_err());
    drop(queue);
    let queue = restore(&path, &options);
    assert_eq!(drain(&queue), expected(1));
    queue.put(b"x").unwrap();
    None
}
