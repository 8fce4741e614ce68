//! What a checked config says, ready to be carried out: nothing in it is missing, unresolved or out of bounds.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::cron::Cron;

/// A whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The name of the run.
    pub name: String,
    /// What the deciding core is told: its workers, in the order of the file. The seed is 0; whoever runs the plan
    /// sets one.
    pub family: supervision::Family,
    /// The queues by name, in the order of the file.
    pub queues: Vec<(String, QueuePlan)>,
    /// The names of the locks.
    pub locks: Vec<String>,
    /// The names of the recursive locks, other ones than those of the locks.
    pub rlocks: Vec<String>,
    /// The semaphores by name, each with how many may hold it at once: 1 to 1024.
    pub semaphores: Vec<(String, u32)>,
    /// The names of the events.
    pub events: Vec<String>,
    /// The names of the conditions.
    pub conditions: Vec<String>,
    /// The barriers by name, each with how many must come before all pass: 1 to 65 535.
    pub barriers: Vec<(String, u32)>,
    /// The shared numbers by name, each with what it is at first.
    pub values: Vec<(String, i64)>,
    /// The arrays of shared numbers by name, each with how many it has: 1 to 1 048 576.
    pub arrays: Vec<(String, u32)>,
    /// The workers; each is at the same place as in `family.workers`.
    pub workers: Vec<WorkerPlan>,
    /// What workers asked for and can do without, and what this machine cannot give: the way to each, and why. The rest
    /// of the plan does without it.
    pub omissions: Vec<(String, String)>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePlan {
    /// At most so many messages, 1 to 1 000 000 000; `None`: no limit but `max_bytes`.
    pub capacity: Option<u64>,
    /// At most so much memory, in bytes; `None`: half of the machine's.
    pub max_bytes: Option<u64>,
    /// The largest message, in bytes: 1 to 1 GiB.
    pub max_message: u64,
    /// A message is given up on after so many deliveries, at least 1; `None`: never.
    pub max_deliveries: Option<u32>,
    /// The queue, another one of the plan, that takes the messages given up on; following it from queue to queue
    /// never leads in a circle.
    pub dead_letter: Option<String>,
    /// Whether messages survive the end of the run, and when they reach the disk; `None`: they do not.
    pub durable: Option<Fsync>,
}

/// When a message put into a durable queue is made to reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before the put returns.
    Always,
    /// Within this time.
    Interval(Duration),
    /// When the system comes to it.
    Never,
}

/// How a worker's processes are made and treated; what the core decides by is in the family.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerPlan {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub command: Command,
    /// Its arguments: a JSON list of one line, at most 120 KiB.
    pub args: String,
    /// Its arguments by name: a JSON object of one line, at most 120 KiB.
    pub kwargs: String,
    /// The signal that asks it to stop, as a number.
    pub stop_signal: i32,
    /// Whom that signal reaches.
    pub stop_to: StopTo,
    /// How it takes up changes without being started again.
    pub reload: Option<ReloadPlan>,
    /// Its environment variables: those of its file first, then those of `env`; each name once.
    pub env: Vec<(String, String)>,
    /// Whether the supervisor's own environment is kept from it.
    pub clear_env: bool,
    /// The folder it runs in, absolute.
    pub cwd: PathBuf,
    /// The user it runs as; `None`: the supervisor's.
    pub user: Option<String>,
    /// The group it runs as; `None`: the user's.
    pub group: Option<String>,
    /// The permission bits its new files do not get, at most `0o777`.
    pub umask: u32,
    /// Its niceness, -20 to 19.
    pub nice: i32,
    /// Its priority of input and output; `None`: the supervisor's own.
    pub io_priority: Option<IoPriority>,
    /// How much sooner or later than others it is killed when memory is short, -1000 to 1000; `None`: the supervisor's own.
    pub oom_score_adj: Option<i32>,
    /// The processors it may run on, at least one; `None`: the supervisor's own.
    pub cpus: Option<Vec<u16>>,
    /// Whether nothing of it can ever gain rights by executing a file.
    pub no_new_privs: bool,
    /// Whether it has temporary files of its own.
    pub private_tmp: PrivateTmp,
    /// Where it listens, each address once in the plan.
    pub listen: Vec<Listen>,
    /// Whether a restart lets the new get ready before the old is asked to stop.
    pub rolling: bool,
    /// How its tree is kept together.
    pub tree: TreeBy,
    /// What it may use at most.
    pub limits: LimitsPlan,
    /// Where its standard input comes from.
    pub stdin: Stdin,
    /// Where its standard output goes.
    pub stdout: Output,
    /// Where its standard error goes.
    pub stderr: Output,
    /// How its logs are written.
    pub log: LogPlan,
    /// The queues it takes from, by its standard input too, each once, all of them in the plan.
    pub gets: Vec<String>,
    /// The queues it puts into, by its standard output or error too, each once, all of them in the plan.
    pub puts: Vec<String>,
    /// When it counts as ready. The family knows whether it must be told, and how long that may take.
    pub ready: Ready,
    /// How its health is probed. The family knows when, and what follows.
    pub health: Option<Probe>,
    /// When it runs by the calendar. The family knows whether it runs by the clock, and what follows.
    pub cron: Option<Cron>,
}

/// What a worker takes up by itself when it gets a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadPlan {
    /// The signal, as a number.
    pub signal: i32,
    /// The files it reads then, by their absolute paths, each with a mark of its content when the config was read; the
    /// mark of a file that could not be read is `None`.
    pub files: Vec<(PathBuf, Option<u64>)>,
}

