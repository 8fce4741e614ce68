//! The hold of a lock, plain or recursive.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::memory;
use crate::sync::actors::Actor;
use crate::sync::inner::Core;
use crate::sync::lock::DeadHolder;

/// The hold of a lock; letting it go out of scope releases the lock.
///
/// It belongs to the thread that acquired it. A guard that is leaked holds the lock until its process ends.
#[derive(Debug)]
#[must_use = "the lock is released at once where the guard is not kept"]
pub struct Guard {
    pub(crate) core: Arc<Core>,
    at: usize,
    hold: Hold,
    recovered: Option<Box<DeadHolder>>,
    of_this_thread: PhantomData<*const ()>,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    actor: Actor,
    /// The child of a fork has a copy of the guard, and no hold. Zero while a condition waits without the lock.
    pid: u32,
}

impl Guard {
    #[inline(always)]
    pub(super) fn of(core: &Arc<Core>, at: usize, actor: Actor, recovered: Option<Box<DeadHolder>>) -> Self {
        let hold = Hold { actor, pid: memory::this_process() };
        Self { core: Arc::clone(core), at, hold, recovered, of_this_thread: PhantomData }
    }

    /// The holder before, if it died with the lock: what the lock protects may be half changed.
    pub fn recovered(&self) -> Option<&DeadHolder> {
        self.recovered.as_deref()
    }

    /// Releases the lock, as dropping the guard does.
    pub fn release(self) {}

    /// The number of the lock.
    pub(crate) fn lock(&self) -> Option<u32> {
        self.core.layout.objects.binary_search(&self.at).ok().map(|number| number as u32)
    }

    /// Lets go of the lock in full, to take it again later; answers how deep it was held.
    pub(crate) fn suspend(&mut self) -> Option<u64> {
        let actor = self.actor()?;
        self.hold.pid = 0;
        let depth = self.core.release(self.at, actor, true);
        (depth > 0).then_some(depth)
    }

    /// Holds the lock again.
    pub(crate) fn resume(&mut self, recovered: Option<DeadHolder>) {
        self.hold.pid = memory::this_process();
        self.recovered = recovered.map(Box::new);
    }

    /// Who holds it by this guard.
    #[inline(always)]
    pub(crate) fn actor(&self) -> Option<Actor> {
        (self.hold.pid == memory::this_process()).then_some(self.hold.actor)
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if let Some(actor) = self.actor() {
            self.core.release(self.at, actor, false);
        }
    }
}
