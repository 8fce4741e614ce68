//! The moment of birth: the clone itself, with nobody disturbing it.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::child::{self, Close, Orders};
use super::stack::Stack;

/// Makes the child, which follows the orders. With a `cgroup`, by its folder, it is born into that.
pub(super) fn clone_into(orders: &Orders, stack: &Stack, cgroup: Option<BorrowedFd>) -> Result<Child, Errno> {
    let files = match orders.close {
        // The child takes its own copy at once, and only of the few descriptors it needs: copying and closing
        // thousands would cost more than everything else here.
        Close::Range => libc::CLONE_FILES,
        Close::Each { .. } => 0,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | files;
    let mut pidfd: RawFd = -1;
    let argument: *mut c_void = ptr::from_ref(orders).cast_mut().cast();
    let signals = BlockedSignals::all();
    // SAFETY: the stack is ours alone (`Ground::with`) and VFORK keeps this thread, with everything `orders` borrows,
    // where it is until the child has left our memory by exec or exit. `child::run` keeps to what is allowed in
    // between. The kernel writes one descriptor to `pidfd`. Signals are blocked, so no handler runs in the child.
    let (pid, errno) = unsafe {
        match cgroup {
            None => {
                let flags = flags | libc::SIGCHLD;
                let pid = libc::clone(child::run, stack.top(), flags, argument, &raw mut pidfd);
                (i64::from(pid), Errno::last())
            }
            Some(cgroup) => {
                let answer = clone_into_cgroup(flags, &raw mut pidfd, stack, argument, cgroup);
                (answer, Errno::from_raw(answer.unsigned_abs() as i32))
            }
        }
    };
    drop(signals);
    if pid < 0 {
        return Err(errno);
    }
    // SAFETY: CLONE_PIDFD made this descriptor for us (its support was asked for before) and nobody else knows it.
    Ok(Child { pid: Pid::from_raw(pid as i32), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// A child that was made. Whether it executed, its report tells.
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// `clone3` with `CLONE_INTO_CGROUP`, for which there is no function of the C library: the new pid, or the negative
/// number of an error.
///
/// # Safety
///
/// As for `clone` with these flags: the stack must be free for the child, `argument` must be what [`child::run`] takes,
/// and `pidfd` a place for one descriptor.
unsafe fn clone_into_cgroup(
    flags: i32,
    pidfd: *mut RawFd,
    stack: &Stack,
    argument: *mut c_void,
    cgroup: BorrowedFd,
) -> i64 {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let (base, bytes) = stack.extent();
    let request = CloneRequest {
        flags: flags as u64 | CLONE_INTO_CGROUP,
        pidfd: pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: base as u64,
        stack_size: bytes as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneRequest::default()
    };
    // SAFETY: as the caller promises. The request is one of ours of the size that is told.
    unsafe { clone3(&raw const request, argument) }
}

/// `struct clone_args` of `linux/sched.h`, in the size that has `cgroup`.
#[repr(C)]
#[derive(Default)]
struct CloneRequest {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Calls `clone3`, and in the child `child::run(argument)`, which never comes back; should it, the child ends.
///
/// # Safety
///
/// The request must give the child a stack, and all that `child::run` relies on must hold.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(request: *const CloneRequest, argument: *mut c_void) -> i64 {
    let answer: i64;
    // SAFETY: the parent goes on behind the block as after any system call. The child never leaves the block: it is on
    // the stack it was given, aligned to a page, and calls `run` there. What it does to registers is its own.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") request,
            in("rsi") size_of::<CloneRequest>(),
            in("r12") argument,
            in("r13") child::run as extern "C" fn(*mut c_void) -> i32,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// As on the other processor.
///
/// # Safety
///
/// As on the other processor.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(request: *const CloneRequest, argument: *mut c_void) -> i64 {
    let answer: i64;
    // SAFETY: the parent goes on behind the block as after any system call. The child never leaves the block: it is on
    // the stack it was given, aligned to a page, and calls `run` there. What it does to registers is its own.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "mov x8, {exit}",
            "svc #0",
            "brk #1",
            "2:",
            exit = const libc::SYS_exit_group,
            in("x8") libc::SYS_clone3,
            inlateout("x0") request => answer,
            in("x1") size_of::<CloneRequest>(),
            in("x20") argument,
            in("x21") child::run as extern "C" fn(*mut c_void) -> i32,
        );
    }
    answer
}

/// Nobody wrote this for other processors: their children enter by the side door.
///
/// # Safety
///
/// It does nothing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3(_: *const CloneRequest, _: *mut c_void) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// Whether an error of a birth into a cgroup means that the kernel, or whoever guards it, does not know of that.
pub(super) fn knows_no_cgroups(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EINVAL | Errno::E2BIG | Errno::EPERM)
}

/// Takes the exit of a child that has failed and is ending or has ended.
pub(super) fn reap(pidfd: &OwnedFd) {
    loop {
        let options = libc::WEXITED | libc::__WALL;
        // SAFETY: integers only; the null pointer asks for no details.
        let answer =
            unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, ptr::null_mut(), options) };
        if answer == 0 || Errno::last() != Errno::EINTR {
            return;
        }
    }
}

/// Blocks every signal of this thread, those of the C library included, until dropped.
pub(crate) struct BlockedSignals {
    before: u64,
}

impl BlockedSignals {
    pub(crate) fn all() -> Self {
        Self { before: exchange_mask(u64::MAX) }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        exchange_mask(self.before);
    }
}

/// Sets the signal mask of this thread as the kernel knows it, a bit a signal, and returns the one before.
///
/// The C library's own call would leave out the two signals by which it makes threads change user together; a handler
/// of those that ran in a child would work in our memory.
fn exchange_mask(mask: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both pointers are to 8 bytes of ours, and the size says 8.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut before, 8)
    };
    before
}
