//! What can be chosen when a queue is made.

use std::fs;
use std::time::Duration;

use crate::errors::OpenError;
use crate::layout::{Counts, INLINE, MOST_BLOCKS, MOST_PAGES, PAGE};

/// The largest message any queue takes: 1 GiB.
pub const MOST_MESSAGE_BYTES: u64 = 1 << 30;

/// When a plain [`get`](crate::Queue::get) counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// With the same thread's next get from the same handle, with [`Queue::ack_got`](crate::Queue::ack_got), or
    /// when the handle is dropped or the process exits by itself. A process that dies otherwise, or panics,
    /// had not finished: what it got last is delivered again.
    #[default]
    OnNext,
    /// At once. A process that dies while it works on a message takes the message with it.
    AtOnce,
}

/// When what is put into a durable queue is made to reach the disk.
///
/// Whatever is chosen, the queue survives the death of every process that uses it, and an orderly restart of the
/// machine: the system writes to the disk what it keeps in memory. The choice is about a loss of power, or a crash
/// of the system. What never comes back from one is a message that is torn: every message carries a checksum, and
/// one that reached the disk in part is left out and counted ([`Restored::damaged`](crate::Restored::damaged)).
/// A message that was acknowledged may come again after it, counted as delivered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before a put returns: a message whose put has returned survives a loss of power. Each put takes as long as
    /// the disk does, from some ten microseconds to some milliseconds; a batch ([`put_many`](crate::Queue::put_many))
    /// takes as long as one.
    Always,
    /// So long after the first change that is not on the disk, and when a handle is dropped: a loss of power takes
    /// at most the puts of that time with it. Each process that changes the queue does it, by a thread that sleeps
    /// while nothing changes; what a process that was killed had not made to reach the disk does so when somebody
    /// recovers it, else when the system comes to it (half a minute on Linux).
    Interval(Duration),
    /// When the system comes to it. A loss of power takes the puts of about the last half minute with it. After any
    /// restart of the machine all that waits counts as delivered before, since nobody knows what was lost.
    Never,
}

/// What a queue should be like.
///
/// ```
/// let options = ipc::QueueOptions { capacity: Some(5), ..Default::default() };
/// let queue = ipc::Queue::create_anonymous("jobs", &options)?;
/// assert_eq!(queue.capacity(), Some(5));
/// # Ok::<(), ipc::OpenError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOptions {
    /// Messages that may wait at once, those given back not counted. None: as many as there is memory for,
    /// below 16 million. As many again may be in hand, and 32 more for each participant, at most 1024 more.
    pub capacity: Option<u64>,
    /// Bytes of memory that messages may take. None: half of the machine's, or less where `capacity` and
    /// `max_message` make sure that less is enough. A message of up to 88 bytes takes 128 bytes, a longer one
    /// its length rounded up to whole KiB besides. In an unbounded queue half of it is for each of the two.
    pub max_bytes: Option<u64>,
    /// The longest message, at most 1 GiB.
    pub max_message: u64,
    /// After so many deliveries without acknowledgement a message becomes a dead letter. None: never.
    pub max_deliveries: Option<u32>,
    /// Handles that may take part at once, at most 4095.
    pub participants: u32,
    /// Whether somebody will call [`Queue::reclaim`](crate::Queue::reclaim) for every participant that dies.
    /// Without such a promise the participants watch each other.
    pub supervised: bool,
    /// Whether every message carries a checksum of its bytes, looked at when it is got.
    pub checksums: bool,
    /// Whether it keeps its messages on disk, and how soon they are there; only for a queue in a file. None: its
    /// file is a place to meet, and what a loss of power leaves of it is not worth opening.
    ///
    /// A durable queue has checksums always, takes disk space as it needs it, keeps it as long as somebody uses
    /// it, and refuses a message for which there is none.
    pub durable: Option<Fsync>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            capacity: None,
            max_bytes: None,
            max_message: 16 << 20,
            max_deliveries: None,
            participants: 1024,
            supervised: false,
            checksums: false,
            durable: None,
        }
    }
}

/// Messages that may be in hand beside those that wait, for each participant and in all.
const SPARE_EACH: u64 = 32;
const SPARE: u64 = 1024;

impl QueueOptions {
    pub(crate) fn counts(&self) -> Result<Counts, OpenError> {
        if self.max_message > MOST_MESSAGE_BYTES {
            return Err(OpenError::Options("max_message is at most 1 GiB"));
        }
        if !(1..=crate::participants::MOST).contains(&self.participants) {
            return Err(OpenError::Options("participants must be 1 to 4095"));
        }
        if self.max_deliveries == Some(0) {
            return Err(OpenError::Options("max_deliveries must be at least 1"));
        }
        let half = half_of_memory();
        let large =
            if self.max_message <= INLINE as u64 { 0 } else { self.max_message.div_ceil(PAGE as u64) };
        let (bound, blocks, pages) = match self.capacity {
            Some(0) => return Err(OpenError::Options("capacity must be at least 1")),
            Some(bound) => {
                let spare = SPARE.min(SPARE_EACH * u64::from(self.participants));
                let blocks = bound.saturating_mul(2).saturating_add(spare).min(MOST_BLOCKS);
                if bound > blocks / 2 {
                    return Err(OpenError::Options("capacity is at most 8388607"));
                }
                // Enough for every place and as many in hand again, at the largest, within the memory.
                let enough = bound.saturating_mul(2).saturating_add(16).saturating_mul(large);
                let allowed = self.max_bytes.unwrap_or(half) / PAGE as u64;
                (bound, blocks, enough.min(allowed))
            }
            None => {
                let bytes = self.max_bytes.unwrap_or(half);
                let blocks = (bytes / 2 / crate::layout::BLOCK as u64).clamp(1, MOST_BLOCKS);
                let rest = bytes.saturating_sub(blocks * crate::layout::BLOCK as u64);
                (blocks, blocks, if large == 0 { 0 } else { rest / PAGE as u64 })
            }
        };
        Ok(Counts { bound, blocks, pages: pages.min(MOST_PAGES), participants: self.participants })
    }
}

/// Half of the machine's memory in bytes, or of 2 GiB where that cannot be read.
fn half_of_memory() -> u64 {
    let total_kib = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    total_kib.unwrap_or(2 << 20) * 1024 / 2
}
