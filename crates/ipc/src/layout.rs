//! Where everything of a queue lies in its segment.
//!
//! ```text
//!   the object's page, one pair of cache lines a word that is written often
//!     0x000 tail   0x080 head     ring of messages never delivered
//!     0x100 tail   0x180 head     ring of messages given back
//!     0x200 tail   0x280 head     ring of dead letters
//!     0x300 side: a message came              (producers look here)
//!     0x380 sides: a place, memory, drained; due u64   (consumers look here)
//!     0x400 window u32, reach u32, page window u32; 0x410 incarnation u64
//!     0x418 id base u64; 0x420 closed u32; 0x424 groups of slots that are there on disk, u32 a ring
//!   data
//!     ring slots          3 x 8 bytes a slot        lap:40 | block:24
//!     page words          8 bytes a page            see `pages`
//!     page successors     4 bytes a page
//!     blocks              128 bytes each            see below
//!     pages               1 KiB each
//!
//!   a block
//!     +0 tag u64 (see `tag`)   +8 length u32   +12 checksum u32   +16 raised u64 = attempts:16 | ticket:48
//!     +24 id u64               +32 chain u64 = incarnation:36 | first page:28        +40 message, or unused
//! ```
//!
//! Every ring begins at its second lap, so that a slot that was never touched reads as used up in the first
//! and only tails and heads need to be written to make an empty queue.

use crate::memory::{Memory, OS_PAGE, Stretch};
use crate::segment;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 128;
/// Bytes of a message that fit beside its block's own words.
pub(crate) const INLINE: usize = BLOCK - BYTES;
pub(crate) const TAG: usize = 0;
pub(crate) const LENGTH: usize = 8;
pub(crate) const CHECKSUM: usize = 12;
pub(crate) const RAISED: usize = 16;
pub(crate) const ID: usize = 24;
pub(crate) const CHAIN: usize = 32;
pub(crate) const BYTES: usize = 40;

/// Bytes of a page of a large message.
pub(crate) const PAGE: usize = 1024;

/// The most blocks: slots name them with 24 bits, and the highest number marks the end of a closed queue.
pub(crate) const MOST_BLOCKS: u64 = (1 << 24) - 2;
/// The most pages: chains name them with 28 bits.
pub(crate) const MOST_PAGES: u64 = (1 << 28) - 1;

pub(crate) const RINGS: usize = segment::OBJECT;
pub(crate) const RING: usize = 0x100;
pub(crate) const HEAD: usize = 0x80;
pub(crate) const CAME: usize = segment::OBJECT + 0x300;
pub(crate) const PLACE: usize = segment::OBJECT + 0x380;
pub(crate) const MEMORY: usize = segment::OBJECT + 0x390;
pub(crate) const DRAINED: usize = segment::OBJECT + 0x3a0;
pub(crate) const DUE: usize = segment::OBJECT + 0x3b0;
pub(crate) const WINDOW: usize = segment::OBJECT + 0x400;
pub(crate) const REACH: usize = segment::OBJECT + 0x404;
pub(crate) const PAGE_WINDOW: usize = segment::OBJECT + 0x408;
pub(crate) const INCARNATION: usize = segment::OBJECT + 0x410;
/// What is added to a ticket to make an id.
pub(crate) const ID_BASE: usize = segment::OBJECT + 0x418;
/// Whether the queue was closed, for who finds it after a loss of power; the living go by the mark in the ring.
pub(crate) const CLOSED: usize = segment::OBJECT + 0x420;
/// What stands there then; anything else is noise.
pub(crate) const IS_CLOSED: u32 = 0xc105_edc1;
pub(crate) const BACKED: usize = segment::OBJECT + 0x424;

/// The numbers that all offsets follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that may wait at once.
    pub(crate) bound: u64,
    pub(crate) blocks: u64,
    pub(crate) pages: u64,
    pub(crate) participants: u32,
}

/// The offsets, in private memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) counts: Counts,
    /// Bits of a ticket that choose the slot, for the first ring and the two others.
    pub(crate) slot_bits: [u32; 3],
    pub(crate) slots: [usize; 3],
    /// The longest message there is memory for, in bytes.
    pub(crate) largest: u64,
    pub(crate) page_words: usize,
    pub(crate) successors: usize,
    pub(crate) blocks: usize,
    pub(crate) pages: usize,
    pub(crate) total: u64,
}

impl Layout {
    /// None where the numbers are impossible.
    pub(crate) fn of(counts: Counts) -> Option<Self> {
        let Counts { bound, blocks, pages, participants } = counts;
        let possible = bound >= 1
            && bound <= blocks
            && blocks <= MOST_BLOCKS
            && pages <= MOST_PAGES
            && (1..=crate::participants::MOST).contains(&participants);
        if !possible {
            return None;
        }
        // One more slot than messages, for the mark of a closed queue.
        let first = (bound + 1).next_power_of_two().max(64);
        let other = (blocks + 1).next_power_of_two().max(64);
        let mut at = segment::data_offset(participants) as u64;
        let mut take = |bytes: u64| {
            let here = at;
            at += bytes.next_multiple_of(OS_PAGE as u64);
            usize::try_from(here).ok()
        };
        let slots = [take(first * 8)?, take(other * 8)?, take(other * 8)?];
        let page_words = take(pages * 8)?;
        let successors = take(pages * 4)?;
        let block_area = take(blocks * BLOCK as u64)?;
        let page_area = take(pages * PAGE as u64)?;
        Some(Self {
            counts,
            slot_bits: [first.trailing_zeros(), other.trailing_zeros(), other.trailing_zeros()],
            slots,
            largest: (pages * PAGE as u64).max(INLINE as u64),
            page_words,
            successors,
            blocks: block_area,
            pages: page_area,
            total: at,
        })
    }

    /// A block. The number has been checked or came from here.
    #[inline(always)]
    pub(crate) fn look_at<'a>(&self, memory: &'a Memory, block: u32) -> Stretch<'a, BLOCK> {
        memory.stretch(self.block(block))
    }

    /// Where a block begins. The number has been checked or came from here.
    #[inline(always)]
    pub(crate) fn block(&self, block: u32) -> usize {
        self.blocks + block as usize * BLOCK
    }
}
