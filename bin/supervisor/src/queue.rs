//! The verbs of `queue`: those that ask, make and remove here, those that move messages in [`crate::messages`].

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use control::Client;
use control::api::{ErrorCode, Fsync, NewQueue, QueueStatus, Request};
use serde_json::json;

use crate::arguments::{Given, New, Place, QueueVerb, queue_name};
use crate::messages::{self, Amount, Task, Waiting};
use crate::output::{Cell, Side, Table, or_dash, print, print_json};
use crate::progress::{Manner, Tally};
use crate::reach::{call, millis, nearest};
use crate::talk::Failure;

/// Does what a verb of `queue` says. `connect` is called where a supervisor is needed: a queue in a file has none.
///
/// # Errors
/// See [`call`]; exit 6 when it would block, 7 when it took too long, 8 when the queue is closed.
pub fn queue(
    connect: impl Fn() -> Result<Client, Failure>,
    verb: QueueVerb,
    manner: Manner,
) -> Result<ExitCode, Failure> {
    let json = manner.json;
    let open = |place: &Place, waiting: Waiting| match place {
        Place { file: Some(path), .. } => messages::open_file(path, waiting),
        Place { queue: Some(name), .. } => messages::open(connect()?, name, waiting),
        Place { queue: None, file: None } => Err(no_queue_given()),
    };
    match verb {
        QueueVerb::Ls { file: None } => {
            list(&call::<Vec<QueueStatus>>(&mut connect()?, &Request::Queues)?, json)
        }
        QueueVerb::Ls { file: Some(path) } => {
            list(&[messages::open_file(&path, Waiting::Never)?.status()], json)
        }
        QueueVerb::Create(new) => create(connect, new, json),
        QueueVerb::Rm(place) => remove(connect, &place, json),
        QueueVerb::Len(place) => {
            let row = row(&connect, &place)?;
            if json {
                print_json(&json!({"queue": row.queue, "len": row.len}))?;
            } else {
                print(&format!("{}\n", row.len))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Full(place) => {
            let line = open(&place, Waiting::Never)?;
            yes_or_no("full", line.name(), line.is_full(), json)
        }
        QueueVerb::Empty(place) => {
            let row = row(&connect, &place)?;
            yes_or_no("empty", &row.queue, row.len == 0, json)
        }
        QueueVerb::Close(Place { queue: Some(queue), .. }) => {
            call::<serde::de::IgnoredAny>(&mut connect()?, &Request::QueueClose { queue })?;
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Close(place) => {
            open(&place, Waiting::Never)?.close();
            Ok(ExitCode::SUCCESS)
        }
        QueueVerb::Put(given) => put(connect, given, json),
        QueueVerb::Get { place, n, follow, lines, patience } => {
            let amount = if follow { Amount::UntilClosed } else { Amount::Exactly(n.unwrap_or(1)) };
            open(&place, Waiting::from(patience))?.get(amount, messages::form(lines, json), None)
        }
        QueueVerb::Peek(place) => open(&place, Waiting::Never)?.peek(messages::form(false, json)),
        QueueVerb::Drain { place, dead } => {
            let amount = if dead { Amount::TheDead } else { Amount::WhatIsThere };
            open(&place, Waiting::Never)?.get(amount, messages::form(true, json), Tally::of(manner))
        }
        QueueVerb::Each { place, jobs, retries, timeout, command } => {
            open(&place, Waiting::ForEver)?.each(jobs, Task { command, retries, timeout })
        }
    }
}

fn no_queue_given() -> Failure {
    Failure::new(ErrorCode::Usage, "no queue is given")
}

fn put(connect: impl Fn() -> Result<Client, Failure>, given: Given, json: bool) -> Result<ExitCode, Failure> {
    let Given { queue, message, file, lines, patience } = given;
    let waiting = Waiting::from(patience);
    let (mut line, message) = match file {
        // Where the file says which queue, the first word is the message.
        Some(path) => (messages::open_file(&path, waiting)?, queue),
        None => {
            let name = queue.ok_or_else(no_queue_given)?;
            let name = queue_name(&name.to_string_lossy()).map_err(|why| {
                Failure::new(ErrorCode::Usage, format!("{:?} is no queue: {why}", name.display().to_string()))
            })?;
            (messages::open(connect()?, &name, waiting)?, message)
        }
    };
    let put = match message {
        Some(_) if lines => {
            return Err(Failure::new(
                ErrorCode::Usage,
                "--lines takes messages from standard input, not from MESSAGE",
            ));
        }
        Some(message) => line.put(message.as_encoded_bytes()).map(|()| 1)?,
        None if lines => line.put_lines()?,
        None => line.put_input().map(|()| 1)?,
    };
    if json {
        print_json(&json!({"queue": line.name(), "put": put}))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn create(connect: impl Fn() -> Result<Client, Failure>, new: New, json: bool) -> Result<ExitCode, Failure> {
    let durable = durability(&new)?;
    let New { place, capacity, max_bytes, max_message, max_deliveries, dead_letter, .. } = new;
    let made = match place {
        Place { file: Some(path), .. } => {
            let mut options =
                ipc::QueueOptions { capacity, max_bytes, max_deliveries, durable, ..Default::default() };
            options.max_message = max_message.unwrap_or(options.max_message);
            ipc::Queue::create(&path, &options).map_err(|error| match &error {
                ipc::OpenError::System(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                    Failure::new(ErrorCode::NotFound, format!("there is no folder for {}", path.display()))
                }
                _ => file_failure(&path, &error),
            })?;
            path.display().to_string()
        }
        Place { queue: Some(name), .. } => {
            let new = NewQueue {
                name: name.clone(),
                capacity,
                max_bytes,
                max_message,
                max_deliveries,
                dead_letter,
                durable: new.durable,
                fsync: new.fsync,
                fsync_interval_ms: new.fsync_interval.map(millis),
            };
            call::<serde::de::IgnoredAny>(&mut connect()?, &Request::QueueCreate(new))?;
            name
        }
        Place { queue: None, file: None } => return Err(no_queue_given()),
    };
    if json {
        print_json(&json!({"created": made}))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How long a message of a durable queue may be only in memory, where nobody says it.
const FSYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How soon the messages of a durable queue are on the disk; `None`: it is not durable.
fn durability(new: &New) -> Result<Option<ipc::Fsync>, Failure> {
    let fsync = match (new.fsync, new.fsync_interval) {
        (None | Some(Fsync::Always), None) => ipc::Fsync::Always,
        (Some(Fsync::Never), None) => ipc::Fsync::Never,
        (Some(Fsync::Always | Fsync::Never), Some(_)) => {
            return Err(Failure::new(ErrorCode::Usage, "--fsync-interval is for --fsync interval"));
        }
        (_, interval) => ipc::Fsync::Interval(interval.unwrap_or(FSYNC_INTERVAL)),
    };
    Ok(new.durable.then_some(fsync))
}

fn remove(
    connect: impl Fn() -> Result<Client, Failure>,
    place: &Place,
    json: bool,
) -> Result<ExitCode, Failure> {
    let removed = match place {
        Place { file: Some(path), .. } => {
            // Only what is a queue: a slip of the finger must not cost another file.
            let line = messages::open_file(path, Waiting::Never)?;
            std::fs::remove_file(path).map_err(|error| {
                Failure::new(ErrorCode::Failed, format!("{} cannot be removed: {error}", path.display()))
            })?;
            // Who waits at it is told.
            line.close();
            path.display().to_string()
        }
        Place { queue: Some(queue), .. } => {
            let queue = queue.clone();
            call::<serde::de::IgnoredAny>(&mut connect()?, &Request::QueueRemove { queue: queue.clone() })?;
            queue
        }
        Place { queue: None, file: None } => return Err(no_queue_given()),
    };
    if json {
        print_json(&json!({"removed": removed}))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a file is no queue to us.
pub fn file_failure(path: &Path, error: &ipc::OpenError) -> Failure {
    let shown = path.display();
    let io = |error: &std::io::Error| error.kind();
    match error {
        ipc::OpenError::Exists => Failure::new(ErrorCode::Refused, format!("{shown} is there already")),
        ipc::OpenError::Options(why) => Failure::new(ErrorCode::Usage, format!("{shown}: {why}")),
        ipc::OpenError::System(error) if io(error) == std::io::ErrorKind::NotFound => {
            Failure::new(ErrorCode::NotFound, format!("there is no queue {shown}"))
                .hint(format!("`supervisor queue create --file {shown}` makes one"))
        }
        ipc::OpenError::System(error) if io(error) == std::io::ErrorKind::PermissionDenied => {
            Failure::new(ErrorCode::Refused, format!("{shown}: {error}"))
        }
        ipc::OpenError::Foreign(_) => Failure::new(ErrorCode::Refused, format!("{shown}: {error}")),
        error => Failure::new(ErrorCode::Failed, format!("{shown}: {error}")),
    }
}

fn list(rows: &[QueueStatus], json: bool) -> Result<ExitCode, Failure> {
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
    for row in rows {
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

fn row(connect: &impl Fn() -> Result<Client, Failure>, place: &Place) -> Result<QueueStatus, Failure> {
    let queue = match place {
        Place { file: Some(path), .. } => return Ok(messages::open_file(path, Waiting::Never)?.status()),
        Place { queue: Some(queue), .. } => queue,
        Place { queue: None, file: None } => return Err(no_queue_given()),
    };
    let rows: Vec<QueueStatus> = call(&mut connect()?, &Request::Queues)?;
    let names: Vec<String> = rows.iter().map(|row| row.queue.clone()).collect();
    rows.into_iter().find(|row| row.queue == *queue).ok_or_else(|| {
        let failure = Failure::new(ErrorCode::NotFound, format!("no queue is called {queue:?}"));
        match nearest(queue, &names) {
            Some(nearest) => failure.hint(format!("did you mean {nearest:?}?")),
            None if names.is_empty() => {
                failure.hint("the run has no queues; `supervisor queue create` makes one")
            }
            None => failure.hint(format!("there is {}", names.join(", "))),
        }
    })
}

fn yes_or_no(question: &str, queue: &str, yes: bool, json: bool) -> Result<ExitCode, Failure> {
    if json {
        print_json(&json!({"queue": queue, question: yes}))?;
    }
    Ok(ExitCode::from(u8::from(!yes)))
}
