//! Surviving a file that is cut short under its mapping.
//!
//! Touching a mapped page that the file no longer has ends a process with SIGBUS, and no check made before
//! the touch can help, since the file may shrink right after it. So the first mapping of an unsealed file
//! installs a handler for SIGBUS: a fault inside one of our mappings puts a page of zeros there and marks the
//! mapping as cut, and the operation goes on to find the mark and answer with an error. Every other SIGBUS
//! goes to whoever handled it before. Sealed memory needs none of this and installs nothing.
//!
//! The part that runs inside the handler lives in [`crate::futex`], with the other calls to the kernel.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many unsealed files one process can have mapped and guarded at once; further ones are not guarded.
const SEATS: usize = 256;

struct Seat {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    cut: AtomicBool,
}

#[allow(clippy::declare_interior_mutable_const)]
const EMPTY: Seat = Seat {
    taken: AtomicBool::new(false),
    start: AtomicUsize::new(0),
    end: AtomicUsize::new(0),
    cut: AtomicBool::new(false),
};

static SEATED: [Seat; SEATS] = [EMPTY; SEATS];

/// Speaks for one mapping while it lives.
#[derive(Debug)]
pub(crate) struct Guard {
    seat: Option<usize>,
}

impl Guard {
    /// Watches over the mapping of `length` bytes at `start`.
    pub(crate) fn over(start: usize, length: usize) -> Self {
        crate::futex::install_truncation_handler();
        let seat = SEATED.iter().position(|seat| {
            seat.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        if let Some(seat) = seat.map(|index| &SEATED[index]) {
            seat.cut.store(false, Ordering::Relaxed);
            seat.start.store(start, Ordering::Relaxed);
            seat.end.store(start + length, Ordering::Release);
        }
        Self { seat }
    }

    /// Whether a page of the mapping was found missing.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.seat.is_some_and(|index| SEATED[index].cut.load(Ordering::Relaxed))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(index) = self.seat {
            SEATED[index].end.store(0, Ordering::Release);
            SEATED[index].taken.store(false, Ordering::Release);
        }
    }
}

/// Marks the mapping that holds `address` as cut; says whether there is one. Safe inside a signal handler.
pub(crate) fn mark_cut(address: usize) -> bool {
    for seat in &SEATED {
        let end = seat.end.load(Ordering::Acquire);
        if address < end && address >= seat.start.load(Ordering::Relaxed) {
            seat.cut.store(true, Ordering::Relaxed);
            return true;
        }
    }
    false
}
