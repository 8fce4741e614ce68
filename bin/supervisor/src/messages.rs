//! Moving messages: between standard input or output, or a command, and a queue in shared memory.

mod tray;
mod trouble;

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use control::Client;
use control::api::{ErrorCode, QueueHandle, Request};

use crate::arguments::Patience;
use crate::reach::call;
use crate::talk::Failure;
use tray::{Tray, give_back};
use trouble::Trouble;

pub use tray::{Form, form};

/// How long to wait for a queue.
#[derive(Clone, Copy, Debug)]
pub enum Waiting {
    /// As long as it takes.
    ForEver,
    /// Each time at most so long.
    AtMost(Duration),
    /// Not at all.
    Never,
}

impl From<Patience> for Waiting {
    fn from(patience: Patience) -> Waiting {
        match patience.timeout {
            _ if patience.nowait => Waiting::Never,
            Some(timeout) => Waiting::AtMost(timeout),
            None => Waiting::ForEver,
        }
    }
}

/// How many messages to take.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// So many; a queue that closes before is an error.
    Exactly(u64),
    /// All, until the queue is closed and drained.
    UntilClosed,
    /// Those that are there now.
    WhatIsThere,
}

/// The longest message that is read from standard input; the queue's own limit may be lower.
const INPUT_BYTES: u64 = 1 << 30;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The longest message that a command also finds in its environment, where space is scarce.
const VARIABLE_BYTES: usize = 64 * 1024;

/// A queue that was opened, and the supervisor it belongs to.
#[derive(Debug)]
pub struct Line {
    name: String,
    queue: ipc::Queue,
    dead_letters: Option<ipc::Queue>,
    waiting: Waiting,
    /// Given to a watcher before the first wait.
    supervisor: Option<Client>,
}

/// Opens the queue.
///
/// # Errors
/// What the supervisor refuses; exit 1 when its memory cannot be opened.
pub fn open(mut client: Client, queue: &str, waiting: Waiting) -> Result<Line, Failure> {
    let handle: QueueHandle = call(&mut client, &Request::QueueHandle { queue: queue.to_owned() })?;
    let segment = |handle: &QueueHandle| {
        ipc::Queue::open(&handle.path).map_err(|error| {
            Failure::new(ErrorCode::Failed, format!("queue {} cannot be opened: {error}", handle.queue))
        })
    };
    Ok(Line {
        name: queue.to_owned(),
        queue: segment(&handle)?,
        dead_letters: handle.dead_letter.as_deref().map(segment).transpose()?,
        waiting,
        supervisor: Some(client),
    })
}

impl Line {
    /// Puts one message.
    ///
    /// # Errors
    /// Exit 6, 7 or 8 when it is full, stays full, or is closed.
    pub fn put(&mut self, message: &[u8]) -> Result<(), Failure> {
        let put = match self.queue.try_put(message).map_err(Trouble::from) {
            Err(Trouble::WouldBlock) => self.wait_for_room(message),
            put => put,
        };
        put.map_err(|trouble| trouble.in_putting(&self.name))
    }

    fn wait_for_room(&mut self, message: &[u8]) -> Result<(), Trouble> {
        match self.waiting {
            Waiting::Never => Err(Trouble::WouldBlock),
            Waiting::AtMost(timeout) => {
                self.watch_the_supervisor();
                Ok(self.queue.put_timeout(message, timeout)?)
            }
            Waiting::ForEver => {
                self.watch_the_supervisor();
                Ok(self.queue.put(message)?)
            }
        }
    }

    /// Puts standard input as one message.
    ///
    /// # Errors
    /// Those of [`Line::put`]; exit 1 when it cannot be read or is too long.
    pub fn put_input(&mut self) -> Result<(), Failure> {
        let mut message = Vec::new();
        io::stdin().lock().take(INPUT_BYTES + 1).read_to_end(&mut message).map_err(unreadable)?;
        if message.len() as u64 > INPUT_BYTES {
            return Err(too_long());
        }
        self.put(&message)
    }

    /// Puts a message a line of standard input, and tells how many.
    ///
    /// # Errors
    /// Those of [`Line::put_input`].
    pub fn put_lines(&mut self) -> Result<u64, Failure> {
        let mut input = io::BufReader::with_capacity(PIECE_BYTES, io::stdin().lock());
        let mut line = Vec::new();
        let mut put = 0;
        loop {
            line.clear();
            (&mut input).take(INPUT_BYTES + 1).read_until(b'\n', &mut line).map_err(unreadable)?;
            if line.is_empty() {
                return Ok(put);
            }
            if line.len() as u64 > INPUT_BYTES {
                return Err(too_long());
            }
            self.put(line.strip_suffix(b"\n").unwrap_or(&line))?;
            put += 1;
        }
    }

