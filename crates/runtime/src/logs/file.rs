//! One log file: opened by its first byte, rotated at its size, honest about what it could not take.

use super::format;
use super::loss::{Loss, Trouble, Troubles, reason};
use super::rotation::{Fill, move_aside, move_back};
use super::stamp::stamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long after a failed rotation the next one is tried.
const ROTATE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How lines stand in a log file; the [module](super) shows each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Time, who, and the line as it was written.
    Text,
    /// One JSON object a line.
    Json,
    /// The bytes as they came.
    Raw,
}

/// Where a worker's lines go on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The file that is written; older ones are beside it as `path.1`, `path.2`, the oldest last.
    pub path: PathBuf,
    /// Bytes after which it is rotated, at the next end of a line; 0 is never.
    pub max_size: u64,
    /// How many older files are kept; 0 empties the file instead of moving it aside.
    pub keep: u32,
    /// How lines are written.
    pub format: Format,
}

/// A log file that several streams may write, in turns; made by [`Pump::file`](super::Pump::file).
///
/// It is opened by the first byte that is written to it (mode 0640, less the umask) and closed when its last stream has ended.
/// A path that is no regular file (a FIFO, a terminal, `/dev/stdout`) is written without waiting and never rotated.
#[derive(Debug)]
pub struct SharedLogFile {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: LogFile,
    open: Option<Open>,
    loss: Option<Loss>,
    rotate_again_at: Option<Instant>,
    streams: usize,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Where the file really is, links resolved: that is what is moved aside.
    path: PathBuf,
    size: u64,
    line_start: bool,
    regular: bool,
}

impl SharedLogFile {
    pub(super) fn new(settings: LogFile) -> SharedLogFile {
        let state = State { settings, open: None, loss: None, rotate_again_at: None, streams: 0 };
        SharedLogFile { state: Mutex::new(state) }
    }

    /// The path as it was given.
    pub fn path(&self) -> PathBuf {
        self.lock().settings.path.clone()
    }

    pub(super) fn format(&self) -> Format {
        self.lock().settings.format
    }

    /// Size, number of old files and format from now on.
    pub(super) fn change(&self, settings: LogFile) {
        self.lock().settings = settings;
    }

    /// Writes whole records, or any bytes of a raw file. Never fails: what cannot be written is counted and told.
    pub(super) fn write(&self, bytes: &[u8], now: Instant, troubles: &Troubles) {
        self.lock().write(bytes, now, troubles);
    }

    pub(super) fn stream_begins(&self) {
        self.lock().streams += 1;
    }

    /// Closes the file after its last stream and says what it never got.
    pub(super) fn stream_ends(&self, troubles: &Troubles) {
        let mut state = self.lock();
        state.streams -= 1;
        if state.streams > 0 {
            return;
        }
        if state.loss.is_some() {
            // One more try, so that the file itself says what is missing.
            state.write_loss(troubles).ok();
        }
        state.open = None;
        if let Some(Loss { bytes, reason, .. }) = state.loss.take() {
            troubles.tell(Trouble::Lost { place: state.place(), bytes, reason });
        }
    }

