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
use crate::sync::deadlock::lock_waited_for;
use crate::sync::directory::{Entry, What};
use crate::sync::errors::{DefineError, NoSuch};
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
    /// The threads that sleep waiting for it: the process of each and what that calls itself, else its program's
    /// name.
    pub waiters: Vec<(u32, String)>,
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

    /// Defines one more lock.
    ///
    /// Of all processes only the one that made the family, or looks after its dead, is to define more; the others see
    /// it at once.
    ///
    /// # Errors
    /// [`DefineError::Exists`], [`DefineError::Full`], [`DefineError::Options`], [`DefineError::Fault`].
    pub fn define_lock(&self, name: &str) -> Result<Lock, DefineError> {
        Ok(Lock::of(&self.core, self.define(What::Lock, name, 0)?))
    }

    /// Defines one more recursive lock. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_rlock(&self, name: &str) -> Result<RLock, DefineError> {
        Ok(RLock::of(&self.core, self.define(What::RLock, name, 0)?))
    }

    /// Defines one more bounded semaphore. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_bounded_semaphore(&self, name: &str, permits: u32) -> Result<Semaphore, DefineError> {
        Ok(Semaphore::of(&self.core, self.define(What::BoundedSemaphore, name, i64::from(permits))?))
    }

    /// Defines one more event, not set. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_event(&self, name: &str) -> Result<Event, DefineError> {
        Ok(Event::of(&self.core, self.define(What::Event, name, 0)?))
    }

    /// Defines one more condition. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_condition(&self, name: &str) -> Result<Condition, DefineError> {
        Ok(Condition::of(&self.core, self.define(What::Condition, name, 0)?))
    }

    /// Defines one more barrier for so many parties. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_barrier(&self, name: &str, parties: u32) -> Result<Barrier, DefineError> {
        Ok(Barrier::of(&self.core, self.define(What::Barrier, name, i64::from(parties))?))
    }

    /// Defines one more value. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_value(&self, name: &str, value: i64) -> Result<Value, DefineError> {
        Ok(Value::of(&self.core, self.define(What::Value, name, value)?))
    }

    /// Defines one more array of so many numbers, at most 512, all of them 0. See [`Family::define_lock`].
    ///
    /// # Errors
    /// As [`Family::define_lock`].
    pub fn define_array(&self, name: &str, length: u32) -> Result<Array, DefineError> {
        Ok(Array::of(&self.core, self.define(What::Array, name, i64::from(length))?))
    }

    fn define(&self, what: What, name: &str, number: i64) -> Result<u32, DefineError> {
        self.core.define(Entry { what, name: name.to_owned(), number })
    }

    /// The semaphores, in the order in which they were defined.
    pub fn semaphores(&self) -> Vec<Semaphore> {
        self.of_kind(&[What::Semaphore, What::BoundedSemaphore], Semaphore::of)
    }

    /// The events, in the order in which they were defined.
    pub fn events(&self) -> Vec<Event> {
        self.of_kind(&[What::Event], Event::of)
    }

    /// The conditions, in the order in which they were defined.
    pub fn conditions(&self) -> Vec<Condition> {
        self.of_kind(&[What::Condition], Condition::of)
    }

    /// The barriers, in the order in which they were defined.
    pub fn barriers(&self) -> Vec<Barrier> {
        self.of_kind(&[What::Barrier], Barrier::of)
    }

    /// The values, in the order in which they were defined.
    pub fn values(&self) -> Vec<Value> {
        self.of_kind(&[What::Value], Value::of)
    }

    /// The arrays, in the order in which they were defined.
    pub fn arrays(&self) -> Vec<Array> {
        self.of_kind(&[What::Array], Array::of)
    }

    fn of_kind<T>(&self, kinds: &[What], of: impl Fn(&Arc<Core>, u32) -> T) -> Vec<T> {
        let of_the_kind = self.core.objects().filter(|(_, entry)| kinds.contains(&entry.what));
        of_the_kind.map(|(number, _)| of(&self.core, number)).collect()
    }

    /// Every lock, with who holds it now.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn locks(&self) -> Result<Vec<LockState>, Fault> {
        self.core.check()?;
        let core = &self.core;
        let waits = |actor: &u32, lock: u32| {
            lock_waited_for(core.waiting_word(*actor).load(Ordering::Acquire)) == Some(lock)
        };
        let state = |lock: u32| {
            let waiters = (0..core.actor_reach()).filter(|actor| waits(actor, lock));
            Ok(LockState {
                name: core.name_of(lock).to_owned(),
                is_recursive: core.entry(lock).is_some_and(|entry| entry.what == What::RLock),
                holder: core.holder(lock)?.and_then(|actor| core.called(actor)),
                waiters: waiters.filter_map(|actor| core.called(actor)).collect(),
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

    /// A text by which another process can act for this thread ([`Family::act_for`]), as long as this thread lives.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn warrant(&self) -> Result<String, Fault> {
        self.core.check()?;
        let me = self.core.actor()?;
        let whose = self.core.whose_word(me).load(Ordering::Acquire);
        Ok(format!("{}:{me:x}:{whose:x}", hexadecimal(self.uuid())))
    }

    /// Makes this thread act for the one that gave the warrant: that one waits for whatever this one waits for, so
    /// that a circle which goes through both is found, and told with the locks of both. Of use where a process that
    /// holds a lock starts another and waits for its end.
    ///
    /// False where the warrant is of another family, or its thread is no more; nothing is changed then.
    ///
    /// # Errors
    /// [`Fault`] where the family cannot be used.
    pub fn act_for(&self, warrant: &str) -> Result<bool, Fault> {
        self.core.check()?;
        let me = self.core.actor()?;
        let Some((actor, whose)) = self.read_warrant(warrant) else { return Ok(false) };
        let is_alive = self.core.whose_word(actor).load(Ordering::Acquire) == whose;
        if !is_alive || self.core.acts_for(actor, me) {
            return Ok(false);
        }
        self.core.let_act_for(me, actor, whose);
        Ok(true)
    }

    /// The process whose thread gave a warrant of this family; none where the warrant is of another, or of somebody
    /// that is no more and was looked after ([`Family::reclaim`]).
    pub fn giver_of(&self, warrant: &str) -> Option<u32> {
        let (actor, whose) = self.read_warrant(warrant)?;
        let is_given = self.core.whose_word(actor).load(Ordering::Acquire) == whose;
        self.core.whose(actor).filter(|_| is_given).map(|whose| whose.pid)
    }

    fn read_warrant(&self, warrant: &str) -> Option<(u32, u64)> {
        let mut parts = warrant.split(':');
        let is_ours = parts.next() == Some(hexadecimal(self.uuid()).as_str());
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let actor = u32::try_from(number()?).ok().filter(|actor| *actor < self.core.layout.most_actors)?;
        let whose = number()?;
        (is_ours && whose != 0).then_some((actor, whose))
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

fn hexadecimal(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