    /// Takes messages, prints them, and acknowledges each once its bytes are written; what could not be written is
    /// given back.
    ///
    /// # Errors
    /// Exit 6, 7 or 8 when it is empty, stays empty, or is closed before there were enough.
    pub fn get(mut self, amount: Amount, form: Form) -> Result<ExitCode, Failure> {
        let mut tray = Tray::new(self.queue.clone(), self.dead_letters.clone());
        let mut taken = 0;
        loop {
            if matches!(amount, Amount::Exactly(wanted) if taken >= wanted) {
                tray.hand_out()?;
                return Ok(ExitCode::SUCCESS);
            }
            let lease = match self.queue.try_lease() {
                // What was taken goes out before anybody waits.
                Err(ipc::TryGetError::Empty) => {
                    tray.hand_out()?;
                    if matches!(amount, Amount::WhatIsThere) {
                        return Ok(ExitCode::SUCCESS);
                    }
                    self.wait_for_one()
                }
                lease => lease.map_err(Trouble::from),
            };
            match lease {
                Ok(lease) => tray.add(lease, form)?,
                Err(trouble) => {
                    tray.hand_out()?;
                    return match (trouble, amount) {
                        (Trouble::Closed, Amount::UntilClosed | Amount::WhatIsThere) => Ok(ExitCode::SUCCESS),
                        (trouble, _) => Err(trouble.in_taking(&self.name)),
                    };
                }
            }
            taken += 1;
        }
    }

    fn wait_for_one(&mut self) -> Result<ipc::Lease, Trouble> {
        match self.waiting {
            Waiting::Never => Err(Trouble::WouldBlock),
            Waiting::AtMost(timeout) => {
                self.watch_the_supervisor();
                Ok(self.queue.lease_timeout(timeout)?)
            }
            Waiting::ForEver => {
                self.watch_the_supervisor();
                Ok(self.queue.lease()?)
            }
        }
    }

    /// Prints the next message and leaves it where it is.
    ///
    /// # Errors
    /// Exit 6 when there is none, 8 when none will ever come.
    pub fn peek(self, form: Form) -> Result<ExitCode, Failure> {
        // Asked before: what is empty and only then closed may have got a message in between.
        let closed = self.queue.is_closed();
        match self.queue.peek() {
            Ok(Some(message)) => {
                tray::print(&message, form)?;
                Ok(ExitCode::SUCCESS)
            }
            Ok(None) if closed => Err(Trouble::Closed.in_taking(&self.name)),
            Ok(None) => Err(Trouble::WouldBlock.in_taking(&self.name)),
            Err(fault) => Err(Trouble::Other(fault.to_string()).in_taking(&self.name)),
        }
    }

    /// Runs `command` for every message, `jobs` at a time, until the queue is closed and drained.
    ///
    /// # Errors
    /// Exit 1 when the command cannot be started.
    pub fn each(mut self, jobs: u16, command: &[OsString]) -> Result<ExitCode, Failure> {
        self.watch_the_supervisor();
        let line = Arc::new(self);
        let (report, reports) = mpsc::channel();
        for _ in 0..jobs {
            let (line, command, report) = (Arc::clone(&line), command.to_vec(), report.clone());
            thread::spawn(move || {
                // The first failure ends the program; those of the others then have no listener.
                let _ = report.send(line.serve(&command));
            });
        }
        drop(report);
        reports.iter().find(Result::is_err).unwrap_or(Ok(())).map(|()| ExitCode::SUCCESS)
    }

    fn serve(&self, command: &[OsString]) -> Result<(), Failure> {
        loop {
            let lease = match self.queue.lease().map_err(Trouble::from) {
                Ok(lease) => lease,
                Err(Trouble::Closed) => return Ok(()),
                Err(trouble) => return Err(trouble.in_taking(&self.name)),
            };
            let done = process(command, lease.bytes());
            match done {
                Ok(true) => {
                    lease.ack();
                }
                Ok(false) | Err(_) => give_back(lease, &self.queue, self.dead_letters.as_ref()),
            }
            if let Err(error) = done {
                let program = command[0].display();
                return Err(Failure::new(ErrorCode::Failed, format!("{program} cannot be run: {error}")));
            }
        }
    }

    /// From now on, if the supervisor goes away, waiting ends at once. But not when the queue is closed: then nobody
    /// waits any more, and what is left can still be taken.
    fn watch_the_supervisor(&mut self) {
        let Some(supervisor) = self.supervisor.take() else {
            return;
        };
        let gone = Arc::new(AtomicBool::new(false));
        self.queue.set_interrupt(Arc::clone(&gone));
        let queue = self.queue.clone();
        thread::spawn(move || {
            supervisor.outlast();
            if !queue.is_closed() {
                gone.store(true, Ordering::SeqCst);
                queue.wake_me();
            }
        });
    }
}

/// Whether the command took the message, that is: exited with 0.
fn process(command: &[OsString], message: &[u8]) -> io::Result<bool> {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).stdin(Stdio::piped()).env_remove("SUPERVISOR_MESSAGE");
    if let Ok(text) = std::str::from_utf8(message)
        && text.len() < VARIABLE_BYTES
        && !text.contains('\0')
    {
        process.env("SUPERVISOR_MESSAGE", text);
    }
    let mut child = process.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A command need not read its input; whether it took the message is said by its exit code.
        let _ = input.write_all(message);
    }
    Ok(child.wait()?.success())
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(ErrorCode::Failed, format!("standard input cannot be read: {error}"))
}

fn too_long() -> Failure {
    Failure::new(ErrorCode::Failed, format!("a message is longer than {INPUT_BYTES} bytes"))
        .hint("--lines puts a message a line")
}
