//! The notification socket: datagrams of `NAME=VALUE` lines (the protocol of sd_notify), known by the sender's
//! credentials.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt};

/// A datagram longer than this is cut.
const LONGEST: usize = 4096;

/// What a datagram said, as far as it is understood; the rest of the protocol is ignored, as it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`.
    pub ready: bool,
    /// `STATUS=…`.
    pub status: Option<String>,
}

impl Message {
    /// Reads a datagram.
    ///
    pub fn read(datagram: &[u8]) -> Message {
        let mut message = Message::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                message.ready = true;
            } else if let Some(status) = line.strip_prefix(b"STATUS=") {
                message.status = Some(String::from_utf8_lossy(status).into_owned());
            }
        }
        message
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Binds at `path`, in the place of a socket that a former run left there.
    pub fn bind(path: &Path) -> io::Result<NotifySocket> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        Ok(NotifySocket { socket, path: path.to_owned() })
    }

    /// The next datagram and the pid of its sender, as the kernel tells it. `None`: there is none.
    pub fn receive(&self) -> Option<(i32, Message)> {
        loop {
            let mut buffer = [0; LONGEST];
            let mut space = nix::cmsg_space!(UnixCredentials);
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let (length, sender) =
                match recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                    Ok(received) => {
                        let mut sender = None;
                        for part in received.cmsgs().into_iter().flatten() {
                            if let ControlMessageOwned::ScmCredentials(credentials) = part {
                                sender = Some(credentials.pid());
                            }
                        }
                        (received.bytes, sender)
                    }
                    Err(nix::errno::Errno::EINTR) => continue,
                    Err(_) => return None,
                };
            if let Some(sender) = sender {
                return Some((sender, Message::read(&buffer[..length])));
            }
        }
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

    #[test]
    fn what_is_not_understood_is_ignored() {
        let message = Message::read(b"X_OURS=1\nREADY=1\n\nSTATUS=half \xff way\nREADY=0");
        assert_eq!(message, Message { ready: true, status: Some("half \u{fffd} way".to_owned()) });
    }
}
