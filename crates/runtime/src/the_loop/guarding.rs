//! The guard that is kept beside a supervisor with daemons.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{SpawnError, Spawned};

use super::{GUARDS_TICKET, Loop, Watched};
use crate::guard::Guard;
use crate::talk;

/// How long the end of a run waits for a guard that is just being born.
const BIRTH_TAKES_AT_MOST: Duration = Duration::from_secs(1);

impl Loop {
    pub(super) fn start_guard(&mut self) {
        if self.guards_left == 0 {
            talk::say(
                "the guard was killed too often; what daemons start may survive a kill -9 of this supervisor",
            );
            return;
        }
        self.guards_left -= 1;
        let prepared =
            std::env::current_exe().and_then(|program| Guard::prepare(&program, &self.folder.socket()));
        match prepared {
            Ok((guard, spawn)) => {
                self.guard = Some(guard);
                self.spawner.submit(GUARDS_TICKET, spawn);
            }
            Err(error) => talk::say(format_args!("cannot start the guard: {error}")),
        }
    }

    /// Sees to it that there is a guard: a worker that dies with this supervisor is to be launched.
    pub(crate) fn need_guard(&mut self) {
        if self.guard.is_none() {
            self.start_guard();
        }
    }

    /// Waits for the news of a guard that is just being born, so that it can be let go of and seen to end.
    pub(super) fn await_guard(&mut self) {
        let give_up = self.clock.now() + BIRTH_TAKES_AT_MOST;
        while self.guard.as_ref().is_some_and(|guard| guard.pidfd().is_none()) && self.clock.now() < give_up {
            let mut wait = [PollFd::new(self.spawner.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut wait, PollTimeout::from(100u16));
            self.hear_spawner();
        }
    }

    pub(super) fn guard_spawned(&mut self, result: Result<Spawned, SpawnError>) {
        match result {
            Ok(Spawned { pid, pidfd, .. }) => {
                if let Err(error) = self.watch(&pidfd, Watched::Guard) {
                    talk::say(format_args!("cannot watch the guard: {error}"));
                }
                if let Some(guard) = &mut self.guard {
                    guard.spawned(pid, pidfd);
                }
            }
            Err(error) => {
                self.guard = None;
                talk::say(format_args!("cannot start the guard: {error}"));
            }
        }
    }

    pub(super) fn guard_ended(&mut self, token: u64) {
        self.watched.remove(&token);
        if let Some(pidfd) = self.guard.take().as_ref().and_then(Guard::pidfd) {
            let _ = self.epoll.delete(pidfd);
            let _ = process::wait_leader(pidfd.as_fd());
        }
        self.start_guard();
    }
}
