//! Losing power at every step of a durable queue's operations, in a model of a disk.
//!
//! The model keeps, for every word of the file, all it has held since the word was last made to be on the disk. Before
//! each access to the mapping it looks what has changed; now and then it writes down what a disk could be left with:
//! of every word any one of those, each chosen by itself. That is worse than any disk, which writes sectors. Only the
//! header's sector is taken to be written whole. Then each of these is opened, as the next boot would, and compared
//! with what had been promised by then.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::header::{Header, Kind, LENGTH};
use crate::liveness;
use crate::queue::Queue;
use crate::{Fsync, Lease, QueueOptions, TryGetError, TryPutError};

/// What became of a message, as far as its putter and its getter know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its put has begun.
    Putting,
    /// Its put has returned.
    Put,
    /// Its put has returned and said that it did not.
    Refused,
    /// Its acknowledgement has begun.
    Acknowledged,
}

#[derive(Debug, Clone, Default)]
struct Ledger {
    fates: BTreeMap<u64, Fate>,
    /// Those that were in anybody's hand at any time.
    leased: BTreeSet<u64>,
}

struct Disk {
    file: File,
    last: Vec<u64>,
    /// Of the words that have changed since they were last on the disk: what they have held since, then and now
    /// included.
    held: BTreeMap<usize, Vec<u64>>,
    ledger: Ledger,
    random: Random,
    /// Of so many looks, one is a loss of power.
    one_in: u64,
    left: Vec<(Vec<u8>, Ledger)>,
}

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// Called before every access to a mapping.
pub(crate) fn look() {
    DISK.with(|disk| {
        if let Ok(mut disk) = disk.try_borrow_mut()
            && let Some(disk) = disk.as_mut()
        {
            disk.look();
            if disk.random.below(disk.one_in) == 0 {
                disk.lose_power();
            }
        }
    });
}

/// Called when a range is made to be on the disk.
pub(crate) fn note_sync(range: Range<usize>) {
    DISK.with(|disk| {
        if let Ok(mut disk) = disk.try_borrow_mut()
            && let Some(disk) = disk.as_mut()
        {
            disk.look();
            disk.held.retain(|word, _| !range.contains(&(word * 8)));
        }
    });
}

impl Disk {
    /// One that holds the file as it is now.
    fn of(file: File, seed: u64, one_in: u64) -> Self {
        let length = file.metadata().expect("it is open").len() as usize;
        let mut disk = Self {
            file,
            last: vec![0; length / 8],
            held: BTreeMap::new(),
            ledger: Ledger::default(),
            random: Random(seed ^ 0x5eed),
            one_in,
            left: Vec::new(),
        };
        disk.look();
        disk.held.clear();
        disk
    }

    fn look(&mut self) {
        let mut bytes = vec![0; self.last.len() * 8];
        self.file.read_exact_at(&mut bytes, 0).expect("it is as long as before");
        for (word, now) in bytes.chunks_exact(8).enumerate() {
            let now = u64::from_ne_bytes(now.try_into().expect("eight bytes"));
            if now != self.last[word] {
                let held = self.held.entry(word).or_insert_with(|| vec![self.last[word]]);
                if !held.contains(&now) {
                    held.push(now);
                }
                self.last[word] = now;
            }
        }
    }

    /// Writes down what a disk could be left with.
    fn lose_power(&mut self) {
        let mut words = self.last.clone();
        // Some disks write nearly all, some nearly nothing, some everything in between.
        let share = self.random.below(5);
        for (&word, held) in &self.held {
            if word * 8 >= LENGTH {
                words[word] = match self.random.below(4) {
                    dice if dice < share => *held.last().expect("one at least"),
                    _ => held[self.random.below(held.len() as u64) as usize],
                };
            }
        }
        let bytes = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        self.left.push((bytes, self.ledger.clone()));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn options(fsync: Fsync) -> QueueOptions {
    QueueOptions {
        capacity: Some(6),
        max_bytes: Some(12 << 10),
        participants: 2,
        durable: Some(fsync),
        ..Default::default()
    }
}

/// The bytes of message `number`: they say which it is, and all of them follow from that.
fn message(number: u64) -> Vec<u8> {
    let length = 8 + [0, 3, 40, 60, 200, 1500, 2100][(number % 7) as usize];
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..length).map(|at| (number as usize * 37 + at * 11) as u8));
    bytes
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("every message has its number"))
}

