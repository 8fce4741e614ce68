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
use super::file::{Format, SharedLogFile};
use super::follow::Followers;
use super::format::Head;
use super::framing::Framer;
use super::line::{Ending, Label, Line};
use super::loss::Trouble;
use super::pipe::{capacity, widen};
use super::pump::{Shared, StreamId, Watch};
use super::stamp::stamp;
use super::tail::{Block, Tail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// The one buffer all streams are read into: what a stream gets a turn.
const BLOCK: usize = 256 * 1024;

/// A read of this much shows that a pipe of the usual 64 KiB was full, or nearly.
const FULL: usize = 56 * 1024;

/// Rounds in which no read gives this much, or as much as was asked for, are followed by a lull.
const SMALL: usize = 32 * 1024;

/// How long pipes are left to fill.
const LULL: Duration = Duration::from_micros(500);

/// Rounds this close to one another are one flow.
const CLOSE: Duration = Duration::from_millis(2);

/// Pipes that may be wide at a time. A user's pipes together have a soft limit of 64 MiB, and beyond it every new one is tiny.
const MOST_WIDE: usize = 16;

/// How long the end waits for a console that nobody reads.
const PATIENCE: Duration = Duration::from_secs(3);

/// Formatted records are handed to the file whenever they are more than this.
const BATCH: usize = 256 * 1024;

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
        label: Arc<Label>,
        file: Option<Arc<SharedLogFile>>,
        watch: Option<Watch>,
    },
    Finish(StreamId),
    Reopen,
    Stop,
}

struct Source {
    read: OwnedFd,
    label: Arc<Label>,
    file: Option<Arc<SharedLogFile>>,
    watch: Option<Watch>,
    framer: Framer,
    /// The last byte was no newline.
    mid_line: bool,
    /// The last read was a large one.
    flood: bool,
    wide: Wide,
    seq: u64,
    /// Bytes that are still read though the writer is dead: never more than the pipe held, whatever leftovers add.
    left: Option<usize>,
}

/// What a stream costs while it says nothing, beside its label.
#[cfg(test)]
pub(super) const BYTES_OF_SILENT_STREAM: usize = size_of::<Source>();

/// Whether a pipe was made larger. It is tried once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wide {
    Untried,
    Refused,
    Yes,
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
    /// Apart from the table, half of which may be empty.
    streams: HashMap<u64, Box<Source>>,
    /// Streams of this round whose turn is still to come.
    round: VecDeque<u64>,
    /// Streams whose writers are dead.
    closing: BTreeSet<u64>,
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
    stop_by: Option<Instant>,
}

