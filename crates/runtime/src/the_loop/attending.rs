//! The attendants of launches: entered, told whom they attend, and seen to end.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Exit, Identity, Pid, Spawned};
use supervision::{Ending, Process, WorkerId};

use super::{Loop, Settling, Told, Watched};
use crate::attendant::{Role, Word};
use crate::logs::Inlet;
use crate::logs::{Stream, Writer};
use crate::processes::{Attendant, Kinship};
use crate::takeover::OldAttendant;
use crate::talk;

/// How long a feeder may take to give back what it holds, once its worker is dead. It has nothing else to do then; but
/// somebody may have stopped it.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// How long, at the end of a run, what workers have printed may take to get into its queue.
const COLLECTED_WITHIN: Duration = Duration::from_secs(1);

impl Loop {
    pub(super) fn attendant_spawned(
        &mut self,
        process: Process,
        role: Role,
        socket: UnixStream,
        spawned: Spawned,
    ) {
        let Spawned { pid, pidfd, .. } = spawned;
        let writer = Writer {
            worker: self.roster.shared_name(process.instance.worker),
            instance: process.instance.index,
            launch: process.launch.0,
            show: self.roster.shared_show(process.instance),
        };
        let label = Arc::new(writer).label(Stream::Stderr);
        // Without a copy, what it has to say goes unheard; that is no reason not to have it.
        let copy = socket.try_clone().and_then(|copy| Inlet::of(copy.into())).ok();
        let stream = copy.map(|copy| self.pump.attach(copy, label, None));
        let kinship = Kinship::Child;
        self.enter_attendant(Attendant { role, process, pid, pidfd, kinship, socket: Some(socket), stream });
    }

    /// Takes an attendant of a former run back.
    pub(crate) fn take_attendant_back(&mut self, old: OldAttendant) {
        let OldAttendant { role, process, pid, pidfd } = old;
        let kinship = Kinship::TakenBack;
        self.enter_attendant(Attendant { role, process, pid, pidfd, kinship, socket: None, stream: None });
    }

    fn enter_attendant(&mut self, attendant: Attendant) {
        let pid = attendant.pid;
        if let Err(error) = self.watch(&attendant.pidfd, Watched::Attendant(pid.as_raw())) {
            talk::say(format_args!("cannot watch pid {pid}: {error}; it is killed"));
            let _ = process::signal::send(attendant.pidfd.as_fd(), libc::SIGKILL);
        }
        self.processes.attend(attendant);
    }

    pub(super) fn tell_feeder_whom(&self, process: Process, pid: Pid) {
        // Our child, and not reaped: it is still the one.
        if let Some(feeder) = self.processes.feeder_of(process)
            && let Ok(Some(worker)) = Identity::of(pid)
        {
            tell(feeder, Word::Attend(worker));
        }
    }

