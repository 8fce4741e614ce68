//! The run's shared memory of locks and their like, as this command takes part in it; and waiting in it for what it does
//! not hold: events and barriers.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use control::Client;
use control::api::{ErrorCode, Kind, Primitive, Request, SyncHandle, SyncRequest, SyncStatus};
use ipc::Fault;
use ipc::sync::{BarrierError, BarrierTimeoutError, Family, NoSuch, WaitError, WaitTimeoutError};
use serde_json::json;

use crate::messages::Waiting;
use crate::output::{print, print_json};
use crate::reach::{call_with_descriptors, no_descriptor};
use crate::talk::{Failure, note};

/// The text by which a command that runs under a lock acts for the one that holds it, so that a deadlock of scripts is
/// seen; and by which the supervisor knows what runs under it, should the one that holds it be killed.
pub(super) const WARRANT: &str = "SUPERVISOR_LOCK_WARRANT";

/// One of the run's primitives, and the supervisor it belongs to.
#[derive(Debug)]
pub(super) struct Meeting {
    pub(super) family: Family,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Given to a watcher before the first wait.
    supervisor: Option<Client>,
    gone: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
}

impl Meeting {
    /// Opens what holds the primitive; `what` is what this command is at, for those who are told of it.
    ///
    /// # Errors
    /// What the supervisor refuses; exit 1 when the memory cannot be opened.
    pub(super) fn open(
        mut client: Client,
        kind: Kind,
        name: &str,
        what: Option<&str>,
    ) -> Result<Meeting, Failure> {
        let wanted = Primitive { kind, name: name.to_owned() };
        let request = Request::Sync(SyncRequest::Handle(Some(wanted)));
        let (handle, handed): (SyncHandle, _) = call_with_descriptors(&mut client, &request)?;
        let opened = match (&handle.path, handed.into_iter().next()) {
            (Some(path), _) => Family::open(path),
            // This is a worker of another user, who may not open what is the supervisor's.
            (None, Some(memory)) => Family::from_fd(memory),
            (None, None) => return Err(no_descriptor(&format!("{} {name}", kind.word()))),
        };
        let family = opened
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("{} {name}: {error}", kind.word())))?;
        let meeting = Meeting {
            family,
            kind,
            name: name.to_owned(),
            supervisor: Some(client),
            gone: Arc::new(AtomicBool::new(false)),
            holds: Arc::new(AtomicBool::new(false)),
        };
        if let Some(label) = label(what) {
            meeting.family.set_label(&label).map_err(|fault| meeting.fault(fault))?;
        }
        let holds = matches!(kind, Kind::Lock | Kind::Rlock | Kind::Semaphore);
        if let Some(warrant) = std::env::var(WARRANT).ok().filter(|_| holds) {
            // One of another run, or of somebody who is no more, says nothing about this wait.
            meeting.family.act_for(&warrant).map_err(|fault| meeting.fault(fault))?;
        }
        Ok(meeting)
    }

    /// From now on, if the supervisor goes away, waiting ends at once.
    pub(super) fn watch_the_supervisor(&mut self) {
        let Some(supervisor) = self.supervisor.take() else { return };
        self.family.set_interrupt(Arc::clone(&self.gone));
        let (family, gone, holds) = (self.family.clone(), Arc::clone(&self.gone), Arc::clone(&self.holds));
        let what = format!("{} {}", self.kind.word(), self.name);
        thread::spawn(move || {
            supervisor.outlast();
            gone.store(true, Ordering::SeqCst);
            family.wake_me();
            if holds.load(Ordering::SeqCst) {
                note(&format!("the supervisor went away; {what} is held on, but nobody new can ask for it"));
            }
        });
    }

    /// From now on, if the supervisor goes away, that is said: what is held goes on being held, but new runs of other
    /// names, and commands that ask for it anew, know nothing of it.
    pub(super) fn tell_when_abandoned(&mut self) {
        self.holds.store(true, Ordering::SeqCst);
        self.watch_the_supervisor();
    }

    /// `event wait`.
    pub(super) fn wait_for_event(mut self, waiting: Waiting, json: bool) -> Result<ExitCode, Failure> {
        let event = self.family.event(&self.name).map_err(|unknown| no_such(&unknown))?;
        let is_set = event.is_set().map_err(|fault| self.fault(fault))?;
        if !is_set {
            if !matches!(waiting, Waiting::Never) {
                self.watch_the_supervisor();
            }
            match waiting {
                Waiting::Never => return Err(self.failure(ErrorCode::WouldBlock, "is not set")),
                Waiting::ForEver => event.wait().map_err(|error| match error {
                    WaitError::Interrupted => Failure::supervisor_gone(),
                    WaitError::Fault(fault) => self.fault(fault),
                })?,
                Waiting::AtMost(timeout) => event.wait_timeout(timeout).map_err(|error| match error {
                    WaitTimeoutError::Timeout => self.failure(ErrorCode::TimedOut, "was not set in time"),
                    WaitTimeoutError::Interrupted => Failure::supervisor_gone(),
                    WaitTimeoutError::Fault(fault) => self.fault(fault),
                })?,
            }
        }
        if json {
            print_json(&json!({"event": self.name, "set": true}))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// `barrier wait`.
    pub(super) fn wait_at_barrier(
        mut self,
        timeout: Option<Duration>,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let barrier = self.family.barrier(&self.name).map_err(|unknown| no_such(&unknown))?;
        let mut witness = self.supervisor.as_ref().and_then(|supervisor| supervisor.another().ok());
        self.watch_the_supervisor();
        let mut broken = || {
            // Where the supervisor has gone, so do the parties, one after the other: that is the news, not the barrier.
            let asked = Request::Sync(SyncRequest::List);
            let answers = |witness: &mut Client| witness.call::<SyncStatus>(&asked).is_ok();
            if witness.as_mut().is_some_and(|witness| !answers(witness)) {
                return Failure::supervisor_gone();
            }
            let failure = self.failure(ErrorCode::Failed, "is broken: a party died or gave up");
            failure.hint(format!("`supervisor barrier reset {}` lets it be used again", self.name))
        };
        let passed = match timeout {
            None => barrier.wait().map_err(|error| match error {
                BarrierError::Broken => broken(),
                BarrierError::Interrupted => Failure::supervisor_gone(),
                BarrierError::Fault(fault) => self.fault(fault),
            })?,
            Some(timeout) => barrier.wait_timeout(timeout).map_err(|error| match error {
                BarrierTimeoutError::Timeout => {
                    self.failure(ErrorCode::TimedOut, "was not reached by all in time; it is broken now")
                }
                BarrierTimeoutError::Broken => broken(),
                BarrierTimeoutError::Interrupted => Failure::supervisor_gone(),
                BarrierTimeoutError::Fault(fault) => self.fault(fault),
            })?,
        };
        if json {
            print_json(&json!({"barrier": self.name, "index": passed.index}))?;
        } else {
            print(&format!("{}\n", passed.index))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is wrong with this primitive.
    pub(super) fn failure(&self, code: ErrorCode, words: &str) -> Failure {
        Failure::new(code, format!("{} {} {words}", self.kind.word(), self.name))
    }

    pub(super) fn fault(&self, fault: Fault) -> Failure {
        Failure::new(ErrorCode::Failed, format!("{} {}: {fault}", self.kind.word(), self.name))
    }
}

/// It was there when the supervisor was asked, so this is a supervisor of another version.
pub(super) fn no_such(unknown: &NoSuch) -> Failure {
    Failure::new(ErrorCode::NotFound, unknown.to_string())
}

/// What this command calls itself: the worker it runs in, and what it is at.
fn label(what: Option<&str>) -> Option<String> {
    let worker = std::env::var("SUPERVISOR_WORKER").ok();
    let instance = std::env::var("SUPERVISOR_INSTANCE").unwrap_or_default();
    match (worker, what) {
        (Some(worker), Some(what)) => Some(format!("{worker}:{instance} ({what})")),
        (Some(worker), None) => Some(format!("{worker}:{instance}")),
        (None, Some(what)) => Some(what.to_owned()),
        (None, None) => None,
    }
}
