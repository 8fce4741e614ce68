//! `kill`: a signal to processes and trees of the run, and to nobody else.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use control::Client;
use control::api::{ErrorCode, Kill, KillOrder, Killed, Request, Who};
use serde::Serialize;

use crate::output::{Cell, Side, Table, or_dash, print, print_json};
use crate::processes::worker_of;
use crate::progress::{Manner, Progress};
use crate::reach::{call, millis};
use crate::talk::{Failure, note, say};

/// How to kill.
#[derive(Clone, Copy, Debug)]
pub struct Blow {
    /// The signal's number.
    pub signal: i32,
    /// Also everything below, in this order.
    pub tree: Option<KillOrder>,
    /// KILL follows after so long.
    pub grace: Option<Duration>,
    /// Until it is gone, at most so long where that is said.
    pub wait: bool,
    /// At most so long.
    pub timeout: Option<Duration>,
    /// Also a pid outside the run.
    pub foreign: bool,
    /// Send nothing.
    pub dry_run: bool,
}

/// So many are asked for at a time: each may take its grace.
const AT_ONCE: usize = 32;

#[derive(Serialize)]
struct KilledRow<'a> {
    whom: &'a Who,
    #[serde(flatten)]
    killed: Killed,
}

/// Every one of them, side by side, also when one of them cannot be; the exit code is that of the first that could not.
///
/// # Errors
/// When the output cannot be written.
pub fn kill(
    connect: impl Fn() -> Result<Client, Failure> + Sync,
    whom: &[Who],
    blow: Blow,
    manner: Manner,
) -> Result<ExitCode, Failure> {
    let json = manner.json;
    let waits = !blow.dry_run && (blow.wait || blow.grace.is_some());
    let progress = if waits { Progress::of_kill(connect()?, whom, manner) } else { None };
    let mut rows = Vec::new();
    let mut refused = None;
    for some in whom.chunks(AT_ONCE) {
        let answers: Vec<Result<Killed, Failure>> = thread::scope(|scope| {
            let ask = |who: &Who| {
                let request = Request::Kill(order(who, blow));
                let connect = &connect;
                scope.spawn(move || call(&mut connect()?, &request))
            };
            let asked: Vec<_> = some.iter().map(ask).collect();
            let lost = || Failure::new(ErrorCode::Failed, "the question was lost");
            asked.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(lost()))).collect()
        });
        for (who, answer) in some.iter().zip(answers) {
            match answer {
                Ok(killed) => rows.push(KilledRow { whom: who, killed }),
                Err(Failure::Error(error)) => {
                    say(&error, json);
                    refused = refused.or(Some(error.code));
                }
                Err(Failure::Unheard) => return Err(Failure::Unheard),
            }
        }
    }
    drop(progress);
    for row in rows.iter().filter(|row| !row.killed.refused.is_empty()) {
        note(&format!("of {} these may not be signalled: {}", shown(row.whom), listed(&row.killed.refused)));
        refused = refused.or(Some(ErrorCode::Refused));
    }
    if json {
        print_json(&rows)?;
    } else if blow.dry_run {
        print(&would_get(&rows, blow).render(false))?;
    } else {
        let line = |row: &KilledRow| {
            let signal = process::signal::name(row.killed.signal);
            format!("{}  {signal}  {}\n", shown(row.whom), listed(&row.killed.pids))
        };
        print(&rows.iter().map(line).collect::<String>())?;
    }
    Ok(refused.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code())))
}

fn order(who: &Who, blow: Blow) -> Kill {
    Kill {
        signal: blow.signal,
        tree: blow.tree.is_some(),
        order: blow.tree.unwrap_or_default(),
        grace_ms: blow.grace.map(millis),
        wait: blow.wait,
        timeout_ms: blow.timeout.map(millis),
        foreign: blow.foreign,
        dry_run: blow.dry_run,
        ..Kill::of(who.clone())
    }
}

/// Who would get what.
fn would_get(rows: &[KilledRow], blow: Blow) -> Table {
    let mut table = Table::new(&[
        ("PID", Side::Right),
        ("SIGNAL", Side::Left),
        ("WORKER", Side::Left),
        ("COMMAND", Side::Left),
    ]);
    let signal = process::signal::name(blow.signal);
    let signal = match blow.grace {
        Some(grace) => format!("{signal}, KILL after {grace:?}"),
        None => signal.into_owned(),
    };
    for process in rows.iter().flat_map(|row| &row.killed.processes) {
        table.row(vec![
            Cell::from(process.pid),
            Cell::from(&signal),
            or_dash(worker_of(process)),
            Cell::from(&process.command),
        ]);
    }
    table
}

fn listed(pids: &[i32]) -> String {
    pids.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
}

fn shown(whom: &Who) -> String {
    match whom {
        Who::Pid(pid) => pid.to_string(),
        Who::Worker(worker) => worker.clone(),
    }
}
