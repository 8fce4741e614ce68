//! The feeder: messages of a queue become lines on a worker's standard input.
//!
//! A pipe hides what its reader has done with what it took. What can be known, and when:
//!
//! ```text
//!   handed over ── the pipe is empty ──► read ── the reader asks again, or has read what follows ──► acknowledged
//!        │           (an event)            │     (it sleeps in a read of the pipe: a look)
//!        └──── the worker dies ────────────┴──► given back
//! ```
//!
//! What is promised:
//!
//! - A message is acknowledged no earlier than the worker has read all of it and come back to read on, or has exited
//!   with 0. Until then it is in hand, and given back when the worker, or this process, dies: delivered at least once.
//! - A worker is handed a message when it asks, so that those at work do not keep messages from those who are idle. Two
//!   kinds are handed one ahead: who has always come back within five milliseconds lately, and who sleeps where several
//!   things are waited for (`poll`, `select`), since it may be asking. What was handed ahead and not read when the worker
//!   dies is put back, and that delivery does not count.
//! - Where several processes read the same standard input, one that asks speaks for all.
//! - A message with a newline inside is two lines to its reader: it is not delivered but becomes a dead letter, and that
//!   is said. A newline at its end is that of its line. All other bytes, NUL included, arrive as they are.
//! - When the queue is closed and drained, standard input is at its end. Who still has a message in hand, and may be
//!   asking, is told so when none waits: it can end only then.
//!
//! The worker's death is a descriptor, an empty pipe another; only between *read* and *asks* it is looked, at pauses that
//! grow with the time the message takes. A feeder whose worker waits for a message sleeps.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ipc::{GetError, Lease, TryGetError};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::time::TimeSpec;
use process::{Exit, PipeId, Reader};

use super::look::{Looks, pause};
use super::pace::Pace;
use super::taker::{End, Taker};
use super::{Post, Word, say};

/// How long the parent of a worker may take to reap it before how it ended counts as unknown.
const REAPED_WITHIN: Duration = Duration::from_secs(1);

/// So much of a message that cannot be delivered is shown.
const SHOWN_BYTES: usize = 60;

/// Feeds until the worker has ended.
pub(super) fn feed(post: Post) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    // Without this word the worker is not there: it was never launched, or has seen the end of its input by now.
    let Some(Word::Attend(worker)) = Word::hear(&post.supervisor) else { return Ok(()) };
    let Some(death) = worker.hold().map_err(told)? else { return Ok(()) };
    let Post { name, queue, dead_letters, pipe, supervisor } = post;
    let pipe = File::from(pipe);
    let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL).map_err(|errno| told(errno.into()))?);
    fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(|errno| told(errno.into()))?;
    let id = PipeId::of(pipe.as_fd()).map_err(told)?;
    let taker = Taker::start(queue.clone()).map_err(told)?;
    let mut feeder = Feeder {
        name,
        queue,
        dead_letters,
        pipe: Some(pipe),
        looks: Looks::at(id, worker.pid),
        pace: Pace::default(),
        death,
        supervisor,
        taker,
        read: None,
        handed: None,
    };
    feeder.feed()?;
    feeder.settle();
    Ok(())
}

/// Why nothing more is handed over.
enum Stop {
    /// The queue has nothing more, or the worker reads no more.
    NoMore,
    /// The worker has ended.
    Dead,
    /// In words.
    Trouble(String),
}

impl<E: Into<io::Error>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Trouble(error.into().to_string())
    }
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    /// What was waited for has come, or the time is over.
    Come,
    /// Nobody can read the pipe any more.
    Unread,
}

struct Feeder {
    name: String,
    queue: ipc::Queue,
    dead_letters: Option<ipc::Queue>,
    /// `None`: the worker's standard input is at its end.
    pipe: Option<File>,
    looks: Looks,
    pace: Pace,
    death: OwnedFd,
    supervisor: std::os::unix::net::UnixStream,
    taker: Taker,
    /// The message that the worker has read and is at, as far as is known.
    read: Option<(Lease, Instant)>,
    /// The message that lies in the pipe, and how many of its bytes were written.
    handed: Option<(Lease, usize)>,
}

impl Feeder {
    fn feed(&mut self) -> Result<(), String> {
        loop {
            let handed = self.next().and_then(|message| self.hand(message));
            match handed {
                Ok(()) => {}
                Err(Stop::NoMore) => {
                    if self.handed.is_none() {
                        self.pipe = None;
                    }
                    return Ok(());
                }
                Err(Stop::Dead) => return Ok(()),
                Err(Stop::Trouble(why)) => return Err(why),
            }
        }
    }

    /// The message to hand over next, once the worker wants one.
    fn next(&mut self) -> Result<Lease, Stop> {
        loop {
            let Some((_, since)) = self.read else { return self.take(End::Drained) };
            if self.pace.is_quick()
                && let Ok(message) = self.queue.try_lease()
            {
                return Ok(message);
            }
            match self.looks.look(since) {
                Reader::Asks => self.acknowledge(),
                Reader::MayAsk => return self.take(End::Closed),
                Reader::Busy => {
                    if self.wait(None, Some(pause(since.elapsed())))? == Woken::Unread {
                        return Err(Stop::NoMore);
                    }
                }
            }
        }
    }

    /// The worker has come back: what it was at is done with.
    fn acknowledge(&mut self) {
        if let Some((message, since)) = self.read.take() {
            self.pace.note(since.elapsed());
            message.ack();
        }
    }

