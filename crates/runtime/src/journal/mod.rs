//! The journal: every event and action of the core with its moment, a line of JSON each, so that a run can be decided
//! once more.
//!
//! ```text
//!   {"journal": 1, "version": "0.1.0", "run": "r", "time": "2026-…Z", "family": {…}}
//!   {"at": 1200, "event": {"Launched": […]}}
//!   {"at": 1200, "action": {"Changed": […]}}
//!   {"lost": 12}                                    so many lines are missing here
//! ```
//!
//! A thread of its own writes, so that a slow disk holds nobody up: what it cannot keep up with is left out, and the gap
//! is marked. A disk that is full, or a journal that has grown to [`LONGEST`], ends the journal, not the run.

mod replay;
mod wire;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, SystemTime};

use serde_json::json;
use supervision::{Action, Event, Family, Moment};

use crate::logs::stamped;
use crate::talk;
pub use replay::{Replayed, Unreplayable, replay};
use wire::Wire;

/// A journal does not grow any longer than this, in bytes.
pub const LONGEST: u64 = 1 << 30;

/// So many lines may wait for the disk.
const LINES_AT_MOST: usize = 64 << 10;

/// How long the end of a run waits for the disk.
const LAST_LINES_TAKE_AT_MOST: Duration = Duration::from_secs(5);

/// What every journal begins with.
const BEGINNING: &[u8] = b"{\"journal\":";

/// The version of the lines.
const FORMAT: u32 = 1;

#[derive(Debug)]
enum Line {
    Event(Moment, Event),
    Action(Moment, Action),
    Lost(u64),
}

/// A run's journal.
#[derive(Debug)]
pub struct Journal {
    lines: SyncSender<Line>,
    /// Says, by closing, that all is written.
    done: Receiver<()>,
    /// Lines left out since the last that was not.
    lost: u64,
}

impl Journal {
    /// Begins a run's journal in the file at `path`, behind what is in it already.
    ///
    /// # Errors
    /// Why it cannot be opened, or the first line not written; that it is a file of something else, or that another run
    /// writes to it. Then nothing has been written.
    pub fn begin(path: &Path, run: &str, family: &Family) -> io::Result<Journal> {
        let mut file = open(path)?;
        let mut written = file.seek(SeekFrom::End(0))?;
        is_for_us(&mut file, written)?;
        // A former run may have been cut off in the middle of a line.
        if written > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                written += 1;
            }
        }
        let head = json!({
            "journal": FORMAT,
            "version": env!("CARGO_PKG_VERSION"),
            "run": run,
            "time": stamped(SystemTime::now()),
            "family": family.write(),
        });
        let head = head.to_string() + "\n";
        file.write_all(head.as_bytes())?;
        let (lines, taken) = mpsc::sync_channel(LINES_AT_MOST);
        let (all_written, done) = mpsc::sync_channel(0);
        let writer = Writer {
            file: BufWriter::new(file),
            written: written + head.len() as u64,
            path: path.to_owned(),
        };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            let _all_written = all_written;
            writer.write(&taken);
        })?;
        Ok(Journal { lines, done, lost: 0 })
    }

    /// The core is told something.
    pub fn event(&mut self, at: Moment, event: &Event) {
        self.line(|| Line::Event(at, event.clone()));
    }

    /// The core has ordered something.
    pub fn action(&mut self, at: Moment, action: &Action) {
        self.line(|| Line::Action(at, action.clone()));
    }

    fn line(&mut self, line: impl FnOnce() -> Line) {
        if self.lost > 0 && self.lines.try_send(Line::Lost(self.lost)).is_ok() {
            self.lost = 0;
        }
        // Never an event behind a gap that is not marked.
        if self.lost > 0 {
            self.lost += 1;
        } else if let Err(TrySendError::Full(_)) = self.lines.try_send(line()) {
            self.lost = 1;
        }
    }

    /// Waits a while until all is written.
    pub fn end(mut self) {
        if self.lost > 0 {
            // The last chance to say so.
            let _ = self.lines.try_send(Line::Lost(self.lost));
            self.lost = 0;
        }
        drop(self.lines);
        if self.done.recv_timeout(LAST_LINES_TAKE_AT_MOST) == Err(RecvTimeoutError::Timeout) {
            talk::say("the journal's disk is too slow; its end is missing");
        }
    }
}

/// Opens without waiting for anybody, should it be a FIFO.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Whether this may be written to: a file of so many bytes, empty or a journal, to which nobody else writes.
fn is_for_us(file: &mut File, length: u64) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    // As long as it is open.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another run writes to it"),
        TryLockError::Error(error) => error,
    })?;
    let begins =
        &mut [0; BEGINNING.len()][..BEGINNING.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(begins)?;
    if !BEGINNING.starts_with(begins) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not empty, and no journal"));
    }
    Ok(())
}

struct Writer {
    file: BufWriter<File>,
    written: u64,
    path: PathBuf,
}

