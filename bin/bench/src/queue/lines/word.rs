//! One word in shared memory: the least by which one process can tell another that something is there.

use std::hint;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::{Ends, passed};
use crate::Trouble;
use crate::queue::work::{Get, Put};
use crate::raw::{Shared, futex_wait, futex_wake};

const BYTES: usize = 4096;
/// Set in the last word of all.
const IS_END: u32 = 1 << 31;

pub fn wire() -> Result<OwnedFd, Trouble> {
    Ok(Shared::create(BYTES)?.0)
}

/// A word, the last count seen or written, and whether to sleep.
pub struct Word {
    shared: Shared,
    count: u32,
    sleeps: bool,
}

impl Put for Word {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.count = (self.count + 1) & !IS_END;
        let end = if message[0] == 0 { IS_END } else { 0 };
        self.shared.word(0).store(self.count | end, Ordering::Release);
        if self.sleeps {
            futex_wake(self.shared.word(0));
        }
        Ok(())
    }
}

impl Get for Word {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        let word = self.shared.word(0);
        loop {
            let now = word.load(Ordering::Acquire);
            if now != self.count {
                self.count = now;
                look(&[u8::from(now & IS_END == 0)]);
                return Ok(());
            }
            if self.sleeps {
                futex_wait(word, now);
            } else {
                hint::spin_loop();
            }
        }
    }
}

/// The ends, and whether those who wait sleep.
pub struct WordEnds {
    pub sleeps: bool,
}

impl Ends for WordEnds {
    type Put = Word;
    type Get = Word;

    fn put_end(&self, name: &str) -> Result<Word, Trouble> {
        Ok(Word { shared: Shared::map(&passed(name)?)?, count: 0, sleeps: self.sleeps })
    }

    fn get_end(&self, name: &str) -> Result<Word, Trouble> {
        self.put_end(name)
    }
}
