//! Messages on their way to standard output: acknowledged once their bytes are written, given back when they cannot be.
//!
//! A pipe takes bytes that nobody may ever read. So whoever follows a queue into a pipe begins slowly:
//!
//! ```text
//!   1 message ─ read? ─► 2 ─ read? ─► 4 ─ … ─► a stream: written is acknowledged
//!                 └─ the reader has ended: what it has not read goes back, uncounted
//! ```
//!
//! While it is so, the pipe is made as small as pipes are: it can then be written into exactly when it is empty, which
//! is the event that is waited for; at most for [`READ_WITHIN`], since a reader may have reasons to begin late.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use ipc::Lease;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::talk::Failure;

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its bytes and nothing else.
    Bytes,
    /// Its bytes and a newline.
    Line,
    /// A line of JSON.
    Json,
}

/// The form for people and for programs: a terminal wants its prompt on a line of its own.
pub fn form(lines: bool, json: bool) -> Form {
    match (json, lines || io::stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Line,
        (false, false) => Form::Bytes,
    }
}

/// Bytes that are gathered before they are written together.
const PIECE_BYTES: usize = 64 * 1024;

/// Messages that are written and acknowledged together; so many may be delivered again when we are killed.
const BATCH: usize = 4096;

/// Messages that a slow reader is given at most.
const SLOW_BATCH: usize = 256;

/// How long a reader that has not shown to be quick may take to read what it was given.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// How a reader is treated.
enum Pace {
    /// It is given so many messages, and then waited for; its pipe had so many bytes of room.
    Slow { most: usize, room: c_int },
    /// It is given all there is.
    Stream,
}

/// Standard output.
pub(super) struct Outlet {
    out: File,
    form: Form,
    pace: Pace,
    /// What has been taken and is to be written, and the place of each message in it.
    leases: Vec<Lease>,
    places: Vec<Range<usize>>,
    bytes: Vec<u8>,
    /// How many bytes a message has, about.
    usual: usize,
    /// Messages that were written as lines and are several.
    hidden: u64,
}

