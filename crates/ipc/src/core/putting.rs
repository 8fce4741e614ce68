//! Putting: at once where there is a place, else asleep until there is one.

use super::{Core, Stop};
use crate::atomic::{Ordering, fence};
use crate::blocks::Short;
use crate::errors::Fault;
use crate::layout::{MEMORY, PLACE};
use crate::locals::Local;
use crate::put::Published;
use crate::tag::{State, Tag, Which};
use crate::waiting::{Ended, Pace, Try};

/// Why a put put nothing.
pub(crate) enum Refusal {
    Stop(Stop),
    TooLarge { length: u64, limit: u64 },
}

impl<T: Into<Stop>> From<T> for Refusal {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
    }
}

impl Core {
    /// The longest message that may be put, in bytes.
    pub(crate) fn largest(&self) -> u64 {
        self.settings.max_message.min(self.layout.largest)
    }

    /// Puts a message; `until_ns` zero means not to wait.
    pub(crate) fn put(&self, message: &[u8], until_ns: u64) -> Result<(), Refusal> {
        self.segment.check().map_err(Fault::Corrupt)?;
        let length = message.len() as u64;
        if length > self.largest() {
            return Err(Refusal::TooLarge { length, limit: self.largest() });
        }
        let me = self.join()?;
        self.locals.with(|local| {
            let block = match self.write_message(me, local, message) {
                Ok(block) => {
                    self.segment.check_whole().map_err(Fault::Corrupt)?;
                    match self.publish_first(me, block, local).map_err(|damage| self.fault(damage))? {
                        Published::Done => return Ok(self.keep_put(block, message.len())?),
                        Published::Full => Some(block),
                        Published::Closed => return Err(self.forget(block, Stop::Closed).into()),
                        Published::NoRoom => return Err(self.forget(block, Stop::NoRoom).into()),
                    }
                }
                Err(Short::OfMemory) => None,
                Err(Short::OfDisk) => return Err(Stop::NoRoom.into()),
            };
            self.put_later(me, local, message, block, until_ns).map_err(Refusal::Stop)
        })
    }

    /// How many places are free, about.
    fn places(&self) -> u64 {
        self.layout.counts.bound.saturating_sub(self.ring(Which::First).length())
    }

    /// Waits for memory, if there is no block yet, and for a place.
    #[cold]
    fn put_later(
        &self,
        me: u32,
        local: &Local,
        message: &[u8],
        block: Option<u32>,
        until_ns: u64,
    ) -> Result<(), Stop> {
        let block = std::cell::Cell::new(block);
        let side = || if block.get().is_some() { PLACE } else { MEMORY };
        let attempt = || {
            self.segment.check().map_err(Fault::Corrupt)?;
            if block.get().is_none() {
                match self.write_message(me, local, message) {
                    Ok(written) => block.set(Some(written)),
                    Err(_) if self.is_ended().map_err(|damage| self.fault(damage))? => {
                        return Err(Stop::Closed);
                    }
                    Err(Short::OfDisk) => return Err(Stop::NoRoom),
                    Err(Short::OfMemory) => return Ok(Try::NotBefore(u64::MAX)),
                }
            }
            let ready = block.get().expect("written above");
            match self.publish_first(me, ready, local).map_err(|damage| self.fault(damage))? {
                Published::Done => Ok(Try::Done(ready)),
                Published::Full => Ok(Try::NotBefore(u64::MAX)),
                Published::Closed => Err(Stop::Closed),
                Published::NoRoom => Err(Stop::NoRoom),
            }
        };
        let ended = if until_ns == 0 {
            match attempt() {
                Ok(Try::Done(block)) => Ok(block),
                Ok(Try::NotBefore(_)) => Err(Stop::Ended(Ended::TimedOut)),
                Err(stop) => Err(stop),
            }
        } else {
            // Going on with the first place that is free would mean to wait for each of the next ones too, and to
            // take the head's line from the consumers every time. An eighth of the queue is worth a start.
            let enough = (self.layout.counts.bound / 8).max(1);
            let is_worth_a_try = || block.get().is_none() || self.places() >= enough;
            self.wait(me, local, until_ns, (Pace::Patient, &is_worth_a_try), side, attempt)
        };
        match (ended, block.get()) {
            (Ok(block), _) => Ok(self.keep_put(block, message.len())?),
            (Err(stop), Some(block)) => Err(self.forget(block, stop)),
            (Err(stop), None) => Err(stop),
        }
    }

    /// Frees a block that could not be published.
    #[cold]
    fn forget(&self, block: u32, why: Stop) -> Stop {
        let was_ready = matches!(Tag(self.tag(block).load(Ordering::Relaxed)).state(), State::Ready(_));
        self.free_block(block);
        if was_ready {
            self.keep_refusal(block);
        }
        fence(Ordering::SeqCst);
        self.tell_if_drained();
        why
    }

    /// Puts as many messages as there are places for at once; answers how many.
    pub(crate) fn put_run<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize, Fault> {
        self.segment.check()?;
        let me = self.join()?;
        self.locals.with(|local| {
            let mut run = self.begin_run();
            let mut put = 0;
            for message in messages {
                let message = message.as_ref();
                if message.len() as u64 > self.largest() || !self.has_place(run, local) {
                    break;
                }
                let Ok(block) = self.write_message(me, local, message) else { break };
                if !self.publish_in_run(me, block, &mut run).map_err(|damage| self.fault(damage))? {
                    self.forget(block, Stop::Closed);
                    break;
                }
                put += 1;
            }
            self.end_run(run);
            self.segment.check()?;
            if put > 0 {
                self.keep_run()?;
            }
            Ok(put)
        })
    }
}
