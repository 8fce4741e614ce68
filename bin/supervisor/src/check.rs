//! `check` and `schema`; and how a config is read from its file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::{Plan, Problems};
use serde_json::json;

use crate::output::{print, print_json, printable};
use crate::source::{self, Snapshot};
use crate::talk::Failure;

/// The exit code of a config with problems.
const HAS_PROBLEMS: u8 = 3;

/// What to do about a file that cannot be read.
const UNREADABLE: &str = "give the path of a config that you may read";

/// Longer than any config or env file that somebody wrote.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Why a config is no plan.
#[derive(Debug)]
pub enum Unusable {
    /// Its file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// What it says makes no sense.
    Problems(Problems),
}

impl Unusable {
    /// Says every problem, to people on standard error or to machines on standard output, and gives the exit code.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn tell(&self, json: bool) -> Result<ExitCode, Failure> {
        match (self, json) {
            (Unusable::Problems(problems), true) => print_json(&problems.as_slice())?,
            (Unusable::Problems(problems), false) => talk(&format!("{problems}\n")),
            (Unusable::Unreadable(_, error), true) => {
                let message = format!("cannot be read: {error}");
                print_json(
                    &json!([{"path": "", "line": 1, "column": 1, "message": message, "hint": UNREADABLE}]),
                )?;
            }
            (Unusable::Unreadable(path, error), false) => {
                let path = printable(&path.to_string_lossy());
                talk(&format!("supervisor: {path} cannot be read: {error}\n  hint: {UNREADABLE}\n"));
            }
        }
        Ok(ExitCode::from(HAS_PROBLEMS))
    }
}

fn talk(text: &str) {
    // Where standard error is closed there is nobody left to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Reads the config at `path` with this process's environment.
///
/// # Errors
/// [`Unusable`], with all that is wrong at once.
pub fn load(path: &Path) -> Result<Plan, Unusable> {
    Ok(load_whole(path)?.0)
}

/// The same, with all that it was made of.
///
/// # Errors
/// As [`load`].
pub fn load_whole(path: &Path) -> Result<(Plan, Snapshot), Unusable> {
    let unreadable = |error| Unusable::Unreadable(path.to_owned(), error);
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    source::read(&absolute).map_err(|unusable| match unusable {
        source::Unusable::Unreadable(error) => unreadable(error),
        source::Unusable::Problems(problems) => Unusable::Problems(problems),
    })
}

/// The content of a file, if it is no longer than anything somebody wrote.
///
/// # Errors
/// Why it cannot be read.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// `check CONFIG`.
///
/// # Errors
/// When the output cannot be written.
pub fn check(path: &Path, json: bool) -> Result<ExitCode, Failure> {
    match load(path) {
        Err(unusable) => return unusable.tell(json),
        Ok(_) if json => print_json(&json!([]))?,
        Ok(plan) => {
            for (way, why) in &plan.omissions {
                talk(&format!("supervisor: {way} is optional and would be left out: {}\n", printable(why)));
            }
            talk(&format!("supervisor: {} has no problems\n", printable(&path.to_string_lossy())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `schema`.
///
/// # Errors
/// When the output cannot be written.
pub fn schema() -> Result<ExitCode, Failure> {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("a schema is JSON already");
    print(&(schema + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
