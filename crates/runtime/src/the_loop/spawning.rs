//! From an order to launch to a process that runs, and what it says before the news of it has come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use control::{Call, Visit, api};
use process::{Spawn, SpawnError, Spawned};
use supervision::{Event, LaunchFailure, Policy, Process};

use super::{EARLY_AT_MOST, Early, GUARDS_TICKET, LAUNCHES_AT_ONCE, Loop, Pending, Starting};
use crate::attendant;
use crate::doors::other_user;
use crate::launching::{Given, Launch, Place, Prepared};
use crate::processes::{Kinship, Tree};
use crate::setup::Purpose;

/// A program that takes longer than this to be executed is not waited for again.
const QUICK: Duration = Duration::from_millis(50);

impl Loop {
    /// Launches what was ordered, as far as its turn has come. A lone successor is spawned at once, by this thread: to
    /// hand it over would cost it a wake-up. All else goes to the spawner, so that a crowd keeps several processors busy
    /// and the loop at its work.
    pub(super) fn launch_queued(&mut self) {
        let alone = self.pending.is_empty() && self.queued.len() == 1;
        while self.pending.len() < LAUNCHES_AT_ONCE {
            let Some(process) = self.queued.pop_front() else { break };
            self.launch(process, alone);
        }
        if self.pending.is_empty() && self.starting == Starting::UnderWay && self.begun {
            self.starting = Starting::Done;
        }
    }

    /// What reading the config and starting took is not needed any more, and this process stays for long. To be called
    /// when there is nothing else to do: what is looked at afterwards comes back into memory.
    pub(super) fn give_back_what_starting_took(&mut self) {
        if self.starting == Starting::Done {
            self.starting = Starting::Forgotten;
            self.queued.shrink_to_fit();
            self.pending.shrink_to_fit();
            self.news.shrink_to_fit();
            self.watched.shrink_to_fit();
            process::give_memory_back();
        }
    }

    /// Whether the loop may wait until this launch is executed. Only a program that was executed before, and quickly, is
    /// trusted with that: one on a file system that does not answer would hold up all others.
    fn may_spawn(&self, process: Process) -> bool {
        self.spawns_itself && process.launch.0 > 1 && !self.slow_to_execute.contains(&process.instance.worker)
    }

    fn launch(&mut self, process: Process, alone: bool) {
        let instance = process.instance;
        let ear = self.open_ear(process).map_err(LaunchFailure);
        let given = ear.and_then(|()| self.given_to(process));
        let notify = self.ear_of(process).map(crate::notify::NotifySocket::path);
        let mut lines = 0;
        let prepared =
            match (self.core.policy(instance.worker), self.setup.workers.get(instance.worker.0 as usize)) {
                (Some(decided), Some(worker)) => {
                    let (name, show) =
                        (&self.roster.shared_name(instance.worker), &self.roster.shared_show(instance));
                    // Who stands in for a command takes it along when it is killed.
                    let policy = match self.setup.purpose {
                        Purpose::Command => Policy::Daemon,
                        Purpose::Config | Purpose::Scripts => decided,
                    };
                    let mail = &self.mail;
                    let door = self.doors.socket_of(worker);
                    let door = door.as_deref();
                    let launch = Launch { process, name, show, policy, worker, notify, door, mail };
                    lines = launch.line_watches();
                    let place =
                        Place { environment: &self.environment, pump: &self.pump, queues: &self.queues };
                    given.and_then(|given| launch.prepare(&place, given))
                }
                _ => Err(LaunchFailure("no such worker".to_owned())),
            };
        match prepared {
            Ok(Prepared { spawn, streams, attendants, newline }) => {
                self.expect_lines(process, lines);
                self.expect_newline(process, newline);
                self.tickets += 1;
                let attendants: VecDeque<_> = attendants.into();
                let here = alone && attendants.is_empty() && self.may_spawn(process);
                let pending = Pending { process, streams, attendants, being_spawned: None, leader: spawn };
                if here {
                    self.spawn_here(self.tickets, pending);
                } else {
                    self.spawn_next(self.tickets, pending);
                }
            }
            Err(failure) => self.launch_failed(process, failure),
        }
    }

    /// Has made what a launch alone is to have.
    fn given_to(&mut self, process: Process) -> Result<Given, LaunchFailure> {
        let id = process.instance.worker;
        let worker = self.setup.workers.get(id.0 as usize).zip(self.core.policy(id));
        let Some((terms, policy, user)) = worker
            .and_then(|(setup, policy)| Some((setup.kept.terms.as_deref()?, policy, other_user(setup))))
        else {
            return Ok(Given::default());
        };
        let leaf = self.roster.leaf(process);
        let credentials = terms.account.as_ref().and_then(|account| account.credentials.as_ref());
        Ok(Given {
            cgroup: self.cgroups.plot(terms, policy, &leaf)?,
            temporary: self.temporary.give(terms.private_tmp, &leaf, credentials)?,
            sockets: self
                .sockets
                .of(id, &terms.listen, user, &[])
                .map_err(|error| LaunchFailure(error.to_string()))?,
        })
    }

