//! Threads that do nothing but spawn.
//!
//! ```text
//!   submit ─► waiting spawns ─► spawner thread ─ clone, exec ─► results ─► eventfd ─► poll
//! ```
//!
//! They exist for two reasons. A child belongs to the thread that made it, so that the main thread's own children are
//! adopted orphans only. And the signal at a parent's death comes when that *thread* dies, so these never do.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::abort;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::spawn::{BlockedSignals, Ground, Spawn, SpawnError, Spawned};

/// Formatting an error is the deepest that a spawner thread goes.
const STACK_BYTES: usize = 128 * 1024;

/// Starts programs on threads of its own and tells the results in the order of their completion.
///
/// Readable (see [`AsFd`]) exactly while a result waits. What is submitted waits without a bound of its own: the caller
/// decides how many programs it wants.
///
/// The end of each child also raises `SIGCHLD`, which spawner threads leave to others; what is to be believed is the
/// pidfd.
///
/// Dropping it ends no thread: programs may be bound to die with theirs. What was submitted is still started, and its
/// pidfd then closed.
///
/// ```
/// use process::{Spawn, Spawner, environment};
///
/// let spawner = Spawner::start(1)?;
/// spawner.submit(7, Spawn::new(vec![c"/bin/true".into()], environment([]), c"/".into()));
/// let (ticket, result) = loop {
///     // A real loop sleeps in epoll until the spawner is readable.
///     if let Some(result) = spawner.poll() {
///         break result;
///     }
/// };
/// assert_eq!(ticket, 7);
/// let child = result.unwrap();
/// # while process::wait_leader(std::os::fd::AsFd::as_fd(&child.pidfd))?.is_none() {}
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
}

type Outcome = (u64, Result<Spawned, SpawnError>);

#[derive(Debug)]
struct Shared {
    orders: Mutex<Waiting>,
    /// Woken once for each order that finds a thread asleep.
    order: Condvar,
    results: Mutex<VecDeque<Outcome>>,
    /// Readable exactly while `results` is not empty; written and read under its lock.
    readable: EventFd,
}

#[derive(Debug, Default)]
struct Waiting {
    spawns: VecDeque<(u64, Spawn)>,
    /// Threads asleep that nobody has woken yet.
    asleep: usize,
}

impl Spawner {
    /// Starts this many threads, at least one. Two keep two processors busy with exec; more gain little.
    ///
    /// # Errors
    ///
    /// When threads or the eventfd can not be had.
    pub fn start(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            order: Condvar::new(),
            results: Mutex::default(),
            readable: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        });
        // Threads inherit the mask: no signal of the process is ever handled on a spawner.
        let _blocked = BlockedSignals::all();
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            // Here and not over there, while low descriptors are sure to be free.
            let ground = Ground::prepare()?;
            thread::Builder::new().name(format!("spawner-{number}")).stack_size(STACK_BYTES).spawn(
                move || {
                    ground.settle();
                    shared.serve()
                },
            )?;
        }
        Ok(Self { shared })
    }

    /// Hands over one program to start; its result carries the same ticket. Wakes at most one thread and never waits
    /// for a spawn.
    pub fn submit(&self, ticket: u64, spawn: Spawn) {
        let mut waiting = lock(&self.shared.orders);
        waiting.spawns.push_back((ticket, spawn));
        let wake = waiting.asleep > 0;
        if wake {
            waiting.asleep -= 1;
        }
        // Unlocked first, so that the woken thread does not run into our lock.
        drop(waiting);
        if wake {
            self.shared.order.notify_one();
        }
    }

    /// The next result, if one waits.
    pub fn poll(&self) -> Option<(u64, Result<Spawned, SpawnError>)> {
        let mut results = lock(&self.shared.results);
        let result = results.pop_front()?;
        if results.is_empty() {
            // It was written when the first of these came; nothing to read would do no harm.
            let _ = self.shared.readable.read();
        }
        Some(result)
    }
}

impl AsFd for Spawner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.readable.as_fd()
    }
}

impl Shared {
    fn serve(&self) -> ! {
        /// A spawner that ended would take programs with it that are to die with their parent; better all at once and
        /// seen than some and unseen.
        struct NeverEnds;
        impl Drop for NeverEnds {
            fn drop(&mut self) {
                abort();
            }
        }
        let _never_ends = NeverEnds;
        loop {
            let (ticket, spawn) = self.next_order();
            let result = spawn.spawn();
            // Closing the descriptors it was given is work too, and done before anybody hears of the child.
            drop(spawn);
            let mut results = lock(&self.results);
            results.push_back((ticket, result));
            if results.len() == 1 {
                // It can only fail when the count would overflow, and then it is readable already.
                let _ = self.readable.write(1);
            }
        }
    }

    fn next_order(&self) -> (u64, Spawn) {
        let mut waiting = lock(&self.orders);
        loop {
            if let Some(order) = waiting.spawns.pop_front() {
                return order;
            }
            waiting.asleep += 1;
            waiting = self.order.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Nobody panics under these locks; if somebody did, what they guard would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
