//! The last lines of every worker, in memory, for `logs`.
//!
//! What is kept is the bytes as they were read; lines are looked for when somebody asks. A worker that prints costs one copy,
//! a silent one costs nothing.

use super::framing::Framer;
use super::line::{Ending, Label, Line};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

/// What is kept of one worker, in bytes, all its instances and both outputs together.
pub const TAIL_BYTES_OF_WORKER: usize = 64 * 1024;

/// What is kept of all workers together, in bytes; the oldest goes first.
pub const TAIL_BYTES: usize = 16 * 1024 * 1024;

/// What is kept of each block of a stream that floods: copying all of each would cost a tenth of the throughput.
const KEPT_OF_FLOOD: usize = 16 * 1024;

/// The largest chunk: so much goes at once when room is made.
const LARGEST_CHUNK: usize = 8 * 1024;

/// What is kept of one block at most, so that its chunks fit into the share of a worker.
const KEPT_OF_BLOCK: usize = TAIL_BYTES_OF_WORKER - LARGEST_CHUNK;

/// What a chunk costs besides its bytes.
const OVERHEAD: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Tail {
    rings: HashMap<Arc<str>, Ring>,
    /// The oldest chunk of each ring, by number.
    oldest: BTreeMap<u64, Arc<str>>,
    bytes: usize,
    next: u64,
    limit: usize,
}

#[derive(Debug, Default)]
struct Ring {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    number: u64,
    stream: u64,
    label: Label,
    time: SystemTime,
    bytes: Box<[u8]>,
    /// It goes on with a line of the chunk before it.
    mid_line: bool,
    /// The writer has ended after it.
    last: bool,
}

impl Chunk {
    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Default for Tail {
    fn default() -> Self {
        Tail { rings: HashMap::new(), oldest: BTreeMap::new(), bytes: 0, next: 0, limit: TAIL_BYTES }
    }
}

/// What was read from a stream at once.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    pub stream: u64,
    pub label: &'b Label,
    pub time: SystemTime,
    pub bytes: &'b [u8],
    /// It goes on with a line.
    pub mid_line: bool,
    /// It is one large block of many.
    pub flood: bool,
}

impl Tail {
    /// Keeps the end of what a stream has written.
    pub fn keep(&mut self, mut block: Block<'_>) {
        let most = if block.flood { KEPT_OF_FLOOD } else { KEPT_OF_BLOCK };
        let cut = block.bytes.len().saturating_sub(most);
        if cut > 0 {
            // What is kept of a stream has no holes.
            self.change(&block.label.worker, |ring| ring.forget(block.stream));
            block.mid_line = block.bytes[cut - 1] != b'\n';
            block.bytes = &block.bytes[cut..];
        }
        for bytes in block.bytes.chunks(LARGEST_CHUNK) {
            self.add(Block { bytes, ..block }, false);
            block.mid_line = bytes.last() != Some(&b'\n');
        }
    }

    /// The stream has ended in the middle of a line: that is its last one.
    pub fn end(&mut self, stream: u64, label: &Label, time: SystemTime) {
        self.add(Block { stream, label, time, bytes: &[], mid_line: true, flood: false }, true);
    }

    fn add(&mut self, Block { stream, label, time, bytes, mid_line, .. }: Block<'_>, last: bool) {
        let number = self.next;
        self.next += 1;
        if !self.rings.contains_key(&label.worker) {
            self.rings.insert(Arc::clone(&label.worker), Ring::default());
        }
        let chunk = Chunk { number, stream, label: label.clone(), time, bytes: bytes.into(), mid_line, last };
        self.change(&label.worker, |ring| {
            ring.bytes += chunk.cost();
            ring.chunks.push_back(chunk);
            while ring.bytes > TAIL_BYTES_OF_WORKER {
                ring.drop_oldest();
            }
        });
        while self.bytes > self.limit {
            let Some((_, worker)) = self.oldest.first_key_value() else { break };
            let worker = worker.clone();
            self.change(&worker, Ring::drop_oldest);
        }
    }

