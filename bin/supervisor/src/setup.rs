//! From a checked config to what the runtime carries out.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{LogFormat, Plan, QueuePlan, WorkerPlan};
use process::AccountError;
use runtime::logs::{Format, LogFile};
use runtime::{Command, Fsync, Input, Output, QueueSetup, Setup, StopTo, SyncSetup, WorkerSetup};

use crate::granting;

/// The setup of `plan`, which was read from `config`, an absolute path.
///
/// # Errors
/// When a user or a group that was there when the plan was made is not there any more.
pub fn setup(plan: Plan, config: &Path) -> Result<Setup, AccountError> {
    let mut family = plan.family;
    family.seed = RandomState::new().build_hasher().finish();
    let mut shared = Shared::default();
    // Not collected: that would keep the plan's memory, which is twice as large.
    let mut workers = Vec::with_capacity(plan.workers.len());
    for plan in plan.workers {
        workers.push(worker(plan, &mut shared)?);
    }
    Ok(Setup {
        name: plan.name,
        config: Some(config.to_owned()),
        family,
        workers,
        queues: plan.queues.into_iter().map(queue).collect(),
        sync: SyncSetup {
            locks: plan.locks,
            semaphores: plan.semaphores,
            events: plan.events,
            conditions: plan.conditions,
            barriers: plan.barriers,
            values: plan.values,
        },
        programs: programs(),
    })
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
}

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        one_copy(&mut self.texts, text)
    }

    fn path(&mut self, path: &Path) -> Arc<Path> {
        one_copy(&mut self.paths, path)
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

fn worker(plan: WorkerPlan, shared: &mut Shared) -> Result<WorkerSetup, AccountError> {
    let terms = granting::terms(&plan)?;
    let log = plan.log;
    Ok(WorkerSetup {
        command: match plan.command {
            config::Command::Argv(argv) => Command::Argv(argv.iter().map(|text| shared.text(text)).collect()),
            config::Command::Shell(line) => Command::Shell(line),
        },
        args: shared.text(&plan.args),
        kwargs: shared.text(&plan.kwargs),
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
        notify: plan.ready == config::Ready::Notify,
        puts: plan.puts,
    })
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
            config::Fsync::Always => Fsync::Always,
            config::Fsync::Interval(every) => Fsync::Interval(every),
            config::Fsync::Never => Fsync::Never,
        }),
    }
}