    fn take(&mut self, end: End) -> Result<Lease, Stop> {
        let at_once = match self.queue.try_lease() {
            Ok(message) => return Ok(message),
            Err(TryGetError::Empty) => None,
            Err(TryGetError::Closed) => Some(Stop::NoMore),
            Err(error) => Some(Stop::Trouble(error.to_string())),
        };
        if let Some(stop) = at_once {
            return Err(stop);
        }
        self.taker.ask(end);
        loop {
            let bell = self.taker.as_fd().try_clone_to_owned()?;
            if self.wait(Some((&bell, PollFlags::POLLIN)), None)? == Woken::Unread {
                return Err(Stop::NoMore);
            }
            match self.taker.taken() {
                None => {}
                Some(Ok(message)) => return Ok(message),
                Some(Err(GetError::Closed)) => return Err(Stop::NoMore),
                Some(Err(error)) => return Err(Stop::Trouble(error.to_string())),
            }
        }
    }

    /// Writes the line, and waits until it has been read.
    fn hand(&mut self, message: Lease) -> Result<(), Stop> {
        let body = message.bytes();
        let line = match memchr::memchr(b'\n', body) {
            None => [body, b"\n"].concat(),
            Some(first) if first + 1 == body.len() => body.to_vec(),
            Some(_) => {
                self.bury(message);
                return Ok(());
            }
        };
        self.handed = Some((message, 0));
        let mut written = 0;
        loop {
            let Some(mut pipe) = self.pipe.as_ref() else { return Err(Stop::NoMore) };
            if written < line.len() {
                match pipe.write(&line[written..]) {
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Stop::NoMore),
                    Err(error) => return Err(error.into()),
                }
                if let Some((_, so_far)) = &mut self.handed {
                    *so_far = written;
                }
            }
            let end = pipe.as_fd().try_clone_to_owned()?;
            if self.wait(Some((&end, PollFlags::POLLOUT)), None)? == Woken::Unread {
                return Err(Stop::NoMore);
            }
            if written == line.len() {
                break;
            }
        }
        self.all_read();
        Ok(())
    }

    /// All that lay in the pipe has been read; so its reader had come back from what it was at before.
    fn all_read(&mut self) {
        if let Some((message, _)) = self.handed.take() {
            self.acknowledge();
            self.read = Some((message, Instant::now()));
        }
    }

    fn bury(&self, message: Lease) {
        let body = message.bytes();
        let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).into_owned();
        say(&format!(
            "queue {}: a message of {} bytes has a newline inside and cannot be a line; it is a dead letter: {shown:?}",
            self.name,
            body.len(),
        ));
        message.bury();
        self.forward_dead();
    }

    fn forward_dead(&self) {
        if let Some(to) = &self.dead_letters {
            // What cannot go there now stays where it is, and goes with the next one.
            let _ = self.queue.forward_dead(to);
        }
    }

    /// Waits for something, for the worker's death, or until nobody can read the pipe any more.
    fn wait(&self, what: Option<(&OwnedFd, PollFlags)>, time: Option<Duration>) -> Result<Woken, Stop> {
        let until = time.map(|time| Instant::now() + time);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.map(TimeSpec::from_duration);
            let mut fds = vec![PollFd::new(self.death.as_fd(), PollFlags::POLLIN)];
            if let Some(pipe) = &self.pipe {
                // That nobody reads it is told whatever is asked for.
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::empty()));
            }
            if let Some((descriptor, flags)) = what {
                fds.push(PollFd::new(descriptor.as_fd(), flags));
            }
            match ppoll(&mut fds, timeout, None) {
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(Woken::Come),
                Ok(0) => continue,
                Ok(_) => {}
            }
            let happened =
                |place: usize| fds.get(place).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
            if !happened(0).is_empty() {
                return Err(Stop::Dead);
            }
            if self.pipe.is_some() && happened(1).contains(PollFlags::POLLERR) {
                return Ok(Woken::Unread);
            }
            return Ok(Woken::Come);
        }
    }

    /// Waits for the worker's end, and settles what is in hand.
    fn settle(mut self) {
        while !process::is_dead(self.death.as_fd()) {
            let mut end = [PollFd::new(self.death.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut end, PollTimeout::NONE);
        }
        let unread = self.pipe.as_ref().map_or(Ok(0), |pipe| process::unread(pipe.as_fd())).unwrap_or(0);
        if unread == 0 && self.pipe.is_some() {
            self.all_read();
        }
        let well = self.ended_well();
        let Feeder { queue, dead_letters, taker, read, handed, .. } = self;
        // Who is given back first is delivered first: what was read, what was handed over, what was only taken.
        match read {
            Some((message, _)) if well => message.ack(),
            Some((message, _)) => message.nack(),
            None => {}
        }
        match handed {
            Some((message, written)) if unread >= written => message.put_back(),
            Some((message, _)) => message.nack(),
            None => {}
        }
        if let Some(message) = taker.stop() {
            message.put_back();
        }
        if let Some(to) = dead_letters {
            let _ = queue.forward_dead(&to);
        }
    }

    /// Whether the worker, which is dead, exited with 0: the supervisor says so, or else the kernel.
    fn ended_well(&self) -> bool {
        match Word::hear(&self.supervisor) {
            Some(Word::Ended { well }) => well,
            _ => {
                let give_up = Instant::now() + REAPED_WITHIN;
                loop {
                    if let Some(exit) = process::exit_of(self.death.as_fd()) {
                        return exit == Exit::Code(0);
                    }
                    let left = give_up.saturating_duration_since(Instant::now());
                    let Ok(timeout) = PollTimeout::try_from(left.as_millis()) else { return false };
                    let mut reaped = [PollFd::new(self.death.as_fd(), PollFlags::empty())];
                    // It is told when its parent has reaped it, whatever is asked for.
                    match poll(&mut reaped, timeout) {
                        Ok(0) => return false,
                        Ok(_) if process::exit_of(self.death.as_fd()).is_none() => return false,
                        _ => {}
                    }
                }
            }
        }
    }
}
