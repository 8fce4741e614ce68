//! The child between clone and exec, in its parent's memory.
//!
//! The parent's other threads run on meanwhile and may hold any lock, the allocator's too. So nothing here allocates,
//! locks, panics or unwinds: it reads what the parent prepared, makes system calls, and writes one report. Calls that
//! the C library would spread over all threads of the parent (changing user) are made raw.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Credentials, Stage};
use crate::limit::Limit;

/// As many digits as a pid can have.
pub(super) const PID_DIGITS: usize = 10;

/// All that the child needs, prepared and kept by the parent, which stands still meanwhile.
pub(super) struct Orders<'a> {
    pub(super) candidates: &'a [*const c_char],
    /// Ends with a null pointer, as `envp` does.
    pub(super) argv: &'a [*const c_char],
    pub(super) envp: &'a [*const c_char],
    /// Where in `envp` the child writes its pid: each [`PID_DIGITS`] bytes that nobody else touches, followed by a zero.
    pub(super) pid_digits: &'a [*mut u8],
    pub(super) cwd: &'a CStr,
    /// What becomes descriptors 0, 1 and 2; `None` leaves the parent's.
    pub(super) sources: [Option<RawFd>; 3],
    /// What becomes further descriptors, by their numbers.
    pub(super) handed: &'a [Handed],
    pub(super) close: Close,
    pub(super) session: bool,
    pub(super) limits: &'a [Limit],
    pub(super) nice: Option<i32>,
    /// As `ioprio_set` takes it.
    pub(super) io_priority: Option<c_int>,
    /// In decimal.
    pub(super) oom_score_adj: Option<&'a [u8]>,
    /// A bit a processor.
    pub(super) processors: Option<&'a [u64]>,
    /// Files `cgroup.procs` of the cgroups to enter.
    pub(super) cgroup_doors: &'a [RawFd],
    /// What is to be seen, and where.
    pub(super) mounts: &'a [(CString, CString)],
    pub(super) no_new_privileges: bool,
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) umask: Option<u32>,
    pub(super) parent_death: Option<i32>,
    pub(super) parent: Pid,
    /// A pidfd of the parent, closed on exec, where `getppid` can not tell.
    pub(super) lifeline: Cell<Option<RawFd>>,
    /// Says by its lock that this process is not executed yet; closed on exec.
    pub(super) birth_lock: Cell<Option<RawFd>>,
    pub(super) report: Report,
}

impl Orders<'_> {
    /// Descriptors that are needed until exec closes them.
    fn kept(&self) -> [Option<RawFd>; 2] {
        [self.lifeline.get(), self.birth_lock.get()]
    }
}

/// A descriptor beyond the standard three.
pub(super) struct Handed {
    /// Its number in the program, 3 or above.
    pub(super) place: RawFd,
    /// Which it is here; the child moves it out of the way of others.
    pub(super) source: Cell<RawFd>,
}

/// How the descriptors above 2 are closed.
#[derive(Clone, Copy)]
pub(super) enum Close {
    /// The child shares its parent's descriptors until it takes a copy of those it needs.
    Range,
    /// The child has a copy of all, up to this one.
    Each { last: RawFd },
}

/// The child's last words. Nothing written: it executed, or was killed before it could.
#[derive(Default)]
pub(super) struct Report {
    stage: AtomicU8,
    errno: AtomicI32,
    index: AtomicI32,
}

impl Report {
    /// The stage that failed, why, and which one of several was meant.
    pub(super) fn read(&self) -> Option<(Stage, Errno, Option<usize>)> {
        // Relaxed: VFORK lets the parent go on only after the child is gone, which orders everything.
        let stage = Stage::from_number(self.stage.load(Ordering::Relaxed))?;
        let errno = Errno::from_raw(self.errno.load(Ordering::Relaxed));
        Some((stage, errno, usize::try_from(self.index.load(Ordering::Relaxed)).ok()))
    }

    fn write(&self, failure: Failure) {
        self.errno.store(failure.errno, Ordering::Relaxed);
        self.index.store(failure.index, Ordering::Relaxed);
        self.stage.store(failure.stage as u8, Ordering::Relaxed);
    }
}

struct Failure {
    stage: Stage,
    errno: c_int,
    /// −1: none of several.
    index: c_int,
}

/// Turns the kernel's answer into a step's result.
fn done(stage: Stage, index: c_int, answer: i64) -> Result<(), Failure> {
    if answer < 0 { Err(Failure { stage, errno: Errno::last_raw(), index }) } else { Ok(()) }
}

