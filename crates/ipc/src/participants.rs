//! The table of processes that take part in a segment.
//!
//! A participant is a handle of a process: its index in the table is what block words carry as their owner.
//! Joining is one compare-and-swap that writes who it is at the same time, so a process killed while joining
//! either is in the table under its name or is not in it.
//!
//! ```text
//!   Free ─ join ─► Active(identity) ─ leave ─► Free
//!                     └─ found dead ─► Recovering(by) ─ done ─► Free
//!                                         └─ `by` found dead ─► Recovering(another)
//! ```
//!
//! An index is used again only after its recovery has ended, so an owner in a block word never means two.
//!
//! Each entry has 128 bytes. The first word is this module's; the rest belongs to the kind of object (locks
//! keep there what a participant waits for).

use crate::atomic::Ordering;
use crate::errors::{Damage, Fault};
use crate::liveness::{Identity, MARK};
use crate::memory::Memory;

/// Bytes of one entry.
pub(crate) const ENTRY: usize = 128;

/// The most participants a segment can have: owners have 12 bits.
pub(crate) const MOST: u32 = 4095;

/// The index of a participant.
pub(crate) type Index = u32;

/// What an entry says: `state:4 | generation:8 | pid or recoverer:22 | mark:30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Free,
    Active(Identity),
    Recovering(Index),
}

const FREE: u64 = 0;
const ACTIVE: u64 = 1;
const RECOVERING: u64 = 2;

fn decode(word: u64) -> Result<Entry, Damage> {
    let number = (word >> 30) as u32 & 0x3f_ffff;
    match word >> 60 {
        FREE => Ok(Entry::Free),
        ACTIVE => Ok(Entry::Active(Identity { pid: number, mark: word as u32 & MARK })),
        RECOVERING if number < MOST => Ok(Entry::Recovering(number)),
        _ => Err(Damage::Participant),
    }
}

fn encode(before: u64, entry: Entry) -> u64 {
    let generation = (before >> 52 & 0xff) << 52;
    match entry {
        Entry::Free => FREE << 60 | (generation.wrapping_add(1 << 52) & 0xff << 52),
        Entry::Active(who) => {
            ACTIVE << 60 | generation | u64::from(who.pid & 0x3f_ffff) << 30 | u64::from(who.mark & MARK)
        }
        Entry::Recovering(by) => RECOVERING << 60 | generation | u64::from(by) << 30,
    }
}

/// The table inside a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    memory: &'a Memory,
    offset: usize,
    count: u32,
    /// Where the highest index ever used, plus one, is kept; scans stop there.
    reach: usize,
}

impl<'a> Table<'a> {
    pub(crate) fn new(memory: &'a Memory, offset: usize, count: u32, reach: usize) -> Self {
        Self { memory, offset, count, reach }
    }

    fn word(&self, index: Index) -> &'a crate::atomic::AtomicU64 {
        self.memory.u64(self.offset + index as usize * ENTRY)
    }

    /// How many entries a scan must look at.
    pub(crate) fn reach(&self) -> u32 {
        self.memory.u32(self.reach).load(Ordering::Acquire).min(self.count)
    }

    /// Takes a free entry for `who`.
    ///
    /// # Errors
    /// [`Fault::Crowded`] when there is none.
    pub(crate) fn join(&self, who: Identity) -> Result<Index, Fault> {
        for index in 0..self.count {
            let word = self.word(index);
            let before = word.load(Ordering::Acquire);
            if decode(before)? != Entry::Free {
                continue;
            }
            // The reach goes up first: whoever is in the table is then found by every scan.
            self.memory.u32(self.reach).fetch_max(index + 1, Ordering::AcqRel);
            let after = encode(before, Entry::Active(who));
            if word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(index);
            }
        }
        Err(Fault::Crowded)
    }

    /// Gives an entry back, if it is still `who`'s.
    pub(crate) fn leave(&self, index: Index, who: Identity) {
        let word = self.word(index);
        let before = word.load(Ordering::Acquire);
        if decode(before) == Ok(Entry::Active(who)) {
            let _ = word.compare_exchange(
                before,
                encode(before, Entry::Free),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// Puts `me` in the place of `dead`. Only one caller succeeds; all that carries the index is then its own.
    pub(crate) fn inherit(&self, index: Index, dead: Identity, me: Identity) -> bool {
        let word = self.word(index);
        let before = word.load(Ordering::Acquire);
        let after = encode(before, Entry::Active(me));
        decode(before) == Ok(Entry::Active(dead))
            && word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// What stands at `index` now.
    ///
    /// # Errors
    /// [`Damage::Participant`] when that is impossible, or the index is: it may have come out of shared memory.
    pub(crate) fn entry(&self, index: Index) -> Result<Entry, Damage> {
        if index >= self.count {
            return Err(Damage::Participant);
        }
        decode(self.word(index).load(Ordering::Acquire))
    }

    /// Takes the recovery of `index` upon `by`, if `expected` still stands there. Only one caller succeeds.
    pub(crate) fn begin_recovery(&self, index: Index, expected: Entry, by: Index) -> bool {
        let word = self.word(index);
        let before = word.load(Ordering::Acquire);
        decode(before) == Ok(expected)
            && word
                .compare_exchange(
                    before,
                    encode(before, Entry::Recovering(by)),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Makes every entry free, whatever stands there. Only for who is alone.
    pub(crate) fn clear(&self) {
        (0..self.count).for_each(|index| self.word(index).store(FREE, Ordering::Release));
        self.memory.u32(self.reach).store(0, Ordering::Release);
    }

    /// Ends the recovery that `by` had taken upon itself; the index may then be used again.
    pub(crate) fn end_recovery(&self, index: Index, by: Index) {
        let word = self.word(index);
        let before = word.load(Ordering::Acquire);
        if decode(before) == Ok(Entry::Recovering(by)) {
            let _ = word.compare_exchange(
                before,
                encode(before, Entry::Free),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }
}
