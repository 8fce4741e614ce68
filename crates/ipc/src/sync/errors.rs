//! What can go wrong, a small enum for each operation.

use std::fmt;

use crate::errors::{Fault, OpenError};
use crate::sync::deadlock::Deadlock;

/// A name that the family does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuch {
    /// What was asked for: `lock`, `semaphore`, …
    pub kind: &'static str,
    /// The name that is not known.
    pub name: String,
    /// The names of this kind that are.
    pub known: Vec<String>,
}

impl fmt::Display for NoSuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} \"{}\"", self.kind, self.name)?;
        match self.known.as_slice() {
            [] => f.write_str(" (there are none)"),
            known => write!(f, " (known: {})", known.join(", ")),
        }
    }
}

impl std::error::Error for NoSuch {}

/// Why an object was not defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefineError {
    /// There is one of this kind and name.
    Exists,
    /// So many were defined, and there is room for no more
    /// ([`SyncOptions::spare`](crate::sync::SyncOptions::spare)).
    Full(u32),
    /// It cannot be so.
    Options(&'static str),
    /// The family cannot be used at all.
    Fault(Fault),
}

impl DefineError {
    pub(crate) fn of(error: OpenError) -> Self {
        match error {
            OpenError::Options(why) => Self::Options(why),
            _ => Self::Options("it cannot be so"),
        }
    }
}

impl fmt::Display for DefineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("there is one of that name"),
            Self::Full(most) => write!(f, "there is room for no more than {most} that are defined later"),
            Self::Options(why) => f.write_str(why),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for DefineError {}

impl From<Fault> for DefineError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

macro_rules! operation_error {
    ($(#[$meta:meta])* $name:ident { $($(#[$arm_meta:meta])* $arm:ident => $words:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$arm_meta])* $arm,)*
            /// The family cannot be used at all.
            Fault(Fault),
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$arm => f.write_str($words),)*
                    Self::Fault(fault) => write!(f, "{fault}"),
                }
            }
        }

        impl std::error::Error for $name {}

        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                Self::Fault(fault)
            }
        }
    };
}

/// Why [`Lock::acquire`](crate::sync::Lock::acquire) did not take the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockError {
    /// Processes wait for each other in a circle, and this one was chosen to give way: let go of what it holds
    /// and try again. The others go on waiting.
    Deadlock(Box<Deadlock>),
    /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up.
    Interrupted,
    /// The family cannot be used at all.
    Fault(Fault),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(deadlock) => write!(f, "{deadlock}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for LockError {}

impl From<Fault> for LockError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

operation_error! {
    /// Why [`Lock::try_acquire`](crate::sync::Lock::try_acquire) did not take the lock.
    TryLockError {
        /// Somebody holds it, perhaps the caller itself.
        Held => "held",
    }
}

operation_error! {
    /// Why [`Lock::acquire_timeout`](crate::sync::Lock::acquire_timeout) did not take the lock.
    LockTimeoutError {
        /// The time is over.
        Timeout => "timed out",
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up.
        Interrupted => "interrupted",
    }
}

operation_error! {
    /// Why [`Semaphore::acquire`](crate::sync::Semaphore::acquire) took no permit.
    AcquireError {
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up.
        Interrupted => "interrupted",
    }
}

operation_error! {
    /// Why [`Semaphore::try_acquire`](crate::sync::Semaphore::try_acquire) took no permit.
    TryAcquireError {
        /// Every permit is taken.
        Held => "every permit is taken",
    }
}

operation_error! {
    /// Why [`Semaphore::acquire_timeout`](crate::sync::Semaphore::acquire_timeout) took no permit.
    AcquireTimeoutError {
        /// The time is over.
        Timeout => "timed out",
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up.
        Interrupted => "interrupted",
    }
}

operation_error! {
    /// Why [`Semaphore::release`](crate::sync::Semaphore::release) released nothing.
    ReleaseError {
        /// This process keeps no permit, and there are as many as there may be.
        NotHeld => "released too often: there are as many permits as there may be",
    }
}

operation_error! {
    /// Why a wait for an event ended without it.
    WaitError {
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up.
        Interrupted => "interrupted",
    }
}

operation_error! {
    /// Why a wait for an event that has an end ended without it.
    WaitTimeoutError {
        /// The time is over.
        Timeout => "timed out",
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up.
        Interrupted => "interrupted",
    }
}

operation_error! {
    /// Why [`Barrier::wait`](crate::sync::Barrier::wait) did not pass.
    BarrierError {
        /// A party died, gave up or was told to: nobody passes until [`Barrier::reset`](crate::sync::Barrier::reset).
        Broken => "the barrier is broken",
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up;
        /// the barrier is broken now.
        Interrupted => "interrupted",
    }
}

operation_error! {
    /// Why [`Barrier::wait_timeout`](crate::sync::Barrier::wait_timeout) did not pass.
    BarrierTimeoutError {
        /// The time is over; the barrier is broken now.
        Timeout => "timed out",
        /// A party died, gave up or was told to: nobody passes until [`Barrier::reset`](crate::sync::Barrier::reset).
        Broken => "the barrier is broken",
        /// A signal came and the flag of [`Family::set_interrupt`](crate::sync::Family::set_interrupt) was up;
        /// the barrier is broken now.
        Interrupted => "interrupted",
    }
}
