//! From an order to launch to a process that runs, and what it says before the news of it has come.

use std::time::{Duration, Instant};

use control::{Call, api};
use process::{Spawn, SpawnError, Spawned};
use supervision::{Event, LaunchFailure, Process};

use super::{EARLY_AT_MOST, Early, GUARDS_TICKET, LAUNCHES_AT_ONCE, Loop, Pending};
use crate::launching::Launch;
use crate::logs::StreamId;
use crate::notify;
use crate::processes::{Kinship, Tree};

/// A program that takes longer than this to be executed is not waited for again.
const QUICK: Duration = Duration::from_millis(50);

impl Loop {
    /// Launches what was ordered, as far as its turn has come. A lone successor is spawned at once, by this thread: to
    /// hand it over would cost it a wake-up. All else goes to the spawner, so that a crowd keeps several processors busy
    /// and the loop at its work.
    pub(super) fn launch_queued(&mut self) {
        if let (Some(process), 1) = (self.queued.front().copied(), self.queued.len())
            && self.pending.is_empty()
            && self.may_spawn(process)
        {
            self.queued.clear();
            return self.launch_here(process);
        }
        while self.pending.len() < LAUNCHES_AT_ONCE {
            let Some(process) = self.queued.pop_front() else { break };
            self.launch(process);
        }
        if self.pending.is_empty() && self.starting_up && self.begun {
            // What reading the config and starting took is not needed any more, and this process stays for long.
            self.starting_up = false;
            self.queued.shrink_to_fit();
            process::give_memory_back();
        }
    }

    /// Whether the loop may wait until this launch is executed. Only a program that was executed before, and quickly, is
    /// trusted with that: one on a file system that does not answer would hold up all others.
    fn may_spawn(&self, process: Process) -> bool {
        self.spawns_itself && process.launch.0 > 1 && !self.slow_to_execute.contains(&process.instance.worker)
    }

    fn prepare(&self, process: Process) -> Result<(Spawn, Vec<StreamId>), LaunchFailure> {
        let instance = process.instance;
        match (self.core.worker(instance.worker), self.setup.workers.get(instance.worker.0 as usize)) {
            (Some(decided), Some(worker)) => {
                let show = self.roster.show(instance);
                Launch { process, name: &decided.name, show: &show, policy: decided.policy, worker }
                    .prepare(&self.environment, &self.pump)
            }
            _ => Err(LaunchFailure("no such worker".to_owned())),
        }
    }

    fn launch(&mut self, process: Process) {
        match self.prepare(process) {
            Ok((spawn, streams)) => {
                self.tickets += 1;
                self.pending.insert(self.tickets, Pending { process, streams });
                self.spawner.submit(self.tickets, spawn);
            }
            Err(failure) => self.news.push_back(Event::LaunchFailed(process, failure)),
        }
    }

    fn launch_here(&mut self, process: Process) {
        match self.prepare(process) {
            Ok((spawn, streams)) => {
                let begun = Instant::now();
                let result = spawn.spawn();
                if begun.elapsed() > QUICK {
                    self.slow_to_execute.insert(process.instance.worker);
                }
                self.spawned(process, streams, result);
            }
            Err(failure) => self.news.push_back(Event::LaunchFailed(process, failure)),
        }
    }

    fn spawned(&mut self, process: Process, streams: Vec<StreamId>, result: Result<Spawned, SpawnError>) {
        match result {
            Ok(spawned) => {
                let tree = Tree::new(spawned.pid, spawned.pidfd, Kinship::Child, streams);
                self.enter(process, tree);
                self.news.push_back(Event::Launched(process));
            }
            Err(error) => {
                for stream in streams {
                    self.pump.finish(stream);
                }
                self.news.push_back(Event::LaunchFailed(process, LaunchFailure(error.to_string())));
            }
        }
    }

    pub(super) fn hear_spawner(&mut self) {
        while let Some((ticket, result)) = self.spawner.poll() {
            if ticket == GUARDS_TICKET {
                self.guard_spawned(result);
                continue;
            }
            let Some(Pending { process, streams }) = self.pending.remove(&ticket) else { continue };
            self.spawned(process, streams, result);
        }
        self.launch_queued();
        if !self.early.is_empty() {
            self.settle();
            for early in std::mem::take(&mut self.early) {
                match early {
                    Early::Call(call) => self.take_call(call),
                    Early::Notification(pid, message) => self.take_notification(pid, message),
                }
            }
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
        let concerns_its_launch = matches!(call.request, api::Request::Join(_) | api::Request::Tell(_));
        if concerns_its_launch && self.is_early(call.peer.pid) {
            self.early.push(Early::Call(call));
        } else {
            self.answer(call);
        }
    }

    pub(super) fn take_notification(&mut self, pid: i32, message: notify::Message) {
        if self.is_early(pid) {
            self.early.push(Early::Notification(pid, message));
            return;
        }
        let Some(process) = self.launch_of(pid) else { return };
        if let Some(status) = message.status
            && let Some(tree) = self.processes.get_mut(process)
        {
            tree.talk().status = Some(status);
        }
        if message.ready {
            self.news.push_back(Event::Ready(process));
        }
    }
}