/// What a worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments, at least the program. It is an absolute path, or a name without `/` to be looked
    /// up in `PATH`.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`, as it is written.
    Shell(String),
}

/// Whom a stop signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopTo {
    /// The process that leads the tree.
    Main,
    /// Every process of the tree.
    Tree,
}

/// Where standard input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// Nowhere: it is at its end at once.
    Null,
    /// The supervisor's own.
    Inherit,
    /// A file, by its absolute path.
    Path(PathBuf),
    /// A queue of the plan: one message a line.
    Queue(String),
}

/// Where standard output or error goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into the logs.
    Log,
    /// The supervisor's own.
    Inherit,
    /// Nowhere.
    Null,
    /// A file, by its absolute path.
    Path(PathBuf),
    /// A queue of the plan: one message a line.
    Queue(String),
}

/// How a worker's logs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlan {
    /// The file they also go to, by its absolute path.
    pub file: Option<PathBuf>,
    /// A file that has reached so many bytes is put aside; at least 1.
    pub max_size: u64,
    /// So many files put aside are kept.
    pub keep: u32,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// As the worker wrote it.
    Raw,
}

/// What a worker may use at most; `None`: no limit of ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsPlan {
    /// The memory of its whole tree, in bytes, swap included.
    pub memory: Option<u64>,
    /// Processes and threads of its whole tree.
    pub pids: Option<u32>,
    /// Processors that its whole tree may keep busy; more than 0.
    pub cpu: Option<f64>,
    /// The limits of each process, each name once.
    pub of_processes: Vec<Limit>,
}

/// A limit of a process (see setrlimit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `nofile`, `core`, `as`, `cpu_time` (`RLIMIT_CPU`), …: the kernel's name in small letters.
    pub name: &'static str,
    /// What is enforced, in the kernel's unit; `u64::MAX`: no limit.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// A priority of input and output; levels are 0 (first) to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoPriority {
    /// Before everybody else.
    Realtime(u8),
    /// As usual.
    BestEffort(u8),
    /// When nobody else wants to.
    Idle,
}

/// Whether a worker has temporary files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateTmp {
    /// It shares `/tmp` with all.
    None,
    /// A folder of its own, named by `TMPDIR`.
    Folder,
    /// The same folder, which is also its `/tmp` and `/var/tmp`.
    Mount,
}

/// How the tree of a worker is kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeBy {
    /// By a cgroup where a limit needs one, else by parents, sessions and marks.
    Auto,
    /// By a cgroup.
    Cgroup,
}

/// An address whose socket is opened for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// For connections.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// For datagrams.
    Udp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// For connections, at this absolute path.
    Unix(PathBuf),
}

/// What a worker may declare that it can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a key of the config, named as that")]
pub enum Optional {
    Nice,
    IoNice,
    OomScoreAdj,
    Cpus,
    PrivateTmp,
    Tree,
    Memory,
    Pids,
    Cpu,
    Nofile,
    Core,
    As,
    CpuTime,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    LimitNice,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Optional {
    /// All of them.
    pub const ALL: [Optional; 25] = {
        use Optional::*;
        [
            Nice,
            IoNice,
            OomScoreAdj,
            Cpus,
            PrivateTmp,
            Tree,
            Memory,
            Pids,
            Cpu,
            Nofile,
            Core,
            As,
            CpuTime,
            Data,
            Fsize,
            Locks,
            Memlock,
            Msgqueue,
            LimitNice,
            Nproc,
            Rss,
            Rtprio,
            Rttime,
            Sigpending,
            Stack,
        ]
    };

    /// The way to the key, from the worker.
    pub fn key(self) -> &'static str {
        match self {
            Optional::Nice => "nice",
            Optional::IoNice => "ionice",
            Optional::OomScoreAdj => "oom_score_adj",
            Optional::Cpus => "cpus",
            Optional::PrivateTmp => "private_tmp",
            Optional::Tree => "tree",
            Optional::Memory => "limits.memory",
            Optional::Pids => "limits.pids",
            Optional::Cpu => "limits.cpu",
            Optional::Nofile => "limits.nofile",
            Optional::Core => "limits.core",
            Optional::As => "limits.as",
            Optional::CpuTime => "limits.cpu_time",
            Optional::Data => "limits.data",
            Optional::Fsize => "limits.fsize",
            Optional::Locks => "limits.locks",
            Optional::Memlock => "limits.memlock",
            Optional::Msgqueue => "limits.msgqueue",
            Optional::LimitNice => "limits.nice",
            Optional::Nproc => "limits.nproc",
            Optional::Rss => "limits.rss",
            Optional::Rtprio => "limits.rtprio",
            Optional::Rttime => "limits.rttime",
            Optional::Sigpending => "limits.sigpending",
            Optional::Stack => "limits.stack",
        }
    }
}

/// When a launch counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// As soon as its command was executed.
    Start,
    /// When it says so on `NOTIFY_SOCKET` or through the SDK.
    Notify,
    /// When it writes a line to this descriptor, 3 or above.
    Fd(i32),
    /// When a line of its log matches this regular expression, which is valid.
    Log(String),
    /// When this address takes connections.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// When this page answers with success.
    Http(String),
    /// When this program, with its arguments, exits with 0.
    Command(Vec<String>),
}

/// How it is found out whether a worker is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This page answers with success: a status from 200 to 399.
    Http(String),
    /// This address takes connections.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// This program, with its arguments, exits with 0.
    Command(Vec<String>),
}
