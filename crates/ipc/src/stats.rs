//! Counts of a queue. None is kept for its own sake: tickets and tags say it all, so no death can falsify it.

use crate::atomic::Ordering;
use crate::core::Core;
use crate::layout::{INLINE, LENGTH};
use crate::tag::{State, Tag, Which};

/// What a queue has seen and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that wait.
    pub len: u64,
    /// Messages in hand or put off.
    pub in_flight: u64,
    /// Messages ever put.
    pub puts: u64,
    /// Deliveries ever begun, repeated ones included.
    pub gets: u64,
    /// Messages ever given back for another delivery.
    pub redelivered: u64,
    /// Messages that ever became dead letters.
    pub dead: u64,
    /// Dead letters that wait to be taken.
    pub dead_waiting: u64,
    /// Whether it is closed.
    pub closed: bool,
    /// Bytes of all messages that wait, are in hand, or are dead letters.
    pub bytes: u64,
}

impl Stats {
    pub(crate) fn of(core: &Core) -> Self {
        let moved = |which: Which| {
            let ring = core.ring(which);
            let origin = ring.origin();
            let waiting = core.waiting(which);
            let put = ring.tail().load(Ordering::Acquire).wrapping_sub(origin);
            let taken = ring.head().load(Ordering::Acquire).wrapping_sub(origin);
            (waiting, put, taken)
        };
        let (first, puts, taken_first) = moved(Which::First);
        let (again, redelivered, taken_again) = moved(Which::Again);
        let (dead_waiting, dead, _) = moved(Which::Dead);
        let mut in_flight = 0;
        let mut bytes = 0;
        for block in 0..core.reach() {
            let tag = Tag(core.tag(block).load(Ordering::Acquire));
            in_flight += u64::from(matches!(tag.state(), State::Leased | State::Requeue | State::Delayed));
            if !matches!(tag.state(), State::Free | State::Writing | State::Punching) {
                let at = core.layout.block(block) + LENGTH;
                let length = core.segment.memory().u32(at).load(Ordering::Relaxed);
                bytes += u64::from(length).min(core.settings.max_message.max(INLINE as u64));
            }
        }
        Self {
            len: first.saturating_add(again),
            in_flight,
            puts,
            gets: taken_first.saturating_add(taken_again),
            redelivered,
            dead,
            dead_waiting,
            closed: core.is_ended().unwrap_or(true),
            bytes,
        }
    }
}
