//! Starting a program: what it shall get, and what went wrong.
//!
//! ```text
//!   spawn() ─ block signals ─ clone(VM, VFORK, PIDFD) ─────────────── signals as before ─► Spawned | SpawnError
//!                                     └► child ─ signals, session, limits, … ─ exec        (the failed child is reaped)
//! ```
//!
//! The child borrows this process's memory until its exec, so a spawn costs the same however large the process has
//! grown, and says what failed through that memory. What it does meanwhile is in [`child`].

mod child;
mod ground;
mod path;
mod stack;

use std::ffi::{CString, OsString, c_char};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::descriptors::{has_close_range, has_pidfd, pidfd_open};
use crate::setup::original_nofile_limit;
use child::{Close, Orders, Report};
use ground::null_device;
use stack::Stack;

pub(crate) use ground::Ground;

/// A program to start and all that it shall get; nothing else of this process reaches it.
///
/// Whatever this process ignores, blocks or has open, the program starts with every signal at its default, an empty
/// signal mask, descriptors 0, 1 and 2 only, and the soft descriptor limit this process itself was started with
/// (see [`raise_nofile_limit`](crate::raise_nofile_limit)).
///
/// ```
/// use process::{Exit, Spawn, environment, wait_leader};
/// use std::os::fd::AsFd;
///
/// let argv = vec![c"sh".into(), c"-c".into(), c"exit 3".into()];
/// let child = Spawn::new(argv, environment(std::env::vars_os()), c"/".into()).spawn().unwrap();
/// let exit = loop {
///     if let Some(exit) = wait_leader(child.pidfd.as_fd()).unwrap() {
///         break exit;
///     }
/// };
/// assert_eq!(exit, Exit::Code(3));
/// ```
#[derive(Debug, Clone)]
pub struct Spawn {
    /// The program and its arguments. A program without `/` is looked for in the `PATH` of `env`; one with `/` that is
    /// relative is relative to `cwd`.
    pub argv: Vec<CString>,
    /// The whole environment, each entry `NAME=value`; see [`environment`].
    pub env: Vec<CString>,
    /// The name of a variable that is set to the program's own pid: what it starts inherits the variable, but cannot
    /// have that pid, so that the two can be told apart. It must not be in `env`.
    pub pid_variable: Option<CString>,
    /// The folder it starts in; relative to this process's own.
    pub cwd: CString,
    /// Descriptor 0.
    pub stdin: Stdio,
    /// Descriptor 1.
    pub stdout: Stdio,
    /// Descriptor 2.
    pub stderr: Stdio,
    /// The signal the kernel sends it when this process dies, however it dies. It is bound to the spawning *thread*,
    /// so that thread must live as long as the process: see [`Spawner`](crate::Spawner). The kernel forgets it when the
    /// program executes a set-user-id file or changes its user.
    pub parent_death: Option<i32>,
    /// Its file mode mask; `None`: as here.
    pub umask: Option<u32>,
    /// Its niceness, −20 to 19, not relative; `None`: as here.
    pub nice: Option<i32>,
    /// Whether it leads a session, and so a process group, of its own.
    pub session: bool,
    /// Its user and groups; `None`: as here.
    pub credentials: Option<Credentials>,
    /// Resource limits, set in this order and before the user changes.
    pub limits: Vec<Limit>,
    /// Descriptors of this process that the program gets too, under the numbers they have here; none is 0, 1 or 2. See
    /// [`inherited`](crate::inherited) for the other side.
    pub keep: Vec<Arc<OwnedFd>>,
}

/// Where one of the three standard descriptors goes. Opening files is for the caller.
#[derive(Debug, Clone)]
pub enum Stdio {
    /// `/dev/null`, for reading and writing.
    Null,
    /// This process's descriptor of the same number.
    Inherit,
    /// A descriptor of this process; it stays open here.
    Fd(Arc<OwnedFd>),
}

/// The user and groups of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups; `None` leaves them as here, which an ordinary user must do.
    pub groups: Option<Vec<u32>>,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// `libc::RLIMIT_NOFILE`, `libc::RLIMIT_CORE`, `libc::RLIMIT_AS`, …
    pub resource: u32,
    /// What is enforced; `u64::MAX` for no limit.
    pub soft: u64,
    /// How far the program may raise it.
    pub hard: u64,
}

