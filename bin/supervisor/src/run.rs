//! `run`: starts a supervisor, here or in the background.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::api::{ApiError, ErrorCode};
use control::{RoomError, Rooms, RunFolder};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use process::{Pid, Stat};
use runtime::logs::Console;
use runtime::source::Source;
use runtime::{Front, Outcome, Setup, WhenUp};
use supervision::Ending;

use crate::arguments::Run;
use crate::check::load_whole;
use crate::output::print;
use crate::setup;
use crate::source::Configs;
use crate::talk::{self, Failure};

/// How long a killed supervisor may take to let go of its run.
const DYING_TAKES_AT_MOST: Duration = Duration::from_secs(5);

/// What the process in the background says when all is ready.
const ALL_READY: u8 = b'r';
/// What it says when all that could become ready is, but something has failed.
const SOME_FAILED: u8 = b'f';

/// What the run without a config is called, if nobody says otherwise.
const EMPTY: &str = "scripts";

/// Runs what is given to its end; the exit code is the run's.
///
/// # Errors
/// Exit 1 when it cannot be begun, 2 when its name is taken, 9 when its folder is not to be trusted.
pub fn run(given: Run, name: Option<String>, json: bool) -> Result<ExitCode, Failure> {
    if !given.command.is_empty() {
        return command(given, name);
    }
    let (setup, source, again) = match &given.config {
        None => (setup::empty(name.unwrap_or_else(|| EMPTY.to_owned())), None, vec!["--empty".into()]),
        Some(path) => {
            let (mut plan, snapshot) = match load_whole(path) {
                Ok(loaded) => loaded,
                Err(unusable) => return unusable.tell(json),
            };
            if let Some(name) = name {
                plan.name = name;
            }
            if !given.detach {
                for (path, why) in &plan.omissions {
                    talk::note(&format!("{path} is optional and left out: {why}"));
                }
            }
            let config = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let setup = setup::setup(plan, &config)
                .map_err(|error| Failure::new(ErrorCode::Failed, error.to_string()))?;
            let source: Arc<dyn Source> = Arc::new(Configs::of(snapshot));
            (setup, Some(source), vec![path.clone().into_os_string()])
        }
    };
    if given.detach {
        return detach(&again, &setup.name, given.journal.as_deref(), json);
    }
    let background = given.report_to.is_some();
    let when_up = given.report_to.map(report).transpose()?;
    if background {
        // It is a leader already when it was started by hand; then it has a session of its own.
        let _ = nix::unistd::setsid();
    }
    let folder = take_folder(&setup.name)?;
    let console = if background { None } else { Console::stdout().ok() };
    carry_out(setup, folder, Front { console, background, when_up, source, journal: given.journal })
        .map(|outcome| ExitCode::from(exit_code(outcome)))
}

/// Stands in for one command.
fn command(given: Run, name: Option<String>) -> Result<ExitCode, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(ErrorCode::Failed, format!("this folder has gone: {error}")))?;
    let setup = setup::command(given.command, given.restart, given.grace, here);
    // Several may run the same command; only a name that somebody chose is worth an error.
    let mut number = 1;
    loop {
        let run = match (&name, number) {
            (Some(name), _) => name.clone(),
            (None, 1) => setup.name.clone(),
            (None, number) => format!("{}-{number}", setup.name),
        };
        match RunFolder::create(&Rooms::from_environment(), &run) {
            Err(RoomError::Taken { .. }) if name.is_none() && number < RUNS_AT_MOST => number += 1,
            made => {
                let outcome = carry_out(Setup { name: run, ..setup }, made?, Front::default())?;
                // As shells say it of a command that cannot be executed.
                return Ok(ExitCode::from(if outcome == Outcome::Failed(None) {
                    127
                } else {
                    exit_code(outcome)
                }));
            }
        }
    }
}

/// Runs of one name beside each other, before somebody has to choose another.
const RUNS_AT_MOST: u32 = 10_000;

fn carry_out(setup: Setup, folder: RunFolder, front: Front) -> Result<Outcome, Failure> {
    runtime::run(setup, folder, front).map_err(|error| Failure::new(ErrorCode::Failed, error.to_string()))
}

/// Makes the run's folder, or takes it over. A supervisor that has been killed holds it until its last thread has
/// ended, and what it was starting is executed, which may take a moment: that is waited for.
fn take_folder(name: &str) -> Result<RunFolder, Failure> {
    let give_up = Instant::now() + DYING_TAKES_AT_MOST;
    loop {
        match RunFolder::create(&Rooms::from_environment(), name) {
            Err(RoomError::Taken { pid: Some(pid), .. }) if is_dying(pid) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(RoomError::Taken { pid: Some(pid), .. }) if is_dying(pid) => {
                let what = format!(
                    "the supervisor of {name}, pid {pid}, was killed, but a program that it was starting is not loaded yet"
                );
                return Err(Failure::new(ErrorCode::Failed, what)
                    .hint("the disk that the program is on may not answer; once it does, run this again"));
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
        Outcome::Unkillable => return ErrorCode::TimedOut.exit_code(),
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
fn detach(again: &[OsString], name: &str, journal: Option<&Path>, json: bool) -> Result<ExitCode, Failure> {
    let failed =
        |error: io::Error| Failure::new(ErrorCode::Failed, format!("cannot start the background: {error}"));
    let (mut heard, told) = io::pipe().map_err(failed)?;
    // Only this descriptor is handed down; all others close by themselves.
    fcntl(&told, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("run").args(again).args(["--name", name]);
    command.args(["--report-to", &told.as_raw_fd().to_string()]);
    if let Some(journal) = journal {
        command.arg("--journal").arg(journal);
    }
    if json {
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
            talk::say(&error.hint(format!("supervisor --name {name} status shows what")), json);
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
