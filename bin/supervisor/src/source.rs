//! The configs of a run: the one that runs, kept as it was read, and others to compare it with.
//!
//! What runs is kept as text, and packed, not as a plan: that is many times smaller, and reading it once more gives the
//! same plan.

mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use config::{
    Difference, Effect, Plan, Problems, Refusal, Surroundings, Thing, ThingDifference, Wish, WorkerDifference,
};
use control::api::Problem;
use runtime::source::{How, Kind, Offer, Source, ThingChange, Unfit, Weight, WorkerChange, WorkerChanges};
use serde_json::{Value, json};

use crate::check::read_bounded;
use crate::granting;
use crate::setup::setup;

/// A config as it was read, and all that it took from around it.
#[derive(Debug)]
pub struct Snapshot {
    /// The file, as an absolute path.
    file: PathBuf,
    text: Packed,
    /// Files that it names, by their absolute paths: their content, where the plan needs it, and its mark.
    files: BTreeMap<PathBuf, Named>,
    /// What it took from the environment.
    variables: BTreeMap<String, Option<String>>,
    /// By which it is told whether a file has changed.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// What the machine could give.
    gives: process::Offer,
}

/// Text that is rarely looked at.
#[derive(Debug)]
struct Packed(Box<[u8]>);

impl Packed {
    fn of(text: &[u8]) -> Packed {
        Packed(lz4_flex::compress_prepend_size(text).into())
    }

    fn text(&self) -> Vec<u8> {
        lz4_flex::decompress_size_prepended(&self.0)
            .expect("it was packed here, and nobody else can write to it")
    }
}

/// A file that a config names.
#[derive(Clone, Debug)]
enum Named {
    /// Its content belongs to the plan.
    Content(Result<Vec<u8>, io::ErrorKind>),
    /// Only whether it has changed matters.
    Mark(Option<u64>),
}

/// When and what a file was: another time, size or file is a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let about = |about: Metadata| Stamp {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
        };
        std::fs::metadata(path).ok().map(about)
    }
}

/// Reads the world for the first time, and keeps what it saw.
struct Recording {
    files: Mutex<BTreeMap<PathBuf, Named>>,
    variables: Mutex<BTreeMap<String, Option<String>>>,
    stamps: Mutex<Vec<(PathBuf, Option<Stamp>)>>,
    gives: process::Offer,
}

impl Recording {
    fn new() -> Recording {
        Recording {
            files: Mutex::default(),
            variables: Mutex::default(),
            stamps: Mutex::default(),
            gives: process::Offer::default(),
        }
    }

    /// The stamp is taken first: what changes while it is read is noticed later.
    fn stamp(&self, path: &Path) {
        let stamp = (path.to_owned(), Stamp::of(path));
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).push(stamp);
    }

    fn keep(&self, path: &Path, named: Named) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), named);
    }
}

impl Surroundings for Recording {
    fn var(&self, name: &str) -> Option<String> {
        let value = std::env::var(name).ok();
        let mut variables = self.variables.lock().unwrap_or_else(PoisonError::into_inner);
        variables.insert(name.to_owned(), value.clone());
        value
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.stamp(path);
        let read = read_bounded(path);
        let kept = read.as_ref().map_err(io::Error::kind).cloned();
        self.keep(path, Named::Content(kept));
        read
    }

    fn mark(&self, path: &Path) -> Option<u64> {
        self.stamp(path);
        let mark = read_bounded(path).ok().map(|bytes| config::mark_of(&bytes));
        self.keep(path, Named::Mark(mark));
        mark
    }

    fn grant(&self, wish: &Wish<'_>) -> Result<(), Refusal> {
        granting::grant(&self.gives, wish)
    }
}

