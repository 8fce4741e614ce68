//! The notification sockets: datagrams of `NAME=VALUE` lines (the protocol of sd_notify).
//!
//! Every launch that is to have one has a socket of its own, so that a word reaches the launch it is of even when its
//! sender has ended since. Whether the sender is of the launch's tree is for the loop to say; the kernel tells who it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::Datagram;
use supervision::Process;

/// A datagram longer than this is cut, as it is elsewhere.
const LONGEST: usize = 4096;

/// How the names of notification sockets begin; what stands behind it names a launch.
const PREFIX: &str = "notify-";

/// What a datagram said, as far as it is understood; the rest of the protocol is ignored, as it asks. Descriptors to be
/// kept (`FDSTORE=1`) are refused by being closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`: it is ready, or has loaded its configuration anew.
    pub ready: bool,
    /// `RELOADING=1`: it is loading its configuration anew.
    pub reloading: bool,
    /// `STOPPING=1`: it is about to end.
    pub stopping: bool,
    /// `STATUS=…`: what it is at.
    pub status: Option<String>,
    /// `ERRNO=…`: what went wrong.
    pub errno: Option<i32>,
    /// `MAINPID=…`: who leads from now on.
    pub main_pid: Option<i32>,
    /// `WATCHDOG=…`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=…`: how often it is to give a sign of life from now on; zero: never.
    pub watchdog_every: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=…`: how much more time it needs for what it is at.
    pub extend: Option<Duration>,
    /// `BARRIER=1`: the descriptor that came with it is to be closed once all before it was taken in.
    pub barrier: bool,
}

/// What a launch says through its watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// `1`: it is alive.
    Alive,
    /// `trigger`: it wants to be treated as one that is not.
    Trigger,
}

impl Message {
    /// Reads a datagram. Of several lines with one name, the last that makes sense counts.
    pub fn read(datagram: &[u8]) -> Message {
        let mut message = Message::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&line[..equals], &line[equals + 1..]);
            match (name, value) {
                (b"READY", b"1") => message.ready = true,
                (b"RELOADING", b"1") => message.reloading = true,
                (b"STOPPING", b"1") => message.stopping = true,
                (b"BARRIER", b"1") => message.barrier = true,
                (b"WATCHDOG", b"1") => message.watchdog = Some(Watchdog::Alive),
                (b"WATCHDOG", b"trigger") => message.watchdog = Some(Watchdog::Trigger),
                (b"STATUS", text) => message.status = Some(String::from_utf8_lossy(text).into_owned()),
                (b"ERRNO", number) => set(&mut message.errno, number, |errno: &i32| *errno > 0),
                (b"MAINPID", number) => set(&mut message.main_pid, number, |pid: &i32| *pid > 1),
                (b"WATCHDOG_USEC", number) => set_duration(&mut message.watchdog_every, number),
                (b"EXTEND_TIMEOUT_USEC", number) => set_duration(&mut message.extend, number),
                _ => {}
            }
        }
        message
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

fn set<T: std::str::FromStr>(to: &mut Option<T>, text: &[u8], fits: impl FnOnce(&T) -> bool) {
    if let Some(number) = number(text).filter(fits) {
        *to = Some(number);
    }
}

fn set_duration(to: &mut Option<Duration>, text: &[u8]) {
    if let Some(micros) = number(text) {
        *to = Some(Duration::from_micros(micros));
    }
}

/// A datagram, and who sent it.
#[derive(Debug)]
pub struct Notification {
    /// What it said.
    pub message: Message,
    /// Who the kernel says that it is from, and what came with it.
    pub datagram: Datagram,
}

/// The supervisor's end of the way on which one launch reports.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// Where the notification socket of a launch is, in the run's folder.
pub fn path_for(folder: &Path, process: Process) -> PathBuf {
    let (id, launch) = (process.instance, process.launch.0);
    // Not by the worker's name: a socket's path is short.
    folder.join(format!("{PREFIX}{}.{}.{launch}", id.worker.0, id.index))
}

/// Whether a path fits into the address of a Unix socket, as those who notify give it.
pub fn is_address(path: &Path) -> bool {
    std::os::unix::net::SocketAddr::from_pathname(path).is_ok()
}

/// Removes the notification sockets that a former run left in its folder.
pub fn clear(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // Where it cannot be removed it is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl NotifySocket {
    /// Binds at `path`.
    pub fn bind(path: PathBuf) -> io::Result<NotifySocket> {
        let socket = UnixDatagram::bind(&path)?;
        process::pass_senders(&socket)?;
        Ok(NotifySocket { socket, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next datagram. `None`: there is none.
    pub fn receive(&self) -> Option<Notification> {
        let mut buffer = [0; LONGEST];
        let datagram = process::receive(&self.socket, &mut buffer).ok()??;
        let mut said = &buffer[..datagram.length];
        if datagram.cut {
            // The last line is not whole.
            said = &said[..said.iter().rposition(|byte| *byte == b'\n').unwrap_or(0)];
        }
        Some(Notification { message: Message::read(said), datagram })
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // Somebody else may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supervision::{InstanceId, Launch, WorkerId};

    fn read(text: &str) -> Message {
        Message::read(text.as_bytes())
    }

    #[test]
    fn every_word_of_the_protocol_is_understood() {
        let all = "READY=1\nRELOADING=1\nSTOPPING=1\nSTATUS=half way\nERRNO=2\nMAINPID=4711\nWATCHDOG=1\n\
                   WATCHDOG_USEC=2000000\nEXTEND_TIMEOUT_USEC=1500\nBARRIER=1\n";
        let expected = Message {
            ready: true,
            reloading: true,
            stopping: true,
            status: Some("half way".to_owned()),
            errno: Some(2),
            main_pid: Some(4711),
            watchdog: Some(Watchdog::Alive),
            watchdog_every: Some(Duration::from_secs(2)),
            extend: Some(Duration::from_micros(1500)),
            barrier: true,
        };
        assert_eq!(read(all), expected);
        assert_eq!(read("WATCHDOG=trigger").watchdog, Some(Watchdog::Trigger));
        assert_eq!(read("WATCHDOG_USEC=0").watchdog_every, Some(Duration::ZERO));
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        let message =
            Message::read(b"X_OURS=1\nREADY=1\n\nSTATUS=half \xff way\nREADY=0\nFDSTORE=1\nFDNAME=x");
        let status = Some("half \u{fffd} way".to_owned());
        assert_eq!(message, Message { ready: true, status, ..Message::default() });
        for odd in ["", "\n\n", "=", "=1", "READY", "READY= 1", "ready=1", "READY=1 ", " READY=1", "READY=11"]
        {
            assert_eq!(read(odd), Message::default(), "{odd:?}");
        }
        assert!(!read("READY=1\0").ready);
    }

    #[test]
    fn numbers_that_mean_nothing_are_ignored() {
        for odd in ["", "-1", "+5", "5 ", "0x5", "99999999999999999999999", "5\u{661}"] {
            for name in ["MAINPID", "ERRNO", "WATCHDOG_USEC", "EXTEND_TIMEOUT_USEC"] {
                assert_eq!(read(&format!("{name}={odd}")), Message::default(), "{name}={odd:?}");
            }
        }
        for odd in ["MAINPID=0", "MAINPID=1", "MAINPID=4294967297", "ERRNO=0", "WATCHDOG=2", "WATCHDOG="] {
            assert_eq!(read(odd), Message::default(), "{odd}");
        }
        assert_eq!(read("MAINPID=7\nMAINPID=x").main_pid, Some(7));
        assert_eq!(read("STATUS=a\nSTATUS=").status.as_deref(), Some(""));
    }

    #[test]
    fn a_datagram_that_is_too_long_loses_its_last_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let instance = InstanceId { worker: WorkerId(3), index: 4 };
        let path = path_for(folder.path(), Process { instance, launch: Launch(5) });
        let socket = NotifySocket::bind(path.clone()).expect("a socket");
        let sender = UnixDatagram::unbound().expect("a socket");
        let long = format!("READY=1\nSTATUS={}", "x".repeat(LONGEST));
        sender.send_to(long.as_bytes(), &path).expect("sent");
        let heard = socket.receive().expect("it was sent");
        assert_eq!(heard.message, Message { ready: true, ..Message::default() });
        assert_eq!(heard.datagram.sender.expect("known").pid, process::Pid::this());
        assert!(socket.receive().is_none());
        drop(socket);
        assert!(!path.exists());
    }
}
