//! Those who use it die, come again, or want it otherwise.

use std::path::PathBuf;
use std::time::Duration;

use ipc::{Fsync, OpenError, PutError, Queue, QueueOptions, TryGetError};
use tempfile::TempDir;

use crate::Story;
use crate::roles::Actor;

pub const ALL: &[Story] = &[
    ("everybody is killed and every message is there with its count", everybody_is_killed),
    ("a killed holder's message comes again whoever opens it next", a_killed_holder),
    ("every fsync policy keeps messages through the death of all", every_policy),
    ("closed stays closed until it is opened again", closed),
    ("another capacity takes effect and nothing is lost", another_capacity),
    ("another capacity waits for those who use the queue", another_capacity_waits),
    ("options without a place for what waits are refused and nothing changes", does_not_fit),
    ("counts ids and dead letters survive a move", counts_survive_a_move),
    ("a queue that is not durable is not restored", not_durable),
    ("an inherited descriptor is a handle of its own", inherited),
    ("two who open it at once both get it", at_once),
    ("a draft that somebody left who was killed is taken away", forsaken_draft),
    ("a change reaches the disk in time without anybody asking", in_time),
];

pub fn options(fsync: Fsync) -> QueueOptions {
    QueueOptions {
        capacity: Some(1000),
        max_bytes: Some(4 << 20),
        participants: 16,
        durable: Some(fsync),
        ..Default::default()
    }
}

pub fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    (folder, path)
}

pub fn restore(path: &PathBuf, options: &QueueOptions) -> Queue {
    let restored = Queue::restore(path, options).unwrap();
    assert_eq!(restored.damaged, 0);
    restored.queue
}

/// Everything that waits: bytes and which delivery it is.
pub fn drain(queue: &Queue) -> Vec<(Vec<u8>, u32)> {
    let mut all = Vec::new();
    while let Ok(lease) = queue.try_lease() {
        all.push((lease.bytes().to_vec(), lease.deliveries()));
        lease.ack();
    }
    let stats = queue.stats();
    assert_eq!((stats.len, stats.in_flight, stats.bytes), (0, 0, 0));
    all
}

fn everybody_is_killed() -> Option<&'static str> {
    let (_folder, path) = place();
    let options = options(Fsync::Never);
    drop(restore(&path, &options));
    let mut putter = Actor::start("put", &path);
    let mut number = 0;
    while number < 100 {
        number = putter.line().parse().unwrap();
    }
    putter.kill();
    let said: Option<u64> = putter.rest().last().map(|last| last.parse().unwrap());
    let returned = said.unwrap_or(number) as usize + 1;
    let got = drain(&restore(&path, &options));
    assert!(got.len() == returned || got.len() == returned + 1, "{} of {returned}", got.len());
    for (number, (bytes, deliveries)) in (0u64..).zip(got) {
        assert_eq!((bytes, deliveries), (number.to_le_bytes().to_vec(), 1));
    }
    None
}

fn a_killed_holder() -> Option<&'static str> {
    let (_folder, path) = place();
    let queue = restore(&path, &options(Fsync::Always));
    for name in [b"a", b"b", b"c"] {
        queue.put(name).unwrap();
    }
    let ids: Vec<u64> = {
        let leases: Vec<_> = (0..3).map(|_| queue.try_lease().unwrap()).collect();
        leases.iter().map(ipc::Lease::id).collect()
    };
    let mut holder = Actor::start("hold", &path);
    assert_eq!(holder.line(), "a", "given back first, so it is the next");
    drop(queue);
    holder.kill();
    // Not the one who made it, and without options: still the dead one's is given back.
    let queue = Queue::open(&path).unwrap();
    let mut found: Vec<_> = (0..3)
        .map(|_| {
            let lease = queue.try_lease().unwrap();
            let told = (lease.bytes().to_vec(), lease.deliveries(), lease.id());
            lease.ack();
            told
        })
        .collect();
    found.sort();
    let expected = [(b"a".to_vec(), 3, ids[0]), (b"b".to_vec(), 2, ids[1]), (b"c".to_vec(), 2, ids[2])];
    assert_eq!(found, expected);
    None
}