/// A program that has been started.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id, not reused before [`wait_leader`](crate::wait_leader) has taken its exit.
    pub pid: Pid,
    /// Means this process for ever; readable when it has ended. Closed on exec.
    pub pidfd: OwnedFd,
}

/// What was being done when a spawn failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Making the process.
    Clone = 1,
    /// Leading a session.
    Session,
    /// Setting a resource limit.
    Limit,
    /// Setting the niceness.
    Nice,
    /// Changing user and groups.
    Credentials,
    /// Entering the folder.
    Chdir,
    /// Asking for the signal at this process's death.
    ParentDeath,
    /// Putting descriptors 0, 1 and 2 in place and closing the others.
    Stdio,
    /// Executing the program.
    Exec,
    /// Executing a file that exists but names, in its first line or as its loader, a program that does not.
    Interpreter,
}

impl Stage {
    const ALL: [Self; 10] = [
        Self::Clone,
        Self::Session,
        Self::Limit,
        Self::Nice,
        Self::Credentials,
        Self::Chdir,
        Self::ParentDeath,
        Self::Stdio,
        Self::Exec,
        Self::Interpreter,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as u8 == number)
    }
}

/// A program could not be started. No process is left of the attempt.
///
/// Reads `exec ./nothere: No such file or directory`, `chdir /x: Permission denied`, `exec foo: not found in PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnError {
    /// What was being done.
    pub stage: Stage,
    /// What the kernel said.
    pub errno: Errno,
    /// What it was done with, and more words where the kernel's do not tell enough.
    pub what: String,
}

impl SpawnError {
    fn new(stage: Stage, errno: Errno, what: impl Into<String>) -> Self {
        Self { stage, errno, what: what.into() }
    }

    /// Whether the same attempt may succeed later: the machine was short of processes, memory or descriptors.
    pub fn is_shortage(&self) -> bool {
        matches!(self.errno, Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.stage {
            Stage::Clone => "start a process",
            Stage::Session => "setsid",
            Stage::Limit => "set limit",
            Stage::Nice => "nice",
            Stage::Credentials => "become user",
            Stage::Chdir => "chdir",
            Stage::ParentDeath => "ask for a signal at the supervisor's death",
            Stage::Stdio => "redirect",
            Stage::Exec | Stage::Interpreter => "exec",
        };
        f.write_str(doing)?;
        if !self.what.is_empty() {
            write!(f, " {}", self.what)?;
        }
        match (self.stage, self.errno) {
            (Stage::Interpreter, _) => f.write_str(": the file is there, the interpreter it names is not"),
            (Stage::Exec, Errno::ENOENT) if !self.what.contains('/') => f.write_str(": not found in PATH"),
            (_, Errno::EAGAIN) => f.write_str(": the limit of processes is reached (ulimit -u, pids.max)"),
            (_, errno) => write!(f, ": {}", errno.desc()),
        }
    }
}

impl std::error::Error for SpawnError {}

/// `NAME=` and room for a pid, which only the child knows.
struct PidEntry {
    bytes: Vec<u8>,
    value: usize,
}

impl PidEntry {
    fn named(name: &std::ffi::CStr) -> Self {
        let mut bytes = name.to_bytes().to_vec();
        bytes.push(b'=');
        let value = bytes.len();
        bytes.resize(value + child::PID_DIGITS + 1, 0);
        Self { bytes, value }
    }

    /// Where it starts, and where in it the child writes its pid: [`child::PID_DIGITS`] bytes, followed by a zero.
    fn pointers(&mut self) -> (*const c_char, *mut u8) {
        let start = self.bytes.as_mut_ptr();
        (start.cast_const().cast(), start.wrapping_add(self.value))
    }
}

impl Spawn {
    /// A program with its three descriptors at `/dev/null`, a session of its own, and no other wish.
    pub fn new(argv: Vec<CString>, env: Vec<CString>, cwd: CString) -> Self {
        Self {
            argv,
            env,
            pid_variable: None,
            cwd,
            stdin: Stdio::Null,
            stdout: Stdio::Null,
            stderr: Stdio::Null,
            parent_death: None,
            umask: None,
            nice: None,
            session: true,
            credentials: None,
            limits: Vec::new(),
            keep: Vec::new(),
        }
    }

