//! A message in hand.

use std::sync::Arc;
use std::time::Duration;

use crate::atomic::Ordering;
use crate::core::Core;
use crate::errors::Damage;
use crate::get::Claim;

/// A message that is ours until it is acknowledged. Dropped, or left behind by a death, it is delivered again.
/// In the child of a fork it is a copy that settles nothing.
#[derive(Debug)]
pub struct Lease {
    core: Arc<Core>,
    me: u32,
    claim: Claim,
    bytes: Vec<u8>,
    id: u64,
    deliveries: u32,
    is_settled: bool,
}

impl Lease {
    pub(crate) fn of(core: &Arc<Core>, me: u32, claim: Claim) -> Result<Self, Damage> {
        let bytes = core.read_message(claim.block)?;
        core.segment.check()?;
        let id = core.id(claim.block).load(Ordering::Relaxed);
        let deliveries = core.times_delivered(claim.block).saturating_add(1);
        Ok(Self { core: Arc::clone(core), me, claim, bytes, id, deliveries, is_settled: false })
    }

    /// The message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the message out; the lease remains and is still to be acknowledged.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// A number of the message within its queue, the same at every delivery.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How often it has been delivered, this time included: 1 for the first.
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// The message is done with, for good.
    pub fn ack(mut self) {
        self.settle();
    }

    /// The message is done with; answers its bytes.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.settle();
        std::mem::take(&mut self.bytes)
    }

    fn settle(&mut self) {
        if self.is_unsettled() {
            self.core.acknowledge_and_tell(self.me, self.claim);
        }
        self.is_settled = true;
    }

    /// Whether it is ours to settle: the child of a fork has a copy of what its parent holds, and leaves it.
    fn is_unsettled(&self) -> bool {
        !self.is_settled && self.core.segment.seat() == Some(self.me)
    }

    /// Gives the message back at once; it is the next to be delivered, to anybody.
    pub fn nack(self) {
        drop(self);
    }

    /// Gives the message back as if it had never been taken: nobody has seen it, and the delivery does not count.
    pub fn put_back(mut self) {
        self.part(Core::put_back);
    }

    /// Gives the message up: it becomes a dead letter, however often it was delivered.
    pub fn bury(mut self) {
        self.part(Core::bury);
    }

    fn part(&mut self, how: impl Fn(&Core, u32, Claim) -> Result<(), Damage>) {
        if self.is_unsettled()
            && let Err(damage) = how(&self.core, self.me, self.claim)
        {
            self.core.segment.poison(damage);
        }
        self.is_settled = true;
    }

    /// Gives the message back, to be delivered not before so long.
    pub fn nack_after(mut self, delay: Duration) {
        let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        if self.is_unsettled()
            && let Err(damage) = self.core.give_back_later(self.me, self.claim, delay_ns)
        {
            self.core.segment.poison(damage);
        }
        self.is_settled = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_unsettled()
            && let Err(damage) = self.core.give_back(self.me, self.claim)
        {
            self.core.segment.poison(damage);
        }
    }
}
