//! Room for a queue in a file, asked for before it is used.
//!
//! A mapped file with holes takes space of its file system when a hole is written to, and where there is none the writer
//! is ended by a signal. So nothing of a queue in a file is written to that was not reserved, be it durable or memory that
//! has a name (there, only where the file system can reserve): the rings as their tickets go forward,
//! one group of slots ahead of need; blocks and pages as their windows widen, before the window says so. Reserving
//! what is reserved already changes nothing, so two may do it at the same time and anybody may die in it.

use std::io;

use crate::atomic::Ordering;
use crate::blocks;
use crate::core::Core;
use crate::errors::OpenError;
use crate::layout::{self, BLOCK, Layout, PAGE};
use crate::memory::{self, Memory};
use crate::pages;
use crate::segment;
use crate::tag::Which;

/// Tickets whose slots are reserved together: a page of the system in each of the ring's eight parts.
const GROUP: u64 = 4096;
const PARTS: u64 = 8;

/// Reserves what an empty queue needs.
///
/// # Errors
/// [`OpenError::CannotReserve`] where the file system cannot do it, [`OpenError::System`] where the disk is full.
pub(crate) fn begin(memory: &Memory, layout: &Layout) -> Result<(), OpenError> {
    let all = || {
        memory::reserve(memory.file(), 0, segment::data_offset(layout.counts.participants))?;
        for which in [Which::First, Which::Again, Which::Dead] {
            (0..2).try_for_each(|group| reserve_group(memory, layout, which, group))?;
            memory.u32(layout::BACKED + which as usize * 4).store(2, Ordering::Relaxed);
        }
        let window = u64::from(blocks::FIRST_WINDOW).min(layout.counts.blocks) as u32;
        reserve_blocks(memory, layout, 0, window)?;
        let window = u64::from(pages::FIRST_WINDOW).min(layout.counts.pages) as u32;
        reserve_pages(memory, layout, 0, window)
    };
    all().map_err(|error: io::Error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => OpenError::CannotReserve,
        _ => OpenError::System(error),
    })
}

fn reserve_group(memory: &Memory, layout: &Layout, which: Which, group: u64) -> io::Result<()> {
    let slots = 1 << layout.slot_bits[which as usize];
    let start = layout.slots[which as usize];
    if slots <= GROUP {
        return if group == 0 { memory::reserve(memory.file(), start, slots as usize * 8) } else { Ok(()) };
    }
    if group >= slots / GROUP {
        return Ok(());
    }
    (0..PARTS).try_for_each(|part| {
        let first = part * (slots / PARTS) + group * (GROUP / PARTS);
        memory::reserve(memory.file(), start + first as usize * 8, (GROUP / PARTS) as usize * 8)
    })
}

fn reserve_blocks(memory: &Memory, layout: &Layout, from: u32, to: u32) -> io::Result<()> {
    if from >= to {
        return Ok(());
    }
    memory::reserve(memory.file(), layout.block(from), (to - from) as usize * BLOCK)
}

fn reserve_pages(memory: &Memory, layout: &Layout, from: u32, to: u32) -> io::Result<()> {
    if from >= to {
        return Ok(());
    }
    let (first, count) = (from as usize, (to - from) as usize);
    memory::reserve(memory.file(), layout.page_words + first * 8, count * 8)?;
    memory::reserve(memory.file(), layout.successors + first * 4, count * 4)?;
    memory::reserve(memory.file(), layout.pages + first * PAGE, count * PAGE)
}

impl Core {
    /// Whether the slot of a ticket can be written to; sees to it that those after it can be too.
    #[inline(always)]
    pub(crate) fn has_backed_slot(&self, which: Which, ticket: u64) -> bool {
        !self.settings.is_backed || self.back_slot(which, ticket)
    }

    fn back_slot(&self, which: Which, ticket: u64) -> bool {
        let slots = 1u64 << self.layout.slot_bits[which as usize];
        let groups = slots.div_ceil(GROUP);
        let group = (ticket & (slots - 1)) / GROUP;
        let word = self.segment.memory().u32(layout::BACKED + which as usize * 4);
        let backed = u64::from(word.load(Ordering::Relaxed));
        if backed > group + 1 || backed >= groups {
            return true;
        }
        for next in backed..=group + 1 {
            if reserve_group(self.segment.memory(), &self.layout, which, next).is_err() {
                return next > group;
            }
            word.fetch_max(next as u32 + 1, Ordering::Relaxed);
        }
        true
    }

    /// Whether the window of blocks can be widened so far.
    pub(crate) fn back_blocks(&self, from: u32, to: u32) -> bool {
        !self.settings.is_backed || reserve_blocks(self.segment.memory(), &self.layout, from, to).is_ok()
    }

    /// Whether the window of pages can be widened so far.
    pub(crate) fn back_pages(&self, from: u32, to: u32) -> bool {
        !self.settings.is_backed || reserve_pages(self.segment.memory(), &self.layout, from, to).is_ok()
    }
}
