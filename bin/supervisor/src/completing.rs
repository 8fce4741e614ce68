//! Completion of what people type: the verbs from their definition, and the names of what there is from the running
//! supervisor.
//!
//! The script that `completions SHELL` prints asks this program for every word, by a variable of the environment. It is
//! asked between two keys, so it gives up soon and says nothing of what goes wrong.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap_complete::Shell;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use control::api::{ProcessRow, QueueStatus, Request, Status, SyncRequest, SyncStatus};
use control::{Client, Rooms, Wanted};
use serde::de::DeserializeOwned;

use crate::arguments::command;
use crate::output::{print, printable};
use crate::talk::Failure;

/// The variable by which a shell asks for candidates; it holds the shell's name.
const VARIABLE: &str = "SUPERVISOR_COMPLETE";

/// How long a supervisor may take to answer between two keys.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers a shell, if it is one that asks.
pub fn answered(given: &[OsString]) -> Option<ExitCode> {
    std::env::var_os(VARIABLE)?;
    let folder = std::env::current_dir().ok();
    let complete = CompleteEnv::with_factory(command).var(VARIABLE);
    match complete.try_complete(given.iter().cloned(), folder.as_deref()) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        // Anything said here would stand in the middle of somebody's line.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// `completions SHELL`: the script that a shell reads when it starts.
///
/// # Errors
/// When the output cannot be written.
pub fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let name = shell.to_string();
    let mut script = Vec::new();
    // The shells of the two lists are the same.
    if let Some(completer) = Shells::builtins().completer(&name) {
        completer.write_registration(VARIABLE, "supervisor", "supervisor", &program(), &mut script)?;
    }
    let verbs: Vec<String> = command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let heading = format!("# Asks the program for every word. Its verbs: {}\n", verbs.join(" "));
    // Some shells want a line of their own to be the first.
    let mut script = String::from_utf8_lossy(&script).into_owned();
    let place = if script.starts_with('#') { script.find('\n').map_or(0, |end| end + 1) } else { 0 };
    script.insert_str(place, &heading);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// How a shell finds this program: as it was found now.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let is_path = called.components().count() > 1;
    let path =
        if is_path { std::path::absolute(&called).unwrap_or(called) } else { PathBuf::from("supervisor") };
    path.to_string_lossy().into_owned()
}

/// The run that is meant on the line that is typed.
fn supervisor() -> Option<Client> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let behind = words.iter().position(|word| word == "--name").and_then(|place| words.get(place + 1));
    let joined = words.iter().filter_map(|word| word.to_str()?.strip_prefix("--name=")).next();
    let name = behind.and_then(|name| name.to_str()).or(joined).filter(|name| !name.is_empty());
    let mut client = Rooms::from_environment().connect(&Wanted::from_environment(name)).ok()?;
    client.set_timeout(Some(PATIENCE));
    Some(client)
}

fn ask<T: DeserializeOwned>(request: &Request) -> Option<T> {
    supervisor()?.call(request).ok()
}

fn candidate(name: &str, help: String) -> CompletionCandidate {
    let help = printable(&help);
    CompletionCandidate::new(name).help((!help.is_empty()).then(|| help.into()))
}

fn status() -> Option<Status> {
    ask(&Request::Status { workers: vec![] })
}

/// Workers by their names; those with several instances also by number.
pub fn workers() -> Vec<CompletionCandidate> {
    let Some(status) = status() else { return Vec::new() };
    let mut all = Vec::new();
    for (place, row) in status.workers.iter().enumerate() {
        let count = status.workers.iter().filter(|other| other.worker == row.worker).count();
        let is_first = !status.workers[..place].iter().any(|before| before.worker == row.worker);
        if is_first {
            let help = if count > 1 { format!("{count} instances") } else { row.state.clone() };
            all.push(candidate(&row.worker, help));
        }
        if count > 1 {
            all.push(candidate(&format!("{}:{}", row.worker, row.instance), row.state.clone()));
        }
    }
    all
}

/// Workers by name alone.
pub fn worker_names() -> Vec<CompletionCandidate> {
    let mut names: Vec<String> =
        status().into_iter().flat_map(|it| it.workers).map(|row| row.worker).collect();
    names.dedup();
    names.iter().map(|name| candidate(name, String::new())).collect()
}

/// Workers, and the pids of the run.
pub fn workers_and_pids() -> Vec<CompletionCandidate> {
    let processes: Vec<ProcessRow> = ask(&Request::Ps).unwrap_or_default();
    // The supervisor itself comes first, and is no answer to any of the questions.
    let pids = processes.iter().skip(1).map(|row| {
        let command: String = row.command.chars().take(60).collect();
        candidate(&row.pid.to_string(), command)
    });
    workers().into_iter().chain(pids).collect()
}

/// Queues.
pub fn queues() -> Vec<CompletionCandidate> {
    let rows: Vec<QueueStatus> = ask(&Request::Queues).unwrap_or_default();
    rows.iter().map(|row| candidate(&row.queue, format!("{} waiting", row.len))).collect()
}

fn primitives() -> SyncStatus {
    ask(&Request::Sync(SyncRequest::List)).unwrap_or_default()
}

/// Locks.
pub fn locks() -> Vec<CompletionCandidate> {
    let help = |held: bool| if held { "held" } else { "free" }.to_owned();
    primitives().locks.iter().map(|row| candidate(&row.lock, help(row.holder.is_some()))).collect()
}

/// Semaphores.
pub fn semaphores() -> Vec<CompletionCandidate> {
    let rows = primitives().semaphores;
    rows.iter()
        .map(|row| candidate(&row.semaphore, format!("{} of {} free", row.free, row.permits)))
        .collect()
}

/// Events.
pub fn events() -> Vec<CompletionCandidate> {
    let help = |set: bool| if set { "set" } else { "not set" }.to_owned();
    primitives().events.iter().map(|row| candidate(&row.event, help(row.set))).collect()
}

/// Values.
pub fn values() -> Vec<CompletionCandidate> {
    let SyncStatus { values, arrays, .. } = primitives();
    let values = values.iter().map(|row| candidate(&row.value, row.number.to_string()));
    values.chain(arrays.iter().map(|row| candidate(&row.array, format!("{} numbers", row.length)))).collect()
}

/// Barriers.
pub fn barriers() -> Vec<CompletionCandidate> {
    let rows = primitives().barriers;
    rows.iter()
        .map(|row| candidate(&row.barrier, format!("{} of {} wait", row.waiting, row.parties)))
        .collect()
}

/// Signals by name.
pub fn signals() -> Vec<CompletionCandidate> {
    process::signal::all_names().map(|(name, number)| candidate(name, number.to_string())).collect()
}

/// Runs by name.
pub fn runs() -> Vec<CompletionCandidate> {
    let runs = Rooms::from_environment().runs().unwrap_or_default();
    let shown = |path: &Path| path.display().to_string();
    runs.iter().map(|run| candidate(&run.name, shown(&run.socket))).collect()
}
