//! Making a durable queue anew from its blocks, when its rings cannot be believed: after the machine was started
//! again, and after damage was found.
//!
//! A loss of power leaves of a file what happened to reach the disk: of each of its sectors, the state of some moment
//! since it was last made to be there. So nothing is believed that lies in two places. What is: a block whose tag says
//! that it holds a message, and whose bytes, length and id fit its checksum. Each such message is kept, in the order
//! of the ids, which is that in which they were put; everything else (rings, windows, participants, what waiters said)
//! is written anew. Only the caller has the file. It may be killed anywhere here and the next begins again: what is
//! read is only ever replaced by what says the same.

use crate::atomic::Ordering;
use crate::blocks;
use crate::core::Core;
use crate::errors::{Damage, OpenError};
use crate::layout::{self, BLOCK, CAME, DRAINED, DUE, MEMORY, PLACE};
use crate::memory;
use crate::pages;
use crate::ring::Ring;
use crate::tag::{State, TICKET, Tag, Which};

/// A message that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) block: u32,
    pub(crate) which: Which,
    pub(crate) id: u64,
    /// Deliveries so far.
    pub(crate) times: u32,
    /// Whether a ring names it, where two bear one id.
    pub(crate) is_named: bool,
}

/// All messages that were found.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// In the order of their ids.
    pub(crate) found: Vec<Found>,
    /// Blocks that say they hold a message, and do not hold a whole one.
    pub(crate) damaged: u64,
    /// An id above all that were ever given.
    pub(crate) next_id: u64,
    /// The highest block that was ever used, plus one.
    reach: u32,
}

/// How far ids jump where the last ones given are not known: more than can be given between two looks at the disk.
const JUMP: u64 = 1 << 40;
/// No queue ever comes to such an id; noise does.
const MOST_ID: u64 = 1 << 62;

impl Core {
    /// Looks at every block. In doubt, because the power may have been lost, what waits counts as delivered before:
    /// it may have been, and been acknowledged.
    pub(crate) fn take_census(&self, in_doubt: bool) -> Result<Census, OpenError> {
        let mut census = Census::default();
        let memory = self.segment.memory();
        let end = self.layout.block(self.layout.counts.blocks as u32);
        let mut at = self.layout.blocks;
        while let Some((start, stop)) = memory::data(memory.file(), at, end) {
            at = stop;
            let blocks = (start - self.layout.blocks) / BLOCK..(stop - self.layout.blocks).div_ceil(BLOCK);
            for block in blocks {
                self.look_at(block as u32, in_doubt, &mut census);
            }
        }
        if memory.is_cut() {
            // A page that the disk does not give back looks like nothing, and is not.
            return Err(OpenError::System(std::io::Error::from_raw_os_error(libc::EIO)));
        }
        let ring = self.ring(Which::First);
        let told = self.id_of(ring.tail().load(Ordering::Relaxed).max(ring.origin()));
        if told < MOST_ID {
            census.next_id = census.next_id.max(told + 1);
        }
        if in_doubt {
            census.next_id = (census.next_id / JUMP + 2).saturating_mul(JUMP);
        }
        census.found.sort_by_key(|found| (found.id, !found.is_named));
        Ok(census)
    }

    fn look_at(&self, block: u32, in_doubt: bool, census: &mut Census) {
        let tag = Tag(self.tag(block).load(Ordering::Acquire));
        let id = self.id(block).load(Ordering::Relaxed);
        if id < MOST_ID {
            census.next_id = census.next_id.max(id + 1);
        }
        if tag.state() != State::Free {
            census.reach = census.reach.max(block + 1);
        }
        let most = self.settings.max_deliveries.unwrap_or(u32::MAX);
        let before = self.times_delivered(block);
        let is_counted = before > 0 && self.last_raised(block) == tag.ticket() & TICKET;
        let (which, times) = match tag.state() {
            State::Free | State::Writing | State::Punching => return,
            State::Impossible => {
                census.damaged += 1;
                return;
            }
            State::Ready(Which::First) if in_doubt => (Which::First, 1),
            State::Ready(Which::First) => (Which::First, before),
            State::Ready(Which::Dead) => (Which::Dead, before),
            State::Ready(Which::Again) | State::Delayed => (Which::Again, before.max(1)),
            State::Leased | State::Requeue => (Which::Again, before + u32::from(!is_counted)),
        };
        // What only may have been delivered is not given up on for it.
        let which = match which {
            Which::Again if times >= most => Which::Dead,
            which => which,
        };
        if self.read_message(block).is_err() {
            census.damaged += 1;
            return;
        }
        let is_named = match tag.state() {
            State::Ready(ring) => self.ring(ring).names(tag.ticket(), block),
            _ => true,
        };
        census.found.push(Found { block, which, id, times, is_named });
    }

