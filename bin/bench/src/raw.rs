//! Memory that two processes share, the C library's locks in it, and the kernel's futex: what the yardsticks are made of.
//!
//! This is the only file of the bench with `unsafe`, because these have no safe form anywhere: a mapping is a pointer,
//! and a lock that another process holds is a C struct behind one. It is kept small: a mapping that lives as long as
//! the process, words of it as atomics, copies in and out, and a lock with two conditions. What is built of them (a ring,
//! a ping-pong) is written without `unsafe` in [`queue::lines`](crate::queue::lines). Each `unsafe` leans on one of:
//!
//! - **[mapped]** `base` is a mapping of `bytes` bytes, made in [`Shared::map`] and never unmapped nor shrunk: the file
//!   is a memfd that only the bench's own processes have, and none of them truncates it.
//! - **[inside]** every access is checked against `bytes` first.
//! - **[locked]** bytes that are copied are touched by one process at a time: those who use a [`Shared`] for messages copy
//!   under its lock, and the memory limit is measured by a single process.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Where the lock and its conditions lie; users of the lock keep what is theirs above [`LOCK_END`].
const MUTEX: usize = 0;
const CONDITIONS: [usize; 2] = [128, 256];
/// The first byte that is not the lock's.
pub const LOCK_END: usize = 384;

/// Memory shared by processes, all zeroes at first.
#[derive(Debug)]
pub struct Shared {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process and not to a thread; what is done with it is ordered by atomics or the lock.
unsafe impl Send for Shared {}

impl Shared {
    /// Makes it: the descriptor is for others to map, by [`Shared::map`].
    pub fn create(bytes: usize) -> io::Result<(OwnedFd, Shared)> {
        let fd = memfd_create(c"bench", MFdFlags::MFD_CLOEXEC)?;
        File::from(fd.try_clone()?).set_len(bytes as u64)?;
        let shared = Shared::map(&fd)?;
        Ok((fd, shared))
    }

    /// Maps what another process made.
    pub fn map(fd: &OwnedFd) -> io::Result<Shared> {
        let bytes = usize::try_from(File::from(fd.try_clone()?).metadata()?.len()).unwrap_or(0);
        let length = bytes.try_into().map_err(|_| io::Error::other("memory of no bytes"))?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing that exists.
        let base = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags, fd.as_fd(), 0)
        }?;
        Ok(Shared { base: base.cast(), bytes })
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The 32-bit word at this place, a multiple of 4.
    pub fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.bytes, "outside");
        // SAFETY: [mapped], [inside], and aligned; every process uses this word as an atomic only.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(at).cast()) }
    }

    /// The 64-bit word at this place, a multiple of 8.
    pub fn long(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.bytes, "outside");
        // SAFETY: [mapped], [inside], and aligned; every process uses this word as an atomic only.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }
    }

    /// Copies bytes in.
    #[inline]
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.bytes, "outside");
        // SAFETY: [mapped], [inside], [locked]; a slice of this process's own does not overlap it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(at), bytes.len()) };
    }

    /// Copies bytes out.
    #[inline]
    pub fn read(&self, at: usize, into: &mut [u8]) {
        assert!(at + into.len() <= self.bytes, "outside");
        // SAFETY: [mapped], [inside], [locked]; a slice of this process's own does not overlap it.
        unsafe { ptr::copy_nonoverlapping(self.base.as_ptr().add(at), into.as_mut_ptr(), into.len()) };
    }

    /// Makes the lock and its conditions, once, before anybody else maps the memory.
    pub fn make_lock(&self) {
        assert!(self.bytes >= LOCK_END, "outside");
        // SAFETY: [mapped], [inside]; attributes and objects are made whole by the library's own calls before they are
        // used, and nobody else knows of them yet. Zeroes are room for them.
        unsafe {
            let mut mutex: libc::pthread_mutexattr_t = std::mem::zeroed();
            libc::pthread_mutexattr_init(&raw mut mutex);
            libc::pthread_mutexattr_setpshared(&raw mut mutex, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&raw mut mutex, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutex_init(self.mutex(), &raw const mutex);
            let mut condition: libc::pthread_condattr_t = std::mem::zeroed();
            libc::pthread_condattr_init(&raw mut condition);
            libc::pthread_condattr_setpshared(&raw mut condition, libc::PTHREAD_PROCESS_SHARED);
            for which in 0..CONDITIONS.len() {
                libc::pthread_cond_init(self.condition(which), &raw const condition);
            }
        }
    }

    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        self.base.as_ptr().wrapping_add(MUTEX).cast()
    }

    fn condition(&self, which: usize) -> *mut libc::pthread_cond_t {
        self.base.as_ptr().wrapping_add(CONDITIONS[which]).cast()
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> Locked<'_> {
        // SAFETY: [mapped], and made by `make_lock` before the memory was handed out.
        let answer = unsafe { libc::pthread_mutex_lock(self.mutex()) };
        self.locked(answer)
    }

    fn locked(&self, answer: libc::c_int) -> Locked<'_> {
        if answer == libc::EOWNERDEAD {
            // SAFETY: as in `lock`; it is held by this thread. What the dead one left is measured, not trusted.
            unsafe { libc::pthread_mutex_consistent(self.mutex()) };
        } else {
            assert_eq!(answer, 0, "the lock is broken");
        }
        Locked { shared: self }
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct Locked<'a> {
    shared: &'a Shared,
}

impl<'a> Locked<'a> {
    /// Lets go of the lock, waits for a condition, and takes the lock again.
    pub fn wait(self, which: usize) -> Locked<'a> {
        let shared = self.shared;
        std::mem::forget(self);
        // SAFETY: [mapped], made by `make_lock`, and the lock is held by this thread: the guard was proof of it.
        let answer = unsafe { libc::pthread_cond_wait(shared.condition(which), shared.mutex()) };
        shared.locked(answer)
    }

    /// Wakes one of those who wait for a condition; no system call where nobody does.
    #[inline]
    pub fn signal(&self, which: usize) {
        // SAFETY: [mapped], and made by `make_lock`.
        unsafe { libc::pthread_cond_signal(self.shared.condition(which)) };
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: [mapped], and held by this thread.
        unsafe { libc::pthread_mutex_unlock(self.shared.mutex()) };
    }
}

/// Sleeps until woken, if the word still is `seen`.
pub fn futex_wait(word: &AtomicU32, seen: u32) {
    // SAFETY: the word is a live atomic, and the kernel only reads it; a null time is none.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, ptr::null::<libc::timespec>());
    }
}

/// Wakes one that sleeps on the word.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word is a live atomic, of which the kernel uses the address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Nanoseconds that copying so many bytes in and out again takes, over `blocks` of them in turn.
pub fn copies_ns(shared: &Shared, bytes: usize, blocks: usize, turns: usize) -> f64 {
    let (from, mut to) = (vec![7u8; bytes], vec![0u8; bytes]);
    // The memory is there before it counts.
    (0..blocks).for_each(|block| shared.write(block * bytes, &from));
    let begun = std::time::Instant::now();
    for turn in 0..turns {
        let at = turn % blocks * bytes;
        shared.write(at, std::hint::black_box(&from));
        std::sync::atomic::fence(Ordering::SeqCst);
        shared.read(at, std::hint::black_box(&mut to));
    }
    begun.elapsed().as_nanos() as f64 / turns as f64
}
