//! The console of `run`: every worker's lines on this process's standard output, prefixed, coloured, never out of step with a
//! slow reader.
//!
//! Nothing is dropped for a reader that is slow: at most [`LIMIT`] bytes wait for it, and while they do the pump stops reading.
//! A reader that is gone (EPIPE) turns the console off, and the workers go on.

use super::line::{Ending, Label, Writer};
use super::loss::{Loss, Trouble, Troubles, reason};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::Instant;

/// Bytes that may wait for the console's reader.
pub(super) const LIMIT: usize = 1024 * 1024;

/// With less room than this, nothing more is read from workers.
const LOW: usize = 128 * 1024;

/// A pipe that polls writable takes at least so much without waiting.
const PIPE_PIECE: usize = 4096;

/// Labels wider than this are not padded to.
const WIDEST: usize = 40;

/// What the trouble reports call it.
pub(super) const PLACE: &str = "the console";

/// Colours that can be read on dark and on light: none of black, white and the darkest blue.
const PALETTE: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

/// Where `run` shows what workers print.
#[derive(Debug)]
pub struct Console {
    fd: OwnedFd,
    manner: Manner,
    coloured: bool,
    width: usize,
    colours: HashMap<Arc<str>, usize>,
    pending: Vec<u8>,
    written: usize,
    loss: Option<Loss>,
}

/// How to write without waiting, though the descriptor may be shared with processes that expect it to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It never makes anybody wait (a file), or it is open anew with `O_NONBLOCK`, for us alone.
    Direct,
    /// Every call says so itself.
    Socket,
    /// It could not be opened anew: asked first, and then given only as much as it surely takes.
    Pieces,
}

/// What became of a try to write everything that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nothing waits.
    Clear,
    /// The reader is slow.
    Blocked,
    /// The reader is gone.
    Gone,
}

