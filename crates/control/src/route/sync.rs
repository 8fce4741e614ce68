//! How requests about locks and their like look in HTTP.

use serde::{Deserialize, Serialize};

use super::{HttpRequest, json, read, usage};
use crate::api::{ApiError, EventStatus, Kind, NewPrimitive, Primitive, Request, SyncRequest, ValueChange};
use crate::endpoints::{Name, endpoint};
use crate::names;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    barrier: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    array: String,
}

pub(super) fn to_http(request: &SyncRequest) -> HttpRequest {
    let (name, body) = match request {
        SyncRequest::List => (Name::Sync, Vec::new()),
        SyncRequest::Handle(wanted) => {
            let kind = wanted.as_ref().map(|wanted| wanted.kind);
            let name = wanted.as_ref().map(|wanted| wanted.name.clone());
            (Name::SyncHandle, json(&Wanted { kind, name }))
        }
        SyncRequest::Create(new) => (Name::SyncCreate, json(new)),
        SyncRequest::Event(event) => (Name::SyncEvent, json(event)),
        SyncRequest::Value(change) => (Name::SyncValue, json(change)),
        SyncRequest::Array { array } => (Name::SyncArray, json(&Read { array: array.clone() })),
        SyncRequest::BarrierReset { barrier } => {
            (Name::SyncBarrier, json(&Reset { barrier: barrier.clone() }))
        }
    };
    HttpRequest::to(endpoint(name), "", body)
}

/// The request at one of the endpoints of this file.
///
/// # Errors
/// When the body is not what the endpoint wants, or it is an endpoint of another file.
pub(super) fn from_http(name: Name, body: &[u8]) -> Result<Request, ApiError> {
    let request = match name {
        Name::Sync => SyncRequest::List,
        Name::SyncHandle => match read(body)? {
            Wanted { kind: None, name: None } => SyncRequest::Handle(None),
            Wanted { kind: Some(kind), name: Some(name) } => {
                names::check_name(kind.word(), &name)?;
                SyncRequest::Handle(Some(Primitive { kind, name }))
            }
            _ => return Err(usage("\"kind\" and \"name\" come together")),
        },
        Name::SyncCreate => {
            let new: NewPrimitive = read(body)?;
            names::check_name(new.kind.word(), &new.name)?;
            check_number(&new)?;
            SyncRequest::Create(new)
        }
        Name::SyncEvent => {
            let event: EventStatus = read(body)?;
            names::check_name("event", &event.event)?;
            SyncRequest::Event(event)
        }
        Name::SyncValue => {
            let change: ValueChange = read(body)?;
            // A number of an array is called as an instance of a worker is.
            if !names::is_target(&change.value) {
                names::check_name("value", &change.value)?;
            }
            if change.add.is_some() && change.set.is_some() {
                return Err(usage("a value is either set or added to"));
            }
            SyncRequest::Value(change)
        }
        Name::SyncArray => {
            let Read { array } = read(body)?;
            names::check_name("array", &array)?;
            SyncRequest::Array { array }
        }
        Name::SyncBarrier => {
            let Reset { barrier } = read(body)?;
            names::check_name("barrier", &barrier)?;
            SyncRequest::BarrierReset { barrier }
        }
        other => return Err(usage(format!("{other:?} is answered elsewhere"))),
    };
    Ok(Request::Sync(request))
}

fn check_number(new: &NewPrimitive) -> Result<(), ApiError> {
    let limits = match new.kind {
        Kind::Lock | Kind::Rlock | Kind::Event | Kind::Condition => None,
        Kind::Semaphore => Some(("permits", 1..=1024)),
        Kind::Barrier => Some(("parties", 1..=65_535)),
        Kind::Value => Some(("", i64::MIN..=i64::MAX)),
        Kind::Array => Some(("numbers", 1..=512)),
    };
    let word = match new.kind {
        kind @ (Kind::Event | Kind::Array) => format!("an {}", kind.word()),
        kind => format!("a {}", kind.word()),
    };
    match (limits, new.number) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(usage(format!("{word} has no number"))),
        (Some(_), None) if new.kind == Kind::Value => Ok(()),
        (Some((what, limits)), number) => match number {
            Some(number) if limits.contains(&number) => Ok(()),
            _ => Err(usage(format!("{word} has {} to {} {what}", limits.start(), limits.end()))),
        },
    }
}
