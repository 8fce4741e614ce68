//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;

/// The process that connected a Unix socket (or made the pair), as the kernel knew it then.
#[derive(Debug)]
pub struct Peer {
    /// Its process id; 0 when it is outside of this pid namespace. It may have gone and its pid been reused since.
    pub pid: Pid,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// The process itself, whatever became of its pid; `None` before Linux 6.5, or when it has already been reaped.
    pub pidfd: Option<OwnedFd>,
}

/// Asks the kernel who the peer of a connected Unix socket is. It can not be forged, only passed on by who has it.
///
/// # Errors
///
/// `ENOTSOCK` and the like for what is no socket.
///
/// ```
/// let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
/// assert_eq!(process::peer(&ours).unwrap().pid, process::Pid::this());
/// ```
pub fn peer(socket: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
    Ok(Peer {
        pid: Pid::from_raw(credentials.pid()),
        uid: credentials.uid(),
        gid: credentials.gid(),
        pidfd: peer_pidfd(socket),
    })
}

fn peer_pidfd(socket: &impl AsFd) -> Option<OwnedFd> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut size = size_of_val(&fd) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes, one descriptor, to `fd`.
    let answer = unsafe {
        let socket = socket.as_fd().as_raw_fd();
        libc::getsockopt(socket, libc::SOL_SOCKET, SO_PEERPIDFD, (&raw mut fd).cast(), &raw mut size)
    };
    // SAFETY: on success the kernel has just made this descriptor for us and nobody else knows it.
    (answer == 0 && fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}
