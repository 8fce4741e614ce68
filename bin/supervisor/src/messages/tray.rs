//! Messages on their way to standard output: acknowledged once their bytes are written, given back when they cannot be.

use std::io::{self, IsTerminal, Write};

use serde_json::json;

use crate::talk::Failure;

/// How a message is printed.
#[derive(Clone, Copy, Debug)]
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

/// Messages that are acknowledged together; so many may be delivered again when we are killed.
const BATCH: usize = 256;

/// What was taken and is not written yet.
pub(super) struct Tray {
    from: ipc::Queue,
    dead_letters: Option<ipc::Queue>,
    leases: Vec<ipc::Lease>,
    bytes: Vec<u8>,
}

impl Tray {
    pub(super) fn new(from: ipc::Queue, dead_letters: Option<ipc::Queue>) -> Tray {
        Tray { from, dead_letters, leases: Vec::new(), bytes: Vec::new() }
    }

    /// Adds a message, and hands out what has gathered when it is enough.
    pub(super) fn add(&mut self, lease: ipc::Lease, form: Form) -> Result<(), Failure> {
        lay_out(lease.bytes(), form, &mut self.bytes);
        self.leases.push(lease);
        if self.bytes.len() >= PIECE_BYTES || self.leases.len() >= BATCH { self.hand_out() } else { Ok(()) }
    }

    /// Writes everything and acknowledges it.
    pub(super) fn hand_out(&mut self) -> Result<(), Failure> {
        let written = write_out(&self.bytes);
        self.bytes.clear();
        if written.is_ok() {
            self.leases.drain(..).for_each(ipc::Lease::ack);
        }
        // What is given back is the next to be delivered, so the last comes first.
        for lease in self.leases.drain(..).rev() {
            give_back(lease, &self.from, self.dead_letters.as_ref());
        }
        Ok(written?)
    }
}

/// Gives a message back for another delivery; one that had too many goes where dead letters go.
pub(super) fn give_back(lease: ipc::Lease, from: &ipc::Queue, dead_letters: Option<&ipc::Queue>) {
    lease.nack();
    if let Some(to) = dead_letters {
        // What cannot go there now stays where it is, and goes with the next one.
        let _ = from.forward_dead(to);
    }
}

/// Prints a message that nobody took.
pub(super) fn print(message: &[u8], form: Form) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    lay_out(message, form, &mut bytes);
    Ok(write_out(&bytes)?)
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

fn write_out(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
