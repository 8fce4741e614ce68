//! Locks, semaphores, events, values, arrays, barriers and conditions of a run: those that the config names, and those that
//! somebody created since.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let me = worker::join()?;
//! let total = me.value("total")?;
//! let guard = me.lock("ledger")?.acquire()?;
//! if let Some(dead) = guard.recovered() {
//!     eprintln!("pid {} died with the ledger open; looking through it first", dead.pid);
//! }
//! total.set(total.get() + 1); // nobody comes in between
//! drop(guard);
//! # Ok(())
//! # }
//! ```
//!
//! They mean what Python's `multiprocessing` means by them, and more where somebody dies: what a process holds is handed
//! on the moment it is dead, and processes that wait for each other's locks in a circle get an error that names them all
//! ([`LockError::Deadlock`]) instead of waiting for ever. A wait ends with `Interrupted` when this worker is asked to
//! stop, once it listens to that ([`Me::stop_requested`]).

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use control::api::{Request, SyncHandle, SyncRequest};
use control::{Client, ClientError};
use ipc::OpenError;

use crate::me::Me;
use crate::wire::SyncGrant;

pub use ipc::sync::{
    AcquireError, AcquireTimeoutError, Array, Barrier, BarrierError, BarrierTimeoutError, Condition,
    DeadHolder, Deadlock, Event, Family, Guard, Link, Lock, LockError, LockTimeoutError, NoSuch, Passed,
    Permit, RLock, ReleaseError, Semaphore, TryAcquireError, TryLockError, Value, WaitError,
    WaitTimeoutError,
};

/// Why a lock, or its like, cannot be used.
#[derive(Debug)]
pub enum SyncError {
    /// The run has none of that name.
    Unknown(NoSuch),
    /// Their memory cannot be opened.
    Open(OpenError),
    /// Their memory is not where it was, and the supervisor did not say where it is now.
    Supervisor(ClientError),
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncError::Unknown(unknown) => write!(f, "{unknown}"),
            SyncError::Open(why) => write!(f, "locks and their like cannot be opened: {why}"),
            SyncError::Supervisor(why) => write!(f, "locks and their like cannot be found: {why}"),
        }
    }
}

impl std::error::Error for SyncError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SyncError::Unknown(unknown) => Some(unknown),
            SyncError::Open(why) => Some(why),
            SyncError::Supervisor(why) => Some(why),
        }
    }
}

impl From<NoSuch> for SyncError {
    fn from(unknown: NoSuch) -> SyncError {
        SyncError::Unknown(unknown)
    }
}

/// Where the locks are, opened when the first of them is asked for.
#[derive(Debug)]
pub(crate) struct MeetingPoint {
    grant: Option<SyncGrant>,
    family: Mutex<Option<Family>>,
}

impl MeetingPoint {
    /// Where the supervisor said; `None`: it is to be asked.
    pub(crate) fn new(grant: Option<SyncGrant>) -> MeetingPoint {
        MeetingPoint { grant, family: Mutex::new(None) }
    }
}

impl Me {
    /// A lock of the run: at most one thread of all processes holds it.
    ///
    /// [`Lock::acquire`] waits, [`Lock::try_acquire`] does not, [`Lock::acquire_timeout`] waits so long; each gives a
    /// [`Guard`], and the lock is free when that goes out of scope or its process dies. Who gets it from the dead is told
    /// ([`Guard::recovered`]).
    ///
    /// # Errors
    ///
    /// When the run has no lock of that name, or its memory cannot be opened.
    pub fn lock(&self, name: &str) -> Result<Lock, SyncError> {
        Ok(self.primitives()?.lock(name)?)
    }

    /// A recursive lock of the run: the thread that holds it may take it again, and lets go of it as often.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn rlock(&self, name: &str) -> Result<RLock, SyncError> {
        Ok(self.primitives()?.rlock(name)?)
    }

    /// A semaphore of the run: so many may hold it at once.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn semaphore(&self, name: &str) -> Result<Semaphore, SyncError> {
        Ok(self.primitives()?.semaphore(name)?)
    }

    /// An event of the run: set or not, and to be waited for.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn event(&self, name: &str) -> Result<Event, SyncError> {
        Ok(self.primitives()?.event(name)?)
    }

    /// A number of the run. Each single operation is whole; a lock makes several into one.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn value(&self, name: &str) -> Result<Value, SyncError> {
        Ok(self.primitives()?.value(name)?)
    }

    /// An array of numbers of the run; each single operation on one of them ([`Array::at`]) is whole.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn array(&self, name: &str) -> Result<Array, SyncError> {
        Ok(self.primitives()?.array(name)?)
    }

    /// A barrier of the run: nobody passes until as many have come as it waits for.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn barrier(&self, name: &str) -> Result<Barrier, SyncError> {
        Ok(self.primitives()?.barrier(name)?)
    }

    /// A condition of the run, to be used with any of its locks: [`Condition::wait`] lets go of the lock, sleeps until
    /// somebody notifies, and takes the lock again.
    ///
    /// # Errors
    ///
    /// As [`Me::lock`].
    pub fn condition(&self, name: &str) -> Result<Condition, SyncError> {
        Ok(self.primitives()?.condition(name)?)
    }

    /// All of them, as one family.
    ///
    /// # Errors
    ///
    /// When their memory cannot be opened.
    pub fn primitives(&self) -> Result<Family, SyncError> {
        let mut opened = self.meeting_point.family.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = &*opened {
            return Ok(family.clone());
        }
        let granted = self.meeting_point.grant.as_ref();
        let family = match granted.map(|SyncGrant { path, uuid }| open(path, uuid)) {
            Some(Ok(Some(family))) => family,
            // A supervisor that was killed, and whose place another has taken, keeps nothing where it said.
            None | Some(Ok(None) | Err(_)) => ask(&self.socket)?,
        };
        // A name helps those who are told of a deadlock; without it they are told the program's.
        let _ = family.set_label(&format!("{}:{}", self.name(), self.instance()));
        self.stop.interrupts(&family);
        *opened = Some(family.clone());
        Ok(family)
    }
}

/// Asks the supervisor where it is, or for its memory.
fn ask(socket: &Path) -> Result<Family, SyncError> {
    let mut client = Client::connect(socket).map_err(SyncError::Supervisor)?;
    let asked = Request::Sync(SyncRequest::Handle(None));
    let (SyncHandle { path, .. }, handed) =
        client.call_with_descriptors(&asked).map_err(SyncError::Supervisor)?;
    match (path, handed.into_iter().next()) {
        (Some(path), _) => Family::open(path).map_err(SyncError::Open),
        (None, Some(memory)) => Family::from_fd(memory).map_err(SyncError::Open),
        (None, None) => {
            Err(SyncError::Supervisor(ClientError::Broken("no descriptor came with it".to_owned())))
        }
    }
}

/// The family there, if it is the one that is meant.
fn open(path: &str, uuid: &str) -> Result<Option<Family>, OpenError> {
    let family = Family::open(path)?;
    let found: String = family.uuid().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(family).filter(|_| found == uuid))
}
