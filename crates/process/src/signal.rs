//! Signals: their names, and sending them to a process that can not be mistaken for another.

use std::borrow::Cow;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::priority::Processors;

/// From how many on those who are asked are asked by several threads.
const CROWD: usize = 64;
/// How many threads ask a crowd at most.
const CRIERS: usize = 4;
/// What such a thread needs for itself.
const CRIER_STACK_BYTES: usize = 64 << 10;

/// Every named signal: its name without `SIG`, its number on this machine. Aliases come after the usual name.
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("IOT", libc::SIGIOT),
    ("POLL", libc::SIGPOLL),
    ("CLD", libc::SIGCHLD),
];

/// The number of a signal given as `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` or `RTMAX-1`.
///
/// `None` for what is no signal here; 0 is none.
///
/// ```
/// use process::signal;
///
/// assert_eq!(signal::number("SIGTERM"), Some(15));
/// assert_eq!(signal::number("9"), Some(9));
/// assert_eq!(signal::number("RTMAX-1"), signal::number("63"));
/// assert_eq!(signal::number("TREM"), None);
/// ```
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return is_valid(number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(&(_, number)) = NAMES.iter().find(|(name, _)| *name == bare) {
        return Some(number);
    }
    let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let offset = |digits: &str| if digits.starts_with('+') { None } else { digits.parse::<i32>().ok() };
    let number = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(""), _) => low,
        (_, Some("")) => high,
        (Some(rest), _) => low.checked_add(offset(rest.strip_prefix('+')?)?)?,
        (_, Some(rest)) => high.checked_sub(offset(rest.strip_prefix('-')?)?)?,
        _ => return None,
    };
    (low..=high).contains(&number).then_some(number)
}

/// The name of a signal, without `SIG`: `TERM`, `RTMIN+3`; what has no name is its number.
///
/// ```
/// assert_eq!(process::signal::name(15), "TERM");
/// ```
pub fn name(number: i32) -> Cow<'static, str> {
    if let Some(&(name, _)) = NAMES.iter().find(|(_, known)| *known == number) {
        return Cow::Borrowed(name);
    }
    match i64::from(number) - i64::from(libc::SIGRTMIN()) {
        0 => Cow::Borrowed("RTMIN"),
        offset if offset > 0 && number <= libc::SIGRTMAX() => Cow::Owned(format!("RTMIN+{offset}")),
        _ => Cow::Owned(number.to_string()),
    }
}

/// Every usual name with its number, in the order of the numbers, aliases and real-time signals left out.
pub fn all_names() -> impl Iterator<Item = (&'static str, i32)> {
    let mut seen = 0u64;
    NAMES.iter().copied().filter(move |(_, number)| {
        let bit = 1 << number;
        let new = seen & bit == 0;
        seen |= bit;
        new
    })
}

/// Whether this number is a signal that one process may send another: 1 to `SIGRTMAX`.
pub fn is_valid(number: i32) -> bool {
    // 32 and 33 belong to the C library, which would be confused by them.
    (1..=31).contains(&number) || (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number)
}

/// What became of a signal that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The process got it. A zombie gets it too, to no effect.
    Sent,
    /// The process has ended and was reaped.
    Gone,
}

/// Sends a signal to exactly the process that the pidfd means. Signal 0 only asks whether it could be sent.
///
/// # Errors
///
/// `EPERM` when this user may not, `EINVAL` for what is no signal.
pub fn send(pidfd: BorrowedFd, signal: i32) -> Result<Delivery, Errno> {
    send_with(pidfd, signal, 0)
}

/// Sends a signal that asks a process to end, and lets it run (`SIGCONT`) if it was stopped, so that it can.
///
/// Nothing is told of what came of it: that it is gone its descriptor says as well, and nobody may ask who may not signal.
pub fn ask(pidfd: BorrowedFd, signal: i32) {
    let _ = send(pidfd, signal);
    let _ = send(pidfd, libc::SIGCONT);
}

