//! The pipes between workers and the pump.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use super::line::Stream;

/// The size of a pipe that is known to flow.
const WIDE: libc::c_int = 1024 * 1024;

/// Where output is read from: reads return at once when there is nothing, and no worker gets it by accident.
#[derive(Debug)]
pub struct Inlet(OwnedFd);

impl Inlet {
    /// Makes a descriptor one.
    ///
    /// # Errors
    /// It is not open.
    pub fn of(read: OwnedFd) -> io::Result<Inlet> {
        let flags = OFlag::from_bits_retain(fcntl(&read, FcntlArg::F_GETFL)?);
        fcntl(&read, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        fcntl(&read, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        Ok(Inlet(read))
    }
}

impl From<Inlet> for OwnedFd {
    fn from(inlet: Inlet) -> OwnedFd {
        inlet.0
    }
}

/// Makes the pipe for one output of a worker: the end to read, the end the worker gets. Both are closed on exec; give the
/// second one to the worker by `dup2`, and close it here once the worker has it.
///
/// With `keep_open_without_reader` the second end is open for reading too. A worker that outlives its supervisor is then not
/// killed by SIGPIPE: it writes until the pipe is full (64 KiB) and waits for the next reader, who comes in by [`adopt`].
///
/// # Errors
/// Out of descriptors; with `keep_open_without_reader` also where `/proc` is not mounted.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// let (read, write) = runtime::logs::pipe(true)?;
/// let mut writer = std::fs::File::from(write);
/// writer.write_all(b"hello")?;
/// drop(read);
/// writer.write_all(b", anybody?")?; // no EPIPE, though nobody reads
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe(keep_open_without_reader: bool) -> io::Result<(Inlet, OwnedFd)> {
    if !keep_open_without_reader {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // Ours alone: the worker may wait when it writes.
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        return Ok((Inlet(read), write));
    }
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // Opened anew it is one that waits. std opens with O_CLOEXEC.
    let both =
        OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{}", write.as_raw_fd()))?;
    Ok((Inlet(read), OwnedFd::from(both)))
}

/// Opens the pipe that process `pid` writes its output into, for reading. The caller knows that the pid is still its worker's.
///
/// # Errors
/// The process is gone or not ours; `InvalidInput` when the output is no pipe.
pub fn adopt(pid: i32, stream: Stream) -> io::Result<Inlet> {
    let number = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    let path = format!("/proc/{pid}/fd/{number}");
    // Looked at before it is opened: opening a terminal or a device may do things.
    if !std::fs::metadata(&path)?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a pipe"));
    }
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // std opens with O_CLOEXEC.
    Ok(Inlet(file.into()))
}

/// Pipes that are made before they are needed: opening one takes several calls of the kernel, and a successor is in a hurry.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// All of one kind.
    pipes: Vec<(Inlet, OwnedFd)>,
    /// Which kind: that which was asked for last, if any was.
    kind: Option<bool>,
}

/// What one launch needs.
const STOCKED: usize = 2;

impl Stock {
    /// A pipe of this kind (see [`pipe`]), made before or now.
    pub fn take(&mut self, keep_open_without_reader: bool) -> io::Result<(Inlet, OwnedFd)> {
        if self.kind != Some(keep_open_without_reader) {
            self.kind = Some(keep_open_without_reader);
            self.pipes.clear();
        }
        self.pipes.pop().map_or_else(|| pipe(keep_open_without_reader), Ok)
    }

    /// Makes what is missing, as far as it can be had.
    pub fn fill(&mut self) {
        let Some(kind) = self.kind else { return };
        while self.pipes.len() < STOCKED {
            let Ok(pipe) = pipe(kind) else { return };
            self.pipes.push(pipe);
        }
    }
}

/// How many bytes the pipe can hold.
pub(super) fn capacity(read: impl AsFd) -> usize {
    fcntl(read, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(64 * 1024)
}

/// Widens the pipe; says whether it is wide now. Users have a limit, so it may not be, and that is fine.
pub(super) fn widen(read: impl AsFd) -> bool {
    fcntl(read, FcntlArg::F_SETPIPE_SZ(WIDE)).is_ok()
}
