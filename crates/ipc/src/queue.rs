//! The queue as a program sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::atomic::{Ordering, fence};
use crate::blocks::Short;
use crate::errors::{
    Damage, Fault, GetError, GetTimeoutError, OpenError, PutError, PutManyError, PutTimeoutError,
    TryGetError, TryPutError,
};
use crate::futex;
use crate::get::{Claim, Next};
use crate::header::{Header, Kind};
use crate::layout::{CAME, Counts, DRAINED, INLINE, Layout, MEMORY, PAGE, PLACE};
use crate::lease::Lease;
use crate::liveness::Identity;
use crate::locals::{Local, Locals};
use crate::memory::Memory;
use crate::options::{Acknowledge, QueueOptions};
use crate::put::{Published, TURNS};
use crate::ring::Slot;
use crate::segment::{self, Reclaimed, Segment};
use crate::stats::Stats;
use crate::tag::Which;
use crate::waiting::{self, Ended, Pace, Patience, Try};

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
    core: Arc<Core>,
}

/// What all clones of a handle share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) segment: Segment,
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    locals: Locals,
    acknowledges_at_once: AtomicBool,
    interrupt: RwLock<Option<Arc<AtomicBool>>>,
}

/// What the header says beside the counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    capacity: Option<u64>,
    pub(crate) max_message: u64,
    pub(crate) max_deliveries: Option<u32>,
    pub(crate) has_checksums: bool,
}

/// Why an operation stopped, before it is said in the operation's own words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    Closed,
    Ended(Ended),
    Fault(Fault),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How long a sleeper trusts that somebody else looks after the dead.
const SUPERVISED_SLICE_NS: u64 = 5_000_000_000;
const WATCHFUL_SLICE_NS: u64 = 250_000_000;

impl Queue {
    /// Makes a queue that has no place in the file system. Its memory cannot be cut short by anybody. Others
    /// open it by an inherited descriptor ([`Queue::from_fd`]) or by [`Queue::descriptor_path`].
    ///
    /// # Errors
    /// [`OpenError::Options`] for impossible options, [`OpenError::System`] without memory or descriptors.
    pub fn create_anonymous(name: &str, options: &QueueOptions) -> Result<Self, OpenError> {
        let (header, layout) = plan(name, options)?;
        let segment = Segment::create_anonymous(header, |memory| format(memory, &layout))?;
        Self::over(segment)
    }

    /// Makes a queue in a new file. The file is there complete or not at all, and stays until it is removed.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where something is at `path`; [`OpenError::Options`]; [`OpenError::System`].
    pub fn create(path: impl AsRef<Path>, options: &QueueOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (header, layout) = plan(&name, options)?;
        let segment = Segment::create(path, header, |memory| format(memory, &layout))?;
        Self::over(segment)
    }

