//! The collector: what a worker prints goes into a queue, a message a line.
//!
//! It reads, puts, and reads on: while the queue is full it waits, the pipe fills, and the worker waits in its write. The
//! last line is a message also without a newline. A line is safe when it is in the queue; what a killed collector had
//! read and not put is lost, at most [`PIECE_BYTES`] and one line.

use std::fs::File;
use std::io::{self, Read};

use ipc::{PutError, PutManyError};

use super::{Post, say};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// So much of a line that is not taken is shown.
const SHOWN_BYTES: usize = 60;

/// Collects until nobody can write into the pipe any more, or the queue is closed.
pub(super) fn collect(post: Post) -> Result<(), String> {
    let Post { name, queue, pipe, .. } = post;
    let mut begun = Begun { most: queue.max_message(), bytes: Vec::new(), length: 0 };
    let collector = Collector { name, queue };
    let mut pipe = File::from(pipe);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match pipe.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("the worker's output cannot be read: {error}")),
        };
        let Some(first) = memchr::memchr(b'\n', &piece[..count]) else {
            begun.add(&piece[..count]);
            continue;
        };
        begun.add(&piece[..first]);
        let rest = &piece[first + 1..count];
        let (whole, open) = rest.split_at(memchr::memrchr(b'\n', rest).map_or(0, |last| last + 1));
        if !collector.put_begun(&mut begun)? || !collector.put_lines(whole)? {
            return Ok(());
        }
        begun.add(open);
    }
    if begun.length > 0 {
        collector.put_begun(&mut begun)?;
    }
    Ok(())
}

/// A line whose end has not been read.
struct Begun {
    /// What the queue takes at most. Of a longer line only the beginning is kept, to be shown.
    most: u64,
    bytes: Vec<u8>,
    length: u64,
}

impl Begun {
    fn add(&mut self, more: &[u8]) {
        self.length += more.len() as u64;
        if self.length <= self.most {
            self.bytes.extend_from_slice(more);
        } else if self.bytes.len() < SHOWN_BYTES {
            let room = (SHOWN_BYTES - self.bytes.len()).min(more.len());
            self.bytes.extend_from_slice(&more[..room]);
        } else {
            self.bytes.truncate(SHOWN_BYTES);
        }
    }
}

struct Collector {
    name: String,
    queue: ipc::Queue,
}

impl Collector {
    /// Puts the line that has come to its end. `false`: the queue is closed, and takes no more.
    fn put_begun(&self, begun: &mut Begun) -> Result<bool, String> {
        let open = if begun.length > begun.most {
            self.leave_out(&begun.bytes, begun.length, begun.most);
            true
        } else {
            self.put(&[&begun.bytes])?
        };
        begun.bytes.clear();
        begun.bytes.shrink_to(PIECE_BYTES);
        begun.length = 0;
        Ok(open)
    }

    /// Puts whole lines, each with its newline.
    fn put_lines(&self, bytes: &[u8]) -> Result<bool, String> {
        let Some(bytes) = bytes.strip_suffix(b"\n") else { return Ok(true) };
        self.put(&bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>())
    }

    fn put(&self, mut lines: &[&[u8]]) -> Result<bool, String> {
        loop {
            match self.queue.put_many(lines) {
                Ok(()) => return Ok(true),
                Err(PutManyError { error: PutError::Closed, .. }) => {
                    // The pipe is closed with this process: the worker learns it as it would from any other reader.
                    say(&format!("queue {} is closed; nothing more is taken from this worker", self.name));
                    return Ok(false);
                }
                Err(PutManyError { put, error: PutError::TooLarge { length, limit } }) => {
                    self.leave_out(lines[put], length, limit);
                    lines = &lines[put + 1..];
                }
                Err(PutManyError { error, .. }) => return Err(error.to_string()),
            }
        }
    }

    fn leave_out(&self, line: &[u8], length: u64, limit: u64) {
        let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]);
        say(&format!(
            "a line of {length} bytes is left out, queue {} takes at most {limit}: {shown}…",
            self.name
        ));
    }
}
