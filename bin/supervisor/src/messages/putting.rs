//! From an argument or standard input into a queue.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use control::api::ErrorCode;
use ipc::PutManyError;

use super::trouble::Trouble;
use super::{Line, Waiting};
use crate::talk::Failure;

/// The longest message that is read from standard input; the queue's own limit may be lower.
const INPUT_BYTES: usize = 1 << 30;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

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
        io::stdin().lock().take(INPUT_BYTES as u64 + 1).read_to_end(&mut message).map_err(unreadable)?;
        if message.len() > INPUT_BYTES {
            return Err(too_long());
        }
        self.put(&message)
    }

    /// Puts a message a line of standard input, as they come, and tells how many.
    ///
    /// # Errors
    /// Those of [`Line::put_input`]; each says how many were put before.
    pub fn put_lines(&mut self) -> Result<u64, Failure> {
        let mut put = 0;
        match self.put_all_lines(&mut put) {
            Err(Failure::Error(mut error)) => {
                error.message = format!("{}; {put} messages were put before", error.message);
                Err(Failure::Error(error))
            }
            done => done.map(|()| put),
        }
    }

    fn put_all_lines(&mut self, put: &mut u64) -> Result<(), Failure> {
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?);
        let mut buffer = vec![0; PIECE_BYTES];
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                if filled > INPUT_BYTES {
                    return Err(too_long());
                }
                buffer.resize(filled * 2, 0);
            }
            let count = match input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            // What was there before has been looked through.
            let last = memchr::memrchr(b'\n', &buffer[filled..filled + count]).map(|place| filled + place);
            filled += count;
            if let Some(last) = last {
                self.put_many(&lines(&buffer[..=last]), put)?;
                buffer.copy_within(last + 1..filled, 0);
                filled -= last + 1;
            }
        }
        if filled > 0 {
            self.put(&buffer[..filled])?;
            *put += 1;
        }
        Ok(())
    }

    fn put_many(&mut self, lines: &[&[u8]], put: &mut u64) -> Result<(), Failure> {
        if self.waiting == Waiting::ForEver {
            self.watch_the_supervisor();
            return match self.queue.put_many(lines) {
                Ok(()) => {
                    *put += lines.len() as u64;
                    Ok(())
                }
                Err(PutManyError { put: some, error }) => {
                    *put += some as u64;
                    Err(Trouble::from(error).in_putting(&self.name))
                }
            };
        }
        for line in lines {
            self.put(line)?;
            *put += 1;
        }
        Ok(())
    }
}

/// The lines of a text that ends with a newline, without theirs.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut begin = 0;
    let line = |end: usize| {
        let line = &text[begin..end];
        begin = end + 1;
        line
    };
    memchr::memchr_iter(b'\n', text).map(line).collect()
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(ErrorCode::Failed, format!("standard input cannot be read: {error}"))
}

fn too_long() -> Failure {
    Failure::new(ErrorCode::Failed, format!("a message is longer than {INPUT_BYTES} bytes"))
        .hint("--lines puts a message a line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_is_between_newlines() {
        assert_eq!(lines(b"a\n\nb c\r\n\0\n"), [&b"a"[..], b"", b"b c\r", b"\0"]);
        assert!(lines(b"").is_empty());
    }
}
