//! Who this process is, and what it was given.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ipc::sync::{Array, Barrier, Condition, Event, Family, Lock, NoSuch, RLock, Semaphore, Value};
use process::is_dead;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::sleep_until_ended;
use super::errors::WaitError;
use super::passing::{ARGS, BIRTH, BIRTH_PID, Birth, KWARGS, Kind, Passed, PassedError, file_of, hex};
use crate::queue::{BytesQueue, Queue};
use crate::stopping::StopFlag;

/// This process: the main one of a program, or one that was started by a [`Process`](super::Process) of another.
///
/// What it was given is opened when it is asked for, by the name it was passed under.
#[derive(Debug)]
pub struct CurrentProcess {
    birth: Option<Birth>,
    /// Whether the birth is this process's own, and not that of one that started it.
    is_mine: bool,
    parent: Option<Parent>,
    families: Mutex<HashMap<String, Family>>,
}

/// The process that started this one with a [`Process`](super::Process).
#[derive(Debug)]
pub struct Parent {
    name: String,
    pid: u32,
    pidfd: OwnedFd,
}

/// Who this process is.
///
/// ```
/// let me = worker::current_process();
/// assert_eq!((me.name(), me.pid()), ("MainProcess", std::process::id()));
/// assert!(me.parent().is_none());
/// ```
pub fn current_process() -> &'static CurrentProcess {
    static ME: OnceLock<CurrentProcess> = OnceLock::new();
    ME.get_or_init(CurrentProcess::from_environment)
}

impl CurrentProcess {
    fn from_environment() -> CurrentProcess {
        let birth: Option<Birth> =
            std::env::var(BIRTH).ok().and_then(|text| serde_json::from_str(&text).ok());
        let is_mine = std::env::var(BIRTH_PID).is_ok_and(|pid| pid == std::process::id().to_string());
        let parent = birth.as_ref().filter(|_| is_mine).and_then(|birth| {
            let pidfd = process::inherited(birth.parent.pidfd).ok()?;
            Some(Parent { name: birth.parent.name.clone(), pid: birth.parent.pid, pidfd })
        });
        if is_mine {
            // What this process starts by other means does not get them.
            birth.iter().flat_map(|birth| &birth.passed).for_each(|passed| drop(passed.inherited()));
        }
        CurrentProcess { birth, is_mine, parent, families: Mutex::default() }
    }

    fn own_birth(&self) -> Option<&Birth> {
        self.birth.as_ref().filter(|_| self.is_mine)
    }

    /// The name it was started under; `MainProcess` for one that no [`Process`](super::Process) started.
    pub fn name(&self) -> &str {
        self.own_birth().map_or("MainProcess", |birth| &birth.name)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The pid of its parent at this moment: another one's than [`CurrentProcess::parent`] when that has died.
    pub fn ppid(&self) -> u32 {
        std::os::unix::process::parent_id()
    }

    /// Whether it dies with its parent.
    pub fn is_daemon(&self) -> bool {
        self.own_birth().is_some_and(|birth| birth.daemon)
    }

    /// The process that started it, alive or dead; `None` for a main process.
    pub fn parent(&self) -> Option<&Parent> {
        self.parent.as_ref()
    }

    /// Which child of which child it is; nothing for a main process.
    pub(super) fn line(&self) -> &[u32] {
        self.own_birth().map_or(&[], |birth| &birth.line)
    }

    /// The `args` it was started with, as any type that a JSON list can be: a tuple, a `Vec`. Those of the config for a
    /// worker of a run; none for a main process.
    ///
    /// # Errors
    ///
    /// When they are not of that type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&std::env::var(ARGS).unwrap_or_else(|_| "[]".into()))
    }

