//! The bytes of large messages: chains of pages of 1 KiB that hang on a block.
//!
//! A page's word names the block it hangs on and that block's incarnation, a number never used twice:
//! `3:4 | block:24 | incarnation:36`, or zero for a free page. The block's own tag says who owns the message,
//! so pages never change hands: freeing the block, by whomever, frees them all at once. A page whose block is
//! free, or lives another life, is free too, whatever its word says; whoever needs one takes it over. So
//! nothing has to be done for the pages of the dead, and a process killed halfway through freeing a chain
//! leaves nothing behind that is not found again.

use crate::atomic::{AtomicU64, Ordering};
use crate::blocks::Short;
use crate::core::Core;
use crate::errors::Damage;
use crate::layout::{self, PAGE};
use crate::locals::Local;
use crate::tag::{Tag, Which};

const HANGING: u64 = 3;
/// Pages in use at first.
pub(crate) const FIRST_WINDOW: u32 = 256;

const INCARNATIONS: u64 = (1 << 36) - 1;

fn hanging(block: u32, incarnation: u64) -> u64 {
    HANGING << 60 | u64::from(block) << 36 | incarnation & INCARNATIONS
}

/// The block that a page with this word hangs on, and which life of it.
pub(crate) fn hangs_on(word: u64) -> (u32, u64) {
    ((word >> 36) as u32 & 0xff_ffff, word & INCARNATIONS)
}

impl Core {
    pub(crate) fn page_word(&self, page: u32) -> &AtomicU64 {
        self.segment.memory().u64(self.layout.page_words + page as usize * 8)
    }

    fn successor(&self, page: u32) -> &crate::atomic::AtomicU32 {
        self.segment.memory().u32(self.layout.successors + page as usize * 4)
    }

    pub(crate) fn page(&self, page: u32) -> usize {
        self.layout.pages + page as usize * PAGE
    }

    /// Whether a page with this word can be taken.
    fn is_free(&self, word: u64) -> bool {
        if word == 0 {
            return true;
        }
        let block = (word >> 36) as u32 & 0xff_ffff;
        if word >> 60 != HANGING || u64::from(block) >= self.layout.counts.blocks {
            return false;
        }
        self.tag(block).load(Ordering::Acquire) == Tag::FREE.0
            || self.chain(block).load(Ordering::Acquire) >> 28 != word & INCARNATIONS
    }

    /// Begins a new life of `block`, which is private, for pages to hang on; answers the word they bear.
    pub(crate) fn begin_chain(&self, block: u32) -> u64 {
        let incarnations = self.segment.memory().u64(layout::INCARNATION);
        let incarnation = incarnations.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & INCARNATIONS;
        // The incarnation is known before any page bears it, so that nobody takes a page for abandoned.
        self.chain(block).store(incarnation << 28, Ordering::Release);
        hanging(block, incarnation)
    }

