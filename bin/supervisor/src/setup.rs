//! From a checked config to what the runtime carries out.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::{LogFormat, Plan, QueuePlan, WorkerPlan};
use control::api::Restart;
use nix::libc::SIGTERM;
use process::AccountError;
use regex::bytes::Regex;
use runtime::logs::{Format, LogFile};
use runtime::{
    Command, Input, Keeping, Minutes, Output, Probe, Purpose, Question, QueueSetup, Setup, Sign, StopTo,
    SyncSetup, Watching, WorkerSetup,
};
use supervision::Family;

use crate::granting;

/// The setup of `plan`, which was read from `config`, an absolute path.
///
/// # Errors
/// When a user or a group that was there when the plan was made is not there any more.
pub fn setup(plan: Plan, config: &Path) -> Result<Setup, AccountError> {
    let mut family = plan.family;
    family.seed = seed();
    let mut shared = Shared::default();
    // Not collected: that would keep the plan's memory, which is twice as large.
    let mut workers = Vec::with_capacity(plan.workers.len());
    let watchdogs: Vec<_> = family.workers.iter().map(|worker| worker.watchdog).collect();
    for (plan, watchdog) in plan.workers.into_iter().zip(watchdogs) {
        workers.push(worker(plan, watchdog, &mut shared)?);
    }
    Ok(Setup {
        purpose: Purpose::Config,
        name: plan.name,
        config: Some(config.to_owned()),
        family,
        workers,
        queues: plan.queues.into_iter().map(queue).collect(),
        sync: SyncSetup {
            locks: plan.locks,
            rlocks: plan.rlocks,
            semaphores: plan.semaphores,
            events: plan.events,
            conditions: plan.conditions,
            barriers: plan.barriers,
            values: plan.values,
            arrays: plan.arrays,
        },
        programs: programs(),
    })
}

/// The setup of a run that waits for what scripts add.
pub fn empty(name: String) -> Setup {
    Setup {
        purpose: Purpose::Scripts,
        name,
        config: None,
        family: Family { lasts: true, seed: seed(), ..Family::of(Vec::new()) },
        workers: Vec::new(),
        queues: Vec::new(),
        sync: SyncSetup::default(),
        programs: programs(),
    }
}

/// Longer than anybody waits; a sum with a clock still means something.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The setup of a run that stands in for one command, in the folder `here`. It is called as the program.
pub fn command(argv: Vec<OsString>, restart: Restart, grace: Option<Duration>, here: PathBuf) -> Setup {
    let name = runtime::name_of(&argv.first().map(|program| program.to_string_lossy()).unwrap_or_default());
    let restart = match restart {
        Restart::Never => supervision::Restart::Never,
        Restart::OnFailure => supervision::Restart::OnFailure,
        Restart::Always => supervision::Restart::Always,
    };
    let decided =
        supervision::Worker { restart, grace: grace.unwrap_or(NEVER), ..supervision::Worker::named(&name) };
    let worker = WorkerSetup {
        command: Command::Argv(argv.into_iter().map(|word| word.into_vec().into()).collect()),
        args: "[]".into(),
        kwargs: "{}".into(),
        kept: Arc::new(Keeping {
            stop_signal: SIGTERM,
            stop_to: StopTo::Main,
            env: Vec::new(),
            clear_env: false,
            cwd: here.into(),
            umask: umask(),
            nice: 0,
            terms: None,
            rolling: false,
            stdin: Input::Inherit,
            stdout: Output::Inherit,
            stderr: Output::Inherit,
            log: None,
            notify: false,
            cron: None,
            watched: None,
            puts: Vec::new(),
        }),
    };
    Setup {
        purpose: Purpose::Command,
        name,
        config: None,
        family: Family { seed: seed(), ..Family::of(vec![decided]) },
        workers: vec![worker],
        queues: Vec::new(),
        sync: SyncSetup::default(),
        programs: programs(),
    }
}

/// The file creation mask of this process, which can be read without being changed.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o022)
}

fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The folder of this program.
fn programs() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// What several workers have in common, and its one copy.
#[derive(Default)]
struct Shared {
    texts: HashSet<Arc<str>>,
    paths: HashSet<Arc<Path>>,
    /// The last ones: those who are kept in the same way mostly stand together in the file.
    keepings: VecDeque<Arc<Keeping>>,
}

/// So many of the last ways of keeping a worker are looked at for the same one.
const KEEPINGS_AT_MOST: usize = 8;

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        one_copy(&mut self.texts, text)
    }

    fn path(&mut self, path: &Path) -> Arc<Path> {
        one_copy(&mut self.paths, path)
    }

    fn keeping(&mut self, keeping: Keeping) -> Arc<Keeping> {
        if let Some(same) = self.keepings.iter().find(|known| ***known == keeping) {
            return Arc::clone(same);
        }
        let keeping = Arc::new(keeping);
        self.keepings.truncate(KEEPINGS_AT_MOST - 1);
        self.keepings.push_front(Arc::clone(&keeping));
        keeping
    }
}

