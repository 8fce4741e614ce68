//! The verbs of `queue`: those that ask here, those that move messages in [`crate::messages`].

use std::process::ExitCode;

use control::Client;
use control::api::{ErrorCode, QueueStatus, Request};
use serde_json::json;

use crate::arguments::QueueVerb;
use crate::messages::{self, Amount, Waiting};
use crate::output::{Cell, Side, Table, or_dash, print, print_json};
use crate::reach::{call, nearest};
use crate::talk::Failure;

/// Does what a verb of `queue` says.
///
/// # Errors
/// See [`call`]; exit 6 when it would block, 7 when it took too long, 8 when the queue is closed.
pub fn queue(mut client: Client, verb: QueueVerb, json: bool) -> Result<ExitCode, Failure> {
    match verb {
        QueueVerb::Ls => list(&mut client, json),
        QueueVerb::Len { queue } => {
            let len = row(&mut client, &queue)?.len;
            if json {
                print_json(&json!({"queue": queue, "len": len}))?;
            } else {
                print(&format!("{len}\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Full { queue } => {
            let row = row(&mut client, &queue)?;
            yes_or_no("full", &queue, is_full(&row), json)
        }
        QueueVerb::Empty { queue } => {
            let row = row(&mut client, &queue)?;
            yes_or_no("empty", &queue, row.len == 0, json)
        }
        QueueVerb::Close { queue } => {
            call::<serde::de::IgnoredAny>(&mut client, &Request::QueueClose { queue })?;
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Put { queue, message, lines, patience } => {
            let mut line = messages::open(client, &queue, Waiting::from(patience))?;
            let put = match message {
                Some(message) => line.put(message.as_bytes()).map(|()| 1)?,
                None if lines => line.put_lines()?,
                None => line.put_input().map(|()| 1)?,
            };
            if json {
                print_json(&json!({"queue": queue, "put": put}))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Get { queue, n, follow, lines, patience } => {
            let amount = if follow { Amount::UntilClosed } else { Amount::Exactly(n.unwrap_or(1)) };
            messages::open(client, &queue, Waiting::from(patience))?.get(amount, messages::form(lines, json))
        }
        QueueVerb::Peek { queue } => {
            messages::open(client, &queue, Waiting::Never)?.peek(messages::form(false, json))
        }
        QueueVerb::Drain { queue } => messages::open(client, &queue, Waiting::Never)?
            .get(Amount::WhatIsThere, messages::form(true, json)),
        QueueVerb::Each { queue, jobs, command } => {
            messages::open(client, &queue, Waiting::ForEver)?.each(jobs, &command)
        }
    }
}

fn list(client: &mut Client, json: bool) -> Result<ExitCode, Failure> {
    let rows: Vec<QueueStatus> = call(client, &Request::Queues)?;
    if json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[
        ("QUEUE", Side::Left),
        ("CAPACITY", Side::Right),
        ("LEN", Side::Right),
        ("IN-FLIGHT", Side::Right),
        ("CLOSED", Side::Left),
        ("PUTS", Side::Right),
        ("GETS", Side::Right),
        ("REDELIVERED", Side::Right),
        ("DEAD", Side::Right),
    ]);
    for row in &rows {
        table.row(vec![
            Cell::from(&row.queue),
            or_dash(row.capacity),
            Cell::from(row.len),
            Cell::from(row.in_flight),
            Cell::from(if row.closed { "yes" } else { "no" }),
            Cell::from(row.puts),
            Cell::from(row.gets),
            Cell::from(row.redelivered),
            Cell::from(row.dead),
        ]);
    }
    print(&table.render(false))?;
    Ok(ExitCode::SUCCESS)
}

fn row(client: &mut Client, queue: &str) -> Result<QueueStatus, Failure> {
    let rows: Vec<QueueStatus> = call(client, &Request::Queues)?;
    let names: Vec<String> = rows.iter().map(|row| row.queue.clone()).collect();
    rows.into_iter().find(|row| row.queue == queue).ok_or_else(|| {
        let failure = Failure::new(ErrorCode::NotFound, format!("no queue is called {queue:?}"));
        match nearest(queue, &names) {
            Some(nearest) => failure.hint(format!("did you mean {nearest:?}?")),
            None if names.is_empty() => failure.hint("the config has no queues"),
            None => failure.hint(format!("there is {}", names.join(", "))),
        }
    })
}

/// A taken message keeps its place until it is acknowledged.
fn is_full(row: &QueueStatus) -> bool {
    row.capacity.is_some_and(|capacity| row.len + row.in_flight >= capacity)
}

fn yes_or_no(question: &str, queue: &str, yes: bool, json: bool) -> Result<ExitCode, Failure> {
    if json {
        print_json(&json!({"queue": queue, question: yes}))?;
    }
    Ok(ExitCode::from(u8::from(!yes)))
}
