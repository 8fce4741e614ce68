//! Why an operation stopped, said in the operation's own words.

use crate::core::{Refusal, Stop};
use crate::errors::{
    Damage, Fault, GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError,
};
use crate::waiting::Ended;

impl From<Refusal> for PutError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stop(Stop::Closed) => Self::Closed,
            Refusal::Stop(Stop::Ended(_)) => Self::Interrupted,
            Refusal::Stop(Stop::NoRoom) => Self::NoRoom,
            Refusal::Stop(Stop::Fault(fault)) => Self::Fault(fault),
            Refusal::TooLarge { length, limit } => Self::TooLarge { length, limit },
        }
    }
}

impl From<Refusal> for TryPutError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stop(Stop::Closed) => Self::Closed,
            Refusal::Stop(Stop::Ended(_)) => Self::Full,
            Refusal::Stop(Stop::NoRoom) => Self::NoRoom,
            Refusal::Stop(Stop::Fault(fault)) => Self::Fault(fault),
            Refusal::TooLarge { length, limit } => Self::TooLarge { length, limit },
        }
    }
}

impl From<Refusal> for PutTimeoutError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stop(Stop::Closed) => Self::Closed,
            Refusal::Stop(Stop::Ended(Ended::TimedOut)) => Self::Timeout,
            Refusal::Stop(Stop::Ended(Ended::Interrupted)) => Self::Interrupted,
            Refusal::Stop(Stop::NoRoom) => Self::NoRoom,
            Refusal::Stop(Stop::Fault(fault)) => Self::Fault(fault),
            Refusal::TooLarge { length, limit } => Self::TooLarge { length, limit },
        }
    }
}

/// Getting takes no room; giving back may, and says so as the ring's file being short.
const WITHOUT_ROOM: Fault = Fault::Corrupt(Damage::Cut);

impl From<Stop> for GetError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Closed => Self::Closed,
            Stop::Ended(_) => Self::Interrupted,
            Stop::NoRoom => Self::Fault(WITHOUT_ROOM),
            Stop::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<Stop> for TryGetError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Closed => Self::Closed,
            Stop::Ended(_) => Self::Empty,
            Stop::NoRoom => Self::Fault(WITHOUT_ROOM),
            Stop::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<Stop> for GetTimeoutError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Closed => Self::Closed,
            Stop::Ended(Ended::TimedOut) => Self::Timeout,
            Stop::Ended(Ended::Interrupted) => Self::Interrupted,
            Stop::NoRoom => Self::Fault(WITHOUT_ROOM),
            Stop::Fault(fault) => Self::Fault(fault),
        }
    }
}