    fn launch_failed(&mut self, process: Process, failure: LaunchFailure) {
        self.close_ear(process);
        self.dismiss_attendants_of(process);
        self.lost_early.remove(&process);
        self.take_back_temporary(process);
        self.news.push_back(Event::LaunchFailed(process, failure));
    }

    pub(super) fn hear_spawner(&mut self) {
        while let Some((ticket, result)) = self.spawner.poll() {
            if ticket == GUARDS_TICKET {
                self.guard_spawned(result);
                continue;
            }
            match self.pending.remove(&ticket) {
                Some(pending) => self.spawned(ticket, pending, result),
                None => self.program_spawned(ticket, result),
            }
        }
        self.launch_queued();
        if !self.early.is_empty() {
            self.settle();
            for early in std::mem::take(&mut self.early) {
                match early {
                    Early::Call(call) => self.take_call(call),
                    Early::Visit(visit) => self.take_visit(visit),
                    Early::Notification(process, heard) => self.take_notification(process, heard),
                }
            }
        }
    }

    /// What came of the spawn that a launch was waiting for.
    fn spawned(&mut self, ticket: u64, mut pending: Pending, result: Result<Spawned, SpawnError>) {
        match (pending.being_spawned.take(), result) {
            (Some((role, socket)), Ok(spawned)) => {
                self.attendant_spawned(pending.process, role, socket, spawned);
                self.spawn_next(ticket, pending);
            }
            (None, Ok(spawned)) => self.leader_spawned(pending, spawned),
            (_, Err(error)) => {
                for stream in pending.streams {
                    self.pump.finish(stream);
                }
                self.launch_failed(pending.process, LaunchFailure(error.to_string()));
            }
        }
    }

    /// Spawns the leader of a launch that nobody attends, and waits until it is executed.
    fn spawn_here(&mut self, ticket: u64, pending: Pending) {
        self.spawned_itself = true;
        let begun = Instant::now();
        let mut result = pending.leader.spawn();
        // The dead may be what it is one too many with.
        if result.as_ref().is_err_and(SpawnError::is_shortage) && self.bury() {
            result = pending.leader.spawn();
        }
        if begun.elapsed() > QUICK {
            self.slow_to_execute.insert(pending.process.instance.worker);
        }
        self.spawned(ticket, pending, result);
    }

    /// Spawns what is next of a launch: its attendants one after the other, then its leader, so that none runs unattended.
    fn spawn_next(&mut self, ticket: u64, mut pending: Pending) {
        self.bury();
        let spawn = match pending.attendants.pop_front() {
            Some(attendant::Order { role, spawn, socket }) => {
                pending.being_spawned = Some((role, socket));
                spawn
            }
            // It stays, should the ticket come back; what it holds open must not.
            None => {
                std::mem::replace(&mut pending.leader, Spawn::new(Vec::new(), Vec::new(), c"".to_owned()))
            }
        };
        self.pending.insert(ticket, pending);
        self.spawner.submit(ticket, spawn);
    }

    fn leader_spawned(&mut self, pending: Pending, spawned: Spawned) {
        let Pending { process, streams, .. } = pending;
        let tree = Tree::new(spawned.pid, spawned.pidfd, Kinship::Child, streams).within(spawned.cgroup);
        self.enter(process, tree);
        self.tell_feeder_whom(process, spawned.pid);
        self.send_unsent(process);
        self.news.push_back(Event::Launched(process));
        if let Some(role) = self.lost_early.remove(&process) {
            self.lost_an_attendant(process, role);
        }
    }

    /// Whether a process belongs to a launch that a spawner's thread has still to tell of: it runs already, and is
    /// quicker than the news of it.
    pub(super) fn is_early(&self, pid: i32) -> bool {
        if self.pending.is_empty() || self.early.len() >= EARLY_AT_MOST {
            return false;
        }
        let launch = self.launch_of(pid);
        launch.is_some_and(|launch| self.pending.values().any(|pending| pending.process == launch))
    }

    pub(super) fn take_call(&mut self, call: Call) {
        let concerns_its_launch =
            matches!(call.request, api::Request::Join(_) | api::Request::Hello(_) | api::Request::Tell(_));
        if concerns_its_launch && self.is_early(call.peer.pid) {
            self.early.push(Early::Call(call));
        } else {
            self.answer(call);
        }
    }

    /// Who comes in by the door of another user must be known to be of a worker.
    pub(super) fn take_visit(&mut self, visit: Visit) {
        if self.is_early(visit.peer.pid) {
            self.early.push(Early::Visit(visit));
        } else {
            self.receive(visit);
        }
    }
}
