//! The family as a program sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::atomic::Ordering;
use crate::errors::{Fault, OpenError};
use crate::segment::Reclaimed;
use crate::sync::barrier::Barrier;
use crate::sync::condition::Condition;
use crate::sync::deadlock::{lock_waited_for, program};
use crate::sync::directory::What;
use crate::sync::errors::NoSuch;
use crate::sync::event::Event;
use crate::sync::inner::Core;
use crate::sync::lock::{Lock, RLock};
use crate::sync::options::SyncOptions;
use crate::sync::semaphore::Semaphore;
use crate::sync::value::{Array, Value};

/// Locks, semaphores, events, conditions, barriers, values and arrays that belong together, each under its name,
/// in one piece of shared memory.
///
/// A handle can be shared by threads and costs little to clone. Each process that opens it is a participant; the
/// child of a fork may go on using the handle, is a participant of its own, and holds nothing of its parent's.
///
/// Any participant may be killed at any moment: what it held is handed on. Where the family is supervised, that
/// happens when somebody calls [`Family::reclaim`]; elsewhere, and when the one that made the family is dead too,
/// those who wait look after each other.
#[derive(Debug, Clone)]
pub struct Family {
    core: Arc<Core>,
}

/// A lock at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockState {
    /// Its name.
    pub name: String,
    /// Whether its holder may acquire it again.
    pub is_recursive: bool,
    /// The process that holds it and what that calls itself, else its program's name.
    pub holder: Option<(u32, String)>,
    /// How many threads sleep waiting for it.
    pub waiting: u32,
}

impl Family {
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core) }
    }

    /// Makes a family that has no place in the file system. Its memory cannot be cut short by anybody. Others open
    /// it by an inherited descriptor ([`Family::from_fd`]) or by [`Family::descriptor_path`].
    ///
    /// # Errors
    /// [`OpenError::Options`] for impossible options, [`OpenError::System`] without memory or descriptors.
    pub fn create_anonymous(name: &str, options: &SyncOptions) -> Result<Self, OpenError> {
        Ok(Self { core: Core::create_anonymous(name, options)? })
    }

    /// Makes a family in a new file. The file is there complete or not at all, and stays until it is removed.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where something is at `path`; [`OpenError::Options`]; [`OpenError::System`].
    pub fn create(path: impl AsRef<Path>, options: &SyncOptions) -> Result<Self, OpenError> {
        Ok(Self { core: Core::create(path.as_ref(), options)? })
    }

    /// Opens a family that somebody made: a file, or `/proc/PID/fd/N` of a process that holds it.
    ///
    /// # Errors
    /// Says what is wrong with what is there; nothing is changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self { core: Core::open(path.as_ref())? })
    }

    /// Opens a family by a descriptor, most often an inherited one.
    ///
    /// # Errors
    /// As [`Family::open`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        Ok(Self { core: Core::from_fd(fd)? })
    }

    /// The name it was made with, at most 128 bytes of it.
    pub fn name(&self) -> &str {
        &self.core.segment.header().name
    }

    /// Sixteen random bytes that tell this family from every other.
    pub fn uuid(&self) -> [u8; 16] {
        self.core.segment.header().uuid
    }

    /// Where other processes of this user can open it as long as this process holds it.
    pub fn descriptor_path(&self) -> PathBuf {
        self.core.segment.descriptor_path()
    }

    /// The lock of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn lock(&self, name: &str) -> Result<Lock, NoSuch> {
        self.core.find(&[What::Lock], name).map(|number| Lock::of(&self.core, number))
    }

    /// The recursive lock of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn rlock(&self, name: &str) -> Result<RLock, NoSuch> {
        self.core.find(&[What::RLock], name).map(|number| RLock::of(&self.core, number))
    }

    /// The semaphore of this name, bounded or not.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn semaphore(&self, name: &str) -> Result<Semaphore, NoSuch> {
        let kinds = [What::Semaphore, What::BoundedSemaphore];
        self.core.find(&kinds, name).map(|number| Semaphore::of(&self.core, number))
    }

    /// The event of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn event(&self, name: &str) -> Result<Event, NoSuch> {
        self.core.find(&[What::Event], name).map(|number| Event::of(&self.core, number))
    }

    /// The condition of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn condition(&self, name: &str) -> Result<Condition, NoSuch> {
        self.core.find(&[What::Condition], name).map(|number| Condition::of(&self.core, number))
    }

    /// The barrier of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn barrier(&self, name: &str) -> Result<Barrier, NoSuch> {
        self.core.find(&[What::Barrier], name).map(|number| Barrier::of(&self.core, number))
    }

    /// The value of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn value(&self, name: &str) -> Result<Value, NoSuch> {
        self.core.find(&[What::Value], name).map(|number| Value::of(&self.core, number))
    }

    /// The array of this name.
    ///
    /// # Errors
    /// [`NoSuch`] with the names there are.
    pub fn array(&self, name: &str) -> Result<Array, NoSuch> {
        self.core.find(&[What::Array], name).map(|number| Array::of(&self.core, number))
    }

    /// Every lock, with who holds it now.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn locks(&self) -> Result<Vec<LockState>, Fault> {
        self.core.check()?;
        let core = &self.core;
        let waits_for = |lock: u32| {
            let is_one = |&actor: &u32| {
                core.whose(actor).is_some()
                    && lock_waited_for(core.waiting_word(actor).load(Ordering::Acquire)) == Some(lock)
            };
            (0..core.actor_reach()).filter(is_one).count() as u32
        };
        let state = |lock: u32| {
            let holder = core.holder(lock)?.and_then(|actor| core.whose(actor)).map(|whose| {
                (whose.pid, core.label(whose.participant).unwrap_or_else(|| program(whose.pid)))
            });
            Ok(LockState {
                name: core.name_of(lock).to_owned(),
                is_recursive: core.entries[lock as usize].what == What::RLock,
                holder,
                waiting: waits_for(lock),
            })
        };
        core.locks().map(state).collect()
    }

    /// Says what this process calls itself, for those who are told of a deadlock or a dead holder; at most 56
    /// bytes of it.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn set_label(&self, label: &str) -> Result<(), Fault> {
        self.core.check()?;
        let me = self.core.join()?;
        self.core.set_label(me, label);
        Ok(())
    }

    /// Gives the blocking calls of this handle a flag to look at before they sleep and whenever a signal ends
    /// their sleep; while it is up they answer `Interrupted`.
    ///
    /// A signal that comes just before the sleep ends nothing; who raises the flag from a signal handler or
    /// another thread also calls [`Family::wake_me`], which leaves no gap.
    pub fn set_interrupt(&self, flag: Arc<AtomicBool>) {
        self.core.set_interrupt(flag);
    }

    /// Wakes every sleeper of this family, in all processes, to look again whether it must go on sleeping. May be
    /// called in a signal handler.
    pub fn wake_me(&self) {
        self.core.wake_everybody();
    }

    /// Looks after the process `pid`, if it is dead: what it held is handed on, and everybody is woken to make good
    /// what it owed. A living process is left alone, also one that has the pid of a dead one.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn reclaim(&self, pid: u32) -> Result<Reclaimed, Fault> {
        self.core.reclaim(|who| who.pid == pid)
    }

    /// Looks after every participant that is dead.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn reclaim_dead(&self) -> Result<Reclaimed, Fault> {
        self.core.reclaim(|_| true)
    }
}

impl AsFd for Family {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.segment.memory().as_fd()
    }
}
