//! Datagrams with all that the kernel knows of their sender.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

/// More descriptors than the kernel lets anybody send at once (`SCM_MAX_FD` is 253).
const DESCRIPTORS_AT_MOST: usize = 256;

/// The numbers of Linux 6.5 for receiving a pidfd of the sender.
const SO_PASSPIDFD: libc::c_int = 76;
const SCM_PIDFD: libc::c_int = 4;

/// One datagram.
#[derive(Debug)]
pub struct Datagram {
    /// So many bytes of the buffer are its own.
    pub length: usize,
    /// Whether it was longer than the buffer.
    pub cut: bool,
    /// Who sent it; `None` when the kernel did not say.
    pub sender: Option<Sender>,
    /// The descriptors that came with it, closed on exec. Dropping it closes them.
    pub descriptors: Vec<OwnedFd>,
}

/// Who sent a datagram. It can not be forged but by the superuser.
#[derive(Debug)]
pub struct Sender {
    /// Its process id then; 0 when it is outside of this pid namespace. It may have gone and its pid been reused since.
    pub pid: Pid,
    /// Its user.
    pub uid: u32,
    /// The process itself, whatever became of its pid; `None` before Linux 6.5.
    pub pidfd: Option<OwnedFd>,
}

/// Has every datagram of a Unix socket carry its sender's credentials, and its pidfd where the kernel offers that.
///
/// # Errors
///
/// `ENOTSOCK` and the like for what is no socket.
pub fn pass_senders(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::PassCred, &true)?;
    let on: libc::c_int = 1;
    // Its absence only means that there will be no pidfd.
    // SAFETY: the kernel reads one integer of ours, whose size is given.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSPIDFD,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    Ok(())
}

/// Takes the next datagram from a socket into `buffer`, without waiting. `None`: there is none.
///
/// ```
/// use std::os::unix::net::UnixDatagram;
///
/// let (ours, theirs) = UnixDatagram::pair()?;
/// process::pass_senders(&ours)?;
/// theirs.send(b"hello")?;
/// let mut buffer = [0; 100];
/// let datagram = process::receive(&ours, &mut buffer)?.expect("it was sent");
/// assert_eq!(&buffer[..datagram.length], b"hello");
/// assert_eq!(datagram.sender.expect("it is known").pid, process::Pid::this());
/// assert!(process::receive(&ours, &mut buffer)?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Whatever `recvmsg` refuses to do but to wait.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
    // Room for a pidfd, credentials and all descriptors, each behind its head; words, so that it is aligned.
    let mut control =
        [0u64; (4 * 32 + size_of::<libc::ucred>() + DESCRIPTORS_AT_MOST * size_of::<RawFd>()) / 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr of zeroes is one of null pointers and no lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let length = loop {
        // SAFETY: the message points to two buffers of ours with their lengths, which live on.
        let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(length) {
            Ok(length) => break length,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                error => return Err(error),
            },
        }
    };
    let mut datagram = Datagram {
        length,
        cut: message.msg_flags & libc::MSG_TRUNC != 0,
        sender: None,
        descriptors: Vec::new(),
    };
    let mut pidfd = None;
    // SAFETY: the kernel has filled in the message's control buffer and its length.
    let mut head = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !head.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give heads inside of the control buffer only.
        let (level, kind, size) = unsafe { ((*head).cmsg_level, (*head).cmsg_type, (*head).cmsg_len) };
        // SAFETY: as above; the data lie behind the head.
        let data = unsafe { libc::CMSG_DATA(head) };
        // SAFETY: arithmetic only.
        let held = size - unsafe { libc::CMSG_LEN(0) } as usize;
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if held >= size_of::<libc::ucred>() => {
                // SAFETY: so many bytes are there, and any bytes make a ucred.
                let who = unsafe { ptr::read_unaligned(data.cast::<libc::ucred>()) };
                datagram.sender = Some(Sender { pid: Pid::from_raw(who.pid), uid: who.uid, pidfd: None });
            }
            (libc::SOL_SOCKET, SCM_PIDFD) if held >= size_of::<RawFd>() => {
                // SAFETY: so many bytes are there.
                let fd = unsafe { ptr::read_unaligned(data.cast::<RawFd>()) };
                // SAFETY: the kernel has just made this descriptor for us; negative: it could not.
                pidfd = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for index in 0..held / size_of::<RawFd>() {
                    // SAFETY: so many are there, and the kernel has just made each of them for us.
                    let fd =
                        unsafe { OwnedFd::from_raw_fd(ptr::read_unaligned(data.cast::<RawFd>().add(index))) };
                    datagram.descriptors.push(fd);
                }
            }
            _ => {}
        }
        // SAFETY: both are as the kernel and the macros left them.
        head = unsafe { libc::CMSG_NXTHDR(&raw const message, head) };
    }
    if let Some(sender) = &mut datagram.sender {
        sender.pidfd = pidfd;
    }
    Ok(Some(datagram))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn pair() -> (UnixDatagram, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        pass_senders(&ours).unwrap();
        (ours, theirs)
    }

    #[test]
    fn a_datagram_that_is_too_long_says_that_it_was_cut() {
        let (ours, theirs) = pair();
        theirs.send(&[7; 100]).unwrap();
        theirs.send(&[7; 10]).unwrap();
        let mut buffer = [0; 10];
        let first = receive(&ours, &mut buffer).unwrap().unwrap();
        assert_eq!((first.length, first.cut), (10, true));
        let second = receive(&ours, &mut buffer).unwrap().unwrap();
        assert_eq!((second.length, second.cut), (10, false));
    }

    #[test]
    fn descriptors_come_with_it_and_are_closed_with_it() {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let (ours, theirs) = pair();
        let (mut end, write) = io::pipe().unwrap();
        let fds = [write.as_raw_fd(); 3];
        let rights = [ControlMessage::ScmRights(&fds)];
        let text = [io::IoSlice::new(b"FDSTORE=1")];
        sendmsg::<()>(theirs.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).unwrap();
        drop(write);
        let datagram = receive(&ours, &mut [0; 100]).unwrap().unwrap();
        assert_eq!(datagram.descriptors.len(), 3);
        let me = datagram.sender.as_ref().unwrap();
        assert_eq!((me.pid, me.uid), (Pid::this(), nix::unistd::geteuid().as_raw()));
        drop(datagram);
        // Nobody can write any more, so this does not wait.
        assert_eq!(io::Read::read(&mut end, &mut [0; 1]).unwrap(), 0);
    }
}