/// The entry of the child; `orders` points to the parent's [`Orders`].
pub(super) extern "C" fn run(orders: *mut c_void) -> c_int {
    // SAFETY: `clone_into` passes a live `Orders` and can not go on while we are here; we only read it, and write to
    // atomics in it.
    let orders = unsafe { &*orders.cast_const().cast::<Orders>() };
    let Err(failure) = follow(orders);
    orders.report.write(failure);
    // SAFETY: ends this process only, without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn follow(orders: &Orders) -> Result<std::convert::Infallible, Failure> {
    default_signals();
    // Before anything is used that a cgroup counts, and while all of the parent's descriptors are there.
    enter_cgroups(orders)?;
    // Descriptors before limits, which might leave no room for moving them.
    place_descriptors(orders)?;
    if orders.session {
        // SAFETY: no arguments.
        done(Stage::Session, -1, unsafe { libc::setsid() }.into())?;
    }
    // Limits and niceness before the user changes, who might not be allowed to set them.
    let mut index = 0;
    for limit in orders.limits {
        let wanted =
            libc::rlimit { rlim_cur: limit.soft as libc::rlim_t, rlim_max: limit.hard as libc::rlim_t };
        // SAFETY: one rlimit of ours is read.
        done(Stage::Limit, index, unsafe { libc::setrlimit(limit.name as _, &raw const wanted) }.into())?;
        index = index.wrapping_add(1);
    }
    if let Some(nice) = orders.nice {
        // SAFETY: integers only; 0 is this process.
        done(Stage::Nice, -1, unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }.into())?;
    }
    if let Some(priority) = orders.io_priority {
        const WHO_PROCESS: c_int = 1;
        // SAFETY: integers only; 0 is this process.
        let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) };
        done(Stage::IoPriority, -1, answer)?;
    }
    if let Some(score) = orders.oom_score_adj {
        write_oom_score(score)?;
    }
    if let Some(mask) = orders.processors {
        // SAFETY: the pointer and the size in bytes of one slice that the parent keeps; 0 is this process.
        let answer =
            unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
        done(Stage::Processors, -1, answer)?;
    }
    if !orders.mounts.is_empty() {
        mount_folders(orders)?;
    }
    if let Some(credentials) = orders.credentials {
        become_user(credentials)?;
    }
    if orders.no_new_privileges {
        // SAFETY: integers only.
        let answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        done(Stage::NoNewPrivileges, -1, answer.into())?;
    }
    if let Some(mask) = orders.umask {
        // SAFETY: an integer only; it can not fail.
        unsafe { libc::umask(mask as libc::mode_t) };
    }
    // As its own user, who must be allowed to be there.
    // SAFETY: a C string that the parent keeps.
    done(Stage::Chdir, -1, unsafe { libc::chdir(orders.cwd.as_ptr()) }.into())?;
    // After the change of user, which makes the kernel forget it.
    if let Some(signal) = orders.parent_death {
        die_with(orders, signal)?;
    }
    unblock_signals();
    execute(orders)
}

/// Puts every signal at its default, so that nothing is ignored after exec and no handler runs here once unblocked.
///
/// Only this process changes: clone was told to share memory, not signal handlers.
fn default_signals() {
    /// `struct sigaction` as the kernel has it: handler, flags, restorer, mask; zeroes are the default.
    #[repr(C)]
    struct Action([usize; 3], u64);
    let default = Action([libc::SIG_DFL, 0, 0], 0);
    let mut signal = 1;
    while signal <= 64 {
        // Raw, because the C library refuses the two signals it uses itself. KILL and STOP are refused, rightly.
        // SAFETY: one kernel sigaction of ours is read; a null pointer asks for no old one; 8 is a mask's size.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null_mut::<Action>(), 8)
        };
        signal += 1;
    }
}

fn unblock_signals() {
    let none = 0u64;
    // SAFETY: 8 bytes of ours are read, and the size says 8.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null_mut::<u64>(), 8)
    };
}

fn enter_cgroups(orders: &Orders) -> Result<(), Failure> {
    let mut index = 0;
    for door in orders.cgroup_doors {
        // 0 is whoever writes.
        // SAFETY: one byte of a constant.
        let answer = unsafe { libc::write(*door, c"0".as_ptr().cast(), 1) };
        done(Stage::Cgroup, index, answer as i64)?;
        index = index.wrapping_add(1);
    }
    Ok(())
}

fn write_oom_score(score: &[u8]) -> Result<(), Failure> {
    // SAFETY: a C string; the descriptor is ours and closed again.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        done(Stage::OomScore, -1, file.into())?;
        let answer = done(Stage::OomScore, -1, libc::write(file, score.as_ptr().cast(), score.len()) as i64);
        libc::close(file);
        answer
    }
}