impl Engine {
    pub fn new(shared: Arc<Shared>, console: Option<Console>) -> io::Result<Engine> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Engine {
            shared,
            epoll,
            streams: HashMap::new(),
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
            self.serve();
            self.serve_closing();
            self.flush_console();
        }
        self.tell_unseen();
        self.shared.memory().followers.end();
    }

    fn obey(&mut self) {
        for order in self.shared.take_orders() {
            match order {
                Order::Attach { stream, read, label, file, watch } => {
                    self.attach(stream.0, read, label, file, watch);
                }
                Order::Finish(stream) => self.finish(stream.0),
                Order::Reopen => {
                    for file in self.streams.values().filter_map(|source| source.file.as_ref()) {
                        file.reopen(&self.shared.troubles);
                    }
                }
                Order::Stop => {
                    self.stop_by = Some(Instant::now() + PATIENCE);
                    for stream in self.streams.keys().copied().collect::<Vec<_>>() {
                        self.finish(stream);
                    }
                }
            }
        }
    }

    fn attach(
        &mut self,
        stream: u64,
        read: OwnedFd,
        label: Arc<Label>,
        file: Option<Arc<SharedLogFile>>,
        watch: Option<Watch>,
    ) {
        if let Err(error) = self.epoll.add(&read, EpollEvent::new(EpollFlags::EPOLLIN, stream)) {
            self.unreadable(&label, error);
            return;
        }
        if let Some(console) = &mut self.console {
            console.meet(&label);
        }
        if let Some(file) = &file {
            file.stream_begins();
        }
        let source = Source {
            read,
            label,
            file,
            watch,
            framer: Framer::default(),
            mid_line: false,
            flood: false,
            wide: Wide::Untried,
            seq: 0,
            left: None,
        };
        self.streams.insert(stream, Box::new(source));
    }

    fn unreadable(&self, label: &Label, error: Errno) {
        let place = format!("{}:{} {}", label.worker, label.instance, label.stream.name());
        self.shared.troubles.tell(Trouble::Unreadable { place, reason: error.desc().to_owned() });
    }

    fn finish(&mut self, stream: u64) {
        if let Some(source) = self.streams.get_mut(&stream) {
            source.left.get_or_insert(capacity(&source.read));
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
        self.round.extend(ready.filter(|&stream| stream != BELL && stream != CONSOLE));
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

    /// One turn for each stream of the round, as long as the console has room.
    fn serve(&mut self) {
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
    }

    /// One turn for each stream whose writer is dead; ends those that are dry.
    fn serve_closing(&mut self) {
        for stream in self.closing.clone() {
            let dry = match self.turn(stream) {
                Turn::Read { .. } => self.streams.get(&stream).is_none_or(|source| source.left == Some(0)),
                Turn::Dry | Turn::Ended => true,
                Turn::Stuck => break,
            };
            if dry {
                self.end(stream);
            }
        }
    }

    fn turn(&mut self, stream: u64) -> Turn {
        let Some(source) = self.streams.get_mut(&stream) else { return Turn::Dry };
        let mut most = source.left.unwrap_or(BLOCK).min(BLOCK);
        if let Some(console) = &mut self.console {
            if console.is_full() {
                self.console_flow = console.flush(Instant::now(), &self.shared.troubles);
            }
            let room = console.read_limit(&source.label);
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
                let label = source.label.clone();
                self.unreadable(&label, error);
                return Turn::Ended;
            }
        };
        if let Some(left) = &mut source.left {
            *left -= count;
        }
        if count >= FULL && source.wide == Wide::Untried && self.wide < MOST_WIDE {
            source.wide = if widen(&source.read) { Wide::Yes } else { Wide::Refused };
            self.wide += usize::from(source.wide == Wide::Yes);
        }
        if let Some(unseen) = &mut self.unseen {
            *unseen += count as u64;
        }
        let (console, records) = (self.console.as_mut(), &mut self.records);
        Delivery { shared: &self.shared, console, records, stream }.block(source, &self.block[..count]);
        Turn::Read { plenty: count == most || count >= SMALL }
    }

    /// Completes the last line of a stream and closes it.
    fn end(&mut self, stream: u64) {
        self.closing.remove(&stream);
        let Some(mut source) = self.streams.remove(&stream) else { return };
        // Closing the descriptor would do, were it not for copies of it in other processes.
        let _ = self.epoll.delete(&source.read);
        let (console, records) = (self.console.as_mut(), &mut self.records);
        Delivery { shared: &self.shared, console, records, stream }.last_line(&mut source);
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

/// Brings what one stream has written to everybody who wants it.
struct Delivery<'e> {
    shared: &'e Shared,
    console: Option<&'e mut Console>,
    records: &'e mut Vec<u8>,
    stream: u64,
}

impl Delivery<'_> {
    fn block(&mut self, source: &mut Source, bytes: &[u8]) {
        let time = SystemTime::now();
        let flood = bytes.len() >= SMALL;
        let mut memory = self.shared.memory();
        memory.tail.keep(Block {
            stream: self.stream,
            label: &source.label,
            time,
            bytes,
            mid_line: source.mid_line,
            flood: flood && source.flood,
        });
        source.flood = flood;
        source.mid_line = bytes.last() != Some(&b'\n');
        let followed = memory.followers.follow(&source.label.worker);
        if !followed {
            drop(memory);
            self.lines(
                source,
                time,
                None,
                |framer, line| framer.push(bytes, line),
                |framer| framer.glance(bytes),
            );
        } else {
            let followers = Some(&memory.followers);
            self.lines(source, time, followers, |framer, line| framer.push(bytes, line), |_| {});
        }
        if let Some(file) = source.file.as_ref().filter(|file| file.format() == Format::Raw) {
            file.write(bytes, Instant::now(), &self.shared.troubles);
        }
    }

    fn last_line(&mut self, source: &mut Source) {
        if !source.mid_line {
            return;
        }
        let time = SystemTime::now();
        let mut memory = self.shared.memory();
        memory.tail.end(self.stream, &source.label, time);
        let followers = Some(&memory.followers);
        self.lines(source, time, followers, |framer, line| framer.finish(line), |_| {});
    }

    /// Gives the lines that `push` finds to whoever wants lines; when nobody does, only `glance` is called.
    fn lines(
        &mut self,
        source: &mut Source,
        time: SystemTime,
        followers: Option<&Followers>,
        push: impl FnOnce(&mut Framer, &mut dyn FnMut(&[u8], Ending)),
        glance: impl FnOnce(&mut Framer),
    ) {
        let Source { label, file, watch, framer, seq, .. } = source;
        let file_head = file.as_ref().and_then(|file| Head::new(file.format(), &stamp(time), label));
        if followers.is_none() && file_head.is_none() && watch.is_none() && self.console.is_none() {
            glance(framer);
            return;
        }
        let console_head = self.console.as_ref().map(|console| console.head(label));
        let now = Instant::now();
        let records = &mut *self.records;
        records.clear();
        push(framer, &mut |bytes, ending| {
            if let Some((file, head)) = file.as_ref().zip(file_head.as_ref()) {
                head.record(records, *seq, bytes, ending);
                if records.len() >= BATCH {
                    file.write(records, now, &self.shared.troubles);
                    records.clear();
                }
            }
            if let Some((console, head)) = self.console.as_mut().zip(console_head.as_ref()) {
                console.put(head, bytes, ending);
            }
            if watch.as_mut().is_some_and(|watch| watch(bytes).is_break()) {
                *watch = None;
            }
            if let Some(followers) = followers {
                followers.give(label, || Line { label: label.clone(), time, bytes: bytes.to_vec(), ending });
            }
            *seq += 1;
        });
        if let Some(file) = file.as_ref().filter(|_| !records.is_empty()) {
            file.write(records, now, &self.shared.troubles);
        }
    }
}
