//! What can go wrong, a small enum for each operation.

use std::fmt;
use std::io;

/// What was found wrong in shared memory. Once found, the object refuses everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A place in a ring holds what no operation can have written there.
    Ring,
    /// A block number points outside the blocks.
    Block,
    /// A message claims a length it cannot have.
    Length,
    /// The pages of a large message do not hang together.
    Chain,
    /// A message's checksum does not fit its bytes.
    Checksum,
    /// A participant's word holds what no operation can have written there.
    Participant,
    /// The file was cut short while in use, or its disk is full.
    Cut,
    /// A lock, semaphore, condition or barrier holds what no operation can have written there.
    Sync,
    /// The disk did not take what a durable queue gave it.
    Disk,
    /// Found by another process, which left a reason this version does not know.
    Unknown,
}

impl Damage {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Ring => 1,
            Self::Block => 2,
            Self::Length => 3,
            Self::Chain => 4,
            Self::Checksum => 5,
            Self::Participant => 6,
            Self::Cut => 7,
            Self::Sync => 8,
            Self::Disk => 9,
            Self::Unknown => u32::MAX,
        }
    }

    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Ring,
            2 => Self::Block,
            3 => Self::Length,
            4 => Self::Chain,
            5 => Self::Checksum,
            6 => Self::Participant,
            7 => Self::Cut,
            8 => Self::Sync,
            9 => Self::Disk,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "a ring slot is impossible",
            Self::Block => "a block number is out of range",
            Self::Length => "a message length is impossible",
            Self::Chain => "the pages of a message do not hang together",
            Self::Checksum => "a message does not fit its checksum",
            Self::Participant => "a participant's entry is impossible",
            Self::Cut => "the file was cut short while in use, or its disk is full",
            Self::Sync => "the word of a lock, semaphore, condition or barrier is impossible",
            Self::Disk => "the disk failed to keep what was written",
            Self::Unknown => "another process found it damaged",
        })
    }
}

/// Why an object cannot be used at all, whatever is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its shared memory is damaged. Make a new one.
    Corrupt(Damage),
    /// Every participant's place is taken by a living process.
    Crowded,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(damage) => write!(f, "corrupt: {damage}"),
            Self::Crowded => f.write_str("too many participants: every place is taken by a living process"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Corrupt(damage)
    }
}

