//! The verbs of locks, semaphores, events, values and barriers. What is told or done at once goes through the control
//! API; what may wait, and what is held, happens here, in the run's shared memory.

pub mod arguments;
mod hold;
mod meeting;
mod tables;

use std::process::ExitCode;

use control::api::{
    ArrayNumbers, BarrierStatus, Created, EventStatus, Kind, NewPrimitive, Request, SyncRequest, SyncStatus,
    ValueChange, ValueStatus,
};
use control::{Client, ClientError};

use crate::messages::Waiting;
use crate::output::{print, print_json};
use crate::reach::call;
use crate::talk::Failure;
use arguments::{BarrierVerb, EventVerb, LockVerb, SemaphoreVerb, ValueVerb};
use meeting::Meeting;

/// `lock`.
///
/// # Errors
/// See [`call`]; exit 6 when it is held and nobody is to wait, 7 when it stays held too long.
pub fn lock(mut client: Client, verb: LockVerb, json: bool) -> Result<ExitCode, Failure> {
    match verb {
        LockVerb::Run { lock: name, patience, create, command } => {
            if create {
                define(&mut client, Kind::Lock, &name, None)?;
            }
            let meeting = Meeting::open(client, Kind::Lock, &name, command_line(&command).as_deref())?;
            hold::lock(meeting, Waiting::from(patience), &command)
        }
        LockVerb::Ls => {
            let status = status(&mut client)?;
            show(&status.locks, json, tables::locks)
        }
        LockVerb::Create { recursive, names } => {
            let kind = if recursive { Kind::Rlock } else { Kind::Lock };
            create(&mut client, kind, &names, None, json)
        }
    }
}

/// `semaphore`.
///
/// # Errors
/// As [`lock`].
pub fn semaphore(mut client: Client, verb: SemaphoreVerb, json: bool) -> Result<ExitCode, Failure> {
    match verb {
        SemaphoreVerb::Run { semaphore: name, patience, create, command } => {
            if let Some(permits) = create {
                define(&mut client, Kind::Semaphore, &name, Some(permits.into()))?;
            }
            let meeting = Meeting::open(client, Kind::Semaphore, &name, command_line(&command).as_deref())?;
            hold::semaphore(meeting, Waiting::from(patience), &command)
        }
        SemaphoreVerb::Ls => {
            let status = status(&mut client)?;
            show(&status.semaphores, json, tables::semaphores)
        }
        SemaphoreVerb::Create { semaphore: name, permits } => {
            create(&mut client, Kind::Semaphore, &[name], Some(permits.into()), json)
        }
    }
}

/// `event`.
///
/// # Errors
/// See [`call`]; exit 6 or 7 when it is not set, or not in time.
pub fn event(mut client: Client, verb: EventVerb, json: bool) -> Result<ExitCode, Failure> {
    match verb {
        EventVerb::Set { event: name } => change_event(&mut client, name, true, json),
        EventVerb::Clear { event: name } => change_event(&mut client, name, false, json),
        EventVerb::Wait { event: name, patience } => {
            Meeting::open(client, Kind::Event, &name, None)?.wait_for_event(Waiting::from(patience), json)
        }
        EventVerb::Ls => {
            let status = status(&mut client)?;
            show(&status.events, json, tables::events)
        }
        EventVerb::Create { names } => create(&mut client, Kind::Event, &names, None, json),
    }
}

