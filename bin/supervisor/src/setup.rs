//! From a checked config to what the runtime carries out.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use config::{LogFormat, Plan, QueuePlan, WorkerPlan};
use runtime::logs::{Format, LogFile};
use runtime::{Command, Input, Output, QueueSetup, Setup, StopTo, WorkerSetup};

/// The setup of `plan`, which was read from `config`, an absolute path.
pub fn setup(plan: Plan, config: &Path) -> Setup {
    let mut family = plan.family;
    family.seed = RandomState::new().build_hasher().finish();
    Setup {
        name: plan.name,
        config: Some(config.to_owned()),
        family,
        workers: plan.workers.into_iter().map(worker).collect(),
        queues: plan.queues.into_iter().map(queue).collect(),
        programs: programs(),
    }
}

/// The folder of this program.
fn programs() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

fn worker(plan: WorkerPlan) -> WorkerSetup {
    let log = plan.log;
    WorkerSetup {
        command: match plan.command {
            config::Command::Argv(argv) => Command::Argv(argv),
            config::Command::Shell(line) => Command::Shell(line),
        },
        args: plan.args,
        kwargs: plan.kwargs,
        stop_signal: plan.stop_signal,
        stop_to: match plan.stop_to {
            config::StopTo::Main => StopTo::Main,
            config::StopTo::Tree => StopTo::Tree,
        },
        env: plan.env,
        clear_env: plan.clear_env,
        cwd: plan.cwd,
        umask: plan.umask,
        nice: plan.nice,
        stdin: match plan.stdin {
            config::Stdin::Inherit => Input::Inherit,
            config::Stdin::Path(path) => Input::File(path),
            // The config room refuses queues here as long as they are not offered.
            config::Stdin::Null | config::Stdin::Queue(_) => Input::Null,
        },
        stdout: output(plan.stdout),
        stderr: output(plan.stderr),
        log: log.file.map(|path| LogFile {
            path,
            max_size: log.max_size,
            keep: log.keep,
            format: match log.format {
                LogFormat::Text => Format::Text,
                LogFormat::Json => Format::Json,
                LogFormat::Raw => Format::Raw,
            },
        }),
        notify: plan.ready == config::Ready::Notify,
        puts: plan.puts,
    }
}

fn output(output: config::Output) -> Output {
    match output {
        config::Output::Inherit => Output::Inherit,
        config::Output::Null => Output::Null,
        config::Output::Path(path) => Output::File(path),
        // The config room refuses queues here as long as they are not offered.
        config::Output::Log | config::Output::Queue(_) => Output::Log,
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
    }
}