    /// Opens a queue that somebody made: a file, or `/proc/PID/fd/N` of a process that holds it.
    ///
    /// # Errors
    /// Says what is wrong with what is there; nothing is changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::over(Segment::open(path.as_ref(), Kind::Queue)?)
    }

    /// Opens a queue by a descriptor, most often an inherited one.
    ///
    /// # Errors
    /// As [`Queue::open`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        Self::over(Segment::from_file(fd.into(), Kind::Queue)?)
    }

    fn over(segment: Segment) -> Result<Self, OpenError> {
        let (settings, layout) = understand(segment.header()).ok_or(OpenError::CorruptHeader)?;
        let core = Core {
            segment,
            layout,
            settings,
            locals: Locals::new(),
            acknowledges_at_once: AtomicBool::new(false),
            interrupt: RwLock::new(None),
        };
        let core = Arc::new(core);
        at_exit::remember(&core);
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
        self.core.put(message, u64::MAX).map_err(|refusal| match refusal {
            Refusal::Stop(Stop::Closed) => PutError::Closed,
            Refusal::Stop(Stop::Ended(_)) => PutError::Interrupted,
            Refusal::Stop(Stop::Fault(fault)) => PutError::Fault(fault),
            Refusal::TooLarge { length, limit } => PutError::TooLarge { length, limit },
        })
    }

    /// Puts a message if there is a place for it now.
    ///
    /// # Errors
    /// [`TryPutError::Full`] where [`Queue::put`] would wait, else as that.
    pub fn try_put(&self, message: &[u8]) -> Result<(), TryPutError> {
        self.core.put(message, 0).map_err(|refusal| match refusal {
            Refusal::Stop(Stop::Closed) => TryPutError::Closed,
            Refusal::Stop(Stop::Ended(_)) => TryPutError::Full,
            Refusal::Stop(Stop::Fault(fault)) => TryPutError::Fault(fault),
            Refusal::TooLarge { length, limit } => TryPutError::TooLarge { length, limit },
        })
    }

    /// Puts a message, waiting for a place at most so long.
    ///
    /// # Errors
    /// [`PutTimeoutError::Timeout`], else as [`Queue::put`].
    pub fn put_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutTimeoutError> {
        self.core.put(message, deadline(timeout)).map_err(|refusal| match refusal {
            Refusal::Stop(Stop::Closed) => PutTimeoutError::Closed,
            Refusal::Stop(Stop::Ended(Ended::TimedOut)) => PutTimeoutError::Timeout,
            Refusal::Stop(Stop::Ended(Ended::Interrupted)) => PutTimeoutError::Interrupted,
            Refusal::Stop(Stop::Fault(fault)) => PutTimeoutError::Fault(fault),
            Refusal::TooLarge { length, limit } => PutTimeoutError::TooLarge { length, limit },
        })
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
        self.core.get(u64::MAX).map_err(get_error)
    }

    /// Gets the next message if there is one now.
    ///
    /// # Errors
    /// [`TryGetError::Empty`] where [`Queue::get`] would wait, else as that.
    pub fn try_get(&self) -> Result<Vec<u8>, TryGetError> {
        self.core.get(0).map_err(try_get_error)
    }

    /// Gets the next message, waiting for one at most so long.
    ///
    /// # Errors
    /// [`GetTimeoutError::Timeout`], else as [`Queue::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetTimeoutError> {
        self.core.get(deadline(timeout)).map_err(get_timeout_error)
    }

    /// Gets up to `most` messages: waits for the first, then takes what else is there. They are done with
    /// together, as one message from [`Queue::get`] would be.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_many(&self, most: usize) -> Result<Vec<Vec<u8>>, GetError> {
        let mut messages = Vec::new();
        if most > 0 {
            messages.push(self.get()?);
            self.core.get_more(most, &mut messages).map_err(get_error)?;
        }
        Ok(messages)
    }

    /// Puts messages in their order, waiting for places as [`Queue::put`] does. Messages of others may come
    /// between them.
    ///
    /// # Errors
    /// [`PutManyError`] says how many were put before the one that was refused, and why it was.
    pub fn put_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<(), PutManyError> {
        let mut put = 0;
        while put < messages.len() {
            put += self
                .core
                .put_run(&messages[put..])
                .map_err(|fault| PutManyError { put, error: PutError::Fault(fault) })?;
            // What did not go at once waits, or is refused, by itself.
            if let Some(message) = messages.get(put) {
                self.put(message.as_ref()).map_err(|error| PutManyError { put, error })?;
                put += 1;
            }
        }
        Ok(())
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
        Core::lease(&self.core, u64::MAX).map_err(get_error)
    }

    /// Takes the next message into hand if there is one now.
    ///
    /// # Errors
    /// As [`Queue::try_get`].
    pub fn try_lease(&self) -> Result<Lease, TryGetError> {
        Core::lease(&self.core, 0).map_err(try_get_error)
    }

    /// Takes the next message into hand, waiting for one at most so long.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease, GetTimeoutError> {
        Core::lease(&self.core, deadline(timeout)).map_err(get_timeout_error)
    }

    /// How many messages wait. Those in hand are not counted, nor those put off.
    pub fn len(&self) -> u64 {
        self.core.waiting(Which::Again) + self.core.waiting(Which::First)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many wait as may.
    pub fn is_full(&self) -> bool {
        self.core.waiting(Which::First) >= self.core.layout.counts.bound
    }

    /// How many may wait; none where only memory limits it.
    pub fn capacity(&self) -> Option<u64> {
        self.core.settings.capacity
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

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.segment.memory().as_fd()
    }
}

