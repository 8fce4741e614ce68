//! What people type after `lock`, `semaphore`, `event`, `value` and `barrier`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;

use crate::arguments::{Patience, duration};
use crate::completing;

/// What to do with a lock.
#[derive(Debug, Subcommand)]
pub enum LockVerb {
    /// Run a command while the lock is held, and end with its exit code
    #[command(after_help = "\
The lock is free the moment the command has ended. Should this command be killed, COMMAND and all that it has started is
killed before anybody else gets the lock, but for what has emptied its environment. A deadlock is an error that names who holds what and waits for what; it is told to one of them, and
not where --timeout limits the wait. Whoever gets the lock from somebody who died with it is told on standard error, and
the command by $SUPERVISOR_LOCK_RECOVERED, which is the pid of the dead.
A recursive lock (\"rlocks\" in the config) can be taken again by what runs under it.
Signals that are sent to this command are passed on to COMMAND.

Example:
  supervisor lock run ledger -- ./pay.sh 42
  supervisor lock run backup --nowait -- ./backup.sh || echo 'another backup is under way'
  supervisor lock run --create build -- make")]
    Run {
        /// The lock
        #[arg(value_name = "NAME", value_parser = lock_name, add = ArgValueCandidates::new(completing::locks))]
        lock: String,
        /// Until it is free.
        #[command(flatten)]
        patience: Patience,
        /// Create the lock where there is none of that name
        #[arg(long)]
        create: bool,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Show who holds each lock and who waits for it
    #[command(after_help = "Example:\n  supervisor lock ls --json | jq '.[] | select(.holder != null)'")]
    Ls,
    /// Create locks, for as long as the run lasts; those that are there are left as they are
    #[command(
        after_help = "Example:\n  supervisor lock create ledger audit\n  supervisor lock create --recursive tree"
    )]
    Create {
        /// Let who holds one take it again: workers, and commands that run under it
        #[arg(long)]
        recursive: bool,
        /// The locks
        #[arg(required = true, value_name = "NAME", value_parser = lock_name)]
        names: Vec<String>,
    },
}

/// What to do with a semaphore.
#[derive(Debug, Subcommand)]
pub enum SemaphoreVerb {
    /// Run a command while a permit is held, and end with its exit code
    #[command(after_help = "\
The permit comes back the moment the command has ended. Should this command be killed, COMMAND and all that it has
started is killed before anybody else gets the permit. Signals that are sent to this command are passed on to COMMAND.

Example:
  supervisor semaphore run gpu -- ./render.sh scene-1
  ls *.png | xargs -P 32 -I{} supervisor semaphore run --create 4 shrink -- optipng {}")]
    Run {
        /// The semaphore
        #[arg(value_name = "NAME", value_parser = semaphore_name, add = ArgValueCandidates::new(completing::semaphores))]
        semaphore: String,
        /// Until there is a permit.
        #[command(flatten)]
        patience: Patience,
        /// Create the semaphore, with so many permits, where there is none of that name
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
        create: Option<u32>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Show how many permits each semaphore has, how many are free, and who holds the others
    #[command(after_help = "Example:\n  supervisor semaphore ls")]
    Ls,
    /// Create a semaphore, for as long as the run lasts; one with as many permits may be there
    #[command(after_help = "Example:\n  supervisor semaphore create gpu 2")]
    Create {
        /// The semaphore
        #[arg(value_name = "NAME", value_parser = semaphore_name, add = ArgValueCandidates::new(completing::semaphores))]
        semaphore: String,
        /// How many may hold it at once
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
        permits: u32,
    },
}

/// What to do with an event.
#[derive(Debug, Subcommand)]
pub enum EventVerb {
    /// Set it: all who wait for it go on
    #[command(after_help = "Example:\n  supervisor event set go")]
    Set {
        /// The event
        #[arg(value_name = "NAME", value_parser = event_name, add = ArgValueCandidates::new(completing::events))]
        event: String,
    },
    /// Clear it
    #[command(after_help = "Example:\n  supervisor event clear go")]
    Clear {
        /// The event
        #[arg(value_name = "NAME", value_parser = event_name, add = ArgValueCandidates::new(completing::events))]
        event: String,
    },
    /// Wait until it is set
    #[command(after_help = "Example:\n  supervisor event wait go --timeout 1m && ./begin.sh")]
    Wait {
        /// The event
        #[arg(value_name = "NAME", value_parser = event_name, add = ArgValueCandidates::new(completing::events))]
        event: String,
        /// Until it is set.
        #[command(flatten)]
        patience: Patience,
    },
    /// Show which events are set
    #[command(after_help = "Example:\n  supervisor event ls")]
    Ls,
    /// Create events, for as long as the run lasts; those that are there are left as they are
    #[command(after_help = "Example:\n  supervisor event create go")]
    Create {
        /// The events
        #[arg(required = true, value_name = "NAME", value_parser = event_name)]
        names: Vec<String>,
    },
}

/// What to do with a shared number.
#[derive(Debug, Subcommand)]
pub enum ValueVerb {
    /// Print it; of an array all its numbers, a line each
    #[command(
        after_help = "Example:\n  supervisor value get total\n  supervisor value get counts:3\n  supervisor value get counts"
    )]
    Get {
        /// The value, or a number of an array
        #[arg(value_name = "NAME[:INDEX]", value_parser = number_name, add = ArgValueCandidates::new(completing::values))]
        value: String,
    },
    /// Add to it, and print the sum; nothing that others add is lost
    #[command(after_help = "Example:\n  supervisor value add total 5\n  supervisor value add counts:3 -5")]
    Add {
        /// The value, or a number of an array
        #[arg(value_name = "NAME[:INDEX]", value_parser = number_name, add = ArgValueCandidates::new(completing::values))]
        value: String,
        /// How much
        #[arg(value_name = "N", default_value = "1", allow_negative_numbers = true)]
        number: i64,
    },
    /// Make it another
    #[command(after_help = "Example:\n  supervisor value set total 0\n  supervisor value set counts:3 7")]
    Set {
        /// The value, or a number of an array
        #[arg(value_name = "NAME[:INDEX]", value_parser = number_name, add = ArgValueCandidates::new(completing::values))]
        value: String,
        /// What it is to be
        #[arg(value_name = "N", allow_negative_numbers = true)]
        number: i64,
    },
    /// Show all
    #[command(after_help = "Example:\n  supervisor value ls")]
    Ls,
    /// Create a value, for as long as the run lasts; one that is there is left as it is
    #[command(
        after_help = "Example:\n  supervisor value create total 100\n  supervisor value create counts --length 8"
    )]
    Create {
        /// The value
        #[arg(value_name = "NAME", value_parser = value_name)]
        value: String,
        /// What it is at first
        #[arg(value_name = "N", default_value = "0", allow_negative_numbers = true)]
        number: i64,
        /// Make it an array of so many numbers, NAME:0 and so on, all of them 0
        #[arg(long, value_name = "L", conflicts_with = "number", value_parser = clap::value_parser!(u32).range(1..=512))]
        length: Option<u32>,
    },
}

