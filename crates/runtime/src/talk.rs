//! What a run says to people, on standard error.

use std::fmt::Display;
use std::io::Write;

/// Says one line. A reader that has gone away is no trouble of ours.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "supervisor: {line}");
}
