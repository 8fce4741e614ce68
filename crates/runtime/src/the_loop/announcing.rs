//! Changes, told to those who follow them and to people once nothing more urgent is to be done: a successor need not wait
//! for words about its predecessor. What is told is how things stood when they changed, in that order.

use supervision::{GroupId, Instance, InstanceId, Phase};

use super::Loop;
use crate::history::When;
use crate::setup::Purpose;
use crate::{talk, words};

/// So many are kept at most; more are told at once. A crowd that is told to stop is asked before anybody is told of it.
const KEPT: usize = 1024;
/// For so many there is always room.
const ROOM: usize = 64;

/// Something that is to be told.
#[derive(Debug)]
pub(super) enum Change {
    /// An instance stands somewhere else since then; `None`: it was scaled away.
    Of(InstanceId, When, Option<Instance>),
    /// A group has spent its restarts, the last one for this instance.
    GaveUp(GroupId, InstanceId),
}

impl Loop {
    /// Has this told, after what came before it.
    pub(super) fn announce(&mut self, change: Change) {
        if self.changes.len() >= KEPT {
            self.tell_changes();
        }
        self.changes.push(change);
    }

    /// Tells what is to be told.
    pub(super) fn tell_changes(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        for change in changes.drain(..) {
            match change {
                Change::Of(id, time, now) => {
                    self.tell_people(id, now.as_ref());
                    self.history.tell(time, self.roster.shared_name(id.worker), id, now);
                }
                Change::GaveUp(group, culprit) => {
                    let name = self.core.group_name(group).unwrap_or_default();
                    talk::say(format_args!(
                        "group {name}: has spent its restarts, the last for {}; it is started again as a whole",
                        self.roster.show(culprit)
                    ));
                }
            }
        }
        // Its room is used again.
        changes.shrink_to(ROOM);
        self.changes = changes;
    }

    fn tell_people(&self, id: InstanceId, now: Option<&Instance>) {
        // Who stands in for a command says how it ended by its exit code.
        let passed_on = self.setup.purpose == Purpose::Command && self.command_ended().is_some();
        // Most changes are good news, which nobody has to be told.
        let is_bad = |now: &&Instance| matches!(now.phase, Phase::Backoff | Phase::Failed | Phase::Waiting);
        if let Some(now) = now.filter(is_bad).filter(|_| !passed_on)
            && let Some(line) = words::worth_saying(now, &self.roster.show(id))
        {
            talk::say(line);
        }
    }
}
