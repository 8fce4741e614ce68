//! What goes to standard output: JSON, lines, and tables with aligned columns.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::talk::Failure;

/// Writes text to standard output.
///
/// # Errors
/// [`Failure::Unheard`] when nobody reads it.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line of JSON to standard output.
///
/// # Errors
/// [`Failure::Unheard`] when nobody reads it.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string(value).expect("reports have string keys and can always be told");
    text.push('\n');
    print(&text)
}

/// From now on this process ends, and has done its work, as soon as nobody can read what it writes any more: `| head -1`
/// would otherwise wait for something to be written that is not to be read. For verbs that only tell what happens.
pub fn end_with_the_reader() {
    // Without a thread it ends with the next thing that it tells.
    let _ = std::thread::Builder::new().name("reader".to_owned()).spawn(|| {
        if outlast_the_reader() {
            std::process::exit(0);
        }
    });
}

/// Returns when nobody can read any more what is written to standard output; `false` where that is not told. For a thread of
/// its own.
pub fn outlast_the_reader() -> bool {
    loop {
        match look_for_the_reader(PollTimeout::NONE) {
            Ok(true) => return true,
            Ok(false) | Err(nix::Error::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// Whether nobody can read any more what is written to standard output.
pub fn is_unheard() -> bool {
    look_for_the_reader(PollTimeout::ZERO) == Ok(true)
}

/// What ends a pipe, a socket or a terminal is told whatever is asked for; a file has no end.
fn look_for_the_reader(timeout: PollTimeout) -> nix::Result<bool> {
    let out = io::stdout();
    let mut reader = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut reader, timeout).map(|told| told > 0)
}

/// Whether standard output wants colour: a terminal, and nobody said `NO_COLOR`.
pub fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !dumb && io::stdout().is_terminal()
}

/// The text without what would move a terminal's cursor or worse: others chose it.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// The colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// As it should be.
    Green,
    /// On its way.
    Yellow,
    /// In trouble.
    Red,
    /// Of no concern.
    Dim,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Red => "31",
            Colour::Dim => "2",
        }
    }
}

/// Which side of its column a cell leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with aligned columns.
#[derive(Debug)]
pub struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// The text in this colour, where colours are wanted.
    pub fn coloured(text: &str, colour: Colour) -> Cell {
        Cell { text: printable(text), colour: Some(colour) }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: printable(&text.to_string()), colour: None }
    }
}

/// A cell for what may be absent: `-` then.
pub fn or_dash(value: Option<impl ToString>) -> Cell {
    value.map_or_else(|| Cell::from("-"), Cell::from)
}

impl Table {
    /// A table with these headings.
    pub fn new(columns: &[(&str, Side)]) -> Table {
        let sides = columns.iter().map(|(_, side)| *side).collect();
        let heading = columns.iter().map(|(name, _)| Cell::from(name)).collect();
        Table { sides, rows: vec![heading] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.sides.len(), "a cell a column");
        self.rows.push(cells);
    }

    /// The table as text, a line a row; no line ends in blanks.
    pub fn render(&self, colour: bool) -> String {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.sides.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, side), width) in row.iter().zip(&self.sides).zip(&widths) {
                let padding = " ".repeat(width - cell.text.chars().count());
                let painted = match cell.colour.filter(|_| colour) {
                    Some(colour) => format!("\x1b[{}m{}\x1b[0m", colour.code(), cell.text),
                    None => cell.text.clone(),
                };
                match side {
                    Side::Left => line.extend([painted, padding]),
                    Side::Right => line.extend([padding, painted]),
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// How long, in words: `7s`, `2m05s`, `3h07m`, `4d02h`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("NAME", Side::Left), ("PID", Side::Right), ("WHY", Side::Left)]);
        table.row(vec![Cell::coloured("reader:0", Colour::Green), 7.into(), "".into()]);
        table.row(vec!["ü\x1b[31m".into(), or_dash(None::<i32>), "it said \"no\"\n".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_escapes_to_the_terminal() {
        let expected = "\
NAME         PID  WHY
reader:0       7
ü\\u{1b}[31m    -  it said \"no\"\\n
";
        assert_eq!(table().render(false), expected);
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let painted = table().render(true);
        assert!(painted.contains("\x1b[32mreader:0\x1b[0m"));
        assert_eq!(painted.replace("\x1b[32m", "").replace("\x1b[0m", ""), table().render(false));
    }

    #[test]
    fn ages_are_short() {
        let ages = [0.0, 59.9, 60.0, 125.0, 3600.0, 90_000.0].map(age);
        assert_eq!(ages, ["0s", "59s", "1m00s", "2m05s", "1h00m", "1d01h"]);
        assert_eq!(age(f64::NAN), "0s");
    }
}