    /// Opens the path anew, after somebody else has moved the file; goes on with the old one if that fails.
    pub(super) fn reopen(&self, troubles: &Troubles) {
        let mut state = self.lock();
        if state.open.is_none() {
            return;
        }
        match open(&state.settings.path) {
            Ok(open) => state.open = Some(open),
            Err(error) => {
                let place = state.place();
                troubles.tell(Trouble::NotRotated { place, reason: reason(&error) });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&self) -> String {
        self.settings.path.display().to_string()
    }

    fn write(&mut self, mut bytes: &[u8], now: Instant, troubles: &Troubles) {
        if let Some(loss) = &mut self.loss
            && now < loss.retry_at
        {
            loss.bytes += bytes.len() as u64;
            return;
        }
        // What is written to a removed file is read by nobody; the cost is a small part of the write's.
        if self.open.as_ref().is_some_and(Open::is_removed) {
            self.open = None;
        }
        if let Err(error) =
            self.write_loss(troubles).and_then(|()| self.write_shares(&mut bytes, now, troubles))
        {
            let place = self.place();
            Loss::note(&mut self.loss, bytes.len(), reason(&error), now, &place, troubles);
        }
    }

    /// Ends an episode: the file says how many bytes are missing.
    fn write_loss(&mut self, troubles: &Troubles) -> io::Result<()> {
        let Some(loss) = &self.loss else { return Ok(()) };
        let mut record =
            format::lost(self.settings.format, &stamp(SystemTime::now()), loss.bytes, &loss.reason);
        let lost = loss.bytes;
        let open = opened(&mut self.open, &self.settings.path)?;
        if !open.line_start {
            // The disk filled up in the middle of a record.
            record.insert(0, b'\n');
        }
        open.write(&mut &record[..])?;
        self.loss = None;
        troubles.tell(Trouble::Resumed { place: self.place(), bytes: lost });
        Ok(())
    }

    /// Takes from `bytes` what is written.
    fn write_shares(&mut self, bytes: &mut &[u8], now: Instant, troubles: &Troubles) -> io::Result<()> {
        while !bytes.is_empty() {
            let LogFile { path, max_size, format, .. } = &self.settings;
            let open = opened(&mut self.open, path)?;
            let fill = Fill {
                size: open.size,
                max_size: if *max_size == 0 || !open.regular { u64::MAX } else { *max_size },
                line_start: open.line_start,
                framed: *format != Format::Raw,
            };
            let mut share = fill.share(bytes);
            if share == 0 {
                share = match self.rotate(now, troubles) {
                    Ok(()) => continue,
                    // Better too large than incomplete, but not without end.
                    Err(_) if fill.size < fill.max_size.saturating_mul(2) => bytes.len(),
                    Err(error) => return Err(error),
                };
            }
            let open = opened(&mut self.open, &self.settings.path)?;
            if fill.framed && !open.line_start {
                // An earlier run, or a disk that filled up, left half a record.
                open.write(&mut &b"\n"[..])?;
            }
            let mut rest = &bytes[..share];
            let outcome = open.write(&mut rest);
            *bytes = &bytes[share - rest.len()..];
            outcome?;
        }
        Ok(())
    }

    /// Begins a new file. While that fails the old one stays open, under its name.
    fn rotate(&mut self, now: Instant, troubles: &Troubles) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // Somebody else may have emptied it meanwhile: then there is nothing to move aside.
        let found = open.file.metadata()?;
        if found.len() < open.size {
            (open.size, open.line_start) = (found.len(), true);
            if found.len() < self.settings.max_size {
                return Ok(());
            }
        }
        if self.rotate_again_at.is_some_and(|at| now < at) {
            return Err(io::Error::other("its file is full and cannot be rotated"));
        }
        match replaced(open, self.settings.keep) {
            Ok(new) => {
                if let Some(new) = new {
                    self.open = Some(new);
                }
                self.rotate_again_at = None;
                Ok(())
            }
            Err(error) => {
                if self.rotate_again_at.is_none() {
                    troubles.tell(Trouble::NotRotated { place: self.place(), reason: reason(&error) });
                }
                self.rotate_again_at = Some(now + ROTATE_AGAIN_AFTER);
                Err(error)
            }
        }
    }
}

/// The file that takes the place of a full one; `None` when that one was emptied.
fn replaced(full: &mut Open, keep: u32) -> io::Result<Option<Open>> {
    if keep == 0 {
        full.file.set_len(0)?;
        (full.size, full.line_start) = (0, true);
        return Ok(None);
    }
    move_aside(&full.path, keep)?;
    match open(&full.path) {
        Ok(new) => Ok(Some(new)),
        Err(error) => {
            move_back(&full.path)?;
            Err(error)
        }
    }
}

fn opened<'o>(slot: &'o mut Option<Open>, path: &Path) -> io::Result<&'o mut Open> {
    match slot {
        Some(open) => Ok(open),
        None => Ok(slot.insert(open(path)?)),
    }
}

fn open(path: &Path) -> io::Result<Open> {
    // Without O_NONBLOCK a FIFO that nobody reads would hold up everything; regular files do not care.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // What an earlier run left may end without a newline; the first record then begins a line of its own.
    let line_start = found.len() == 0 || !found.is_file() || ends_line(&path);
    Ok(Open { file, path, size: found.len(), line_start, regular: found.is_file() })
}

/// Whether the last byte of the file is a newline; a file that cannot be read is taken to.
fn ends_line(path: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    let last = || {
        let file = File::open(path)?;
        let mut byte = [b'\n'];
        file.read_at(&mut byte, file.metadata()?.len().saturating_sub(1))?;
        Ok::<_, io::Error>(byte[0])
    };
    last().map_or(true, |byte| byte == b'\n')
}

impl Open {
    /// Whether somebody has removed it.
    fn is_removed(&self) -> bool {
        self.regular && self.file.metadata().is_ok_and(|found| found.nlink() == 0)
    }

    /// Takes from `bytes` what is written, also when it fails on the way.
    fn write(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.line_start = bytes[written - 1] == b'\n';
                    self.size += written as u64;
                    *bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: PathBuf, format: Format) -> LogFile {
        LogFile { path, max_size: 100, keep: 3, format }
    }

