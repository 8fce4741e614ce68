//! The way to the running supervisor.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use control::api::{ApiError, ErrorCode, Kill, QueueStatus, Request, Status};
use control::{Client, ClientError, Impatience, Rooms, Wanted};
use process::{Pid, Stat};
use serde::de::DeserializeOwned;

use crate::talk::{self, Failure};

/// Connects to the run that `--name`, or else the environment, means.
///
/// # Errors
/// Exit 5 when there is none, 2 when there are several, 9 when its folder is not to be trusted.
///
/// Should it not run while it is waited for, people are told so; not where all is said in JSON.
pub fn connect(name: Option<&str>, json: bool) -> Result<Client, Failure> {
    let mut client = Rooms::from_environment().connect(&Wanted::from_environment(name))?;
    let told = Impatience { after: LONG, tell: tell_of_a_standstill };
    client.set_impatience((!json).then_some(told));
    Ok(client)
}

/// So long nobody wonders; many verbs wait by their nature.
const LONG: Duration = Duration::from_secs(2);

/// Says, once, that the supervisor does not answer because it does not run; and whether that is still to be looked for.
fn tell_of_a_standstill(supervisor: Option<i32>) -> bool {
    /// A verb may have several connections.
    static TOLD: AtomicBool = AtomicBool::new(false);
    // One that cannot be seen from here cannot be looked at.
    let Some(pid) = supervisor else { return false };
    let Ok(Some(stat)) = Stat::of(Pid::from_raw(pid)) else { return true };
    let (why, hint) = match stat.state {
        'T' => ("stopped by a signal", format!("`kill -CONT {pid}` lets it go on")),
        't' => ("stopped by a debugger", "it goes on when the debugger lets it".to_owned()),
        _ if is_frozen(pid) => ("frozen with its cgroup", "whoever froze it can thaw it".to_owned()),
        _ => return true,
    };
    if !TOLD.swap(true, Ordering::Relaxed) {
        talk::note_with_hint(&format!("waiting for the supervisor, pid {pid}, which is {why}"), &hint);
    }
    false
}

/// Whether all of a cgroup is frozen, and this process in it. Only who may look into the process can say.
fn is_frozen(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|place| place.contains("freeze"))
}

/// Asks, and where a name is unknown adds which one may have been meant.
///
/// # Errors
/// What the supervisor refuses, and its absence.
pub fn call<T: DeserializeOwned>(client: &mut Client, request: &Request) -> Result<T, Failure> {
    client.call(request).map_err(|error| failure(client, request, error))
}

/// [`call`], and the descriptors that come beside the answer.
///
/// # Errors
/// As [`call`].
pub fn call_with_descriptors<T: DeserializeOwned>(
    client: &mut Client,
    request: &Request,
) -> Result<(T, Vec<OwnedFd>), Failure> {
    client.call_with_descriptors(request).map_err(|error| failure(client, request, error))
}

/// The supervisor names no place where something can be opened, and hands nothing over either.
pub fn no_descriptor(what: &str) -> Failure {
    Failure::new(ErrorCode::Failed, format!("{what} was not handed over by the supervisor"))
}

fn failure(client: &mut Client, request: &Request, error: ClientError) -> Failure {
    match error {
        ClientError::Refused(error) if error.code == ErrorCode::NotFound && error.hint.is_none() => {
            with_suggestion(client, request, error).into()
        }
        error => error.into(),
    }
}

fn with_suggestion(client: &mut Client, request: &Request, error: ApiError) -> ApiError {
    let (given, known) = match request {
        Request::QueueHandle { queue } | Request::QueueClose { queue } => {
            let queues: Result<Vec<QueueStatus>, _> = client.call(&Request::Queues);
            (vec![queue.as_str()], queues.map(|rows| rows.into_iter().map(|row| row.queue).collect()))
        }
        Request::Start { workers, .. } | Request::Stop { workers, .. } | Request::Restart { workers, .. } => {
            (workers.iter().map(String::as_str).collect(), worker_names(client))
        }
        Request::Status { workers } => (workers.iter().map(String::as_str).collect(), worker_names(client)),
        Request::Scale { workers, .. } => {
            (workers.iter().map(|size| size.worker.as_str()).collect(), worker_names(client))
        }
        Request::Why { worker } => (vec![worker.as_str()], worker_names(client)),
        Request::Kill(Kill { whom: control::api::Who::Worker(worker), .. })
        | Request::Wait { whom: control::api::Who::Worker(worker), .. } => {
            (vec![worker.as_str()], worker_names(client))
        }
        _ => return error,
    };
    let Ok(known) = known else {
        return error;
    };
    // The one that is unknown, of those that were given.
    let unknown = given
        .into_iter()
        .map(|name| name.split(':').next().unwrap_or(name))
        .find(|name| !known.iter().any(|known| known == name));
    match unknown.and_then(|unknown| nearest(unknown, &known)) {
        Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
        None if !known.is_empty() && unknown.is_some() => {
            error.hint(format!("there is {}", known.join(", ")))
        }
        None => error,
    }
}

fn worker_names(client: &mut Client) -> Result<Vec<String>, ClientError> {
    let status: Status = client.call(&Request::Status { workers: vec![] })?;
    let mut names: Vec<String> = status.workers.into_iter().map(|row| row.worker).collect();
    names.dedup();
    Ok(names)
}

/// The known name that is most like the unknown one, if any is like it at all.
pub fn nearest<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.as_str())
}

/// A length of time as the control API has it.
pub fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["reader".to_owned(), "counter".to_owned()];
        assert_eq!(nearest("raeder", &known), Some("reader"));
        assert_eq!(nearest("counte", &known), Some("counter"));
        assert_eq!(nearest("mailer", &known), None);
    }
}
