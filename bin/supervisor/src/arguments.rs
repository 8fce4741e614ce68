//! What people type. One definition: help, completions and the man page are made from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use control::api::{Milestone, Policy, Restart, Size, Who};
use serde::de::DeserializeOwned;

use crate::completing;
use crate::demo::{LESSONS, Lang};
use crate::processes::nearest_signal;
use crate::sync::arguments::{BarrierVerb, EventVerb, LockVerb, SemaphoreVerb, ValueVerb};

const EXIT_CODES: &str = "\
Exit codes:
  0  done                                  5  no supervisor is running
  1  it failed                             6  it would block: full, empty, held
  2  wrong usage                           7  it timed out
  3  the config has problems               8  it is closed
  4  no such worker, pid, queue or lock    9  refused: not ours, not permitted
  run, wait, lock run and semaphore run end with the exit code of what they ran or waited for; 128+n for signal n.

Environment:
  SUPERVISOR_NAME         the run that is meant, where --name does not say it
  SUPERVISOR_SOCKET       the supervisor that is meant, inside a worker
  SUPERVISOR_RUNTIME_DIR  the folder that holds a folder for every run
  SUPERVISOR_STATE_DIR    the folder that holds the durable queues of every run
  NO_COLOR                no colour, also on a terminal";

/// Runs a family of processes from one config.json: starts them, knows every process below them, restarts what fails,
/// stops what must stop, and carries messages between them.
#[derive(Debug, Parser)]
#[command(name = "supervisor", version, about, long_about = None, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say on standard error whom a wait is for, also where that is no terminal
    #[arg(long, global = true)]
    pub progress: bool,
    /// The run that is meant, where several are up; for run: what it is called
    #[arg(long, global = true, value_name = "N", add = ArgValueCandidates::new(completing::runs))]
    pub name: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a config in the foreground, or in the background once all is ready
    #[command(after_help = "Example:\n  supervisor run config.json --detach")]
    Run {
        /// The config
        config: PathBuf,
        /// Go to the background once all is ready
        #[arg(long)]
        detach: bool,
        /// Write down all that is decided, for `replay`: behind what is in the file, at most 1 GiB
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
        /// The descriptor on which a run in the background tells the one that started it how it went
        #[arg(long, hide = true, conflicts_with = "detach", value_name = "FD")]
        report_to: Option<i32>,
    },
    /// Report every problem of a config
    #[command(after_help = "Example:\n  supervisor check config.json && supervisor run config.json")]
    Check {
        /// The config
        config: PathBuf,
    },
    /// Print the JSON Schema of the config
    #[command(after_help = "Example:\n  supervisor schema > config.schema.json")]
    Schema,
    /// Show a row an instance: name, state, pid, uptime, restarts, why
    #[command(after_help = "Example:\n  supervisor status reader counter:0")]
    Status {
        /// Only these
        #[arg(value_name = "WORKER[:I]", value_parser = target, add = ArgValueCandidates::new(completing::workers))]
        workers: Vec<String>,
        /// Show it again whenever it changes
        #[arg(long)]
        watch: bool,
    },
    /// Show the process tree of the run, or parts of it
    #[command(after_help = "\
S is the state as in ps(1), CPU the share of one processor since the start, MEMORY what is resident.

Example:
  supervisor ps
  supervisor ps counter 4711
  supervisor ps --json | jq '.[].pid'")]
    Ps {
        /// Only what belongs to these workers, or is below these pids
        #[arg(value_name = "PID|WORKER[:I]", value_parser = who, add = ArgValueCandidates::new(completing::workers_and_pids))]
        whom: Vec<Who>,
    },
    /// Watch workers and queues in the terminal, and act on them by keys
    ///
    /// It is redrawn where something has changed; CPU and the rates of queues are those since the look before.
    #[command(after_help = "\
Keys: arrows choose an instance; s stop, t start, r restart, k send a signal, l or Enter follow its log (Esc back);
Tab shows the other table where both have no room; Ctrl-Z suspend; q leave.