fn with_ledger(change: impl FnOnce(&mut Ledger)) {
    DISK.with(|disk| change(&mut disk.borrow_mut().as_mut().expect("it is set up").ledger));
}

fn note(number: u64, fate: Fate) {
    with_ledger(|ledger| ledger.fates.extend([(number, fate)]));
}

/// Uses a queue for a while; answers what disks could have been left with, and what was promised then.
fn live(path: &Path, fsync: Fsync, seed: u64, turns: u64) -> Vec<(Vec<u8>, Ledger)> {
    let queue = Queue::create(path, &options(fsync)).unwrap();
    let file = File::from(queue.as_fd().try_clone_to_owned().unwrap());
    // What is there already was made to be on the disk when the queue was made.
    DISK.set(Some(Disk::of(file, seed, 60)));
    let mut random = Random(seed);
    let mut in_hand: Vec<Lease> = Vec::new();
    for number in 0..turns {
        match random.below(10) {
            0..5 => {
                note(number, Fate::Putting);
                let fate = match queue.try_put(&message(number)) {
                    Ok(()) => Fate::Put,
                    Err(TryPutError::Full) => Fate::Refused,
                    Err(other) => panic!("{other}"),
                };
                note(number, fate);
            }
            5..7 => {
                if let Ok(lease) = queue.try_lease() {
                    let number = number_of(lease.bytes());
                    with_ledger(|ledger| ledger.leased.extend([number]));
                    in_hand.push(lease);
                }
            }
            7..9 if !in_hand.is_empty() => {
                let lease = in_hand.swap_remove(random.below(in_hand.len() as u64) as usize);
                let number = number_of(lease.bytes());
                note(number, Fate::Acknowledged);
                lease.ack();
            }
            _ if !in_hand.is_empty() => {
                in_hand.swap_remove(random.below(in_hand.len() as u64) as usize).nack();
            }
            _ => {}
        }
    }
    let disk = DISK.take().expect("it is set up");
    drop(in_hand);
    disk.left
}

/// Lays what a disk was left with before whoever opens it in the next boot.
fn lay_out(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut bytes = bytes.to_vec();
    let header = bytes[..LENGTH].try_into().expect("as long as a header");
    let header = Header::read(&header, bytes.len() as u64, Kind::Queue).map_err(|e| e.to_string())?;
    let header = Header { boot: liveness::boot() ^ 1, is_settled: false, ..header };
    bytes[..LENGTH].copy_from_slice(&header.to_bytes());
    std::fs::write(path, &bytes).map_err(|e| e.to_string())
}

/// Opens what a disk was left with, and loses power again while it is set right; answers what is left then.
fn set_right(path: &Path, bytes: &[u8], fsync: Fsync, seed: u64) -> Result<Vec<(Vec<u8>, Ledger)>, String> {
    lay_out(path, bytes)?;
    let file = File::open(path).map_err(|e| e.to_string())?;
    DISK.set(Some(Disk::of(file, seed, 200)));
    let restored = Queue::restore(path, &options(fsync));
    let disk = DISK.take().expect("it is set up");
    drop(restored.map_err(|e| e.to_string())?);
    Ok(disk.left)
}

