//! The dead: their exits are taken, and what held them is closed, once nothing more urgent is to be done.
//!
//! Taking an exit and closing descriptors cost the kernel about a tenth of a spawn, and a successor has no need to wait
//! for that. Until it is done the pid stays the dead one's own, and the dead one counts as a process of its user.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::Epoll;
use supervision::Process;

use super::{Loop, Told};
use crate::processes::{Kinship, Processes, Tree};

/// Those who are dead and not buried.
#[derive(Debug, Default)]
pub(super) struct Dead {
    /// Launches whose leader's exit was looked at and not taken.
    leaders: Vec<Process>,
    /// What held the leaders of launches that were given back meanwhile.
    held: Vec<OwnedFd>,
}

impl Dead {
    /// The leader of a launch has ended; it is still watched, and its exit is still to be taken.
    pub(super) fn leader(&mut self, process: Process) {
        self.leaders.push(process);
    }

    /// A launch was given back.
    pub(super) fn given_back(&mut self, process: Process, pidfd: OwnedFd) {
        let known = self.leaders.iter().position(|leader| *leader == process);
        if let Some(place) = known {
            self.leaders.swap_remove(place);
            self.held.push(pidfd);
        }
    }

    fn is_empty(&self) -> bool {
        self.leaders.is_empty() && self.held.is_empty()
    }

    pub(super) fn bury(&mut self, processes: &Processes, epoll: &Epoll) {
        let bury = |pidfd: &OwnedFd| {
            let _ = epoll.delete(pidfd);
            // That it has ended was seen; nobody else takes the exits of our children.
            let _ = process::wait_leader(pidfd.as_fd());
        };
        for leader in self.leaders.drain(..) {
            if let Some(tree) = processes.get(leader) {
                bury(&tree.pidfd);
            }
        }
        for pidfd in self.held.drain(..) {
            bury(&pidfd);
        }
    }
}

impl Loop {
    /// Whether the exit of a dead leader may be taken later. Not where somebody counts the processes of its user or its
    /// cgroup: its successor might be one too many. Nor where the run stops: nothing is waiting to be started.
    pub(super) fn may_be_buried_later(&self, process: Process, tree: &Tree) -> bool {
        let setup = self.setup.workers.get(process.instance.worker.0 as usize);
        let plain = setup.is_some_and(|setup| setup.kept.terms.is_none());
        let is_going = self.told == Told::Nothing;
        is_going && plain && tree.kinship == Kinship::Child && tree.cgroup.is_none()
    }

    /// Buries the dead; says whether there were any.
    pub(crate) fn bury(&mut self) -> bool {
        if self.dead.is_empty() {
            return false;
        }
        self.dead.bury(&self.processes, &self.epoll);
        true
    }
}
