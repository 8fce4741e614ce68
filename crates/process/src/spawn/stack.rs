//! The stack a child stands on between clone and exec.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use nix::errno::Errno;

/// Enough for the child's few frames, also in a build without optimisation.
const BYTES: usize = 64 * 1024;

/// One mapping with a page below it that nobody may touch.
pub(super) struct Stack {
    base: NonNull<c_void>,
}

// SAFETY: the mapping belongs to this value alone and is bound to no thread.
unsafe impl Send for Stack {}

impl Stack {
    /// Where it begins; it grows down from here. Aligned to a page.
    pub(super) fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of our mapping of this many bytes.
        unsafe { self.base.as_ptr().byte_add(BYTES) }
    }

    /// Its lowest address and its size, the page that nobody may touch included.
    pub(super) fn extent(&self) -> (*mut c_void, usize) {
        (self.base.as_ptr(), BYTES)
    }

    pub(super) fn map() -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let stack = Self { base: NonNull::new(base).ok_or(Errno::ENOMEM)? };
        // An overflow must fault, not write into the neighbour. Pages may be larger than 4 KiB.
        let page =
            nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.map_or(4096, |size| size as usize);
        // SAFETY: the lowest page of our own mapping, which nothing refers to yet.
        if unsafe { libc::mprotect(base, page.min(BYTES / 2), libc::PROT_NONE) } != 0 {
            return Err(Errno::last());
        }
        Ok(stack)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our own mapping of this size; a child that stood on it has left before its clone
        // returned.
        unsafe { libc::munmap(self.base.as_ptr(), BYTES) };
    }
}
