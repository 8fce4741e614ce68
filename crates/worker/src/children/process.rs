//! A child that is to be started.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipc::sync::{Array, Barrier, Condition, Event, Family, Lock, RLock, Semaphore, Value};
use process::{Pid, Spawn, Stdio, environment, pidfd_open};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::child::Child;
use super::command::CommandLine;
use super::current::{CurrentProcess, current_process};
use super::errors::StartError;
use super::passing::{ARGS, BIRTH, BIRTH_PID, Birth, KWARGS, Kind, Luggage, ParentTold, SharesQueue};
use super::registry;

/// How deep children of children go. No house is so deep, but for one that a program builds by starting itself.
pub(super) const DEEPEST: usize = 32;

/// A child of this process, before it is started.
///
/// The program gets `args` as words of its command line and, with `kwargs`, as JSON in `$SUPERVISOR_ARGS` and
/// `$SUPERVISOR_KWARGS`, as a worker of a run does; written with this crate it reads them, and opens what it was passed,
/// by [`current_process`]. Its standard input is empty, its output goes where this process's goes. It has no other
/// descriptor of this process, no signal ignored or blocked, and is in the same process group: Ctrl-C reaches both.
///
/// What becomes of it when this process ends:
///
/// | | this process ends by itself | is killed with -9 |
/// |---|---|---|
/// | a child | it is waited for | lives on |
/// | a `daemon` child | it is killed | the kernel kills it |
///
/// To end by itself is to return from `main`, to call [`std::process::exit`], or a panic of the main thread. Daemons are
/// killed first, then the others are waited for, however long it takes; SIGTERM and SIGINT end that wait, and this
/// process. Children of a daemon are daemons too, so that whole families die together, from the top. A daemon that
/// becomes another user, or executes a set-user-id program, is let go by the kernel and dies only with a parent that ends
/// by itself.
///
/// For those who come from Python's `multiprocessing.Process`:
///
/// | there | here |
/// |---|---|
/// | `Process(target=…, args=…, kwargs=…, name=…, daemon=…)` | the target is a program, started afresh: nothing is forked |
/// | `start`, `pid`, `is_alive`, `terminate`, `kill` | the same; what has no pid yet is a [`Process`], what has one a [`Child`] |
/// | `join(timeout)`, then `exitcode` | [`Child::join`] answers how it ended, or why it did not wait to the end |
/// | `exitcode` -9 for signal 9 | [`Exit::Signal`](crate::Exit::Signal), which no code can be mistaken for |
/// | `sentinel` | [`Child`] is `AsFd` |
/// | `current_process`, `parent_process`, `active_children` | [`current_process`], [`CurrentProcess::parent`], [`active_children`](super::active_children) |
/// | a daemon is terminated at exit, and outlives a parent killed with -9 | it is killed in both cases |
/// | a daemon may have no children | it may have daemons |
/// | queues and locks as arguments | [`Process::queue`], [`Process::lock`], … by name, and they survive the death of anybody |
///
/// ```
/// use std::time::Duration;
/// use worker::Process;
///
/// let queue = ipc::Queue::create_anonymous("results", &ipc::QueueOptions::default())?;
/// let child = Process::new(["/bin/sh", "-c", "exit $1", "sh"])
///     .args([3])
///     .name("three")
///     .queue("results", &queue)
///     .start()?;
/// assert_eq!(child.ppid(), std::process::id());
/// assert_eq!(child.join(Duration::from_secs(60))?.code(), Some(3));
/// assert!(!child.is_alive());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Process {
    command: CommandLine,
    args: Vec<Json>,
    kwargs: Map<String, Json>,
    name: Option<String>,
    daemon: Option<bool>,
    env: Vec<(OsString, Option<OsString>)>,
    cwd: PathBuf,
    stdio: [Stdio; 3],
    luggage: Luggage,
    /// What was wrong first, told by `start`.
    wrong: Option<Wrong>,
}

#[derive(Debug)]
enum Wrong {
    Arguments(String),
    Passing { name: String, why: String },
}

impl Process {
    /// Something to start; see [`CommandLine`] for what a command can be.
    pub fn new(command: impl Into<CommandLine>) -> Process {
        Process {
            command: command.into(),
            args: Vec::new(),
            kwargs: Map::new(),
            name: None,
            daemon: None,
            env: Vec::new(),
            cwd: PathBuf::from("."),
            stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
            luggage: Luggage::default(),
            wrong: None,
        }
    }