Example:
  supervisor top
  supervisor --name shop top")]
    Top,
    /// Print the pids that lead workers, a line each; without WORKER the supervisor's own
    #[command(after_help = "Example:\n  strace -f -p \"$(supervisor pid counter:0)\"")]
    Pid {
        /// Which
        #[arg(value_name = "WORKER[:I]", value_parser = target, add = ArgValueCandidates::new(completing::workers))]
        workers: Vec<String>,
    },
    /// Start workers, and wait until they are up
    #[command(after_help = "Example:\n  supervisor start reader counter:0")]
    Start(Targets),
    /// Stop workers, and wait until nothing of them is left
    #[command(after_help = "Example:\n  supervisor stop reader --no-wait")]
    Stop(Targets),
    /// Stop workers, then start them anew
    #[command(after_help = "Example:\n  supervisor restart counter")]
    Restart(Targets),
    /// Give workers more or fewer instances, touching only the difference
    ///
    /// The instances with the highest numbers go first. Waits until the new ones are up and nothing is left of the
    /// others.
    #[command(after_help = "Example:\n  supervisor scale counter=5 reader=0")]
    Scale {
        /// How many instances which worker is to have
        #[arg(value_name = "WORKER=N", required = true, value_parser = size)]
        sizes: Vec<Size>,
        /// Answer at once, not when it is so
        #[arg(long)]
        no_wait: bool,
    },
    /// Add a worker to the running supervisor, and print NAME PID
    ///
    /// It runs in this folder, with the supervisor's environment and what --env says; its output goes to the run's log.
    /// It is run once: --restart says otherwise. `supervisor wait NAME` ends with its exit code.
    #[command(after_help = "\
Example:
  supervisor spawn -- ./convert.sh holiday.mov
  supervisor spawn --name web --policy daemon --restart always --env PORT=8080 -- python3 server.py
  read name pid < <(supervisor spawn -- make) && supervisor wait \"$name\"")]
    Spawn(Spawn),
    /// Show what a config would change of the run, worker by worker, and change nothing
    ///
    /// What happens to each: none, update (no process is touched), signal (its `reload`), scale, restart, add, remove;
    /// and why. Workers that `spawn` has added are left alone, what was stopped by request stays so, and a worker
    /// that was scaled by hand gets the number that the config says.
    #[command(after_help = "Example:\n  supervisor plan config.json")]
    Plan {
        /// The config
        config: PathBuf,
    },
    /// Make the run what a config says; what is unchanged keeps running
    ///
    /// Does what `plan` shows. A config with problems, or one that cannot be carried out, changes nothing. Who goes,
    /// goes before what it depends on; who comes, comes after. SIGHUP to the supervisor applies its own file.
    #[command(after_help = "Example:\n  supervisor plan config.json && supervisor apply config.json")]
    Apply {
        /// The config
        config: PathBuf,
        /// Answer at once, not when it is so
        #[arg(long)]
        no_wait: bool,
    },
    /// Decide a run once more from its journal, and say whether the same comes out
    ///
    /// A journal is written by `run --journal FILE`. With --worker: the story of that worker, what was told of it, what
    /// was ordered, and where it stood.
    #[command(
        after_help = "Example:\n  supervisor run config.json --journal run.journal\n  supervisor replay run.journal --worker reader"
    )]
    Replay {
        /// The journal
        journal: PathBuf,
        /// Tell the story of this one
        #[arg(long, value_name = "WORKER", value_parser = worker_name)]
        worker: Option<String>,
    },
    /// Show what workers print: the last lines of each, and with -f what comes
    #[command(after_help = "Example:\n  supervisor logs counter:0 -f -n 100")]
    Logs {
        /// Only this one
        #[arg(value_name = "WORKER[:I]", value_parser = target, add = ArgValueCandidates::new(completing::workers))]
        worker: Option<String>,
        /// Go on with what comes, until the run ends
        #[arg(short, long)]
        follow: bool,
        /// Begin with so many lines of each worker; at most 64 KiB of each are kept
        #[arg(short = 'n', long, value_name = "N", default_value = "10")]
        lines: u32,
    },
    /// Show every change of state, a line of JSON each, numbered
    #[command(after_help = "Example:\n  supervisor events -f | jq -r 'select(.to == \"failed\") | .worker'")]
    Events {
        /// Go on with what comes, until the run ends
        #[arg(short, long)]
        follow: bool,
        /// Only what came after the one with this number; 1024 are kept
        #[arg(long, value_name = "SEQ", default_value = "0")]
        after: u64,
    },
    /// Say why a worker stands where it stands
    #[command(after_help = "Example:\n  supervisor why reader")]
    Why {
        /// Which
        #[arg(value_name = "WORKER[:I]", value_parser = target, add = ArgValueCandidates::new(completing::workers))]
        worker: String,
    },
    /// Show what this machine offers, and which tier is in use
    #[command(after_help = "Example:\n  supervisor doctor --json | jq '.facts[] | select(.available | not)'")]
    Doctor,
    /// Send a signal to processes of the run
    ///
    /// A process is held before it is looked at, so that a pid that is used again never gets what was meant for another.
    /// Process 1, the supervisor itself and threads of the kernel get nothing; a process outside the run only with
    /// --foreign. With --tree everybody is stopped first, gets the signal, and then goes on, so that nobody slips away.
    #[command(after_help = "\
