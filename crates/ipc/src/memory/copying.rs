//! Copies between private bytes and shared ones, which another process may write meanwhile.

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use portable::{copy_from_shared, copy_to_shared};
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use x86_64::{copy_from_shared, copy_to_shared};

/// Without the compiler's knowing: what is seen may be torn, but it is bytes, not undefined behaviour.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64 {
    use std::arch::asm;

    /// Copies private bytes to shared ones.
    ///
    /// # Safety
    /// Both pointers must be valid for `length` bytes, the ranges must not overlap, and the first must be private.
    #[inline(always)]
    pub(in crate::memory) unsafe fn copy_to_shared(from: *const u8, to: *mut u8, length: usize) {
        // SAFETY: what the caller vouches for.
        unsafe { copy(from, to, length) }
    }

    /// Copies shared bytes to private ones.
    ///
    /// # Safety
    /// Both pointers must be valid for `length` bytes, the ranges must not overlap, and the second must be private.
    #[inline(always)]
    pub(in crate::memory) unsafe fn copy_from_shared(from: *const u8, to: *mut u8, length: usize) {
        // SAFETY: what the caller vouches for.
        unsafe { copy(from, to, length) }
    }

    /// # Safety
    /// Both pointers must be valid for `length` bytes, the ranges must not overlap, and one of them must be private.
    #[inline(always)]
    unsafe fn copy(mut from: *const u8, mut to: *mut u8, length: usize) {
        let mut rest = length;
        // SAFETY: each instruction reads and writes what it says from `from` and to `to` on, and `rest` is never less;
        // the last word of a longer copy may go over bytes once more that were copied already.
        unsafe {
            if rest >= 64 {
                let chunks = rest / 64;
                rest %= 64;
                asm!(
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
            while rest >= 8 {
                word(from, to);
                (from, to, rest) = (from.add(8), to.add(8), rest - 8);
            }
            if rest == 0 {
                return;
            }
            if length >= 8 {
                return word(from.sub(8 - rest), to.sub(8 - rest));
            }
            for at in 0..rest {
                asm!(
                    "mov {byte}, [{from}]",
                    "mov [{to}], {byte}",
                    from = in(reg) from.add(at),
                    to = in(reg) to.add(at),
                    byte = out(reg_byte) _,
                    options(nostack, preserves_flags)
                );
            }
        }
    }

    /// Copies eight bytes, however they lie.
    ///
    /// # Safety
    /// As for `copy`, with a length of eight.
    #[inline(always)]
    unsafe fn word(from: *const u8, to: *mut u8) {
        // SAFETY: what the caller vouches for.
        unsafe {
            asm!(
                "mov {word}, [{from}]",
                "mov [{to}], {word}",
                from = in(reg) from,
                to = in(reg) to,
                word = out(reg) _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// By atomics: words where the shared side lies so, else bytes.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod portable {
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    /// Copies private bytes to shared ones.
    ///
    /// # Safety
    /// Both pointers must be valid for `length` bytes, the ranges must not overlap, and the first must be private.
    pub(in crate::memory) unsafe fn copy_to_shared(from: *const u8, to: *mut u8, length: usize) {
        let words = if to.addr().is_multiple_of(8) { length / 8 } else { 0 };
        // SAFETY: all offsets are below `length`; the shared side is aligned for its words, as just looked at.
        unsafe {
            for at in (0..words).map(|word| word * 8) {
                let word = from.add(at).cast::<u64>().read_unaligned();
                AtomicU64::from_ptr(to.add(at).cast()).store(word, Ordering::Relaxed);
            }
            for at in words * 8..length {
                AtomicU8::from_ptr(to.add(at)).store(from.add(at).read(), Ordering::Relaxed);
            }
        }
    }

    /// Copies shared bytes to private ones.
    ///
    /// # Safety
    /// Both pointers must be valid for `length` bytes, the ranges must not overlap, and the second must be private.
    pub(in crate::memory) unsafe fn copy_from_shared(from: *mut u8, to: *mut u8, length: usize) {
        let words = if from.addr().is_multiple_of(8) { length / 8 } else { 0 };
        // SAFETY: all offsets are below `length`; the shared side is aligned for its words, as just looked at.
        unsafe {
            for at in (0..words).map(|word| word * 8) {
                let word = AtomicU64::from_ptr(from.add(at).cast()).load(Ordering::Relaxed);
                to.add(at).cast::<u64>().write_unaligned(word);
            }
            for at in words * 8..length {
                to.add(at).write(AtomicU8::from_ptr(from.add(at)).load(Ordering::Relaxed));
            }
        }
    }
}