/// Leaves the parent's mount namespace for one in which each folder is also seen at its place.
fn mount_folders(orders: &Orders) -> Result<(), Failure> {
    // SAFETY: an integer only. Only this process changes: it does not share its view of files with the parent.
    done(Stage::Mount, -1, unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWNS) })?;
    let nothing = ptr::null::<c_char>();
    // What is mounted here must not show there; what is mounted there still shows here.
    let flags = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: C strings and null pointers, which this call allows where it does not look.
    let answer = unsafe { libc::mount(nothing, c"/".as_ptr(), nothing, flags, nothing.cast()) };
    done(Stage::Mount, -1, answer.into())?;
    let mut index = 0;
    for (folder, place) in orders.mounts {
        // With what an earlier one has put into it.
        let flags = libc::MS_BIND | libc::MS_REC;
        // SAFETY: as above.
        let answer = unsafe { libc::mount(folder.as_ptr(), place.as_ptr(), nothing, flags, nothing.cast()) };
        done(Stage::Mount, index, answer.into())?;
        index = index.wrapping_add(1);
    }
    Ok(())
}

fn place_descriptors(orders: &Orders) -> Result<(), Failure> {
    if let Close::Range = orders.close {
        unshare_descriptors(orders)?;
    }
    let mut sources = [0, 1, 2];
    let last = last_place(orders);
    for (index, (slot, source)) in (0..).zip(sources.iter_mut().zip(orders.sources)) {
        *slot = out_of_the_way(source.unwrap_or(index), index, last)?;
    }
    for handed in orders.handed {
        handed.source.set(out_of_the_way(handed.source.get(), handed.place, last)?);
    }
    for kept in [&orders.lifeline, &orders.birth_lock] {
        if let Some(fd) = kept.get() {
            kept.set(Some(out_of_the_way(fd, -1, last)?));
        }
    }
    for (index, source) in (0..).zip(sources) {
        put(source, index)?;
    }
    for handed in orders.handed {
        put(handed.source.get(), handed.place)?;
    }
    close_others(orders)
}

/// The highest number of a descriptor that the program gets.
fn last_place(orders: &Orders) -> RawFd {
    orders.handed.iter().fold(2, |last, handed| last.max(handed.place))
}

/// One that is to move among the places of the program must be out of the way before its own is taken.
fn out_of_the_way(source: RawFd, place: RawFd, last: RawFd) -> Result<RawFd, Failure> {
    if source > last || source == place {
        return Ok(source);
    }
    // SAFETY: integers only, in our own table of descriptors.
    let moved = unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, last.wrapping_add(1)) };
    done(Stage::Stdio, place, moved.into())?;
    Ok(moved)
}

fn put(source: RawFd, place: RawFd) -> Result<(), Failure> {
    // dup2 onto itself would leave it to be closed by exec.
    // SAFETY: integers only, in our own table of descriptors.
    let answer = unsafe {
        if source == place { libc::fcntl(place, libc::F_SETFD, 0) } else { libc::dup2(source, place) }
    };
    done(Stage::Stdio, place, answer.into())
}

/// Leaves the parent's table of descriptors for a copy that ends with the last one needed.
fn unshare_descriptors(orders: &Orders) -> Result<(), Failure> {
    let mut last = 2;
    for kept in orders.kept().into_iter().flatten() {
        last = last.max(kept);
    }
    for source in orders.sources.into_iter().flatten() {
        last = last.max(source);
    }
    for handed in orders.handed {
        last = last.max(handed.source.get());
    }
    close_range(last.wrapping_add(1), RawFd::MAX, libc::CLOSE_RANGE_UNSHARE)
}

fn close_others(orders: &Orders) -> Result<(), Failure> {
    match orders.close {
        Close::Range => {
            // What was handed stays, in the order of the numbers, and what is needed until exec, which closes it.
            let mut first = 3;
            let kept = orders.kept();
            for handed in orders.handed {
                close_but(first, handed.place.wrapping_sub(1), kept)?;
                first = handed.place.wrapping_add(1);
            }
            close_but(first, RawFd::MAX, kept)
        }
        Close::Each { last } => {
            let mut fd = 3;
            // What was moved out of the way may lie behind the last; exec closes that.
            while fd <= last {
                let handed = orders.handed.iter().any(|handed| handed.place == fd);
                if !handed && !orders.kept().contains(&Some(fd)) {
                    // SAFETY: in our own table, where nobody expects this descriptor to stay.
                    unsafe { libc::close(fd) };
                }
                fd = fd.wrapping_add(1);
            }
            Ok(())
        }
    }
}

