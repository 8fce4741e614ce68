//! The queue as a program sees it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::atomic::{Ordering, fence};
use crate::backing;
use crate::core::{Core, End};
use crate::errors::{
    Fault, GetError, GetTimeoutError, OpenError, PutError, PutTimeoutError, TryGetError, TryPutError,
};
use crate::formation::{BACKED, format, plan, understand};
use crate::futex;
use crate::header::Kind;
use crate::lease::Lease;
use crate::life;
use crate::opening;
use crate::options::{Acknowledge, Fsync, QueueOptions};
use crate::segment::{Reclaimed, Segment};
use crate::stats::Stats;
use crate::tag::Which;

/// A queue in memory shared by processes that may die.
///
/// Many may put and many may get, from any number of processes and threads; messages are bytes and come out
/// in the order they went in, each to one getter. Any of the processes may be killed at any moment: the others
/// go on, a message whose put had returned is delivered, one whose put had not is delivered whole or not at
/// all, and what the dead one had taken and not acknowledged is delivered again.
///
/// A handle can be shared by threads and costs little to clone; clones share what they have got. The child
/// of a fork may go on using it and is a participant of its own.
///
/// ```
/// let queue = ipc::Queue::create_anonymous("jobs", &ipc::QueueOptions::default())?;
/// queue.put(b"first")?;
/// queue.put(b"second")?;
/// assert_eq!(queue.get()?, b"first");
///
/// let lease = queue.lease()?;
/// assert_eq!(lease.bytes(), b"second");
/// drop(lease); // not acknowledged: it comes again
/// let lease = queue.lease()?;
/// assert_eq!(lease.deliveries(), 2);
/// lease.ack();
///
/// queue.close();
/// assert_eq!(queue.get(), Err(ipc::GetError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) core: Arc<Core>,
}

impl Queue {
    /// Makes a queue that has no place in the file system. Its memory cannot be cut short by anybody. Others
    /// open it by an inherited descriptor ([`Queue::from_fd`]) or by [`Queue::descriptor_path`].
    ///
    /// # Errors
    /// [`OpenError::Options`] for impossible options, [`OpenError::System`] without memory or descriptors.
    pub fn create_anonymous(name: &str, options: &QueueOptions) -> Result<Self, OpenError> {
        if options.durable.is_some() {
            return Err(OpenError::Options("a durable queue needs a file"));
        }
        let (header, layout) = plan(name, options)?;
        let segment = Segment::create_anonymous(header, |memory| {
            format(memory, &layout);
            Ok(())
        })?;
        Self::over(segment)
    }

    /// Makes a queue in a new file. The file is there complete or not at all, and stays until it is removed. With
    /// [`QueueOptions::durable`] it is on the disk when this returns.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where something is at `path`; [`OpenError::Options`]; [`OpenError::System`], where the disk is
    /// full, too; [`OpenError::CannotReserve`] for a durable one.
    pub fn create(path: impl AsRef<Path>, options: &QueueOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (header, layout) = plan(&name, options)?;
        if options.durable.is_some() {
            return Ok(Self { core: life::create(path, header, &layout)? });
        }
        let backed = {
            let mut header = header.clone();
            header.own[BACKED] = 1;
            Segment::create(path, header, |memory| {
                backing::begin(memory, &layout)?;
                format(memory, &layout);
                Ok(())
            })
        };
        match backed {
            // Then it does as well as it can: a full disk is met when it is written to.
            Err(OpenError::CannotReserve) => Self::over(Segment::create(path, header, |memory| {
                format(memory, &layout);
                Ok(())
            })?),
            backed => Self::over(backed?),
        }
    }

