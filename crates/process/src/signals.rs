//! Signals that this process gets, as something to read.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;

use crate::signal;

/// Turns signals into events of a descriptor, which is readable (see [`AsFd`]) when some may be pending.
///
/// A process has one of these at most, since it takes the signals' handlers; dropping it does not give them back.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// The process that sent it, or for `SIGCHLD` the child that changed; `None` when the kernel sent it for no
    /// process, as for Ctrl-C. A sender outside of this pid namespace is 0.
    pub sender: Option<Pid>,
}

impl Signals {
    /// Begins to receive these signals, whatever this process inherited for them: they are no longer ignored, and no
    /// longer blocked in the calling thread, which should be the main one.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a signal that can not be caught (`KILL`, `STOP`) or is no signal, or that tells of a fault of this
    /// process (`SEGV`, `ILL`, `FPE`); else those of making a pair of sockets.
    pub fn listen(signals: &[i32]) -> io::Result<Self> {
        // Refused here, because the library panics on them.
        let refused =
            |number: &i32| !signal::is_valid(*number) || signal_hook::consts::FORBIDDEN.contains(number);
        if signals.iter().any(refused) {
            return Err(Errno::EINVAL.into());
        }
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals)?;
        unblock(signals)?;
        Ok(Self { delivery })
    }

    /// Takes what came since the last time, without waiting. Signals merge: of several alike some are not told, but
    /// never all. In no order.
    pub fn pending(&mut self) -> impl Iterator<Item = Received> {
        self.delivery.pending().map(|origin| Received {
            signal: origin.signal,
            sender: origin.process.map(|process| Pid::from_raw(process.pid)),
        })
    }
}

/// Whether this process ignores a signal, as it does what `nohup` or a shell's `&` told it to. `false` when `/proc`
/// does not say.
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).contains(&signal) && mask >> (signal - 1) & 1 == 1
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

fn unblock(signals: &[i32]) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset makes the set whole before it is used; the numbers were checked; no old set is asked for.
    let answer = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for number in signals {
            libc::sigaddset(set.as_mut_ptr(), *number);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut())
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(answer)) }
}
