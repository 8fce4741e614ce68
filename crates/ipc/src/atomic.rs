//! The one door by which atomics come in, so that a model checker can stand in for the processor.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Orders a read-modify-write that has just been done before the loads that follow it.
///
/// Every waker publishes with a read-modify-write and then looks whether somebody sleeps; every sleeper says
/// so and then looks once more. On x86-64 a locked instruction is already the barrier between the two, and a
/// fence would pay for it a second time.
#[inline(always)]
pub(crate) fn barrier_after_rmw() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    fence(Ordering::SeqCst);
}