/// What to do with a barrier.
#[derive(Debug, Subcommand)]
pub enum BarrierVerb {
    /// Wait until as many have come as it waits for, and print how many came before: 0 to one of them
    #[command(after_help = "\
A party that is killed while it waits, or whose time is up, breaks the barrier: all others get exit 1, until it is reset.

Example:
  [ \"$(supervisor barrier wait line)\" = 0 ] && ./what-one-does-for-all.sh")]
    Wait {
        /// The barrier
        #[arg(value_name = "NAME", value_parser = barrier_name, add = ArgValueCandidates::new(completing::barriers))]
        barrier: String,
        /// Give up after so long (exit 7); that breaks the barrier
        #[arg(long, value_name = "D", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// Let a broken barrier be used again; who waits at it is told that it broke
    #[command(after_help = "Example:\n  supervisor barrier reset line")]
    Reset {
        /// The barrier
        #[arg(value_name = "NAME", value_parser = barrier_name, add = ArgValueCandidates::new(completing::barriers))]
        barrier: String,
    },
    /// Show how many wait at each
    #[command(after_help = "Example:\n  supervisor barrier ls")]
    Ls,
    /// Create a barrier, for as long as the run lasts; one for as many parties may be there
    #[command(after_help = "Example:\n  supervisor barrier create line 3")]
    Create {
        /// The barrier
        #[arg(value_name = "NAME", value_parser = barrier_name, add = ArgValueCandidates::new(completing::barriers))]
        barrier: String,
        /// How many must come before all pass
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
        parties: u32,
    },
}

fn lock_name(text: &str) -> Result<String, String> {
    checked("a lock", text)
}

fn semaphore_name(text: &str) -> Result<String, String> {
    checked("a semaphore", text)
}

fn event_name(text: &str) -> Result<String, String> {
    checked("an event", text)
}

fn value_name(text: &str) -> Result<String, String> {
    checked("a value", text)
}

/// A value, or a number of an array.
fn number_name(text: &str) -> Result<String, String> {
    if text.contains(':') && !control::is_target(text) {
        return Err("a number of an array is NAME:INDEX, the first index being 0".to_owned());
    }
    if control::is_target(text) { Ok(text.to_owned()) } else { value_name(text) }
}

fn barrier_name(text: &str) -> Result<String, String> {
    checked("a barrier", text)
}

fn checked(what: &str, text: &str) -> Result<String, String> {
    if control::is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("the name of {what} has letters, digits, '-', '_' and '.', and is not digits alone"))
}