/// Why a put put nothing.
pub(crate) enum Refusal {
    Stop(Stop),
    TooLarge { length: u64, limit: u64 },
}

impl<T: Into<Stop>> From<T> for Refusal {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
    }
}

impl Core {
    /// Damage found is told to everybody.
    #[cold]
    pub(crate) fn fault(&self, damage: Damage) -> Fault {
        Fault::Corrupt(self.segment.poison(damage))
    }

    #[inline]
    pub(crate) fn join(&self) -> Result<u32, Fault> {
        self.segment.join(self)
    }

    fn reclaim(&self, concerns: impl Fn(Identity) -> bool) -> Result<Reclaimed, Fault> {
        self.segment.check()?;
        let me = self.join()?;
        Ok(self.segment.reclaim(self, me, concerns)?)
    }

    /// What a sleeper does after every slice: nothing is wrong as long as somebody looks after the dead.
    fn look_after_the_dead(&self, me: u32) -> Result<(), Stop> {
        let header = self.segment.header();
        if !header.supervised || header.creator.is_dead() {
            self.segment.reclaim(self, me, |_| true).map_err(Fault::Corrupt)?;
        }
        Ok(())
    }

    fn wait<T>(
        &self,
        me: u32,
        local: &Local,
        until_ns: u64,
        pace: Pace,
        side: impl Fn() -> usize,
        attempt: impl FnMut() -> Result<Try<T>, Stop>,
    ) -> Result<T, Stop> {
        let interrupt = self.interrupt.read().unwrap_or_else(PoisonError::into_inner).clone();
        let patience = Patience {
            until_ns,
            interrupt: interrupt.as_deref(),
            spins: &local.spins,
            pace,
            slice_ns: if self.segment.header().supervised { SUPERVISED_SLICE_NS } else { WATCHFUL_SLICE_NS },
        };
        let on_slice = || self.look_after_the_dead(me);
        waiting::wait(self.segment.memory(), side, &patience, attempt, on_slice)
    }

    pub(crate) fn largest(&self) -> u64 {
        self.settings.max_message.min((self.layout.counts.pages * PAGE as u64).max(INLINE as u64))
    }

    /// Puts a message; `until_ns` zero means not to wait.
    fn put(&self, message: &[u8], until_ns: u64) -> Result<(), Refusal> {
        self.segment.check().map_err(Fault::Corrupt)?;
        let length = message.len() as u64;
        if length > self.largest() {
            return Err(Refusal::TooLarge { length, limit: self.largest() });
        }
        let me = self.join()?;
        self.locals.with(|local| {
            let block = match self.write_message(me, local, message) {
                Ok(block) => {
                    self.segment.check().map_err(Fault::Corrupt)?;
                    match self.publish_first(me, block, local).map_err(|damage| self.fault(damage))? {
                        Published::Done => return Ok(()),
                        Published::Full => Some(block),
                        Published::Closed => return Err(self.forget(block, Stop::Closed).into()),
                    }
                }
                Err(Short) => None,
            };
            self.put_later(me, local, message, block, until_ns).map_err(Refusal::Stop)
        })
    }