fn every_policy() -> Option<&'static str> {
    for fsync in [Fsync::Always, Fsync::Interval(Duration::from_millis(20)), Fsync::Never] {
        let (_folder, path) = place();
        let options = options(fsync);
        let queue = restore(&path, &options);
        assert_eq!(queue.fsync(), Some(fsync));
        queue.put(b"small").unwrap();
        queue.put(&[7; 100_000]).unwrap();
        queue.put_many(&[&b"x"[..], &[8; 5000]]).unwrap();
        drop(queue);
        let all = drain(&restore(&path, &options));
        let expected =
            [(b"small".to_vec(), 1), (vec![7; 100_000], 1), (b"x".to_vec(), 1), (vec![8; 5000], 1)];
        assert_eq!(all, expected, "{fsync:?}");
    }
    None
}

fn closed() -> Option<&'static str> {
    let (_folder, path) = place();
    let options = options(Fsync::Always);
    let queue = restore(&path, &options);
    queue.put(b"a").unwrap();
    queue.close();
    drop(queue);
    let queue = restore(&path, &options);
    assert!(queue.is_closed());
    assert_eq!(queue.put(b"b"), Err(PutError::Closed));
    queue.reopen().unwrap();
    assert!(!queue.is_closed());
    queue.put(b"b").unwrap();
    assert_eq!(drain(&queue), [(b"a".to_vec(), 1), (b"b".to_vec(), 1)]);
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    queue.close();
    queue.reopen().unwrap();
    queue.reopen().unwrap();
    queue.put(b"c").unwrap();
    assert_eq!(drain(&queue).len(), 1);
    None
}

fn another_capacity() -> Option<&'static str> {
    let (folder, path) = place();
    let before = options(Fsync::Always);
    let queue = restore(&path, &before);
    let uuid = queue.uuid();
    for number in 0..20u32 {
        queue.put(&vec![number as u8; number as usize * 300]).unwrap();
    }
    drop(queue);
    let after = QueueOptions { capacity: Some(20), max_bytes: Some(1 << 20), ..before };
    let restored = Queue::restore(&path, &after).unwrap();
    assert!(!restored.is_new && !restored.is_as_it_was);
    let queue = restored.queue;
    assert_eq!((queue.capacity(), queue.uuid(), queue.is_full()), (Some(20), uuid, true));
    let all = drain(&queue);
    for (number, (bytes, deliveries)) in (0..20u32).zip(&all) {
        assert_eq!((bytes, *deliveries), (&vec![number as u8; number as usize * 300], 1));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    None
}

fn another_capacity_waits() -> Option<&'static str> {
    let (_folder, path) = place();
    let before = options(Fsync::Always);
    let after = QueueOptions { capacity: Some(7), ..before.clone() };
    drop(restore(&path, &before));
    let mut user = Actor::start("open", &path);
    assert_eq!(user.line(), "open");
    let restored = Queue::restore(&path, &after).unwrap();
    assert!(restored.is_as_it_was);
    assert_eq!(restored.queue.capacity(), Some(1000));
    drop(restored);
    assert!(user.end());
    assert_eq!(restore(&path, &after).capacity(), Some(7));
    None
}

fn does_not_fit() -> Option<&'static str> {
    let (folder, path) = place();
    let before = options(Fsync::Always);
    let queue = restore(&path, &before);
    for _ in 0..5 {
        queue.put(&[1; 2000]).unwrap();
    }
    drop(queue);
    let refused = |after: QueueOptions| Queue::restore(&path, &after).unwrap_err().to_string();
    assert_eq!(
        refused(QueueOptions { capacity: Some(4), ..before.clone() }),
        "5 messages wait in it that the new capacity has no place for"
    );
    assert_eq!(
        refused(QueueOptions { max_message: 1999, ..before.clone() }),
        "5 messages wait in it that the new max_message has no place for"
    );
    assert_eq!(
        refused(QueueOptions { max_bytes: Some(8 << 10), ..before.clone() }),
        "5 messages wait in it that the new max_bytes has no place for"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    assert_eq!(drain(&restore(&path, &before)).len(), 5);
    None
}

