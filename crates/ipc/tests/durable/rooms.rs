//! Disks that are full, and files that are not what they should be.

use std::path::Path;
use std::process::Command;

use ipc::{Fsync, OpenError, PutError, Queue, QueueOptions, TryPutError};

use crate::Story;
use crate::lives::{drain, options, place, restore};

pub const ALL: &[Story] = &[
    ("a full disk refuses a put with an error and goes on when there is room", full_disk),
    ("a full disk refuses a put into memory with a name, and all that was put is got", full_memory),
    ("a file takes disk space as it needs it", takes_as_it_needs),
    ("a damaged file is refused with a word and left alone", damaged_file),
];

/// A file system of so many KiB, gone when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn of(kib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={kib}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

fn full_memory() -> Option<&'static str> {
    let Some(disk) = Small::of(1024) else { return Some("no file system can be mounted here") };
    let path = disk.path().join("jobs.queue");
    let options = QueueOptions { max_bytes: Some(64 << 20), ..Default::default() };
    let queue = Queue::create(&path, &options).unwrap();
    let message = |number: u64| vec![number as u8; 40 + 100 * (number % 20) as usize];
    let mut put = 0;
    while queue.put(&message(put)).is_ok() {
        put += 1;
    }
    assert_eq!(queue.put(&message(put)), Err(PutError::NoRoom));
    assert!(put > 100, "{put}");
    // Another finds all of it, while the disk is full.
    let other = Queue::open(&path).unwrap();
    (0..put).for_each(|number| assert_eq!(other.try_get().as_deref(), Ok(&message(number)[..]), "{number}"));
    other.ack_got();
    assert!(other.is_empty());
    queue.put(b"there is room again").unwrap();
    assert_eq!(other.get().unwrap(), b"there is room again");
    drop((queue, other));
    std::fs::remove_file(&path).unwrap();
    // Where not even an empty one fits, there is an error and no file.
    std::fs::write(disk.path().join("ballast"), vec![1; 900 << 10]).unwrap();
    assert!(matches!(Queue::create(&path, &options), Err(OpenError::System(_))));
    assert!(!path.exists());
    None
}

fn full_disk() -> Option<&'static str> {
    let Some(disk) = Small::of(2048) else { return Some("no file system can be mounted here") };
    let path = disk.path().join("jobs.queue");
    let options = QueueOptions { capacity: None, max_bytes: Some(64 << 20), ..options(Fsync::Always) };
    let queue = restore(&path, &options);
    let mut put = 0u64;
    let error = loop {
        match queue.put(&[put as u8; 600]) {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error, error.to_string()), (PutError::NoRoom, "the disk is full".to_owned()));
    assert!(put > 500, "{put}");
    let mut small = 0u64;
    while queue.try_put(b"small").is_ok() {
        small += 1;
    }
    assert_eq!(queue.try_put(b"small"), Err(TryPutError::NoRoom));
    assert_eq!(queue.len(), put + small);
    // Whatever else was on the disk goes away, or here: a message is done with.
    queue.get().unwrap();
    queue.ack_got();
    queue.put(&[0; 600]).unwrap();
    drop(queue);
    let all = drain(&restore(&path, &options));
    assert_eq!(all.len() as u64, put + small);
    // What does not even fit at first says so, and leaves nothing behind.
    let other = disk.path().join("other.queue");
    let large = QueueOptions { participants: 4095, ..options };
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 1 << 20]).ok();
    assert!(matches!(Queue::restore(&other, &large), Err(OpenError::System(_))));
    assert!(!other.exists());
    None
}

fn takes_as_it_needs() -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let (_folder, path) = place();
    let options = QueueOptions { capacity: None, max_bytes: Some(4 << 30), ..options(Fsync::Never) };
    let queue = restore(&path, &options);
    let taken = || std::fs::metadata(&path).unwrap().blocks() * 512;
    assert!(taken() < 4 << 20, "{} KiB for nothing", taken() >> 10);
    for number in 0..30_000u32 {
        queue.put(&number.to_le_bytes()).unwrap();
    }
    queue.put(&vec![1; 8 << 20]).unwrap();
    assert!((8 << 20..64 << 20).contains(&taken()), "{} KiB", taken() >> 10);
    assert_eq!(drain(&queue).len(), 30_001);
    None
}

fn damaged_file() -> Option<&'static str> {
    let (_folder, path) = place();
    let options = options(Fsync::Always);
    restore(&path, &options).put(b"a").unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(Queue::restore(&path, &options), Err(OpenError::CorruptHeader)));
    assert!(matches!(Queue::open(&path), Err(OpenError::CorruptHeader)));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    std::fs::write(&path, &bytes[..5000]).unwrap();
    assert!(matches!(Queue::restore(&path, &options), Err(OpenError::CorruptHeader)));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Queue::restore(&path, &options), Err(OpenError::Truncated { .. })));
    None
}
