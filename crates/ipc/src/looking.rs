//! Looking at a queue without taking anything out of it.

use crate::atomic::{Ordering, fence};
use crate::core::Core;
use crate::errors::Damage;
use crate::put::TURNS;
use crate::ring::Slot;
use crate::tag::Which;

impl Core {
    /// Copies what is next, and copies again where it was taken meanwhile.
    pub(crate) fn peek(&self) -> Result<Option<Vec<u8>>, Damage> {
        for _ in 0..TURNS {
            let mut found = None;
            for which in [Which::Again, Which::First] {
                let ring = self.ring(which);
                let head = ring.head().load(Ordering::Acquire);
                if let Slot::Filled(block) = ring.read(head)? {
                    found = Some((which, ring, head, block));
                    break;
                }
            }
            let Some((which, ring, head, block)) = found else { return Ok(None) };
            if !self.is_ready(block, &ring, which, head) {
                ring.help_head(head);
                continue;
            }
            let read = self.read_message(block);
            fence(Ordering::SeqCst);
            // A tag that still bears the ticket has borne it all along, so the copy is whole.
            if self.is_ready(block, &ring, which, head) {
                return read.map(Some);
            }
        }
        Err(Damage::Ring)
    }

    /// How many wait in a ring: exact whenever nothing moves, also when somebody died between publishing and
    /// moving the tail, or between claiming and moving the head.
    pub(crate) fn waiting(&self, which: Which) -> u64 {
        let ring = self.ring(which);
        for _ in 0..TURNS {
            let (head, tail) = (ring.head().load(Ordering::Acquire), ring.tail().load(Ordering::Acquire));
            match (ring.read(tail), ring.read(head)) {
                (Ok(Slot::Filled(_)), _) => ring.help_tail(tail),
                (_, Ok(Slot::Filled(block))) if !self.is_ready(block, &ring, which, head) => {
                    ring.help_head(head);
                }
                _ => return (tail.wrapping_sub(head) as i64).max(0) as u64,
            }
        }
        ring.length()
    }
}
