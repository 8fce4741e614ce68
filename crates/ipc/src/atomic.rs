//! The one door by which atomics come in, so that a model checker can stand in for the processor.
//!
//! Built with `--cfg loom` they are loom's, and each is also a place where a model may end the thread that is at
//! it, as a kill would: see [`model`].

#[cfg(loom)]
pub(crate) use model::{AtomicU32, AtomicU64};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{Ordering, fence};

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

/// Loom's atomics, with a death before every step.
#[cfg(loom)]
pub(crate) mod model {
    use super::Ordering;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    loom::thread_local! {
        static STEPS_TO_LIVE: Cell<Option<u32>> = Cell::new(None);
    }

    struct Killed;

    /// Runs `life` for so many atomic steps at most. None when it was cut short.
    pub(crate) fn killed_after<T>(steps: u32, life: impl FnOnce() -> T) -> Option<T> {
        STEPS_TO_LIVE.with(|left| left.set(Some(steps)));
        let lived = catch_unwind(AssertUnwindSafe(life));
        STEPS_TO_LIVE.with(|left| left.set(None));
        match lived {
            Ok(value) => Some(value),
            Err(reason) if reason.is::<Killed>() => None,
            Err(reason) => resume_unwind(reason),
        }
    }

    fn step() {
        let is_over = STEPS_TO_LIVE.with(|left| match left.get() {
            None => false,
            Some(0) => true,
            Some(steps) => {
                left.set(Some(steps - 1));
                false
            }
        });
        if is_over {
            resume_unwind(Box::new(Killed));
        }
    }

    macro_rules! atomic {
        ($name:ident, $loom:ident, $number:ty) => {
            #[derive(Debug)]
            pub(crate) struct $name(loom::sync::atomic::$loom);

            impl $name {
                pub(crate) fn new(value: $number) -> Self {
                    Self(loom::sync::atomic::$loom::new(value))
                }

                /// As an access that also writes: loom does not try a store before a load that it happened to
                /// run first, and then never sees what comes of that order.
                pub(crate) fn load(&self, _order: Ordering) -> $number {
                    step();
                    self.0.fetch_add(0, Ordering::AcqRel)
                }

                /// As an access that also reads: loom lets a later read of the same thread miss a plain store.
                pub(crate) fn store(&self, value: $number, _order: Ordering) {
                    step();
                    self.0.swap(value, Ordering::AcqRel);
                }

                pub(crate) fn compare_exchange(
                    &self,
                    old: $number,
                    new: $number,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$number, $number> {
                    step();
                    self.0.compare_exchange(old, new, success, failure)
                }

                pub(crate) fn fetch_add(&self, value: $number, order: Ordering) -> $number {
                    step();
                    self.0.fetch_add(value, order)
                }

                pub(crate) fn fetch_and(&self, value: $number, order: Ordering) -> $number {
                    step();
                    self.0.fetch_and(value, order)
                }

                pub(crate) fn fetch_max(&self, value: $number, order: Ordering) -> $number {
                    step();
                    self.0.fetch_max(value, order)
                }
            }
        };
    }

    atomic!(AtomicU64, AtomicU64, u64);
    atomic!(AtomicU32, AtomicU32, u32);

    impl AtomicU32 {
        /// What a kernel does, which nobody's death interrupts.
        pub(crate) fn load_in_the_kernel(&self) -> u32 {
            self.0.fetch_add(0, Ordering::AcqRel)
        }
    }
}