    /// Makes the queue anew from what was found.
    ///
    /// # Errors
    /// [`OpenError::System`] where the disk has no room for the rings.
    pub(crate) fn rebuild(&self, in_doubt: bool) -> Result<Census, OpenError> {
        let mut census = self.take_census(in_doubt)?;
        let was_closed = self.segment.memory().u32(layout::CLOSED).load(Ordering::Acquire)
            == layout::IS_CLOSED
            || (!in_doubt && self.is_ended().unwrap_or(false));
        self.spread(&mut census);
        let pages = self.free_all_but(&census);
        let memory = self.segment.memory();
        for side in [CAME, PLACE, MEMORY, DRAINED] {
            memory.u64(side).store(0, Ordering::Relaxed);
        }
        memory.u64(DUE).store(0, Ordering::Relaxed);
        self.make_windows(census.reach, pages)?;
        self.part_namesakes(&mut census);
        for which in [Which::First, Which::Again, Which::Dead] {
            self.clear_ring(which);
            let ring = self.ring(which);
            let of_it = census.found.iter().filter(|found| found.which == which);
            let tail = self.place_all(&ring, of_it)?;
            ring.head().store(ring.origin(), Ordering::Relaxed);
            ring.tail().store(tail, Ordering::Relaxed);
        }
        if was_closed {
            self.mark_end().map_err(|_| no_room())?;
            memory.u32(layout::CLOSED).store(layout::IS_CLOSED, Ordering::Relaxed);
        }
        self.segment.begin_anew();
        Ok(census)
    }

    /// Gives those that bear another's id one of their own. One of two was a put that had not returned when all ended,
    /// and took the place the other had been about to take; which is not known.
    fn part_namesakes(&self, census: &mut Census) {
        let mut last = None;
        for found in &mut census.found {
            if last == Some(found.id) {
                found.id = census.next_id;
                census.next_id += 1;
                self.rename(found);
            } else {
                last = Some(found.id);
            }
        }
        census.found.sort_by_key(|found| found.id);
        self.segment.memory().u64(layout::ID_BASE).store(census.next_id, Ordering::Relaxed);
    }

    /// By a copy that is whole before the other goes: a death in between leaves both, and not neither.
    fn rename(&self, found: &mut Found) {
        let copy = self.locals.with(|local| {
            let bytes = self.read_message(found.block).ok()?;
            self.write_message(0, local, &bytes).ok()
        });
        // Where there is no memory for a copy nobody can have put anything since either.
        self.set_id(copy.unwrap_or(found.block), found.id);
        if let Some(copy) = copy {
            self.set_raised(copy, found.times, 0);
            self.tag(copy).store(Tag::ready(found.which, 0, 0).0, Ordering::Release);
            self.tag(found.block).store(Tag::FREE.0, Ordering::Release);
            found.block = copy;
        }
    }

    /// More may be found than may wait, where acknowledgements were lost: the oldest then wait as given back.
    fn spread(&self, census: &mut Census) {
        let first = census.found.iter().filter(|found| found.which == Which::First).count() as u64;
        let mut over = first.saturating_sub(self.layout.counts.bound);
        for found in census.found.iter_mut().filter(|found| found.which == Which::First) {
            if over > 0 {
                found.which = Which::Again;
                found.times = found.times.max(1);
                over -= 1;
            }
        }
    }

