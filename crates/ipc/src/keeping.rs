//! That what changed in a durable queue reaches the disk when it was promised to.
//!
//! Where a put answers for it, the put waits for the disk itself. Where a time was promised, the first change after
//! all was on the disk wakes a thread of this process, which lets that time pass and then has all of it written; it
//! sleeps while nothing changes.
//!
//! A disk that fails to take what it is given may have it or not, and does not tell a second time: the queue is then
//! given up on by everybody. What is on the disk of it is found when it is next opened.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::Duration;

use crate::core::Core;
use crate::errors::{Damage, Fault};
use crate::layout::INLINE;
use crate::memory::{OS_PAGE, this_process};
use crate::options::Fsync;

/// How a handle keeps what was promised.
#[derive(Debug)]
pub(crate) enum Keeper {
    /// Every put waits for the disk.
    AtOnce,
    /// A thread does, in time.
    InTime(InTime),
}

#[derive(Debug)]
pub(crate) struct InTime {
    every: Duration,
    /// The process in which something changed since all of it was last written; zero for none. In the child of a fork
    /// that is not the child.
    changed_in: AtomicU32,
    thread: Mutex<Option<Started>>,
}

#[derive(Debug)]
struct Started {
    process: u32,
    bell: Arc<Bell>,
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.process == this_process() {
            self.bell.ring(Call::End);
        }
    }
}

/// What the thread sleeps on.
#[derive(Debug, Default)]
struct Bell {
    call: Mutex<Call>,
    rung: Condvar,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Call {
    #[default]
    Nothing,
    Changed,
    End,
}

impl Bell {
    fn ring(&self, call: Call) {
        let mut now = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != Call::End {
            *now = call;
        }
        self.rung.notify_one();
    }

    /// Sleeps until there is a call other than `Nothing`.
    fn hear(&self) -> Call {
        let mut now = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        while *now == Call::Nothing {
            now = self.rung.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        let heard = *now;
        if heard == Call::Changed {
            *now = Call::Nothing;
        }
        heard
    }

    /// Lets the time pass; false when it is cut short by the end.
    fn let_pass(&self, time: Duration) -> bool {
        let now = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, _) = self
            .rung
            .wait_timeout_while(now, time, |call| *call != Call::End)
            .unwrap_or_else(PoisonError::into_inner);
        *now != Call::End
    }
}

impl Keeper {
    pub(crate) fn of(fsync: Option<Fsync>) -> Option<Self> {
        match fsync {
            None | Some(Fsync::Never) => None,
            Some(Fsync::Always) => Some(Self::AtOnce),
            Some(Fsync::Interval(every)) => {
                Some(Self::InTime(InTime { every, changed_in: AtomicU32::new(0), thread: Mutex::new(None) }))
            }
        }
    }
}

fn look_after(core: &Weak<Core>, every: Duration, bell: &Bell) {
    while bell.hear() == Call::Changed {
        if !bell.let_pass(every) {
            return;
        }
        let Some(core) = core.upgrade() else { return };
        core.keep_rest();
    }
}

impl Core {
    /// A message was put: waits until it is on the disk, where that was promised.
    #[inline(always)]
    pub(crate) fn keep_put(&self, block: u32, length: usize) -> Result<(), Fault> {
        match &self.keeper {
            None => Ok(()),
            Some(keeper) => self.keep_put_by(keeper, block, length),
        }
    }

    /// The rings need not be there: they are made anew from the blocks. A short message is in its block, and blocks
    /// never lie in two pages.
    #[cold]
    fn keep_put_by(&self, keeper: &Keeper, block: u32, length: usize) -> Result<(), Fault> {
        match keeper {
            Keeper::InTime(_) => {
                self.note_change();
                Ok(())
            }
            Keeper::AtOnce if length > INLINE => self.keep_all(),
            Keeper::AtOnce => {
                let page = self.layout.block(block) & !(OS_PAGE - 1);
                let kept = self.segment.memory().sync(page, OS_PAGE);
                kept.map_err(|_| self.fault(Damage::Disk))
            }
        }
    }

    /// Messages were put: waits until they are on the disk, where that was promised.
    pub(crate) fn keep_run(&self) -> Result<(), Fault> {
        match &self.keeper {
            None => Ok(()),
            Some(Keeper::InTime(_)) => {
                self.note_change();
                Ok(())
            }
            Some(Keeper::AtOnce) => self.keep_all(),
        }
    }

    fn keep_all(&self) -> Result<(), Fault> {
        self.segment.memory().sync_all().map_err(|_| self.fault(Damage::Disk))
    }

    /// A message that had nearly been put was refused: it must not be there after all when the power is lost.
    pub(crate) fn keep_refusal(&self, block: u32) {
        // Where it fails the queue says so to the next who uses it.
        let _ = self.keep_put(block, 0);
    }

    /// A word of the queue's own page was written: waits until it is on the disk, where that was promised.
    pub(crate) fn keep_page_of(&self, word: usize) -> Result<(), Damage> {
        match &self.keeper {
            None => Ok(()),
            Some(Keeper::InTime(_)) => {
                self.note_change();
                Ok(())
            }
            Some(Keeper::AtOnce) => {
                self.segment.memory().sync(word & !(OS_PAGE - 1), OS_PAGE).map_err(|_| Damage::Disk)
            }
        }
    }

    /// Something changed that may reach the disk later.
    #[inline(always)]
    pub(crate) fn note_change(&self) {
        if let Some(Keeper::InTime(keeper)) = &self.keeper {
            self.note_change_to(keeper);
        }
    }

    fn note_change_to(&self, keeper: &InTime) {
        let me = this_process();
        if keeper.changed_in.load(Acquire) == me || keeper.changed_in.swap(me, AcqRel) == me {
            return;
        }
        let mut thread = match keeper.thread.try_lock() {
            Ok(thread) => thread,
            // Another thread is here, and will ring for both.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if thread.as_ref().is_none_or(|started| started.process != me) {
            let bell = Arc::new(Bell::default());
            let (core, every, its_bell) = (self.this.clone(), keeper.every, Arc::clone(&bell));
            let started = thread::Builder::new()
                .name("ipc-keeper".to_owned())
                .spawn(move || look_after(&core, every, &its_bell));
            // In the child of a fork the other has no thread to hear its end.
            *thread = started.ok().map(|_| Started { process: me, bell });
        }
        match thread.as_ref() {
            Some(started) => started.bell.ring(Call::Changed),
            // Where no thread can be had, what it would have done is done at once.
            None => {
                drop(thread);
                self.keep_rest();
            }
        }
    }

    /// Writes what has changed and is to reach the disk later.
    pub(crate) fn keep_rest(&self) {
        if let Some(Keeper::InTime(keeper)) = &self.keeper
            // First, so that what changes from here on is written the next time.
            && keeper.changed_in.swap(0, AcqRel) != 0
            && self.keep_all().is_err()
        {
            keeper.changed_in.store(this_process(), Release);
        }
    }
}
