//! What can be seen to be wrong with a request before the supervisor is asked.

use super::address::percent_decoded;
use super::usage;
use crate::api::{ApiError, Argument, NewWorker, Who};
use crate::names;

pub(super) fn check_config(config: Option<&str>) -> Result<(), ApiError> {
    match config {
        Some(path) if !path.starts_with('/') || path.contains('\0') => {
            Err(usage("\"config\" is an absolute path")
                .hint("left out: the file that the run was started from"))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_new(worker: &NewWorker) -> Result<(), ApiError> {
    worker.name.iter().try_for_each(|name| names::check_name("worker", name))?;
    worker.after.keys().try_for_each(|name| names::check_name("worker", name))?;
    let mut queues = worker.queue_in.iter().chain(&worker.queue_out);
    queues.try_for_each(|name| names::check_name("queue", name))?;
    let arguments = worker.command.iter().map(Argument::as_bytes);
    let texts = worker.env.values().chain([&worker.cwd]).map(String::as_bytes);
    if worker.command.first().is_none_or(|program| program.as_bytes().is_empty()) {
        return Err(usage("there is no command"));
    }
    if arguments.chain(texts).any(|text| text.contains(&0)) {
        return Err(usage("a NUL character cannot be passed to a process"));
    }
    if let Some(name) = worker.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(usage(format!("{name:?} cannot be the name of a variable")));
    }
    if !worker.cwd.starts_with('/') {
        return Err(usage("the working folder is not an absolute path").hint("\"cwd\" is an absolute path"));
    }
    Ok(())
}

pub(super) fn check_targets(workers: &[String]) -> Result<(), ApiError> {
    if workers.is_empty() {
        return Err(usage("no worker is named").hint("\"workers\" is a list of NAME or NAME:INSTANCE"));
    }
    workers.iter().try_for_each(|worker| names::check_target(worker))
}

pub(super) fn check_whom(whom: &Who) -> Result<(), ApiError> {
    match whom {
        // kill(2) takes 0 and negative numbers for groups of processes; nobody means that here.
        Who::Pid(pid) if *pid < 1 => Err(usage(format!("{pid} is not a pid"))),
        Who::Pid(_) => Ok(()),
        Who::Worker(worker) => names::check_target(worker),
    }
}

pub(super) fn queue_name(segment: Option<&str>) -> Result<String, ApiError> {
    let queue = percent_decoded(segment.unwrap_or_default())?;
    names::check_name("queue", &queue)?;
    Ok(queue)
}