Example:
  supervisor kill counter:0 --signal HUP
  supervisor kill 4711 --tree --grace 5s
  supervisor kill reader counter --tree --dry-run")]
    Kill {
        /// Whom; each gets it, also where another cannot
        #[arg(value_name = "PID|WORKER[:I]", required = true, value_parser = who, add = ArgValueCandidates::new(completing::workers_and_pids))]
        whom: Vec<Who>,
        /// The signal, by name or number
        #[arg(short, long, value_name = "S", default_value = "TERM", value_parser = signal, add = ArgValueCandidates::new(completing::signals))]
        signal: i32,
        /// Also everything below it, everybody before its parent
        #[arg(long)]
        tree: bool,
        /// With --tree: everybody after its parent
        #[arg(long, requires = "tree")]
        root_first: bool,
        /// KILL follows after so long, again and again until nothing lives; answers when it is gone
        #[arg(long, value_name = "D", value_parser = duration)]
        grace: Option<Duration>,
        /// Answer when it is gone
        #[arg(long)]
        wait: bool,
        /// Give up waiting after so long: exit 7
        #[arg(long, value_name = "D", value_parser = duration)]
        timeout: Option<Duration>,
        /// Also a pid outside the run
        #[arg(long)]
        foreign: bool,
        /// Send nothing, and show who would get what
        #[arg(long)]
        dry_run: bool,
    },
    /// Wait until workers or processes have ended, and end with their exit code
    #[command(after_help = "Example:\n  supervisor wait reader --timeout 1m; echo $?")]
    Wait {
        /// Whom; of several the first exit code that is not 0 is passed on
        #[arg(value_name = "WORKER[:I]|PID", required = true, value_parser = who, add = ArgValueCandidates::new(completing::workers_and_pids))]
        whom: Vec<Who>,
        /// Give up after so long (exit 7)
        #[arg(long, value_name = "D", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// Stop everything, then the supervisor
    #[command(after_help = "Example:\n  supervisor shutdown")]
    Shutdown {
        /// KILL at once, no grace
        #[arg(long)]
        now: bool,
    },
    /// Put messages into queues and take them out
    #[command(after_help = "Example:\n  seq 100 | supervisor queue put jobs --lines")]
    Queue {
        /// What to do with it.
        #[command(subcommand)]
        verb: QueueVerb,
    },
    /// Run a command while a lock is held
    #[command(after_help = "Example:\n  supervisor lock run ledger -- ./pay.sh 42")]
    Lock {
        /// What to do with it.
        #[command(subcommand)]
        verb: LockVerb,
    },
    /// Run a command while a permit of a semaphore is held
    #[command(after_help = "Example:\n  supervisor semaphore run gpu -- ./render.sh scene-1")]
    Semaphore {
        /// What to do with it.
        #[command(subcommand)]
        verb: SemaphoreVerb,
    },
    /// Set an event, clear it, wait for it
    #[command(after_help = "Example:\n  supervisor event wait go && ./begin.sh")]
    Event {
        /// What to do with it.
        #[command(subcommand)]
        verb: EventVerb,
    },
    /// Read a shared number, or change it
    #[command(after_help = "Example:\n  supervisor value add total 5")]
    Value {
        /// What to do with it.
        #[command(subcommand)]
        verb: ValueVerb,
    },
    /// Wait until as many have come as a barrier waits for
    #[command(after_help = "Example:\n  supervisor barrier wait line && ./all-together.sh")]
    Barrier {
        /// What to do with it.
        #[command(subcommand)]
        verb: BarrierVerb,
    },
    /// Show the lessons of multi-process programming, live; without LESSON: what there is
    #[command(after_help = "Example:\n  supervisor demo\n  supervisor demo daemon --lang zh")]
    Demo {
        /// Which; it ends with 0 only if it saw what it teaches
        #[arg(value_parser = lessons())]
        lesson: Option<String>,
        /// The language of the lesson
        #[arg(long, value_enum, default_value = "en")]
        lang: Lang,
    },
    /// Print what a shell needs to complete arguments
    #[command(after_help = "Example:\n  source <(supervisor completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(after_help = "Example:\n  supervisor man | man -l -")]
    Man,
}

/// Which workers, and whether to wait for them.
#[derive(Debug, Args)]
pub struct Targets {
    /// Which
    #[arg(value_name = "WORKER[:I]", required = true, value_parser = target, add = ArgValueCandidates::new(completing::workers))]
    pub workers: Vec<String>,
    /// Answer at once, not when it is so
    #[arg(long)]
    pub no_wait: bool,
}

