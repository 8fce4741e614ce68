//! How a queue comes into being: what its header says, and what of that is believed when it is opened.

use crate::atomic::Ordering;
use crate::errors::OpenError;
use crate::header::{Header, Kind};
use crate::layout::{Counts, Layout};
use crate::liveness::{self, Identity};
use crate::memory::Memory;
use crate::opening;
use crate::options::{Fsync, MOST_MESSAGE_BYTES, QueueOptions};
use crate::ring::Ring;
use crate::tag::Which;

/// What the header says beside the counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) capacity: Option<u64>,
    pub(crate) max_message: u64,
    pub(crate) max_deliveries: Option<u32>,
    pub(crate) has_checksums: bool,
    /// Goes into every checksum, so that no other queue's message fits.
    pub(crate) salt: u32,
    /// What it promises of the disk.
    pub(crate) fsync: Option<Fsync>,
    /// Whether room in its file is asked for before it is used (see [`crate::backing`]).
    pub(crate) is_backed: bool,
}

/// Which of a header's own numbers says that a queue that is only memory is backed all the same.
pub(crate) const BACKED: usize = 7;

impl Settings {
    #[inline(always)]
    pub(crate) fn is_durable(&self) -> bool {
        self.fsync.is_some()
    }
}

/// The header and the layout of a new queue.
pub(crate) fn plan(name: &str, options: &QueueOptions) -> Result<(Header, Layout), OpenError> {
    let counts = options.counts()?;
    let layout = Layout::of(counts).ok_or(OpenError::Options("larger than a queue can be"))?;
    let mut own = [0; 16];
    own[..7].copy_from_slice(&[
        options.capacity.unwrap_or(0),
        counts.bound,
        counts.blocks,
        counts.pages,
        options.max_message,
        u64::from(options.max_deliveries.unwrap_or(0)),
        u64::from(options.checksums),
    ]);
    let header = Header {
        kind: Kind::Queue,
        total: layout.total,
        participants: options.participants,
        supervised: options.supervised,
        creator: Identity::mine(),
        namespace: liveness::pid_namespace(),
        boot: liveness::boot(),
        fsync: options.durable,
        is_settled: false,
        uuid: opening::new_uuid()?,
        name: name.to_owned(),
        own,
    };
    Ok((header, layout))
}

/// What [`plan`] wrote, checked again.
pub(crate) fn understand(header: &Header) -> Option<(Settings, Layout)> {
    let [capacity, bound, blocks, pages, max_message, max_deliveries, checksums, backed, ..] = header.own;
    let layout = Layout::of(Counts { bound, blocks, pages, participants: header.participants })?;
    let possible = layout.total == header.total
        && (capacity == 0 || capacity == bound)
        && max_message <= MOST_MESSAGE_BYTES
        && checksums <= 1
        && backed <= 1;
    possible.then_some(())?;
    let max_deliveries = u32::try_from(max_deliveries).ok()?;
    let settings = Settings {
        capacity: (capacity != 0).then_some(capacity),
        max_message,
        max_deliveries: (max_deliveries != 0).then_some(max_deliveries),
        has_checksums: checksums == 1 || header.fsync.is_some(),
        salt: crc32c::crc32c(&header.uuid),
        fsync: header.fsync,
        is_backed: backed == 1 || header.fsync.is_some(),
    };
    Some((settings, layout))
}

/// Makes zeros an empty queue.
pub(crate) fn format(memory: &Memory, layout: &Layout) {
    for which in [Which::First, Which::Again, Which::Dead] {
        let ring = Ring::new(memory, layout, which);
        ring.tail().store(ring.origin(), Ordering::Relaxed);
        ring.head().store(ring.origin(), Ordering::Relaxed);
    }
}
