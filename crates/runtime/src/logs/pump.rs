//! The handle of the pump: orders in, lines and troubles out.

use super::console::Console;
use super::engine::{Engine, Memory, Order};
use super::file::{LogFile, SharedLogFile};
use super::follow::Follower;
use super::line::{Label, Line};
use super::loss::{Trouble, Troubles};
use super::pipe::{Inlet, Stock};
use super::streams::{Names, StreamId};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

/// Looks at every line of one stream (without its newline; long ones in pieces) until it breaks. Called on the pump's thread: it
/// must not wait.
pub type Watch = Box<dyn FnMut(&[u8]) -> ControlFlow<()> + Send>;

/// The thread that moves output. Dropping it is [`Pump::stop`] without an answer.
///
/// # Examples
/// ```
/// use runtime::logs::{Format, LogFile, Pump, Stream, Writer, pipe};
/// use std::io::Write;
/// use std::sync::Arc;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("reader.log");
/// let pump = Pump::start(None)?;
/// let file = pump.file(LogFile { path: path.clone(), max_size: 50 << 20, keep: 10, format: Format::Raw });
///
/// let (read, write) = pipe(false)?;
/// let writer = Writer { worker: "reader".into(), instance: 0, launch: 1, show: "reader".into() };
/// let stream = pump.attach(read, Arc::new(writer).label(Stream::Stdout), Some(file));
/// std::fs::File::from(write).write_all(b"hello\n")?; // a worker would do this
/// pump.finish(stream);
///
/// assert_eq!(pump.stop(), []);
/// assert_eq!(std::fs::read_to_string(path)?, "hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pump {
    shared: Arc<Shared>,
    files: Mutex<HashMap<PathBuf, Weak<SharedLogFile>>>,
    stock: Mutex<Stock>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
#[derive(Default)]
struct Orders {
    waiting: VecDeque<Order>,
    names: Names,
    /// Whether the thread is not to be woken for them yet.
    held: bool,
}

/// What the handle and the thread have in common.
pub(super) struct Shared {
    orders: Mutex<Orders>,
    pub bell: EventFd,
    pub memory: Mutex<Memory>,
    pub troubles: Troubles,
    pub wakeups: AtomicU64,
}

impl Shared {
    fn order(&self, order: Order) {
        self.order_as(|_| order);
    }

    /// Gives an order that may need a name.
    fn order_as(&self, order: impl FnOnce(&mut Names) -> Order) {
        let first = {
            let mut orders = self.orders();
            let order = order(&mut orders.names);
            orders.waiting.push_back(order);
            orders.waiting.len() == 1 && !orders.held
        };
        // Whoever gave the first one rings for all that are taken with it: a launch gives four orders at once.
        if first {
            self.ring();
        }
    }

