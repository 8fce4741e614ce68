//! What the programs of the bench share: [`figures`] and how they are shown, and what a supervised program tells the
//! bench: a record a birth, through a named pipe.
//!
//! The pipe serves three purposes at once: it carries the time of each birth, it hangs up at the moment when the last
//! of the programs is gone, and it tells them all when the bench itself is gone, so that they end by themselves.
#![forbid(unsafe_code)]

pub mod figures;

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long one [`Birth`] is on the pipe. Far below `PIPE_BUF`, so that records never mix.
pub const BIRTH_BYTES: usize = 16;

/// That a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// When its `main` began.
    pub at: Stamp,
    /// Which of its like it is.
    pub id: u32,
    /// Its pid.
    pub pid: i32,
}

/// A moment of the machine's monotonic clock, which all processes share, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Now.
    pub fn now() -> Stamp {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Stamp(now.as_nanos() as u64)
    }

    /// Milliseconds from `earlier` to this.
    pub fn ms_since(self, earlier: Stamp) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }
}

impl Birth {
    /// As it goes through the pipe.
    ///
    /// ```
    /// use bench::{Birth, Stamp};
    ///
    /// let birth = Birth { at: Stamp(7), id: 3, pid: 4711 };
    /// assert_eq!(Birth::from_bytes(birth.to_bytes()), birth);
    /// ```
    pub fn to_bytes(self) -> [u8; BIRTH_BYTES] {
        let mut bytes = [0; BIRTH_BYTES];
        bytes[..8].copy_from_slice(&self.at.0.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.id.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.pid.to_ne_bytes());
        bytes
    }

    /// The reverse of [`Birth::to_bytes`].
    pub fn from_bytes(bytes: [u8; BIRTH_BYTES]) -> Birth {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Birth {
            at: Stamp(u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
            id: u32::from_ne_bytes([i, j, k, l]),
            pid: i32::from_ne_bytes([m, n, o, p]),
        }
    }
}
