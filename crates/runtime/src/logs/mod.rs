//! The log pump: one thread that moves what workers print from their pipes to where it belongs.
//!
//! ```text
//! pipe ─┐                                        ┌─► file (text, json or raw; rotated)
//! pipe ─┼─► one read a turn ─► lines, if asked ──┼─► console (prefixed, coloured)
//! pipe ─┘      (fair)          (else raw bytes)  ├─► the last lines of each worker, in memory
//!                                                └─► followers, watchers
//! ```
//!
//! It must not know policies, processes or pids: it is told which pipe belongs to which launch ([`Pump::attach`]) and when
//! its writer is dead ([`Pump::finish`]).
//!
//! What it promises:
//!
//! - **Supervision never waits for output.** Every call of [`Pump`] hands over and returns, except [`Pump::stop`].
//! - **Nothing is lost in silence.** A full disk, a slow follower, a stuck terminal at the very end: each loss is counted and told.
//! - **Lines do not depend on reads.** The same bytes make the same lines however they were cut on their way.
//! - **Fair.** A stream that floods gets one bounded read a turn, like everybody else.
//! - **Silence is free.** A quiet pipe costs no wake-up and no buffer.
//!
//! # What a log file looks like
//!
//! `text`, one record a line (times are UTC, the moment the end of the line was read):
//!
//! ```text
//! 2026-11-23T18:45:00.123456Z reader:0 out | the line, byte for byte
//! 2026-11-23T18:45:00.123457Z reader:0 err + a piece of 65,536 bytes; the line goes on in this stream's next record
//! 2026-11-23T18:45:00.123458Z reader:0 err ! the last bytes of a writer that ended without a newline
//! 2026-11-23T18:45:09.000001Z supervisor log | 52100 bytes of log lost: No space left on device
//! ```
//!
//! `json`, one object a line:
//!
//! ```text
//! {"time":"…","worker":"reader","instance":0,"launch":3,"stream":"stdout","seq":17,"line":"…"}
//! ```
//!
//! `seq` counts the records of one stream of one launch from 0. `"partial":"split"` and `"partial":"end"` stand for `+` and `!`;
//! `"lossy":true` says that the line was not UTF-8 and `line` shows U+FFFD in place of what was not. Lost bytes are told by
//! `{"time":"…","worker":null,"stream":"supervisor","lost_bytes":52100,"line":"…"}`.
//!
//! `raw`, the bytes as they came, without any framing; only a loss adds a line `supervisor: 52100 bytes of log lost: …`.
//! Streams that share a raw file may meet in the middle of a line.
#![forbid(unsafe_code)]

mod console;
mod delivery;
mod engine;
mod file;
mod follow;
mod format;
mod framing;
mod line;
mod loss;
mod pipe;
mod pump;
mod rotation;
mod stamp;
mod streams;
mod tail;
#[cfg(test)]
mod tests;

pub use console::Console;
pub use file::{Format, LogFile, SharedLogFile};
pub use follow::{Followed, Follower};
pub use framing::MAX_LINE;
pub use line::{Ending, Label, Line, Stream, Writer};
pub use loss::Trouble;
pub use pipe::{Inlet, adopt, pipe};
pub use pump::{Pump, Watch};
pub(crate) use stamp::stamped;
pub use streams::{StreamId, Streams};
pub use tail::{TAIL_BYTES, TAIL_BYTES_OF_WORKER};