impl Writer {
    fn write(mut self, lines: &Receiver<Line>) {
        while let Ok(line) = lines.recv() {
            if let Err(error) = self.line(&line).and_then(|()| self.rest(lines)) {
                talk::say(format_args!(
                    "journal {}: {error}; the run goes on without it",
                    self.path.display()
                ));
                return;
            }
        }
    }

    /// All that waits; then it reaches the file.
    fn rest(&mut self, lines: &Receiver<Line>) -> io::Result<()> {
        while let Ok(line) = lines.try_recv() {
            self.line(&line)?;
        }
        self.file.flush()
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let value = match line {
            Line::Event(at, event) => json!({ "at": at.write(), "event": event.write() }),
            Line::Action(at, action) => json!({ "at": at.write(), "action": action.write() }),
            Line::Lost(count) => json!({ "lost": count }),
        };
        let text = value.to_string() + "\n";
        self.written += text.len() as u64;
        if self.written > LONGEST {
            self.file.flush()?;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has grown to {LONGEST} bytes")));
        }
        self.file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supervision::{Supervisor, Worker};

    fn family() -> Family {
        Family::of(vec![Worker::named("a"), Worker::named("b")])
    }

    /// A short run, written down.
    fn live(path: &Path) {
        let mut core = Supervisor::new(family());
        let mut journal = Journal::begin(path, "r", &family()).expect("a journal");
        for (at, event) in [(0, Event::Begin), (5, Event::Tick), (9, Event::ShutdownNow)] {
            let now = Moment::from_nanos(at);
            journal.event(now, &event);
            core.handle(now, event);
            while let Some(action) = core.poll_action() {
                journal.action(now, &action);
            }
        }
        journal.end();
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).expect("a journal")
    }

    #[test]
    fn what_was_decided_is_decided_again_run_after_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        live(&path);
        // Cut off in the middle of a line, as by kill -9.
        std::fs::write(&path, text(&path) + "{\"at\": 1").expect("it is ours");
        live(&path);
        let mut told = Vec::new();
        let replayed =
            replay(text(&path).as_bytes(), Some("a"), &mut |line| told.push(line)).expect("the same");
        assert_eq!((replayed.runs, replayed.events, replayed.cut), (2, 6, 1));
        assert!(told.iter().any(|line| line.contains("Launch a:0#1")), "{told:?}");
        assert!(!told.iter().any(|line| line.contains("b:0")), "{told:?}");
    }

    #[test]
    fn another_action_than_was_written_is_found_and_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        live(&path);
        let forged = text(&path).replacen("\"Launch\"", "\"Kill\"", 1);
        match replay(forged.as_bytes(), None, &mut |_| {}) {
            Err(Unreplayable::Differs { written, decided, .. }) => {
                assert!(
                    written.contains("Kill a:0#1") && decided.contains("Launch a:0#1"),
                    "{written} {decided}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn gaps_and_nonsense_are_told_with_their_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        live(&path);
        let whole = text(&path);
        let lines: Vec<&str> = whole.lines().collect();
        let read = |text: String| replay(text.as_bytes(), None, &mut |_| {});
        let gap = [lines[0], lines[1], "{\"lost\":3}", lines[2]].join("\n") + "\n";
        assert!(matches!(read(gap), Err(Unreplayable::Gap { line: 3, lost: 3, .. })));
        let nonsense = [lines[0], "{\"at\":1,\"event\":\"Nonsense\"}", lines[1]].join("\n") + "\n";
        assert!(matches!(read(nonsense), Err(Unreplayable::Unknown { line: 2 })));
        assert!(matches!(read("no journal\n".to_owned()), Err(Unreplayable::Unknown { line: 1 })));
        assert!(matches!(read(String::new()), Err(Unreplayable::Empty)));
    }

    #[test]
    fn a_full_disk_ends_the_journal_and_nothing_else() {
        let mut journal = match Journal::begin(Path::new("/dev/full"), "r", &family()) {
            // It says so at the first line already.
            Err(error) => return assert_eq!(error.raw_os_error(), Some(libc::ENOSPC)),
            Ok(journal) => journal,
        };
        journal.event(Moment::START, &Event::Begin);
        journal.end();
    }

    #[test]
    fn what_a_slow_disk_cannot_take_is_a_marked_gap() {
        let (lines, taken) = mpsc::sync_channel(2);
        let (_all_written, done) = mpsc::sync_channel(0);
        let mut journal = Journal { lines, done, lost: 0 };
        for _ in 0..5 {
            journal.event(Moment::START, &Event::Tick);
        }
        assert!(matches!(taken.recv(), Ok(Line::Event(..))) && matches!(taken.recv(), Ok(Line::Event(..))));
        journal.event(Moment::START, &Event::Tick);
        assert!(matches!(taken.recv(), Ok(Line::Lost(3))));
        assert!(matches!(taken.recv(), Ok(Line::Event(..))));
    }
}
