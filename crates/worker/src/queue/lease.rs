//! Messages in hand.

use std::ops::Deref;
use std::time::Duration;

use super::bytes::BytesQueue;

/// A message that is this worker's until it acknowledges it. Dropped, or when the worker dies, it is delivered again.
#[derive(Debug)]
pub struct Lease<'a, T> {
    message: T,
    queue: &'a BytesQueue,
    /// Taken when it is acknowledged or given back.
    lease: Option<ipc::Lease>,
}

impl<'a, T> Lease<'a, T> {
    pub(super) fn of(message: T, queue: &'a BytesQueue, lease: ipc::Lease) -> Lease<'a, T> {
        Lease { message, queue, lease: Some(lease) }
    }

    /// A number that is the same in every delivery of this message, and no other message's in this queue.
    pub fn id(&self) -> u64 {
        self.lease.as_ref().map_or(0, ipc::Lease::id)
    }

    /// Which delivery this is: 1 for the first.
    pub fn deliveries(&self) -> u32 {
        self.lease.as_ref().map_or(0, ipc::Lease::deliveries)
    }

    /// The message is done with.
    pub fn ack(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.ack();
        }
    }

    /// Gives the message back, to be delivered again at once.
    pub fn nack(self) {
        drop(self);
    }

    /// Gives the message back, to be delivered again when so long has passed: for one that cannot be done yet. Until then
    /// the queue is not over, even where it is closed.
    pub fn nack_after(mut self, delay: Duration) {
        if let Some(lease) = self.lease.take() {
            lease.nack_after(delay);
            self.queue.forward_dead();
        }
    }
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.queue.give_back(lease);
        }
    }
}
