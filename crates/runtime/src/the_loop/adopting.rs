//! What a worker leaves behind when it ends by itself, where that is to live on (`"leftover": "adopt"`).
//!
//! ```text
//!   a launch ends by itself ─► its orphans are its own still ──┬─ a later launch is asked to stop or killed: they go with it
//!                                                              ├─ its instance is stopped: asked, killed after the grace
//!                                                              └─ the run ends: killed
//! ```

use process::{Identity, Pid, Snapshot};
use supervision::{Event, InstanceId, Process, Remark};

use super::Loop;
use crate::asking::hold;
use crate::{sweeping, talk};
use std::os::fd::AsFd;

impl Loop {
    /// Lets what a launch left behind live on, and says how much that is.
    pub(super) fn adopt(&mut self, process: Process) {
        if self.processes.get(process).is_some_and(|tree| tree.kinship != crate::processes::Kinship::Child) {
            // What it left came to somebody else, and could not be followed: it goes with it.
            return self.kill_tree(process);
        }
        self.processes.adopt_leftovers(process);
        let orphans_live = self.sweep();
        let count = if orphans_live { self.leftovers_of(&[process]).len() } else { 0 };
        if count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.news.push_back(Event::Remarked(process, Remark::Adopted(count)));
        }
        self.news.push_back(Event::Emptied(process));
    }

    /// All that lives of what these launches left behind.
    fn leftovers_of(&mut self, launches: &[Process]) -> Vec<Identity> {
        self.bury();
        let Ok(snapshot) = Snapshot::take() else { return Vec::new() };
        let socket = self.folder.socket();
        let marks = sweeping::Marks { roster: &self.roster, socket: &socket, cgroups: self.cgroups.name() };
        sweeping::recognise(&mut self.processes, &snapshot, marks);
        let ours = self.processes.orphans().values();
        let roots = ours.filter(|(_, owner)| owner.is_some_and(|owner| launches.contains(&owner)));
        let all = roots.flat_map(|(root, _)| snapshot.subtree(root.pid));
        all.filter(|(_, stat)| !stat.is_zombie()).map(|(_, stat)| Identity::from(stat)).collect()
    }

    /// Asks to stop what earlier launches of the instance left behind; from now on it ends with this one.
    pub(super) fn ask_leftovers(&mut self, process: Process) {
        let adopted = self.processes.adopted_of(process.instance);
        if !adopted.is_empty() {
            self.signal_leftovers(&adopted);
            self.processes.inherit(process);
        }
    }

    fn signal_leftovers(&mut self, adopted: &[Process]) {
        let Some(signal) = adopted.first().and_then(|process| self.how_to_stop(*process)) else { return };
        for identity in self.leftovers_of(adopted) {
            if let Some(held) = hold(identity.pid.as_raw()) {
                // Errors mean that it is gone.
                let _ = process::signal::send(held.as_fd(), signal.0);
                let _ = process::signal::send(held.as_fd(), libc::SIGCONT);
            }
        }
    }

    /// An instance of which nothing runs is stopped: what it left behind has its grace.
    pub(crate) fn end_leftovers(&mut self, instance: InstanceId) {
        let adopted = self.processes.adopted_of(instance);
        if adopted.is_empty() || self.leaving.contains_key(&instance) {
            return;
        }
        self.signal_leftovers(&adopted);
        let grace =
            self.core.worker(instance.worker).map_or(std::time::Duration::ZERO, |worker| worker.grace);
        self.leaving.insert(instance, self.clock.now() + grace);
    }

    /// Kills what was left behind, was asked to stop, and has had its grace.
    pub(super) fn kill_late_leftovers(&mut self) {
        let now = self.clock.now();
        let due: Vec<InstanceId> =
            self.leaving.iter().filter(|(_, at)| **at <= now).map(|(instance, _)| *instance).collect();
        for instance in due {
            self.leaving.remove(&instance);
            let adopted = self.processes.adopted_of(instance);
            let left = self.leftovers_of(&adopted);
            if !left.is_empty()
                && let Err(error) = process::freeze_and_kill(&left, |pid: Pid| pid == Pid::this())
            {
                talk::say(format_args!("what {} left behind: {error}", self.roster.show(instance)));
            }
        }
    }
}
