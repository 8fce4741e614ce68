//! What the runtime is told before a run begins: everything about workers and queues that is not a decision.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control::api::{Kind, NewPrimitive};
use process::{Account, Ceilings, IoPriority, Limit, Processors};
use regex::bytes::Regex;
use supervision::Family;

pub use crate::calendar::Minutes;
use crate::listening::Address;
use crate::logs::LogFile;
pub use crate::probing::Question;

/// What a run is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The workers of a config.
    #[default]
    Config,
    /// Workers that scripts add.
    Scripts,
    /// One command, the first worker, in whose place the supervisor stands: it passes on every signal that it gets, dies
    /// with it, and lets it die with itself.
    Command,
}

/// One run.
#[derive(Debug)]
pub struct Setup {
    /// What it is for.
    pub purpose: Purpose,
    /// The run's name.
    pub name: String,
    /// The config file it comes from, as an absolute path.
    pub config: Option<PathBuf>,
    /// What the core decides by.
    pub family: Family,
    /// How each worker is launched, in the order of [`Family::workers`].
    pub workers: Vec<WorkerSetup>,
    /// The queues.
    pub queues: Vec<QueueSetup>,
    /// The locks and their like.
    pub sync: SyncSetup,
    /// The folder that stands at the end of every worker's `PATH`.
    pub programs: Option<PathBuf>,
}

/// The locks and their like of the run, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncSetup {
    /// The locks.
    pub locks: Vec<String>,
    /// The recursive locks, of other names.
    pub rlocks: Vec<String>,
    /// The semaphores, each with how many may hold it at once: 1 to 1024.
    pub semaphores: Vec<(String, u32)>,
    /// The events, not set at first.
    pub events: Vec<String>,
    /// The conditions.
    pub conditions: Vec<String>,
    /// The barriers, each with how many must come before all pass: 1 to 65,535.
    pub barriers: Vec<(String, u32)>,
    /// The numbers, each with what it is at first.
    pub values: Vec<(String, i64)>,
    /// The arrays of numbers, each with how many it has: 1 to 1,048,576.
    pub arrays: Vec<(String, u32)>,
}

impl SyncSetup {
    /// All of them, one by one.
    pub(crate) fn all(&self) -> impl Iterator<Item = NewPrimitive> {
        let plain = |kind| move |name: &String| NewPrimitive { kind, name: name.clone(), number: None };
        let counted = |kind| {
            move |(name, number): &(String, u32)| NewPrimitive {
                kind,
                name: name.clone(),
                number: Some(i64::from(*number)),
            }
        };
        let value = |(name, number): &(String, i64)| NewPrimitive {
            kind: Kind::Value,
            name: name.clone(),
            number: Some(*number),
        };
        let locks = self.locks.iter().map(plain(Kind::Lock));
        locks
            .chain(self.rlocks.iter().map(plain(Kind::Rlock)))
            .chain(self.semaphores.iter().map(counted(Kind::Semaphore)))
            .chain(self.events.iter().map(plain(Kind::Event)))
            .chain(self.conditions.iter().map(plain(Kind::Condition)))
            .chain(self.barriers.iter().map(counted(Kind::Barrier)))
            .chain(self.values.iter().map(value))
            .chain(self.arrays.iter().map(counted(Kind::Array)))
    }
}

/// How a worker is launched, fed, heard and stopped. What many workers have in common is shared among them.
#[derive(Clone, Debug)]
pub struct WorkerSetup {
    /// What is executed.
    pub command: Command,
    /// A JSON list.
    pub args: Arc<str>,
    /// A JSON object.
    pub kwargs: Arc<str>,
    /// How its processes are kept, whatever they execute.
    pub kept: Arc<Keeping>,
}

/// How the processes of a worker are kept, whatever they execute: what most workers of a config have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Keeping {
    /// The number of its stop signal.
    pub stop_signal: i32,
    /// Who gets it.
    pub stop_to: StopTo,
    /// Variables set beside, or over, the supervisor's own.
    pub env: Vec<(String, String)>,
    /// Whether it starts from an empty environment.
    pub clear_env: bool,
    /// Its working folder, absolute.
    pub cwd: Arc<Path>,
    /// Its file mode creation mask.
    pub umask: u32,
    /// Its niceness; 0: the supervisor's own.
    pub nice: i32,
    /// Whether a restart lets the new get ready before the old is asked to stop.
    pub rolling: bool,
    /// What else its processes are and may use; `None`: what the supervisor is and may.
    pub terms: Option<Box<Terms>>,
    /// Where its standard input comes from.
    pub stdin: Input,
    /// Where its standard output goes.
    pub stdout: Output,
    /// Where its standard error goes.
    pub stderr: Output,
    /// The file that lines under [`Output::Log`] are kept in, beside the console.
    pub log: Option<Box<LogFile>>,
    /// Whether it gets a `NOTIFY_SOCKET`.
    pub notify: bool,
    /// When it runs by the calendar; the family knows that it does.
    pub cron: Option<Box<Minutes>>,
    /// How it is watched; most are not.
    pub watched: Option<Box<Watching>>,
    /// The queues it puts into.
    pub puts: Vec<String>,
}

