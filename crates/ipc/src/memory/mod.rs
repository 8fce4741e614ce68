//! A stretch of memory that other processes map too.
//!
//! This is one of the two rooms with `unsafe`. What it hands out is safe: atomic words, and copies of bytes.
//! It never makes a reference to plain bytes, because another process may write them at any time. Every
//! access is checked against the length of the mapping, so a wrong offset is a panic here (a bug of this
//! crate), never a read outside. Offsets that come out of shared memory are checked by the callers first.
#![allow(unsafe_code)]

mod copying;
mod files;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32 as Plain32, Ordering};

use crate::atomic::{AtomicU32, AtomicU64};
use crate::truncation;
use copying::{copy_from_shared, copy_to_shared};
pub(crate) use files::{Hold, data, hold, is_sealed, let_go, reserve, sealed_file};

/// Bytes of one page of the operating system, as far as this crate cares.
pub(crate) const OS_PAGE: usize = 4096;

/// Bytes that every mapping has: the page of the header and that of the object.
pub(crate) const LEAST: usize = 2 * OS_PAGE;

/// A shared mapping of a whole file, and the file.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    length: usize,
    file: File,
    guard: Option<truncation::Guard>,
    #[cfg(loom)]
    words: modelled::Words,
}

// SAFETY: the mapping lives as long as the value and belongs to no thread; all access goes through atomics
// or copies that tolerate concurrent writers.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps all `length` bytes of `file`, for reading and writing, shared.
    ///
    /// A file that is not sealed against shrinking gets a guard: touching a page that is no longer there
    /// makes [`Memory::is_cut`] true instead of ending the process.
    ///
    /// # Errors
    /// What `mmap` says, most often that there is not enough address space; `InvalidInput` for less than [`LEAST`].
    pub(crate) fn map(file: File, length: usize) -> io::Result<Self> {
        if length < LEAST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let base = map_shared(&file, length)?;
        let guard = if is_sealed(&file) {
            None
        } else {
            Some(truncation::Guard::over(base.as_ptr() as usize, length))
        };
        Ok(Self {
            base,
            length,
            file,
            guard,
            #[cfg(loom)]
            words: modelled::Words::default(),
        })
    }

    /// The file behind the mapping.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether a page of this mapping turned out to be gone: the file was cut short, or its disk is full.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.guard.as_ref().is_some_and(truncation::Guard::is_cut)
    }

    /// The 64-bit word at `offset`, which must be a multiple of 8 inside the mapping.
    #[inline(always)]
    pub(crate) fn u64(&self, offset: usize) -> &AtomicU64 {
        #[cfg(all(test, not(loom)))]
        crate::power::look();
        assert!(offset & 7 == 0 && offset < self.length & !7, "a word outside the mapping");
        #[cfg(loom)]
        return self.words.u64(offset);
        // SAFETY: in bounds and aligned by the assertion (the base is page aligned); the mapping outlives the
        // borrow; every process reaches this word by atomics only.
        #[cfg(not(loom))]
        unsafe {
            AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast())
        }
    }

    /// The 64-bit word at an offset that every mapping has.
    #[inline(always)]
    pub(crate) fn fixed_u64<const OFFSET: usize>(&self) -> &AtomicU64 {
        const { assert!(OFFSET.is_multiple_of(8) && OFFSET <= LEAST - 8) };
        #[cfg(all(test, not(loom)))]
        crate::power::look();
        #[cfg(loom)]
        return self.words.u64(OFFSET);
        // SAFETY: as for `u64`; in bounds because no mapping is shorter than `LEAST`.
        #[cfg(not(loom))]
        unsafe {
            AtomicU64::from_ptr(self.base.as_ptr().add(OFFSET).cast())
        }
    }

    /// The 32-bit word at an offset that every mapping has.
    #[inline(always)]
    pub(crate) fn fixed_u32<const OFFSET: usize>(&self) -> &AtomicU32 {
        const { assert!(OFFSET.is_multiple_of(4) && OFFSET <= LEAST - 4) };
        #[cfg(all(test, not(loom)))]
        crate::power::look();
        #[cfg(loom)]
        return self.words.u32(OFFSET);
        // SAFETY: as for `u64`; in bounds because no mapping is shorter than `LEAST`.
        #[cfg(not(loom))]
        unsafe {
            AtomicU32::from_ptr(self.base.as_ptr().add(OFFSET).cast())
        }
    }

    /// The `LENGTH` bytes at `offset`, which must be a multiple of 8, all of them inside the mapping.
    #[inline(always)]
    pub(crate) fn stretch<const LENGTH: usize>(&self, offset: usize) -> Stretch<'_, LENGTH> {
        const { assert!(LENGTH <= LEAST) };
        assert!(offset & 7 == 0 && offset <= self.length - LENGTH, "a stretch outside the mapping");
        Stretch { memory: self, offset }
    }

    /// The 32-bit word at `offset`, which must be a multiple of 4 inside the mapping.
    #[inline(always)]
    pub(crate) fn u32(&self, offset: usize) -> &AtomicU32 {
        #[cfg(all(test, not(loom)))]
        crate::power::look();
        assert!(offset & 3 == 0 && offset < self.length & !3, "a word outside the mapping");
        #[cfg(loom)]
        return self.words.u32(offset);
        // SAFETY: as for `u64`.
        #[cfg(not(loom))]
        unsafe {
            AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast())
        }
    }

    /// Copies `bytes` to `offset`. What a reader in another process sees meanwhile may be torn.
    #[inline]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.length && bytes.len() <= self.length - offset, "a copy outside the mapping");
        // SAFETY: both ranges are valid for the length by the assertion; they cannot overlap, since `bytes`
        // is a reference and no reference is ever made into the mapping.
        unsafe { copy_to_shared(bytes.as_ptr(), self.base.as_ptr().add(offset), bytes.len()) }
    }

    /// Asks for the cache line at an offset, to write to it soon. Only a hint, wherever it points.
    #[inline(always)]
    pub(crate) fn expect_to_write(&self, offset: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            // SAFETY: a prefetch touches nothing, wherever it points, and the address is only reckoned.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(self.base.as_ptr().wrapping_add(offset).cast()) }
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = offset;
    }

    /// Appends a copy of `length` bytes at `offset` to `out`.
    #[inline]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>, offset: usize, length: usize) {
        assert!(offset <= self.length && length <= self.length - offset, "a copy outside the mapping");
        out.reserve(length);
        let old = out.len();
        // SAFETY: the source is in bounds by the assertion and the destination by `reserve`; they cannot
        // overlap. All `length` bytes are written before the length says so.
        unsafe {
            copy_from_shared(self.base.as_ptr().add(offset), out.as_mut_ptr().add(old), length);
            out.set_len(old + length);
        }
    }

    /// Gives the memory of a page-aligned range back to the system; it reads as zeros from then on.
    ///
    /// # Errors
    /// Where the file system cannot do it; then nothing has changed.
    pub(crate) fn punch(&self, offset: usize, length: usize) -> io::Result<()> {
        let (Ok(offset), Ok(length)) = (libc::off_t::try_from(offset), libc::off_t::try_from(length)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: a call on a descriptor we own; it changes no memory but the shared pages themselves, which
        // are only ever read as atomics or copies.
        match unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until a range is on the disk as it is now, or was later.
    ///
    /// # Errors
    /// Where the disk does not take it. What it then holds of the range is not known.
    pub(crate) fn sync(&self, offset: usize, length: usize) -> io::Result<()> {
        assert!(offset <= self.length && length <= self.length - offset, "a range outside the mapping");
        let start = offset & !(OS_PAGE - 1);
        #[cfg(all(test, not(loom)))]
        crate::power::note_sync(start..offset + length);
        // SAFETY: the range, widened to whole pages, lies inside the mapping; the call changes no byte of it.
        let answer = unsafe {
            libc::msync(self.base.as_ptr().add(start).cast(), offset + length - start, libc::MS_SYNC)
        };
        match answer {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// As [`Memory::sync`].
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        #[cfg(all(test, not(loom)))]
        crate::power::note_sync(0..self.length);
        self.file.sync_data()
    }
}

#[cfg(not(miri))]
fn map_shared(file: &File, length: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_NORESERVE,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast::<u8>()).expect("mmap never answers with address zero"))
}

