//! SignalQueue that this process gets, as something to read.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::signal;
use crate::signals::Received;

/// SignalQueue that tell of a fault of the thread that gets them: blocked or not, it does not go on.
const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// How many signals are read at once.
const AT_ONCE: usize = 8;

/// Keeps signals until they are read; readable (see [`AsFd`]) while some are pending.
///
/// Nothing interrupts anybody and no handler runs, which thousands of deaths would pay for: the signals are blocked. They
/// stay so when this is dropped. [`Signals`](crate::Signals) does without, and suits a process that has threads already,
/// or executes others by means that hand the mask down.
#[derive(Debug)]
pub struct SignalQueue {
    descriptor: OwnedFd,
}

impl SignalQueue {
    /// Begins to receive these signals, whatever this process inherited for them.
    ///
    /// They are blocked in the calling thread and in those that it starts from now on. Call it before there is any
    /// other: one that does not block them would end this process by them. Programs started by
    /// [`Spawn`](crate::Spawn) have them unblocked.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a signal that can not be caught (`KILL`, `STOP`) or is no signal, or that tells of a fault of this
    /// process (`SEGV`, `BUS`, `ILL`, `FPE`); else those of making the descriptor.
    pub fn listen(signals: &[i32]) -> io::Result<Self> {
        let refused = |number: &i32| {
            !signal::is_valid(*number)
                || FAULTS.contains(number)
                || [libc::SIGKILL, libc::SIGSTOP].contains(number)
        };
        if signals.iter().any(refused) {
            return Err(Errno::EINVAL.into());
        }
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset makes the set whole before it is used, and the numbers were checked. The default is no
        // handler. The set is ours, and no old one is asked for.
        let descriptor = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for number in signals {
                libc::sigaddset(set.as_mut_ptr(), *number);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) {
                0 => {}
                error => return Err(io::Error::from_raw_os_error(error)),
            }
            for number in signals {
                // What is ignored is not kept; and whoever ignores CHLD never learns how a child has ended.
                libc::signal(*number, libc::SIG_DFL);
            }
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        Errno::result(descriptor)?;
        // SAFETY: signalfd has just made it, for us alone.
        Ok(Self { descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Takes what came since the last time, without waiting. SignalQueue merge: of several alike some are not told, but
    /// never all. The lowest number comes first.
    pub fn pending(&mut self) -> impl Iterator<Item = Received> {
        let mut read = Vec::new();
        let mut more = true;
        std::iter::from_fn(move || {
            if read.is_empty() && more {
                read = self.read();
                more = read.len() == AT_ONCE;
                read.reverse();
            }
            read.pop()
        })
    }

    /// Reads a few; fewer than [`AT_ONCE`]: no more are pending.
    fn read(&self) -> Vec<Received> {
        const ONE: usize = size_of::<libc::signalfd_siginfo>();
        // SAFETY: it is plain data for which zeroes are a value.
        let mut told: [libc::signalfd_siginfo; AT_ONCE] = unsafe { mem::zeroed() };
        // SAFETY: the size is that of the array, which is ours; the kernel writes whole entries.
        let length =
            unsafe { libc::read(self.descriptor.as_raw_fd(), told.as_mut_ptr().cast(), size_of_val(&told)) };
        // An error is that none is pending.
        let count = usize::try_from(length).map_or(0, |length| length / ONE);
        told[..count].iter().filter_map(received).collect()
    }
}

fn received(told: &libc::signalfd_siginfo) -> Option<Received> {
    let from_a_process = told.ssi_code <= 0 || told.ssi_signo == libc::SIGCHLD as u32;
    Some(Received {
        signal: i32::try_from(told.ssi_signo).ok()?,
        sender: i32::try_from(told.ssi_pid).ok().filter(|_| from_a_process).map(Pid::from_raw),
    })
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