    /// Changes a ring and keeps the accounts: bytes of all, the oldest of each, no ring that is empty.
    fn change(&mut self, worker: &str, change: impl FnOnce(&mut Ring)) {
        let Some((key, _)) = self.rings.get_key_value(worker) else { return };
        let key = key.clone();
        let Some(ring) = self.rings.get_mut(worker) else { return };
        let first = ring.chunks.front().map(|chunk| chunk.number);
        self.bytes -= ring.bytes;
        change(ring);
        self.bytes += ring.bytes;
        let first_now = ring.chunks.front().map(|chunk| chunk.number);
        if first != first_now {
            first.and_then(|number| self.oldest.remove(&number));
            match first_now {
                Some(number) => drop(self.oldest.insert(number, key)),
                None => drop(self.rings.remove(worker)),
            }
        }
    }

    /// The last `count` lines of one worker, or of all, oldest first. A line whose beginning is no longer kept is left out.
    /// What streams that go on have not finished yet comes last.
    pub fn lines(&self, worker: Option<&str>, count: usize) -> Vec<Line> {
        self.search(worker, count, true)
    }

    /// [`Tail::lines`] without what may still grow.
    pub fn finished_lines(&self, worker: Option<&str>, count: usize) -> Vec<Line> {
        self.search(worker, count, false)
    }

    fn search(&self, worker: Option<&str>, count: usize, unfinished: bool) -> Vec<Line> {
        let mut chunks: Vec<&Chunk> = match worker {
            Some(worker) => self.rings.get(worker).into_iter().flat_map(|ring| &ring.chunks).collect(),
            None => self.rings.values().flat_map(|ring| &ring.chunks).collect(),
        };
        chunks.sort_by_key(|chunk| chunk.number);

        let mut lines = VecDeque::new();
        let mut keep = |line| {
            lines.push_back(line);
            if lines.len() > count {
                lines.pop_front();
            }
        };
        let mut reading: BTreeMap<u64, Reading> = BTreeMap::new();
        for chunk in chunks {
            let state = reading.entry(chunk.stream).or_insert_with(|| Reading::from(chunk));
            state.latest = chunk;
            state.read(&mut keep);
            if chunk.last {
                state.finish(&mut keep);
            }
        }
        if unfinished {
            reading.into_values().for_each(|mut state| state.finish(&mut keep));
        }
        lines.into()
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(gone) = self.chunks.pop_front() {
            self.bytes -= gone.cost();
        }
    }

    fn forget(&mut self, stream: u64) {
        self.chunks.retain(|chunk| chunk.stream != stream);
        self.bytes = self.chunks.iter().map(Chunk::cost).sum();
    }
}

/// Where the search for lines is in one stream.
struct Reading<'t> {
    framer: Framer,
    headless: bool,
    latest: &'t Chunk,
}

impl<'t> From<&'t Chunk> for Reading<'t> {
    fn from(chunk: &'t Chunk) -> Self {
        Reading { framer: Framer::default(), headless: chunk.mid_line, latest: chunk }
    }
}

impl Reading<'_> {
    fn read(&mut self, keep: &mut impl FnMut(Line)) {
        let Reading { framer, headless, latest } = self;
        framer.push(&latest.bytes, |bytes, ending| line(headless, latest, bytes, ending, keep));
    }

    fn finish(&mut self, keep: &mut impl FnMut(Line)) {
        let Reading { framer, headless, latest } = self;
        framer.finish(|bytes, ending| line(headless, latest, bytes, ending, keep));
    }
}

fn line(headless: &mut bool, chunk: &Chunk, bytes: &[u8], ending: Ending, keep: &mut impl FnMut(Line)) {
    if !*headless {
        keep(Line { label: chunk.label.clone(), time: chunk.time, bytes: bytes.to_vec(), ending });
    }
    *headless = *headless && ending == Ending::Split;
}

#[cfg(test)]
mod tests {
    use super::super::line::{Stream, Writer};
    use super::*;

