//! `status`: what runs.

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use control::api::{Exit, InstanceStatus, Request, Status};
use control::{Client, Parting};

use crate::output::{
    Cell, Colour, Side, Table, age, end_with_the_reader, or_dash, print, print_json, wants_colour,
};
use crate::progress::follow;
use crate::reach::call;
use crate::talk::{Failure, note};

/// How long `--watch` waits for a change before it looks all the same: times go on, and what a worker says of itself is
/// no change of state.
const GLANCE: Duration = Duration::from_secs(1);

/// `status`: a row an instance.
///
/// # Errors
/// See [`call`].
pub fn status(mut client: Client, workers: Vec<String>, json: bool) -> Result<ExitCode, Failure> {
    let status: Status = call(&mut client, &Request::Status { workers })?;
    if json {
        print_json(&status)?;
    } else {
        print(&table(&status.workers).render(wants_colour()))?;
        if status.config_newer {
            let config = status.config.as_deref().unwrap_or_default();
            note(&format!(
                "{config}, or a file that it names, is newer than what runs; `supervisor plan` shows what it would change"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `status --watch`: on a terminal a picture that is kept up to date, elsewhere the table (or a line of JSON) whenever
/// something but the time has changed. Lasts as long as the supervisor.
///
/// # Errors
/// See [`call`].
pub fn watch(mut client: Client, workers: Vec<String>, json: bool) -> Result<ExitCode, Failure> {
    use std::io::IsTerminal;
    end_with_the_reader();
    let request = Request::Status { workers };
    let picture = !json && std::io::stdout().is_terminal();
    let mut changes = Changes::of(&client);
    let mut shown: Option<Status> = None;
    loop {
        let status: Status = call(&mut client, &request)?;
        if picture {
            let table = table(&status.workers).render(wants_colour());
            let room = terminal_size::terminal_size_of(std::io::stdout());
            let room = room.map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
            print(&redrawn(&table, shown.is_none(), room))?;
        } else if shown.as_ref().map(without_time) != Some(without_time(&status)) {
            if json {
                print_json(&status)?;
            } else {
                print(&table(&status.workers).render(false))?;
            }
        }
        shown = Some(status);
        changes.wait(&client);
    }
}

/// The news that something of the run has changed.
struct Changes {
    told: Receiver<()>,
    /// Ends the stream that they come from when it goes.
    _parting: Option<Parting>,
    /// When that stream was begun.
    since: Instant,
    /// Whether it has ended.
    is_over: bool,
}

impl Changes {
    fn of(client: &Client) -> Changes {
        let (teller, told) = mpsc::channel();
        let parting = follow(client, move || teller.send(()).is_ok());
        Changes { told, _parting: parting, since: Instant::now(), is_over: false }
    }

    /// Waits for the next change, but not longer than a glance.
    fn wait(&mut self, client: &Client) {
        if self.is_over {
            // The supervisor answered all the same: it has cut the stream alone, and one is begun anew. But where each
            // is cut at once, that is no way to be told.
            let age = self.since.elapsed();
            thread::sleep(GLANCE.saturating_sub(age));
            *self = Changes::of(client);
        }
        match self.told.recv_timeout(GLANCE) {
            // One look for all that has changed till then.
            Ok(()) => self.told.try_iter().for_each(drop),
            Err(RecvTimeoutError::Timeout) => {}
            // The run is over, most likely: then the next question is the last.
            Err(RecvTimeoutError::Disconnected) => self.is_over = true,
        }
    }
}

/// Over what stands there, line by line, so that nothing flickers; no more of it than there is room for, in columns and
/// lines, so that nothing is shifted.
fn redrawn(table: &str, first: bool, (width, height): (usize, usize)) -> String {
    let start = if first { "\x1b[2J\x1b[H" } else { "\x1b[H" };
    // The cursor stands on a line of its own, below.
    let room = height.saturating_sub(1).max(1);
    let count = table.lines().count();
    let mut text = start.to_owned();
    let shown = if count > room { room - 1 } else { count };
    for line in table.lines().take(shown) {
        text.extend([&cut(line, width), "\x1b[K\n"]);
    }
    if shown < count {
        text.extend([&cut(&format!("and {} more", count - shown), width), "\x1b[K\n"]);
    }
    text + "\x1b[J"
}

/// The first columns of a line, in which colours take no room; they end with it.
fn cut(line: &str, width: usize) -> String {
    let (mut text, mut columns, mut in_colour) = (String::new(), 0, false);
    for c in line.chars() {
        match (c, in_colour) {
            ('\x1b', _) => in_colour = true,
            ('m', true) => in_colour = false,
            (_, true) => {}
            _ if columns == width => continue,
            _ => columns += 1,
        }
        text.push(c);
    }
    text
}

fn without_time(status: &Status) -> Status {
    let mut still = status.clone();
    for row in &mut still.workers {
        row.uptime_s = None;
    }
    still
}

/// The table of `status`, also of what `start` and its like brought about.
pub fn table(instances: &[InstanceStatus]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("PID", Side::Right),
        ("UPTIME", Side::Right),
        ("RESTARTS", Side::Right),
        ("WHY", Side::Left),
    ]);
    for row in instances {
        table.row(vec![
            Cell::from(instance_name(row)),
            Cell::coloured(&row.state, colour(&row.state)),
            or_dash(row.pid),
            or_dash(row.uptime_s.map(age)),
            Cell::from(row.restarts),
            Cell::from(why(row)),
        ]);
    }
    table
}

/// `NAME:INSTANCE`.
pub fn instance_name(row: &InstanceStatus) -> String {
    format!("{}:{}", row.worker, row.instance)
}

/// What the supervisor says; where it says nothing of what is down, how the last launch ended.
pub fn why(row: &InstanceStatus) -> String {
    match (&row.why, row.exit) {
        (Some(why), _) => why.clone(),
        (None, Some(exit)) if row.pid.is_none() => ending(exit),
        (None, _) => String::new(),
    }
}

/// `exit 1`, `signal 9 (KILL)`.
pub fn ending(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => match control::signal_name(signal) {
            Some(name) => format!("signal {signal} ({name})"),
            None => format!("signal {signal}"),
        },
    }
}

fn colour(state: &str) -> Colour {
    match state {
        "running" => Colour::Green,
        "failed" => Colour::Red,
        "done" | "stopped" => Colour::Dim,
        _ => Colour::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_no_more_columns_and_lines_than_there_is_room_for() {
        let table = "NAME     STATE\nreader:0 \x1b[32mrunning\x1b[0m\na:0      done\n";
        let whole = redrawn(table, false, (80, 24));
        assert!(
            whole.contains("\x1b[32mrunning\x1b[0m\x1b[K\n") && whole.ends_with("done\x1b[K\n\x1b[J"),
            "{whole:?}"
        );
        let narrow = redrawn(table, false, (10, 24));
        assert!(narrow.contains("reader:0 \x1b[32mr\x1b[0m\x1b[K\n"), "{narrow:?}");
        let low = redrawn(table, false, (80, 3));
        assert_eq!(low, "\x1b[HNAME     STATE\x1b[K\nand 2 more\x1b[K\n\x1b[J");
        assert!(redrawn(table, true, (0, 0)).starts_with("\x1b[2J"));
    }
}
