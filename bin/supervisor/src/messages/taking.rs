//! From a queue to standard output.

use std::process::ExitCode;

use super::outlet::{self, Outlet};
use super::trouble::Trouble;
use super::{Form, Line, Waiting, forward_dead};
use crate::output;
use crate::progress::Tally;
use crate::talk::Failure;

/// How many messages to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many; a queue that closes before is an error.
    Exactly(u64),
    /// All, until the queue is closed and drained.
    UntilClosed,
    /// Those that are there now.
    WhatIsThere,
    /// Those that were given up on, and have no queue to go to.
    TheDead,
}

impl Line {
    /// Takes messages, prints them, and acknowledges each once its bytes are written; what could not be written is
    /// given back. How far it has come is told by `tally`.
    ///
    /// # Errors
    /// Exit 6, 7 or 8 when it is empty, stays empty, or is closed before there were enough.
    pub fn get(mut self, amount: Amount, form: Form, mut tally: Option<Tally>) -> Result<ExitCode, Failure> {
        let mut outlet = Outlet::standard(form, amount == Amount::UntilClosed)?;
        let done = self.pass(amount, &mut outlet, tally.as_mut()).and_then(|()| outlet.let_out());
        drop(tally);
        forward_dead(&self.queue, self.dead_letters.as_ref());
        outlet.tell_what_lines_hid();
        done.map(|()| ExitCode::SUCCESS)
    }

    fn pass(
        &mut self,
        amount: Amount,
        outlet: &mut Outlet,
        mut tally: Option<&mut Tally>,
    ) -> Result<(), Failure> {
        let mut taken = 0;
        loop {
            let most = match amount {
                Amount::Exactly(wanted) if taken >= wanted => return Ok(()),
                Amount::Exactly(wanted) => usize::try_from(wanted - taken).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let most = most.min(outlet.room());
            let leases = match self.take(amount, most, outlet)? {
                Ok(leases) => leases,
                Err(Trouble::Closed) if matches!(amount, Amount::UntilClosed | Amount::WhatIsThere) => {
                    return Ok(());
                }
                Err(Trouble::WouldBlock) if matches!(amount, Amount::WhatIsThere | Amount::TheDead) => {
                    return Ok(());
                }
                Err(trouble) => {
                    outlet.let_out()?;
                    return Err(trouble.in_taking(&self.name));
                }
            };
            taken += leases.len() as u64;
            outlet.add(leases)?;
            if let Some(tally) = &mut tally {
                tally.note(|| format!("{taken} messages taken, {} left", self.queue.len()));
            }
        }
    }

    /// Takes what is there; waits, if there is nothing, when what was taken before is out.
    fn take(
        &mut self,
        amount: Amount,
        most: usize,
        outlet: &mut Outlet,
    ) -> Result<Result<Vec<ipc::Lease>, Trouble>, Failure> {
        if amount == Amount::TheDead {
            let letter = self.queue.take_dead().map_err(|fault| Trouble::Other(fault.to_string()));
            return Ok(letter.and_then(|letter| Ok(vec![letter.ok_or(Trouble::WouldBlock)?])));
        }
        match self.queue.try_lease_many(most) {
            Err(ipc::TryGetError::Empty) if amount != Amount::WhatIsThere => {
                outlet.let_out()?;
                match self.wait_for_one() {
                    Err(Trouble::Abandoned) if output::is_unheard() => Err(Failure::Unheard),
                    taken => Ok(taken),
                }
            }
            taken => Ok(taken.map_err(Trouble::from)),
        }
    }

    fn wait_for_one(&mut self) -> Result<Vec<ipc::Lease>, Trouble> {
        let lease = match self.waiting {
            Waiting::Never => return Err(Trouble::WouldBlock),
            Waiting::AtMost(timeout) => {
                self.watch_the_supervisor();
                self.watch_the_reader();
                self.queue.lease_timeout(timeout)?
            }
            Waiting::ForEver => {
                self.watch_the_supervisor();
                self.watch_the_reader();
                self.queue.lease()?
            }
        };
        Ok(vec![lease])
    }

    /// Prints the next message and leaves it where it is.
    ///
    /// # Errors
    /// Exit 6 when there is none, 8 when none will ever come.
    pub fn peek(self, form: Form) -> Result<ExitCode, Failure> {
        // Asked before: what is empty and only then closed may have got a message in between.
        let closed = self.queue.is_closed();
        match self.queue.peek() {
            Ok(Some(message)) => {
                outlet::print(&message, form)?;
                Ok(ExitCode::SUCCESS)
            }
            Ok(None) if closed => Err(Trouble::Closed.in_taking(&self.name)),
            Ok(None) => Err(Trouble::WouldBlock.in_taking(&self.name)),
            Err(fault) => Err(Trouble::Other(fault.to_string()).in_taking(&self.name)),
        }
    }
}