    /// Lets the attendants go of a launch that came to nothing: its feeder learns it here, others by their empty pipe.
    pub(super) fn dismiss_attendants_of(&self, process: Process) {
        if let Some(socket) = self.processes.feeder_of(process).and_then(|feeder| feeder.socket.as_ref()) {
            // An error means that it is gone already.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    pub(super) fn attendant_may_have_ended(&mut self, pid: i32) {
        let Some(attendant) = self.processes.attendant(pid) else { return };
        let exit = match attendant.kinship {
            Kinship::Child => match process::wait_leader(attendant.pidfd.as_fd()) {
                Ok(Some(exit)) => Some(exit),
                Ok(None) => return,
                Err(_) => None,
            },
            Kinship::TakenBack | Kinship::Appointed if !process::is_dead(attendant.pidfd.as_fd()) => return,
            Kinship::TakenBack | Kinship::Appointed => process::exit_of(attendant.pidfd.as_fd()),
        };
        let Some(attendant) = self.processes.attendant_ended(pid) else { return };
        let _ = self.epoll.delete(&attendant.pidfd);
        self.watched.retain(|_, what| *what != Watched::Attendant(pid));
        self.queues.reclaim(pid);
        if let Some(stream) = attendant.stream {
            self.pump.finish(stream);
        }
        let process = attendant.process;
        // How a taken-back one ended may not be known; then it is taken to have done its work.
        if exit.is_some_and(|exit| exit != Exit::Code(0)) {
            if self.pending.values().any(|pending| pending.process == process) {
                self.lost_early.insert(process, attendant.role);
            } else {
                self.lost_an_attendant(process, attendant.role);
            }
        }
        if attendant.role == Role::Feeder
            && let Some(Settling { ending, .. }) = self.settling.remove(&process)
        {
            self.when_its_feeder_has_ended(process, ending);
        }
        let worker = process.instance.worker;
        if self.retiring.contains(&worker) && !self.is_collected_from(worker) {
            self.retiring.remove(&worker);
            self.queues.retire(worker);
        }
    }

    /// Ends a launch that goes on without somebody who attended it: what it would read next is not the end of its
    /// queue, and what it would write next is lost.
    pub(super) fn lost_an_attendant(&mut self, process: Process, role: Role) {
        let Some(tree) = self.processes.get_mut(process) else { return };
        tree.lost_its_feeder |= role == Role::Feeder;
        if tree.ended.is_none() && !tree.condemned {
            let (show, role) = (self.roster.show(process.instance), role.name());
            talk::say(format_args!(
                "{show}: its {role} was killed; the worker is killed too, to be started anew"
            ));
            self.kill_tree(process);
        }
    }

    /// A leader has ended. Its feeder is told, settles what it holds, and ends too; only then is it known whether the
    /// worker saw the end of its queue, or that of a feeder that was killed.
    pub(super) fn when_its_feeder_has_ended(&mut self, process: Process, ending: Ending) {
        if let Some(feeder) = self.processes.feeder_of(process) {
            tell(feeder, Word::Ended { well: ending == Ending::Code(0) });
            let until = self.clock.now() + SETTLES_WITHIN;
            self.settling.insert(process, Settling { ending, until });
            return;
        }
        let lost = self.processes.get(process).is_some_and(|tree| tree.lost_its_feeder);
        // Who lost its feeder may have taken that for the end of its queue, and been content.
        let ending = if lost && matches!(ending, Ending::Code(_)) { Ending::Unknown } else { ending };
        self.tell_ended(process, ending);
    }

    /// Kills feeders that do not settle: their death does it.
    pub(super) fn kill_late_feeders(&mut self) {
        let now = self.clock.now();
        for (process, settling) in &mut self.settling {
            if settling.until <= now {
                settling.until = now + SETTLES_WITHIN;
                if let Some(feeder) = self.processes.feeder_of(*process) {
                    let _ = process::signal::send(feeder.pidfd.as_fd(), libc::SIGKILL);
                }
            }
        }
    }

    /// A worker has ended for good. Its queues are complete when all that it printed is in them.
    pub(super) fn retire(&mut self, worker: WorkerId) {
        if self.is_collected_from(worker) {
            self.retiring.insert(worker);
        } else {
            self.queues.retire(worker);
        }
    }

    fn is_collected_from(&self, worker: WorkerId) -> bool {
        let mut attendants = self.processes.attendants();
        attendants.any(|one| one.role == Role::Collector && one.process.instance.worker == worker)
    }

    /// Ends all attendants when the run is over. What cannot get into a queue now will never get there.
    pub(super) fn dismiss_attendants(&mut self) {
        let patience = if self.told == Told::StopNow { Duration::ZERO } else { COLLECTED_WITHIN };
        let give_up = self.clock.now() + patience;
        let pids: Vec<i32> = self.processes.attendants().map(|attendant| attendant.pid.as_raw()).collect();
        for pid in pids {
            let Some(attendant) = self.processes.attendant_ended(pid) else { continue };
            if !ends_within(&attendant, give_up.since(self.clock.now())) {
                let show = self.roster.show(attendant.process.instance);
                talk::say(format_args!(
                    "{show}: what it printed last is lost: its queue stayed full to the end"
                ));
                let _ = process::signal::send(attendant.pidfd.as_fd(), libc::SIGKILL);
                ends_within(&attendant, COLLECTED_WITHIN);
            }
            if attendant.kinship == Kinship::Child {
                let _ = process::wait_leader(attendant.pidfd.as_fd());
            }
            self.queues.reclaim(pid);
        }
    }
}

fn tell(feeder: &Attendant, word: Word) {
    if let Some(socket) = &feeder.socket {
        // An error means that it is gone, which its descriptor says better.
        let _ = word.send(socket);
    }
}

fn ends_within(attendant: &Attendant, time: Duration) -> bool {
    let mut end = [PollFd::new(attendant.pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(time.as_millis()).unwrap_or(PollTimeout::ZERO);
    poll(&mut end, timeout).is_ok_and(|ended| ended > 0)
}
