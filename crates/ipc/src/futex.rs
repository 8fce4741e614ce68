//! The calls to the kernel that std has no words for: sleeping on a word, asking whether a process lives,
//! and the handler that meets a file cut short.
//!
//! This is the other of the two rooms with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::AtomicUsize;

#[cfg(not(loom))]
use crate::atomic::AtomicU32;
use crate::atomic::Ordering;
use crate::memory::OS_PAGE;

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Somebody woke us, or the word had changed before we slept, or for no reason at all.
    Woken,
    /// The moment came.
    TimedOut,
    /// A signal handler ran in this thread.
    Interrupted,
}

/// Nanoseconds of the monotonic clock, the same for all processes of this boot.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is ours and lives through the call; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(loom)]
pub(crate) use model::{wait, wake};

/// What a model has for a kernel: sleepers in the order in which they came, under one lock as in the kernel's own table.
/// No time passes in it, so nobody's moment comes; one who is never woken is a deadlock, which the checker finds.
#[cfg(loom)]
mod model {
    use loom::sync::{Condvar, Mutex};

    use super::Slept;
    use crate::atomic::AtomicU32;

    #[derive(Default)]
    struct Asleep {
        /// Which word, and a number for each who came.
        sleepers: Vec<(usize, u64)>,
        came: u64,
    }

    loom::lazy_static! {
        static ref TABLE: (Mutex<Asleep>, Condvar) = (Mutex::new(Asleep::default()), Condvar::new());
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, _until_ns: u64) -> Slept {
        let (table, woken) = &*TABLE;
        let mut asleep = table.lock().expect("nobody dies in the kernel");
        if word.load_in_the_kernel() != expected {
            return Slept::Woken;
        }
        let me = (std::ptr::from_ref(word) as usize, asleep.came);
        asleep.came += 1;
        asleep.sleepers.push(me);
        while asleep.sleepers.contains(&me) {
            asleep = woken.wait(asleep).expect("nobody dies in the kernel");
        }
        Slept::Woken
    }

    pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
        let (table, woken) = &*TABLE;
        let mut asleep = table.lock().expect("nobody dies in the kernel");
        let address = std::ptr::from_ref(word) as usize;
        let mut left = count;
        asleep.sleepers.retain(|sleeper| {
            let is_woken = sleeper.0 == address && left > 0;
            left -= u32::from(is_woken);
            !is_woken
        });
        woken.notify_all();
        count - left
    }
}

/// Sleeps while `word` holds `expected`, at most until `until_ns` of [`now_ns`].
#[cfg(not(loom))]
pub(crate) fn wait(word: &AtomicU32, expected: u32, until_ns: u64) -> Slept {
    let until = libc::timespec {
        tv_sec: (until_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (until_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: the word and the time outlive the call. The futex is not private, so that it works between
    // processes; the kernel only reads the word.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            &raw const until,
            std::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if answer == 0 {
        return Slept::Woken;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Slept::TimedOut,
        Some(libc::EINTR) => Slept::Interrupted,
        _ => Slept::Woken,
    }
}

/// Wakes up to `count` sleepers on `word`; answers how many there were.
#[cfg(not(loom))]
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    // SAFETY: the word outlives the call, and waking touches no memory.
    let answer = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count.min(i32::MAX as u32))
    };
    u32::try_from(answer).unwrap_or(0)
}

/// A descriptor that names a process for as long as it is held, whatever becomes of its number.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    if cfg!(miri) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: a call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a pidfd has an inode of its own, with a number that no other process of this boot has.
pub(crate) fn is_on_pidfs(pidfd: &OwnedFd) -> bool {
    const PIDFS: i64 = 0x5049_4446;
    // SAFETY: zero is a legal value for the struct, which is ours; the call writes to nothing else.
    unsafe {
        let mut about: libc::statfs = std::mem::zeroed();
        libc::fstatfs(pidfd.as_raw_fd(), &mut about) == 0 && about.f_type as i64 == PIDFS
    }
}

/// Waits until one of `descriptors` is readable, at most `timeout_ms` (negative: for ever); says which are.
///
/// # Errors
/// What `poll` says, `EINTR` included.
pub(crate) fn poll_readable(descriptors: &[&OwnedFd], timeout_ms: i32) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    // SAFETY: the array is ours and as long as we say.
    let answer = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout_ms) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(polled.iter().map(|one| one.revents != 0).collect())
}

/// Has `run` called when this process ends by `exit` or by returning from `main`.
pub(crate) fn at_exit(run: extern "C" fn()) {
    if cfg!(miri) {
        return;
    }
    // SAFETY: the function is good for the life of the process. If the table is full nothing happens, which
    // costs a repeated delivery and loses nothing.
    unsafe { libc::atexit(run) };
}

/// Arranges for SIGBUS inside our mappings to be survived. Does so once.
pub(crate) fn install_truncation_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: both structs are ours and zero is a legal value for them; the handler does only what is
        // safe inside one: atomics, mmap and sigaction. It runs on the alternate stack where there is one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let mut before: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            if libc::sigaction(libc::SIGBUS, &action, &mut before) == 0 {
                FLAGS_BEFORE.store(before.sa_flags as usize, Ordering::Relaxed);
                HANDLER_BEFORE.store(before.sa_sigaction, Ordering::Release);
            }
        }
    });
}

static HANDLER_BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static FLAGS_BEFORE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid info to a handler installed with SA_SIGINFO. Replacing a page of our
    // own mapping, which is only read by atomics and copies, is legal at any time; `mark_cut` has made sure
    // that the address is ours. Otherwise the signal goes to the handler before us, in the form it asked for,
    // or to the default, which ends the process when the faulting instruction runs again.
    unsafe {
        let address = (*info).si_addr() as usize;
        if (*info).si_code > 0 && crate::truncation::mark_cut(address) {
            let page = address & !(OS_PAGE - 1);
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let put = libc::mmap(page as *mut _, OS_PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if put != libc::MAP_FAILED {
                return;
            }
        }
        match HANDLER_BEFORE.load(Ordering::Acquire) {
            libc::SIG_IGN => {}
            libc::SIG_DFL => {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
            before if FLAGS_BEFORE.load(Ordering::Relaxed) as libc::c_int & libc::SA_SIGINFO != 0 => {
                let run: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(before);
                run(signal, info, context);
            }
            before => {
                let run: extern "C" fn(libc::c_int) = std::mem::transmute(before);
                run(signal);
            }
        }
    }
}
