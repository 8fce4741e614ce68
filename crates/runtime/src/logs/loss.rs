//! Troubles of the pump, and the account of what they cost.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after a failed write the next one is tried.
pub(super) const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Troubles kept until somebody asks for them.
const KEPT: usize = 256;

/// Something that went wrong while output was moved. `Display` says it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What goes to `place` (a path, or `console`) is dropped until it can be written again. Said once an episode.
    Losing {
        /// Where the bytes should have gone.
        place: String,
        /// Why they cannot.
        reason: String,
    },
    /// Writing to `place` works again.
    Resumed {
        /// Where bytes go again.
        place: String,
        /// How many bytes of log were lost meanwhile.
        bytes: u64,
    },
    /// The last writer of `place` is gone, or the pump has stopped, and these bytes were never written.
    Lost {
        /// Where the bytes should have gone.
        place: String,
        /// How many.
        bytes: u64,
        /// Why.
        reason: String,
    },
    /// The file is larger than it should be, for it cannot be moved aside; it may grow to twice its size. Said once an episode.
    NotRotated {
        /// The file.
        place: String,
        /// Why.
        reason: String,
    },
    /// The pipe of a worker cannot be read.
    Unreadable {
        /// Whose.
        place: String,
        /// Why.
        reason: String,
    },
    /// So many troubles were not kept, because nobody asked for them in time.
    Forgotten(u64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Losing { place, reason } => write!(f, "log lines for {place} are being lost: {reason}"),
            Trouble::Resumed { place, bytes } => {
                write!(f, "{place} is written again, {bytes} bytes were lost")
            }
            Trouble::Lost { place, bytes, reason } => {
                write!(f, "{bytes} bytes for {place} were lost: {reason}")
            }
            Trouble::NotRotated { place, reason } => write!(f, "{place} cannot be rotated: {reason}"),
            Trouble::Unreadable { place, reason } => {
                write!(f, "the output of {place} cannot be read: {reason}")
            }
            Trouble::Forgotten(count) => write!(f, "{count} more troubles of the log were not kept"),
        }
    }
}

/// Says why in the system's words, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// An episode during which bytes are dropped.
#[derive(Debug)]
pub(super) struct Loss {
    pub bytes: u64,
    pub reason: String,
    pub retry_at: Instant,
}

impl Loss {
    /// Opens an episode, or goes on with the one that is open; a new one is told.
    pub fn note(
        episode: &mut Option<Loss>,
        bytes: usize,
        reason: String,
        now: Instant,
        place: &str,
        troubles: &Troubles,
    ) {
        let retry_at = now + RETRY_EVERY;
        match episode {
            Some(loss) => {
                loss.bytes += bytes as u64;
                loss.retry_at = retry_at;
            }
            None => {
                troubles.tell(Trouble::Losing { place: place.to_owned(), reason: reason.clone() });
                *episode = Some(Loss { bytes: bytes as u64, reason, retry_at });
            }
        }
    }
}

/// Troubles on their way to whoever tells them to people; bounded, with a descriptor to wait for.
#[derive(Debug)]
pub(super) struct Troubles {
    kept: Mutex<(VecDeque<Trouble>, u64)>,
    bell: EventFd,
}

impl Troubles {
    pub fn new() -> io::Result<Troubles> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Troubles { kept: Mutex::default(), bell })
    }

    pub fn tell(&self, trouble: Trouble) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.0.len() < KEPT {
            true => kept.0.push_back(trouble),
            false => kept.1 += 1,
        }
        // Fails only when its count is at the maximum, and then the bell is ringing already.
        let _ = self.bell.write(1);
    }

    pub fn take(&self) -> Vec<Trouble> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails when it has not rung since the last time.
        let _ = self.bell.read();
        let (troubles, forgotten) = std::mem::take(&mut *kept);
        let forgotten = (forgotten > 0).then_some(Trouble::Forgotten(forgotten));
        troubles.into_iter().chain(forgotten).collect()
    }

    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_nobody_asks_for_are_bounded_and_counted() {
        let troubles = Troubles::new().expect("an eventfd");
        for _ in 0..KEPT + 3 {
            troubles.tell(Trouble::Resumed { place: "x".into(), bytes: 1 });
        }
        let taken = troubles.take();
        assert_eq!((taken.len(), taken.last()), (KEPT + 1, Some(&Trouble::Forgotten(3))));
        assert_eq!(troubles.take(), []);
    }
}