/// Miri maps no files: there the memory is this process's own, whose threads share it.
#[cfg(miri)]
fn map_shared(_: &File, length: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: the length is more than nothing, as `map` has looked at.
    let address = unsafe { std::alloc::alloc_zeroed(in_place_of_a_mapping(length)) };
    NonNull::new(address).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(miri)]
fn in_place_of_a_mapping(length: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(length, OS_PAGE).expect("a length that a file can have")
}

/// Some bytes of a mapping that are known to lie inside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch<'a, const LENGTH: usize> {
    memory: &'a Memory,
    offset: usize,
}

impl<'a, const LENGTH: usize> Stretch<'a, LENGTH> {
    /// The 64-bit word so far from its beginning.
    #[inline(always)]
    pub(crate) fn u64<const AT: usize>(self) -> &'a AtomicU64 {
        const { assert!(AT.is_multiple_of(8) && AT + 8 <= LENGTH) };
        #[cfg(all(test, not(loom)))]
        crate::power::look();
        #[cfg(loom)]
        return self.memory.words.u64(self.offset + AT);
        // SAFETY: as for `Memory::u64`; in bounds and aligned because the whole stretch is.
        #[cfg(not(loom))]
        unsafe {
            AtomicU64::from_ptr(self.memory.base.as_ptr().add(self.offset + AT).cast())
        }
    }

    /// The 32-bit word so far from its beginning.
    #[inline(always)]
    pub(crate) fn u32<const AT: usize>(self) -> &'a AtomicU32 {
        const { assert!(AT.is_multiple_of(4) && AT + 4 <= LENGTH) };
        #[cfg(all(test, not(loom)))]
        crate::power::look();
        #[cfg(loom)]
        return self.memory.words.u32(self.offset + AT);
        // SAFETY: as for `Memory::u64`; in bounds and aligned because the whole stretch is.
        #[cfg(not(loom))]
        unsafe {
            AtomicU32::from_ptr(self.memory.base.as_ptr().add(self.offset + AT).cast())
        }
    }

    /// Asks for its first two cache lines, to write to them soon. Only a hint.
    #[inline(always)]
    pub(crate) fn expect_to_write(self) {
        self.memory.expect_to_write(self.offset);
        self.memory.expect_to_write(self.offset + 64);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // The guard goes first, so that it never speaks for addresses that have become somebody else's.
        self.guard = None;
        // SAFETY: this is the whole mapping made in `map`, and nothing borrowed from it can outlive `self`.
        #[cfg(not(miri))]
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.length)
        };
        // SAFETY: as above; it was allocated with this layout.
        #[cfg(miri)]
        unsafe {
            std::alloc::dealloc(self.base.as_ptr(), in_place_of_a_mapping(self.length))
        };
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The pid of this process, also right after a fork, at the price of one load.
///
/// The number lies on a page that the kernel wipes in the child of a fork, so a child never takes itself for
/// its parent, whoever called fork and however.
#[inline]
pub(crate) fn this_process() -> u32 {
    static WORD: OnceLock<&'static Plain32> = OnceLock::new();
    let word = WORD.get_or_init(wiped_on_fork);
    match word.load(Ordering::Relaxed) {
        0 => {
            let pid = std::process::id();
            word.store(pid, Ordering::Relaxed);
            pid
        }
        pid => pid,
    }
}

