//! How processes end, and how that is learned without ever taking another's exit.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::descriptors::poll_now;
use crate::proc::Stat;
use crate::signal;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called `exit` with this code, 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
}

impl Exit {
    /// Whether this is `Code(0)`.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code it called `exit` with; `None` when a signal ended it.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal { .. } => None,
        }
    }

    /// The signal that ended it; `None` when it ended by itself.
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal { signal, .. } => Some(signal),
        }
    }

    /// One number as a shell tells it: the code, or 128 and the signal. `exit 137` and `kill -9` are then the same.
    ///
    /// ```
    /// use process::Exit;
    ///
    /// assert_eq!(Exit::Code(3).folded(), 3);
    /// assert_eq!(Exit::Signal { signal: 9, core_dumped: false }.folded(), 137);
    /// ```
    pub fn folded(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128 + signal,
        }
    }

    /// Reads the integer that `wait` and the kernel's exit records use.
    ///
    /// ```
    /// use process::Exit;
    ///
    /// assert_eq!(Exit::from_status(3 << 8), Exit::Code(3));
    /// assert_eq!(Exit::from_status(9), Exit::Signal { signal: 9, core_dumped: false });
    /// ```
    pub fn from_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal { signal, core_dumped: status & 0x80 != 0 },
        }
    }

    fn from_siginfo(info: &libc::siginfo_t) -> Self {
        // SAFETY: `info` was filled by a waitid that found an ended child, so it is of the SIGCHLD kind.
        let status = unsafe { info.si_status() };
        match info.si_code {
            libc::CLD_EXITED => Self::Code(status),
            code => Self::Signal { signal: status, core_dumped: code == libc::CLD_DUMPED },
        }
    }
}

/// `exit code 3`, `signal 9 (KILL)`, `signal 11 (SEGV, core dumped)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { signal, core_dumped } => {
                let dumped = if core_dumped { ", core dumped" } else { "" };
                write!(f, "signal {signal} ({}{dumped})", signal::name(signal))
            }
        }
    }
}

/// What is known of adopted orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// None exists, alive or dead.
    None,
    /// Some live and none is dead: a [`Snapshot`](crate::Snapshot) finds them below this process.
    Living,
    /// This one had ended and is now forgotten by the kernel; its pid may be used again.
    Reaped(Pid, Exit),
}

/// The kernel's list of the main thread's children, once it is asked for.
static CHILDREN: OnceLock<File> = OnceLock::new();

thread_local! {
    static ON_MAIN_THREAD: bool = nix::unistd::gettid() == Pid::this();
}

/// Lets every thread of this process call [`reap_orphan`]. To be called on the main thread. Says whether this machine
/// offers it (`CONFIG_PROC_CHILDREN`, and a `/proc` of this pid namespace); if not, only the main thread may.
pub fn share_orphans() -> bool {
    debug_assert_eq!(nix::unistd::gettid(), Pid::this(), "orphans are children of the main thread");
    let me = fs::read_link("/proc/self");
    if me.ok().as_deref() != Some(Path::new(&Pid::this().to_string())) {
        return false;
    }
    let list = File::open("/proc/thread-self/children");
    list.is_ok_and(|list| {
        list.read_at(&mut [0], 0).is_ok() && (CHILDREN.set(list).is_ok() || CHILDREN.get().is_some())
    })
}

/// Reaps one dead orphan that this process has adopted. Call it until it does not say [`Orphans::Reaped`].
///
/// Costs one system call while there is none. Leaders are never touched, because they are not children of the main
/// thread (see the [crate's documentation](crate)).
///
/// # Panics
///
/// In debug builds when called from another thread than the main one before [`share_orphans`] said that it may be.
pub fn reap_orphan() -> Orphans {
    let found = if ON_MAIN_THREAD.with(|on_main_thread| *on_main_thread) {
        wait(libc::P_ALL, 0, libc::__WNOTHREAD)
    } else {
        let list = CHILDREN.get();
        debug_assert!(list.is_some(), "orphans are children of the main thread");
        list.map_or(Ok(None), reap_listed)
    };
    match found {
        Ok(Some((pid, exit))) => Orphans::Reaped(pid, exit),
        Ok(None) => Orphans::Living,
        // ECHILD; nothing else can come from a wait with these arguments.
        Err(_) => Orphans::None,
    }
}

/// Reaps one dead child of the kernel's list; `ECHILD` when it is empty.
///
/// The list is generated anew when it is read from its beginning, and nobody but us takes anybody out of it, so that
/// its whole length is read without a gap. That it is empty is seen in one look.
fn reap_listed(list: &File) -> io::Result<Option<(Pid, Exit)>> {
    let mut buffer = [0; 512];
    let mut offset = 0;
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let length = list.read_at(&mut buffer, offset)?;
        if length == 0 {
            return if offset == 0 { Err(Errno::ECHILD.into()) } else { Ok(None) };
        }
        offset += length as u64;
        rest.extend_from_slice(&buffer[..length]);
        // A number is whole once the blank after it is there.
        while let Some(end) = rest.iter().position(|byte| *byte == b' ') {
            let pid = std::str::from_utf8(&rest[..end]).ok().and_then(|pid| pid.parse().ok());
            rest.drain(..=end);
            if let Some(pid) = pid
                && let Ok(Some(dead)) = wait(libc::P_PID, pid, 0)
            {
                return Ok(Some(dead));
            }
        }
    }
}