/// Opens what a disk was left with, and compares it with what was promised; answers how many messages were torn.
fn examine(path: &Path, bytes: &[u8], ledger: &Ledger, fsync: Fsync) -> Result<u64, String> {
    lay_out(path, bytes)?;
    let restored = Queue::restore(path, &options(fsync)).map_err(|e| e.to_string())?;
    let queue = restored.queue;
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    loop {
        let lease = match queue.try_lease() {
            Ok(lease) => lease,
            Err(TryGetError::Empty) => break,
            Err(error) => return Err(format!("{error} after {found:?}")),
        };
        let number = number_of(lease.bytes());
        if lease.bytes() != message(number) {
            return Err(format!("message {number} is torn"));
        }
        match ledger.fates.get(&number) {
            None => return Err(format!("message {number} was never put")),
            Some(Fate::Refused) if fsync == Fsync::Always => {
                return Err(format!("message {number} was refused, and is there"));
            }
            _ => {}
        }
        if lease.deliveries() < 2 {
            return Err(format!("message {number} comes as if it had never come"));
        }
        if !ids.insert(lease.id()) {
            return Err(format!("message {number} bears another's id"));
        }
        found.push(number);
        lease.ack();
    }
    let all: BTreeSet<u64> = found.iter().copied().collect();
    if all.len() != found.len() {
        return Err(format!("twice: {found:?}"));
    }
    if fsync == Fsync::Always {
        let lost = ledger.fates.iter().find(|(number, fate)| **fate == Fate::Put && !all.contains(number));
        if let Some((number, _)) = lost {
            return Err(format!("message {number}, whose put had returned, is lost; {found:?} are there"));
        }
    }
    let untouched: Vec<u64> = found.into_iter().filter(|number| !ledger.leased.contains(number)).collect();
    // The word that says where a message waits may be that of the one before it in the same place, where nothing
    // made the disk take both.
    if fsync == Fsync::Always && !untouched.is_sorted() {
        return Err(format!("out of order: {untouched:?}"));
    }
    let stats = queue.stats();
    if (stats.len, stats.in_flight, stats.bytes) != (0, 0, 0) {
        return Err(format!("something is left: {stats:?}"));
    }
    let taken = (0..10u64).take_while(|&number| queue.try_put(&message(number)).is_ok()).count();
    if taken != 6 { Err(format!("takes {taken} messages and not 6")) } else { Ok(restored.damaged) }
}

fn lose_power_often(fsync: Fsync) {
    let folder = Path::new("/dev/shm");
    let folder =
        if folder.is_dir() { tempfile::tempdir_in(folder).unwrap() } else { tempfile::tempdir().unwrap() };
    let rounds = std::env::var("IPC_POWER_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4u64);
    let (mut losses, mut twice, mut damaged) = (0, 0, 0);
    for seed in 1..=rounds {
        let path = folder.path().join(format!("{seed}.queue"));
        for (at, (bytes, ledger)) in live(&path, fsync, seed * 7919, 120).iter().enumerate() {
            let place = folder.path().join("left");
            damaged += examine(&place, bytes, ledger, fsync)
                .unwrap_or_else(|problem| panic!("seed {seed}, loss {at}: {problem}"));
            losses += 1;
            std::fs::remove_file(&place).unwrap();
            if at % 12 > 0 {
                continue;
            }
            let again = set_right(&place, bytes, fsync, seed + at as u64).unwrap();
            std::fs::remove_file(&place).unwrap();
            for (number, (bytes, _)) in again.iter().enumerate() {
                damaged += examine(&place, bytes, ledger, fsync).unwrap_or_else(|problem| {
                    panic!("seed {seed}, loss {at}, loss {number} while it is set right: {problem}")
                });
                twice += 1;
                std::fs::remove_file(&place).unwrap();
            }
        }
        std::fs::remove_file(path).unwrap();
    }
    println!(
        "{losses} losses of power, {twice} more while it was set right, {damaged} messages in part on the disk and \
         left out"
    );
    let enough = losses > 20 * rounds && twice > 2 * rounds && damaged > 0;
    assert!(enough, "{losses} losses, {twice} twice, {damaged} damaged: too few to say anything");
}

#[test]
fn a_loss_of_power_takes_nothing_whose_put_had_returned_and_tears_nothing() {
    lose_power_often(Fsync::Always);
}

#[test]
fn a_loss_of_power_tears_nothing_and_invents_nothing_whatever_had_reached_the_disk() {
    lose_power_often(Fsync::Never);
}
