//! Signals that this process gets, as something to read.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::signal;

/// Signals that tell of a fault of the thread that gets them: blocked or not, it does not go on.
const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// How many signals are read at once.
const AT_ONCE: usize = 8;

/// Turns signals into events of a descriptor, which is readable (see [`AsFd`]) while some are pending.
///
/// Nothing interrupts anybody: the signals are blocked, and wait to be read. They stay blocked when this is dropped.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
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
    /// Begins to receive these signals, whatever this process inherited for them.
    ///
    /// They are blocked in the calling thread and in those that it starts from now on. Call it before there is any
    /// other: a thread that does not block them would die of them.
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

    /// Takes what came since the last time, without waiting. Signals merge: of several alike some are not told, but
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
        self.descriptor.as_fd()
    }
}
