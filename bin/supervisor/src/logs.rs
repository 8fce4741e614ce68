//! `logs` and `events`: what workers print and what happens to them, as it comes.

use std::collections::HashSet;
use std::process::ExitCode;

use control::api::{LogLine, Partial, Request, Status};
use control::{Client, Lines};

use crate::output::{end_with_the_reader, print, wants_colour};
use crate::reach::call;
use crate::talk::Failure;

/// So many bytes are written at once, if they are there.
const PIECE: usize = 64 * 1024;

/// `logs`: the last lines, and what comes if that is wanted; prefixed as under `run`, or as JSON.
///
/// # Errors
/// See [`call`]; exit 5 when the supervisor dies meanwhile, rather than ends.
pub fn logs(
    mut client: Client,
    worker: Option<String>,
    lines: u32,
    follow: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut prefix = Prefix::default();
    if !json {
        let status: Status = call(&mut client, &Request::Status { workers: vec![] })?;
        prefix = Prefix::of(&status, worker.as_deref(), wants_colour());
    }
    let lines = client.stream(&Request::Logs { worker, lines, follow })?;
    pass_on(lines, |line, text| {
        if json {
            text.extend_from_slice(line);
            text.push(b'\n');
        } else if let Ok(line) = serde_json::from_slice(line) {
            prefix.show(&line, text);
        }
    })
}

/// `events`: a line of JSON each.
///
/// # Errors
/// See [`call`]; exit 5 when the supervisor dies meanwhile, rather than ends.
pub fn events(client: Client, after: u64, follow: bool) -> Result<ExitCode, Failure> {
    let lines = client.stream(&Request::Events { after, follow })?;
    pass_on(lines, |line, text| {
        text.extend_from_slice(line);
        text.push(b'\n');
    })
}

/// Writes what comes as soon as nothing more is there.
fn pass_on(mut lines: Lines, mut show: impl FnMut(&[u8], &mut Vec<u8>)) -> Result<ExitCode, Failure> {
    end_with_the_reader();
    let mut text = Vec::new();
    while let Some(line) = lines.next_line()? {
        show(&line, &mut text);
        if !lines.has_line() || text.len() > PIECE {
            print(&String::from_utf8_lossy(&text))?;
            text.clear();
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Colours that can be read on dark and on light, as under `run`.
const PALETTE: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

/// Prefixes wider than this are not padded to.
const WIDEST: usize = 40;

/// What stands in front of every line.
#[derive(Debug, Default)]
struct Prefix {
    /// The workers, in the order of the file.
    workers: Vec<String>,
    /// Those of which an instance is called by its number.
    several: HashSet<String>,
    width: usize,
    coloured: bool,
}

impl Prefix {
    fn of(status: &Status, only: Option<&str>, coloured: bool) -> Prefix {
        let mut prefix = Prefix { coloured, ..Prefix::default() };
        for row in &status.workers {
            if row.instance > 0 {
                prefix.several.insert(row.worker.clone());
            }
            if prefix.workers.last() != Some(&row.worker) {
                prefix.workers.push(row.worker.clone());
            }
        }
        let only = only.map(|only| only.split(':').next().unwrap_or(only));
        let shown = status.workers.iter().filter(|row| only.is_none_or(|only| only == row.worker));
        let widths = shown.map(|row| prefix.name(&row.worker, row.instance).len());
        prefix.width = widths.max().unwrap_or(0).min(WIDEST);
        prefix
    }

    fn name(&self, worker: &str, instance: u32) -> String {
        if instance > 0 || self.several.contains(worker) {
            format!("{worker}:{instance}")
        } else {
            worker.to_owned()
        }
    }

    fn show(&mut self, line: &LogLine, text: &mut Vec<u8>) {
        let width = self.width;
        let Some(worker) = &line.worker else {
            text.extend_from_slice(format!("{:width$} | {}\n", "supervisor", line.line).as_bytes());
            return;
        };
        let instance = line.instance.unwrap_or(0);
        if instance > 0 && !self.several.contains(worker) {
            // It was scaled meanwhile.
            self.several.insert(worker.clone());
        }
        let name = self.name(worker, instance);
        let sign = if line.partial == Some(Partial::Split) { '+' } else { '|' };
        let shown = if self.coloured {
            let place = self.workers.iter().position(|known| known == worker).unwrap_or_else(|| {
                self.workers.push(worker.clone());
                self.workers.len() - 1
            });
            format!("\x1b[{}m{name:width$} {sign}\x1b[0m {}\n", PALETTE[place % PALETTE.len()], line.line)
        } else {
            format!("{name:width$} {sign} {}\n", line.line)
        };
        text.extend_from_slice(shown.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::api::InstanceStatus;

    fn status(rows: &[(&str, u32)]) -> Status {
        let row = |(worker, instance): &(&str, u32)| InstanceStatus {
            worker: (*worker).to_owned(),
            instance: *instance,
            launch: None,
            state: "running".to_owned(),
            pid: None,
            ppid: None,
            uptime_s: None,
            restarts: 0,
            exit: None,
            policy: "wait".to_owned(),
            why: None,
        };
        Status {
            name: "r".to_owned(),
            pid: 1,
            config: None,
            workers: rows.iter().map(row).collect(),
            config_newer: false,
        }
    }

    fn line(worker: Option<&str>, instance: u32, text: &str) -> LogLine {
        LogLine {
            time: String::new(),
            worker: worker.map(str::to_owned),
            instance: worker.map(|_| instance),
            launch: worker.map(|_| 1),
            stream: "stdout".to_owned(),
            line: text.to_owned(),
            partial: None,
            lossy: false,
            lost_lines: None,
        }
    }

    fn shown(prefix: &mut Prefix, line: &LogLine) -> String {
        let mut text = Vec::new();
        prefix.show(line, &mut text);
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn lines_are_prefixed_as_under_run() {
        let mut prefix = Prefix::of(&status(&[("reader", 0), ("c", 0), ("c", 1)]), None, false);
        assert_eq!(shown(&mut prefix, &line(Some("reader"), 0, "hi")), "reader | hi\n");
        assert_eq!(shown(&mut prefix, &line(Some("c"), 0, "")), "c:0    | \n");
        let split = LogLine { partial: Some(Partial::Split), ..line(Some("c"), 1, "x") };
        assert_eq!(shown(&mut prefix, &split), "c:1    + x\n");
        assert_eq!(shown(&mut prefix, &line(None, 0, "7 lines lost")), "supervisor | 7 lines lost\n");
        // Scaled, and spawned, since the status was asked for.
        assert_eq!(shown(&mut prefix, &line(Some("reader"), 1, "hi")), "reader:1 | hi\n");
        assert_eq!(shown(&mut prefix, &line(Some("reader"), 0, "hi")), "reader:0 | hi\n");
        assert_eq!(shown(&mut prefix, &line(Some("new"), 0, "hi")), "new    | hi\n");
    }

    #[test]
    fn the_width_is_that_of_those_who_are_shown_and_the_colour_is_the_workers() {
        let status = status(&[("a-long-name", 0), ("c", 0)]);
        let mut prefix = Prefix::of(&status, Some("c:0"), true);
        assert_eq!(shown(&mut prefix, &line(Some("c"), 0, "x")), "\x1b[33mc |\x1b[0m x\n");
        assert_eq!(shown(&mut prefix, &line(Some("d"), 0, "x")), "\x1b[32md |\x1b[0m x\n");
    }
}
