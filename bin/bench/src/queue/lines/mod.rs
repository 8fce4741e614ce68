//! The kinds of line between processes, each as it is best used for one message after the other.
//!
//! [`Wire`] is a line as the bench makes it; [`Ends`] is how a party, which is another process, opens what it was passed.

pub mod channel;
pub mod crossbeam;
pub mod mq;
pub mod ours;
pub mod ring;
pub mod socket;
pub mod word;

use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use worker::Process;

use super::work::{Get, Put};
use crate::Trouble;

/// The lines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Our queue, by put and get.
    Ours,
    /// Our queue, by put and lease and acknowledgement.
    OursLeased,
    /// Our queue, by batches.
    OursBatched,
    /// crossbeam-channel, between threads of one process.
    Crossbeam,
    /// ipc-channel, bytes.
    Channel,
    /// A pair of Unix sockets: packets, and a stream where packets are too small.
    Socket,
    /// A POSIX message queue.
    Mq,
    /// A ring in shared memory under a robust mutex.
    Ring,
    /// A word in shared memory, and a futex to wait by.
    Futex,
    /// A word in shared memory that is looked at until it changes.
    Spin,
}

impl Kind {
    /// How it is called in the table.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Ours => "queue",
            Kind::OursLeased => "queue, lease and ack",
            Kind::OursBatched => "queue, batches of 64",
            Kind::Crossbeam => "crossbeam-channel, threads",
            Kind::Channel => "ipc-channel bytes",
            Kind::Socket => "unix socket pair",
            Kind::Mq => "POSIX mq",
            Kind::Ring => "ring under robust mutex",
            Kind::Futex => "bare futex",
            Kind::Spin => "bare word, spinning",
        }
    }
}

/// How many messages a line holds: what is given to every kind that can be told.
pub fn capacity(bytes: usize) -> usize {
    if bytes > 65_536 { 16 } else { 1024 }
}

/// How a party opens the ends of the lines that it was passed.
pub trait Ends {
    type Put: Put;
    type Get: Get;

    fn put_end(&self, name: &str) -> Result<Self::Put, Trouble>;
    fn get_end(&self, name: &str) -> Result<Self::Get, Trouble>;
}

/// What a party was passed under this name.
pub fn passed(name: &str) -> Result<OwnedFd, Trouble> {
    worker::current_process().descriptor(name).map_err(Trouble::new)
}

/// A line before anybody uses it.
pub enum Wire {
    /// One descriptor is all there is to it.
    Shared(OwnedFd),
    /// One for those who put, one for those who get.
    Pair(OwnedFd, OwnedFd),
    /// It has a name, which is taken away when this is dropped.
    Mq(mq::Named),
    /// Its ends travel to those who open it.
    Channel(channel::Loose),
}

impl Wire {
    /// Makes one for messages of so many bytes.
    pub fn new(kind: Kind, bytes: usize) -> Result<Wire, Trouble> {
        match kind {
            Kind::Ours | Kind::OursLeased | Kind::OursBatched => ours::wire(bytes).map(Wire::Shared),
            Kind::Channel => channel::Loose::new().map(Wire::Channel),
            Kind::Socket => socket::wire(bytes).map(|(put, get)| Wire::Pair(put, get)),
            Kind::Mq => mq::Named::new(bytes).map(Wire::Mq),
            Kind::Ring => ring::wire(bytes).map(Wire::Shared),
            Kind::Futex | Kind::Spin => word::wire().map(Wire::Shared),
            Kind::Crossbeam => Err(Trouble::new("threads need no wire")),
        }
    }

    /// Says that all who use it have opened it: a name that it had is of no use any more.
    pub fn is_open(&self) {
        if let Wire::Mq(named) = self {
            named.forget();
        }
    }

    /// Passes it to a party under this name.
    pub fn pass(&self, process: Process, name: &str) -> Process {
        match self {
            Wire::Shared(fd) => process.descriptor(name, fd),
            Wire::Pair(put, get) => process
                .descriptor(&format!("{name}.put"), put.as_fd())
                .descriptor(&format!("{name}.get"), get.as_fd()),
            Wire::Mq(named) => process.env(format!("BENCH_{name}"), named.name()),
            Wire::Channel(_) => process,
        }
    }
}

/// The name of a line that has one.
pub fn name_of(name: &str) -> Result<String, Trouble> {
    std::env::var(format!("BENCH_{name}")).map_err(Trouble::new)
}
