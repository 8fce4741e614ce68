//! The verbs that act on workers and processes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use control::Client;
use control::api::{Acted, ErrorCode, Exit, InstanceStatus, Request, Status, Waited, Who};
use serde::Serialize;

use crate::output::{print, print_json, wants_colour};
use crate::progress::Progress;
use crate::reach::call;
use crate::status::{instance_name, table, why};
use crate::talk::{self, Failure};

/// How a verb speaks.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// In JSON.
    pub json: bool,
    /// Also of whom it waits for, where standard error is no terminal.
    pub progress: bool,
}

/// `start`, `stop` and `restart`: asks, and shows what became of each instance. Exit 1 when `up` was wanted and one of
/// them has failed for good.
///
/// # Errors
/// See [`call`].
pub fn act(mut client: Client, request: &Request, up: bool, manner: Manner) -> Result<ExitCode, Failure> {
    let progress = Progress::of(&client, request, manner.progress);
    if progress.is_none() && !manner.json {
        let workers = match request {
            Request::Start { workers, .. }
            | Request::Stop { workers, .. }
            | Request::Restart { workers, .. } => workers.clone(),
            Request::Scale { workers, .. } => workers.iter().map(|size| size.worker.clone()).collect(),
            _ => Vec::new(),
        };
        keep_people_informed(&client, workers);
    }
    let acted: Result<Acted, Failure> = call(&mut client, request);
    drop(progress);
    let acted = acted?;
    if manner.json {
        print_json(&acted)?;
    } else {
        print(&table(&acted.instances).render(wants_colour()))?;
    }
    match acted.instances.iter().find(|row| up && row.state == "failed") {
        None => Ok(ExitCode::SUCCESS),
        Some(row) => {
            let message = format!("{} failed: {}", instance_name(row), why(row));
            Err(Failure::new(ErrorCode::Failed, message.trim_end_matches(": ")))
        }
    }
}

/// When an answer has taken this long, people are told whom it waits for; then after twice as long, and so on.
const LONG: Duration = Duration::from_secs(2);
/// The longest time between two words about it.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Tells people on standard error whom an answer about these workers waits for, as long as it does not come.
fn keep_people_informed(client: &Client, workers: Vec<String>) {
    let Ok(mut client) = client.another() else { return };
    // It ends with the program; what it would still say nobody waits for any more.
    std::thread::spawn(move || {
        let mut silence = LONG;
        loop {
            std::thread::sleep(silence);
            silence = (silence * 2).min(LONGEST_SILENCE);
            let request = Request::Status { workers: workers.clone() };
            let Ok(status) = client.call::<Status>(&request) else { return };
            let moving = |row: &&InstanceStatus| {
                ["stopping", "starting", "waiting", "backoff"].contains(&row.state.as_str())
            };
            for row in status.workers.iter().filter(moving).take(NAMED_AT_MOST) {
                let line = format!("{} is {}: {}", instance_name(row), row.state, why(row));
                talk::note(line.trim_end_matches(": "));
            }
        }
    });
}

/// So many instances are named at most.
const NAMED_AT_MOST: usize = 10;

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct WaitedRow<'a> {
    whom: &'a Who,
    #[serde(flatten)]
    waited: Waited,
}

/// How much later than the supervisor the command gives up by itself, should the supervisor not answer at all.
const MARGIN: Duration = Duration::from_secs(10);

/// `wait`: until all have ended; passes on the first exit code that is not 0.
///
/// # Errors
/// See [`call`]; exit 7 when they take longer than `timeout` altogether.
pub fn wait(
    mut client: Client,
    whom: &[Who],
    timeout: Option<Duration>,
    manner: Manner,
) -> Result<ExitCode, Failure> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut rows = Vec::new();
    for who in whom {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        client.set_timeout(left.map(|left| left + MARGIN));
        // Rounded up: a deadline is never early.
        let timeout_ms = left.map(|left| millis(left + Duration::from_nanos(999_999)));
        let request = Request::Wait { whom: who.clone(), timeout_ms };
        let progress = Progress::of(&client, &request, manner.progress);
        let waited: Result<Waited, Failure> = call(&mut client, &request);
        drop(progress);
        rows.push(WaitedRow { whom: who, waited: waited? });
    }
    if manner.json {
        print_json(&rows)?;
    }
    let codes = rows.iter().map(|row| code(&row.waited));
    // Of an exit code the kernel keeps eight bits.
    let first = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
    Ok(ExitCode::from(u8::try_from(first).unwrap_or(1)))
}

fn code(waited: &Waited) -> i32 {
    match (waited.exit, waited.state.as_deref()) {
        (Some(Exit::Code(code)), _) => code & 0xff,
        (Some(exit), _) => exit.folded(),
        (None, Some("done" | "stopped")) => 0,
        // It failed without ever running, or nobody could learn how it ended.
        (None, _) => 1,
    }
}

/// How long a supervisor that has stopped everything may take to be gone itself.
const FAREWELL: Duration = Duration::from_secs(10);

/// `shutdown`: returns when the supervisor is gone too, so that another one can take its name.
///
/// # Errors
/// See [`call`].
pub fn shutdown(mut client: Client, now: bool, manner: Manner) -> Result<ExitCode, Failure> {
    let none = Request::Status { workers: vec![] };
    let status: Status = call(&mut client, &none)?;
    let supervisor = client.server_pid();
    let request = Request::Shutdown { now };
    let progress = Progress::of(&client, &request, manner.progress);
    if progress.is_none() && !manner.json {
        keep_people_informed(&client, Vec::new());
    }
    let over = call::<serde::de::IgnoredAny>(&mut client, &request);
    drop(progress);
    over?;
    let deadline = Instant::now() + FAREWELL;
    while let Some(pid) = supervisor.filter(|pid| lives(*pid)) {
        if Instant::now() > deadline {
            let message = format!("everything is stopped, but the supervisor (pid {pid}) is still there");
            return Err(Failure::new(ErrorCode::TimedOut, message));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if manner.json {
        print_json(&serde_json::json!({"name": status.name, "pid": status.pid}))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A zombie has closed everything it held; that its parent does not fetch it is no affair of ours.
fn lives(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name in parentheses may hold anything; the state is behind the last of them.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}
