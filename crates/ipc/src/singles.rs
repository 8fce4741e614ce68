//! One message with one call: put, got, leased, looked at, given up on. Several are in [`batches`](crate::batches).

use std::time::Duration;

use crate::atomic::{Ordering, fence};
use crate::core::{Core, End};
use crate::errors::{Fault, GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};
use crate::lease::Lease;
use crate::queue::{Queue, deadline};

impl Queue {
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
}
