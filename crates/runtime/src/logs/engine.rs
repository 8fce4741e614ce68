//! The thread of the pump: waits, reads in turns, delivers.
//!
//! ```text
//! quiet ── a pipe is readable ──► round: one read a ready stream ──► nothing more ──► quiet
//!                                   ▲        │          │
//!                                   │        │          └─ the console is full ──► stuck: no pipe is looked at
//!                                   │        ▼                                        │ its reader reads
//!                                   │      lull: only small reads, again and again    │
//!                                   └── 0.5 ms ◄┘  ◄──────────────────────────────────┘
//! ```
//!
//! The lull is what makes lines cheap: a worker that prints one short line after the other would wake this thread for each. Once
//! a second small round follows the first one closely, pipes are left to fill for half a millisecond.

use super::console::{self, Console, Flow};
use super::delivery::{Delivery, SMALL};
use super::file::SharedLogFile;
use super::follow::Followers;
use super::line::Label;
use super::loss::Trouble;
use super::pipe::{capacity, widen};
use super::pump::{Shared, Watch};
use super::streams::{Source, StreamId, Table, Wide};
use super::tail::Tail;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The one buffer all streams are read into: what a stream gets a turn.
const BLOCK: usize = 256 * 1024;

/// A read of this much shows that a pipe of the usual 64 KiB was full, or nearly.
const FULL: usize = 56 * 1024;

/// How long pipes are left to fill.
const LULL: Duration = Duration::from_micros(500);

/// Where many streams end, one shortly after the other, they are left to end for so long: to be woken for each takes
/// processors from those who are dying.
const ENDS_GATHER: Duration = Duration::from_millis(5);

/// Ends this close to one another are many.
const ENDS_CLOSE: Duration = Duration::from_millis(10);

/// Rounds this close to one another are one flow.
const CLOSE: Duration = Duration::from_millis(2);

/// Pipes that may be wide at a time. A user's pipes together have a soft limit of 64 MiB, and beyond it every new one is tiny.
const MOST_WIDE: usize = 16;

/// How long the end waits for a console that nobody reads.
const PATIENCE: Duration = Duration::from_secs(3);

/// Events taken from the kernel at once.
const EVENTS: usize = 128;

const BELL: u64 = u64::MAX;
const CONSOLE: u64 = u64::MAX - 1;

/// What is kept of the past, and who watches the present.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub tail: Tail,
    pub followers: Followers,
}

/// What the handle asks for.
pub(super) enum Order {
    Attach {
        stream: StreamId,
        read: OwnedFd,
        label: Label,
        file: Option<Arc<SharedLogFile>>,
        watch: Option<Watch>,
    },
    Finish(StreamId),
    Reopen,
    Stop,
}

/// What became of a turn.
enum Turn {
    /// `plenty`: there is probably more.
    Read { plenty: bool },
    /// Nothing there.
    Dry,
    /// The console has no room.
    Stuck,
    /// No writer is left, or the pipe cannot be read.
    Ended,
}

pub(super) struct Engine {
    shared: Arc<Shared>,
    epoll: Epoll,
    streams: Table,
    /// Streams that have ended since orders were last taken.
    ended: Vec<StreamId>,
    /// Streams of this round whose turn is still to come.
    round: VecDeque<StreamId>,
    /// Streams whose writers are dead.
    closing: BTreeSet<StreamId>,
    block: Vec<u8>,
    console: Option<Console>,
    console_polled: bool,
    console_flow: Flow,
    /// Bytes that the console, given up for stuck, will never show.
    unseen: Option<u64>,
    /// Formatted records on their way to a file.
    records: Vec<u8>,
    wide: usize,
    /// Some read of this round was a large one.
    plenty: bool,
    last_flow: Option<Instant>,
    lull: bool,
    /// When streams ended last, in a round in which nothing else was done.
    last_ends: Option<Instant>,
    /// Many streams end, and nothing else happens.
    many_end: bool,
    stop_by: Option<Instant>,
}

