//! The objects of a family: those it was made with, and those that were defined since.
//!
//! ```text
//!   directory    what there was at first, checked against a sum in the header
//!   cells        256 bytes each:  sum u32 | kind u8, length u8, number i64, name
//!   defined u32  how many cells are written; goes up by one when one more is
//! ```
//!
//! A cell is written before it is counted and never again, so a copy of it is good for ever. Numbers go on where
//! those of the directory end: whoever waits for what was defined later is seen by the same walk along who waits
//! for whom.

use std::sync::{OnceLock, PoisonError};

use crate::atomic::{AtomicU32, Ordering};
use crate::memory::Memory;
use crate::segment;
use crate::sync::directory::{self, CELL, Entry, SPARE, What};
use crate::sync::errors::DefineError;
use crate::sync::inner::Core;
use crate::sync::options;
use crate::sync::semaphore;

/// Where the number of written cells is kept.
const DEFINED: usize = segment::OBJECT + 64;

/// What a process knows of a family's objects.
#[derive(Debug)]
pub(crate) struct Objects {
    first: Vec<Entry>,
    since: Box<[OnceLock<Entry>]>,
}

impl Objects {
    pub(crate) fn new(first: Vec<Entry>, spare: u32) -> Self {
        Self { first, since: (0..spare).map(|_| OnceLock::new()).collect() }
    }

    /// How many there may come to be.
    pub(crate) fn most(&self) -> usize {
        self.first.len() + self.since.len()
    }
}

impl Core {
    fn defined(&self) -> &AtomicU32 {
        self.u32(DEFINED)
    }

    /// How many objects there are now.
    pub(crate) fn object_reach(&self) -> u32 {
        let since = (self.defined().load(Ordering::Acquire) as usize).min(self.objects.since.len());
        (self.objects.first.len() + since) as u32
    }

    /// The object of this number; none where there is none, or its cell makes no sense.
    pub(crate) fn entry(&self, number: u32) -> Option<&Entry> {
        let number = number as usize;
        let Some(cell) = number.checked_sub(self.objects.first.len()) else {
            return self.objects.first.get(number);
        };
        let known = self.objects.since.get(cell)?;
        if let Some(entry) = known.get() {
            return Some(entry);
        }
        if number >= self.object_reach() as usize {
            return None;
        }
        let entry = self.read_cell(cell)?;
        Some(known.get_or_init(|| entry))
    }

    /// All objects there are, with their numbers.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0..self.object_reach()).filter_map(|number| Some((number, self.entry(number)?)))
    }

    /// Defines one more object; answers its number.
    ///
    /// # Errors
    /// See [`DefineError`].
    pub(crate) fn define(&self, entry: Entry) -> Result<u32, DefineError> {
        self.check()?;
        options::check(std::slice::from_ref(&entry)).map_err(DefineError::of)?;
        if entry.bytes() > SPARE {
            return Err(DefineError::Options("an array that is defined later has at most 512 numbers"));
        }
        let _alone = self.defining.lock().unwrap_or_else(PoisonError::into_inner);
        let is_like = |other: &Entry| other.what.family() == entry.what.family() && other.name == entry.name;
        if self.objects().any(|(_, other)| is_like(other)) {
            return Err(DefineError::Exists);
        }
        let cell = self.defined().load(Ordering::Acquire);
        if cell as usize >= self.objects.since.len() {
            return Err(DefineError::Full(self.objects.since.len() as u32));
        }
        let number = self.objects.first.len() as u32 + cell;
        // Its room is as it was made, all zero: nothing was there before.
        prepare(self.segment.memory(), &entry, self.place(number));
        let bytes = directory::to_bytes(std::slice::from_ref(&entry));
        let at = self.layout.cells + cell as usize * CELL;
        self.segment.memory().write(at + 4, &bytes);
        self.u32(at).store(crc32c::crc32c(&bytes), Ordering::Relaxed);
        self.defined().store(cell + 1, Ordering::Release);
        Ok(number)
    }

    fn read_cell(&self, cell: usize) -> Option<Entry> {
        let at = self.layout.cells + cell * CELL;
        let mut bytes = Vec::new();
        self.segment.memory().append_to(&mut bytes, at + 4, CELL - 4);
        let length = directory::HEAD + usize::from(*bytes.get(1)?);
        let bytes = bytes.get(..length)?;
        if crc32c::crc32c(bytes) != self.u32(at).load(Ordering::Relaxed) {
            return None;
        }
        directory::from_bytes(bytes)?.pop().filter(|entry| entry.bytes() <= SPARE)
    }
}

/// Makes zeros an object.
pub(crate) fn prepare(memory: &Memory, entry: &Entry, at: usize) {
    match entry.what {
        What::Semaphore | What::BoundedSemaphore => semaphore::format(memory, at, entry),
        What::Value => memory.u64(at).store(entry.number as u64, Ordering::Relaxed),
        _ => {}
    }
}
