//! Getting and leasing: at once where something is there, else asleep until something comes or nothing can come.

use std::cell::Cell;
use std::sync::Arc;

use super::{Core, Stop};
use crate::atomic::{Ordering, fence};
use crate::errors::{Damage, Fault};
use crate::get::{Claim, Next};
use crate::layout::{CAME, DRAINED};
use crate::lease::Lease;
use crate::locals::Local;
use crate::tag::Which;
use crate::waiting::{Ended, Pace, Try};

/// When a closed queue has nothing more for a getter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// When nothing waits and nothing is in hand that might be given back.
    Drained,
    /// When nothing waits.
    Closed,
}

/// What a getter is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    end: End,
    /// Several together, and not the first as soon as it is there.
    many: bool,
}

impl Core {
    /// Claims the next message; `until_ns` zero means not to wait. `end` says when there is none to wait for.
    #[inline]
    fn next(&self, me: u32, local: &Local, until_ns: u64, wish: Wish) -> Result<Claim, Stop> {
        self.segment.check().map_err(Fault::Corrupt)?;
        match self.claim(me).map_err(|damage| self.fault(damage))? {
            Next::Claimed(claim) => {
                local.empty_since.set(0);
                Ok(claim)
            }
            _ => {
                let claim = self.next_later(me, local, until_ns, wish)?;
                local.empty_since.set(0);
                Ok(claim)
            }
        }
    }

    #[cold]
    fn next_later(&self, me: u32, local: &Local, until_ns: u64, wish: Wish) -> Result<Claim, Stop> {
        // What was acknowledged before the claim that found nothing has not been told yet.
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        self.trim_if_idle(me, local);
        let side = Cell::new(CAME);
        let attempt = || {
            self.segment.check().map_err(Fault::Corrupt)?;
            match self.claim(me).map_err(|damage| self.fault(damage))? {
                Next::Claimed(claim) => return Ok(Try::Done(claim)),
                Next::Empty => side.set(CAME),
                Next::Ended if wish.end == End::Closed || !self.has_in_flight() => return Err(Stop::Closed),
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
            let is_worth_a_try = || !wish.many || self.shows_some();
            self.wait(me, local, until_ns, (Pace::Eager, &is_worth_a_try), || side.get(), attempt)
        }
    }

    /// Whether tails and heads say that there is something to get. They may lag, but who puts many moves the tail once,
    /// when all are there, while a look at the slots takes their lines from it for each.
    fn shows_some(&self) -> bool {
        [Which::First, Which::Again].iter().any(|&which| self.ring(which).length() > 0)
    }

    /// Gets the next message by `read`, which is given its block; `until_ns` zero means not to wait. Who
    /// wants `many` looks less often.
    #[inline(always)]
    pub(crate) fn get_by<T>(
        &self,
        until_ns: u64,
        many: bool,
        read: impl FnOnce(u32) -> Result<T, Damage>,
    ) -> Result<T, Stop> {
        let me = self.join()?;
        self.locals.with(|local| {
            self.acknowledge_got(me, local);
            let claim = self.next(me, local, until_ns, Wish { end: End::Drained, many })?;
            self.tell_if_drained();
            let message = read(claim.block).map_err(|damage| self.fault(damage))?;
            self.segment.check_whole().map_err(Fault::Corrupt)?;
            if self.acknowledges_at_once.load(Ordering::Relaxed) {
                self.acknowledge_and_tell(me, claim);
            } else {
                self.remember_got(local, claim);
            }
            Ok(message)
        })
    }

    pub(crate) fn get(&self, until_ns: u64) -> Result<Vec<u8>, Stop> {
        self.get_by(until_ns, false, |block| self.read_message(block))
    }

    /// Gets up to `most` messages that are at hand, by `read`, which answers whether it accepts the one in a block: one
    /// that it does not is given back, and is the last.
    pub(crate) fn get_more_by(
        &self,
        most: usize,
        mut read: impl FnMut(u32) -> Result<bool, Damage>,
    ) -> Result<(), Stop> {
        if most == 0 {
            return Ok(());
        }
        let me = self.join()?;
        let at_once = self.acknowledges_at_once.load(Ordering::Relaxed);
        self.locals.with(|local| {
            let mut got = Got { core: self, local, claims: Vec::with_capacity(most.min(64)), at_once };
            let mut taken = 0;
            let mut take = |claim: Claim| {
                if !read(claim.block)? {
                    self.give_back(me, claim)?;
                    return Ok(false);
                }
                if at_once {
                    self.acknowledge(me, claim);
                } else {
                    got.claims.push(claim);
                }
                taken += 1;
                Ok(taken < most)
            };
            self.claim_run(me, &mut take).map_err(|damage| self.fault(damage))?;
            self.segment.check().map_err(Fault::Corrupt)?;
            Ok(())
        })
    }

    pub(crate) fn lease(core: &Arc<Self>, until_ns: u64, end: End) -> Result<Lease, Stop> {
        let me = core.join()?;
        let claim = core.locals.with(|local| core.next(me, local, until_ns, Wish { end, many: false }))?;
        Lease::of(core, me, claim).map_err(|damage| Stop::Fault(core.fault(damage)))
    }

    /// Claims what is at hand, and reads it.
    pub(crate) fn lease_many(core: &Arc<Self>, most: usize) -> Result<Vec<Lease>, Stop> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let me = core.join()?;
        let fault = |damage| Stop::Fault(core.fault(damage));
        let mut leases = Vec::new();
        let first =
            core.locals.with(|local| core.next(me, local, 0, Wish { end: End::Drained, many: true }))?;
        leases.push(Lease::of(core, me, first).map_err(fault)?);
        // A run is of the first ring; what was given back comes before that.
        while leases.len() < most && core.waiting(Which::Again) > 0 {
            match core.claim(me).map_err(fault)? {
                Next::Claimed(claim) => leases.push(Lease::of(core, me, claim).map_err(fault)?),
                _ => return Ok(leases),
            }
        }
        let wants_more = leases.len() < most;
        let mut take = |claim| {
            leases.push(Lease::of(core, me, claim)?);
            Ok(leases.len() < most)
        };
        if wants_more {
            core.claim_run(me, &mut take).map_err(fault)?;
        }
        Ok(leases)
    }
}

/// What one call has got so far. However it ends, the thread has it in its books: it is not got twice.
struct Got<'a> {
    core: &'a Core,
    local: &'a Local,
    claims: Vec<Claim>,
    at_once: bool,
}

impl Drop for Got<'_> {
    fn drop(&mut self) {
        if self.at_once {
            fence(Ordering::SeqCst);
            self.core.tell_if_drained();
        } else {
            self.core.remember_all_got(self.local, &self.claims);
        }
    }
}
