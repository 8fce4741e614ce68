//! What went wrong with a spawn.

use std::fmt;

use nix::errno::Errno;

/// What was being done when a spawn failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Making the process.
    Clone = 1,
    /// Leading a session.
    Session,
    /// Setting a resource limit.
    Limit,
    /// Setting the niceness.
    Nice,
    /// Setting the priority of input and output.
    IoPriority,
    /// Setting how soon the kernel kills it when memory is short.
    OomScore,
    /// Choosing processors.
    Processors,
    /// Making its cgroup, or entering it.
    Cgroup,
    /// Mounting its own temporary folder.
    Mount,
    /// Giving up ever gaining rights.
    NoNewPrivileges,
    /// Changing user and groups.
    Credentials,
    /// Entering the folder.
    Chdir,
    /// Asking for the signal at this process's death.
    ParentDeath,
    /// Putting descriptors 0, 1 and 2 in place and closing the others.
    Stdio,
    /// Executing the program.
    Exec,
    /// Executing a file that exists but names, in its first line or as its loader, a program that does not.
    Interpreter,
}

impl Stage {
    const ALL: [Self; 16] = [
        Self::Clone,
        Self::Session,
        Self::Limit,
        Self::Nice,
        Self::IoPriority,
        Self::OomScore,
        Self::Processors,
        Self::Cgroup,
        Self::Mount,
        Self::NoNewPrivileges,
        Self::Credentials,
        Self::Chdir,
        Self::ParentDeath,
        Self::Stdio,
        Self::Exec,
        Self::Interpreter,
    ];

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as u8 == number)
    }
}

/// A program could not be started. No process is left of the attempt.
///
/// Reads `exec ./nothere: No such file or directory`, `chdir /x: Permission denied`, `exec foo: not found in PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnError {
    /// What was being done.
    pub stage: Stage,
    /// What the kernel said.
    pub errno: Errno,
    /// What it was done with, and more words where the kernel's do not tell enough.
    pub what: String,
}

impl SpawnError {
    pub(super) fn new(stage: Stage, errno: Errno, what: impl Into<String>) -> Self {
        Self { stage, errno, what: what.into() }
    }

    /// Whether the same attempt may succeed later: the machine was short of processes, memory or descriptors.
    pub fn is_shortage(&self) -> bool {
        matches!(self.errno, Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.stage {
            Stage::Clone => "start a process",
            Stage::Session => "setsid",
            Stage::Limit => "set limit",
            Stage::Nice => "nice",
            Stage::IoPriority => "ionice",
            Stage::OomScore => "oom_score_adj",
            Stage::Processors => "choose processors",
            Stage::Cgroup => "cgroup:",
            Stage::Mount => "mount",
            Stage::NoNewPrivileges => "no_new_privs",
            Stage::Credentials => "become user",
            Stage::Chdir => "chdir",
            Stage::ParentDeath => "ask for a signal at the supervisor's death",
            Stage::Stdio => "redirect",
            Stage::Exec | Stage::Interpreter => "exec",
        };
        f.write_str(doing)?;
        if !self.what.is_empty() {
            write!(f, " {}", self.what)?;
        }
        match (self.stage, self.errno) {
            (Stage::Interpreter, _) => f.write_str(": the file is there, the interpreter it names is not"),
            (Stage::Exec, Errno::ENOENT) if !self.what.contains('/') => f.write_str(": not found in PATH"),
            (_, Errno::EAGAIN) => f.write_str(": the limit of processes is reached (ulimit -u, pids.max)"),
            (_, errno) => write!(f, ": {}", errno.desc()),
        }
    }
}

impl std::error::Error for SpawnError {}
