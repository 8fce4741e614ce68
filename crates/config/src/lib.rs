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

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::LazyLock;

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
mod granting;
mod hints;
mod limit;
mod listen;
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
    Command, Cron, Fsync, IoPriority, Limit, LimitsPlan, Listen, LogFormat, LogPlan, Optional, Output, Plan,
    PrivateTmp, Probe, QueuePlan, Ready, ReloadPlan, Stdin, StopTo, TreeBy, WorkerPlan,
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

    /// Whether a worker can have what it asks for beyond the ordinary, here and by whoever runs it. Where nobody says
    /// otherwise, everything is granted.
    ///
    /// # Errors
    /// Says why not, for people.
    fn grant(&self, wish: &Wish<'_>) -> Result<(), Refusal> {
        let _ = wish;
        Ok(())
    }

    /// A mark of the content of a file, by its absolute path, by which one content is told from another within this
    /// program; `None` when it cannot be read. For files that a worker reads by itself.
    fn mark(&self, path: &Path) -> Option<u64> {
        self.read(path).ok().map(|bytes| mark_of(&bytes))
    }
}

/// A mark by which one content is told from another, within one program.
pub fn mark_of(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Something that not every machine can give to every user's workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish<'w> {
    /// To run as this user, a name or a number. A refusal of the group that goes with it is not asked for.
    User {
        /// Its name.
        name: &'w str,
        /// The group that is wanted with it, if not its own.
        group: Option<&'w str>,
    },
    /// To run as this group, a name or a number. A refusal of the user that goes with it is not asked for.
    Group {
        /// Its name.
        name: &'w str,
        /// The user that is wanted with it, if any.
        user: Option<&'w str>,
    },
    /// A way to its supervisor, for one that runs as this user and group, which there are.
    Control {
        /// The user's name.
        user: &'w str,
        /// The group that is wanted with it, if not its own.
        group: Option<&'w str>,
        /// Whether it has a `/tmp` of its own.
        mounted_tmp: bool,
    },
    /// To listen at this port.
    Port(u16),
    /// This niceness, which is not 0.
    Nice(i32),
    /// This priority of input and output.
    IoPriority(IoPriority),
    /// To be killed that much sooner or later than others when memory is short.
    OomScoreAdj(i32),
    /// To run on these processors.
    Processors(&'w [u16]),
    /// This limit of a process.
    Limit(Limit),
    /// At most so many bytes of memory for a whole tree.
    Memory(u64),
    /// At most so many processes and threads for a whole tree.
    Pids(u64),
    /// At most so many processors kept busy by a whole tree.
    Cpu(f64),
    /// A tree that is kept together by a cgroup.
    TreeByCgroup,
    /// A folder of its own at `/tmp`.
    MountedTmp,
    /// To see this file or folder although it has a folder of its own at `/tmp`.
    Sight {
        /// An absolute path.
        path: &'w Path,
        /// What it is to the worker, to begin a sentence with.
        what: &'w str,
    },
}

/// Why something cannot be given: lower case, no full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What stands in the way.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
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
            reading.notes.push(Note { path: String::new(), keys: Vec::new(), at, complaint });
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
    let mut file = File::read(&root, reading)?;
    let name = name_of(&file, &root, path, reading);
    references::check(&file, reading);
    listen::check(&file, reading);
    let omissions = granting::check(&mut file, path, reading);
    let plan = planning::plan(file, name, path, reading);
    Some(Plan { omissions, ..plan })
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

/// The notes in the order of the file, their places as lines and columns, each with a hint.
fn problems(mut notes: Vec<Note>, positions: &Positions<'_>, file: &Path) -> Problems {
    // It is made only for who needs it, and once: that takes longer than reading a config.
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(schema);
    notes.sort_by_key(|note| note.at);
    let list = notes.into_iter().map(|Note { path, keys, at, complaint }| {
        let (line, column) = positions.locate(at);
        let hint = complaint.hint.unwrap_or_else(|| hints::about(&keys, &SCHEMA));
        Problem { path, line, column, message: complaint.message, hint }
    });
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    Problems::new(problem::clipped(&name), list.collect())
}
