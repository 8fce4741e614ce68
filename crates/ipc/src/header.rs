//! The first bytes of a segment: what it is, for whom, and how large. Written before anybody else can see the
//! segment, and copied to private memory by everyone who opens it, never read again. Only a durable segment's is
//! ever written anew, by who holds its file alone.

use std::time::Duration;

use crate::errors::OpenError;
use crate::liveness;
use crate::options::Fsync;

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
    /// The pid namespace in which the creator and the participants have their numbers; zero where not known.
    pub(crate) namespace: u64,
    /// The boot of the machine in which the creator ran; zero where not known.
    pub(crate) boot: u64,
    /// What it promises of the disk; nothing where it is only memory.
    pub(crate) fsync: Option<Fsync>,
    /// Whether all of it was on the disk when the last who used it went away.
    pub(crate) is_settled: bool,
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
        out.extend(self.namespace.to_ne_bytes());
        out.extend(self.boot.to_ne_bytes());
        let (policy, every_ms) = fsync_to_numbers(self.fsync);
        out.extend(policy.to_ne_bytes());
        out.extend(u32::from(self.is_settled).to_ne_bytes());
        out.extend(every_ms.to_ne_bytes());
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
        let boot = reader.u64();
        let policy = reader.u32();
        let is_settled = reader.u32() == 1;
        let fsync = fsync_of_numbers(policy, reader.u64()).ok_or(OpenError::CorruptHeader)?;
        let uuid = reader.take::<16>();
        let own = std::array::from_fn(|_| reader.u64());
        if name_length > LONGEST_NAME || participants == 0 || participants > crate::participants::MOST {
            return Err(OpenError::CorruptHeader);
        }
        let name = &bytes[reader.at..reader.at + name_length];
        let name = String::from_utf8(name.to_vec()).map_err(|_| OpenError::CorruptHeader)?;
        Ok(Self {
            kind,
            total,
            participants,
            supervised,
            creator,
            namespace,
            boot,
            fsync,
            is_settled,
            uuid,
            name,
            own,
        })
    }

    /// Whether pids mean the same processes to us as to those who use the segment.
    ///
    /// # Errors
    /// [`OpenError::PidNamespace`] where they do not.
    pub(crate) fn check_namespace(&self) -> Result<(), OpenError> {
        let here = liveness::pid_namespace();
        if self.namespace != 0 && here != 0 && self.namespace != here {
            return Err(OpenError::PidNamespace);
        }
        Ok(())
    }
}

/// A number for the policy, and milliseconds.
fn fsync_to_numbers(fsync: Option<Fsync>) -> (u32, u64) {
    match fsync {
        None => (0, 0),
        Some(Fsync::Never) => (1, 0),
        Some(Fsync::Interval(every)) => (2, u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
        Some(Fsync::Always) => (3, 0),
    }
}

fn fsync_of_numbers(policy: u32, every_ms: u64) -> Option<Option<Fsync>> {
    match policy {
        0 => Some(None),
        1 => Some(Some(Fsync::Never)),
        2 => Some(Some(Fsync::Interval(Duration::from_millis(every_ms)))),
        3 => Some(Some(Fsync::Always)),
        _ => None,
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