fn one_copy<T: Eq + Hash + ?Sized>(copies: &mut HashSet<Arc<T>>, value: &T) -> Arc<T>
where
    for<'a> Arc<T>: From<&'a T>,
{
    match copies.get(value) {
        Some(copy) => Arc::clone(copy),
        None => {
            let copy = Arc::from(value);
            copies.insert(Arc::clone(&copy));
            copy
        }
    }
}

fn worker(
    plan: WorkerPlan,
    watchdog: Option<Duration>,
    shared: &mut Shared,
) -> Result<WorkerSetup, AccountError> {
    let terms = granting::terms(&plan)?;
    let log = plan.log;
    let kept = Keeping {
        stop_signal: plan.stop_signal,
        stop_to: match plan.stop_to {
            config::StopTo::Main => StopTo::Main,
            config::StopTo::Tree => StopTo::Tree,
        },
        env: plan.env,
        clear_env: plan.clear_env,
        cwd: shared.path(&plan.cwd),
        umask: plan.umask,
        nice: plan.nice,
        terms,
        rolling: plan.rolling,
        stdin: match plan.stdin {
            config::Stdin::Inherit => Input::Inherit,
            config::Stdin::Path(path) => Input::File(path),
            config::Stdin::Queue(queue) => Input::Queue(queue),
            config::Stdin::Null => Input::Null,
        },
        stdout: output(plan.stdout),
        stderr: output(plan.stderr),
        log: log.file.map(|path| {
            Box::new(LogFile {
                path,
                max_size: log.max_size,
                keep: log.keep,
                format: match log.format {
                    LogFormat::Text => Format::Text,
                    LogFormat::Json => Format::Json,
                    LogFormat::Raw => Format::Raw,
                },
            })
        }),
        notify: plan.ready == config::Ready::Notify || watchdog.is_some(),
        cron: plan.cron.map(|cron| {
            let config::Cron { minutes, hours, days, months, weekdays, either_day } = cron;
            Box::new(Minutes { minutes, hours, days, months, weekdays, either_day })
        }),
        watched: watching(plan.ready, plan.health, watchdog),
        puts: plan.puts,
    };
    Ok(WorkerSetup {
        command: match plan.command {
            config::Command::Argv(argv) => {
                Command::Argv(argv.iter().map(|text| shared.text(text).into()).collect())
            }
            config::Command::Shell(line) => Command::Shell(line),
        },
        args: shared.text(&plan.args),
        kwargs: shared.text(&plan.kwargs),
        kept: shared.keeping(kept),
    })
}

/// How a worker is watched, where it is.
fn watching(
    ready: config::Ready,
    health: Option<config::Probe>,
    watchdog: Option<Duration>,
) -> Option<Box<Watching>> {
    let ready = match ready {
        config::Ready::Start | config::Ready::Notify => Sign::Word,
        config::Ready::Fd(number) => Sign::Newline(number),
        config::Ready::Log(pattern) => {
            Sign::Line(Regex::new(&pattern).expect("the config room refuses what is no regular expression"))
        }
        config::Ready::Tcp { host, port } => Sign::Probe(Probe::Network(Question::Tcp { host, port })),
        config::Ready::Http(url) => Sign::Probe(Probe::Network(Question::Http(url))),
        config::Ready::Command(argv) => Sign::Probe(Probe::Command(argv)),
    };
    let health = health.map(|probe| match probe {
        config::Probe::Tcp { host, port } => Probe::Network(Question::Tcp { host, port }),
        config::Probe::Http(url) => Probe::Network(Question::Http(url)),
        config::Probe::Command(argv) => Probe::Command(argv),
    });
    let watched = !matches!(ready, Sign::Word) || health.is_some() || watchdog.is_some();
    watched.then(|| Box::new(Watching { ready, health, watchdog }))
}

fn output(output: config::Output) -> Output {
    match output {
        config::Output::Inherit => Output::Inherit,
        config::Output::Null => Output::Null,
        config::Output::Path(path) => Output::File(path),
        config::Output::Queue(queue) => Output::Queue(queue),
        config::Output::Log => Output::Log,
    }
}

fn queue((name, plan): (String, QueuePlan)) -> QueueSetup {
    QueueSetup {
        name,
        capacity: plan.capacity,
        max_bytes: plan.max_bytes,
        max_message: plan.max_message,
        max_deliveries: plan.max_deliveries,
        dead_letter: plan.dead_letter,
        durable: plan.durable.map(|fsync| match fsync {
            config::Fsync::Always => ipc::Fsync::Always,
            config::Fsync::Interval(every) => ipc::Fsync::Interval(every),
            config::Fsync::Never => ipc::Fsync::Never,
        }),
    }
}