/// Closes these but for those that are kept.
fn close_but(mut first: RawFd, last: RawFd, kept: [Option<RawFd>; 2]) -> Result<(), Failure> {
    while let Some(next) = kept.into_iter().flatten().filter(|fd| (first..=last).contains(fd)).min() {
        close_range(first, next.wrapping_sub(1), 0)?;
        first = next.wrapping_add(1);
    }
    close_range(first, last, 0)
}

/// Closes these, first and last included; an empty range is nothing to do.
fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> Result<(), Failure> {
    if first > last {
        return Ok(());
    }
    // SAFETY: integers only. Either the flags say to leave the shared table first, or that was done before.
    done(Stage::Stdio, -1, unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
}

fn become_user(credentials: &Credentials) -> Result<(), Failure> {
    let step = |answer| done(Stage::Credentials, -1, answer);
    if let Some(groups) = &credentials.groups {
        // SAFETY: the pointer and count of one slice that the parent keeps.
        step(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    }
    let (uid, gid) = (credentials.uid, credentials.gid);
    // SAFETY: integers only; raw, so that the parent's threads stay what they are.
    step(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: as above.
    step(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Asks for a signal at the parent's death, and sends it at once if that has already happened.
///
/// If the parent died before the asking, the kernel has already given us another parent, of another process; `getppid`
/// says so and the signal is ours to send. If it dies after, the kernel sends it. A thread of the parent's that takes
/// over from the spawning thread is a parent like it: the kernel asks again when that one dies.
fn die_with(orders: &Orders, signal: c_int) -> Result<(), Failure> {
    // SAFETY: integers only.
    done(Stage::ParentDeath, -1, unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }.into())?;
    // SAFETY: no arguments.
    let parent = unsafe { libc::getppid() };
    let lives = match orders.lifeline.get() {
        Some(lifeline) if parent == 0 => {
            let mut poll = libc::pollfd { fd: lifeline, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd on our stack, and the count says one.
            unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
        }
        _ => parent == orders.parent.as_raw(),
    };
    if !lives {
        // SAFETY: a signal to this process only; it stays pending until signals are unblocked.
        unsafe { libc::kill(libc::getpid(), signal) };
    }
    Ok(())
}

/// Writes this process's pid, in decimal, where the parent left room for it.
fn write_pid(digits: *mut u8) {
    // SAFETY: no arguments.
    let mut rest = unsafe { libc::getpid() }.unsigned_abs();
    let mut reversed = [0u8; PID_DIGITS];
    let mut count = 0;
    while count == 0 || (rest > 0 && count < PID_DIGITS) {
        // A decimal digit.
        reversed[count] = b'0'.wrapping_add((rest % 10) as u8);
        rest /= 10;
        count = count.wrapping_add(1);
    }
    let mut place = 0;
    while count > 0 {
        count = count.wrapping_sub(1);
        // SAFETY: at most PID_DIGITS bytes, which the parent keeps for this and does not look at meanwhile.
        unsafe { digits.add(place).write(reversed[count]) };
        place = place.wrapping_add(1);
    }
}

/// Tries each candidate; returns only with what hindered the most promising one.
fn execute(orders: &Orders) -> Result<std::convert::Infallible, Failure> {
    for digits in orders.pid_digits {
        write_pid(*digits);
    }
    let mut worst = Failure { stage: Stage::Exec, errno: libc::ENOENT, index: -1 };
    for (index, &path) in (0..).zip(orders.candidates) {
        // SAFETY: a C string, and two arrays of C strings that end with a null pointer, all kept by the parent.
        unsafe { libc::execve(path, orders.argv.as_ptr(), orders.envp.as_ptr()) };
        let errno = Errno::last_raw();
        let failure = Failure { stage: Stage::Exec, errno, index };
        match errno {
            // SAFETY: the same C string.
            libc::ENOENT if unsafe { libc::access(path, libc::F_OK) } == 0 => {
                worst = Failure { stage: Stage::Interpreter, ..failure };
            }
            libc::ENOENT => {}
            // Another entry of PATH may be a folder.
            libc::ENOTDIR if orders.candidates.len() > 1 => {}
            // A folder of PATH that this user may not look into tells nothing about the program.
            // SAFETY: the same C string.
            libc::EACCES if orders.candidates.len() > 1 && unsafe { libc::access(path, libc::F_OK) } != 0 => {
            }
            // Another folder may have one that may be executed; if none has, this is what to tell.
            libc::EACCES => worst = failure,
            _ => return Err(failure),
        }
    }
    Err(worst)
}