/// Takes the exit of a child, if it has ended: the child is then reaped and its pid may be used again.
///
/// `Ok(None)` while it lives. Works from any thread of the process that spawned it, and never waits.
///
/// # Errors
///
/// `ECHILD` when it is no child of this process or its exit was already taken.
pub fn wait_leader(pidfd: BorrowedFd) -> io::Result<Option<Exit>> {
    Ok(wait(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, 0)?.map(|(_, exit)| exit))
}

/// How a child has ended, if it has, without taking its exit: its pid stays its own until [`wait_leader`] has.
///
/// To take the exit costs the kernel several times as much as this, so that whoever is in a hurry looks first and takes it
/// afterwards.
///
/// # Errors
///
/// As [`wait_leader`].
pub fn look_at_leader(pidfd: BorrowedFd) -> io::Result<Option<Exit>> {
    Ok(wait(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, libc::WNOWAIT)?.map(|(_, exit)| exit))
}

fn wait(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> io::Result<Option<(Pid, Exit)>> {
    // nix's wait would lose the exit of a child that a real-time signal ended: it has no name for those.
    loop {
        // SAFETY: siginfo_t is plain data for which zeroes are a value.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL | flags;
        // SAFETY: the kernel writes one siginfo_t, and `info` is one.
        if unsafe { libc::waitid(kind, id, &raw mut info, options) } == 0 {
            // SAFETY: either zeroed by us (pid 0: nobody has ended) or filled in by the kernel for an ended child.
            let pid = Pid::from_raw(unsafe { info.si_pid() });
            return Ok((pid.as_raw() != 0).then(|| (pid, Exit::from_siginfo(&info))));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whether the whole process (every thread of it) has ended, reaped or not.
pub fn is_dead(pidfd: BorrowedFd) -> bool {
    poll_now(pidfd) != 0
}

/// How a process that need not be our child has ended.
///
/// `None` while it lives. Between its death and its reaping `/proc` knows it, for those who may look into it (its user,
/// root); after that the kernel keeps it since Linux 6.15, where the pidfd was opened before. `None` where neither can say.
pub fn exit_of(pidfd: BorrowedFd) -> Option<Exit> {
    if !is_dead(pidfd) {
        return None;
    }
    // Asked for first: it may be reaped between the two, but it cannot come back.
    exit_of_unreaped(pidfd).or_else(|| {
        let info = PidfdInfo::ask(pidfd, PidfdInfo::EXIT)?;
        (info.mask & PidfdInfo::EXIT != 0).then(|| Exit::from_status(info.exit_code))
    })
}

/// The exit of a process that is dead, as long as its parent has not taken it. Some parents never do: the first process of
/// many a container.
fn exit_of_unreaped(pidfd: BorrowedFd) -> Option<Exit> {
    let pid = pid_of(pidfd)?;
    let status = Stat::exit_status(pid)?;
    // A zombie takes signals, and nobody else can have its pid: what was read was its own.
    (signal::send(pidfd, 0) == Ok(signal::Delivery::Sent)).then(|| Exit::from_status(status))
}

/// The pid that is held; `None` once it was reaped.
fn pid_of(pidfd: BorrowedFd) -> Option<Pid> {
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = facts.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then(|| Pid::from_raw(pid))
}

/// Whether this kernel keeps exits for [`exit_of`].
///
/// Only an ended process shows it, so short of ending one the version has to tell; that the request is known at all
/// (6.13, and no sandbox forbids it) is asked.
pub(crate) fn records_exits(living: BorrowedFd, kernel_release: &str) -> bool {
    at_least(kernel_release, (6, 15)) && PidfdInfo::ask(living, 0).is_some()
}

/// Whether a kernel's release, as it names itself, is this version or a later one.
pub(crate) fn at_least(kernel_release: &str, version: (u32, u32)) -> bool {
    let mut numbers = kernel_release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= version)
}

/// `struct pidfd_info` of `linux/pidfd.h` in its first size, which holds all that is asked for here.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    credentials: [u32; 8],
    exit_code: i32,
}

impl PidfdInfo {
    const EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const GET: libc::c_ulong = 0xC000_0000 | (size_of::<Self>() as libc::c_ulong) << 16 | 0xFF << 8 | 11;

    fn ask(pidfd: BorrowedFd, mask: u64) -> Option<Self> {
        let mut info = Self { mask, ..Self::default() };
        // SAFETY: the request's number carries the size of `Self`, so the kernel writes no more than that.
        let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), Self::GET as _, &raw mut info) };
        (answer == 0).then_some(info)
    }
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);