/// A worker to be added.
#[derive(Debug, Args)]
pub struct Spawn {
    /// What it is called; not said: as its program, with a number behind it where that is taken
    // Of the same id as the global option, which it takes the place of.
    #[arg(long, value_name = "N", value_parser = worker_name)]
    pub name: Option<String>,
    /// The run that is meant, where several are up
    #[arg(long, value_name = "N")]
    pub run: Option<String>,
    /// How it and its supervisor part: wait, terminate, daemon
    #[arg(long, value_name = "P", default_value = "wait", value_parser = word::<Policy>)]
    pub policy: Policy,
    /// When it is started again: never, on-failure, always
    #[arg(long, value_name = "R", default_value = "never", value_parser = word::<Restart>)]
    pub restart: Restart,
    /// A variable beside the supervisor's own
    #[arg(long, value_name = "K=V", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Its folder; not said: this one
    #[arg(long, value_name = "D")]
    pub cwd: Option<PathBuf>,
    /// How many numbered copies
    #[arg(long, value_name = "N", default_value = "1")]
    pub instances: u32,
    /// Which worker must have started, be ready, have succeeded or have ended before; not said which: be ready
    #[arg(long, value_name = "W[=MILESTONE]", value_parser = milestone, add = ArgValueCandidates::new(completing::worker_names))]
    pub after: Vec<(String, Milestone)>,
    /// Answer at once, not when it runs
    #[arg(long)]
    pub no_wait: bool,
    /// Its standard input from a queue
    #[arg(long, hide = true, value_name = "Q")]
    pub queue_in: Option<String>,
    /// Its standard output to a queue
    #[arg(long, hide = true, value_name = "Q")]
    pub queue_out: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What to do with a queue.
#[derive(Debug, Subcommand)]
pub enum QueueVerb {
    /// Show a row a queue
    #[command(after_help = "Example:\n  supervisor queue ls --json")]
    Ls,
    /// Put a message; without MESSAGE: standard input
    #[command(
        after_help = "Example:\n  supervisor queue put jobs hello\n  seq 100 | supervisor queue put jobs --lines"
    )]
    Put {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
        /// The message
        #[arg(allow_hyphen_values = true)]
        message: Option<String>,
        /// Put a message a line of standard input
        #[arg(long, conflicts_with = "message")]
        lines: bool,
        /// Until there is room.
        #[command(flatten)]
        patience: Patience,
    },
    /// Take a message, print it, and acknowledge it once its bytes are written
    #[command(after_help = "Example:\n  supervisor queue get results --lines --follow | grep done")]
    Get {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
        /// Take so many
        #[arg(short, value_name = "N", conflicts_with = "follow")]
        n: Option<u64>,
        /// Take all, until the queue is closed and drained
        #[arg(long)]
        follow: bool,
        /// A newline after each message, also when that does not go to a terminal
        #[arg(long)]
        lines: bool,
        /// Until there is a message.
        #[command(flatten)]
        patience: Patience,
    },
    /// Print the next message and leave it where it is
    #[command(after_help = "Example:\n  supervisor queue peek jobs")]
    Peek {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
    },
    /// Print how many messages wait in it
    #[command(after_help = "Example:\n  supervisor queue len jobs")]
    Len {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
    },
    /// Exit with 0 if it is full, with 1 if it is not
    #[command(after_help = "Example:\n  supervisor queue full jobs && echo wait")]
    Full {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
    },
    /// Exit with 0 if it is empty, with 1 if it is not
    #[command(after_help = "Example:\n  supervisor queue empty jobs && echo idle")]
    Empty {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
    },
    /// Let nothing more be put; what is in it can still be taken
    #[command(after_help = "Example:\n  supervisor queue close jobs")]
    Close {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
    },
    /// Take what is in it now, a line each
    #[command(after_help = "Example:\n  supervisor queue drain failed > failed.txt")]
    Drain {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
    },
    /// Run a command for every message, until the queue is closed and drained
    #[command(after_help = "\
The message is on the command's standard input, and in $SUPERVISOR_MESSAGE when it is text under 64 KiB.
Exit 0 acknowledges it, anything else gives it back for another delivery.

Example:
  supervisor queue each jobs --jobs 4 -- sh -c 'wc -w \"$SUPERVISOR_MESSAGE\"'")]
    Each {
        /// The queue
        #[arg(value_parser = queue, add = ArgValueCandidates::new(completing::queues))]
        queue: String,
        /// So many at a time
        #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
        jobs: u16,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
}

