//! A worker joins: who is it, and what is it told.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use control::api::{ApiError, ErrorCode, Join, Tell};
use process::Pid;
use supervision::{Event, Process};
use worker::wire::{self, Hello};

use crate::asking::{Outcome, now};
use crate::meeting::Introduction;
use crate::the_loop::Loop;

/// How many one-shot servers of one launch are remembered, to be cleared when it ends.
const PLACES_AT_MOST: usize = 16;

/// The longest word a worker may have on what it does, in characters.
pub(crate) const STATUS_AT_MOST: usize = 1024;

impl Loop {
    pub(crate) fn join(&mut self, join: Join, pid: i32) -> Result<Outcome, ApiError> {
        let server = join.server.clone();
        let outcome = self.introduce(join, pid);
        if outcome.is_err() {
            // Nobody will come to it, and whoever opened it may be dead, its launch over.
            clear_meeting_place(&server);
        }
        outcome
    }

    fn introduce(&mut self, join: Join, pid: i32) -> Result<Outcome, ApiError> {
        if join.abi != wire::ABI {
            return Err(speaks_another(join.abi));
        }
        let process = self.joiner(pid)?;
        self.watch_participant(pid)?;
        let (run, name) = (self.setup.name.clone(), self.roster.name(process.instance.worker).to_owned());
        let setup = self.setup.workers.get(process.instance.worker.0 as usize);
        let (args, kwargs) =
            setup.map(|setup| (setup.args.to_string(), setup.kwargs.to_string())).unwrap_or_default();
        let (queues, sync) = (self.queues.grants(), self.primitives.grant());
        let Some(tree) = self.processes.get_mut(process) else {
            return Err(ApiError::new(ErrorCode::NotFound, "the worker has ended"));
        };
        let leader = tree.pid.as_raw();
        let places = &mut tree.talk().meeting_places;
        if places.len() < PLACES_AT_MOST {
            places.push(join.server.clone());
        }
        let nonce = join.nonce;
        let hello = move |commands| Hello {
            nonce,
            run,
            worker: name,
            instance: process.instance.index,
            launch: process.launch.0,
            pid: leader,
            supervisor: Pid::this().as_raw(),
            args,
            kwargs,
            queues,
            sync,
            commands,
        };
        Ok(Outcome::Meet(Introduction { server: join.server, process, hello: Box::new(hello) }))
    }

    pub(crate) fn hear(&mut self, tell: Tell, pid: i32) -> Result<Outcome, ApiError> {
        let process = self.joiner(pid)?;
        match tell {
            Tell::Ready => self.tell_core([Event::Ready(process)]),
            Tell::Status(status) => {
                if let Some(tree) = self.processes.get_mut(process) {
                    tree.talk().status = Some(status.chars().take(STATUS_AT_MOST).collect());
                }
            }
            Tell::Heartbeat => self.tell_core([Event::Alive(process)]),
        }
        Ok(now(()))
    }

    pub(crate) fn joiner(&self, pid: i32) -> Result<Process, ApiError> {
        self.launch_of(pid).ok_or_else(|| {
            ApiError::new(ErrorCode::Refused, format!("process {pid} is not of a worker of this run"))
                .hint("only what the supervisor launched, and what that started, can join")
        })
    }
}

/// A worker was built with another version of what is said between it and its supervisor.
pub(crate) fn speaks_another(abi: u32) -> ApiError {
    let message = format!("the worker speaks version {abi}, this supervisor version {}", wire::ABI);
    ApiError::new(ErrorCode::Refused, message)
        .hint("build the worker with the supervisor's own version of the crate")
}

/// Removes the one-shot server that a worker left behind when it died before the meeting, or while it removed it itself:
/// the socket, its mark, and the folder that was made for it alone.
pub(crate) fn clear_meeting_place(server: &str) {
    let socket = Path::new(server);
    let Some(folder) = socket.parent() else { return };
    if !folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".tmp")) {
        return;
    }
    // What cannot be removed was removed by somebody else, or is not ours to remove.
    if std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_file(folder.join(wire::PLACE_MARK));
    }
    // Not where anything is left in it.
    let _ = std::fs::remove_dir(folder);
}
