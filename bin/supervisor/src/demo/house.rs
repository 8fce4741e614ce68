//! The process around a lesson. The lesson runs in a child; whatever it starts, and loses, comes back to this process,
//! which ends it and removes the folder, also when the lesson was interrupted.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use control::api::ErrorCode;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use process::{Identity, Pid, Snapshot};

use crate::demo::stage::PATIENCE;
use crate::demo::text::Lang;
use crate::demo::{PART, WHOLE};
use crate::talk::Failure;

/// The variables that would lead a lesson to somebody else's run.
const FOREIGN: &[&str] = &[
    "SUPERVISOR_NAME",
    "SUPERVISOR_SOCKET",
    "SUPERVISOR_WORKER",
    "SUPERVISOR_INSTANCE",
    "SUPERVISOR_LAUNCH",
    "SUPERVISOR_PID",
    "SUPERVISOR_ARGS",
    "SUPERVISOR_KWARGS",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
];

/// Gives a lesson; passes on its exit code.
///
/// # Errors
/// When it cannot be tried.
pub fn give(lesson: &str, lang: Lang, json: bool) -> Result<ExitCode, Failure> {
    let failed =
        |error: io::Error| Failure::new(ErrorCode::Failed, format!("the lesson cannot begin: {error}"));
    let folder = tempfile::Builder::new().prefix("supervisor-demo-").tempdir().map_err(failed)?;
    process::become_subreaper().map_err(failed)?;
    // Blocked before there is a child, so that no news is missed.
    let news = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    news.thread_block().map_err(|errno| failed(errno.into()))?;
    let lesson = start(lesson, lang, json, folder.path()).map_err(failed)?;
    let code = watch(lesson, &news);
    sweep();
    folder.close().map_err(|error| {
        Failure::new(ErrorCode::Failed, format!("the folder of the lesson cannot be removed: {error}"))
    })?;
    Ok(ExitCode::from(code))
}

fn start(lesson: &str, lang: Lang, json: bool, folder: &Path) -> io::Result<Pid> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([PART, lesson, WHOLE, lang.code(), if json { "json" } else { "text" }]).arg(folder);
    command.env("SUPERVISOR_RUNTIME_DIR", folder.join("run")).stdin(Stdio::null());
    for name in FOREIGN {
        command.env_remove(name);
    }
    // It is waited for by pid, among all that come back to this process.
    Ok(Pid::from_raw(command.spawn()?.id().cast_signed()))
}

/// Fetches everybody who ends, until the lesson has; a signal to this process ends it at once.
fn watch(lesson: Pid, news: &SigSet) -> u8 {
    let mut told = None;
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == lesson => {
                    return told.unwrap_or(u8::try_from(code).unwrap_or(1));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == lesson => {
                    return told.unwrap_or(128 + signal as u8);
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                // The lesson is our child until it was fetched above, unless we were started with children ignored.
                Err(_) => return told.unwrap_or(1),
            }
        }
        match news.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                told = Some(128 + signal as u8);
                // Whoever has ended already is fetched in the next round.
                let _ = kill(lesson, Signal::SIGKILL);
            }
        }
    }
}

/// Ends whatever is still below this process, and fetches it.
fn sweep() {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => {
                let children = Snapshot::take().map(|all| {
                    let children = all.children(Pid::this()).iter().filter_map(|pid| all.get(*pid));
                    children.map(Identity::from).collect::<Vec<_>>()
                });
                // What cannot be ended cannot be waited for either: the deadline is for it.
                let _ = children.and_then(|children| process::freeze_and_kill(&children, |_| false));
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => {}
        }
    }
}
