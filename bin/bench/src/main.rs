//! Measures the supervisor and its queue beside others that could do their work, in one run, in turns.
//!
//! `raw` alone has `unsafe`, for what the yardsticks are made of.

mod bare;
mod births;
mod core_cost;
mod facts;
mod messages;
mod peers;
mod queue;
mod raw;
mod stage;
mod supervise;

use std::fmt;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use bench::figures;
use clap::{Parser, Subcommand};

/// Measures the supervisor and its queue beside others that could do their work.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start, restart, stop, memory, idleness, status, decisions, and messages between workers
    Supervise {
        /// Three rounds instead of five, and shorter ones
        #[arg(long)]
        quick: bool,
        /// For machines
        #[arg(long)]
        json: bool,
        /// This part only; may be given several times
        #[arg(long, value_name = "PART")]
        only: Vec<supervise::Part>,
    },
    /// The queue: rates and round trips beside other ways between processes, and beside the machine's limits
    Queue {
        /// Seven rounds instead of eleven, and shorter ones
        #[arg(long)]
        quick: bool,
        /// For machines
        #[arg(long)]
        json: bool,
        /// Rounds of each row, instead
        #[arg(long, value_name = "N")]
        rounds: Option<NonZero<u16>>,
        /// Only rows whose name or peer has one of these words
        words: Vec<String>,
    },
    /// Be a process of a measurement of the queue
    #[command(hide = true)]
    Party,
    /// Start programs with posix_spawn
    #[command(hide = true)]
    BareCrowd { pipe: PathBuf, count: u32 },
    /// Start a program again whenever it has ended
    #[command(hide = true)]
    BareRestarter { pipe: PathBuf },
    /// Put messages into the queue of the run
    #[command(hide = true)]
    QueuePut { count: u64 },
    /// Get messages from the queue of the run
    #[command(hide = true)]
    QueueGet { count: u64, rate: PathBuf },
    /// Write messages to standard output
    #[command(hide = true)]
    PipePut { count: u64 },
    /// Read messages from standard input
    #[command(hide = true)]
    PipeGet { count: u64, rate: PathBuf },
}

/// Why something could not be measured.
#[derive(Debug)]
struct Trouble(String);

impl Trouble {
    fn new(what: impl fmt::Display) -> Trouble {
        Trouble(what.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! troubles {
    ($($error:ty),*) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Trouble {
                Trouble::new(error)
            }
        })*
    };
}

troubles!(std::io::Error, nix::errno::Errno, serde_json::Error);

/// The folder of this program, where the others are too.
fn programs() -> Result<PathBuf, Trouble> {
    let own = std::env::current_exe()?;
    own.parent().map(PathBuf::from).ok_or_else(|| Trouble::new("this program has no folder"))
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Supervise { quick, json, only } => supervise(quick, json, &only),
        Verb::Queue { quick, json, rounds, words } => queue(quick, json, rounds, words),
        Verb::Party => queue::party::party(),
        Verb::BareCrowd { pipe, count } => bare::crowd(&pipe, count),
        Verb::BareRestarter { pipe } => bare::restarter(&pipe),
        Verb::QueuePut { count } => messages::put(count),
        Verb::QueueGet { count, rate } => messages::get(count, &rate),
        Verb::PipePut { count } => messages::write(count),
        Verb::PipeGet { count, rate } => messages::read(count, &rate),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("bench: {trouble}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output; a reader that has seen enough is no trouble.
fn show(text: &str) -> Result<(), Trouble> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn supervise(quick: bool, json: bool, only: &[supervise::Part]) -> Result<(), Trouble> {
    let machine = facts::machine();
    let extent = if quick { supervise::Extent::QUICK } else { supervise::Extent::FULL };
    let figures = supervise::measure(extent, only)?;
    if json {
        show(&serde_json::to_string_pretty(&figures)?)
    } else {
        show(&format!("{machine}; medians\n\n{}", figures::table(&figures)))
    }
}

fn queue(quick: bool, json: bool, rounds: Option<NonZero<u16>>, words: Vec<String>) -> Result<(), Trouble> {
    let machine = facts::machine();
    let extent = if quick { queue::Extent::QUICK } else { queue::Extent::FULL };
    let extent = rounds.map_or(extent, |rounds| extent.with_rounds(rounds.get().into()));
    if facts::is_busy() {
        eprintln!(
            "bench: this machine is busy with other things: sides that spin are measured beside those, and ratios mean little"
        );
    }
    let table = queue::measure(extent, words);
    if json {
        show(&serde_json::to_string_pretty(&table.figures)?)?;
    } else {
        show(&format!("{machine}; medians, ratios by pairs\n\n{}", figures::table(&table.figures)))?;
    }
    if table.has_gaps { Err(Trouble::new("the table has gaps, which were told of above")) } else { Ok(()) }
}
