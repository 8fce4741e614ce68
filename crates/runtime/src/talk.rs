//! What a run says to people, on standard error.

use std::fmt::Display;
use std::io::Write;

/// Says one line, in one piece: others may write to the same place. A reader that has gone away is no trouble of ours.
pub fn say(line: impl Display) {
    let line = format!("supervisor: {line}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
