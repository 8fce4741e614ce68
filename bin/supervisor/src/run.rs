//! `run`: starts a supervisor.

use std::path::PathBuf;
use std::process::ExitCode;

use control::api::{ApiError, ErrorCode};

use crate::talk;

/// What `run` was told.
#[derive(Debug)]
pub struct RunArguments {
    /// The config, as it was given.
    pub config: PathBuf,
    /// What the run is called, if not as its config says.
    pub name: Option<String>,
    /// Go to the background once all is ready.
    pub detach: bool,
    /// Say errors in JSON.
    pub json: bool,
}

/// Runs the config to its end; the exit code is the run's.
pub fn run(arguments: &RunArguments) -> ExitCode {
    let called = arguments.name.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
    let place = if arguments.detach { " in the background" } else { "" };
    let config = arguments.config.display();
    let error =
        ApiError::new(ErrorCode::Failed, format!("this build cannot run {config}{called}{place} yet"));
    talk::say(&error, arguments.json);
    ExitCode::FAILURE
}