    /// Opens a queue that somebody made: a file, or `/proc/PID/fd/N` of a process that holds it.
    ///
    /// A durable queue that nobody else has open is set right first: what the dead had in hand is delivered again.
    ///
    /// # Errors
    /// Says what is wrong with what is there; nothing is changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        loop {
            let file = opening::open(path)?;
            if !opening::is_durable(&file) {
                return Self::over(Segment::from_file(file, Kind::Queue)?);
            }
            let place = (!opening::is_descriptor_path(path)).then_some(path);
            if let Some(entered) = life::enter(file, place, None)? {
                return Ok(Self { core: entered.core });
            }
        }
    }

    /// Opens the durable queue at `path` with these options, or makes it if nothing is there.
    ///
    /// Messages that wait stay, with their order, ids and counts of deliveries; what the dead had in hand is delivered
    /// again. Where the machine was started again meanwhile, messages that had been put off are due at once, and if
    /// the queue was not closed in order, all that wait count as delivered before: they may have been, and their
    /// acknowledgements not have reached the disk.
    ///
    /// Other options than before take effect as soon as nobody else has the queue open; until then it goes on as it
    /// was, and [`Restored::is_as_it_was`] says so. A queue that was closed stays so until [`Queue::reopen`].
    ///
    /// # Errors
    /// What is wrong with what is there, which is then left alone; [`OpenError::DoesNotFit`] where the options have no
    /// place for what waits; as [`Queue::create`].
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("ipc-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// let path = folder.join("jobs.queue");
    /// let options = ipc::QueueOptions { durable: Some(ipc::Fsync::Always), ..Default::default() };
    /// let jobs = ipc::Queue::restore(&path, &options)?.queue;
    /// jobs.put(b"kept")?; // on the disk by now
    /// drop(jobs);
    ///
    /// let found = ipc::Queue::restore(&path, &options)?;
    /// assert_eq!(found.queue.get()?, b"kept");
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(path: impl AsRef<Path>, options: &QueueOptions) -> Result<Restored, OpenError> {
        let path = path.as_ref();
        if options.durable.is_none() {
            return Err(OpenError::Options("a queue that is to be restored must be durable"));
        }
        opening::sweep_drafts(path);
        loop {
            let file = match opening::open(path) {
                Err(OpenError::System(error)) if error.kind() == io::ErrorKind::NotFound => {
                    match Self::create(path, options) {
                        // Somebody was quicker.
                        Err(OpenError::Exists) => continue,
                        made => {
                            let queue = made?;
                            return Ok(Restored { queue, is_new: true, damaged: 0, is_as_it_was: false });
                        }
                    }
                }
                file => file?,
            };
            if let Some(entered) = life::enter(file, Some(path), Some(options))? {
                let life::Entered { core, damaged, is_as_it_was } = entered;
                return Ok(Restored { queue: Self { core }, is_new: false, damaged, is_as_it_was });
            }
        }
    }

    /// Opens a queue by a descriptor, most often an inherited one.
    ///
    /// # Errors
    /// As [`Queue::open`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        let file = File::from(fd);
        if opening::is_durable(&file) {
            // Opened anew: the hold on a durable queue's file is that of one handle, not of all who inherit it.
            return Self::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        }
        Self::over(Segment::from_file(file, Kind::Queue)?)
    }

    /// Opens a queue by a descriptor that was opened for this process alone, such as one that came over a socket: also one
    /// whose file this process may not open by itself.
    ///
    /// # Errors
    /// As [`Queue::open`].
    pub fn from_own_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        let file = File::from(fd);
        opening::check(&file)?;
        if opening::is_durable(&file) {
            let entered = life::enter(file, None, None)?.ok_or(OpenError::NotDurable)?;
            return Ok(Self { core: entered.core });
        }
        Self::over(Segment::from_file(file, Kind::Queue)?)
    }

    /// What all clones share, for the tests inside of the crate.
    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    fn over(segment: Segment) -> Result<Self, OpenError> {
        let (settings, layout) = understand(segment.header()).ok_or(OpenError::CorruptHeader)?;
        let core = Core::over(segment, settings, layout);
        Ok(Self { core })
    }

    /// The name it was made with, at most 128 bytes of it.
    pub fn name(&self) -> &str {
        &self.core.segment.header().name
    }

    /// Sixteen random bytes that tell this queue from every other.
    pub fn uuid(&self) -> [u8; 16] {
        self.core.segment.header().uuid
    }

    /// Where other processes of this user can open it as long as this process holds it.
    pub fn descriptor_path(&self) -> PathBuf {
        self.core.segment.descriptor_path()
    }

    /// Chooses when a plain get counts as done, for all clones of this handle.
    pub fn set_acknowledge(&self, when: Acknowledge) {
        self.core.acknowledges_at_once.store(when == Acknowledge::AtOnce, Ordering::Relaxed);
    }

    /// Gives the blocking calls of this handle a flag to look at before they sleep and whenever a signal ends
    /// their sleep; while it is up they answer `Interrupted`.
    ///
    /// A signal that comes just before the sleep ends nothing; who raises the flag from a signal handler or
    /// another thread also calls [`Queue::wake_me`], which leaves no gap.
    pub fn set_interrupt(&self, flag: Arc<AtomicBool>) {
        *self.core.interrupt.write().unwrap_or_else(PoisonError::into_inner) = Some(flag);
    }

    /// Wakes every sleeper of this queue, in all processes, to look again whether it must go on sleeping. May
    /// be called in a signal handler.
    pub fn wake_me(&self) {
        self.core.wake_everybody();
    }

    /// Puts a message, waiting for a place as long as it takes.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Interrupted`], [`PutError::Fault`].
    pub fn put(&self, message: &[u8]) -> Result<(), PutError> {
        self.core.put(message, u64::MAX).map_err(PutError::from)
    }

    /// Puts a message if there is a place for it now.
    ///
    /// # Errors
    /// [`TryPutError::Full`] where [`Queue::put`] would wait, else as that.
    pub fn try_put(&self, message: &[u8]) -> Result<(), TryPutError> {
        self.core.put(message, 0).map_err(TryPutError::from)
    }

    /// Puts a message, waiting for a place at most so long.
    ///
    /// # Errors
    /// [`PutTimeoutError::Timeout`], else as [`Queue::put`].
    pub fn put_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutTimeoutError> {
        self.core.put(message, deadline(timeout)).map_err(PutTimeoutError::from)
    }

    /// Gets the next message, waiting for one as long as it takes. See [`Acknowledge`] for when it is done
    /// with.
    ///
    /// Once the queue is closed, what is left is still delivered, and what others have in hand is waited for,
    /// since it may be given back.
    ///
    /// # Errors
    /// [`GetError::Closed`], [`GetError::Interrupted`], [`GetError::Fault`].
    pub fn get(&self) -> Result<Vec<u8>, GetError> {
        self.core.get(u64::MAX).map_err(GetError::from)
    }

    /// Gets the next message if there is one now.
    ///
    /// # Errors
    /// [`TryGetError::Empty`] where [`Queue::get`] would wait, else as that.
    pub fn try_get(&self) -> Result<Vec<u8>, TryGetError> {
        self.core.get(0).map_err(TryGetError::from)
    }

    /// Gets the next message, waiting for one at most so long.
    ///
    /// # Errors
    /// [`GetTimeoutError::Timeout`], else as [`Queue::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetTimeoutError> {
        self.core.get(deadline(timeout)).map_err(GetTimeoutError::from)
    }

    /// A copy of the message that would be got next, if there is one.
    ///
    /// # Errors
    /// [`Fault`] where the queue cannot be used.
    pub fn peek(&self) -> Result<Option<Vec<u8>>, Fault> {
        self.core.segment.check()?;
        self.core.peek().map_err(|damage| self.core.fault(damage))
    }

    /// Takes the oldest dead letter into hand, if there is one. Dropped without acknowledgement it is a dead
    /// letter again.
    ///
    /// # Errors
    /// [`Fault`] where the queue cannot be used.
    pub fn take_dead(&self) -> Result<Option<Lease>, Fault> {
        self.core.segment.check()?;
        let me = self.core.join()?;
        let claim = self.core.claim_dead(me).map_err(|damage| self.core.fault(damage))?;
        claim
            .map(|claim| Lease::of(&self.core, me, claim).map_err(|damage| self.core.fault(damage)))
            .transpose()
    }

    /// Moves dead letters to another queue until there are none or it takes no more; answers how many. Each is
    /// put there before it is acknowledged here: a death in between leaves it in both.
    ///
    /// # Errors
    /// [`Fault`] where this queue cannot be used.
    pub fn forward_dead(&self, to: &Queue) -> Result<usize, Fault> {
        let mut moved = 0;
        while let Some(letter) = self.take_dead()? {
            if to.try_put(letter.bytes()).is_err() {
                break;
            }
            letter.ack();
            moved += 1;
        }
        Ok(moved)
    }

    /// Acknowledges what this thread got last by a plain get.
    pub fn ack_got(&self) {
        if let Some(me) = self.core.segment.seat() {
            self.core.locals.with(|local| {
                if self.core.acknowledge_got(me, local) {
                    fence(Ordering::SeqCst);
                    self.core.tell_if_drained();
                }
            });
        }
    }

    /// Gives back what this thread got last by a plain get, for another delivery.
    pub fn nack_got(&self) {
        if let Some(me) = self.core.segment.seat() {
            self.core.locals.with(|local| {
                // A damaged queue says so to whoever uses it next.
                let _ = self.core.give_back_got(me, local).map_err(|damage| self.core.segment.poison(damage));
            });
        }
    }

    /// Takes the next message into hand, waiting for one as long as it takes: it is delivered again unless it
    /// is acknowledged.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn lease(&self) -> Result<Lease, GetError> {
        Core::lease(&self.core, u64::MAX, End::Drained).map_err(GetError::from)
    }

    /// Takes the next message into hand if there is one now.
    ///
    /// # Errors
    /// As [`Queue::try_get`].
    pub fn try_lease(&self) -> Result<Lease, TryGetError> {
        Core::lease(&self.core, 0, End::Drained).map_err(TryGetError::from)
    }

    /// Takes the next message into hand, waiting for one at most so long.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease, GetTimeoutError> {
        Core::lease(&self.core, deadline(timeout), End::Drained).map_err(GetTimeoutError::from)
    }

    /// Takes up to `most` messages into hand that are there now: what was given back one at a time, what was never
    /// delivered together.
    ///
    /// # Errors
    /// As [`Queue::try_get`]; none is in hand then.
    pub fn try_lease_many(&self, most: usize) -> Result<Vec<Lease>, TryGetError> {
        Core::lease_many(&self.core, most).map_err(TryGetError::from)
    }

    /// As [`Queue::lease`], but once the queue is closed it does not wait for what is in hand, here or elsewhere: for
    /// who holds a message that it can settle only after it has learnt that none is left.
    ///
    /// # Errors
    /// As [`Queue::get`]; [`GetError::Closed`] as soon as the queue is closed and none waits.
    pub fn lease_or_end(&self) -> Result<Lease, GetError> {
        Core::lease(&self.core, u64::MAX, End::Closed).map_err(GetError::from)
    }

    /// How many messages wait. Those in hand are not counted, nor those put off. It may be more than the capacity:
    /// what is given back, by hand or by a death, waits beside what was put meanwhile, because whoever gives back is
    /// never refused.
    pub fn len(&self) -> u64 {
        self.core.waiting(Which::Again).saturating_add(self.core.waiting(Which::First))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many wait for their first delivery as may: whether a put would have to wait.
    pub fn is_full(&self) -> bool {
        self.core.waiting(Which::First) >= self.core.layout.counts.bound
    }

    /// How many may wait for their first delivery; none where only memory limits it.
    pub fn capacity(&self) -> Option<u64> {
        self.core.settings.capacity
    }

    /// The longest message it takes, in bytes.
    pub fn max_message(&self) -> u64 {
        self.core.largest()
    }

    /// Whether it is closed for putting.
    pub fn is_closed(&self) -> bool {
        self.core.is_ended().unwrap_or(true)
    }

    /// Closes it for putting, for everybody and for good. What is left can be got.
    pub fn close(&self) {
        if let Err(damage) = self.core.end_first() {
            self.core.segment.poison(damage);
        }
    }

    /// Opens a queue that was closed for putting again, for everybody: a new run has new producers.
    ///
    /// # Errors
    /// [`Fault`] where the queue cannot be used.
    pub fn reopen(&self) -> Result<(), Fault> {
        self.core.segment.check()?;
        self.core.open_again().map_err(|damage| self.core.fault(damage))
    }

    /// When what is put reaches the disk; none for a queue that is not durable.
    pub fn fsync(&self) -> Option<Fsync> {
        self.core.settings.fsync
    }

    /// Counts at one moment, or nearly.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.core)
    }

    /// Looks after the process `pid`, if it is dead: what it had in hand is delivered again, what it had begun
    /// to put is freed, and everybody is woken to make good what it owed. A living process is left alone, also
    /// one that has the pid of a dead one.
    ///
    /// # Errors
    /// [`Fault`] where the queue cannot be used.
    pub fn reclaim(&self, pid: u32) -> Result<Reclaimed, Fault> {
        self.core.reclaim(|who| who.pid == pid)
    }

    /// Looks after every participant that is dead.
    ///
    /// # Errors
    /// [`Fault`] where the queue cannot be used.
    pub fn reclaim_dead(&self) -> Result<Reclaimed, Fault> {
        self.core.reclaim(|_| true)
    }
}

/// A durable queue, and what became of it.
#[derive(Debug)]
pub struct Restored {
    /// It.
    pub queue: Queue,
    /// Whether nothing was there before.
    pub is_new: bool,
    /// Messages of which not all had reached the disk when the power was lost; they are gone. With
    /// [`Fsync::Always`] none of their puts had returned.
    pub damaged: u64,
    /// Whether it has not the options asked for, because others use it.
    pub is_as_it_was: bool,
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.segment.memory().as_fd()
    }
}

pub(crate) fn deadline(timeout: Duration) -> u64 {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    futex::now_ns().saturating_add(timeout).max(1)
}