/// [`ask`]s many; returns when all of them have been asked. Begins at the front; a crowd hears it from several threads.
///
/// Whoever is woken to die mostly does so on the processor of the one who woke it, at once, and has the next one wait for
/// that. Where one thread does the asking, the other processors have nothing to do meanwhile.
///
/// ```
/// use std::os::fd::AsFd;
///
/// let mut sleeper = std::process::Command::new("sleep").arg("60").spawn()?;
/// let pidfd = process::pidfd_open(process::Pid::from_raw(sleeper.id() as i32))?.unwrap();
/// process::signal::ask_all(&[(pidfd.as_fd(), 15)]);
/// assert!(!sleeper.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn ask_all(asked: &[(BorrowedFd, i32)]) {
    let next = AtomicUsize::new(0);
    let ask_in_turn = || {
        while let Some(&(pidfd, signal)) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
            ask(pidfd, signal);
        }
    };
    let criers = if asked.len() < CROWD { 1 } else { Processors::own().numbers().count().min(CRIERS) };
    thread::scope(|scope| {
        for _ in 1..criers {
            let crier = thread::Builder::new().name("crier".to_owned()).stack_size(CRIER_STACK_BYTES);
            // One that cannot be had is not needed: whoever is there asks those who are left.
            let _ = crier.spawn_scoped(scope, ask_in_turn);
        }
        ask_in_turn();
    });
}

/// Sends a signal to the process group that `leader` leads (or led: a group outlives its leader).
///
/// Before Linux 6.9 the group is named by its number, which is safe only while the leader is not reaped; for a reaped
/// leader [`Delivery::Gone`] is then the answer, whoever may be left in the group.
///
/// # Errors
///
/// `EPERM` when this user may signal none of them, `EINVAL` for what is no signal; `EINVAL` also for the group this
/// process is in and for the groups 0 and 1, which are never what was meant.
pub fn send_group(leader: BorrowedFd, pgid: Pid, signal: i32) -> Result<Delivery, Errno> {
    if pgid.as_raw() <= 1 || pgid == nix::unistd::getpgrp() {
        return Err(Errno::EINVAL);
    }
    match send_with(leader, signal, PIDFD_SIGNAL_PROCESS_GROUP) {
        // The flag is unknown (or the signal, which the plain call below will say).
        Err(Errno::EINVAL) => {}
        answer => return answer,
    }
    if send(leader, 0)? == Delivery::Gone {
        return Ok(Delivery::Gone);
    }
    // SAFETY: integers only. The leader still holds its pid (just asked), and only we reap it.
    delivered(unsafe { libc::kill(-pgid.as_raw(), signal) }.into())
}

const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;

/// Whether the kernel can signal a group by pidfd. The group asked about need not exist.
pub(crate) fn knows_groups(pidfd: BorrowedFd) -> bool {
    send_with(pidfd, 0, PIDFD_SIGNAL_PROCESS_GROUP) != Err(Errno::EINVAL)
}

fn send_with(pidfd: BorrowedFd, signal: i32, flags: u32) -> Result<Delivery, Errno> {
    // SAFETY: integers and a null pointer, which asks the kernel to fill in the sender itself.
    delivered(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    })
}

fn delivered(answer: libc::c_long) -> Result<Delivery, Errno> {
    match answer {
        0 => Ok(Delivery::Sent),
        _ => match Errno::last() {
            Errno::ESRCH => Ok(Delivery::Gone),
            errno => Err(errno),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_its_name_with_and_without_sig_and_by_its_number() {
        for (name, wanted) in all_names() {
            assert_eq!(number(name), Some(wanted));
            assert_eq!(number(&format!("SIG{name}")), Some(wanted));
            assert_eq!(number(&name.to_lowercase()), Some(wanted));
            assert_eq!(number(&wanted.to_string()), Some(wanted));
            assert_eq!(super::name(wanted), name);
        }
        assert_eq!(all_names().count(), 31);
    }

    #[test]
    fn real_time_signals_are_named_from_either_end() {
        assert_eq!(number("RTMIN"), Some(34));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("RTMAX-2"), Some(62));
        assert_eq!(name(37), "RTMIN+3");
        assert_eq!(number(&name(64)), Some(64));
    }

    #[test]
    fn what_is_no_signal_has_no_number() {
        for text in
            ["", "SIG", "0", "-1", "32", "33", "65", "RTMIN+31", "RTMIN-1", "RTMIN++1", "RTMAX+1", "RTMAX--1"]
        {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("RTMIN+99999999999"), None);
        assert_eq!(name(32), "32");
        assert_eq!(name(-5), "-5");
        assert_eq!(name(i32::MIN), "-2147483648");
    }
}
