//! What a thread that spawns keeps: a stack for the child, and low descriptors for what the child gets.
//!
//! A child takes a copy of the descriptors up to the highest one it needs, and closes the others. In a process that has
//! thousands open, and the pipe it just made among the highest, that costs more than the rest of the spawn together. So
//! three low places are kept, and what the child needs is put there for the moment of the spawn.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;

use super::stack::Stack;

/// What one thread needs again and again. Nothing else uses it while it spawns.
pub(crate) struct Ground {
    pub(super) stack: Stack,
    places: [OwnedFd; 3],
}

thread_local! {
    static MINE: RefCell<Option<Ground>> = const { RefCell::new(None) };
}

impl Ground {
    /// Best done early, while low descriptors are free.
    pub(crate) fn prepare() -> io::Result<Self> {
        let null = null_device()?;
        let place = || null.try_clone_to_owned();
        Ok(Self { stack: Stack::map()?, places: [place()?, place()?, place()?] })
    }

    /// Gives this to the calling thread for all its spawns.
    pub(crate) fn settle(self) {
        MINE.set(Some(self));
    }

    /// Lends what the calling thread has, which is prepared if it has nothing yet.
    pub(super) fn with<T>(use_it: impl FnOnce(&Self) -> Result<T, Errno>) -> Result<T, Errno> {
        MINE.with_borrow_mut(|mine| match mine {
            Some(ground) => use_it(ground),
            None => {
                let ground = Self::prepare().map_err(|error| super::errno_of(&error))?;
                use_it(mine.insert(ground))
            }
        })
    }

    /// Puts descriptors that are higher than the places into them, until the answer is dropped.
    pub(super) fn bring_down(&self, sources: [Option<RawFd>; 3]) -> Low<'_> {
        let highest = self.places.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(0);
        let mut low = Low { ground: self, sources };
        for (source, place) in low.sources.iter_mut().zip(&self.places) {
            if let Some(fd) = source.filter(|fd| *fd > highest) {
                // SAFETY: integers only; the place is ours, and the source stays open. One that can not be put there
                // stays where it is, for the child to say what is wrong with it.
                let answer = unsafe { libc::dup3(fd, place.as_raw_fd(), libc::O_CLOEXEC) };
                if answer >= 0 {
                    *source = Some(answer);
                }
            }
        }
        low
    }
}

/// Makes ready what the calling thread needs for its spawns. Without this the first of them does; but where thousands
/// of descriptors are open by then, each spawn of the thread costs more for ever.
///
/// # Errors
///
/// When memory or descriptors can not be had.
pub fn prepare_to_spawn() -> io::Result<()> {
    Ground::prepare().map(Ground::settle)
}

/// Descriptors a child gets, where it shall look for them.
pub(super) struct Low<'a> {
    ground: &'a Ground,
    pub(super) sources: [Option<RawFd>; 3],
}

impl Drop for Low<'_> {
    fn drop(&mut self) {
        for place in &self.ground.places {
            if let (true, Ok(null)) = (self.sources.contains(&Some(place.as_raw_fd())), null_device()) {
                // Whoever reads the other end of a pipe waits for every writer to be closed; this would be one.
                // SAFETY: integers only, and the place is ours.
                unsafe { libc::dup3(null.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) };
            }
        }
    }
}

/// `/dev/null`, opened once for the whole process.
pub(super) fn null_device() -> io::Result<BorrowedFd<'static>> {
    static NULL: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(null) = NULL.get() {
        return Ok(null.as_fd());
    }
    let opened = File::options().read(true).write(true).open("/dev/null")?;
    // A copy is never one of the standard three, which the opened one is if this process has closed those: a child
    // would inherit it there.
    let null = opened.as_fd().try_clone_to_owned()?;
    Ok(NULL.get_or_init(|| null).as_fd())
}