/// Why an object could not be made or opened.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused; the error says what.
    System(io::Error),
    /// Something stands at this path already.
    Exists,
    /// The path is a symbolic link, which is not followed.
    Symlink,
    /// It is not a file.
    NotAFile,
    /// It belongs to another user, whose id this is.
    Foreign(u32),
    /// It is shorter than it says, or too short to say anything.
    Truncated {
        /// Bytes it should have; zero when it is too short to tell.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// It is longer than it says.
    TooLong {
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// It is no shared object of this crate.
    NotOurs,
    /// It is another kind of object than asked for.
    WrongKind,
    /// It was written by another version; this is its number.
    Version(u32),
    /// It was written on a machine of the other byte order.
    ByteOrder,
    /// Its header does not fit its checksum, or says impossible things.
    CorruptHeader,
    /// It was made in another pid namespace, where pids mean other processes.
    PidNamespace,
    /// The options ask for what cannot be; the words say what.
    Options(&'static str),
    /// It is there, and is not a durable queue.
    NotDurable,
    /// A durable queue that is being set right by another process all the time, or is in use on another machine.
    InUse,
    /// Its file system cannot reserve room for a durable queue.
    CannotReserve,
    /// Something in it is damaged, and it cannot be set right.
    Damaged(Damage),
    /// Messages wait in a durable queue that the new options have no place for.
    DoesNotFit {
        /// How many wait.
        messages: u64,
        /// The option that is too small.
        what: &'static str,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "{error}"),
            Self::Exists => f.write_str("something is there already"),
            Self::Symlink => f.write_str("a symbolic link, which is not followed"),
            Self::NotAFile => f.write_str("not a file"),
            Self::Foreign(uid) => write!(f, "it belongs to another user (uid {uid})"),
            Self::Truncated { expected: 0, found } => write!(f, "truncated: only {found} bytes"),
            Self::Truncated { expected, found } => write!(f, "truncated: {found} bytes of {expected}"),
            Self::TooLong { expected, found } => {
                write!(f, "wrong size: {found} bytes where {expected} belong")
            }
            Self::NotOurs => f.write_str("not a shared object of this program"),
            Self::WrongKind => f.write_str("another kind of shared object"),
            Self::Version(version) => write!(f, "written by another version (layout {version})"),
            Self::ByteOrder => f.write_str("written on a machine of the other byte order"),
            Self::CorruptHeader => f.write_str("its header is corrupt"),
            Self::PidNamespace => f.write_str("made in another pid namespace"),
            Self::Options(what) => f.write_str(what),
            Self::NotDurable => f.write_str("not a durable queue"),
            Self::InUse => f.write_str("in use by others who do not make room, or on another machine"),
            Self::CannotReserve => f.write_str("its file system cannot reserve room (fallocate)"),
            Self::Damaged(damage) => write!(f, "damaged: {damage}"),
            Self::DoesNotFit { messages, what } => {
                write!(f, "{messages} messages wait in it that the new {what} has no place for")
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ELOOP) => Self::Symlink,
            Some(libc::EEXIST) => Self::Exists,
            Some(libc::EISDIR) => Self::NotAFile,
            _ => Self::System(error),
        }
    }
}

/// Why [`Queue::put`](crate::Queue::put) put nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutError {
    /// The queue is closed; no put will ever succeed again.
    Closed,
    /// The message is larger than the queue takes.
    TooLarge {
        /// Bytes of the message.
        length: u64,
        /// Bytes it may have at most.
        limit: u64,
    },
    /// A signal came and the flag of [`Queue::set_interrupt`](crate::Queue::set_interrupt) was up.
    Interrupted,
    /// The disk that the queue's file is on has no room for the message.
    NoRoom,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::TooLarge { length, limit } => {
                write!(f, "too large: {length} bytes where {limit} are allowed")
            }
            Self::Interrupted => f.write_str("interrupted"),
            Self::NoRoom => f.write_str("the disk is full"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for PutError {}

impl From<Fault> for PutError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why [`Queue::try_put`](crate::Queue::try_put) put nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryPutError {
    /// It is full: get one and put again.
    Full,
    /// The queue is closed; no put will ever succeed again.
    Closed,
    /// The message is larger than the queue takes.
    TooLarge {
        /// Bytes of the message.
        length: u64,
        /// Bytes it may have at most.
        limit: u64,
    },
    /// The disk that the queue's file is on has no room for the message.
    NoRoom,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for TryPutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Closed => f.write_str("closed"),
            Self::TooLarge { length, limit } => {
                write!(f, "too large: {length} bytes where {limit} are allowed")
            }
            Self::NoRoom => f.write_str("the disk is full"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for TryPutError {}

impl From<Fault> for TryPutError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why [`Queue::put_timeout`](crate::Queue::put_timeout) put nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutTimeoutError {
    /// The time is over.
    Timeout,
    /// The queue is closed; no put will ever succeed again.
    Closed,
    /// The message is larger than the queue takes.
    TooLarge {
        /// Bytes of the message.
        length: u64,
        /// Bytes it may have at most.
        limit: u64,
    },
    /// A signal came and the flag of [`Queue::set_interrupt`](crate::Queue::set_interrupt) was up.
    Interrupted,
    /// The disk that the queue's file is on has no room for the message.
    NoRoom,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for PutTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            Self::Closed => f.write_str("closed"),
            Self::TooLarge { length, limit } => {
                write!(f, "too large: {length} bytes where {limit} are allowed")
            }
            Self::Interrupted => f.write_str("interrupted"),
            Self::NoRoom => f.write_str("the disk is full"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for PutTimeoutError {}

impl From<Fault> for PutTimeoutError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why [`Queue::get`](crate::Queue::get) and [`Queue::lease`](crate::Queue::lease) got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetError {
    /// The queue is closed and drained; nothing will ever come again.
    Closed,
    /// A signal came and the flag of [`Queue::set_interrupt`](crate::Queue::set_interrupt) was up.
    Interrupted,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for GetError {}

impl From<Fault> for GetError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why [`Queue::try_get`](crate::Queue::try_get) and [`Queue::try_lease`](crate::Queue::try_lease) got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryGetError {
    /// Nothing is there now.
    Empty,
    /// The queue is closed and drained; nothing will ever come again.
    Closed,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Closed => f.write_str("closed"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for TryGetError {}

impl From<Fault> for TryGetError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why [`Queue::get_timeout`](crate::Queue::get_timeout) and [`Queue::lease_timeout`](crate::Queue::lease_timeout) got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetTimeoutError {
    /// The time is over.
    Timeout,
    /// The queue is closed and drained; nothing will ever come again.
    Closed,
    /// A signal came and the flag of [`Queue::set_interrupt`](crate::Queue::set_interrupt) was up.
    Interrupted,
    /// The queue cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for GetTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            Self::Closed => f.write_str("closed"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for GetTimeoutError {}

impl From<Fault> for GetTimeoutError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why [`Queue::put_many`](crate::Queue::put_many) and its like did not put all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutManyError<E = PutError> {
    /// How many were put.
    pub put: usize,
    /// Why the next was not.
    pub error: E,
}

impl<E: fmt::Display> fmt::Display for PutManyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} were put", self.error, self.put)
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for PutManyError<E> {}