    /// Takes a page if it is free, and hangs it where `word` says.
    pub(crate) fn take_page(&self, page: u32, word: u64) -> bool {
        let place = self.page_word(page);
        let before = place.load(Ordering::Acquire);
        self.is_free(before)
            && place.compare_exchange(before, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Hangs as many pages as it takes on `block`, which is private, and fills them.
    ///
    /// # Errors
    /// [`Short`] when there are not enough; then none hang on it.
    pub(crate) fn write_pages(&self, block: u32, local: &Local, bytes: &[u8]) -> Result<(), Short> {
        let word = self.begin_chain(block);
        let needed = bytes.len().div_ceil(PAGE);
        let mut finder = Finder::new(self, local, word, needed);
        let mut first = None;
        let mut last = None;
        // Neighbouring pages are filled with one copy.
        let mut run = Run { start: 0, pages: 0, filled: 0 };
        for taken in 0..needed {
            let Some(page) = finder.next() else {
                if let Some(first) = first {
                    self.chain(block).store(0, Ordering::Release);
                    self.free_pages(first, word, taken);
                }
                return Err(finder.short);
            };
            match last {
                None => first = Some(page),
                Some(last) => self.successor(last).store(page, Ordering::Relaxed),
            }
            last = Some(page);
            if run.start + run.pages == page && run.pages > 0 {
                run.pages += 1;
            } else {
                self.flush(&mut run, bytes);
                run.start = page;
                run.pages = 1;
            }
        }
        self.flush(&mut run, bytes);
        finder.remember();
        let first = first.expect("a large message has at least one page");
        self.chain(block).store((word & INCARNATIONS) << 28 | u64::from(first), Ordering::Release);
        Ok(())
    }

    fn flush(&self, run: &mut Run, bytes: &[u8]) {
        let end = (run.filled + run.pages as usize * PAGE).min(bytes.len());
        self.segment.memory().write(self.page(run.start), &bytes[run.filled..end]);
        run.filled = end;
    }

    /// Appends the `length` bytes in the pages of `block` to `out`.
    pub(crate) fn read_pages(&self, block: u32, length: usize, out: &mut Vec<u8>) -> Result<(), Damage> {
        let chain = self.chain(block).load(Ordering::Acquire);
        let word = hanging(block, chain >> 28);
        let mut page = (chain & ((1 << 28) - 1)) as u32;
        let mut left = length;
        while left > 0 {
            let start = page;
            let mut pages = 0;
            let mut taken = 0;
            loop {
                if u64::from(page) >= self.layout.counts.pages
                    || self.page_word(page).load(Ordering::Relaxed) != word
                {
                    return Err(Damage::Chain);
                }
                pages += 1;
                taken += PAGE.min(left - taken);
                if taken == left {
                    break;
                }
                page = self.successor(page).load(Ordering::Relaxed);
                if page != start + pages {
                    break;
                }
            }
            self.segment.memory().append_to(out, self.page(start), taken);
            left -= taken;
        }
        Ok(())
    }

    #[cold]
    pub(crate) fn free_block_and_pages(&self, block: u32, length: usize) {
        let chain = self.chain(block).load(Ordering::Relaxed);
        // The block first: a chain half freed under a block that still holds it would be a torn message if
        // we were killed here. Its pages are free by that already; the words are cleared so that takers need
        // not look at the block, and only where they still bear this incarnation.
        self.tag(block).store(Tag::FREE.0, Ordering::Release);
        self.free_pages((chain & ((1 << 28) - 1)) as u32, hanging(block, chain >> 28), length.div_ceil(PAGE));
    }

    fn free_pages(&self, first: u32, word: u64, count: usize) {
        let mut page = first;
        for _ in 0..count {
            if u64::from(page) >= self.layout.counts.pages {
                return;
            }
            let next = self.successor(page).load(Ordering::Relaxed);
            let freed = self.page_word(page).compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
            if freed.is_err() {
                return;
            }
            page = next;
        }
    }
}

/// Pages next to each other, and how much of the message is in pages before them.
struct Run {
    start: u32,
    pages: u32,
    filled: usize,
}

/// Looks for free pages, once around at most.
struct Finder<'a> {
    core: &'a Core,
    local: &'a Local,
    word: u64,
    page: u32,
    window: u32,
    looked_at: u32,
    /// Why there are no more.
    short: Short,
}

impl<'a> Finder<'a> {
    fn new(core: &'a Core, local: &'a Local, word: u64, needed: usize) -> Self {
        let all = core.layout.counts.pages as u32;
        let window = core.segment.memory().u32(layout::PAGE_WINDOW).load(Ordering::Relaxed);
        let window = window.clamp(FIRST_WINDOW, u32::MAX).min(all);
        // With nothing waiting, what was used last is free again and still in the caches. To look costs a line
        // that consumers write to, which is little beside many pages and much beside one.
        let is_low_free = needed >= 64 && core.ring(Which::First).length() == 0;
        let page = if is_low_free { 0 } else { local.page.get() as u32 };
        Self { core, local, word, page, window, looked_at: 0, short: Short::OfMemory }
    }

    fn next(&mut self) -> Option<u32> {
        let all = self.core.layout.counts.pages as u32;
        loop {
            if self.looked_at >= self.window {
                if self.window >= all {
                    return None;
                }
                if !self.core.back_pages(self.window, self.window.saturating_mul(2).min(all)) {
                    self.short = Short::OfDisk;
                    return None;
                }
                // All of the window was seen, so the pages beyond it come next, and then it once more.
                self.page = self.window;
                self.window = self.window.saturating_mul(2).min(all);
                self.looked_at = 0;
                self.core.segment.memory().u32(layout::PAGE_WINDOW).fetch_max(self.window, Ordering::Relaxed);
            }
            if self.page >= self.window {
                self.page = 0;
            }
            let page = self.page;
            self.page += 1;
            self.looked_at += 1;
            if self.core.take_page(page, self.word) {
                return Some(page);
            }
        }
    }

    fn remember(&self) {
        self.local.page.set(u64::from(self.page));
    }
}