    /// Arguments: any list or tuple. On the command line a text stands as it is, everything else as JSON.
    pub fn args(mut self, args: impl Serialize) -> Process {
        match serde_json::to_value(args) {
            Ok(Json::Array(args)) => self.args = args,
            Ok(Json::Null) => self.args = Vec::new(),
            Ok(other) => self.note(Wrong::Arguments(format!("args must be a list, not {other}"))),
            Err(error) => self.note(Wrong::Arguments(format!("args cannot be written as JSON: {error}"))),
        }
        self
    }

    /// Named arguments: any map or struct.
    pub fn kwargs(mut self, kwargs: impl Serialize) -> Process {
        match serde_json::to_value(kwargs) {
            Ok(Json::Object(kwargs)) => self.kwargs = kwargs,
            Ok(Json::Null) => self.kwargs = Map::new(),
            Ok(other) => self.note(Wrong::Arguments(format!("kwargs must be a map, not {other}"))),
            Err(error) => self.note(Wrong::Arguments(format!("kwargs cannot be written as JSON: {error}"))),
        }
        self
    }

    /// What to call it; otherwise `Process-1`, `Process-2`, and so on, and `Process-2:1` the first child of the second.
    pub fn name(mut self, name: impl Into<String>) -> Process {
        self.name = Some(name.into());
        self
    }

    /// Whether it dies with this process. Where it is not said a daemon's child is one too, and no other.
    pub fn daemon(mut self, daemon: bool) -> Process {
        self.daemon = Some(daemon);
        self
    }

    /// Sets a variable of its environment, which is otherwise a copy of this process's.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Process {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Process {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// The folder it starts in.
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Process {
        self.cwd = folder.as_ref().to_owned();
        self
    }

    /// Where its standard input comes from: a file, the reading end of a pipe.
    pub fn stdin(mut self, from: impl Into<OwnedFd>) -> Process {
        self.stdio[0] = Stdio::Fd(Arc::new(from.into()));
        self
    }

    /// Where its standard output goes: a file, the writing end of a pipe. That is closed here when this value is dropped.
    pub fn stdout(mut self, to: impl Into<OwnedFd>) -> Process {
        self.stdio[1] = Stdio::Fd(Arc::new(to.into()));
        self
    }

    /// Where its standard error goes: a file, the writing end of a pipe. That is closed here when this value is dropped.
    pub fn stderr(mut self, to: impl Into<OwnedFd>) -> Process {
        self.stdio[2] = Stdio::Fd(Arc::new(to.into()));
        self
    }

    /// Passes a queue, which the child opens by this name ([`CurrentProcess::queue`]).
    pub fn queue(mut self, name: &str, queue: &impl SharesQueue) -> Process {
        let added = self.luggage.add_queue(name, queue.shared_queue());
        self.note_passing(name, added);
        self
    }

    /// Passes a whole family of locks and the like ([`CurrentProcess::family`]).
    pub fn family(self, name: &str, family: &Family) -> Process {
        self.pass((Kind::Family, name), "", family)
    }

    /// Passes any other descriptor: a socket, the end of a pipe, a file ([`CurrentProcess::descriptor`]). The child gets
    /// a copy; this one stays open here, and so does a copy of it until this value is dropped.
    pub fn descriptor(mut self, name: &str, fd: impl AsFd) -> Process {
        let added = self.luggage.add_descriptor(name, fd.as_fd());
        self.note_passing(name, added);
        self
    }

    fn pass(mut self, named: (Kind, &str), label: &str, family: &Family) -> Process {
        let added = self.luggage.add_of_family(named, label, family);
        self.note_passing(named.1, added);
        self
    }

    fn note_passing(&mut self, name: &str, added: std::io::Result<()>) {
        if let Err(error) = added {
            self.note(Wrong::Passing { name: name.to_owned(), why: error.to_string() });
        }
    }