/// The world as it was.
impl Surroundings for Snapshot {
    fn var(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned().flatten()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.files.get(path) {
            Some(Named::Content(content)) => content.clone().map_err(io::Error::from),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn mark(&self, path: &Path) -> Option<u64> {
        match self.files.get(path) {
            Some(Named::Mark(mark)) => *mark,
            _ => None,
        }
    }

    fn grant(&self, wish: &Wish<'_>) -> Result<(), Refusal> {
        granting::grant(&self.gives, wish)
    }
}

/// Why a config is no plan.
#[derive(Debug)]
pub enum Unusable {
    /// Its file cannot be read.
    Unreadable(io::Error),
    /// What it says makes no sense.
    Problems(Problems),
}

/// Reads the config at `path`, an absolute path, and keeps what it was made of.
///
/// # Errors
/// All that is wrong with it.
pub fn read(path: &Path) -> Result<(Plan, Snapshot), Unusable> {
    let recording = Recording::new();
    recording.stamp(path);
    let text = read_bounded(path).map_err(Unusable::Unreadable)?;
    let plan = config::read(&text, path, &recording).map_err(Unusable::Problems)?;
    let files = recording.files.into_inner().unwrap_or_else(PoisonError::into_inner);
    let stamps = recording.stamps.into_inner().unwrap_or_else(PoisonError::into_inner);
    let variables = recording.variables.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (file, text, gives) = (path.to_owned(), Packed::of(&text), recording.gives);
    Ok((plan, Snapshot { file, text, files, variables, stamps, gives }))
}

/// The configs of one run.
#[derive(Debug)]
pub struct Configs {
    all: Arc<Mutex<All>>,
}

#[derive(Debug)]
struct All {
    running: Snapshot,
    /// Those by which some launches still run, by their numbers.
    former: BTreeMap<u64, Snapshot>,
}

impl Snapshot {
    /// The plan that it was.
    fn plan(&self) -> Result<Plan, Problems> {
        config::read(&self.text.text(), &self.file, self)
    }
}

impl Configs {
    /// Those of a run of this one.
    pub fn of(running: Snapshot) -> Configs {
        Configs { all: Arc::new(Mutex::new(All { running, former: BTreeMap::new() })) }
    }
}

impl Source for Configs {
    fn offer(&self, path: &Path, former: &BTreeSet<u64>) -> Result<Offer, Unfit> {
        lasts(path).map_err(|error| unfit(path, &Unusable::Unreadable(error)))?;
        let (new, snapshot) = read(path).map_err(|unusable| unfit(path, &unusable))?;
        let (old, former) = {
            let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = all.former.iter().filter(|(number, _)| former.contains(number));
            let former: Vec<_> = kept.map(|(number, snapshot)| (*number, snapshot.plan())).collect();
            (all.running.plan(), former)
        };
        let not_any_more = |problems| Unfit {
            message: format!("the config that runs cannot be understood any more: {problems}"),
            problems: Vec::new(),
        };
        let Difference { name, workers, things, family } = config::diff(&old.map_err(not_any_more)?, &new);
        let all = Arc::clone(&self.all);
        let changes = changes_to(&new);
        let mut by_former = BTreeMap::new();
        for (number, plan) in former {
            let plan = plan.map_err(not_any_more)?;
            by_former.insert(number, changes(config::diff(&plan, &new).workers));
        }
        Ok(Offer {
            config: path.to_owned(),
            workers: changes(workers),
            former: by_former,
            things: things.into_iter().map(thing_change).collect(),
            family,
            renamed: name.map(|(_, new)| new),
            setup: setup(new, path)
                .map_err(|error| Unfit { message: error.to_string(), problems: Vec::new() })?,
            adopt: Box::new(move |number, kept| {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                let before = std::mem::replace(&mut all.running, snapshot);
                all.former.insert(number, before);
                all.former.retain(|number, _| kept.contains(number));
            }),
        })
    }

    fn keep(&self) -> Option<Value> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let former =
            all.former.iter().map(|(number, snapshot)| Some((number.to_string(), snapshot.write()?)));
        let former: serde_json::Map<String, Value> = former.collect::<Option<_>>()?;
        Some(json!({ "running": all.running.write()?, "former": former }))
    }

    fn recall(&self, kept: &Value, number: u64) -> BTreeMap<u64, WorkerChanges> {
        let former = kept.get("former").and_then(Value::as_object).into_iter().flatten();
        let former = former.filter_map(|(number, kept)| Some((number.parse().ok()?, Snapshot::read(kept)?)));
        let last = kept.get("running").and_then(Snapshot::read).map(|last| (number, last));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(now) = all.running.plan() else { return BTreeMap::new() };
        let changes = changes_to(&now);
        let mut by_number = BTreeMap::new();
        for (number, snapshot) in former.chain(last) {
            // One that this version of the program does not understand says nothing of what differs.
            if let Ok(plan) = snapshot.plan() {
                by_number.insert(number, changes(config::diff(&plan, &now).workers));
                all.former.insert(number, snapshot);
            }
        }
        by_number
    }

    fn is_newer(&self) -> bool {
        let stamps = self.all.lock().unwrap_or_else(PoisonError::into_inner).running.stamps.clone();
        stamps.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }
}

/// Whether a running supervisor may read this as a config: a pipe can be read once, by whoever comes first, and might keep it
/// waiting for ever. Whatever else is wrong with it is told when it is read.
///
/// # Errors
/// It may not.
pub fn lasts(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() && !about.is_dir() => {
            Err(io::Error::other("it is no regular file, and a running supervisor reads the config itself"))
        }
        _ => Ok(()),
    }
}