/// How a worker is watched. The family knows when, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Watching {
    /// What shows that it is ready, beside its own word.
    pub ready: Sign,
    /// How it is found out whether it is well.
    pub health: Option<Probe>,
    /// How often it is told to give a sign of life.
    pub watchdog: Option<Duration>,
}

/// What shows that a launch is ready.
#[derive(Clone, Debug)]
pub enum Sign {
    /// Nothing but its own word; or its start.
    Word,
    /// A line of its log that matches.
    Line(Regex),
    /// A newline that it writes to this descriptor.
    Newline(i32),
    /// A probe that succeeds.
    Probe(Probe),
}

/// How something is found out from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Over the network.
    Network(Question),
    /// By this program, with its arguments, which exits with 0.
    Command(Vec<String>),
}

impl PartialEq for Sign {
    fn eq(&self, other: &Sign) -> bool {
        match (self, other) {
            (Sign::Word, Sign::Word) => true,
            // The pattern says all of it: none is built with options.
            (Sign::Line(one), Sign::Line(other)) => one.as_str() == other.as_str(),
            (Sign::Newline(one), Sign::Newline(other)) => one == other,
            (Sign::Probe(one), Sign::Probe(other)) => one == other,
            _ => false,
        }
    }
}

impl Keeping {
    /// Whether a queue is its input or takes what it puts.
    pub fn lists(&self, queue: &str) -> bool {
        matches!(&self.stdin, Input::Queue(name) if name == queue)
            || [&self.stdout, &self.stderr]
                .iter()
                .any(|to| matches!(to, Output::Queue(name) if name == queue))
            || self.puts.iter().any(|name| name == queue)
    }
}

/// What the processes of a worker are and may use beyond what is ordinary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Whom they run as; `None`: the supervisor's user and groups.
    pub account: Option<Account>,
    /// The limits of each of them.
    pub limits: Vec<Limit>,
    /// What all of them together may use.
    pub ceilings: Ceilings,
    /// Whether a cgroup keeps them together even where no ceiling needs one.
    pub cgroup: bool,
    /// Their priority of input and output; `None`: the supervisor's own.
    pub io_priority: Option<IoPriority>,
    /// How much sooner or later than others they are killed when memory is short; `None`: the supervisor's own.
    pub oom_score_adj: Option<i32>,
    /// The processors they may run on; `None`: the supervisor's own.
    pub processors: Option<Processors>,
    /// Whether none of them can ever gain rights by executing a file.
    pub no_new_privileges: bool,
    /// Whether they have temporary files of their own.
    pub private_tmp: PrivateTmp,
    /// Where sockets are opened for them.
    pub listen: Vec<Address>,
    /// The queues that they may use where they run as another user; `None`: all.
    pub listed: Option<Listed>,
}

/// The queues that a worker lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Those it gets from.
    pub gets: Vec<String>,
    /// Those it puts into.
    pub puts: Vec<String>,
}

/// Whether a worker has temporary files of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateTmp {
    /// It shares `/tmp` with all.
    #[default]
    None,
    /// A folder of its own, named by `TMPDIR`.
    Folder,
    /// The same folder, which is also its `/tmp` and `/var/tmp`.
    Mount,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments; never empty. Mostly they are text, but need not be.
    Argv(Vec<Arc<[u8]>>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// Who gets the stop signal. The final KILL always goes to the whole tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopTo {
    /// The process that leads the tree.
    #[default]
    Main,
    /// Every process of the tree.
    Tree,
}

/// Where a standard input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `/dev/null`.
    Null,
    /// The supervisor's own.
    Inherit,
    /// A file.
    File(PathBuf),
    /// A queue: a line a message.
    Queue(String),
}

/// Where a standard output or error goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the run's log.
    Log,
    /// To the supervisor's own.
    Inherit,
    /// `/dev/null`.
    Null,
    /// To the end of a file.
    File(PathBuf),
    /// To a queue: a message a line.
    Queue(String),
}

/// One queue of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSetup {
    /// Its name.
    pub name: String,
    /// At most so many messages; `None`: unbounded.
    pub capacity: Option<u64>,
    /// At most so many bytes in all.
    pub max_bytes: Option<u64>,
    /// The longest message, in bytes.
    pub max_message: u64,
    /// After so many deliveries a message is given up on.
    pub max_deliveries: Option<u32>,
    /// Where messages that were given up on go.
    pub dead_letter: Option<String>,
    /// Whether it outlives the run, on disk, and how soon its messages are there.
    pub durable: Option<Fsync>,
}

/// When a message put into a durable queue reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before the put returns.
    Always,
    /// Within this time.
    Interval(Duration),
    /// When the system comes to it.
    Never,
}
