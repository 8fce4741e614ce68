//! The probes that the core orders: asked over the network by a thread of their own, or by a program.
//!
//! A program that probes is a process of the launch's account: it has the launch's environment and rights, and is killed
//! with all that it started when its time is over, when the launch is told to stop, and when it has ended and left
//! something behind.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use process::{Exit, Identity, Pid, Snapshot, SpawnError, Spawned};
use supervision::{Event, Moment, Process, Purpose};

use super::{Loop, Watched};
use crate::environment::PROBE;
use crate::launching::Launch;
use crate::probing::Prober;
use crate::setup::{Probe, Sign};
use crate::words;

/// So many programs probe at once; others wait for their turn, and their time counts from then on.
const PROGRAMS_AT_ONCE: usize = 32;

/// How long a program that was killed may take to end, before it is answered for.
const DYING_TAKES_AT_MOST: Duration = Duration::from_secs(1);

/// The probes under way.
#[derive(Debug, Default)]
pub struct Probes {
    network: Prober,
    /// By the ticket of their spawn.
    programs: BTreeMap<u64, Program>,
    queued: VecDeque<(Process, Purpose, Duration)>,
}

/// A program that probes.
#[derive(Debug)]
struct Program {
    process: Process,
    purpose: Purpose,
    /// How long it may take, once it runs.
    within: Duration,
    body: Option<Body>,
    /// Nobody waits for its answer any more.
    forgotten: bool,
}

#[derive(Debug)]
struct Body {
    pid: Pid,
    pidfd: OwnedFd,
    /// When it is killed; once it was, when it counts as one that cannot be; `None`: it does.
    due: Option<Moment>,
    killed: bool,
}

impl Probes {
    /// When a program has taken as long as it may.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.programs.values().filter_map(|program| program.body.as_ref()?.due).min()
    }
}

impl Loop {
    /// Finds out what the core asks for.
    pub(super) fn probe(&mut self, process: Process, purpose: Purpose, within: Duration) {
        let worker = self.setup.workers.get(process.instance.worker.0 as usize);
        let watched = worker.and_then(|worker| worker.kept.watched.as_deref());
        let probe = watched.and_then(|watched| match (purpose, &watched.ready) {
            (Purpose::Readiness, Sign::Probe(probe)) => Some(probe.clone()),
            (Purpose::Readiness, _) => None,
            (Purpose::Health, _) => watched.health.clone(),
        });
        match probe {
            Some(Probe::Network(question)) => {
                let asked = self.probes.network.ask((process, purpose), question, within, &self.mail);
                if let Err(error) = asked {
                    self.answer_probe(process, purpose, Err(words::reason(&error)));
                }
            }
            Some(Probe::Command(_)) => {
                self.probes.queued.push_back((process, purpose, within));
                self.start_programs();
            }
            None => self.answer_probe(process, purpose, Err("there is no such probe".to_owned())),
        }
    }

    /// A probe was answered. Of a launch that has ended, its ending tells more.
    pub(super) fn answer_probe(&mut self, process: Process, purpose: Purpose, answer: Result<(), String>) {
        let lives =
            |tree: &crate::processes::Tree| tree.ended.is_none() && !process::is_dead(tree.pidfd.as_fd());
        if self.processes.get(process).is_some_and(lives) {
            self.news.push_back(Event::Probed(process, purpose, answer));
        }
    }

    /// Nobody waits for the answers of a launch's probes any more: ends them.
    pub(super) fn forget_probes(&mut self, process: Process) {
        self.probes.network.forget(process);
        self.probes.queued.retain(|(of, ..)| *of != process);
        let mut to_kill = Vec::new();
        for (ticket, program) in &mut self.probes.programs {
            if program.process == process && !program.forgotten {
                program.forgotten = true;
                to_kill.push(*ticket);
            }
        }
        for ticket in to_kill {
            self.kill_program(ticket);
        }
    }

    fn start_programs(&mut self) {
        while self.probes.programs.len() < PROGRAMS_AT_ONCE {
            let Some((process, purpose, within)) = self.probes.queued.pop_front() else { break };
            let stuck = |program: &Program| program.process == process && program.purpose == purpose;
            if self.probes.programs.values().any(stuck) {
                let answer = Err("the probe before this one cannot be killed".to_owned());
                self.answer_probe(process, purpose, answer);
                continue;
            }
            self.tickets += 1;
            let ticket = self.tickets;
            match self.prepare_program(process, purpose, ticket) {
                Ok(spawn) => {
                    let program = Program { process, purpose, within, body: None, forgotten: false };
                    self.probes.programs.insert(ticket, program);
                    self.spawner.submit(ticket, spawn);
                }
                Err(why) => self.answer_probe(process, purpose, Err(why)),
            }
        }
    }

