//! Standing in for one command: what signals the supervisor gets are the command's.

use std::os::fd::AsFd;

use supervision::{Ending, InstanceId, Process, WorkerId};

use super::{Loop, Told};
use crate::setup::Purpose;

/// The signals that a supervisor of one command passes on: all that people and systems send to ask for something.
pub(crate) const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// The one instance of the command.
const COMMAND: InstanceId = InstanceId { worker: WorkerId(0), index: 0 };

impl Loop {
    /// Passes a signal on to the command. One that asks to end also ends the run with it: it is not started again.
    pub(super) fn pass_on(&mut self, signal: i32) {
        let ends = matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT);
        if ends && self.told == Told::Nothing {
            // The core orders it to be asked, and it is asked by this signal.
            self.passed_on = Some(signal);
            self.shut_down();
            return;
        }
        match self.processes.of_instance(COMMAND) {
            Some((_, tree)) if tree.ended.is_none() => {
                // An error means that it is gone, which its descriptor says as well.
                let _ = process::signal::send(tree.pidfd.as_fd(), signal);
            }
            Some(_) => {}
            None if ends => {}
            None => self.unsent.push(signal),
        }
    }

    /// A leader runs: what came for it before is passed on now.
    pub(super) fn send_unsent(&mut self, process: Process) {
        if self.setup.purpose == Purpose::Command && process.instance == COMMAND {
            for signal in std::mem::take(&mut self.unsent) {
                self.pass_on(signal);
            }
        }
    }

    /// How the command ended last.
    pub(crate) fn command_ended(&self) -> Option<Ending> {
        self.core.instance(COMMAND, self.clock.now())?.last
    }
}
