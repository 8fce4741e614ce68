//! A ring in shared memory under one robust mutex, with a condition for each side: what most write first.
//!
//! It is written to be as good as such a ring can be: messages are copied under the lock and nothing else is done there, a
//! signal is sent only when somebody may sleep (the C library makes no system call otherwise), and who finds it empty or
//! full looks at the counters for a while, without the lock, before it sleeps.

use std::hint;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use nix::unistd::{SysconfVar, sysconf};

use super::{Ends, capacity, passed};
use crate::Trouble;
use crate::queue::work::{Get, Put};
use crate::raw::{LOCK_END, Shared};

/// Messages ever put, and ever got, each in a cache line of its own.
const TAIL: usize = LOCK_END;
const HEAD: usize = LOCK_END + 128;
const SLOTS: usize = LOCK_END + 256;
/// The conditions.
const CAME: usize = 0;
const PLACE: usize = 1;
/// Looks at the counters before sleeping, with two processors at least.
const LOOKS: u32 = 2000;

pub fn wire(bytes: usize) -> Result<OwnedFd, Trouble> {
    let (fd, shared) = Shared::create(SLOTS + capacity(bytes) * bytes.next_multiple_of(64))?;
    shared.make_lock();
    Ok(fd)
}

pub struct Ring {
    shared: Shared,
    slots: u64,
    stride: usize,
    looks: u32,
    buffer: Vec<u8>,
}

impl Ring {
    fn slot(&self, number: u64) -> usize {
        SLOTS + (number % self.slots) as usize * self.stride
    }

    /// Waits without the lock until it may be worth to look with it.
    fn look(&self, is_worth: impl Fn(u64, u64) -> bool) -> bool {
        for _ in 0..self.looks {
            let tail = self.shared.long(TAIL).load(Ordering::Relaxed);
            if is_worth(tail, self.shared.long(HEAD).load(Ordering::Relaxed)) {
                return true;
            }
            hint::spin_loop();
        }
        false
    }
}

impl Put for Ring {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        let (tail, head) = (self.shared.long(TAIL), self.shared.long(HEAD));
        let is_full = |tail: u64, head: u64| tail - head >= self.slots;
        let mut has_looked = false;
        let mut locked = self.shared.lock();
        while is_full(tail.load(Ordering::Relaxed), head.load(Ordering::Relaxed)) {
            if has_looked {
                locked = locked.wait(PLACE);
            } else {
                drop(locked);
                has_looked = !self.look(|tail, head| !is_full(tail, head));
                locked = self.shared.lock();
            }
        }
        let number = tail.load(Ordering::Relaxed);
        self.shared.write(self.slot(number), message);
        tail.store(number + 1, Ordering::Relaxed);
        locked.signal(CAME);
        Ok(())
    }
}

impl Get for Ring {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        let mut buffer = std::mem::take(&mut self.buffer);
        {
            let (tail, head) = (self.shared.long(TAIL), self.shared.long(HEAD));
            let mut has_looked = false;
            let mut locked = self.shared.lock();
            while tail.load(Ordering::Relaxed) == head.load(Ordering::Relaxed) {
                if has_looked {
                    locked = locked.wait(CAME);
                } else {
                    drop(locked);
                    has_looked = !self.look(|tail, head| tail != head);
                    locked = self.shared.lock();
                }
            }
            let number = head.load(Ordering::Relaxed);
            self.shared.read(self.slot(number), &mut buffer);
            head.store(number + 1, Ordering::Relaxed);
            locked.signal(PLACE);
        }
        look(&buffer);
        self.buffer = buffer;
        Ok(())
    }
}

/// The ends, and how long every message is.
pub struct RingEnds(pub usize);

impl RingEnds {
    fn open(&self, name: &str) -> Result<Ring, Trouble> {
        // Of the machine: each end may be held on one processor of several.
        let alone = sysconf(SysconfVar::_NPROCESSORS_ONLN).is_ok_and(|online| online == Some(1));
        Ok(Ring {
            shared: Shared::map(&passed(name)?)?,
            slots: capacity(self.0) as u64,
            stride: self.0.next_multiple_of(64),
            looks: if alone { 0 } else { LOOKS },
            buffer: vec![0; self.0],
        })
    }
}

impl Ends for RingEnds {
    type Put = Ring;
    type Get = Ring;

    fn put_end(&self, name: &str) -> Result<Ring, Trouble> {
        self.open(name)
    }

    fn get_end(&self, name: &str) -> Result<Ring, Trouble> {
        self.open(name)
    }
}
