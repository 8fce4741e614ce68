//! What a queue does for a participant that has died.
//!
//! Every block that bears the dead one's index is looked at, once, in any order; what must be delivered again
//! is then published in the order in which it was taken. Each step is one compare-and-swap to a word that
//! says how far it came, so the recoverer may die anywhere too.

use crate::atomic::Ordering;
use crate::core::Core;
use crate::errors::Damage;
use crate::get::Claim;
use crate::layout::{CAME, DRAINED, MEMORY, PLACE};
use crate::participants::Index;
use crate::segment::{Reclaimed, Recover};
use crate::tag::{State, Tag, Which};
use crate::waiting::Side;

impl Recover for Core {
    fn recover(&self, dead: Index, by: Index) -> Result<Reclaimed, Damage> {
        let mut done = Reclaimed::default();
        let mut held = Vec::new();
        for block in 0..self.reach() {
            let word = self.tag(block);
            let tag = Tag(word.load(Ordering::Acquire));
            if tag.owner() != dead {
                continue;
            }
            let become_ = |after: Tag| {
                word.compare_exchange(tag.0, after.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            match tag.state() {
                State::Free | State::Delayed => {}
                State::Impossible => return Err(Damage::Block),
                State::Writing => done.freed += u32::from(become_(Tag::FREE)),
                State::Punching => {
                    become_(Tag::FREE);
                }
                // A claim comes before the slot is used again, so what is ready and not in its slot was never
                // published.
                State::Ready(Which::First) => {
                    if !self.ring(Which::First).names(tag.ticket(), block) {
                        done.freed += u32::from(become_(Tag::FREE));
                    }
                }
                // Here the message was published once already: freeing it would lose it.
                State::Ready(which) => {
                    let ticket = self.last_raised(block);
                    if !self.ring(which).names(tag.ticket(), block) && become_(Tag::requeue(by, ticket)) {
                        held.push(Claim { block, ticket });
                    }
                }
                State::Leased | State::Requeue => {
                    if become_(Tag::requeue(by, tag.ticket())) {
                        held.push(Claim { block, ticket: tag.ticket() });
                    }
                }
            }
        }
        held.sort_by_key(|claim| claim.ticket);
        for claim in held {
            self.requeue(by, claim)?;
            done.redelivered += 1;
        }
        // It may have died with a tail or a head yet to be moved; who takes several together trusts those.
        for which in [Which::First, Which::Again, Which::Dead] {
            self.waiting(which);
        }
        // Neither had it made what it changed reach the disk.
        self.note_change();
        self.note_due(1);
        for side in [CAME, PLACE, MEMORY, DRAINED] {
            Side::at(self.segment.memory(), side).reset();
        }
        Ok(done)
    }
}
