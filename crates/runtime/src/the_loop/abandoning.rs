//! Who cannot be killed: a process that is held in the middle of the kernel takes no KILL. While the run goes on it is
//! waited for, since nothing may be started in its place; the stop of the run goes on without it, says whom it leaves,
//! and the run ends with [`crate::Outcome::Unkillable`].

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use supervision::{Ending, Event, Moment, Process};

use super::{Loop, Watched};
use crate::talk;

/// How long a KILL may take to be effective when the run is being stopped; it is looked that often, so that it may be
/// twice as long.
const KILL_TAKES_AT_MOST: Duration = Duration::from_secs(5);

/// The next look at those who were killed and are still there.
#[derive(Clone, Debug)]
pub(super) struct Look {
    at: Moment,
    /// Who had been killed at the last one.
    killed: BTreeSet<Process>,
}

impl Loop {
    /// When to look at those who were killed and are still there; only while the run is being stopped.
    pub(super) fn next_look_at_killed(&mut self) -> Option<Moment> {
        if !self.core.is_stopping() {
            return None;
        }
        let now = self.clock.now();
        let first = || Look { at: now + KILL_TAKES_AT_MOST, killed: BTreeSet::new() };
        Some(self.look_at_killed.get_or_insert_with(first).at)
    }

    /// Goes on without those who were killed long ago, if it is time to look.
    pub(super) fn abandon_unkillable(&mut self) {
        let now = self.clock.now();
        let Some(look) = self.look_at_killed.take_if(|look| look.at <= now) else { return };
        let killed: BTreeSet<Process> = self
            .processes
            .sweeping()
            .iter()
            .copied()
            .filter(|process| self.processes.is_condemned(*process))
            .chain(self.processes.adopted().filter(|(_, left)| left.killed).map(|(process, _)| process))
            .collect();
        let still: Vec<Process> = killed.intersection(&look.killed).copied().collect();
        for process in still {
            self.abandon(process);
        }
        self.look_at_killed = Some(Look { at: now + KILL_TAKES_AT_MOST, killed });
    }

    fn abandon(&mut self, process: Process) {
        let show = self.roster.show(process.instance);
        let is_adopted = self.processes.is_adopted(process);
        let left = if is_adopted { self.adopted_in_words(process) } else { self.left_of(process.instance) };
        let whom = left.unwrap_or_else(|| "what it left behind".to_owned());
        talk::say(format_args!("{show}: cannot be killed: {whom}; the stop goes on without it"));
        self.abandoned.push(format!("{show}: {whom}"));
        if is_adopted {
            return self.abandon_leftovers(process);
        }
        let led = self.processes.get(process).filter(|tree| tree.ended.is_none());
        if let Some(tree) = led {
            let _ = self.epoll.delete(tree.pidfd.as_fd());
            self.watched.retain(|_, what| *what != Watched::Leader(process));
            self.processes.leader_ended(process, Ending::Unknown);
            self.tell_ended(process, Ending::Unknown);
            self.settle();
        }
        if self.processes.sweeping().contains(&process) {
            self.processes.swept(process);
            self.news.push_back(Event::Emptied(process));
        }
    }

    /// Whether the stop went on without somebody; says whom.
    pub(crate) fn tell_whom_it_leaves(&self) -> bool {
        for whom in &self.abandoned {
            talk::say(format_args!("it was killed and lives on: {whom}"));
        }
        !self.abandoned.is_empty()
    }
}