#[cfg(miri)]
fn wiped_on_fork() -> &'static Plain32 {
    static NEVER_FORKS: Plain32 = Plain32::new(0);
    &NEVER_FORKS
}

#[cfg(not(miri))]
fn wiped_on_fork() -> &'static Plain32 {
    // SAFETY: a fresh private mapping; it is never unmapped, so the reference is good for ever, and it is
    // page aligned and zeroed. Where the kernel cannot wipe it, the word is left zero by pointing nowhere
    // that is ever stored to: see below.
    unsafe {
        let address = libc::mmap(
            std::ptr::null_mut(),
            OS_PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(address != libc::MAP_FAILED, "no memory for a single page");
        let wiped = libc::madvise(address, OS_PAGE, libc::MADV_WIPEONFORK);
        assert!(wiped == 0, "Linux 4.14 or newer is needed");
        Plain32::from_ptr(address.cast())
    }
}

/// Words that a model checker watches, in the place of those in the mapping. Words of 32 and of 64 bits never
/// lie at the same offset.
#[cfg(loom)]
mod modelled {
    use super::{AtomicU32, AtomicU64};
    use std::collections::HashMap;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    pub(super) struct Words {
        long: Mutex<HashMap<usize, Box<AtomicU64>>>,
        short: Mutex<HashMap<usize, Box<AtomicU32>>>,
    }

    impl Words {
        pub(super) fn u64(&self, offset: usize) -> &AtomicU64 {
            let mut words = self.long.lock().expect("nobody panics inside");
            let word: *const AtomicU64 =
                &**words.entry(offset).or_insert_with(|| Box::new(AtomicU64::new(0)));
            // SAFETY: boxed, and never taken out of the map while `self` lives.
            unsafe { &*word }
        }

        pub(super) fn u32(&self, offset: usize) -> &AtomicU32 {
            let mut words = self.short.lock().expect("nobody panics inside");
            let word: *const AtomicU32 =
                &**words.entry(offset).or_insert_with(|| Box::new(AtomicU32::new(0)));
            // SAFETY: as for `u64`.
            unsafe { &*word }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_cut() {
        let file = sealed_file("seal", 8192).unwrap();
        assert!(is_sealed(&file));
        assert!(file.set_len(4096).is_err());
        assert!(file.set_len(16384).is_err());
    }

    #[test]
    fn bytes_of_every_length_come_back_as_they_were_written() {
        let memory = Memory::map(sealed_file("copy", 8192).unwrap(), 8192).unwrap();
        for length in (0..300).chain([4000, 4096, 5000]) {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            memory.write(40, &bytes);
            let mut out = vec![1, 2, 3];
            memory.append_to(&mut out, 40, length);
            assert_eq!(out[..3], [1, 2, 3]);
            assert_eq!(out[3..], bytes[..]);
        }
    }

    #[test]
    #[should_panic(expected = "a word outside the mapping")]
    fn a_word_past_the_end_is_refused() {
        let memory = Memory::map(sealed_file("end", 8192).unwrap(), 8192).unwrap();
        memory.u64(8192);
    }

    #[test]
    #[should_panic(expected = "a copy outside the mapping")]
    fn a_copy_past_the_end_is_refused() {
        let memory = Memory::map(sealed_file("end", 8192).unwrap(), 8192).unwrap();
        memory.write(8186, &[0; 7]);
    }

    #[test]
    fn a_punched_range_reads_as_zeros() {
        let memory = Memory::map(sealed_file("punch", 8192).unwrap(), 8192).unwrap();
        memory.write(4096, b"full");
        memory.punch(4096, 4096).unwrap();
        let mut out = Vec::new();
        memory.append_to(&mut out, 4096, 4);
        assert_eq!(out, [0; 4]);
    }
}