/// `value`.
///
/// # Errors
/// See [`call`].
pub fn value(mut client: Client, verb: ValueVerb, json: bool) -> Result<ExitCode, Failure> {
    let (name, add, set) = match verb {
        ValueVerb::Get { value: name } => (name, None, None),
        ValueVerb::Add { value: name, number } => (name, Some(number), None),
        ValueVerb::Set { value: name, number } => (name, None, Some(number)),
        ValueVerb::Ls => {
            let status = status(&mut client)?;
            return show_values(&status, json);
        }
        ValueVerb::Create { value: name, length: Some(length), .. } => {
            return create(&mut client, Kind::Array, &[name], Some(length.into()), json);
        }
        ValueVerb::Create { value: name, number, length: None } => {
            return create(&mut client, Kind::Value, &[name], Some(number), json);
        }
    };
    let request = SyncRequest::Value(ValueChange { value: name.clone(), add, set });
    let now: ValueStatus = match client.call(&Request::Sync(request)) {
        Ok(now) => now,
        Err(ClientError::Refused(error)) if (add, set) == (None, None) && !name.contains(':') => {
            // An array's name alone is all its numbers.
            let array = client.call::<ArrayNumbers>(&Request::Sync(SyncRequest::Array { array: name }));
            return array.map_err(|_| error.into()).and_then(|array| numbers(&array, json));
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        print_json(&now)?;
    } else if set.is_none() {
        print(&format!("{}\n", now.number))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn numbers(array: &ArrayNumbers, json: bool) -> Result<ExitCode, Failure> {
    if json {
        print_json(array)?;
    } else {
        print(&array.numbers.iter().map(|number| format!("{number}\n")).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Values, then arrays.
fn show_values(status: &SyncStatus, json: bool) -> Result<ExitCode, Failure> {
    if json {
        let told = "a status has string keys";
        let values = status.values.iter().map(|row| serde_json::to_value(row).expect(told));
        let arrays = status.arrays.iter().map(|row| serde_json::to_value(row).expect(told));
        print_json(&values.chain(arrays).collect::<Vec<_>>())?;
    } else {
        print(&tables::values(&status.values, &status.arrays).render(false))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `barrier`.
///
/// # Errors
/// See [`call`]; exit 1 when it is broken, 7 when it took too long.
pub fn barrier(mut client: Client, verb: BarrierVerb, json: bool) -> Result<ExitCode, Failure> {
    match verb {
        BarrierVerb::Wait { barrier: name, timeout } => {
            Meeting::open(client, Kind::Barrier, &name, None)?.wait_at_barrier(timeout, json)
        }
        BarrierVerb::Reset { barrier: name } => {
            let request = SyncRequest::BarrierReset { barrier: name };
            let now: BarrierStatus = call(&mut client, &Request::Sync(request))?;
            if json {
                print_json(&now)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BarrierVerb::Ls => {
            let status = status(&mut client)?;
            show(&status.barriers, json, tables::barriers)
        }
        BarrierVerb::Create { barrier: name, parties } => {
            create(&mut client, Kind::Barrier, &[name], Some(parties.into()), json)
        }
    }
}

fn status(client: &mut Client) -> Result<SyncStatus, Failure> {
    call(client, &Request::Sync(SyncRequest::List))
}

fn show<T: serde::Serialize>(
    rows: &[T],
    json: bool,
    table: impl FnOnce(&[T]) -> crate::output::Table,
) -> Result<ExitCode, Failure> {
    if json {
        print_json(&rows)?;
    } else {
        print(&table(rows).render(false))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn change_event(client: &mut Client, event: String, set: bool, json: bool) -> Result<ExitCode, Failure> {
    let request = SyncRequest::Event(EventStatus { event, set });
    let now: EventStatus = call(client, &Request::Sync(request))?;
    if json {
        print_json(&now)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn define(client: &mut Client, kind: Kind, name: &str, number: Option<i64>) -> Result<Created, Failure> {
    let new = NewPrimitive { kind, name: name.to_owned(), number };
    call(client, &Request::Sync(SyncRequest::Create(new)))
}

fn create(
    client: &mut Client,
    kind: Kind,
    names: &[String],
    number: Option<i64>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    for name in names {
        rows.push(define(client, kind, name, number)?);
    }
    if json {
        print_json(&rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A command as people would type it, as far as it is text.
fn command_line(command: &[std::ffi::OsString]) -> Option<String> {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
