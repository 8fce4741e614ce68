//! Where configs come from: the runtime knows none of their text, only what one of them would change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use control::api::Problem;
use serde_json::Value;

use crate::setup::Setup;

/// Reads configs for a run. It keeps the one that runs by itself, to compare others with.
pub trait Source: fmt::Debug + Send + Sync {
    /// Reads the config at `path`, and says what differs from the one that runs, and from these former ones by their numbers, as
    /// far as they were kept ([`Offer::adopt`]). Called on a thread of its own: it may take its time.
    ///
    /// # Errors
    /// Everything that is wrong with the config; nothing has changed then.
    fn offer(&self, path: &Path, former: &BTreeSet<u64>) -> Result<Offer, Unfit>;

    /// The config that runs and the former ones, written down, for a later run that takes back what was launched by them.
    /// `None`: they cannot be.
    fn keep(&self) -> Option<Value>;

    /// Takes up as former ones what a run of before has [kept](Source::keep), under the numbers that they had there; the one that
    /// ran then has this number from now on. Says what differs in workers from each of them to the config that runs now;
    /// what cannot be understood is left out.
    fn recall(&self, kept: &Value, number: u64) -> BTreeMap<u64, WorkerChanges>;

    /// Whether a file that the config that runs was read from has changed since. Called on the loop: looks at the
    /// files' dates only.
    fn is_newer(&self) -> bool;
}

/// Another config, checked, and what differs from the one that runs.
pub struct Offer {
    /// The file, as an absolute path.
    pub config: PathBuf,
    /// The whole run as it says; its workers are in the order of the file.
    pub setup: Setup,
    /// What differs in workers from the one that runs.
    pub workers: WorkerChanges,
    /// What differs in what workers share.
    pub things: Vec<ThingChange>,
    /// What differs in the family as a whole, in words.
    pub family: Vec<String>,
    /// The name that the file gives to the run, if it is not the one that the former file gave.
    pub renamed: Option<String>,
    /// What differs in workers from former configs, by the number of each.
    pub former: BTreeMap<u64, WorkerChanges>,
    /// To be called when it has become the one that runs: with the number that the one before it has from now on, and the
    /// numbers of those that are to be kept, as launches by them still run.
    pub adopt: Adopt,
}

/// Exchanges the config that runs.
pub type Adopt = Box<dyn FnOnce(u64, &BTreeSet<u64>) + Send>;

/// What differs in workers, by name; who is not named is the same.
pub type WorkerChanges = Vec<(String, WorkerChange)>;

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offer { config, workers, things, family, .. } = self;
        f.debug_struct("Offer")
            .field("config", config)
            .field("workers", workers)
            .field("things", things)
            .field("family", family)
            .finish_non_exhaustive()
    }
}

/// What differs in a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerChange {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It is not the same: what has changed, in words, and what each means. Instances are not among them: they are
    /// compared with those that there are.
    Changed(Vec<(Weight, String)>),
}

/// What a change means to what runs of a worker, from the lightest to the heaviest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nothing.
    Update,
    /// It takes it up when it gets this signal.
    Signal(i32),
    /// It is started again.
    Restart,
}

/// What differs in something that workers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingChange {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How it differs.
    pub how: How,
}

/// What workers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A queue.
    Queue,
    /// A lock.
    Lock,
    /// A recursive lock.
    Rlock,
    /// A semaphore.
    Semaphore,
    /// An event.
    Event,
    /// A shared number.
    Value,
    /// An array of shared numbers.
    Array,
    /// A condition.
    Condition,
    /// A barrier.
    Barrier,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Lock => "lock",
            Kind::Rlock => "rlock",
            Kind::Semaphore => "semaphore",
            Kind::Event => "event",
            Kind::Value => "value",
            Kind::Array => "array",
            Kind::Condition => "condition",
            Kind::Barrier => "barrier",
        }
    }
}

/// How something differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// What of it has changed, in words.
    Changed(Vec<String>),
}

/// Why a config cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// In words, of one line.
    pub message: String,
    /// Each thing that is wrong with it.
    pub problems: Vec<Problem>,
}