    fn label(worker: &str) -> Label {
        let (worker, show) = (worker.into(), worker.into());
        Arc::new(Writer { worker, instance: 0, launch: 1, show }).label(Stream::Stdout)
    }

    fn keep(tail: &mut Tail, stream: u64, label: &Label, text: &str, mid_line: bool, flood: bool) {
        tail.keep(Block { stream, label, time: now(), bytes: text.as_bytes(), mid_line, flood });
    }

    fn texts(tail: &Tail, worker: Option<&str>, count: usize) -> Vec<String> {
        tail.lines(worker, count)
            .into_iter()
            .map(|line| String::from_utf8(line.bytes).expect("text"))
            .collect()
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    #[test]
    fn lines_are_put_together_per_stream_and_shown_in_the_order_they_were_completed() {
        let (mut tail, a, b) = (Tail::default(), label("a"), label("b"));
        keep(&mut tail, 1, &a, "one\ntw", false, false);
        keep(&mut tail, 2, &b, "other\n", false, false);
        keep(&mut tail, 1, &a, "o\nthr", true, false);
        assert_eq!(texts(&tail, None, 10), ["one", "other", "two", "thr"]);
        assert_eq!(texts(&tail, Some("a"), 2), ["two", "thr"]);
        assert_eq!(tail.finished_lines(Some("a"), 2).len(), 2);
        assert_eq!(tail.finished_lines(Some("a"), 2)[1].bytes, b"two");
        assert_eq!(texts(&tail, Some("nobody"), 2), [""; 0]);
        tail.end(1, &a, now());
        keep(&mut tail, 3, &a, "next launch\n", false, false);
        assert_eq!(texts(&tail, Some("a"), 2), ["thr", "next launch"]);
    }

    #[test]
    fn a_worker_keeps_no_more_than_its_share_and_no_line_without_its_beginning() {
        let (mut tail, a) = (Tail::default(), label("a"));
        for number in 0..100_000 {
            // Every line is cut in the middle.
            keep(&mut tail, 1, &a, &format!("{number}\nnumber "), number > 0, false);
        }
        assert!(tail.bytes() <= TAIL_BYTES_OF_WORKER);
        let lines = texts(&tail, Some("a"), usize::MAX);
        assert!(lines.len() > 100);
        let first: usize = lines[0].strip_prefix("number ").expect("a whole line").parse().expect("a number");
        let whole = (first..100_000).map(|number| format!("number {number}"));
        assert_eq!(lines, whole.chain(["number ".to_owned()]).collect::<Vec<_>>());
    }

    #[test]
    fn all_workers_together_stay_within_the_limit_and_the_oldest_goes_first() {
        let mut tail = Tail { limit: 100_000, ..Tail::default() };
        for worker in 0..1000 {
            keep(&mut tail, worker, &label(&format!("w{worker}")), &"x".repeat(900), false, false);
        }
        assert!(tail.bytes() <= 100_000);
        assert_eq!(texts(&tail, Some("w0"), 1).len(), 0);
        assert_eq!(texts(&tail, Some("w999"), 1).len(), 1);
        assert!(tail.rings.len() < 120, "a worker of which nothing is left costs nothing");
    }

    #[test]
    fn the_end_of_a_flood_is_kept_without_holes() {
        let (mut tail, a) = (Tail::default(), label("a"));
        let mut next = 0;
        for flood in [false, true, true, false] {
            let lines = (next..next + 10_000).map(|number| format!("{number:07}\n")).collect::<String>();
            next += 10_000;
            keep(&mut tail, 1, &a, &lines, false, flood);
        }
        keep(&mut tail, 1, &a, "the end\n", false, false);
        let lines = texts(&tail, Some("a"), usize::MAX);
        assert_eq!(lines.last().map(String::as_str), Some("the end"));
        let numbers: Vec<u32> =
            lines[..lines.len() - 1].iter().map(|line| line.parse().expect("whole")).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        assert_eq!(numbers.last(), Some(&39_999));
    }
}
