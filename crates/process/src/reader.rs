//! Whether the reader of a pipe has come back for more.
//!
//! The kernel tells who writes into a pipe when it has been emptied, but not when the reader, done with what it took,
//! asks again. It can be seen, though: the reader then sleeps inside a read of that pipe.
//!
//! What is read from `/proc` is read piece by piece while the process runs. So the count of its context switches is
//! taken before and after: a thread that slept at both looks, with the same count, has slept all the time between, and
//! all that was read in between is of one moment.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;
use nix::unistd::{Pid, gettid};

/// What the readers of a pipe are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// All of them are at something else.
    Busy,
    /// One sleeps where it may be waiting for this pipe among others, or it cannot be told.
    MayAsk,
    /// One sleeps in a read of this very pipe.
    Asks,
}

/// A pipe, told apart from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipeId {
    device: u64,
    inode: u64,
}

impl PipeId {
    /// The pipe that a descriptor is an end of.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn of(end: BorrowedFd<'_>) -> io::Result<PipeId> {
        let stat = fstat(end)?;
        Ok(PipeId { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Every process of this user that holds the pipe open, for reading or writing; the calling one left out.
    ///
    /// # Errors
    ///
    /// Those of reading the folder `/proc`.
    pub fn holders(self) -> io::Result<Vec<Pid>> {
        let me = Pid::this();
        let pids = fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
            .filter(|pid| *pid != me);
        Ok(pids.filter(|pid| Descriptors::of(*pid, self).is_some_and(|found| found.ours)).collect())
    }

    /// What one process is at, as a reader of this pipe, which must be empty. One that does not hold it is
    /// [`Reader::Busy`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use process::{Pid, PipeId, Reader};
    ///
    /// let (read, _write) = std::io::pipe()?;
    /// let pipe = PipeId::of(read.as_fd())?;
    /// let mut child = std::process::Command::new("cat").stdin(read).spawn()?;
    /// while pipe.reader(Pid::from_raw(child.id() as i32)) == Reader::Busy {}
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reader(self, pid: Pid) -> Reader {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Reader::Busy };
        threads.flatten().map(|thread| self.thread(pid, &thread.path())).max().unwrap_or(Reader::Busy)
    }

    fn thread(self, pid: Pid, thread: &Path) -> Reader {
        let Some(before) = Rest::of(thread) else { return Reader::Busy };
        let place = read(&thread.join("wchan"));
        let found = match Place::named(&place) {
            Place::Elsewhere => return Reader::Busy,
            place => match (place, Descriptors::of(pid, self)) {
                // Not ours to look into: then neither is its place to be believed.
                (_, None) => Reader::MayAsk,
                (_, Some(Descriptors { ours: false, .. })) => return Reader::Busy,
                (Place::PipeRead, Some(Descriptors { others: false, .. })) => Reader::Asks,
                (Place::PipeRead, Some(_)) => self.which_read(pid, thread),
                (_, Some(_)) => Reader::MayAsk,
            },
        };
        if Rest::of(thread).as_ref() == Some(&before) { found } else { Reader::Busy }
    }

    /// It reads one of several pipes that it holds: the kernel says which, if we may trace it.
    fn which_read(self, pid: Pid, thread: &Path) -> Reader {
        let call = read(&thread.join("syscall"));
        let mut words = call.split_ascii_whitespace();
        let (Some(number), Some(argument)) = (words.next(), words.next()) else { return Reader::MayAsk };
        let descriptor = argument.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match (number.parse::<i64>(), descriptor) {
            (Ok(number), Some(descriptor)) if number == libc::SYS_read || number == libc::SYS_readv => {
                match fs::metadata(format!("/proc/{pid}/fd/{descriptor}")) {
                    Ok(found) if self.is(&found) => Reader::Asks,
                    _ => Reader::Busy,
                }
            }
            _ => Reader::MayAsk,
        }
    }

    fn is(self, found: &fs::Metadata) -> bool {
        found.file_type().is_fifo() && found.dev() == self.device && found.ino() == self.inode
    }
}

/// How many bytes lie in a pipe and have not been read.
///
/// # Errors
///
/// When the descriptor is no end of a pipe.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
///
/// let (_read, mut write) = std::io::pipe()?;
/// write.write_all(b"hello")?;
/// assert_eq!(process::unread(write.as_fd())?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn unread(end: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one c_int, and `count` is one.
    let answer = unsafe { libc::ioctl(end.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if answer == 0 { Ok(usize::try_from(count).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// A thread asleep, and how often it has been switched so far. Two that are equal are one sleep.
#[derive(PartialEq, Eq)]
struct Rest(Vec<String>);

impl Rest {
    /// `None`: it does not sleep.
    fn of(thread: &Path) -> Option<Rest> {
        let status = read(&thread.join("status"));
        let line = |name: &str| status.lines().find(|line| line.starts_with(name));
        line("State:").filter(|state| state.contains("S (sleeping)"))?;
        let counts = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
        Some(Rest(counts.iter().filter_map(|name| line(name)).map(str::to_owned).collect()))
    }
}

/// Where in the kernel a thread sleeps, as far as it matters here.
enum Place {
    PipeRead,
    /// Waiting for one of several things, or the kernel does not say.
    Several,
    Elsewhere,
}

impl Place {
    fn named(name: &str) -> Place {
        // The names of functions of the kernel: anon_pipe_read, fifo_pipe_read, pipe_read, pipe_wait; do_select,
        // do_poll, poll_schedule_timeout, ep_poll, io_cqring_wait. A kernel without names says 0 or nothing.
        match name.trim() {
            // One that is about to sleep, and was taken off the processor before it could, shows no place either, though it
            // counts as asleep; where names are told, that is all it can be.
            "" | "0" if names_are_told() => Place::Elsewhere,
            "" | "0" => Place::Several,
            name if name.contains("pipe_read") || name.contains("pipe_wait") => Place::PipeRead,
            name if ["poll", "select", "cqring"].iter().any(|part| name.contains(part)) => Place::Several,
            _ => Place::Elsewhere,
        }
    }
}

/// Whether this kernel tells the places in which threads sleep: found out once, by one that sleeps in a read.
fn names_are_told() -> bool {
    static TOLD: OnceLock<bool> = OnceLock::new();
    *TOLD.get_or_init(|| {
        let Ok((mut read_end, write_end)) = io::pipe() else { return false };
        let (tell, told) = channel();
        let sleeper = thread::spawn(move || {
            let _ = tell.send(gettid());
            let _ = io::Read::read(&mut read_end, &mut [0]);
        });
        let Ok(tid) = told.recv() else { return false };
        let place = format!("/proc/self/task/{tid}/wchan");
        let give_up = Instant::now() + ASLEEP_WITHIN;
        let is_told = loop {
            if !matches!(read(Path::new(&place)).trim(), "" | "0") {
                break true;
            }
            if Instant::now() > give_up {
                break false;
            }
            thread::sleep(Duration::from_millis(1));
        };
        drop(write_end);
        let _ = sleeper.join();
        is_told
    })
}

/// How long a thread may take to fall asleep before the kernel counts as one that tells no places.
const ASLEEP_WITHIN: Duration = Duration::from_millis(500);

/// What a process has open that it could be reading from a pipe.
struct Descriptors {
    /// Our pipe.
    ours: bool,
    /// Another pipe, open for reading.
    others: bool,
}

impl Descriptors {
    /// `None`: it may not be looked into, or is gone.
    fn of(pid: Pid, pipe: PipeId) -> Option<Descriptors> {
        let mut found = Descriptors { ours: false, others: false };
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if pipe.is(&metadata) {
                found.ours = true;
            } else if metadata.file_type().is_fifo() {
                found.others |= Self::is_read(pid, &entry.file_name().to_string_lossy());
            }
        }
        Some(found)
    }

    fn is_read(pid: Pid, number: &str) -> bool {
        let info = read(Path::new(&format!("/proc/{pid}/fdinfo/{number}")));
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let mode = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
        match mode.map(|flags| flags & libc::O_ACCMODE) {
            Some(libc::O_WRONLY) => false,
            // Its own output, kept open so that it outlives who reads it: nobody reads from there.
            Some(libc::O_RDWR) => !matches!(number, "1" | "2"),
            _ => true,
        }
    }
}

/// What a file of `/proc` says; nothing when it cannot be read.
fn read(path: &Path) -> String {
    let mut text = String::new();
    let opened = File::open(path).and_then(|mut file| io::Read::read_to_string(&mut file, &mut text));
    if opened.is_ok() { text } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_no_place_where_places_are_told_is_not_taken_for_one_that_may_ask() {
        if !names_are_told() {
            eprintln!("skipped: this kernel does not tell where threads sleep");
            return;
        }
        for place in ["", "0", "0\n"] {
            assert!(matches!(Place::named(place), Place::Elsewhere), "{place:?}");
        }
        assert!(matches!(Place::named("anon_pipe_read"), Place::PipeRead));
        assert!(matches!(Place::named("do_poll.constprop.0"), Place::Several));
    }
}