    /// Frees every other block and page; answers the highest page in use, plus one.
    fn free_all_but(&self, census: &Census) -> u32 {
        let mut reach = 0;
        let mut kept: Vec<u32> = census.found.iter().map(|found| found.block).collect();
        kept.sort_unstable();
        let memory = self.segment.memory();
        memory.u32(layout::REACH).store(census.reach, Ordering::Relaxed);
        for block in (0..census.reach).filter(|block| kept.binary_search(block).is_err()) {
            self.tag(block).store(Tag::FREE.0, Ordering::Release);
        }
        let end = self.layout.page_words + self.layout.counts.pages as usize * 8;
        let mut at = self.layout.page_words;
        let mut incarnation = memory.u64(layout::INCARNATION).load(Ordering::Relaxed);
        while let Some((start, stop)) = memory::data(memory.file(), at, end) {
            at = stop;
            for page in (start - self.layout.page_words) / 8..(stop - self.layout.page_words).div_ceil(8) {
                let word = self.page_word(page as u32);
                let before = word.load(Ordering::Relaxed);
                if before == 0 {
                    continue;
                }
                let (block, life) = pages::hangs_on(before);
                let is_used = kept.binary_search(&block).is_ok()
                    && self.chain(block).load(Ordering::Relaxed) >> 28 == life;
                incarnation = incarnation.max(life);
                if is_used {
                    reach = page as u32 + 1;
                } else {
                    word.store(0, Ordering::Relaxed);
                }
            }
        }
        memory.u64(layout::INCARNATION).store(incarnation.wrapping_add(1), Ordering::Relaxed);
        reach
    }

    /// The windows reach as far as anything is used, and there is room on the disk for all in them.
    fn make_windows(&self, blocks: u32, pages: u32) -> Result<(), OpenError> {
        let memory = self.segment.memory();
        let counts = self.layout.counts;
        let blocks = blocks.max(blocks::FIRST_WINDOW).min(counts.blocks as u32);
        let pages = pages.max(pages::FIRST_WINDOW).min(counts.pages as u32);
        if !self.back_blocks(0, blocks) || !self.back_pages(0, pages) {
            return Err(no_room());
        }
        memory.u32(layout::WINDOW).store(blocks, Ordering::Relaxed);
        memory.u32(layout::PAGE_WINDOW).store(pages, Ordering::Relaxed);
        Ok(())
    }

    /// Makes every slot one that was never used.
    fn clear_ring(&self, which: Which) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let memory = self.segment.memory();
        let start = self.layout.slots[which as usize];
        let end = start + (8usize << self.layout.slot_bits[which as usize]);
        let mut at = start;
        while let Some((from, to)) = memory::data(memory.file(), at, end) {
            at = to;
            for here in (from..to).step_by(ZEROS.len()) {
                memory.write(here, &ZEROS[..ZEROS.len().min(to - here)]);
            }
        }
        memory.u32(layout::BACKED + which as usize * 4).store(0, Ordering::Relaxed);
    }

    /// Puts what was found into an empty ring, in this order; answers where its tail is then.
    pub(crate) fn place_all<'a>(
        &self,
        ring: &Ring<'_>,
        found: impl Iterator<Item = &'a Found>,
    ) -> Result<u64, OpenError> {
        let mut ticket = ring.origin();
        for &Found { block, which, times, .. } in found {
            if !self.has_backed_slot(which, ticket) {
                return Err(no_room());
            }
            // A count without a delivery of its own: the next one raises it in any case.
            self.set_raised(block, times, 0);
            self.tag(block).store(Tag::ready(which, 0, ring.tagged(ticket)).0, Ordering::Release);
            ring.place(ticket, block);
            ticket += 1;
        }
        if self.has_backed_slot(ring.which(), ticket) { Ok(ticket) } else { Err(no_room()) }
    }
}

pub(crate) fn no_room() -> OpenError {
    OpenError::System(std::io::Error::from_raw_os_error(libc::ENOSPC))
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}