/// How long to wait for a queue, a lock or its like.
#[derive(Clone, Copy, Debug, Args)]
pub struct Patience {
    /// Do not wait: exit 6
    #[arg(long, conflicts_with = "timeout")]
    pub nowait: bool,
    /// Give up after so long: exit 7
    #[arg(long, value_name = "D", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// The definition itself, for completions and the man page.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn lessons() -> clap::builder::PossibleValuesParser {
    LESSONS.iter().map(|lesson| lesson.name).into()
}

fn target(text: &str) -> Result<String, String> {
    if control::is_target(text) {
        return Ok(text.to_owned());
    }
    Err("a worker is NAME or NAME:INSTANCE, the name of letters, digits, '-', '_' and '.'".to_owned())
}

fn worker_name(text: &str) -> Result<String, String> {
    if control::is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a worker's name has letters, digits, '-', '_' and '.', and is not digits alone".to_owned())
}

/// One of the words of the control API.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is NAME=VALUE".to_owned()),
    }
}

fn milestone(text: &str) -> Result<(String, Milestone), String> {
    match text.split_once('=') {
        Some((worker, reached)) => Ok((worker_name(worker)?, word(reached)?)),
        None => Ok((worker_name(text)?, Milestone::Ready)),
    }
}

fn size(text: &str) -> Result<Size, String> {
    let (worker, number) = text.split_once('=').ok_or("how many is WORKER=N, for example counter=3")?;
    if !control::is_name(worker) {
        return Err("a worker's name has letters, digits, '-', '_' and '.'".to_owned());
    }
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(instances) if plain => Ok(Size { worker: worker.to_owned(), instances }),
        _ => Err(format!("{number:?} is no number of instances")),
    }
}

fn queue(text: &str) -> Result<String, String> {
    if control::is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a queue's name has letters, digits, '-', '_' and '.', and is not digits alone".to_owned())
}

fn who(text: &str) -> Result<Who, String> {
    match Who::parse(text) {
        Who::Pid(pid) if pid > 0 => Ok(Who::Pid(pid)),
        Who::Pid(_) => Err("a pid is greater than 0".to_owned()),
        Who::Worker(worker) => target(&worker).map(Who::Worker),
    }
}

fn signal(text: &str) -> Result<i32, String> {
    process::signal::number(text).ok_or_else(|| match nearest_signal(text) {
        Some(name) => format!("no signal is called so; did you mean {name:?}?"),
        None => "a signal is a name like TERM or RTMIN+3, or a number from 1 to 64".to_owned(),
    })
}

/// `250ms`, `10s`, `5m`, `2h`, `1d`; a plain number means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err("a duration is a number and ms, s, m, h or d".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "a duration is like 250ms, 10s or 5m".to_owned())?;
    let seconds = number * scale;
    // Beyond a century every sum with a clock is at risk, and nobody waits so long.
    if seconds > 100.0 * 366.0 * 86400.0 {
        return Err("a duration is at most a century".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn durations_are_what_people_write() {
        let good =
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("0.5", 500), ("1h", 3_600_000), ("0", 0)];
        for (text, millis) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1", "1x", "1 s", "1.2.3s", "9999999d", "1e9", "inf"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_is_a_worker_and_a_plain_number() {
        assert_eq!(size("a=0"), Ok(Size { worker: "a".to_owned(), instances: 0 }));
        for bad in ["a", "=1", "a=", "a=-1", "a=+1", "a:0=1", "a=1x", "a=99999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_worker_comes_after_is_a_name_and_one_of_four_words() {
        assert_eq!(milestone("db"), Ok(("db".to_owned(), Milestone::Ready)));
        assert_eq!(milestone("db=ended"), Ok(("db".to_owned(), Milestone::Ended)));
        let error = milestone("db=soon").expect_err("no such word");
        assert!(error.contains("`soon`") && error.contains("`succeeded`"), "{error}");
        for bad in ["", "=ready", "db=", "db:0", "7"] {
            assert!(milestone(bad).is_err(), "{bad}");
        }
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }

    #[test]
    fn digits_are_a_pid_and_anything_else_a_worker() {
        assert_eq!(who("12"), Ok(Who::Pid(12)));
        assert_eq!(who("a:0"), Ok(Who::Worker("a:0".to_owned())));
        for bad in ["0", "-1", "+5", "99999999999", "a b"] {
            assert!(who(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_verb_has_an_example() {
        fn check(command: &clap::Command) {
            for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example:\n  "), "{}", verb.get_name());
                check(verb);
            }
        }
        check(&command());
    }
}