    /// Starts the program as a child of the calling thread and returns once it executes.
    ///
    /// Never call it on the main thread of a process that uses [`reap_orphan`](crate::reap_orphan): the child would
    /// look like an orphan there.
    ///
    /// # Errors
    ///
    /// The first thing that failed. A shortage ([`SpawnError::is_shortage`]) may pass.
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        let clone_failed = |errno: Errno, what: &str| SpawnError::new(Stage::Clone, errno, what);
        if !has_pidfd() {
            return Err(clone_failed(Errno::ENOSYS, "with a pidfd (Linux 5.4 or newer is needed)"));
        }
        let Some(program) = self.argv.first().filter(|program| !program.is_empty()) else {
            return Err(SpawnError::new(Stage::Exec, Errno::EINVAL, "an empty command"));
        };
        let candidates = path::candidates(program, &self.env);
        let sources = self.sources()?;
        let lifeline = lifeline(self.parent_death.is_some())
            .map_err(|error| clone_failed(errno_of(&error), "with a pidfd of its parent"))?;

        let kept = self.kept(lifeline.as_ref())?;

        let argv = pointers(&self.argv);
        let mut pid_entry = self.pid_variable.as_deref().map(PidEntry::named);
        let mut envp = pointers(&self.env);
        let pid_digits = pid_entry.as_mut().map(|entry| {
            let (start, digits) = entry.pointers();
            envp.insert(0, start);
            digits
        });
        let paths: Vec<_> = candidates.iter().map(|path| path.as_ptr()).collect();
        let limits: Vec<Limit> =
            original_nofile_limit().into_iter().chain(self.limits.iter().copied()).collect();
        let mut orders = Orders {
            candidates: &paths,
            argv: &argv,
            envp: &envp,
            pid_digits,
            cwd: &self.cwd,
            sources,
            close: if has_close_range() { Close::Range } else { Close::Each { last: last_descriptor() } },
            session: self.session,
            limits: &limits,
            nice: self.nice,
            credentials: self.credentials.as_ref(),
            umask: self.umask,
            parent_death: self.parent_death,
            parent: Pid::this(),
            lifeline: lifeline.as_ref().map(AsRawFd::as_raw_fd),
            kept: &kept,
            report: Report::default(),
        };
        let spawned = Ground::with(|ground| {
            let low = ground.bring_down(sources);
            orders.sources = low.sources;
            clone_into(&orders, &ground.stack)
        })
        .map_err(|errno| clone_failed(errno, ""))?;
        match orders.report.read() {
            None => Ok(spawned),
            Some((stage, errno, index)) => {
                reap(&spawned.pidfd);
                Err(SpawnError::new(stage, errno, self.blame(stage, index, &candidates, &limits)))
            }
        }
    }

    /// The descriptors behind the three, `None` for those that stay.
    fn sources(&self) -> Result<[Option<RawFd>; 3], SpawnError> {
        let mut sources = [None; 3];
        for (source, stdio) in sources.iter_mut().zip([&self.stdin, &self.stdout, &self.stderr]) {
            *source = match stdio {
                Stdio::Inherit => None,
                Stdio::Fd(fd) => Some(fd.as_raw_fd()),
                Stdio::Null => {
                    let null = null_device();
                    let null =
                        null.map_err(|error| SpawnError::new(Stage::Stdio, errno_of(&error), "/dev/null"))?;
                    Some(null.as_raw_fd())
                }
            };
        }
        Ok(sources)
    }

    /// The descriptors above 2 that stay open in the child, in order: those to keep, and the lifeline until exec.
    fn kept(&self, lifeline: Option<&OwnedFd>) -> Result<Vec<RawFd>, SpawnError> {
        let mut kept: Vec<RawFd> = self.keep.iter().map(AsRawFd::as_raw_fd).collect();
        if kept.iter().any(|fd| *fd <= 2) {
            return Err(SpawnError::new(
                Stage::Stdio,
                Errno::EINVAL,
                "a descriptor to keep, which is 0, 1 or 2",
            ));
        }
        kept.extend(lifeline.map(AsRawFd::as_raw_fd));
        kept.sort_unstable();
        kept.dedup();
        Ok(kept)
    }