fn counts_survive_a_move() -> Option<&'static str> {
    let (_folder, path) = place();
    let before = QueueOptions { max_deliveries: Some(3), ..options(Fsync::Always) };
    let queue = restore(&path, &before);
    for name in ["dead", "twice", "once"] {
        queue.put(name.as_bytes()).unwrap();
    }
    for _ in 0..3 {
        queue.try_lease().unwrap().nack();
    }
    let twice = queue.try_lease().unwrap();
    let id = twice.id();
    twice.nack();
    drop(queue);
    let queue = restore(&path, &QueueOptions { capacity: Some(50), ..before });
    assert_eq!(queue.stats().dead_waiting, 1);
    assert_eq!(queue.take_dead().unwrap().unwrap().bytes(), b"dead");
    let twice = queue.try_lease().unwrap();
    assert_eq!((twice.bytes(), twice.deliveries(), twice.id()), (&b"twice"[..], 2, id));
    twice.ack();
    queue.put(b"new").unwrap();
    let once = queue.try_lease().unwrap();
    let new = queue.try_lease().unwrap();
    assert_eq!((once.bytes(), new.bytes()), (&b"once"[..], &b"new"[..]));
    assert!(new.id() > once.id(), "ids are never given twice");
    None
}

fn not_durable() -> Option<&'static str> {
    let (_folder, path) = place();
    let durable = options(Fsync::Always);
    let plain = QueueOptions { durable: None, ..durable.clone() };
    drop(Queue::create(&path, &plain).unwrap());
    assert!(matches!(Queue::restore(&path, &durable), Err(OpenError::NotDurable)));
    assert!(matches!(Queue::restore(&path, &plain), Err(OpenError::Options(_))));
    assert!(matches!(Queue::create_anonymous("x", &durable), Err(OpenError::Options(_))));
    None
}

fn inherited() -> Option<&'static str> {
    use std::os::fd::AsFd;
    let (_folder, path) = place();
    let queue = restore(&path, &options(Fsync::Always));
    queue.put(b"a").unwrap();
    let lease = queue.try_lease().unwrap();
    let other = Queue::from_fd(queue.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let third = Queue::open(queue.descriptor_path()).unwrap();
    assert_eq!((other.len(), third.stats().in_flight), (0, 1), "the first is not taken for dead");
    drop((other, third));
    lease.ack();
    None
}

fn at_once() -> Option<&'static str> {
    for _ in 0..20 {
        let (_folder, path) = place();
        let queue = restore(&path, &options(Fsync::Never));
        queue.put(b"a").unwrap();
        drop(queue);
        let mut both = [Actor::start("open", &path), Actor::start("open", &path)];
        for one in &mut both {
            assert_eq!(one.line(), "open");
        }
        assert_eq!(drain(&Queue::open(&path).unwrap()), [(b"a".to_vec(), 1)]);
    }
    None
}

/// That it is on the disk cannot be seen from here; that the thread does its work and goes away can.
fn in_time() -> Option<&'static str> {
    let (_folder, path) = place();
    let queue = restore(&path, &options(Fsync::Interval(Duration::from_millis(1))));
    assert_eq!(keepers(), 0, "nothing changes yet");
    queue.put(b"a").unwrap();
    let start = std::time::Instant::now();
    while keepers() == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "no keeper was started");
    }
    drop(queue);
    while keepers() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the keeper stays");
        std::thread::yield_now();
    }
    None
}

fn keepers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.filter(|name| name.as_ref().is_ok_and(|name| name.trim() == "ipc-keeper")).count()
}

fn forsaken_draft() -> Option<&'static str> {
    let (folder, path) = place();
    let name = |tail: &str| folder.path().join(format!(".jobs.queue.{tail}"));
    let (old, new, other) = (name(&"0a".repeat(16)), name(&"0b".repeat(16)), name("mine"));
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    for draft in [&old, &new, &other] {
        let file = std::fs::File::create(draft).unwrap();
        if draft != &new {
            file.set_modified(long_ago).unwrap();
        }
    }
    drop(restore(&path, &options(Fsync::Never)));
    assert!(!old.exists() && new.exists() && other.exists());
    None
}