impl Console {
    /// This process's standard output; coloured when that is a terminal and `NO_COLOR` is unset or empty.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn stdout() -> io::Result<Console> {
        let stdout = io::stdout();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = stdout.is_terminal() && !no_colour;
        Console::to(stdout.as_fd().try_clone_to_owned()?, coloured)
    }

    /// Any descriptor that can be written: a terminal, a pipe, a socket, a file.
    ///
    /// # Errors
    /// The descriptor cannot be looked at.
    pub fn to(fd: OwnedFd, coloured: bool) -> io::Result<Console> {
        let file = File::from(fd);
        let kind = file.metadata()?.file_type();
        let (fd, manner) = if kind.is_socket() {
            (file.into(), Manner::Socket)
        } else if kind.is_fifo() || kind.is_char_device() {
            // O_NONBLOCK on the descriptor itself would hit everybody who shares it, the user's shell included.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            match OpenOptions::new().write(true).custom_flags(flags).open(path) {
                Ok(anew) => (anew.into(), Manner::Direct),
                Err(_) => (file.into(), Manner::Pieces),
            }
        } else {
            (file.into(), Manner::Direct)
        };
        Ok(Console {
            fd,
            manner,
            coloured,
            width: 0,
            colours: HashMap::new(),
            pending: Vec::new(),
            written: 0,
            loss: None,
        })
    }

    /// Pads prefixes to this many columns from the first line on, instead of as labels come to be known.
    #[must_use]
    pub fn padded_to(mut self, width: usize) -> Console {
        self.width = width.min(WIDEST);
        self
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Learns of a label: its width, and the next colour for a new worker.
    pub(super) fn meet(&mut self, label: &Writer) {
        self.width = self.width.max(label.show.len()).min(WIDEST);
        if self.coloured {
            let next = self.colours.len();
            self.colours.entry(label.worker.clone()).or_insert(next);
        }
    }

    /// How many bytes of a worker may be read so that even if all are newlines the limit holds; 0 is none for now.
    pub(super) fn read_limit(&self, label: &Writer) -> usize {
        match self.is_full() {
            true => 0,
            false => LIMIT.saturating_sub(self.waiting()) / (self.width.max(label.show.len()) + 20),
        }
    }

    /// Whether nothing more is to be read from workers for now.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() > LIMIT - LOW
    }

    /// Bytes that wait for the reader.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len() - self.written
    }

    /// The beginning of every line of `label`, up to the sign that tells how it ends.
    pub(super) fn head(&self, label: &Label) -> Vec<u8> {
        let (show, width) = (&label.show, self.width);
        match self.colours.get(&label.worker).filter(|_| self.coloured) {
            Some(colour) => format!("\x1b[{}m{show:width$} ", PALETTE[colour % PALETTE.len()]).into_bytes(),
            None => format!("{show:width$} ").into_bytes(),
        }
    }

    /// Takes a line; it is written by the next [`Console::flush`].
    pub(super) fn put(&mut self, head: &[u8], line: &[u8], ending: Ending) {
        self.pending.extend_from_slice(head);
        self.pending.push(if ending == Ending::Split { b'+' } else { b'|' });
        self.pending.extend_from_slice(if self.coloured { b"\x1b[0m " } else { b" " });
        self.pending.extend_from_slice(line);
        self.pending.push(b'\n');
    }

    /// Writes what waits, as far as that goes without waiting.
    pub(super) fn flush(&mut self, now: Instant, troubles: &Troubles) -> Flow {
        if self.loss.as_ref().is_some_and(|loss| now < loss.retry_at) {
            self.lose(None, now, troubles);
            return Flow::Clear;
        }
        while self.waiting() > 0 {
            match self.write() {
                Ok(written) => {
                    self.written += written;
                    if let Some(loss) = self.loss.take() {
                        troubles.tell(Trouble::Resumed { place: PLACE.to_owned(), bytes: loss.bytes });
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    // What is written makes room for what comes.
                    self.pending.drain(..self.written);
                    self.written = 0;
                    return Flow::Blocked;
                }
                Err(Errno::EPIPE) => return Flow::Gone,
                Err(error) => {
                    self.lose(Some(error), now, troubles);
                    break;
                }
            }
        }
        // Silence costs nothing.
        self.pending = Vec::new();
        self.written = 0;
        Flow::Clear
    }

    fn write(&self) -> nix::Result<usize> {
        let bytes = &self.pending[self.written..];
        match self.manner {
            Manner::Direct => nix::unistd::write(&self.fd, bytes),
            Manner::Socket => {
                send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
            }
            Manner::Pieces => {
                let mut asked = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut asked, PollTimeout::ZERO)? {
                    0 => Err(Errno::EAGAIN),
                    _ => nix::unistd::write(&self.fd, &bytes[..bytes.len().min(PIPE_PIECE)]),
                }
            }
        }
    }

    /// A file that cannot take it (its disk is full): counted, like in a log file.
    fn lose(&mut self, error: Option<Errno>, now: Instant, troubles: &Troubles) {
        let bytes = self.waiting();
        match (&mut self.loss, error) {
            (Some(loss), None) => loss.bytes += bytes as u64,
            (_, error) => {
                let reason = reason(&error.unwrap_or(Errno::EIO).into());
                Loss::note(&mut self.loss, bytes, reason, now, PLACE, troubles);
            }
        }
        self.pending = Vec::new();
        self.written = 0;
    }

    /// What its disk never took, if it is that kind of console.
    pub(super) fn close(mut self) -> Option<Trouble> {
        let Loss { bytes, reason, .. } = self.loss.take()?;
        Some(Trouble::Lost { place: PLACE.to_owned(), bytes, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Stream;
    use super::*;
    use std::io::Read;

    fn label(worker: &str, show: &str) -> Label {
        let (worker, show) = (worker.into(), show.into());
        Arc::new(Writer { worker, instance: 0, launch: 1, show }).label(Stream::Stdout)
    }

    /// What a console that knows `labels` shows of one line of each.
    fn shown(coloured: bool, labels: &[Label]) -> String {
        let (mut read, write) = io::pipe().expect("a pipe");
        let mut console = Console::to(write.into(), coloured).expect("a console");
        labels.iter().for_each(|label| console.meet(label));
        for label in labels {
            let head = console.head(label);
            console.put(&head, b"hello", Ending::Newline);
        }
        assert_eq!(console.flush(Instant::now(), &Troubles::new().expect("an eventfd")), Flow::Clear);
        drop(console);
        let mut text = String::new();
        read.read_to_string(&mut text).expect("text");
        text
    }

    #[test]
    fn prefixes_are_padded_to_the_widest_label() {
        let labels = [label("reader", "reader"), label("counter", "counter:0")];
        assert_eq!(shown(false, &labels), "reader    | hello\ncounter:0 | hello\n");
    }

    #[test]
    fn instances_of_a_worker_share_its_colour_and_the_line_itself_has_none() {
        let labels = [label("a", "a:0"), label("a", "a:1"), label("b", "b")];
        assert_eq!(
            shown(true, &labels),
            "\x1b[36ma:0 |\x1b[0m hello\n\x1b[36ma:1 |\x1b[0m hello\n\x1b[33mb   |\x1b[0m hello\n"
        );
    }

    #[test]
    fn everything_that_may_wait_stays_within_the_limit() {
        let (_read, write) = io::pipe().expect("a pipe");
        let mut console = Console::to(write.into(), true).expect("a console");
        let label = label("a", "a");
        console.meet(&label);
        let troubles = Troubles::new().expect("an eventfd");
        let head = console.head(&label);
        loop {
            let lines = console.read_limit(&label);
            if lines == 0 {
                break;
            }
            (0..lines).for_each(|_| console.put(&head, b"", Ending::Newline));
            assert!(console.pending.len() <= LIMIT);
            console.flush(Instant::now(), &troubles);
        }
        assert_eq!(console.flush(Instant::now(), &troubles), Flow::Blocked);
    }

    #[test]
    fn a_full_disk_behind_the_console_is_told_once_and_counted() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let mut console = Console::to(full.into(), false).expect("a console");
        let troubles = Troubles::new().expect("an eventfd");
        for _ in 0..3 {
            console.put(b"a ", b"hello", Ending::Newline);
            assert_eq!(console.flush(Instant::now(), &troubles), Flow::Clear);
        }
        let told = troubles.take();
        assert!(matches!(&told[..], [Trouble::Losing { .. }]), "{told:?}");
        assert!(matches!(console.close(), Some(Trouble::Lost { bytes: 30, .. })));
    }
}
