//! The terminal that a run is shown on: when somebody closes it, the run ends as any program would that is shown there.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Whether standard output and error were a terminal in the beginning: one that is gone does not say that it was one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    out: bool,
    err: bool,
}

impl Terminal {
    /// That of this process.
    pub(super) fn of_this_process() -> Terminal {
        Terminal { out: io::stdout().is_terminal(), err: io::stderr().is_terminal() }
    }

    /// Whether there was one that is gone: its window was closed, or its connection lost.
    pub(super) fn is_gone(self) -> bool {
        (self.out && has_hung_up(io::stdout().as_fd())) || (self.err && has_hung_up(io::stderr().as_fd()))
    }
}

fn has_hung_up(terminal: BorrowedFd<'_>) -> bool {
    let mut look = [PollFd::new(terminal, PollFlags::empty())];
    poll(&mut look, PollTimeout::ZERO).is_ok()
        && look[0].revents().is_some_and(|told| told.contains(PollFlags::POLLHUP))
}