    /// Waits for memory, if there is no block yet, and for a place.
    #[cold]
    fn put_later(
        &self,
        me: u32,
        local: &Local,
        message: &[u8],
        block: Option<u32>,
        until_ns: u64,
    ) -> Result<(), Stop> {
        let block = std::cell::Cell::new(block);
        let side = || if block.get().is_some() { PLACE } else { MEMORY };
        let attempt = || {
            self.segment.check().map_err(Fault::Corrupt)?;
            if block.get().is_none() {
                match self.write_message(me, local, message) {
                    Ok(written) => block.set(Some(written)),
                    Err(Short) if self.is_ended().map_err(|damage| self.fault(damage))? => {
                        return Err(Stop::Closed);
                    }
                    Err(Short) => return Ok(Try::NotBefore(u64::MAX)),
                }
            }
            let ready = block.get().expect("written above");
            match self.publish_first(me, ready, local).map_err(|damage| self.fault(damage))? {
                Published::Done => Ok(Try::Done(())),
                Published::Full => Ok(Try::NotBefore(u64::MAX)),
                Published::Closed => Err(Stop::Closed),
            }
        };
        let ended = if until_ns == 0 {
            match attempt() {
                Ok(Try::Done(())) => Ok(()),
                Ok(Try::NotBefore(_)) => Err(Stop::Ended(Ended::TimedOut)),
                Err(stop) => Err(stop),
            }
        } else {
            self.wait(me, local, until_ns, Pace::Patient, side, attempt)
        };
        ended.map_err(|stop| match block.get() {
            Some(block) => self.forget(block, stop),
            None => stop,
        })
    }

    /// Frees a block that could not be published.
    #[cold]
    fn forget(&self, block: u32, why: Stop) -> Stop {
        self.free_block(block);
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        why
    }

    /// Claims the next message; `until_ns` zero means not to wait.
    #[inline]
    fn next(&self, me: u32, local: &Local, until_ns: u64) -> Result<Claim, Stop> {
        self.segment.check().map_err(Fault::Corrupt)?;
        match self.claim(me).map_err(|damage| self.fault(damage))? {
            Next::Claimed(claim) => Ok(claim),
            _ => self.next_later(me, local, until_ns),
        }
    }

    #[cold]
    fn next_later(&self, me: u32, local: &Local, until_ns: u64) -> Result<Claim, Stop> {
        // What was acknowledged before the claim that found nothing has not been told yet.
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        let side = std::cell::Cell::new(CAME);
        let attempt = || {
            self.segment.check().map_err(Fault::Corrupt)?;
            match self.claim(me).map_err(|damage| self.fault(damage))? {
                Next::Claimed(claim) => return Ok(Try::Done(claim)),
                Next::Empty => side.set(CAME),
                Next::Ended if !self.has_in_flight() => return Err(Stop::Closed),
                Next::Ended => side.set(DRAINED),
            }
            Ok(Try::NotBefore(self.next_due_ns()))
        };
        if until_ns == 0 {
            match attempt()? {
                Try::Done(claim) => Ok(claim),
                Try::NotBefore(_) => Err(Stop::Ended(Ended::TimedOut)),
            }
        } else {
            self.wait(me, local, until_ns, Pace::Eager, || side.get(), attempt)
        }
    }

    fn get(&self, until_ns: u64) -> Result<Vec<u8>, Stop> {
        let me = self.join()?;
        self.locals.with(|local| {
            self.acknowledge_got(me, local);
            let claim = self.next(me, local, until_ns)?;
            self.tell_if_drained();
            let message = self.read_message(claim.block).map_err(|damage| self.fault(damage))?;
            self.segment.check().map_err(Fault::Corrupt)?;
            if self.acknowledges_at_once.load(Ordering::Relaxed) {
                self.acknowledge(me, claim);
                fence(Ordering::SeqCst);
                self.tell_if_drained();
            } else {
                self.remember_got(local, claim);
            }
            Ok(message)
        })
    }

