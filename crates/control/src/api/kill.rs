//! Sending signals, and what is known of processes.

use serde::{Deserialize, Deserializer, Serialize};

use super::Who;
use crate::names;

/// Which signal goes to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Whom.
    pub whom: Who,
    /// The signal's number.
    #[serde(default = "term", deserialize_with = "signal")]
    pub signal: i32,
    /// Also everything below it: all are stopped first, get the signal, and go on; nobody slips away.
    #[serde(default)]
    pub tree: bool,
    /// Who of a tree gets it first.
    #[serde(default)]
    pub order: KillOrder,
    /// When set: KILL follows after so many milliseconds, to whatever lives then, again and again until nothing does.
    /// The answer comes when it is gone.
    #[serde(default)]
    pub grace_ms: Option<u64>,
    /// Answer when it is gone, and not before.
    #[serde(default)]
    pub wait: bool,
    /// Give up waiting after so many milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Also a pid outside the run.
    #[serde(default)]
    pub foreign: bool,
    /// Send nothing, and tell who would get it.
    #[serde(default)]
    pub dry_run: bool,
}

impl Kill {
    /// `TERM` to this one alone.
    pub fn of(whom: Who) -> Kill {
        Kill {
            whom,
            signal: term(),
            tree: false,
            order: KillOrder::default(),
            grace_ms: None,
            wait: false,
            timeout_ms: None,
            foreign: false,
            dry_run: false,
        }
    }
}

/// Who of a tree gets a signal first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillOrder {
    /// Everybody before its parent.
    #[default]
    LeavesFirst,
    /// Everybody after its parent.
    RootFirst,
}

/// The answer to [`Request::Kill`](super::Request::Kill): which pids got the signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Killed {
    /// The pids, in the order in which they got it; with `dry_run`: would get it.
    pub pids: Vec<i32>,
    /// The signal's number.
    pub signal: i32,
    /// Pids of the tree that this supervisor may not signal.
    #[serde(default)]
    pub refused: Vec<i32>,
    /// With `dry_run`: who they are, in the same order; else empty.
    #[serde(default)]
    pub processes: Vec<ProcessRow>,
}

/// One row of the answer to [`Request::Ps`](super::Request::Ps): a process of the run. The supervisor comes first, its
/// worker null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// Its pid.
    pub pid: i32,
    /// Its parent.
    pub ppid: i32,
    /// The worker it belongs to; null for the supervisor itself.
    pub worker: Option<String>,
    /// The instance it belongs to.
    pub instance: Option<u32>,
    /// The launch it belongs to.
    pub launch: Option<u64>,
    /// How many steps below the supervisor: 0 for itself.
    pub depth: u32,
    /// Its command line.
    pub command: String,
    /// What it is at, as one letter: `R` running, `S` sleeping, `D` in an uninterruptible sleep, `T` stopped, `t` traced,
    /// `Z` a zombie, `I` idle.
    pub state: String,
    /// How long ago it was started, in seconds.
    pub age_s: f64,
    /// What it has had of the processors, in seconds.
    pub cpu_s: f64,
    /// How much of it is in memory, in bytes; what it shares with others counts in full.
    pub memory_bytes: u64,
    /// How many threads it has.
    pub threads: u32,
}

fn term() -> i32 {
    nix::sys::signal::SIGTERM as i32
}

fn signal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i32),
        Name(String),
    }
    let (number, shown) = match Either::deserialize(deserializer)? {
        Either::Number(number) => (names::is_signal(number).then_some(number), number.to_string()),
        Either::Name(name) => (names::signal_number(&name), name),
    };
    number.ok_or_else(|| serde::de::Error::custom(format!("no signal is called {shown:?}")))
}
