//! Turns the text of config.json into a checked plan, or into all its problems.
//!
//! This room touches no file, no environment and no process by itself: what a config takes from there comes through
//! [`Surroundings`]. [`read`] is the way in.
//!
//! ```text
//!   bytes ─ source ─► values with places ─ reading, document ─► File ─ references, planning ─► Plan
//!                                                  └───────────── all problems ─────────────► Problems
//! ```
//!
//! `document` lists every key with its form, its default and its description; the reader, [`schema`] and the defaults
//! are made from that one list. `not_yet` lists what is known but not offered.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use jsonc_parser::ast::Value;

#[cfg(test)]
mod agreement;
mod choice;
mod collection;
mod command;
mod cron;
mod diff;
mod document;
mod env_file;
mod expansion;
mod form;
mod measure;
mod node;
mod not_yet;
mod plan;
mod planning;
mod problem;
mod reading;
mod references;
mod schema;
mod signal;
mod source;
mod text;

pub use diff::{Difference, Effect, Thing, ThingDifference, WorkerDifference, diff};
pub use plan::{
    Command, Cron, Fsync, HealthPlan, LimitsPlan, LogFormat, LogPlan, Output, Plan, QueuePlan, Ready,
    ReloadPlan, Schedule, Stdin, StopTo, WorkerPlan,
};
pub use problem::{Problem, Problems};

use document::File;
use form::Form;
use node::{Node, Path as Way};
use not_yet::{NOT_YET, NotYet};
use problem::Complaint;
use reading::{Note, Reading};
use source::Positions;

/// What a config may take from around it.
pub trait Surroundings {
    /// A variable of the environment; `None` when it is not set.
    fn var(&self, name: &str) -> Option<String>;

    /// The content of a file, by its absolute path, for `env_file`.
    ///
    /// # Errors
    /// Whatever keeps the file from being read; it is shown to people.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// Reads a config: `text` is its content, `file` its absolute path, from which relative paths and the default name
/// are taken.
///
/// # Errors
/// Everything that is wrong with it, at once. Where the text is not even JSON, the first place where it is not.
///
/// # Example
/// ```
/// use std::{io, path::Path};
///
/// struct Nothing;
///
/// impl config::Surroundings for Nothing {
///     fn var(&self, _: &str) -> Option<String> {
///         None
///     }
///     fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
///         Err(io::ErrorKind::NotFound.into())
///     }
/// }
///
/// let text = br#"{"workers": {"hello": {"command": ["echo", "hello"]}}}"#;
/// let plan = config::read(text, Path::new("/srv/greeter.json"), &Nothing)?;
/// assert_eq!(plan.name, "greeter");
/// assert_eq!(plan.workers[0].cwd, Path::new("/srv"));
/// # Ok::<(), config::Problems>(())
/// ```
pub fn read(text: &[u8], file: &Path, surroundings: &dyn Surroundings) -> Result<Plan, Problems> {
    read_without(NOT_YET, text, file, surroundings)
}

/// The JSON Schema (2020-12) of what [`read`] accepts, with descriptions and defaults.
///
/// What it refuses, [`read`] refuses too. [`read`] refuses more: what no schema can say, such as names that lead
/// nowhere, and what only the environment completes (`${NAME}`).
pub fn schema() -> serde_json::Value {
    schema::without(NOT_YET)
}

/// As [`read`], where these rows are not offered.
fn read_without(
    rows: &[NotYet],
    bytes: &[u8],
    file: &Path,
    surroundings: &dyn Surroundings,
) -> Result<Plan, Problems> {
    let mut reading = Reading { surroundings, not_yet: rows, notes: Vec::new() };
    // Only for places: they lie before the first byte that is not UTF-8, or at the start of what is too long.
    let lossy = if bytes.len() > source::LONGEST { "".into() } else { String::from_utf8_lossy(bytes) };
    let plan = match source::decode(bytes).and_then(source::parse) {
        Ok(value) => plan_of(&value, &Positions::of(&lossy), file, &mut reading),
        Err((at, complaint)) => {
            reading.notes.push(Note { path: String::new(), at, complaint });
            None
        }
    };
    match plan {
        Some(plan) if reading.notes.is_empty() => Ok(plan),
        _ => Err(problems(reading.notes, &Positions::of(&lossy), file)),
    }
}

/// The plan a value means, `None` when the value as a whole is wrong; only good when nothing was noted.
fn plan_of(
    value: &Value<'_>,
    positions: &Positions<'_>,
    path: &Path,
    reading: &mut Reading<'_>,
) -> Option<Plan> {
    let root = Node { value, path: Way::Root };
    reading::note_repeated_keys(&root, &|at| positions.locate(at), reading);
    let file = File::read(&root, reading)?;
    let name = name_of(&file, &root, path, reading);
    references::check(&file, reading);
    Some(planning::plan(file, name, path, reading))
}

/// The name that is given, or else the file's, which must be fit to be one.
fn name_of(file: &File, root: &Node<'_>, path: &Path, reading: &mut Reading<'_>) -> String {
    if let Some(text::Name(name)) = &file.name {
        return name.clone();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let given = matches!(root.value, Value::Object(object) if object.get("name").is_some());
    if !given && let Err(complaint) = text::Name::check(&stem) {
        let message = format!("the file's name cannot be the run's: {}", complaint.message);
        let complaint = Complaint::new(message).hint("set \"name\"");
        reading.note_at(&Way::Root.key("name"), root.at(), complaint);
    }
    stem
}

/// The notes in the order of the file, their places as lines and columns.
fn problems(mut notes: Vec<Note>, positions: &Positions<'_>, file: &Path) -> Problems {
    notes.sort_by_key(|note| note.at);
    let list = notes.into_iter().map(|Note { path, at, complaint }| {
        let (line, column) = positions.locate(at);
        Problem { path, line, column, message: complaint.message, hint: complaint.hint }
    });
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    Problems::new(problem::clipped(&name), list.collect())
}
