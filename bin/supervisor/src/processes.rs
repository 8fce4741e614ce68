//! `ps` and `pid`: the processes of the run.

use std::process::ExitCode;

use control::Client;
use control::api::{ErrorCode, ProcessRow, Request, Status, Who};
use serde_json::json;

use crate::output::{Cell, Side, Table, age, or_dash, print, print_json, printable};
use crate::reach::{call, nearest};
use crate::talk::Failure;

/// `ps`: the process tree, or those parts of it that are below a pid or belong to a worker.
///
/// # Errors
/// See [`call`]; exit 4 when one that was named has no process.
pub fn ps(mut client: Client, whom: &[Who], json: bool) -> Result<ExitCode, Failure> {
    let all: Vec<ProcessRow> = call(&mut client, &Request::Ps)?;
    let rows = if whom.is_empty() { all } else { parts(all, whom, &mut client)? };
    if json {
        print_json(&rows)?;
    } else {
        print(&table(&rows).render(false))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows that were asked for, in the order of the tree, each once.
fn parts(all: Vec<ProcessRow>, whom: &[Who], client: &mut Client) -> Result<Vec<ProcessRow>, Failure> {
    let mut wanted = vec![false; all.len()];
    for who in whom {
        let mut found = false;
        let mut below = None;
        for (row, wanted) in all.iter().zip(&mut wanted) {
            let is_named = match who {
                Who::Pid(pid) => row.pid == *pid,
                Who::Worker(worker) => is_of(row, worker),
            };
            // A tree is told from its root down: what follows and is deeper belongs to it.
            if below.is_some_and(|depth| row.depth <= depth) {
                below = None;
            }
            if is_named && matches!(who, Who::Pid(_)) {
                below = Some(row.depth);
            }
            if is_named || below.is_some() {
                *wanted = true;
                found = true;
            }
        }
        if !found {
            return Err(nobody(who, client));
        }
    }
    Ok(all.into_iter().zip(wanted).filter_map(|(row, wanted)| wanted.then_some(row)).collect())
}

/// Whether a process belongs to `NAME` or `NAME:INSTANCE`.
fn is_of(row: &ProcessRow, target: &str) -> bool {
    match target.split_once(':') {
        None => row.worker.as_deref() == Some(target),
        Some((worker, instance)) => {
            row.worker.as_deref() == Some(worker) && row.instance == instance.parse().ok()
        }
    }
}

fn nobody(who: &Who, client: &mut Client) -> Failure {
    match who {
        Who::Pid(pid) => Failure::new(ErrorCode::NotFound, format!("there is no process {pid} in this run"))
            .hint("`supervisor ps` lists the run's processes"),
        // A worker that is there and has no process is another thing than one that is not there.
        Who::Worker(worker) => {
            match call::<Status>(client, &Request::Status { workers: vec![worker.clone()] }) {
                Ok(_) => Failure::new(ErrorCode::NotFound, format!("nothing of {worker} is running"))
                    .hint("`supervisor status` tells why"),
                Err(failure) => failure,
            }
        }
    }
}

fn table(rows: &[ProcessRow]) -> Table {
    let mut table = Table::new(&[
        ("PID", Side::Right),
        ("PPID", Side::Right),
        ("S", Side::Left),
        ("WORKER", Side::Left),
        ("LAUNCH", Side::Right),
        ("AGE", Side::Right),
        ("CPU", Side::Right),
        ("MEMORY", Side::Right),
        ("COMMAND", Side::Left),
    ]);
    let least = rows.iter().map(|row| row.depth).min().unwrap_or(0);
    for row in rows {
        // What others made up may be deep; beyond this nobody reads the indentation.
        let indent = "  ".repeat((row.depth - least).min(40) as usize);
        table.row(vec![
            Cell::from(row.pid),
            Cell::from(row.ppid),
            Cell::from(&row.state),
            or_dash(worker_of(row)),
            or_dash(row.launch),
            Cell::from(age(row.age_s)),
            Cell::from(format!("{:.1}%", cpu_percent(row))),
            Cell::from(size(row.memory_bytes)),
            Cell::from(format!("{indent}{}", printable(&row.command))),
        ]);
    }
    table
}

/// How much of one processor it has had since it was started, as ps(1) tells it.
pub fn cpu_percent(row: &ProcessRow) -> f64 {
    // Ages and times are told in hundredths of a second; what is younger has no share yet.
    if row.age_s < 0.01 { 0.0 } else { 100.0 * row.cpu_s / row.age_s }
}

/// `NAME:INSTANCE`; none for the supervisor itself and for strangers.
pub fn worker_of(row: &ProcessRow) -> Option<String> {
    let worker = row.worker.as_ref()?;
    Some(match row.instance {
        Some(instance) => format!("{worker}:{instance}"),
        None => worker.clone(),
    })
}

/// `312K`, `1.4M`, `23G`: at most four characters and a unit.
pub fn size(bytes: u64) -> String {
    let mut amount = bytes as f64 / 1024.0;
    for unit in ["K", "M", "G", "T"] {
        if amount < 9.95 && unit != "K" {
            return format!("{amount:.1}{unit}");
        }
        if amount < 1023.5 {
            return format!("{amount:.0}{unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.0}P")
}

/// `pid`: the pid that leads each of these instances, a line each; without a name the supervisor's own.
///
/// # Errors
/// See [`call`]; exit 4 when one of them has no process.
pub fn pid(mut client: Client, workers: &[String], json: bool) -> Result<ExitCode, Failure> {
    let request = Request::Status { workers: workers.to_vec() };
    let status: Status = call(&mut client, &request)?;
    if workers.is_empty() {
        if json {
            print_json(&json!({"pid": status.pid}))?;
        } else {
            print(&format!("{}\n", status.pid))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let named: Vec<(&str, u32, i32)> =
        status.workers.iter().filter_map(|row| Some((row.worker.as_str(), row.instance, row.pid?))).collect();
    for wanted in workers {
        let is_it = |(worker, instance, _): &&(&str, u32, i32)| {
            wanted == worker || *wanted == format!("{worker}:{instance}")
        };
        if named.iter().find(is_it).is_none() {
            let failure = Failure::new(ErrorCode::NotFound, format!("nothing of {wanted} is running"));
            return Err(failure.hint("`supervisor status` tells why"));
        }
    }
    if json {
        let row = |(worker, instance, pid): &(&str, u32, i32)| json!({"worker": worker, "instance": instance, "pid": pid});
        print_json(&named.iter().map(row).collect::<Vec<_>>())?;
    } else {
        print(&named.iter().map(|(.., pid)| format!("{pid}\n")).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is most like a signal's name that is none.
pub fn nearest_signal(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let names: Vec<String> = process::signal::all_names().map(|(name, _)| name.to_owned()).collect();
    nearest(bare, &names).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fit_into_a_narrow_column() {
        let sizes = [0, 1023, 1 << 20, 3 << 19, 23 << 30, 1 << 40, u64::MAX].map(size);
        assert_eq!(sizes, ["0K", "1K", "1.0M", "1.5M", "23G", "1.0T", "16384P"]);
    }

    #[test]
    fn a_slip_in_a_signals_name_is_recognised() {
        assert_eq!(nearest_signal("SIGTREM").as_deref(), Some("TERM"));
        assert_eq!(nearest_signal("kil").as_deref(), Some("KILL"));
        assert_eq!(nearest_signal("banana"), None);
    }
}