    /// The `kwargs` it was started with, as any type that a JSON object can be: a struct, a map.
    ///
    /// # Errors
    ///
    /// When they are not of that type.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&std::env::var(KWARGS).unwrap_or_else(|_| "{}".into()))
    }

    /// The queue that was passed under this name, its messages values of `T` written as JSON.
    ///
    /// # Errors
    ///
    /// See [`PassedError`].
    pub fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>, PassedError> {
        self.queue_bytes(name).map(Queue::over)
    }

    /// The queue that was passed under this name, its messages bytes.
    ///
    /// # Errors
    ///
    /// See [`PassedError`].
    pub fn queue_bytes(&self, name: &str) -> Result<BytesQueue, PassedError> {
        let passed = self.find(Kind::Queue, name)?;
        let opened = ipc::Queue::from_fd(passed.inherited()?);
        let queue = opened.map_err(|why| PassedError::Open { name: name.to_owned(), why })?;
        if hex(queue.uuid()) != passed.uuid {
            return Err(PassedError::Gone { name: name.to_owned() });
        }
        Ok(queue.into())
    }

    /// The family of locks and the like that was passed under this name. Clones of it, and what is taken of it, are one
    /// participant.
    ///
    /// # Errors
    ///
    /// See [`PassedError`].
    pub fn family(&self, name: &str) -> Result<Family, PassedError> {
        self.open_family(self.find(Kind::Family, name)?)
    }

    /// A copy of the descriptor that was passed under this name.
    ///
    /// # Errors
    ///
    /// See [`PassedError`].
    pub fn descriptor(&self, name: &str) -> Result<OwnedFd, PassedError> {
        let passed = self.find(Kind::Descriptor, name)?;
        let copy = passed.inherited()?;
        let file = passed.uuid.split(' ').next();
        match file_of(copy.as_fd()) {
            Ok(found) if Some(found.as_str()) == file => Ok(copy),
            _ => Err(PassedError::Gone { name: name.to_owned() }),
        }
    }

    fn find(&self, kind: Kind, name: &str) -> Result<&Passed, PassedError> {
        let of_this_kind =
            || self.birth.iter().flat_map(|birth| &birth.passed).filter(|one| one.kind == kind);
        of_this_kind().find(|one| one.name == name).ok_or_else(|| PassedError::Unknown {
            kind: kind.word(),
            name: name.to_owned(),
            known: of_this_kind().map(|one| one.name.clone()).collect(),
        })
    }

    fn open_family(&self, passed: &Passed) -> Result<Family, PassedError> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = families.get(&passed.uuid) {
            return Ok(family.clone());
        }
        let opened = Family::from_fd(passed.inherited()?);
        let family = opened.map_err(|why| PassedError::Open { name: passed.name.clone(), why })?;
        if hex(family.uuid()) != passed.uuid {
            return Err(PassedError::Gone { name: passed.name.clone() });
        }
        // For those who are told of a circle of waiting processes.
        let _ = family.set_label(self.name());
        StopFlag::of_this_process().interrupts(&family);
        families.insert(passed.uuid.clone(), family.clone());
        Ok(family)
    }
}

macro_rules! passed_by_name {
    ($($method:ident: $type:ty, $kind:expr, $what:literal;)*) => {
        impl CurrentProcess {
            $(
                #[doc = concat!("The ", $what, " that was passed under this name.")]
                ///
                /// # Errors
                ///
                /// See [`PassedError`].
                pub fn $method(&self, name: &str) -> Result<$type, PassedError> {
                    let passed = self.find($kind, name)?;
                    let found = self.open_family(passed)?.$method(&passed.label);
                    // The family is the very one it was passed of, so that this cannot be.
                    found.map_err(|NoSuch { .. }| PassedError::Gone { name: name.to_owned() })
                }
            )*
        }
    };
}

passed_by_name! {
    lock: Lock, Kind::Lock, "lock";
    rlock: RLock, Kind::RLock, "recursive lock";
    semaphore: Semaphore, Kind::Semaphore, "semaphore";
    event: Event, Kind::Event, "event";
    barrier: Barrier, Kind::Barrier, "barrier";
    condition: Condition, Kind::Condition, "condition";
    value: Value, Kind::Value, "value";
    array: Array, Kind::Array, "array";
}

impl Passed {
    fn inherited(&self) -> Result<OwnedFd, PassedError> {
        let is_gone = |_: io::Error| PassedError::Gone { name: self.name.clone() };
        process::inherited(self.fd).map_err(is_gone)
    }
}

impl Parent {
    /// Its name: `MainProcess` for a main one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid. It may mean somebody else once the parent has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended yet; it is held by descriptor, and never another that got its pid.
    pub fn is_alive(&self) -> bool {
        !is_dead(self.pidfd.as_fd())
    }

    /// Waits until it has ended, at most so long; how it ended is for its own parent to know.
    ///
    /// # Errors
    ///
    /// [`WaitError::Timeout`], [`WaitError::Interrupted`].
    pub fn join(&self, timeout: impl Into<Option<Duration>>) -> Result<(), WaitError> {
        let deadline = timeout.into().and_then(|timeout| Instant::now().checked_add(timeout));
        while self.is_alive() {
            sleep_until_ended(self.pidfd.as_fd(), deadline, Some(&StopFlag::of_this_process()))?;
        }
        Ok(())
    }
}
