//! The streams that are moved: how they are named, and what is kept of each.
//!
//! A thousand workers that print nothing have two thousand of them, so a silent one is kept small: a place in one table,
//! and a share in its launch's [`Writer`]. What only some need, and only at times, is apart.

use super::file::SharedLogFile;
use super::framing::Framer;
use super::line::{Label, Stream, Writer};
use super::pump::Watch;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Names one pipe that was given to the pump; not used again before four thousand million others were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(NonZeroU64);

impl StreamId {
    /// Its place in the table, and how many were named before it; 0 is nobody's.
    fn new(slot: u32, serial: u32) -> Option<StreamId> {
        let serial = NonZeroU64::new(u64::from(serial))?;
        NonZeroU64::new(serial.get() << 32 | u64::from(slot)).map(StreamId)
    }

    pub(super) fn of_number(number: u64) -> Option<StreamId> {
        NonZeroU64::new(number).map(StreamId)
    }

    pub(super) fn number(self) -> u64 {
        self.0.get()
    }

    fn slot(self) -> usize {
        (self.number() & u64::from(u32::MAX)) as usize
    }
}

/// The streams of one launch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams([Option<StreamId>; 2]);

impl Streams {
    /// Adds one.
    ///
    /// # Panics
    /// A launch has two outputs and no more.
    pub fn push(&mut self, stream: StreamId) {
        let place = self.0.iter_mut().find(|place| place.is_none());
        *place.expect("a launch has two outputs") = Some(stream);
    }
}

impl IntoIterator for Streams {
    type Item = StreamId;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<StreamId>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// Gives names.
#[derive(Debug, Default)]
pub(super) struct Names {
    serial: u32,
    free: Vec<u32>,
    slots: u32,
}

impl Names {
    pub fn next(&mut self) -> StreamId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        loop {
            self.serial = self.serial.wrapping_add(1);
            if let Some(name) = StreamId::new(slot, self.serial) {
                return name;
            }
        }
    }

    /// These have ended: others may have their places.
    pub fn give_back(&mut self, ended: impl Iterator<Item = StreamId>) {
        self.free.extend(ended.map(|stream| stream.slot() as u32));
    }
}

/// A pipe, and what is known of who writes into it.
pub(super) struct Source {
    pub id: StreamId,
    pub read: OwnedFd,
    pub writer: Arc<Writer>,
    pub stream: Stream,
    pub file: Option<Arc<SharedLogFile>>,
    /// How many lines it had.
    pub seq: u64,
    /// The last byte was no newline.
    pub mid_line: bool,
    /// The last read was a large one.
    pub flood: bool,
    pub wide: Wide,
    /// What most do not need.
    busy: Option<Box<Busy>>,
}

/// What a stream has while there is something to remember.
#[derive(Default)]
pub(super) struct Busy {
    pub watch: Option<Watch>,
    pub framer: Framer,
    /// Bytes that are still read though the writer is dead: never more than the pipe held, whatever leftovers add.
    pub left: Option<usize>,
}

/// What a stream costs while it says nothing, beside its share of a writer.
#[cfg(test)]
pub(super) const BYTES_OF_SILENT_STREAM: usize = size_of::<Option<Source>>();

/// Whether a pipe was made larger. It is tried once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wide {
    Untried,
    Refused,
    Yes,
}

impl Source {
    pub fn new(
        id: StreamId,
        read: OwnedFd,
        Label { writer, stream }: Label,
        file: Option<Arc<SharedLogFile>>,
        watch: Option<Watch>,
    ) -> Source {
        let busy = watch.map(|watch| Box::new(Busy { watch: Some(watch), ..Busy::default() }));
        let (mid_line, flood, wide) = (false, false, Wide::Untried);
        Source { id, read, writer, stream, file, seq: 0, mid_line, flood, wide, busy }
    }

    pub fn label(&self) -> Label {
        self.writer.label(self.stream)
    }

    /// What there is to remember, to add to it.
    pub fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    /// How much is still read of it, if its writer is dead.
    pub fn left(&self) -> Option<usize> {
        self.busy.as_ref().and_then(|busy| busy.left)
    }

    /// Forgets what there is to remember, if there is nothing.
    pub fn rest(&mut self) {
        let idle =
            |busy: &Busy| busy.watch.is_none() && busy.left.is_none() && busy.framer.is_between_lines();
        if self.busy.as_deref().is_some_and(idle) {
            self.busy = None;
        }
    }
}

/// All sources, each at its place.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Option<Source>>,
    count: usize,
}

impl Table {
    pub fn insert(&mut self, source: Source) {
        let slot = source.id.slot();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        self.count += 1;
        self.slots[slot] = Some(source);
    }

    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut Source> {
        self.slots.get_mut(id.slot())?.as_mut().filter(|source| source.id == id)
    }

    pub fn remove(&mut self, id: StreamId) -> Option<Source> {
        let source = self.slots.get_mut(id.slot())?.take_if(|source| source.id == id)?;
        self.count -= 1;
        if self.count == 0 {
            self.slots = Vec::new();
        }
        Some(source)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: StreamId) -> Source {
        let (read, _) = nix::unistd::pipe().expect("a pipe");
        let writer = Writer { worker: "a".into(), instance: 0, launch: 1, show: "a".into() };
        Source::new(id, read, Arc::new(writer).label(Stream::Stdout), None, None)
    }

    #[test]
    fn a_place_is_used_again_and_its_former_name_finds_nobody() {
        let (mut names, mut table) = (Names::default(), Table::default());
        let (first, second) = (names.next(), names.next());
        table.insert(source(first));
        table.insert(source(second));
        assert!(table.remove(first).is_some());
        names.give_back([first].into_iter());
        let third = names.next();
        assert_eq!(third.slot(), first.slot());
        assert_ne!(third, first);
        table.insert(source(third));
        assert!(table.get_mut(first).is_none() && table.remove(first).is_none());
        assert!(table.get_mut(third).is_some() && table.get_mut(second).is_some());
        assert!(table.remove(second).is_some() && table.remove(third).is_some());
        assert!(table.is_empty() && table.get_mut(third).is_none());
    }

    #[test]
    fn the_count_of_names_goes_round_and_leaves_out_nobodys() {
        let mut names = Names { serial: u32::MAX - 1, ..Names::default() };
        let last = names.next();
        let next = names.next();
        assert!(next.number() >> 32 == 1 && last.number() >> 32 == u64::from(u32::MAX));
        assert_eq!(StreamId::of_number(next.number()), Some(next));
    }
}