    fn prepare_program(
        &self,
        process: Process,
        purpose: Purpose,
        ticket: u64,
    ) -> Result<process::Spawn, String> {
        let gone = || "no such worker".to_owned();
        let id = process.instance.worker;
        let worker = self.setup.workers.get(id.0 as usize).ok_or_else(gone)?;
        let decided = self.core.worker(id).ok_or_else(gone)?;
        let watched = worker.kept.watched.as_deref().ok_or_else(gone)?;
        let argv = match (purpose, &watched.ready, &watched.health) {
            (Purpose::Readiness, Sign::Probe(Probe::Command(argv)), _) => argv,
            (Purpose::Health, _, Some(Probe::Command(argv))) => argv,
            _ => return Err(gone()),
        };
        let (name, show) =
            (&self.roster.shared_name(process.instance.worker), &self.roster.shared_show(process.instance));
        let notify = self.ear_of(process).map(crate::notify::NotifySocket::path);
        let (policy, mail) = (decided.policy, &self.mail);
        let door = self.doors.socket_of(worker);
        let door = door.as_deref();
        let launch = Launch { process, name, show, policy, worker, notify, door, mail };
        launch.probe(argv, ticket, &self.environment).map_err(|failure| failure.0)
    }

    /// Takes the result of a spawn that is no launch's.
    pub(super) fn program_spawned(&mut self, ticket: u64, result: Result<Spawned, SpawnError>) {
        let now = self.clock.now();
        let Some(program) = self.probes.programs.get_mut(&ticket) else { return };
        match result {
            Ok(Spawned { pid, pidfd, .. }) => {
                // Without a watch, its deadline ends it.
                let due = Some(now + program.within);
                let forgotten = program.forgotten;
                let _ = self.watch(&pidfd, Watched::Probe(ticket));
                if let Some(program) = self.probes.programs.get_mut(&ticket) {
                    program.body = Some(Body { pid, pidfd, due, killed: false });
                }
                if forgotten {
                    self.kill_program(ticket);
                }
            }
            Err(error) => self.program_over(ticket, Err(error.to_string())),
        }
    }

    /// A program that probes may have ended.
    pub(super) fn program_may_have_ended(&mut self, ticket: u64, token: u64) {
        let program = self.probes.programs.get(&ticket);
        let Some((program, body)) = program.and_then(|program| Some((program, program.body.as_ref()?)))
        else {
            self.watched.remove(&token);
            return;
        };
        let too_slow = body.killed;
        let answer = match process::wait_leader(body.pidfd.as_fd()) {
            Ok(None) => return,
            _ if too_slow => Err(format!("no answer within {}", words::span(program.within))),
            Ok(Some(Exit::Code(0))) => Ok(()),
            Ok(Some(Exit::Code(code))) => Err(format!("exit code {code}")),
            Ok(Some(Exit::Signal { signal, .. })) => {
                Err(format!("killed by signal {signal} ({})", process::signal::name(signal)))
            }
            Err(error) => Err(words::reason(&error)),
        };
        let _ = self.epoll.delete(&body.pidfd);
        self.watched.remove(&token);
        self.clear_program(ticket);
        self.program_over(ticket, answer);
    }

    /// Kills the programs that have taken as long as they may, and answers for those that cannot be killed.
    pub(super) fn stop_slow_programs(&mut self) {
        let now = self.clock.now();
        let is_due =
            |program: &Program| program.body.as_ref().and_then(|body| body.due).is_some_and(|due| due <= now);
        let due: Vec<u64> = self
            .probes
            .programs
            .iter()
            .filter(|(_, program)| is_due(program))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in due {
            let Some(program) = self.probes.programs.get_mut(&ticket) else { continue };
            let Some(body) = &mut program.body else { continue };
            if !body.killed {
                self.kill_program(ticket);
                continue;
            }
            body.due = None;
            let (process, purpose, pid) = (program.process, program.purpose, body.pid);
            if !std::mem::replace(&mut program.forgotten, true) {
                self.answer_probe(process, purpose, Err(format!("pid {pid} cannot be killed")));
            }
        }
    }

    fn kill_program(&mut self, ticket: u64) {
        let due = Some(self.clock.now() + DYING_TAKES_AT_MOST);
        let program = self.probes.programs.get_mut(&ticket);
        let Some(body) = program.and_then(|program| program.body.as_mut()) else { return };
        (body.due, body.killed) = (due, true);
        if let Ok(Some(identity)) = Identity::of(body.pid) {
            // What was found before an error is killed; what escapes bears the probe's mark.
            let _ = process::freeze_and_kill(&[identity], |_| false);
        }
        let _ = process::signal::send(body.pidfd.as_fd(), libc::SIGKILL);
    }

    fn program_over(&mut self, ticket: u64, answer: Result<(), String>) {
        if let Some(Program { process, purpose, forgotten: false, .. }) = self.probes.programs.remove(&ticket)
        {
            self.answer_probe(process, purpose, answer);
        }
        self.start_programs();
    }

    /// Kills what a program that probed has left behind.
    fn clear_program(&mut self, ticket: u64) {
        // Its orphans are the main thread's children; mostly there is none, which one call tells.
        if !self.sweep() {
            return;
        }
        let Ok(snapshot) = Snapshot::take() else { return };
        let number = ticket.to_string();
        let left: Vec<Identity> = snapshot
            .children(Pid::this())
            .iter()
            .filter(|pid| process::environ_var(**pid, PROBE).is_some_and(|mark| mark == number.as_bytes()))
            .filter_map(|pid| snapshot.get(*pid))
            .map(Identity::from)
            .collect();
        if !left.is_empty() {
            let _ = process::freeze_and_kill(&left, |_| false);
        }
    }
}