impl Engine {
    pub fn new(shared: Arc<Shared>, console: Option<Console>) -> io::Result<Engine> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Engine {
            shared,
            epoll,
            streams: Table::default(),
            ended: Vec::new(),
            round: VecDeque::new(),
            closing: BTreeSet::new(),
            // Zeroed by the kernel, page by page, when it is used.
            block: vec![0; BLOCK],
            console,
            console_polled: false,
            console_flow: Flow::Clear,
            unseen: None,
            records: Vec::new(),
            wide: 0,
            plenty: false,
            last_flow: None,
            lull: false,
            last_ends: None,
            many_end: false,
            stop_by: None,
        })
    }

    pub fn run(mut self) {
        // Signals are for the thread that supervises. Fails only for an invalid set.
        let _ = SigSet::all().thread_block();
        loop {
            self.obey();
            if self.stop_by.is_some_and(|by| Instant::now() >= by) {
                self.give_up_console();
            }
            if self.stop_by.is_some() && self.streams.is_empty() && !self.console_waits() {
                break;
            }
            self.wait();
            let moved = self.serve() | self.serve_closing();
            self.note_ends(moved);
            self.flush_console();
        }
        self.tell_unseen();
        self.shared.memory().followers.end();
    }

    fn obey(&mut self) {
        for order in self.shared.take_orders(self.ended.drain(..)) {
            match order {
                Order::Attach { stream, read, label, file, watch } => {
                    self.attach(stream, read, label, file, watch);
                }
                Order::Finish(stream) => self.finish(stream),
                Order::Reopen => {
                    for file in self.streams.iter().filter_map(|source| source.file.as_ref()) {
                        file.reopen(&self.shared.troubles);
                    }
                }
                Order::Stop => {
                    self.stop_by = Some(Instant::now() + PATIENCE);
                    self.closing.extend(self.streams.iter().map(|source| source.id));
                }
            }
        }
    }

    fn attach(
        &mut self,
        stream: StreamId,
        read: OwnedFd,
        label: Label,
        file: Option<Arc<SharedLogFile>>,
        watch: Option<Watch>,
    ) {
        if let Err(error) = self.epoll.add(&read, EpollEvent::new(EpollFlags::EPOLLIN, stream.number())) {
            self.unreadable(&label, error);
            self.ended.push(stream);
            return;
        }
        if let Some(console) = &mut self.console {
            console.meet(&label);
        }
        if let Some(file) = &file {
            file.stream_begins();
        }
        self.streams.insert(Source::new(stream, read, label, file, watch));
    }

    fn unreadable(&self, label: &Label, error: Errno) {
        let place = format!("{}:{} {}", label.worker, label.instance, label.stream.name());
        self.shared.troubles.tell(Trouble::Unreadable { place, reason: error.desc().to_owned() });
    }

    fn finish(&mut self, stream: StreamId) {
        if self.streams.get_mut(stream).is_some() {
            self.closing.insert(stream);
        }
    }

    /// Sleeps until there is something to do; fills the round when it is empty.
    fn wait(&mut self) {
        let until_stop = self.stop_by.map(|by| by.saturating_duration_since(Instant::now()));
        let work_left = !self.closing.is_empty() || !self.round.is_empty();
        if self.stuck() {
            self.pause(until_stop);
            return;
        }
        if std::mem::take(&mut self.lull) && !work_left {
            self.pause(Some(LULL));
        }
        if std::mem::take(&mut self.many_end) && !work_left && self.stop_by.is_none() {
            // Not for the bell either: it rings for every end.
            std::thread::sleep(ENDS_GATHER);
        }
        let timeout = match (work_left, until_stop) {
            (true, _) => EpollTimeout::ZERO,
            (false, Some(left)) => {
                // Rounded up, so that the deadline has passed when it wakes.
                u16::try_from(left.as_millis() + 1).map_or(EpollTimeout::MAX, EpollTimeout::from)
            }
            (false, None) => EpollTimeout::NONE,
        };
        if !self.round.is_empty() {
            return;
        }
        if !work_left && self.last_flow.is_none_or(|last| last.elapsed() >= CLOSE) {
            // Silence costs nothing.
            self.records = Vec::new();
        }
        let mut events = [EpollEvent::empty(); EVENTS];
        // EINTR and the rest mean: no events now, look again.
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        self.shared.wakeups.fetch_add(1, Ordering::Relaxed);
        let ready = events[..count].iter().map(EpollEvent::data);
        let streams = ready.filter(|&stream| stream != BELL && stream != CONSOLE);
        self.round.extend(streams.filter_map(StreamId::of_number));
        self.plenty = false;
    }

    /// Sleeps without looking at the pipes.
    fn pause(&self, timeout: Option<Duration>) {
        let mut fds = vec![PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN)];
        if let Some(console) = self.console.as_ref().filter(|_| self.console_flow == Flow::Blocked) {
            fds.push(PollFd::new(console.fd(), PollFlags::POLLOUT));
        }
        // EINTR is a short pause.
        let _ = ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None);
        self.shared.wakeups.fetch_add(1, Ordering::Relaxed);
    }

    /// The console has no room, and whoever has a turn has no other choice than to wait for it.
    fn stuck(&self) -> bool {
        let room = |console: &Console| !console.is_full();
        self.console_flow == Flow::Blocked && !self.console.as_ref().is_none_or(room)
    }

    /// One turn for each stream of the round, as long as the console has room. Says whether any had something.
    fn serve(&mut self) -> bool {
        let mut moved = false;
        while let Some(stream) = self.round.pop_front() {
            match self.turn(stream) {
                Turn::Read { plenty } => {
                    moved = true;
                    self.plenty |= plenty;
                }
                Turn::Dry => {}
                Turn::Stuck => {
                    // The order is kept: those at the end of a round must not starve.
                    self.round.push_front(stream);
                    break;
                }
                Turn::Ended => self.end(stream),
            }
        }
        if moved {
            let now = Instant::now();
            let flows = self.last_flow.is_some_and(|last| now - last < CLOSE);
            self.lull = flows && !self.plenty;
            self.last_flow = Some(now);
        }
        moved
    }

    /// Notes whether many streams end while nothing is moved.
    fn note_ends(&mut self, moved: bool) {
        if moved || self.ended.is_empty() {
            return;
        }
        let now = Instant::now();
        self.many_end = self.last_ends.is_some_and(|last| now - last < ENDS_CLOSE);
        self.last_ends = Some(now);
    }

    /// One turn for each stream whose writer is dead; ends those that are dry. Says whether any had something.
    fn serve_closing(&mut self) -> bool {
        let mut moved = false;
        for stream in self.closing.clone() {
            if let Some(source) = self.streams.get_mut(stream)
                && source.left().is_none()
            {
                source.busy().left = Some(capacity(&source.read));
            }
            let dry = match self.turn(stream) {
                Turn::Read { .. } => {
                    moved = true;
                    self.streams.get_mut(stream).is_none_or(|source| source.left() == Some(0))
                }
                Turn::Dry | Turn::Ended => true,
                Turn::Stuck => break,
            };
            if dry {
                self.end(stream);
            }
        }
        moved
    }

    fn turn(&mut self, stream: StreamId) -> Turn {
        let Some(source) = self.streams.get_mut(stream) else { return Turn::Dry };
        let mut most = source.left().unwrap_or(BLOCK).min(BLOCK);
        if let Some(console) = &mut self.console {
            if console.is_full() {
                self.console_flow = console.flush(Instant::now(), &self.shared.troubles);
            }
            let room = console.read_limit(&source.writer);
            if self.console_flow == Flow::Gone {
                // It is put away before anything else is given to it.
                self.flush_console();
                return self.turn(stream);
            }
            if room == 0 {
                return Turn::Stuck;
            }
            most = most.min(room);
        }
        let count = match nix::unistd::read(&source.read, &mut self.block[..most]) {
            Ok(0) => return Turn::Ended,
            Ok(count) => count,
            Err(Errno::EAGAIN | Errno::EINTR) => return Turn::Dry,
            // A socket whose other end died without reading what it was told.
            Err(Errno::ECONNRESET) => return Turn::Ended,
            Err(error) => {
                let label = source.label();
                self.unreadable(&label, error);
                return Turn::Ended;
            }
        };
        if let Some(left) = source.left() {
            source.busy().left = Some(left - count);
        }
        if count >= FULL && source.wide == Wide::Untried && self.wide < MOST_WIDE {
            source.wide = if widen(&source.read) { Wide::Yes } else { Wide::Refused };
            self.wide += usize::from(source.wide == Wide::Yes);
        }
        if let Some(unseen) = &mut self.unseen {
            *unseen += count as u64;
        }
        let (console, records) = (self.console.as_mut(), &mut self.records);
        Delivery { shared: &self.shared, console, records }.block(source, &self.block[..count]);
        Turn::Read { plenty: count == most || count >= SMALL }
    }

    /// Completes the last line of a stream and closes it.
    fn end(&mut self, stream: StreamId) {
        self.closing.remove(&stream);
        let Some(mut source) = self.streams.remove(stream) else { return };
        self.ended.push(stream);
        // Closing the descriptor would do, were it not for copies of it in other processes.
        let _ = self.epoll.delete(&source.read);
        let (console, records) = (self.console.as_mut(), &mut self.records);
        Delivery { shared: &self.shared, console, records }.last_line(&mut source);
        self.wide -= usize::from(source.wide == Wide::Yes);
        if let Some(file) = &source.file {
            file.stream_ends(&self.shared.troubles);
        }
    }

    fn console_waits(&self) -> bool {
        self.console.as_ref().is_some_and(|console| console.waiting() > 0)
    }

    fn flush_console(&mut self) {
        let Some(console) = &mut self.console else { return };
        if self.console_flow != Flow::Gone && console.waiting() > 0 {
            self.console_flow = console.flush(Instant::now(), &self.shared.troubles);
        }
        match self.console_flow {
            Flow::Gone => {
                self.unpoll_console();
                self.console = None;
                self.console_flow = Flow::Clear;
            }
            Flow::Clear => self.unpoll_console(),
            Flow::Blocked if !self.console_polled => {
                let event = EpollEvent::new(EpollFlags::EPOLLOUT, CONSOLE);
                self.console_polled = self.epoll.add(console.fd(), event).is_ok();
            }
            Flow::Blocked => {}
        }
    }

    fn unpoll_console(&mut self) {
        if let Some(console) = self.console.as_ref().filter(|_| self.console_polled) {
            // Fails only when it is not there.
            let _ = self.epoll.delete(console.fd());
        }
        self.console_polled = false;
    }

    /// Its reader had its time: the rest goes to files only.
    fn give_up_console(&mut self) {
        self.unpoll_console();
        self.console_flow = Flow::Clear;
        if let Some(console) = &self.console {
            self.unseen = Some(console.waiting() as u64);
            self.console_left_behind();
        }
    }

    fn console_left_behind(&mut self) {
        if let Some(loss) = self.console.take().and_then(Console::close) {
            self.shared.troubles.tell(loss);
        }
    }

    fn tell_unseen(&mut self) {
        self.console_left_behind();
        if let Some(bytes) = self.unseen.filter(|&bytes| bytes > 0) {
            self.shared.troubles.tell(Trouble::Lost {
                place: console::PLACE.to_owned(),
                bytes,
                reason: "nobody reads it".to_owned(),
            });
        }
    }
}