    fn get_more(&self, most: usize, messages: &mut Vec<Vec<u8>>) -> Result<(), Stop> {
        let me = self.join()?;
        let at_once = self.acknowledges_at_once.load(Ordering::Relaxed);
        self.locals.with(|local| {
            let mut take = |claim: Claim| {
                messages.push(self.read_message(claim.block)?);
                if at_once {
                    self.acknowledge(me, claim);
                } else {
                    self.remember_got(local, claim);
                }
                Ok(messages.len() < most)
            };
            if most > 1 {
                self.claim_run(me, &mut take).map_err(|damage| self.fault(damage))?;
            }
            if at_once {
                fence(Ordering::SeqCst);
                self.tell_if_drained();
            }
            self.segment.check().map_err(Fault::Corrupt)?;
            Ok(())
        })
    }

    /// Puts as many messages as there are places for at once; answers how many.
    fn put_run<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize, Fault> {
        self.segment.check()?;
        let me = self.join()?;
        self.locals.with(|local| {
            let mut run = self.begin_run();
            let mut put = 0;
            for message in messages {
                let message = message.as_ref();
                if message.len() as u64 > self.largest() || !self.has_place(run, local) {
                    break;
                }
                let Ok(block) = self.write_message(me, local, message) else { break };
                if !self.publish_in_run(me, block, &mut run).map_err(|damage| self.fault(damage))? {
                    self.forget(block, Stop::Closed);
                    break;
                }
                put += 1;
            }
            self.end_run(run);
            self.segment.check()?;
            Ok(put)
        })
    }

    /// Copies what is next, and copies again where it was taken meanwhile.
    fn peek(&self) -> Result<Option<Vec<u8>>, Damage> {
        for _ in 0..TURNS {
            let mut found = None;
            for which in [Which::Again, Which::First] {
                let ring = self.ring(which);
                let head = ring.head().load(Ordering::Acquire);
                if let Slot::Filled(block) = ring.read(head)? {
                    found = Some((which, ring, head, block));
                    break;
                }
            }
            let Some((which, ring, head, block)) = found else { return Ok(None) };
            if !self.is_ready(block, &ring, which, head) {
                ring.help_head(head);
                continue;
            }
            let read = self.read_message(block);
            fence(Ordering::SeqCst);
            // A tag that still bears the ticket has borne it all along, so the copy is whole.
            if self.is_ready(block, &ring, which, head) {
                return read.map(Some);
            }
        }
        Err(Damage::Ring)
    }

    fn lease(core: &Arc<Self>, until_ns: u64) -> Result<Lease, Stop> {
        let me = core.join()?;
        let claim = core.locals.with(|local| core.next(me, local, until_ns))?;
        Lease::of(core, me, claim).map_err(|damage| Stop::Fault(core.fault(damage)))
    }

    /// How many wait in a ring: exact whenever nothing moves, also when somebody died between publishing and
    /// moving the tail, or between claiming and moving the head.
    pub(crate) fn waiting(&self, which: Which) -> u64 {
        let ring = self.ring(which);
        for _ in 0..TURNS {
            let (head, tail) = (ring.head().load(Ordering::Acquire), ring.tail().load(Ordering::Acquire));
            match (ring.read(tail), ring.read(head)) {
                (Ok(Slot::Filled(_)), _) => ring.help_tail(tail),
                (_, Ok(Slot::Filled(block))) if !self.is_ready(block, &ring, which, head) => {
                    ring.help_head(head);
                }
                _ => return (tail.wrapping_sub(head) as i64).max(0) as u64,
            }
        }
        ring.length()
    }

    /// The end of a handle: what its threads got is done with, or, in a panic, is not.
    fn finish(&self) {
        let Some(me) = self.segment.seat() else { return };
        let in_panic = std::thread::panicking();
        self.locals.for_each(|local| {
            if in_panic {
                let _ = self.give_back_got(me, local).map_err(|damage| self.segment.poison(damage));
            } else {
                self.acknowledge_got(me, local);
            }
        });
        fence(Ordering::SeqCst);
        self.tell_if_drained();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.finish();
        self.segment.leave();
    }
}

