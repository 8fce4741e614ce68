//! What a family does for a participant that has died.
//!
//! Everything that can bear a dead one's number is looked at once, in any order: each step is one compare-and-swap
//! that can be repeated, so the recoverer may die anywhere too. The actors' records go last, because they are the
//! trace by which the next recoverer would find what is left to do. At the end everybody is woken, once, to make
//! good the wake-ups that the dead one owed and those it had been given and not acted on.

use crate::errors::Damage;
use crate::participants::Index;
use crate::segment::{Reclaimed, Recover};
use crate::sync::directory::What;
use crate::sync::inner::Core;

impl Recover for Core {
    fn recover(&self, dead: Index, _by: Index) -> Result<Reclaimed, Damage> {
        let handed_on = self.let_go(dead)?;
        for side in self.sides() {
            side.reset();
        }
        Ok(Reclaimed { handed_on, ..Default::default() })
    }
}

impl Core {
    /// Lets go of all that a participant holds, as if it had died with it; answers how much that was.
    pub(crate) fn let_go(&self, participant: Index) -> Result<u32, Damage> {
        let actors = self.actors_of(participant);
        let mut handed_on = 0;
        for (number, entry) in self.objects() {
            match entry.what {
                What::Semaphore | What::BoundedSemaphore => {
                    let freed = self.free_permits(number, participant).map_err(|()| Damage::Sync)?;
                    handed_on += freed;
                    if freed > 0 {
                        self.changed_for_all(self.place(number));
                    }
                }
                What::Lock | What::RLock => {
                    let Some(&first) = actors.first() else { continue };
                    let Some(whose) = self.whose(first) else { continue };
                    if self.hand_on(number, &actors, whose).map_err(|()| Damage::Sync)? {
                        handed_on += 1;
                        self.changed_for_one(self.place(number));
                    }
                }
                _ => {}
            }
        }
        for actor in actors {
            self.desert_barrier(actor).map_err(|()| Damage::Sync)?;
            self.pass_on(actor).map_err(|()| Damage::Sync)?;
            self.free_actor(actor);
        }
        // Whoever has this place next has not said yet what it is called.
        self.set_label(participant, "");
        Ok(handed_on)
    }
}
