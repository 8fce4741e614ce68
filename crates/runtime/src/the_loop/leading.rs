//! A launch that names another process of its tree as the one that leads it (`MAINPID=…`).
//!
//! From then on that process is what is watched, asked to stop and shown; its end is the end of the launch. The process
//! that was executed first, the founder, is then one of the tree like any other, but that it is our child: its exit is
//! taken, and the tree is not empty before.

use std::os::fd::AsFd;

use nix::sys::epoll::EpollEvent;
use process::{Exit, Identity, Pid};
use supervision::{Policy, Process};

use super::{Loop, Watched};
use crate::appointments::{self, Appointment};
use crate::owning::Owner;
use crate::processes::Kinship;
use crate::talk;

impl Loop {
    /// A launch says that this process leads it.
    pub(super) fn lead(&mut self, process: Process, pid: i32) {
        let Some(tree) = self.processes.get(process) else { return };
        if tree.ended.is_some() || tree.pid.as_raw() == pid {
            return;
        }
        let show = self.roster.show(process.instance);
        if self.owner_of(pid) != Some(Owner::Launch(process)) {
            return talk::say(format_args!("{show}: MAINPID={pid} is not of its tree: ignored"));
        }
        if tree.founder.as_deref().is_some_and(|founder| founder.pid.as_raw() == pid && !founder.ended) {
            let led = tree.pid.as_raw();
            if let Some(former) = self.processes.lead_again(process) {
                let _ = self.epoll.delete(&former);
                // What it holds is to be given back when it ends.
                let _ = self.watch_other(led);
                self.turn_watch(Watched::Leader(process), None);
                self.turn_watch(Watched::Founder(process), Some(Watched::Leader(process)));
                self.changed = true;
                appointments::forget(self.folder.path(), &self.roster.leaf(process));
            }
            return;
        }
        let held = Identity::of(Pid::from_raw(pid)).ok().flatten();
        let held = held.and_then(|identity| Some((identity, identity.hold().ok()??)));
        let Some((identity, pidfd)) = held else { return };
        if process::is_dead(pidfd.as_fd()) {
            return talk::say(format_args!("{show}: MAINPID={pid} has ended already: ignored"));
        }
        let between = tree.founder.is_some().then_some(tree.pid.as_raw());
        // Who led so far is watched as the founder, if it is that; else it is none of ours.
        if tree.founder.is_none() {
            self.turn_watch(Watched::Leader(process), Some(Watched::Founder(process)));
        } else {
            let _ = self.epoll.delete(&tree.pidfd);
            self.turn_watch(Watched::Leader(process), None);
        }
        if let Err(error) = self.watch(&pidfd, Watched::Leader(process)) {
            // Its end would go unheard: end it all, and hear that of the founder.
            talk::say(format_args!("{show}: cannot watch pid {pid}: {error}; it is killed"));
            self.kill_tree(process);
            return;
        }
        let launched = self.launched_at_ticks(process);
        self.processes.appoint(process, Pid::from_raw(pid), pidfd);
        if let Some(between) = between {
            // What it holds is to be given back when it ends.
            let _ = self.watch_other(between);
        }
        // The others are not taken back.
        let survives =
            self.core.worker(process.instance.worker).is_some_and(|worker| worker.policy == Policy::Wait);
        let appointment = Appointment { leader: identity, launched: launched.unwrap_or(identity.start_time) };
        if survives
            && let Err(error) =
                appointments::note(self.folder.path(), &self.roster.leaf(process), appointment)
        {
            talk::say(format_args!(
                "{show}: a later run will not know that pid {pid} leads: {}",
                crate::words::reason(&error)
            ));
        }
        self.changed = true;
    }

    /// When a launch was executed, in clock ticks since the machine started; to be asked before another one leads it.
    fn launched_at_ticks(&self, process: Process) -> Option<u64> {
        let tree = self.processes.get(process)?;
        let noted = || appointments::read(self.folder.path(), &self.roster.leaf(process));
        let executed = || Identity::of(tree.founder.as_ref().map_or(tree.pid, |founder| founder.pid)).ok()?;
        let known = tree.launched.or_else(|| Some(noted()?.launched));
        known.or_else(|| Some(executed()?.start_time))
    }

    /// What was watched as one thing is watched as another, or not at all.
    fn turn_watch(&mut self, from: Watched, to: Option<Watched>) {
        let token = self.watched.iter().find(|(_, what)| **what == from).map(|(token, _)| *token);
        let Some(token) = token else { return };
        match to {
            Some(to) => self.watched.insert(token, to),
            None => self.watched.remove(&token),
        };
    }

    /// The founder of a tree, whom another leads now, may have ended.
    pub(super) fn founder_may_have_ended(&mut self, process: Process, token: u64) {
        let Some(founder) = self.processes.founder_of(process).filter(|founder| !founder.ended) else {
            self.watched.remove(&token);
            return;
        };
        let ended = match founder.kinship {
            // An error means that somebody else took its exit: then it has ended.
            Kinship::Child => !matches!(process::wait_leader(founder.pidfd.as_fd()), Ok(None)),
            Kinship::TakenBack | Kinship::Appointed => process::is_dead(founder.pidfd.as_fd()),
        };
        if ended {
            let pid = founder.pid.as_raw();
            let _ = self.epoll.delete(&founder.pidfd);
            self.watched.remove(&token);
            self.processes.founder_ended(process);
            // It led before, so that nobody watched it for what it held.
            self.reclaim_from(pid);
            self.sweep();
            if self.processes.is_adopted(process) {
                self.count_adopted_now();
            }
        }
    }

    /// Kills the founder of a tree that another leads, with all below it.
    pub(super) fn kill_founder(&self, process: Process) {
        let Some(founder) = self.processes.founder_of(process).filter(|founder| !founder.ended) else {
            return;
        };
        if let Ok(Some(identity)) = Identity::of(founder.pid) {
            let _ = process::freeze_and_kill(&[identity], |_| false);
        }
        let _ = process::signal::send(founder.pidfd.as_fd(), libc::SIGKILL);
    }

    /// How an appointed leader ended: from the kernel's record, or because its exit came to us.
    pub(super) fn exit_of_appointed(&mut self, process: Process) -> Option<Exit> {
        let told = |all: &Loop| {
            let tree = all.processes.get(process)?;
            tree.exit.or_else(|| process::exit_of(tree.pidfd.as_fd()))
        };
        told(self).or_else(|| {
            // It may be an orphan of ours whose exit nobody has taken yet.
            self.sweep();
            told(self)
        })
    }

    /// Watches a dead leader's descriptor for its reaping only, which is told whatever is asked for.
    pub(super) fn watch_reaping(&mut self, process: Process, token: u64) -> bool {
        let Some(tree) = self.processes.get(process) else { return false };
        let nothing = nix::sys::epoll::EpollFlags::empty();
        self.epoll.modify(&tree.pidfd, &mut EpollEvent::new(nothing, token)).is_ok()
    }
}
