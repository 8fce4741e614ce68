//! Moving messages: between standard input or output, or a command, and a queue in shared memory.

mod each;
mod outlet;
mod putting;
mod taking;
mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use control::Client;
use control::api::{ErrorCode, QueueHandle, QueueStatus, Request};
use runtime::queue_status;

use crate::arguments::Patience;
use crate::output;
use crate::queue::file_failure;
use crate::reach::{call_with_descriptors, no_descriptor};
use crate::talk::Failure;

pub use each::Task;
pub use outlet::{Form, form};
pub use taking::Amount;

/// How long to wait for a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// As long as it takes.
    ForEver,
    /// Each time at most so long.
    AtMost(Duration),
    /// Not at all.
    Never,
}

impl From<Patience> for Waiting {
    fn from(patience: Patience) -> Waiting {
        match patience.timeout {
            _ if patience.nowait => Waiting::Never,
            Some(timeout) => Waiting::AtMost(timeout),
            None => Waiting::ForEver,
        }
    }
}

/// A queue that was opened, and the supervisor it belongs to.
#[derive(Debug)]
pub struct Line {
    name: String,
    queue: ipc::Queue,
    dead_letters: Option<ipc::Queue>,
    waiting: Waiting,
    /// Given to a watcher before the first wait; `None` for a queue in a file, too.
    supervisor: Option<Client>,
    /// What ends a wait when it is raised, once there is one who may raise it.
    interrupt: Option<Arc<AtomicBool>>,
    watches_reader: bool,
}

/// Opens a queue of a supervisor.
///
/// # Errors
/// What the supervisor refuses; exit 1 when its memory cannot be opened.
pub fn open(mut client: Client, queue: &str, waiting: Waiting) -> Result<Line, Failure> {
    let request = Request::QueueHandle { queue: queue.to_owned() };
    let (handle, handed): (QueueHandle, _) = call_with_descriptors(&mut client, &request)?;
    let mut handed = handed.into_iter();
    let mut segment = |handle: &QueueHandle| {
        let opened = match (&handle.path, handed.next()) {
            (Some(path), _) => ipc::Queue::open(path),
            // This is a worker of another user, who may not open what is the supervisor's.
            (None, Some(memory)) => ipc::Queue::from_own_fd(memory),
            (None, None) => return Err(no_descriptor(&format!("queue {}", handle.queue))),
        };
        opened.map_err(|error| {
            Failure::new(ErrorCode::Failed, format!("queue {} cannot be opened: {error}", handle.queue))
        })
    };
    Ok(Line {
        name: queue.to_owned(),
        queue: segment(&handle)?,
        dead_letters: handle.dead_letter.as_deref().map(segment).transpose()?,
        waiting,
        supervisor: Some(client),
        interrupt: None,
        watches_reader: false,
    })
}

/// Opens a queue in a file, which needs no supervisor.
///
/// # Errors
/// Exit 4 when there is none, 9 when it is not ours, 1 when it is something else.
pub fn open_file(path: &Path, waiting: Waiting) -> Result<Line, Failure> {
    let queue = ipc::Queue::open(path).map_err(|error| file_failure(path, &error))?;
    Ok(Line {
        name: path.display().to_string(),
        queue,
        dead_letters: None,
        waiting,
        supervisor: None,
        interrupt: None,
        watches_reader: false,
    })
}

impl Line {
    /// What it is called, or where it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a put would wait.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Lets nothing more be put.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Its counts.
    pub fn status(&self) -> QueueStatus {
        queue_status(&self.name, &self.queue)
    }

    /// From now on, if the supervisor goes away, waiting ends at once. But not when the queue is closed: then nobody
    /// waits any more, and what is left can still be taken.
    fn watch_the_supervisor(&mut self) {
        let Some(supervisor) = self.supervisor.take() else {
            return;
        };
        let gone = self.interruption();
        let queue = self.queue.clone();
        thread::spawn(move || {
            supervisor.outlast();
            if !queue.is_closed() {
                gone.store(true, Ordering::SeqCst);
                queue.wake_me();
            }
        });
    }

    /// From now on, if nobody can read any more what is printed, waiting ends at once.
    fn watch_the_reader(&mut self) {
        if self.watches_reader {
            return;
        }
        self.watches_reader = true;
        let gone = self.interruption();
        let queue = self.queue.clone();
        thread::spawn(move || {
            if output::outlast_the_reader() {
                gone.store(true, Ordering::SeqCst);
                queue.wake_me();
            }
        });
    }

    /// What ends a wait when it is raised.
    fn interruption(&mut self) -> Arc<AtomicBool> {
        let queue = &self.queue;
        let flag = self.interrupt.get_or_insert_with(|| {
            let flag = Arc::default();
            queue.set_interrupt(Arc::clone(&flag));
            flag
        });
        Arc::clone(flag)
    }
}

/// Gives a message back for another delivery; one that had too many goes where dead letters go.
fn give_back(lease: ipc::Lease, from: &ipc::Queue, dead_letters: Option<&ipc::Queue>) {
    lease.nack();
    forward_dead(from, dead_letters);
}

/// Moves messages that were given up on to where they go.
fn forward_dead(from: &ipc::Queue, dead_letters: Option<&ipc::Queue>) {
    if let Some(to) = dead_letters {
        // What cannot go there now stays where it is, and goes with the next one.
        let _ = from.forward_dead(to);
    }
}