    fn note(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// Starts it, and returns once the program executes. May be called again, for another like it. Any thread may: the
    /// child of one that ends is no other than the child of one that stays.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; a shortage may pass.
    pub fn start(&self) -> Result<Child, StartError> {
        match &self.wrong {
            Some(Wrong::Arguments(what)) => return Err(StartError::Arguments(what.clone())),
            Some(Wrong::Passing { name, why }) => {
                return Err(StartError::Passing { name: name.clone(), why: why.clone() });
            }
            None => {}
        }
        let me = current_process();
        let is_daemon = self.daemon.unwrap_or(me.is_daemon());
        if me.is_daemon() && !is_daemon {
            return Err(StartError::OfADaemon);
        }
        let line: Vec<u32> = me.line().iter().copied().chain([registry::next_number()]).collect();
        if line.len() > DEEPEST {
            return Err(StartError::TooDeep);
        }
        let name = self.name.clone().unwrap_or_else(|| {
            let numbers: Vec<String> = line.iter().map(u32::to_string).collect();
            format!("Process-{}", numbers.join(":"))
        });
        let spawn = self.spawn(me, &name, line, is_daemon)?;
        registry::start(spawn, name, is_daemon)
    }

    fn spawn(
        &self,
        me: &CurrentProcess,
        name: &str,
        line: Vec<u32>,
        daemon: bool,
    ) -> Result<Spawn, StartError> {
        let pidfd = pidfd_open(Pid::this()).map_err(StartError::Resources)?;
        let itself = || StartError::Resources(std::io::ErrorKind::NotFound.into());
        let pidfd = pidfd.map(Arc::new).ok_or_else(itself)?;
        let parent = ParentTold { name: me.name().to_owned(), pid: me.pid(), pidfd: pidfd.as_raw_fd() };
        let birth =
            Birth { name: name.to_owned(), line, daemon, parent, passed: self.luggage.passed.clone() };
        let birth =
            serde_json::to_string(&birth).map_err(|error| StartError::Arguments(error.to_string()))?;
        let cwd = c_string(self.cwd.as_os_str())?;
        let mut spawn = Spawn::new(self.argv()?, self.environment(birth)?, cwd);
        spawn.pid_variables = vec![CString::new(BIRTH_PID).unwrap_or_default()];
        [spawn.stdin, spawn.stdout, spawn.stderr] = self.stdio.clone();
        spawn.session = false;
        spawn.parent_death = daemon.then_some(nix::sys::signal::Signal::SIGKILL as i32);
        spawn.keep(self.luggage.held.iter().cloned().chain([pidfd]));
        Ok(spawn)
    }

    fn argv(&self) -> Result<Vec<CString>, StartError> {
        let args = self.args.iter().map(|argument| match argument {
            Json::String(text) => OsString::from(text),
            other => OsString::from(other.to_string()),
        });
        let words = self.command.0.iter().cloned().chain(args);
        words.map(|word| c_string(&word)).collect()
    }

    fn environment(&self, birth: String) -> Result<Vec<CString>, StartError> {
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let ours = [
            (ARGS, Some(Json::Array(self.args.clone()).to_string())),
            (KWARGS, Some(Json::Object(self.kwargs.clone()).to_string())),
            (BIRTH, Some(birth)),
            // The child writes its own.
            (BIRTH_PID, None),
        ];
        let ours = ours.map(|(name, value)| (OsString::from(name), value.map(OsString::from)));
        for (name, _) in &self.env {
            if ours.iter().any(|(known, _)| known == name) {
                let what = format!(
                    "the variable {} is not for .env: it says what .args and the like do",
                    name.display()
                );
                return Err(StartError::Command(what));
            }
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(StartError::Command(format!("{name:?} is no name of a variable")));
            }
        }
        for (name, value) in self.env.iter().cloned().chain(ours) {
            variables.retain(|(known, _)| *known != name);
            variables.extend(value.map(|value| (name, value)));
        }
        if let Some((name, _)) = variables.iter().find(|(name, value)| !is_clean(name) || !is_clean(value)) {
            let what = format!("the variable {name:?} of its environment holds a zero byte");
            return Err(StartError::Command(what));
        }
        Ok(environment(variables))
    }
}

fn is_clean(text: &OsStr) -> bool {
    !text.as_bytes().contains(&0)
}

fn c_string(text: &OsStr) -> Result<CString, StartError> {
    let refused = |_| StartError::Command(format!("{text:?} holds a zero byte"));
    CString::new(text.to_owned().into_vec()).map_err(refused)
}

macro_rules! passes {
    ($($method:ident: $type:ty, $kind:expr, $what:literal;)*) => {
        impl Process {
            $(
                #[doc = concat!("Passes ", $what, ", which the child finds by this name ([`CurrentProcess::",
                    stringify!($method), "`]).")]
                pub fn $method(mut self, name: &str, one: &$type) -> Process {
                    let family = one.family();
                    // A number of an array has the array's name, and none of its own to be found by.
                    if family.$method(one.name()).is_err() {
                        let why = "it is part of an array, which can be passed as a whole";
                        self.note(Wrong::Passing { name: name.to_owned(), why: why.into() });
                        return self;
                    }
                    self.pass(($kind, name), one.name(), &family)
                }
            )*
        }
    };
}

passes! {
    lock: Lock, Kind::Lock, "a lock";
    rlock: RLock, Kind::RLock, "a recursive lock";
    semaphore: Semaphore, Kind::Semaphore, "a semaphore";
    event: Event, Kind::Event, "an event";
    barrier: Barrier, Kind::Barrier, "a barrier";
    condition: Condition, Kind::Condition, "a condition";
    value: Value, Kind::Value, "a value";
    array: Array, Kind::Array, "an array";
}
