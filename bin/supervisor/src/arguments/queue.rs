//! What people type behind `queue`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use control::api::Fsync;

use super::words::one_of;
use super::{duration, queue_name};
use crate::completing;

/// What to do with a queue.
#[derive(Debug, Subcommand)]
pub enum QueueVerb {
    /// Show a row a queue
    #[command(after_help = "Example:\n  supervisor queue ls --json")]
    Ls {
        /// The queue in this file, without a supervisor
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
    },
    /// Make a queue: in the running supervisor, or in a file
    ///
    /// A queue of a supervisor lasts as long as its run. A queue in a file needs no supervisor: whoever can open the file
    /// can use it, and it lasts until `queue rm`; it is memory, and the end of the machine is its end too.
    /// With --durable the messages are on disk, and survive the run, every kill, and the loss of power: a later run that
    /// makes the queue again finds them.
    #[command(after_help = "\
Example:
  supervisor queue create jobs --capacity 100
  supervisor queue create orders --durable --max-deliveries 5 --dead-letter refused
  supervisor queue create --file /dev/shm/jobs.queue --max-deliveries 3")]
    Create(New),
    /// Remove a queue, and what is in it
    ///
    /// In a supervisor: one that was made by `queue create` and that no worker uses any more.
    #[command(after_help = "Example:\n  supervisor queue rm --file /dev/shm/jobs.queue")]
    Rm(Place),
    /// Put a message; without MESSAGE: standard input
    #[command(
        after_help = "\
Example:
  supervisor queue put jobs hello
  seq 100 | supervisor queue put jobs --lines
  supervisor queue put --file /dev/shm/jobs.queue hello",
        override_usage = "supervisor queue put <QUEUE|--file PATH> [MESSAGE] [OPTIONS]"
    )]
    Put(Given),
    /// Take a message, print it, and acknowledge it once its bytes are written
    ///
    /// With --follow and a pipe for standard output a reader that has not shown to be quick is given one, two, four…
    /// messages at a time, and what it has not read when it ends goes back: `get --follow | head -1` loses nothing.
    #[command(after_help = "Example:\n  supervisor queue get results --lines --follow | grep done")]
    Get {
        /// Which queue.
        #[command(flatten)]
        place: Place,
        /// Take so many
        #[arg(short, value_name = "N", conflicts_with = "follow")]
        n: Option<u64>,
        /// Take all, until the queue is closed and drained
        #[arg(long)]
        follow: bool,
        /// A newline after each message, also when that does not go to a terminal; a message with a newline inside is
        /// written as it is, and that is said
        #[arg(long)]
        lines: bool,
        /// Until there is a message.
        #[command(flatten)]
        patience: Patience,
    },
    /// Print the next message and leave it where it is
    #[command(after_help = "Example:\n  supervisor queue peek jobs")]
    Peek(Place),
    /// Print how many messages wait in it
    #[command(after_help = "Example:\n  supervisor queue len jobs")]
    Len(Place),
    /// Exit with 0 if it is full, with 1 if it is not
    #[command(after_help = "Example:\n  supervisor queue full jobs && echo wait")]
    Full(Place),
    /// Exit with 0 if it is empty, with 1 if it is not
    #[command(after_help = "Example:\n  supervisor queue empty jobs && echo idle")]
    Empty(Place),
    /// Let nothing more be put; what is in it can still be taken
    #[command(after_help = "Example:\n  supervisor queue close jobs")]
    Close(Place),
    /// Take what is in it now, a line each
    #[command(after_help = "\
Example:
  supervisor queue drain failed > failed.txt
  supervisor queue drain jobs --dead")]
    Drain {
        /// Which queue.
        #[command(flatten)]
        place: Place,
        /// Take the messages that were given up on and have no queue to go to
        #[arg(long)]
        dead: bool,
    },
    /// Run a command for every message, until the queue is closed and drained
    #[command(after_help = "\
