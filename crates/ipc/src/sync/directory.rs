//! What a family holds and where: the directory that stands in its segment, and the layout that follows from it.

use crate::segment;
use crate::sync::options::MOST_PERMITS;

/// The longest name of an object, in bytes.
pub(crate) const LONGEST_NAME: usize = 200;
/// Bytes of an object's description before its name.
pub(crate) const HEAD: usize = 10;
/// Bytes of the description of an object that was defined later.
pub(crate) const CELL: usize = 256;
/// Bytes of such an object, whatever it is.
pub(crate) const SPARE: usize = OBJECT + MOST_PERMITS as usize * 4;
/// The most objects of one family: their numbers have 14 bits.
pub(crate) const MOST_OBJECTS: usize = (1 << 14) - 1;
/// Bytes of an actor's record.
pub(crate) const ACTOR: usize = 128;
/// Bytes of a participant's label.
pub(crate) const LABEL: usize = 64;
/// Bytes of every object, before its permits or numbers.
pub(crate) const OBJECT: usize = 128;

/// The kinds of primitives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum What {
    Lock = 1,
    RLock = 2,
    Semaphore = 3,
    BoundedSemaphore = 4,
    Event = 5,
    Condition = 6,
    Barrier = 7,
    Value = 8,
    Array = 9,
}

impl What {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Lock,
            2 => Self::RLock,
            3 => Self::Semaphore,
            4 => Self::BoundedSemaphore,
            5 => Self::Event,
            6 => Self::Condition,
            7 => Self::Barrier,
            8 => Self::Value,
            9 => Self::Array,
            _ => return None,
        })
    }

    /// Those that share one set of names are of one family, which this word names.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Self::Lock | Self::RLock => "lock",
            Self::Semaphore | Self::BoundedSemaphore => "semaphore",
            Self::Event => "event",
            Self::Condition => "condition",
            Self::Barrier => "barrier",
            Self::Value => "value",
            Self::Array => "array",
        }
    }
}

/// One object as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) what: What,
    pub(crate) name: String,
    /// Permits, parties, length or first value.
    pub(crate) number: i64,
}

impl Entry {
    /// How many permits it has room for.
    pub(crate) fn permits(&self) -> usize {
        match self.what {
            What::Semaphore => MOST_PERMITS as usize,
            What::BoundedSemaphore => self.number as usize,
            _ => 0,
        }
    }

    /// The room it takes.
    pub(crate) fn bytes(&self) -> usize {
        let more = match self.what {
            What::Array => self.number as usize * 8,
            _ => self.permits() * 4,
        };
        OBJECT + more.next_multiple_of(OBJECT)
    }
}

/// The directory as it stands in the segment.
pub(crate) fn to_bytes(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.push(entry.what as u8);
        out.push(entry.name.len() as u8);
        out.extend(entry.number.to_ne_bytes());
        out.extend(entry.name.as_bytes());
    }
    out
}

/// What [`to_bytes`] wrote; none where the bytes say nothing sensible.
pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let what = What::from_code(head[0])?;
        let number = i64::from_ne_bytes(head[2..].try_into().ok()?);
        let (name, rest) = rest.split_at_checked(usize::from(head[1]))?;
        entries.push(Entry { what, name: String::from_utf8(name.to_vec()).ok()?, number });
        bytes = rest;
    }
    crate::sync::options::check(&entries).ok()?;
    Some(entries)
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) directory: usize,
    pub(crate) labels: usize,
    pub(crate) actors: usize,
    /// How many actors there is room for.
    pub(crate) most_actors: u32,
    /// Where the descriptions of objects that are defined later are.
    pub(crate) cells: usize,
    /// Where each object is, those that are defined later last.
    pub(crate) objects: Vec<usize>,
    pub(crate) total: usize,
}

impl Layout {
    pub(crate) fn of(participants: u32, directory_bytes: usize, entries: &[Entry], spare: u32) -> Self {
        // Eight threads of each process may use locks at once, and a few more where processes are few.
        let most_actors = (participants * 8).clamp(256, 0xfffe);
        let directory = segment::data_offset(participants);
        let labels = (directory + directory_bytes).next_multiple_of(LABEL);
        let actors = (labels + participants as usize * LABEL).next_multiple_of(ACTOR);
        let cells = (actors + most_actors as usize * ACTOR).next_multiple_of(OBJECT);
        let mut at = cells + spare as usize * CELL;
        let mut objects = Vec::with_capacity(entries.len() + spare as usize);
        for bytes in entries.iter().map(Entry::bytes).chain((0..spare).map(|_| SPARE)) {
            objects.push(at);
            at += bytes;
        }
        Self { directory, labels, actors, most_actors, cells, objects, total: at.next_multiple_of(4096) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_back_as_it_was_written_and_nonsense_does_not() {
        let entries = vec![
            Entry { what: What::Lock, name: "ledger".into(), number: 0 },
            Entry { what: What::BoundedSemaphore, name: "gpu".into(), number: 2 },
            Entry { what: What::Value, name: "ledger".into(), number: -7 },
        ];
        let bytes = to_bytes(&entries);
        assert_eq!(from_bytes(&bytes), Some(entries));
        for cut in [1, 5, 11, bytes.len() - 1] {
            assert_eq!(from_bytes(&bytes[..cut]), None, "cut at {cut}");
        }
        let mut unknown = bytes.clone();
        unknown[0] = 77;
        assert_eq!(from_bytes(&unknown), None);
        assert_eq!(from_bytes(&[bytes.clone(), bytes].concat()), None, "every name twice");
    }

    #[test]
    fn objects_do_not_overlap() {
        let entries = vec![
            Entry { what: What::Semaphore, name: "a".into(), number: 0 },
            Entry { what: What::Array, name: "b".into(), number: 17 },
            Entry { what: What::Array, name: "c".into(), number: 0 },
            Entry { what: What::Lock, name: "d".into(), number: 0 },
        ];
        let layout = Layout::of(3, to_bytes(&entries).len(), &entries, 2);
        let ends: Vec<usize> = layout.objects.iter().zip(&entries).map(|(at, e)| at + e.bytes()).collect();
        assert!(layout.objects[1..].iter().zip(&ends).all(|(next, end)| next >= end));
        assert!(layout.objects[0] >= layout.cells + 2 * CELL && layout.cells >= layout.actors + 256 * ACTOR);
        assert_eq!(layout.objects.len(), 6);
        assert!(layout.total >= layout.objects[5] + SPARE);
    }
}