    fn ring(&self) {
        // Fails only when its count is at the maximum, and then the bell is ringing already.
        let _ = self.bell.write(1);
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all orders, and gives back the names of streams that have ended.
    pub fn take_orders(&self, ended: impl Iterator<Item = StreamId>) -> VecDeque<Order> {
        // Silenced first: an order that comes now rings again.
        let _ = self.bell.read();
        let mut orders = self.orders();
        orders.names.give_back(ended);
        std::mem::take(&mut orders.waiting)
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pump {
    /// Starts the thread, named `logs`, with all signals blocked. With a console, every line of every stream is shown there too.
    ///
    /// # Errors
    /// Out of descriptors, memory or threads.
    pub fn start(console: Option<Console>) -> io::Result<Pump> {
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            bell: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            memory: Mutex::default(),
            troubles: Troubles::new()?,
            wakeups: AtomicU64::new(0),
        });
        let engine = Engine::new(shared.clone(), console)?;
        let thread = std::thread::Builder::new().name("logs".into()).spawn(move || engine.run())?;
        let (files, stock) = (Mutex::default(), Mutex::default());
        Ok(Pump { shared, files, stock, thread: Some(thread) })
    }

    /// The one writer of a path. Asked for again while anybody holds it, it is the same one, with size, number and format as
    /// given now.
    pub fn file(&self, settings: LogFile) -> Arc<SharedLogFile> {
        let path = std::path::absolute(&settings.path).unwrap_or_else(|_| settings.path.clone());
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(&path).and_then(Weak::upgrade) {
            file.change(settings);
            return file;
        }
        let file = Arc::new(SharedLogFile::new(settings));
        files.insert(path, Arc::downgrade(&file));
        file
    }

    /// Moves what comes out of `read` from now on, until it ends or [`Pump::finish`] is called. Without a file its lines still
    /// go to the console, to followers and into [`Pump::tail`].
    ///
    /// It never fails; what cannot be read is told as [`Trouble::Unreadable`].
    pub fn attach(&self, read: Inlet, label: Label, file: Option<Arc<SharedLogFile>>) -> StreamId {
        self.attach_with(read, label, file, None)
    }

    /// [`Pump::attach`], and `watch` sees every line, from the very first byte.
    pub fn attach_watched(
        &self,
        read: Inlet,
        label: Label,
        file: Option<Arc<SharedLogFile>>,
        watch: Watch,
    ) -> StreamId {
        self.attach_with(read, label, file, Some(watch))
    }

    fn attach_with(
        &self,
        read: Inlet,
        label: Label,
        file: Option<Arc<SharedLogFile>>,
        watch: Option<Watch>,
    ) -> StreamId {
        let mut named = None;
        self.shared.order_as(|names| {
            let stream = *named.insert(names.next());
            Order::Attach { stream, read: read.into(), label, file, watch }
        });
        named.expect("an order is given at once")
    }

    /// A pipe for one output of a worker, as [`pipe`](super::pipe()) makes it; perhaps one that was made before.
    ///
    /// # Errors
    /// As [`pipe`](super::pipe()).
    pub fn pipe(&self, keep_open_without_reader: bool) -> io::Result<(Inlet, OwnedFd)> {
        self.stock().take(keep_open_without_reader)
    }

    /// Makes the next two pipes, of the kind of the last one, while nobody waits for them.
    pub fn stock_up(&self) {
        self.stock().fill();
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does not wake the thread for what it is asked from now on, until [`Pump::release`]: it would take a processor from
    /// something more urgent. What workers print is moved meanwhile.
    pub fn hold(&self) {
        self.shared.orders().held = true;
    }

    /// Has done what was asked since [`Pump::hold`].
    pub fn release(&self) {
        let waits = {
            let mut orders = self.shared.orders();
            orders.held = false;
            !orders.waiting.is_empty()
        };
        if waits {
            self.shared.ring();
        }
    }

    /// The writer is known to be dead: what is in the pipe now is moved, then the pipe is closed, though others (leftovers of
    /// its tree) may still hold it open. A last line without a newline is complete then. A stream that has ended is no error.
    pub fn finish(&self, stream: StreamId) {
        self.shared.order(Order::Finish(stream));
    }

    /// Opens all log files anew, after somebody else has moved them.
    pub fn reopen(&self) {
        self.shared.order(Order::Reopen);
    }

    /// The last `count` lines of a worker, or of all, oldest first, as far as they are kept: 64 KiB a worker, 16 MiB in all; after
    /// a flood less, at least 16 KiB. The last line of a stream may be unfinished ([`Ending::Open`](super::Ending::Open)).
    pub fn tail(&self, worker: Option<&str>, count: usize) -> Vec<Line> {
        self.shared.memory().tail.lines(worker, count)
    }

    /// Follows the lines of one worker, or of all.
    pub fn subscribe(&self, worker: Option<&str>) -> Follower {
        self.shared.memory().followers.add(worker)
    }

    /// [`Pump::tail`] and [`Pump::subscribe`] with no line between them missing or doubled: an unfinished line is left to the
    /// follower.
    pub fn tail_and_subscribe(&self, worker: Option<&str>, count: usize) -> (Vec<Line>, Follower) {
        let mut memory = self.shared.memory();
        (memory.tail.finished_lines(worker, count), memory.followers.add(worker))
    }

    /// What went wrong since the last time, in order. At most 256 are kept.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.shared.troubles.take()
    }

    /// Readable (an eventfd; it is not to be read) while [`Pump::troubles`] has something to tell.
    pub fn troubles_bell(&self) -> BorrowedFd<'_> {
        self.shared.troubles.bell()
    }

    /// How often the thread has woken up, for tests and for the curious.
    pub fn wakeups(&self) -> u64 {
        self.shared.wakeups.load(Ordering::Relaxed)
    }

    /// Moves all that is in the pipes, closes everything, ends the thread; returns the troubles nobody has asked for. Waits at most
    /// 3 seconds for a console whose reader does not read: what that one misses is told as [`Trouble::Lost`].
    pub fn stop(mut self) -> Vec<Trouble> {
        self.join();
        self.shared.troubles.take()
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.order(Order::Stop);
            self.release();
            // It panicked only through a bug; the panic has been printed.
            let _ = thread.join();
            self.shared.memory().followers.end();
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.join();
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("wakeups", &self.wakeups()).finish_non_exhaustive()
    }
}
