//! Looking whether a worker has come back for its next line: seldom enough to cost next to nothing, often enough to be
//! not much late.

use std::time::{Duration, Instant};

use process::{Pid, PipeId, Reader};

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_micros(100);

/// A message that has been worked on for so long is looked at again after an eighth of that.
const SHARE: u32 = 8;

/// Before anybody but the known reader is looked at.
const FAR: Duration = Duration::from_millis(10);

/// Looks at everybody take at most so much of the time: one part in twenty.
const COST: u32 = 20;

/// Looks at the readers of one pipe.
///
/// Mostly that is the worker itself; else somebody below it who has inherited the pipe, and who has to be looked for among
/// all processes.
pub(super) struct Looks {
    pipe: PipeId,
    worker: Pid,
    /// Who was found asking last, if not the worker.
    other: Option<Pid>,
    /// When everybody may be looked at again.
    far_again: Instant,
}

impl Looks {
    pub fn at(pipe: PipeId, worker: Pid) -> Looks {
        Looks { pipe, worker, other: None, far_again: Instant::now() }
    }

    /// What the readers of the pipe, which must be empty, are at, the message being worked on since `since`.
    pub fn look(&mut self, since: Instant) -> Reader {
        let known = [Some(self.worker), self.other].into_iter().flatten();
        let near = known.map(|pid| self.pipe.reader(pid)).max().unwrap_or(Reader::Busy);
        let begun = Instant::now();
        if near != Reader::Busy || begun < self.far_again.max(since + FAR) {
            return near;
        }
        let found = self.look_at_all();
        self.far_again = begun + begun.elapsed() * COST;
        found
    }

    fn look_at_all(&mut self) -> Reader {
        match self.pipe.holders() {
            Ok(holders) if !holders.is_empty() => {
                let readers = holders.into_iter().map(|pid| (self.pipe.reader(pid), pid));
                let (found, pid) =
                    readers.max_by_key(|(found, _)| *found).unwrap_or((Reader::Busy, self.worker));
                if found != Reader::Busy {
                    self.other = Some(pid);
                }
                found
            }
            // Somebody holds it whom we may not look at.
            _ => Reader::MayAsk,
        }
    }
}

/// When to look again at a worker that has been at a message for so long.
pub(super) fn pause(at_work: Duration) -> Duration {
    SHORTEST.max(at_work / SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_an_hour_is_looked_at_a_few_times_and_the_end_is_seen_an_eighth_late_at_most() {
        let (mut at_work, mut looks) = (Duration::ZERO, 0);
        while at_work < Duration::from_secs(3600) {
            let rest = pause(at_work);
            assert!(rest <= SHORTEST.max(at_work / SHARE));
            at_work += rest;
            looks += 1;
        }
        assert!(looks < 200, "{looks}");
    }
}