The message is on the command's standard input, and in $SUPERVISOR_MESSAGE when it is text under 64 KiB; how often it
has been delivered is in $SUPERVISOR_DELIVERIES. Exit 0 acknowledges it, anything else gives it back for another delivery.

Example:
  supervisor queue each jobs --jobs 4 -- sh -c 'wc -w \"$SUPERVISOR_MESSAGE\"'
  supervisor queue each urls --retries 3 --timeout 30s -- sh -c 'curl -fsSO \"$SUPERVISOR_MESSAGE\"'")]
    Each {
        /// Which queue.
        #[command(flatten)]
        place: Place,
        /// So many at a time
        #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
        jobs: u16,
        /// Give a message up after so many further deliveries: it becomes a dead letter
        #[arg(long, value_name = "N")]
        retries: Option<u32>,
        /// A command that takes longer is killed with everything below it, and the message given back
        #[arg(long, value_name = "D", value_parser = duration)]
        timeout: Option<Duration>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// Which queue.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The queue
    #[arg(required_unless_present = "file", conflicts_with = "file", value_parser = queue_name, add = ArgValueCandidates::new(completing::queues))]
    pub queue: Option<String>,
    /// The queue in this file, without a supervisor
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
}

/// What is put where.
#[derive(Debug, Args)]
pub struct Given {
    /// The queue; with --file, the message
    #[arg(required_unless_present = "file", allow_hyphen_values = true, add = ArgValueCandidates::new(completing::queues))]
    pub queue: Option<OsString>,
    /// The message
    #[arg(allow_hyphen_values = true, conflicts_with = "file")]
    pub message: Option<OsString>,
    /// The queue in this file, without a supervisor
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Put a message a line of standard input
    #[arg(long, conflicts_with = "message")]
    pub lines: bool,
    /// Until there is room.
    #[command(flatten)]
    pub patience: Patience,
}

/// A queue to be made.
#[derive(Debug, Args)]
pub struct New {
    /// Its name, or where it is.
    #[command(flatten)]
    pub place: Place,
    /// At most so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub capacity: Option<u64>,
    /// At most so much memory, for example 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_bytes: Option<u64>,
    /// The longest message, for example 1MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_message: Option<u64>,
    /// A message is given up on after so many deliveries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_deliveries: Option<u32>,
    /// The queue that takes the messages given up on
    #[arg(long, value_name = "Q", conflicts_with = "file", value_parser = queue_name)]
    pub dead_letter: Option<String>,
    /// Keep the messages on disk, where they survive the run
    #[arg(long)]
    pub durable: bool,
    /// When a message is on the disk: before the put returns (so where nothing is said), within a time, or when the
    /// system comes to it
    #[arg(long, value_name = "WHEN", requires = "durable", value_parser = one_of::<Fsync>(&["always", "interval", "never"]))]
    pub fsync: Option<Fsync>,
    /// How long a message may be only in memory, with --fsync interval: 1s where nothing is said
    #[arg(long, value_name = "D", requires = "durable", value_parser = duration)]
    pub fsync_interval: Option<Duration>,
}

/// How long to wait for a queue.
#[derive(Clone, Copy, Debug, Args)]
pub struct Patience {
    /// Do not wait: exit 6
    #[arg(long, conflicts_with = "timeout")]
    pub nowait: bool,
    /// Give up after so long: exit 7
    #[arg(long, value_name = "D", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// `4096`, `64KiB`, `1GiB`: a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => return Err("a size is a number and B, KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a size is like 4096, 64KiB or 1GiB".to_owned())?;
    number
        .checked_mul(scale)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size is more than 0 and less than 2^64 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_people_write() {
        for (text, bytes) in
            [("4096", 4096), ("64KiB", 65_536), ("2M", 2 << 20), ("1GiB", 1 << 30), ("7B", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "KiB", "0", "-1", "1.5MiB", "1TiB", "99999999999999999999", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
