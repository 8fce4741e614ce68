//! Which children this process has, and what becomes of them when it ends.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Spawn, Spawned, Spawner};

use super::child::Child;
use super::errors::StartError;
use crate::stopping::StopFlag;

/// How long the end of the process waits for children that are being started by other threads. A start that takes
/// longer hangs in the kernel, on a program that lies on a disk which does not answer.
const STARTS_TAKE: Duration = Duration::from_secs(10);

static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());
static A_START_IS_OVER: Condvar = Condvar::new();
/// Whose registry it is: the child of a fork has a copy of it, and no children.
static OWNER: AtomicU32 = AtomicU32::new(0);

struct Registry {
    children: Vec<Child>,
    /// How many were ever started, for names.
    count: u32,
    starting: u32,
    is_ending: bool,
}

impl Registry {
    const fn new() -> Registry {
        Registry { children: Vec::new(), count: 0, starting: 0, is_ending: false }
    }
}

fn lock() -> MutexGuard<'static, Registry> {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let me = std::process::id();
    if OWNER.swap(me, Ordering::AcqRel) != me {
        *registry = Registry::new();
    }
    registry
}

/// The children of this process that are alive. Takes the exits of the others: none is left as a zombie.
///
/// ```
/// let child = worker::Process::new("sleep").args(["1000"]).start()?;
/// assert!(worker::active_children().iter().any(|one| one.pid() == child.pid()));
/// child.kill()?;
/// child.join(None)?;
/// assert!(!worker::active_children().iter().any(|one| one.pid() == child.pid()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn active_children() -> Vec<Child> {
    let mut registry = lock();
    registry.children.retain(|child| !child.is_settled());
    registry.children.clone()
}

/// The next child's number, from 1.
pub(super) fn next_number() -> u32 {
    let mut registry = lock();
    registry.count += 1;
    registry.count
}

/// Starts a program as a child that this process knows of.
pub(super) fn start(spawn: Spawn, name: String, is_daemon: bool) -> Result<Child, StartError> {
    static AT_END: Once = Once::new();
    let _starting = Starting::begin()?;
    AT_END.call_once(|| {
        // Without a place for it nobody is waited for; there are 32 at least, and further ones while there is memory.
        let _ = process::at_exit(at_end);
    });
    let child = Child::of(spawn_on_its_thread(spawn)?, name, is_daemon);
    lock().children.push(child.clone());
    Ok(child)
}

/// A start that the end of the process waits for.
struct Starting;

impl Starting {
    fn begin() -> Result<Starting, StartError> {
        let mut registry = lock();
        if registry.is_ending {
            return Err(StartError::Ending);
        }
        registry.children.retain(|child| !child.is_settled());
        registry.starting += 1;
        Ok(Starting)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        lock().starting -= 1;
        A_START_IS_OVER.notify_all();
    }
}

/// Starts it from the one thread that starts all, one after the other.
fn spawn_on_its_thread(spawn: Spawn) -> Result<Spawned, StartError> {
    static SPAWNER: Mutex<Option<(u32, Spawner)>> = Mutex::new(None);
    let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    let me = std::process::id();
    let spawner = match &mut *spawner {
        Some((owner, spawner)) if *owner == me => spawner,
        none => &mut none.insert((me, Spawner::start(1).map_err(StartError::Resources)?)).1,
    };
    spawner.submit(0, spawn);
    loop {
        if let Some((_, result)) = spawner.poll() {
            return Ok(result?);
        }
        // It answers when the program executes, or cannot.
        let _ = poll(&mut [PollFd::new(spawner.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
    }
}

/// Ends the daemons and waits for all others.
extern "C" fn at_end() {
    if OWNER.load(Ordering::Acquire) != std::process::id() {
        return;
    }
    // A child may be waiting for the very message that this process got last; the work is done.
    ipc::acknowledge_got();
    let stop = StopFlag::of_this_process();
    stop.let_go();
    let (daemons, others): (Vec<Child>, Vec<Child>) = close().into_iter().partition(Child::is_daemon);
    for daemon in &daemons {
        let _ = daemon.kill();
    }
    for child in others.iter().chain(&daemons) {
        // Whatever hinders, there is nobody left to tell.
        let _ = child.wait(None, None);
    }
}

/// Lets no more children be started, and says which there are.
fn close() -> Vec<Child> {
    let mut registry = lock();
    registry.is_ending = true;
    let (mut registry, _) = A_START_IS_OVER
        .wait_timeout_while(registry, STARTS_TAKE, |registry| registry.starting > 0)
        .unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut registry.children)
}
