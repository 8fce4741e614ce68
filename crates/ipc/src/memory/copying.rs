//! Copies between private bytes and shared ones, which another process may write meanwhile.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Up to so many bytes a copy goes word by word; a string instruction takes longer to start.
const FEW: usize = 128;

/// Copies private bytes to shared ones.
///
/// # Safety
/// Both pointers must be valid for `length` bytes, the ranges must not overlap, and the first must be private.
#[inline(always)]
pub(super) unsafe fn copy_to_shared(from: *const u8, to: *mut u8, length: usize) {
    if length > FEW || !to.addr().is_multiple_of(8) {
        // SAFETY: what the caller vouches for.
        return unsafe { copy(from, to, length) };
    }
    // SAFETY: all offsets are below `length`; the shared side is aligned for its words, as just looked at.
    unsafe {
        let mut at = 0;
        while at + 8 <= length {
            let word = from.add(at).cast::<u64>().read_unaligned();
            AtomicU64::from_ptr(to.add(at).cast()).store(word, Ordering::Relaxed);
            at += 8;
        }
        while at < length {
            AtomicU8::from_ptr(to.add(at)).store(from.add(at).read(), Ordering::Relaxed);
            at += 1;
        }
    }
}

/// Copies shared bytes to private ones.
///
/// # Safety
/// Both pointers must be valid for `length` bytes, the ranges must not overlap, and the second must be private.
#[inline(always)]
pub(super) unsafe fn copy_from_shared(from: *mut u8, to: *mut u8, length: usize) {
    if length > FEW || !from.addr().is_multiple_of(8) {
        // SAFETY: what the caller vouches for.
        return unsafe { copy(from, to, length) };
    }
    // SAFETY: all offsets are below `length`; the shared side is aligned for its words, as just looked at.
    unsafe {
        let mut at = 0;
        while at + 8 <= length {
            let word = AtomicU64::from_ptr(from.add(at).cast()).load(Ordering::Relaxed);
            to.add(at).cast::<u64>().write_unaligned(word);
            at += 8;
        }
        while at < length {
            to.add(at).write(AtomicU8::from_ptr(from.add(at)).load(Ordering::Relaxed));
            at += 1;
        }
    }
}

/// Copies bytes of which one side may change under the copy, without the compiler's knowing: what it sees
/// may be torn, but it is bytes, not undefined behaviour.
///
/// # Safety
/// Both pointers must be valid for `length` bytes and the ranges must not overlap.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the caller vouches for both ranges; these instructions read and write exactly them: whole chunks of
    // 64 bytes by the loop, the rest by the string instruction, whose direction flag is clear by the calling
    // convention. The string instruction alone would do, but is ten times slower on some processors where the
    // two sides are aligned differently.
    unsafe {
        let chunks = length / 64;
        let (mut from, mut to) = (from, to);
        if chunks > 0 {
            std::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {chunks}",
                "jnz 2b",
                from = inout(reg) from,
                to = inout(reg) to,
                chunks = inout(reg) chunks => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack)
            );
        }
        std::arch::asm!(
            "rep movsb",
            inout("rcx") length % 64 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: the caller vouches for both ranges; volatile accesses of single bytes are never torn or merged.
    unsafe {
        for at in 0..length {
            to.add(at).write_volatile(from.add(at).read_volatile());
        }
    }
}