    /// What the step that failed was done with; `index` says which one of several.
    fn blame(&self, stage: Stage, index: Option<usize>, candidates: &[CString], limits: &[Limit]) -> String {
        match stage {
            Stage::Clone | Stage::Session | Stage::ParentDeath => String::new(),
            Stage::Chdir => self.cwd.to_string_lossy().into_owned(),
            Stage::Nice => self.nice.map(|nice| nice.to_string()).unwrap_or_default(),
            Stage::Credentials => self
                .credentials
                .as_ref()
                .map(|to| format!("{} of group {}", to.uid, to.gid))
                .unwrap_or_default(),
            Stage::Limit => index
                .and_then(|index| limits.get(index))
                .map(|limit| format!("{} to {} (at most {})", limit.resource, limit.soft, limit.hard))
                .unwrap_or_default(),
            Stage::Stdio => index
                .and_then(|index| ["stdin", "stdout", "stderr"].get(index).copied())
                .unwrap_or("the other descriptors")
                .to_owned(),
            // Without an index no candidate exists, and the program is named as it was asked for.
            Stage::Exec | Stage::Interpreter => index
                .and_then(|index| candidates.get(index))
                .unwrap_or(&self.argv[0])
                .to_string_lossy()
                .into_owned(),
        }
    }
}

/// Variables as `NAME=value` entries; those that hold a NUL byte, which no environment can, are left out.
///
/// ```
/// assert_eq!(process::environment([("A".into(), "1".into())]), [c"A=1".to_owned()]);
/// ```
pub fn environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<CString> {
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec()).ok()
    };
    variables.into_iter().filter_map(entry).collect()
}

/// A pidfd of this process, where a child can not ask for its parent by number: when children are born into another
/// pid namespace (`unshare --pid` without `--fork`), `getppid` tells them 0 whether the parent lives or not.
fn lifeline(needed: bool) -> io::Result<Option<OwnedFd>> {
    static ELSEWHERE: OnceLock<bool> = OnceLock::new();
    let elsewhere = || {
        let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        namespace("pid") != namespace("pid_for_children")
    };
    if needed && *ELSEWHERE.get_or_init(elsewhere) { pidfd_open(Pid::this()) } else { Ok(None) }
}

/// The strings' addresses with the null pointer that ends them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// The highest descriptor open now, for kernels that can not close a range.
fn last_descriptor() -> RawFd {
    let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.filter_map(name).max());
    open.ok().flatten().unwrap_or(1024)
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn clone_into(orders: &Orders, stack: &Stack) -> Result<Spawned, Errno> {
    let files = match orders.close {
        // The child takes its own copy at once, and only of the few descriptors it needs: copying and closing
        // thousands would cost more than everything else here.
        Close::Range => libc::CLONE_FILES,
        Close::Each { .. } => 0,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | files | libc::SIGCHLD;
    let mut pidfd: RawFd = -1;
    let argument = ptr::from_ref(orders).cast_mut().cast();
    let signals = BlockedSignals::all();
    // SAFETY: the stack is ours alone (`Ground::with`) and VFORK keeps this thread, with everything `orders` borrows,
    // where it is until the child has left our memory by exec or exit. `child::run` keeps to what is allowed in
    // between. The kernel writes one descriptor to `pidfd`. Signals are blocked, so no handler runs in the child.
    let pid = unsafe { libc::clone(child::run, stack.top(), flags, argument, &raw mut pidfd) };
    let errno = Errno::last();
    drop(signals);
    if pid < 0 {
        return Err(errno);
    }
    // SAFETY: CLONE_PIDFD made this descriptor for us (its support was asked for before) and nobody else knows it.
    Ok(Spawned { pid: Pid::from_raw(pid), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Takes the exit of a child that has failed and is ending or has ended.
fn reap(pidfd: &OwnedFd) {
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