impl Outlet {
    /// Standard output; with care for a reader that may end before it has read everything, where there can be one.
    pub fn standard(form: Form, with_care: bool) -> io::Result<Outlet> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let pace = match small(&out).filter(|_| with_care) {
            Some(room) => Pace::Slow { most: 1, room },
            None => Pace::Stream,
        };
        let (leases, places, bytes) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Outlet { out, form, pace, leases, places, bytes, usual: PIECE_BYTES / 16, hidden: 0 })
    }

    /// How many messages may be taken together.
    pub fn room(&self) -> usize {
        match self.pace {
            Pace::Slow { most, .. } => most,
            // About a piece: how large they are is known only when they have been taken.
            Pace::Stream => (PIECE_BYTES / self.usual).clamp(1, BATCH),
        }
    }

    /// Adds messages, and lets them out when they are enough.
    pub fn add(&mut self, leases: Vec<Lease>) -> Result<(), Failure> {
        let before = self.bytes.len();
        for lease in &leases {
            let begin = self.bytes.len();
            lay_out(lease.bytes(), self.form, &mut self.bytes);
            self.places.push(begin..self.bytes.len());
            self.note_hidden(lease.bytes());
        }
        self.usual = ((self.bytes.len() - before) / leases.len().max(1)).max(1);
        self.leases.extend(leases);
        let enough = self.bytes.len() >= PIECE_BYTES || self.leases.len() >= BATCH;
        if enough || matches!(self.pace, Pace::Slow { .. }) { self.let_out() } else { Ok(()) }
    }

    /// Writes what has gathered, and acknowledges what has been written, or read where that is waited for.
    pub fn let_out(&mut self) -> Result<(), Failure> {
        let (written, result) = self.write();
        let result = result.and_then(|()| self.wait_until_read());
        self.bytes.clear();
        self.bytes.shrink_to(2 * PIECE_BYTES);
        let leases = self.leases.drain(..);
        match result {
            Ok(()) => leases.for_each(Lease::ack),
            Err(error) => {
                let leases: Vec<Lease> = leases.collect();
                let unread = if error.kind() == io::ErrorKind::BrokenPipe { self.unread() } else { 0 };
                settle(leases, &self.places, written.saturating_sub(unread));
                return Err(error.into());
            }
        }
        self.places.clear();
        Ok(())
    }

    fn write(&mut self) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < self.bytes.len() {
            match self.out.write(&self.bytes[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Where the reader is not known to be quick: until it has read everything.
    fn wait_until_read(&mut self) -> io::Result<()> {
        let Pace::Slow { most, room } = self.pace else { return Ok(()) };
        if self.leases.is_empty() {
            return Ok(());
        }
        let mut empty = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(READ_WITHIN.as_millis()).unwrap_or(PollTimeout::MAX);
        let heard = loop {
            match poll(&mut empty, timeout) {
                Err(nix::errno::Errno::EINTR) => {}
                heard => break heard?,
            }
        };
        let flags = empty[0].revents().unwrap_or(PollFlags::empty());
        if flags.contains(PollFlags::POLLERR) && self.unread() > 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if heard == 0 || most * 2 > SLOW_BATCH {
            self.pace = Pace::Stream;
            restore(&self.out, room);
        } else {
            self.pace = Pace::Slow { most: most * 2, room };
        }
        Ok(())
    }

    /// Bytes that lie in the pipe and have not been read.
    fn unread(&self) -> usize {
        process::unread(self.out.as_fd()).unwrap_or(0)
    }

    fn note_hidden(&mut self, message: &[u8]) {
        if self.form != Form::Line || memchr::memchr(b'\n', message).is_none() {
            return;
        }
        self.hidden += 1;
        if self.hidden == 1 {
            let lines = memchr::memchr_iter(b'\n', message).count() + 1;
            complain(&format!(
                "a message of {} bytes has newlines inside: as lines it cannot be told from {lines} messages",
                message.len()
            ));
        }
    }

    /// Says how many messages could not be told apart, if there were several.
    pub fn tell_what_lines_hid(&self) {
        if self.hidden > 1 {
            complain(&format!("{} messages had newlines inside", self.hidden));
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // The pipe may be somebody else's too.
        if let Pace::Slow { room, .. } = self.pace {
            restore(&self.out, room);
        }
    }
}

fn complain(what: &str) {
    // Where standard error is closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "supervisor: {what}");
}

/// Makes a pipe as small as pipes are; how large it was. `None`: it is no pipe, or others have written into it.
fn small(out: &File) -> Option<c_int> {
    out.metadata().ok().filter(|facts| facts.file_type().is_fifo())?;
    let room = fcntl(out, FcntlArg::F_GETPIPE_SZ).ok()?;
    fcntl(out, FcntlArg::F_SETPIPE_SZ(1)).ok()?;
    Some(room)
}

fn restore(out: &File, room: c_int) {
    // A small pipe works as well, only slower.
    let _ = fcntl(out, FcntlArg::F_SETPIPE_SZ(room));
}

/// Acknowledges what was read of messages that lie at these places, and gives back what was not, uncounted.
fn settle(leases: Vec<Lease>, places: &[Range<usize>], read: usize) {
    for (lease, place) in leases.into_iter().zip(places) {
        if place.end <= read && !place.is_empty() {
            lease.ack();
        } else {
            lease.put_back();
        }
    }
}

/// Prints a message that nobody took.
pub(super) fn print(message: &[u8], form: Form) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    lay_out(message, form, &mut bytes);
    let mut out = io::stdout().lock();
    out.write_all(&bytes)?;
    Ok(out.flush()?)
}

/// In JSON a message is `{"text": "…"}`, or `{"bytes": […]}` when it is not text.
fn lay_out(message: &[u8], form: Form, bytes: &mut Vec<u8>) {
    match form {
        Form::Bytes => bytes.extend_from_slice(message),
        Form::Line => {
            bytes.extend_from_slice(message);
            bytes.push(b'\n');
        }
        Form::Json => {
            let line = match std::str::from_utf8(message) {
                Ok(text) => json!({"text": text}),
                Err(_) => json!({"bytes": message}),
            };
            bytes.extend_from_slice(line.to_string().as_bytes());
            bytes.push(b'\n');
        }
    }
}
