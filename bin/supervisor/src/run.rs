//! `run`: starts a supervisor, here or in the background.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::api::{ApiError, ErrorCode};
use control::{RoomError, Rooms, RunFolder};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use process::{Pid, Stat};
use runtime::logs::Console;
use runtime::source::Source;
use runtime::{Front, Outcome, WhenUp};
use supervision::Ending;

use crate::check::load_whole;
use crate::output::print;
use crate::setup::setup;
use crate::source::Configs;
use crate::talk::{self, Failure};

/// What `run` was told.
#[derive(Debug)]
pub struct RunArguments {
    /// The config, as it was given.
    pub config: PathBuf,
    /// What the run is called, if not as its config says.
    pub name: Option<String>,
    /// Go to the background once all is ready.
    pub detach: bool,
    /// This process is the background: the descriptor on which it tells how it went.
    pub report_to: Option<i32>,
    /// The file in which all that is decided is written down.
    pub journal: Option<PathBuf>,
    /// Say errors in JSON.
    pub json: bool,
}

/// How long a killed supervisor may take to let go of its run.
const DYING_TAKES_AT_MOST: Duration = Duration::from_secs(5);

/// What the process in the background says when all is ready.
const ALL_READY: u8 = b'r';
/// What it says when all that could become ready is, but something has failed.
const SOME_FAILED: u8 = b'f';

/// Runs the config to its end; the exit code is the run's.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let (mut plan, snapshot) = match load_whole(&arguments.config) {
        Ok(loaded) => loaded,
        Err(unusable) => return unusable.tell(arguments.json),
    };
    let config = std::path::absolute(&arguments.config).unwrap_or_else(|_| arguments.config.clone());
    if let Some(name) = &arguments.name {
        plan.name.clone_from(name);
    }
    if arguments.detach {
        return detach(arguments, &plan.name);
    }
    let background = arguments.report_to.is_some();
    let when_up = arguments.report_to.map(report).transpose()?;
    if background {
        // It is a leader already when it was started by hand; then it has a session of its own.
        let _ = nix::unistd::setsid();
    }
    for (path, why) in &plan.omissions {
        talk::note(&format!("{path} is optional and left out: {why}"));
    }
    let folder = take_folder(&plan.name)?;
    let console = if background { None } else { Console::stdout().ok() };
    let source: Option<Arc<dyn Source>> = Some(Arc::new(Configs::of(snapshot)));
    let journal = arguments.journal.clone();
    let front = Front { console, background, when_up, source, journal };
    let setup = setup(plan, &config).map_err(|error| Failure::new(ErrorCode::Failed, error.to_string()))?;
    match runtime::run(setup, folder, front) {
        Ok(outcome) => Ok(ExitCode::from(exit_code(outcome))),
        Err(error) => Err(Failure::new(ErrorCode::Failed, error.to_string())),
    }
}

/// Makes the run's folder, or takes it over. A supervisor that has been killed holds it until its last thread has
/// ended, which may take a moment: that is waited for.
fn take_folder(name: &str) -> Result<RunFolder, Failure> {
    let give_up = Instant::now() + DYING_TAKES_AT_MOST;
    loop {
        match RunFolder::create(&Rooms::from_environment(), name) {
            Err(RoomError::Taken { pid: Some(pid), .. }) if is_dying(pid) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(1));
            }
            made => return Ok(made?),
        }
    }
}

/// Whether a process has ended, if only its main thread, or is about to.
fn is_dying(pid: i32) -> bool {
    !matches!(Stat::of(Pid::from_raw(pid)), Ok(Some(stat)) if !stat.is_zombie())
}

fn exit_code(outcome: Outcome) -> u8 {
    let code = match outcome {
        Outcome::Succeeded => return 0,
        // Its own code, whatever `success_codes` says of it.
        Outcome::Essential(Some(Ending::Code(code))) => return u8::try_from(code & 0xff).unwrap_or(1),
        Outcome::Failed(Some(Ending::Code(code))) => code,
        Outcome::Failed(Some(Ending::Signal(signal))) | Outcome::Essential(Some(Ending::Signal(signal))) => {
            128 + signal
        }
        Outcome::Failed(Some(Ending::Unknown) | None) | Outcome::Essential(Some(Ending::Unknown) | None) => 1,
    };
    // A code of 0 can be a failure when `success_codes` says so; the run has failed all the same.
    u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1)
}

/// Tells, on a descriptor that was handed down, whether all is ready.
fn report(descriptor: i32) -> Result<WhenUp, Failure> {
    let mut to = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{descriptor}"))
        .map_err(|error| Failure::new(ErrorCode::Usage, format!("descriptor {descriptor}: {error}")))?;
    // The descriptor itself stays open in this process, so that its end is the process's end.
    Ok(WhenUp::call(move |none_failed| {
        // Whoever waited may have gone away; the run goes on.
        let _ = to.write_all(&[if none_failed { ALL_READY } else { SOME_FAILED }]);
    }))
}

/// Starts this program again, in the background, and waits until all is ready there or it has ended.
fn detach(arguments: &RunArguments, name: &str) -> Result<ExitCode, Failure> {
    let failed =
        |error: io::Error| Failure::new(ErrorCode::Failed, format!("cannot start the background: {error}"));
    let (mut heard, told) = io::pipe().map_err(failed)?;
    // Only this descriptor is handed down; all others close by themselves.
    fcntl(&told, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("run").arg(&arguments.config).args(["--name", name]);
    command.args(["--report-to", &told.as_raw_fd().to_string()]);
    if let Some(journal) = &arguments.journal {
        command.arg("--journal").arg(journal);
    }
    if arguments.json {
        command.arg("--json");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut background = command.spawn().map_err(failed)?;
    drop(told);
    let mut word = [0];
    let said = heard.read(&mut word).map_err(failed)?;
    match (said, word[0]) {
        (1, ALL_READY) => {
            print(&format!("{name} {}\n", background.id()))?;
            Ok(ExitCode::SUCCESS)
        }
        (1, SOME_FAILED) => {
            print(&format!("{name} {}\n", background.id()))?;
            let error = ApiError::new(ErrorCode::Failed, "it is up, but not all of it: something has failed");
            talk::say(&error.hint(format!("supervisor --name {name} status shows what")), arguments.json);
            Ok(ExitCode::FAILURE)
        }
        // It ended before, and has said why.
        _ => {
            let status = background.wait().map_err(failed)?;
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            Ok(ExitCode::from(code))
        }
    }
}