    #[test]
    fn a_file_that_cannot_be_opened_says_so_once_and_tells_the_loss_when_it_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::create_dir(&path).expect("a folder in the place of the file");
        let troubles = Troubles::new().expect("an eventfd");
        let file = SharedLogFile::new(settings(path.clone(), Format::Text));
        file.stream_begins();
        let mut now = Instant::now();
        for _ in 0..5 {
            file.write(b"12345\n", now, &troubles);
            now += Duration::from_millis(60);
        }
        let told = troubles.take();
        assert!(matches!(&told[..], [Trouble::Losing { .. }]), "{told:?}");

        fs::remove_dir(&path).expect("to make way");
        file.write(b"at last\n", now + Duration::from_secs(1), &troubles);
        let text = fs::read_to_string(&path).expect("the log");
        assert!(text.contains(" supervisor log | 30 bytes of log lost: Is a directory\nat last\n"), "{text}");
        let place = path.display().to_string();
        assert_eq!(troubles.take(), [Trouble::Resumed { place, bytes: 30 }]);
    }

    #[test]
    fn what_a_full_disk_never_took_is_told_at_the_end() {
        let troubles = Troubles::new().expect("an eventfd");
        let file = SharedLogFile::new(settings("/dev/full".into(), Format::Raw));
        file.stream_begins();
        file.write(b"12345", Instant::now(), &troubles);
        file.stream_ends(&troubles);
        let (place, reason) = ("/dev/full".to_owned(), "No space left on device".to_owned());
        let losing = Trouble::Losing { place: place.clone(), reason: reason.clone() };
        assert_eq!(troubles.take(), [losing, Trouble::Lost { place, bytes: 5, reason }]);
    }

    #[test]
    fn a_file_that_cannot_be_rotated_grows_to_twice_its_size_and_then_drops() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        // Neither a file nor an empty folder can be replaced by a file: this holds for root as well.
        fs::create_dir_all(folder.path().join("log.1/in the way")).expect("a folder");
        let troubles = Troubles::new().expect("an eventfd");
        let file = SharedLogFile::new(LogFile { keep: 1, ..settings(path.clone(), Format::Raw) });
        file.stream_begins();
        let now = Instant::now();
        for _ in 0..30 {
            file.write(b"123456789\n", now, &troubles);
        }
        let told = troubles.take();
        assert!(matches!(&told[..], [Trouble::NotRotated { .. }, Trouble::Losing { .. }]), "{told:?}");
        assert_eq!(fs::metadata(&path).expect("the log").len(), 200);

        fs::remove_dir_all(folder.path().join("log.1")).expect("to make way");
        file.write(b"again\n", now + ROTATE_AGAIN_AFTER, &troubles);
        let old = fs::read(folder.path().join("log.1")).expect("the old log");
        let new = fs::read_to_string(&path).expect("the new log");
        assert!(old.starts_with(&b"123456789\n".repeat(20)), "the old file is whole");
        assert!([old, new.into_bytes()].concat().ends_with(b"again\n"));
    }

    #[test]
    fn a_file_emptied_or_removed_by_others_is_simply_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let troubles = Troubles::new().expect("an eventfd");
        let file = SharedLogFile::new(settings(path.clone(), Format::Raw));
        file.stream_begins();
        file.write(&b"123456789\n".repeat(10), Instant::now(), &troubles);
        OpenOptions::new().write(true).truncate(true).open(&path).expect("to empty it");
        file.write(b"a\n", Instant::now(), &troubles);
        assert_eq!(fs::read_to_string(&path).expect("the log"), "a\n");
        fs::remove_file(&path).expect("to remove it");
        file.write(b"b\n", Instant::now(), &troubles);
        assert_eq!(fs::read_to_string(&path).expect("the log"), "b\n");
        assert_eq!(troubles.take(), []);
    }

    #[test]
    fn without_old_files_a_full_one_is_emptied() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let troubles = Troubles::new().expect("an eventfd");
        let file = SharedLogFile::new(LogFile { keep: 0, ..settings(path.clone(), Format::Raw) });
        file.stream_begins();
        file.write(&b"123456789\n".repeat(10), Instant::now(), &troubles);
        file.write(b"new\n", Instant::now(), &troubles);
        assert_eq!(fs::read_to_string(&path).expect("the log"), "new\n");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }

    #[test]
    fn a_record_after_half_a_line_of_an_earlier_run_begins_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let troubles = Troubles::new().expect("an eventfd");
        for (before, after) in [("half", "half\nnew\n"), ("whole\n", "whole\nnew\n")] {
            fs::write(&path, before).expect("a file");
            let file = SharedLogFile::new(settings(path.clone(), Format::Text));
            file.write(b"new\n", Instant::now(), &troubles);
            assert_eq!(fs::read_to_string(&path).expect("the log"), after);
        }
    }
}
