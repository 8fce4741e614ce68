//! What a child is given, on its way: JSON in its environment, and descriptors that it inherits.
//!
//! Queues and families are memory without a name in the file system; a child that inherits a descriptor of it can open
//! it whatever has become of its parent. Each travels with the random bytes that tell it from every other, so that a
//! descriptor which means something else by now is noticed.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::queue::{BytesQueue, Queue};

/// The variable that says what this process is as a child: [`Birth`] as JSON.
pub(super) const BIRTH: &str = "SUPERVISOR_CHILD";
/// The variable that holds the pid which `BIRTH` is about: what that process starts inherits both, and is not it.
pub(super) const BIRTH_PID: &str = "SUPERVISOR_CHILD_PID";
/// The variables of `args` and `kwargs`, the same for the children of a program as for workers of a run.
pub(super) const ARGS: &str = "SUPERVISOR_ARGS";
pub(super) const KWARGS: &str = "SUPERVISOR_KWARGS";

/// What a child is told of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Birth {
    pub name: String,
    /// Which child of which child it is: `[2, 1]` is the first child of the second one.
    pub line: Vec<u32>,
    pub daemon: bool,
    pub parent: ParentTold,
    pub passed: Vec<Passed>,
}

/// What a child is told of its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ParentTold {
    pub name: String,
    pub pid: u32,
    /// The number of an inherited pidfd of it.
    pub pidfd: i32,
}

/// Something that a child can open by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Passed {
    pub name: String,
    pub kind: Kind,
    /// The number of an inherited descriptor of it.
    pub fd: i32,
    /// What tells it from every other: of memory its uuid, of any other descriptor its file.
    pub uuid: String,
    /// What it is called in its family.
    pub label: String,
}

/// What can be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Queue,
    Family,
    Lock,
    RLock,
    Semaphore,
    Event,
    Barrier,
    Condition,
    Value,
    Array,
    Descriptor,
}

impl Kind {
    /// Names are told apart within these.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Family => "family",
            Kind::Lock => "lock",
            Kind::RLock => "recursive lock",
            Kind::Semaphore => "semaphore",
            Kind::Event => "event",
            Kind::Barrier => "barrier",
            Kind::Condition => "condition",
            Kind::Value => "value",
            Kind::Array => "array",
            Kind::Descriptor => "descriptor",
        }
    }
}

/// What is to be passed, with descriptors of its own.
#[derive(Debug, Default)]
pub(super) struct Luggage {
    pub passed: Vec<Passed>,
    pub held: Vec<Arc<OwnedFd>>,
}

impl Luggage {
    /// Adds something. The memory that several lie in is passed once.
    pub fn add(
        &mut self,
        (kind, name): (Kind, &str),
        label: &str,
        memory: BorrowedFd,
        uuid: String,
    ) -> io::Result<()> {
        if self.passed.iter().any(|one| one.kind == kind && one.name == name) {
            return Err(io::Error::other(format!("there are two {}s of this name", kind.word())));
        }
        let fd = match self.passed.iter().find(|one| one.uuid == uuid) {
            Some(known) => known.fd,
            None => {
                let copy = memory.try_clone_to_owned()?;
                let number = copy.as_raw_fd();
                self.held.push(Arc::new(copy));
                number
            }
        };
        self.passed.push(Passed { name: name.to_owned(), kind, fd, uuid, label: label.to_owned() });
        Ok(())
    }
}

/// The file behind a descriptor, as long as that is open.
pub(super) fn file_of(fd: BorrowedFd) -> io::Result<String> {
    let about = nix::sys::stat::fstat(fd)?;
    Ok(format!("{:x}:{:x}", about.st_dev, about.st_ino))
}

pub(super) fn hex(uuid: [u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What has a queue that a child can be given: [`ipc::Queue`], [`Queue`], [`BytesQueue`].
pub trait SharesQueue {
    /// The queue itself.
    fn shared_queue(&self) -> &ipc::Queue;
}

impl SharesQueue for ipc::Queue {
    fn shared_queue(&self) -> &ipc::Queue {
        self
    }
}

impl SharesQueue for BytesQueue {
    fn shared_queue(&self) -> &ipc::Queue {
        self.inner()
    }
}

impl<T> SharesQueue for Queue<T> {
    fn shared_queue(&self) -> &ipc::Queue {
        self.inner()
    }
}

impl Luggage {
    pub fn add_queue(&mut self, name: &str, queue: &ipc::Queue) -> io::Result<()> {
        self.add((Kind::Queue, name), "", queue.as_fd(), hex(queue.uuid()))
    }

    pub fn add_descriptor(&mut self, name: &str, fd: BorrowedFd) -> io::Result<()> {
        // Two may be of one file and differ in how it was opened.
        let file = format!("{} {}", file_of(fd)?, self.held.len());
        self.add((Kind::Descriptor, name), "", fd, file)
    }

    pub fn add_of_family(
        &mut self,
        named: (Kind, &str),
        label: &str,
        family: &ipc::sync::Family,
    ) -> io::Result<()> {
        self.add(named, label, family.as_fd(), hex(family.uuid()))
    }
}

/// Why something that a child was to be given cannot be used.
#[derive(Debug)]
pub enum PassedError {
    /// Nothing of this kind was passed under this name.
    Unknown {
        /// `queue`, `lock`, …
        kind: &'static str,
        /// The name.
        name: String,
        /// The names there are of this kind.
        known: Vec<String>,
    },
    /// The descriptor was not inherited, or is another one by now: a program in between closed it.
    Gone {
        /// The name.
        name: String,
    },
    /// Its memory cannot be opened.
    Open {
        /// The name.
        name: String,
        /// Why.
        why: ipc::OpenError,
    },
}

impl fmt::Display for PassedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PassedError::Unknown { kind, name, known } if known.is_empty() => {
                write!(f, "this process was given no {kind} {name:?}, nor any other")
            }
            PassedError::Unknown { kind, name, known } => {
                write!(f, "this process was given no {kind} {name:?}; it has {}", known.join(", "))
            }
            PassedError::Gone { name } => {
                write!(
                    f,
                    "{name:?} was passed, but its descriptor is not here: a program in between closed it"
                )
            }
            PassedError::Open { name, why } => write!(f, "{name:?} cannot be opened: {why}"),
        }
    }
}

impl std::error::Error for PassedError {}
