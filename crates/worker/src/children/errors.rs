//! What can go wrong with a child of one's own.

use std::fmt;
use std::io;

use process::SpawnError;

/// Why a child was not started. Nothing is left of the attempt.
#[derive(Debug)]
pub enum StartError {
    /// The machine, or this user, is short of processes, memory or descriptors: the same may succeed later.
    Shortage(SpawnError),
    /// The program cannot be executed, or not like this.
    Spawn(SpawnError),
    /// `args` are no list, or `kwargs` no object, or either cannot be written as JSON.
    Arguments(String),
    /// The command is empty, or a word of it, or of the environment, holds a zero byte.
    Command(String),
    /// A queue or family cannot be passed: two have the same name, or there are no descriptors left.
    Passing {
        /// The name it was to have in the child.
        name: String,
        /// Why.
        why: String,
    },
    /// This process is a daemon, which must be able to die at any moment, and a child that is none would be left behind.
    OfADaemon,
    /// This process is the child of a child of a child, and so on, as deep as any may be: most likely a program that starts
    /// itself without looking whether it is the child.
    TooDeep,
    /// This process is ending: it waits for its children and starts no more.
    Ending,
    /// The thread that starts children, or a descriptor for the child to know its parent by, cannot be had.
    Resources(io::Error),
}

impl StartError {
    /// Whether the same may succeed later: the limit of processes, memory or descriptors was reached.
    pub fn is_shortage(&self) -> bool {
        matches!(self, StartError::Shortage(_) | StartError::Resources(_))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Shortage(error) => write!(f, "{error}; wait for children to end and try again"),
            StartError::Spawn(error) if error.errno == process::Errno::E2BIG => {
                write!(f, "{error}; pass what is large through a queue")
            }
            StartError::Spawn(error) if error.errno == process::Errno::ENOENT && error.what.contains(' ') => {
                write!(
                    f,
                    "{error} (a line is not split into words: pass a list, or [\"/bin/sh\", \"-c\", line])"
                )
            }
            StartError::Spawn(error) => write!(f, "{error}"),
            StartError::Arguments(what) | StartError::Command(what) => f.write_str(what),
            StartError::Passing { name, why } => write!(f, "{name:?} cannot be passed to a child: {why}"),
            StartError::OfADaemon => {
                f.write_str("a daemon process may have daemon children only; say .daemon(true), or nothing")
            }
            StartError::TooDeep => write!(
                f,
                "children of children, {} deep: a program that starts itself must look whether it is the child \
                 (current_process().parent())",
                super::process::DEEPEST
            ),
            StartError::Ending => f.write_str("this process is ending and starts no more children"),
            StartError::Resources(error) => write!(f, "nothing to start a child with: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Shortage(error) | StartError::Spawn(error) => Some(error),
            StartError::Resources(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> StartError {
        if error.is_shortage() { StartError::Shortage(error) } else { StartError::Spawn(error) }
    }
}

/// Why waiting for a process did not end with its exit.
#[derive(Debug, PartialEq, Eq)]
pub enum WaitError {
    /// It was alive all the time.
    Timeout,
    /// This process was asked to stop while it waited; see [`stop_requested`](crate::stop_requested).
    Interrupted,
    /// It has ended, but something else in this program took its exit (`waitpid` for any child, an ignored `SIGCHLD`),
    /// and this kernel keeps no record.
    Lost,
    /// The kernel has no more memory or descriptors to wait with.
    System(process::Errno),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Timeout => f.write_str("timed out"),
            WaitError::Interrupted => f.write_str("interrupted: asked to stop"),
            WaitError::Lost => {
                f.write_str("it has ended, but its exit was taken by another part of this program")
            }
            WaitError::System(errno) => write!(f, "cannot wait: {}", errno.desc()),
        }
    }
}

impl std::error::Error for WaitError {}
