//! The first bytes of a segment: what it is, for whom, and how large. Written once, before anybody else can
//! see the segment, and copied to private memory by everyone who opens it, never read again.

use crate::errors::OpenError;
use crate::liveness;

/// Bytes of the header; the last four are the checksum of all before.
pub(crate) const LENGTH: usize = 512;

/// The version of every layout in this crate; it changes with any of them.
const LAYOUT: u32 = 2;
const MAGIC: u64 = u64::from_le_bytes(*b"\x89shmobj\n");
const ORDER: u32 = 0x0102_0304;
const LONGEST_NAME: usize = 128;

/// What kind of object a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Queue = 1,
    Sync = 2,
}

/// The header, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Bytes of the whole segment.
    pub(crate) total: u64,
    pub(crate) participants: u32,
    /// Whether somebody promised to reclaim the dead ([`crate::Queue::reclaim`]).
    pub(crate) supervised: bool,
    /// The process that made it.
    pub(crate) creator: liveness::Identity,
    pub(crate) uuid: [u8; 16],
    pub(crate) name: String,
    /// Numbers of the kind of object, which it checks itself.
    pub(crate) own: [u64; 16],
}

impl Header {
    /// The header as it stands in the segment.
    pub(crate) fn to_bytes(&self) -> [u8; LENGTH] {
        let mut out = Vec::with_capacity(LENGTH);
        out.extend(MAGIC.to_ne_bytes());
        out.extend(ORDER.to_ne_bytes());
        out.extend(LAYOUT.to_ne_bytes());
        out.extend((self.kind as u32).to_ne_bytes());
        out.extend(u32::from(self.supervised).to_ne_bytes());
        out.extend(self.total.to_ne_bytes());
        out.extend(self.participants.to_ne_bytes());
        out.extend(self.creator.pid.to_ne_bytes());
        out.extend(self.creator.mark.to_ne_bytes());
        let name = shortened(&self.name);
        out.extend((name.len() as u32).to_ne_bytes());
        out.extend(liveness::pid_namespace().to_ne_bytes());
        out.extend(self.uuid);
        for number in self.own {
            out.extend(number.to_ne_bytes());
        }
        out.extend(name.as_bytes());
        out.resize(LENGTH - 4, 0);
        out.extend(crc32c::crc32c(&out).to_ne_bytes());
        out.try_into().expect("exactly the length of a header")
    }

    /// Reads what stands in a segment of `found` bytes.
    ///
    /// # Errors
    /// The first thing that is wrong, from the most basic on.
    pub(crate) fn read(bytes: &[u8; LENGTH], found: u64, kind: Kind) -> Result<Self, OpenError> {
        let mut reader = Reader { bytes, at: 0 };
        let magic = reader.u64();
        let order = reader.u32();
        if magic == MAGIC.swap_bytes() && order == ORDER.swap_bytes() {
            return Err(OpenError::ByteOrder);
        }
        if magic != MAGIC || order != ORDER {
            return Err(OpenError::NotOurs);
        }
        let layout = reader.u32();
        if layout != LAYOUT {
            return Err(OpenError::Version(layout));
        }
        let sum = u32::from_ne_bytes(bytes[LENGTH - 4..].try_into().expect("four bytes"));
        if crc32c::crc32c(&bytes[..LENGTH - 4]) != sum {
            return Err(OpenError::CorruptHeader);
        }
        if reader.u32() != kind as u32 {
            return Err(OpenError::WrongKind);
        }
        let supervised = match reader.u32() {
            0 => false,
            1 => true,
            _ => return Err(OpenError::CorruptHeader),
        };
        let total = reader.u64();
        if found < total {
            return Err(OpenError::Truncated { expected: total, found });
        }
        if found > total {
            return Err(OpenError::TooLong { expected: total, found });
        }
        let participants = reader.u32();
        let creator = liveness::Identity { pid: reader.u32(), mark: reader.u32() };
        let name_length = reader.u32() as usize;
        let namespace = reader.u64();
        let uuid = reader.take::<16>();
        let own = std::array::from_fn(|_| reader.u64());
        if name_length > LONGEST_NAME || participants == 0 || participants > crate::participants::MOST {
            return Err(OpenError::CorruptHeader);
        }
        let name = &bytes[reader.at..reader.at + name_length];
        let name = String::from_utf8(name.to_vec()).map_err(|_| OpenError::CorruptHeader)?;
        let here = liveness::pid_namespace();
        if namespace != 0 && here != 0 && namespace != here {
            return Err(OpenError::PidNamespace);
        }
        Ok(Self { kind, total, participants, supervised, creator, uuid, name, own })
    }
}

/// A name cut to what fits, at a character's edge.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

struct Reader<'a> {
    bytes: &'a [u8; LENGTH],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let out = self.bytes[self.at..self.at + N].try_into().expect("the array is as long as the slice");
        self.at += N;
        out
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take())
    }
}
