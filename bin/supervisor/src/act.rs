//! The verbs that act on workers and processes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use control::Client;
use control::api::{Acted, ErrorCode, Exit, InstanceStatus, Request, Status, Waited, Who};
use serde::Serialize;

use crate::output::{print, print_json, wants_colour};
use crate::progress::{Manner, Progress};
use crate::reach::{call, millis};
use crate::status::{instance_name, table, why};
use crate::talk::Failure;

/// `start`, `stop`, `restart` and `scale`: asks, and shows what became of each instance. Exit 1 when it was waited for and one of
/// them is not what was asked for: it has failed for good, or somebody else asked for something else meanwhile.
///
/// # Errors
/// See [`call`].
pub fn act(mut client: Client, request: &Request, manner: Manner) -> Result<ExitCode, Failure> {
    let progress = Progress::of(&client, request, manner);
    let acted: Result<Acted, Failure> = call(&mut client, request);
    drop(progress);
    let acted = acted?;
    if manner.json {
        print_json(&acted)?;
    } else {
        print(&table(&acted.instances).render(wants_colour()))?;
    }
    match acted.instances.iter().find_map(|row| not_as_asked(request, row)) {
        None => Ok(ExitCode::SUCCESS),
        Some(message) => Err(Failure::new(ErrorCode::Failed, message)),
    }
}

/// What is wrong with where an instance stands, where that was waited for.
fn not_as_asked(request: &Request, row: &InstanceStatus) -> Option<String> {
    let name = instance_name(row);
    let is_over = matches!(row.state.as_str(), "done" | "failed" | "stopped");
    match request {
        Request::Stop { wait: true, .. } if !is_over => {
            Some(format!("{name} is {}: somebody has started it again meanwhile", row.state))
        }
        Request::Start { wait: true, .. }
        | Request::Restart { wait: true, .. }
        | Request::Scale { wait: true, .. }
            if row.state == "failed" =>
        {
            Some(format!("{name} failed: {}", why(row)).trim_end_matches(": ").to_owned())
        }
        Request::Start { wait: true, .. } | Request::Restart { wait: true, .. } if row.state == "stopped" => {
            Some(format!("{name} is stopped: somebody has stopped it meanwhile"))
        }
        _ => None,
    }
}

#[derive(Serialize)]
struct WaitedRow<'a> {
    whom: &'a Who,
    #[serde(flatten)]
    waited: Waited,
}

/// How much later than the supervisor the command gives up by itself, should the supervisor not answer at all.
const MARGIN: Duration = Duration::from_secs(2);

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
        let progress = Progress::of(&client, &request, manner);
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
    let progress = Progress::of(&client, &request, manner);
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
