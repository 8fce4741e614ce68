//! What people type. One definition: help, completions and the man page are made from it.

mod queue;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use control::api::{Milestone, Policy, Restart, Size, Who};

use crate::completing;
use crate::demo::Lang;
use crate::sync::arguments::{BarrierVerb, EventVerb, LockVerb, SemaphoreVerb, ValueVerb};

pub use queue::{Given, New, Patience, Place, QueueVerb};
pub use words::duration;
pub(crate) use words::queue_name;
use words::{lessons, milestone, one_of, signal, size, target, variable, who, worker_name};

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
  SUPERVISOR_RUNTIME_DIR  the folder that holds a folder for every run; not set: $XDG_RUNTIME_DIR/supervisor,
                          else /run/supervisor for root, else /tmp/supervisor-UID
  SUPERVISOR_STATE_DIR    the folder that holds the durable queues of every run; not set:
                          $XDG_STATE_HOME/supervisor, else /var/lib/supervisor for root,
                          else ~/.local/state/supervisor
  NO_COLOR, TERM=dumb     no colour, also on a terminal";

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
    ///
    /// With --empty: nothing, until scripts add workers with `spawn` and queues with `queue create`; it ends when it is
    /// told to. With -- COMMAND: that alone, as the first process of a container: it has the terminal's input and output,
    /// gets every signal that the supervisor gets, what it leaves behind is reaped, and the exit code is its own.
    #[command(
        after_help = "\
Example:
  supervisor run config.json --detach
  supervisor run --empty --detach --name scripts
  supervisor run -- ./server --port 8080",
        override_usage = "supervisor run CONFIG [OPTIONS]\n       supervisor run --empty [OPTIONS]\n       \
                          supervisor run [--restart R] [--grace D] -- COMMAND..."
    )]
    Run(Run),
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
    ///
    /// With --rolling (or "rolling": true in the config) a worker has one instance more for a while: that one is ready
    /// before the first old one is asked to stop, and each is ready again before the next. When a new one does not get
    /// ready, the old ones stay, and the exit code is 1.
    #[command(after_help = "Example:\n  supervisor restart counter\n  supervisor restart web --rolling")]
    Restart {
        /// Which
        #[command(flatten)]
        targets: Targets,
        /// Let the new get ready before the old is asked to stop
        #[arg(long)]
        rolling: bool,
    },
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
  supervisor spawn --queue-in jobs --queue-out results -- grep -v '^#'
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

/// What is to be run.
#[derive(Debug, Args)]
pub struct Run {
    /// The config
    #[arg(required_unless_present_any = ["empty", "command"], conflicts_with_all = ["empty", "command"])]
    pub config: Option<PathBuf>,
    /// No config: wait for what scripts add
    #[arg(long, conflicts_with = "command")]
    pub empty: bool,
    /// Go to the background once all is ready
    #[arg(long, conflicts_with = "command")]
    pub detach: bool,
    /// Write down all that is decided, for `replay`: behind what is in the file, at most 1 GiB
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub journal: Option<PathBuf>,
    /// The descriptor on which a run in the background tells the one that started it how it went
    #[arg(long, hide = true, conflicts_with = "detach", value_name = "FD")]
    pub report_to: Option<i32>,
    /// When the command is started again
    #[arg(long, value_name = "R", default_value = "never", conflicts_with_all = ["config", "empty"], value_parser = one_of::<Restart>(&["never", "on-failure", "always"]))]
    pub restart: Restart,
    /// KILL follows so long after a signal that asks the command to end; not said: never
    #[arg(long, value_name = "D", conflicts_with_all = ["config", "empty"], value_parser = duration)]
    pub grace: Option<Duration>,
    /// The one command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
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
    /// How it and its supervisor part
    #[arg(long, value_name = "P", default_value = "wait", value_parser = one_of::<Policy>(&["wait", "terminate", "daemon"]))]
    pub policy: Policy,
    /// When it is started again
    #[arg(long, value_name = "R", default_value = "never", value_parser = one_of::<Restart>(&["never", "on-failure", "always"]))]
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
    /// The messages of this queue are the lines of its standard input
    #[arg(long, value_name = "Q", value_parser = queue_name, add = ArgValueCandidates::new(completing::queues))]
    pub queue_in: Option<String>,
    /// The lines of its standard output are messages for this queue
    #[arg(long, value_name = "Q", value_parser = queue_name, add = ArgValueCandidates::new(completing::queues))]
    pub queue_out: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The definition itself, for completions and the man page.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
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
