//! Giving memory back to the system when a queue that had grown is empty.
//!
//! Memory is given back page by page, only where nothing is in use, and what is being given back is marked so
//! that nobody takes it meanwhile: blocks by their own tags, pages of large messages by hanging on a block that
//! is taken for the purpose. Both marks mean "free" as soon as their owner is dead. A block that has been
//! given back reads as zeros, which is a free block.

use crate::atomic::{AtomicU32, Ordering};
use crate::blocks;
use crate::core::Core;
use crate::futex;
use crate::layout::{self, BLOCK, PAGE};
use crate::locals::Local;
use crate::memory::OS_PAGE;
use crate::pages;
use crate::tag::Tag;

/// Memory that is kept for the next messages.
const KEPT: usize = 1 << 20;
/// How long a queue must have been empty.
pub(crate) const IDLE_NS: u64 = 200_000_000;
/// How much is marked at a time.
const STRETCH: usize = 64 << 10;

impl Core {
    /// Whether there is anything to give back once the queue has been empty for a while.
    pub(crate) fn has_grown(&self) -> bool {
        // What it has of the disk a durable queue keeps for itself while it is used: others would take it.
        if self.settings.is_durable() {
            return false;
        }
        let memory = self.segment.memory();
        let is_beyond =
            |window: usize, kept: usize| memory.u32(window).load(Ordering::Relaxed) as usize > kept;
        is_beyond(layout::WINDOW, KEPT / BLOCK) || is_beyond(layout::PAGE_WINDOW, KEPT / PAGE)
    }

    /// Gives back what a queue does not need that this thread has found empty for a while. A queue that is
    /// empty again and again, because it is emptied as fast as it is filled, keeps what it has.
    pub(crate) fn trim_if_idle(&self, me: u32, local: &Local) {
        if !self.has_grown() {
            return;
        }
        let now = futex::now_ns();
        match local.empty_since.get() {
            0 => local.empty_since.set(now),
            since if now.saturating_sub(since) >= IDLE_NS => self.trim(me, local),
            _ => {}
        }
    }

    fn trim(&self, me: u32, local: &Local) {
        let memory = self.segment.memory();
        let blocks = shrink(memory.u32(layout::WINDOW), KEPT / BLOCK, blocks::FIRST_WINDOW);
        let pages = shrink(memory.u32(layout::PAGE_WINDOW), KEPT / PAGE, pages::FIRST_WINDOW);
        self.each_stretch(blocks, self.layout.counts.blocks, BLOCK, |first, count| {
            self.give_back_blocks(me, first, count);
        });
        if pages > 0
            && let Ok(block) = self.take_block(me, local)
        {
            let word = self.begin_chain(block);
            self.each_stretch(pages, self.layout.counts.pages, PAGE, |first, count| {
                self.give_back_pages(word, first, count);
            });
            self.tag(block).store(Tag::FREE.0, Ordering::Release);
        }
    }

    /// Calls `work` with the first and the number of each stretch of things, from what is kept up to `end`.
    fn each_stretch(&self, end: usize, all: u64, bytes: usize, work: impl Fn(u32, u32)) {
        let end = end.min(all as usize);
        let mut first = KEPT / bytes;
        while first < end {
            // Only whole pages of the system can be given back.
            let count = (STRETCH / bytes).min((end - first) / (OS_PAGE / bytes) * (OS_PAGE / bytes));
            if count == 0 {
                return;
            }
            work(first as u32, count as u32);
            first += count;
        }
    }

    fn give_back_blocks(&self, me: u32, first: u32, count: u32) {
        let mine = Tag::punching(me).0;
        let marked = (first..first + count)
            .take_while(|&block| {
                let tag = self.tag(block);
                tag.load(Ordering::Relaxed) == Tag::FREE.0
                    && tag.compare_exchange(Tag::FREE.0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
            })
            .count() as u32;
        let is_given = marked == count
            && self.segment.memory().punch(self.layout.block(first), count as usize * BLOCK).is_ok();
        if !is_given {
            (first..first + marked).for_each(|block| self.tag(block).store(Tag::FREE.0, Ordering::Release));
        }
    }

    fn give_back_pages(&self, word: u64, first: u32, count: u32) {
        let marked = (first..first + count).take_while(|&page| self.take_page(page, word)).count() as u32;
        if marked == count {
            // Where it cannot be done, nothing has changed.
            let _ = self.segment.memory().punch(self.page(first), count as usize * PAGE);
        }
        for page in first..first + marked {
            let _ = self.page_word(page).compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// Makes a window that had grown beyond `kept` small again; answers how large it was, or zero.
fn shrink(window: &AtomicU32, kept: usize, first: u32) -> usize {
    let before = window.load(Ordering::Relaxed);
    let has_grown = before as usize > kept;
    let is_ours =
        has_grown && window.compare_exchange(before, first, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if is_ours { before as usize } else { 0 }
}
