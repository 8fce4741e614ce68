//! Blocks: taking a free one, filling it, reading it, giving it back. A large message's bytes lie in
//! [`pages`](crate::pages); its block leads to them.

use crate::atomic::{AtomicU64, Ordering};
use crate::core::Core;
use crate::errors::Damage;
use crate::layout::{self, BLOCK, BYTES, CHAIN, CHECKSUM, ID, INLINE, LENGTH, RAISED, TAG};
use crate::locals::Local;
use crate::memory::Stretch;
use crate::tag::{TICKET, Tag};

/// Blocks looked at before the window of blocks in use is widened.
const PROBES: u32 = 16;
/// Blocks in use at first.
pub(crate) const FIRST_WINDOW: u32 = 64;

/// Why a message cannot be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// All memory that the queue may have is in use.
    OfMemory,
    /// The queue may have more, but the disk has no room for it.
    OfDisk,
}

impl Core {
    #[inline(always)]
    pub(crate) fn tag(&self, block: u32) -> &AtomicU64 {
        self.segment.memory().u64(self.layout.block(block))
    }

    #[inline(always)]
    pub(crate) fn look_at_block(&self, block: u32) -> Stretch<'_, BLOCK> {
        self.layout.look_at(self.segment.memory(), block)
    }

    #[inline(always)]
    fn field(&self, block: u32, field: usize) -> &AtomicU64 {
        self.segment.memory().u64(self.layout.block(block) + field)
    }

    /// Takes a free block for `me` to write to. Looks first where it last found one, in a window that is kept
    /// as small as the queue's use of it, so that a short queue stays in the caches.
    #[inline]
    pub(crate) fn take_block(&self, me: u32, local: &Local) -> Result<u32, Short> {
        let window = self.segment.memory().fixed_u32::<{ layout::WINDOW }>().load(Ordering::Relaxed);
        let window = window.clamp(FIRST_WINDOW, u32::MAX).min(self.layout.counts.blocks as u32);
        match self.take_block_in(me, local, window, PROBES.min(window)) {
            None => self.take_block_beyond(me, local, window),
            Some(block) => Ok(block),
        }
    }

    #[inline(always)]
    fn take_block_in(&self, me: u32, local: &Local, window: u32, probes: u32) -> Option<u32> {
        let mut block = local.block.get() as u32;
        for _ in 0..probes {
            if block >= window {
                block = 0;
            }
            let place = self.look_at_block(block);
            let tag = place.u64::<TAG>();
            if tag.load(Ordering::Relaxed) == Tag::FREE.0 {
                // The reach goes up first, so that every scan for the blocks of the dead looks here.
                let reach = self.segment.memory().fixed_u32::<{ layout::REACH }>();
                if reach.load(Ordering::Relaxed) <= block {
                    reach.fetch_max(block + 1, Ordering::AcqRel);
                }
                let mine = Tag::writing(me).0;
                if tag.compare_exchange(Tag::FREE.0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    local.block.set(u64::from(block) + 1);
                    // A consumer has these lines; by the time of the next put they are here.
                    if u64::from(block + 1) < self.layout.counts.blocks {
                        self.look_at_block(block + 1).expect_to_write();
                    }
                    return Some(block);
                }
            }
            block += 1;
        }
        local.block.set(u64::from(block));
        None
    }

    #[cold]
    fn take_block_beyond(&self, me: u32, local: &Local, mut window: u32) -> Result<u32, Short> {
        let all = self.layout.counts.blocks as u32;
        while window < all {
            local.block.set(u64::from(window));
            let wider = window.saturating_mul(2).min(all);
            if !self.back_blocks(window, wider) {
                // Further on there is nothing; but a block may have been freed.
                return self.take_block_in(me, local, window, window).ok_or(Short::OfDisk);
            }
            window = wider;
            self.segment.memory().u32(layout::WINDOW).fetch_max(window, Ordering::Relaxed);
            if let Some(block) = self.take_block_in(me, local, window, PROBES) {
                return Ok(block);
            }
        }
        self.take_block_in(me, local, all, all).ok_or(Short::OfMemory)
    }

    /// Takes a block and fills it with a message. It stays private to `me`.
    #[inline]
    pub(crate) fn write_message(&self, me: u32, local: &Local, bytes: &[u8]) -> Result<u32, Short> {
        let block = self.take_block(me, local)?;
        let place = self.look_at_block(block);
        if bytes.len() <= INLINE {
            place.u64::<CHAIN>().store(0, Ordering::Relaxed);
            self.segment.memory().write(self.layout.block(block) + BYTES, bytes);
        } else if let Err(short) = self.write_pages(block, local, bytes) {
            place.u64::<TAG>().store(Tag::FREE.0, Ordering::Release);
            return Err(short);
        }
        place.u32::<LENGTH>().store(bytes.len() as u32, Ordering::Relaxed);
        if self.settings.has_checksums {
            self.id(block).store(0, Ordering::Relaxed);
            let sum = crc32c::crc32c(bytes) ^ self.fold(0, bytes.len());
            place.u32::<CHECKSUM>().store(sum, Ordering::Relaxed);
        }
        place.u64::<RAISED>().store(0, Ordering::Relaxed);
        Ok(block)
    }

    /// A copy of the message in a block.
    #[inline]
    pub(crate) fn read_message(&self, block: u32) -> Result<Vec<u8>, Damage> {
        let mut message = Vec::new();
        self.append_message(block, &mut message)?;
        Ok(message)
    }

    /// Appends a copy of the message in a block; after an error there may be a part of it.
    #[inline]
    pub(crate) fn append_message(&self, block: u32, out: &mut Vec<u8>) -> Result<(), Damage> {
        let memory = self.segment.memory();
        let place = self.look_at_block(block);
        let length = place.u32::<LENGTH>().load(Ordering::Relaxed) as usize;
        if length as u64 > self.settings.max_message.max(INLINE as u64) {
            return Err(Damage::Length);
        }
        let start = out.len();
        if start == 0 {
            out.reserve_exact(length);
        } else {
            out.reserve(length);
        }
        if length <= INLINE {
            memory.append_to(out, self.layout.block(block) + BYTES, length);
        } else {
            self.read_pages(block, length, out)?;
        }
        if self.settings.has_checksums {
            let id = self.id(block).load(Ordering::Relaxed);
            let sum = crc32c::crc32c(&out[start..]) ^ self.fold(id, length);
            if sum != place.u32::<CHECKSUM>().load(Ordering::Relaxed) {
                return Err(Damage::Checksum);
            }
        }
        Ok(())
    }

    /// What a message's id and length, and the queue it belongs to, add to its checksum.
    fn fold(&self, id: u64, length: usize) -> u32 {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[8..].copy_from_slice(&(length as u32).to_le_bytes());
        crc32c::crc32c_append(self.settings.salt, &bytes)
    }

    /// Gives the message in a block, which is private, its id.
    #[inline(always)]
    pub(crate) fn set_id(&self, block: u32, id: u64) {
        let before = self.id(block);
        if self.settings.has_checksums {
            self.fold_anew(block, before.load(Ordering::Relaxed), id);
        }
        before.store(id, Ordering::Relaxed);
    }

    #[inline(never)]
    fn fold_anew(&self, block: u32, before: u64, id: u64) {
        let at = self.layout.block(block);
        let length = self.segment.memory().u32(at + LENGTH).load(Ordering::Relaxed) as usize;
        let word = self.segment.memory().u32(at + CHECKSUM);
        let sum = word.load(Ordering::Relaxed) ^ self.fold(before, length) ^ self.fold(id, length);
        word.store(sum, Ordering::Relaxed);
    }

    /// The id that goes with a ticket of the first ring.
    #[inline(always)]
    pub(crate) fn id_of(&self, ticket: u64) -> u64 {
        self.segment.memory().fixed_u64::<{ layout::ID_BASE }>().load(Ordering::Relaxed).wrapping_add(ticket)
    }

    /// Gives a block back that is this process's own, with its pages.
    #[inline]
    pub(crate) fn free_block(&self, block: u32) {
        let place = self.look_at_block(block);
        let length = place.u32::<LENGTH>().load(Ordering::Relaxed) as usize;
        if length <= INLINE {
            place.u64::<TAG>().store(Tag::FREE.0, Ordering::Release);
        } else {
            self.free_block_and_pages(block, length);
        }
    }

    /// The id of the message in a block: the same however often it is delivered.
    pub(crate) fn id(&self, block: u32) -> &AtomicU64 {
        self.field(block, ID)
    }

    /// Where the message's pages begin, and in which life of its block: `incarnation:36 | first page:28`.
    pub(crate) fn chain(&self, block: u32) -> &AtomicU64 {
        self.field(block, CHAIN)
    }

    /// How often the message in a block has been delivered before.
    #[inline]
    pub(crate) fn times_delivered(&self, block: u32) -> u32 {
        (self.field(block, RAISED).load(Ordering::Relaxed) >> 48) as u32
    }

    /// Counts one delivery, that of `ticket`. Counting the same twice counts once: whoever takes over from a
    /// dead recoverer does not know how far that one came.
    pub(crate) fn raise(&self, block: u32, ticket: u64) -> u32 {
        let word = self.field(block, RAISED);
        let raised = word.load(Ordering::Relaxed);
        let times = raised >> 48;
        if times > 0 && raised & TICKET == ticket & TICKET {
            return times as u32;
        }
        let times = (times + 1).min(0xffff);
        word.store(times << 48 | ticket & TICKET, Ordering::Relaxed);
        times as u32
    }

    /// Counts so many deliveries, the last of which was that of `ticket`. Only for who is alone.
    pub(crate) fn set_raised(&self, block: u32, times: u32, ticket: u64) {
        let word = u64::from(times.min(0xffff)) << 48 | ticket & TICKET;
        self.field(block, RAISED).store(word, Ordering::Relaxed);
    }

    /// The ticket of the last delivery counted.
    pub(crate) fn last_raised(&self, block: u32) -> u64 {
        self.field(block, RAISED).load(Ordering::Relaxed) & TICKET
    }

    /// How many blocks a scan must look at.
    pub(crate) fn reach(&self) -> u32 {
        self.segment.memory().u32(layout::REACH).load(Ordering::Acquire).min(self.layout.counts.blocks as u32)
    }
}