fn unfit(path: &Path, unusable: &Unusable) -> Unfit {
    match unusable {
        Unusable::Unreadable(error) => {
            Unfit { message: format!("{} cannot be read: {error}", path.display()), problems: Vec::new() }
        }
        Unusable::Problems(problems) => {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let count = problems.as_slice().len();
            Unfit {
                message: format!("{name} has {count} problem{}", if count == 1 { "" } else { "s" }),
                problems: problems
                    .as_slice()
                    .iter()
                    .map(|problem| Problem {
                        path: problem.path.clone(),
                        line: problem.line,
                        column: problem.column,
                        message: problem.message.clone(),
                        hint: Some(problem.hint.clone()),
                    })
                    .collect(),
            }
        }
    }
}

/// What differs in workers from others to this plan, as the runtime is told it.
fn changes_to(new: &Plan) -> impl Fn(Vec<(String, WorkerDifference)>) -> WorkerChanges + use<> {
    let signals = new.workers.iter();
    let signals: BTreeMap<String, i32> =
        signals.filter_map(|worker| Some((worker.name.clone(), worker.reload.as_ref()?.signal))).collect();
    move |differences| {
        let change = |(name, how): (String, WorkerDifference)| {
            let signal = signals.get(&name).copied();
            (name, worker_change(how, signal))
        };
        differences.into_iter().map(change).collect()
    }
}

fn worker_change(how: WorkerDifference, signal: Option<i32>) -> WorkerChange {
    match how {
        WorkerDifference::Added => WorkerChange::Added,
        WorkerDifference::Removed => WorkerChange::Removed,
        WorkerDifference::Changed { changes, instances: _ } => {
            let weight = |effect| match (effect, signal) {
                (Effect::Update, _) => Weight::Update,
                (Effect::Signal, Some(signal)) => Weight::Signal(signal),
                (Effect::Signal, None) | (Effect::Restart, _) => Weight::Restart,
            };
            WorkerChange::Changed(
                changes.into_iter().map(|(effect, words)| (weight(effect), words)).collect(),
            )
        }
    }
}

fn thing_change((thing, name, how): (Thing, String, ThingDifference)) -> ThingChange {
    ThingChange {
        kind: match thing {
            Thing::Queue => Kind::Queue,
            Thing::Lock => Kind::Lock,
            Thing::Rlock => Kind::Rlock,
            Thing::Semaphore => Kind::Semaphore,
            Thing::Event => Kind::Event,
            Thing::Value => Kind::Value,
            Thing::Array => Kind::Array,
            Thing::Condition => Kind::Condition,
            Thing::Barrier => Kind::Barrier,
        },
        name,
        how: match how {
            ThingDifference::Added => How::Added,
            ThingDifference::Removed => How::Removed,
            ThingDifference::Changed(what) => How::Changed(what),
        },
    }
}