fn deadline(timeout: Duration) -> u64 {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    futex::now_ns().saturating_add(timeout).max(1)
}

fn get_error(stop: Stop) -> GetError {
    match stop {
        Stop::Closed => GetError::Closed,
        Stop::Ended(_) => GetError::Interrupted,
        Stop::Fault(fault) => GetError::Fault(fault),
    }
}

fn try_get_error(stop: Stop) -> TryGetError {
    match stop {
        Stop::Closed => TryGetError::Closed,
        Stop::Ended(_) => TryGetError::Empty,
        Stop::Fault(fault) => TryGetError::Fault(fault),
    }
}

fn get_timeout_error(stop: Stop) -> GetTimeoutError {
    match stop {
        Stop::Closed => GetTimeoutError::Closed,
        Stop::Ended(Ended::TimedOut) => GetTimeoutError::Timeout,
        Stop::Ended(Ended::Interrupted) => GetTimeoutError::Interrupted,
        Stop::Fault(fault) => GetTimeoutError::Fault(fault),
    }
}

/// The header and the layout of a new queue.
fn plan(name: &str, options: &QueueOptions) -> Result<(Header, Layout), OpenError> {
    let counts = options.counts()?;
    let layout = Layout::of(counts).ok_or(OpenError::Options("larger than a queue can be"))?;
    let mut own = [0; 16];
    own[..7].copy_from_slice(&[
        options.capacity.unwrap_or(0),
        counts.bound,
        counts.blocks,
        counts.pages,
        options.max_message,
        u64::from(options.max_deliveries.unwrap_or(0)),
        u64::from(options.checksums),
    ]);
    let header = Header {
        kind: Kind::Queue,
        total: layout.total,
        participants: options.participants,
        supervised: options.supervised,
        creator: Identity::mine(),
        uuid: segment::new_uuid()?,
        name: name.to_owned(),
        own,
    };
    Ok((header, layout))
}

/// What [`plan`] wrote, checked again.
fn understand(header: &Header) -> Option<(Settings, Layout)> {
    let [capacity, bound, blocks, pages, max_message, max_deliveries, checksums, ..] = header.own;
    let layout = Layout::of(Counts { bound, blocks, pages, participants: header.participants })?;
    let possible = layout.total == header.total
        && (capacity == 0 || capacity == bound)
        && max_message <= crate::options::MOST_MESSAGE_BYTES
        && checksums <= 1;
    possible.then_some(())?;
    let max_deliveries = u32::try_from(max_deliveries).ok()?;
    let settings = Settings {
        capacity: (capacity != 0).then_some(capacity),
        max_message,
        max_deliveries: (max_deliveries != 0).then_some(max_deliveries),
        has_checksums: checksums == 1,
    };
    Some((settings, layout))
}

/// Makes zeros an empty queue.
fn format(memory: &Memory, layout: &Layout) {
    for which in [Which::First, Which::Again, Which::Dead] {
        let ring = crate::ring::Ring::new(memory, layout, which);
        ring.tail().store(ring.origin(), Ordering::Relaxed);
        ring.head().store(ring.origin(), Ordering::Relaxed);
    }
}

/// A process that exits by itself has finished what it got, also where its handles are never dropped.
mod at_exit {
    use super::{Arc, Core};
    use std::sync::{Mutex, Once, Weak};

    static HANDLES: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

    pub(super) fn remember(core: &Arc<Core>) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| crate::futex::at_exit(finish_all));
        if let Ok(mut handles) = HANDLES.lock() {
            handles.retain(|handle| handle.strong_count() > 0);
            handles.push(Arc::downgrade(core));
        }
    }

    extern "C" fn finish_all() {
        // Another thread may have been stopped with the lock held; then what it got is delivered again.
        if let Ok(handles) = HANDLES.try_lock() {
            handles.iter().filter_map(Weak::upgrade).for_each(|core| core.finish());
        }
    }
}
