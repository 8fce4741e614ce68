//! A pair of Unix sockets. Packets keep messages apart for any number of writers and readers; what is larger than a
//! packet can be goes through a stream, between one and one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::{Ends, passed};
use crate::Trouble;
use crate::queue::work::{Get, Put};

/// A packet must fit the socket's buffer, which is at most 212,992 bytes where nobody has raised it.
pub const LARGEST_PACKET: usize = 65_536;

pub fn wire(bytes: usize) -> Result<(OwnedFd, OwnedFd), Trouble> {
    let kind = if bytes <= LARGEST_PACKET { SockType::SeqPacket } else { SockType::Stream };
    Ok(socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

pub struct Socket {
    file: File,
    buffer: Vec<u8>,
}

impl Put for Socket {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        Ok(self.file.write_all(message)?)
    }
}

impl Get for Socket {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        // A packet comes with one read; a stream may need several.
        self.file.read_exact(&mut self.buffer)?;
        look(&self.buffer);
        Ok(())
    }
}

/// The ends, and how long every message is.
pub struct SocketEnds(pub usize);

impl Ends for SocketEnds {
    type Put = Socket;
    type Get = Socket;

    fn put_end(&self, name: &str) -> Result<Socket, Trouble> {
        Ok(Socket { file: passed(&format!("{name}.put"))?.into(), buffer: Vec::new() })
    }

    fn get_end(&self, name: &str) -> Result<Socket, Trouble> {
        Ok(Socket { file: passed(&format!("{name}.get"))?.into(), buffer: vec![0; self.0] })
    }
}
