//! Starting a program: what it shall get, and what went wrong.
//!
//! ```text
//!   spawn() ─ block signals ─ clone(VM, VFORK, PIDFD) ─────────────── signals as before ─► Spawned | SpawnError
//!                                     └► child ─ signals, session, limits, … ─ exec        (the failed child is reaped)
//! ```
//!
//! The child borrows this process's memory until its exec, so a spawn costs the same however large the process has
//! grown, and says what failed through that memory. What it does meanwhile is in [`child`].

mod birth;
mod child;
mod error;
mod ground;
mod path;
mod stack;

use std::cell::Cell;
use std::ffi::{CStr, CString, OsString, c_char};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::cgroup::{Cgroup, CgroupError, Plot};
use crate::descriptors::{has_close_range, has_pidfd, pidfd_open};
use crate::limit::Limit;
use crate::priority::{IoPriority, Processors};
use crate::setup::original_nofile_limit;
use crate::variables::Variables;
use birth::{clone_into, knows_no_cgroups, reap};
use child::{Close, Handed, Orders, Report};
use ground::null_device;

pub(crate) use birth::BlockedSignals;
pub use error::{SpawnError, Stage};
pub(crate) use ground::Ground;
pub use ground::prepare_to_spawn;

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
    /// The whole environment; see [`environment`].
    pub env: Variables,
    /// The names of variables that are set to the program's own pid: what it starts inherits them, but cannot have that
    /// pid, so that the two can be told apart. They must not be in `env`.
    pub pid_variables: Vec<CString>,
    /// The folder it starts in; relative to this process's own.
    pub cwd: CString,
    /// Descriptor 0.
    pub stdin: Stdio,
    /// Descriptor 1.
    pub stdout: Stdio,
    /// Descriptor 2.
    pub stderr: Stdio,
    /// Further descriptors it gets, each with its number there, 3 or above, in the order of the numbers and none twice.
    /// They stay open here.
    pub handed: Vec<(RawFd, Arc<OwnedFd>)>,
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
    /// Its priority of input and output; `None`: as here.
    pub io_priority: Option<IoPriority>,
    /// How much sooner (up to 1000) or later (down to −1000) than others the kernel kills it when the machine is short of
    /// memory; `None`: as here.
    pub oom_score_adj: Option<i32>,
    /// The processors it may run on; `None`: as here.
    pub processors: Option<Processors>,
    /// Whether neither it nor what it starts can ever gain rights by executing a file.
    pub no_new_privileges: bool,
    /// A folder that it sees at each of these places, in a mount namespace of its own.
    pub mounts: Vec<(CString, CString)>,
    /// The cgroup that is made for it and that it is born into; `None`: the one of this process.
    pub cgroup: Option<Plot>,
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

/// A program that has been started.
#[derive(Debug)]
pub struct Spawned {
    /// The cgroup that was made for it, to be removed when all of it has ended.
    pub cgroup: Option<Cgroup>,
    /// Its process id, not reused before [`wait_leader`](crate::wait_leader) has taken its exit.
    pub pid: Pid,
    /// Means this process for ever; readable when it has ended. Closed on exec.
    pub pidfd: OwnedFd,
}

/// `NAME=` and room for a pid, which only the child knows.
struct PidEntry {
    bytes: Vec<u8>,
    value: usize,
}

impl PidEntry {
    fn named(name: &CStr) -> Self {
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
    pub fn new(argv: Vec<CString>, env: impl Into<Variables>, cwd: CString) -> Self {
        Self {
            argv,
            env: env.into(),
            pid_variables: Vec::new(),
            cwd,
            stdin: Stdio::Null,
            stdout: Stdio::Null,
            stderr: Stdio::Null,
            handed: Vec::new(),
            parent_death: None,
            umask: None,
            nice: None,
            session: true,
            credentials: None,
            limits: Vec::new(),
            io_priority: None,
            oom_score_adj: None,
            processors: None,
            no_new_privileges: false,
            mounts: Vec::new(),
            cgroup: None,
        }
    }

    /// Hands it these descriptors under the numbers they have here, beside what it is handed already. See
    /// [`inherited`](crate::inherited) for the other side.
    pub fn keep(&mut self, descriptors: impl IntoIterator<Item = Arc<OwnedFd>>) {
        self.handed.extend(descriptors.into_iter().map(|fd| (fd.as_raw_fd(), fd)));
        self.handed.sort_by_key(|(place, _)| *place);
        self.handed.dedup_by_key(|(place, _)| *place);
    }

    /// Starts the program as a child of the calling thread and returns once it executes.
    ///
    /// Never call it on the main thread of a process that uses [`reap_orphan`](crate::reap_orphan): the child would
    /// look like an orphan. The calling thread stands still until the program executes, which takes as long as the
    /// file systems on the way to it take; a [`Spawner`](crate::Spawner) has threads for that.
    ///
    /// # Errors
    ///
    /// The first thing that failed. A shortage ([`SpawnError::is_shortage`]) may pass.
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        if !has_pidfd() {
            let what = "with a pidfd (Linux 5.4 or newer is needed)";
            return Err(SpawnError::new(Stage::Clone, Errno::ENOSYS, what));
        }
        let Some(program) = self.argv.first().filter(|program| !program.is_empty()) else {
            return Err(SpawnError::new(Stage::Exec, Errno::EINVAL, "an empty command"));
        };
        let in_cgroup = |error: CgroupError| SpawnError::new(Stage::Cgroup, error.errno, error.what);
        let cgroup = self.cgroup.as_ref().map(Plot::make).transpose().map_err(in_cgroup)?;
        let born = match &cgroup {
            None => self.give_birth(program, None, &[]),
            Some(cgroup) => match self.give_birth_in(program, cgroup) {
                // The folders are told by their doors, which are gone by now.
                Err(error) => {
                    cgroup.remove();
                    Err(error)
                }
                born => born,
            },
        };
        born.map(|child| Spawned { pid: child.pid, pidfd: child.pidfd, cgroup })
    }

    /// Into a cgroup by birth; or, where the kernel does not know of that, by the child's own first step.
    fn give_birth_in(&self, program: &CStr, cgroup: &Cgroup) -> Result<birth::Child, SpawnError> {
        let in_cgroup = |error: CgroupError| SpawnError::new(Stage::Cgroup, error.errno, error.what);
        let doors = cgroup.doors().map_err(in_cgroup)?;
        let unified = doors.unified.as_ref().map(AsFd::as_fd);
        match self.give_birth(program, unified, &doors.legacy) {
            Err(error)
                if error.stage == Stage::Clone && unified.is_some() && knows_no_cgroups(error.errno) =>
            {
                let mut doors = doors.legacy;
                doors.extend(cgroup.side_door().map_err(in_cgroup)?);
                self.give_birth(program, None, &doors)
            }
            born => born,
        }
    }

    /// Makes the child, in the cgroup of this folder if there is one; it enters others through `doors`.
    fn give_birth(
        &self,
        program: &CStr,
        cgroup: Option<BorrowedFd<'_>>,
        doors: &[OwnedFd],
    ) -> Result<birth::Child, SpawnError> {
        let clone_failed = |errno: Errno, what: &str| SpawnError::new(Stage::Clone, errno, what);
        let candidates = path::candidates(program, &self.env);
        let sources = self.sources()?;
        let lifeline = lifeline(self.parent_death.is_some())
            .map_err(|error| clone_failed(errno_of(&error), "with a pidfd of its parent"))?;

        self.check_places()?;

        let argv = pointers(&self.argv);
        let mut pid_entries: Vec<PidEntry> =
            self.pid_variables.iter().map(|name| PidEntry::named(name)).collect();
        let (pid_starts, pid_digits): (Vec<_>, Vec<_>) =
            pid_entries.iter_mut().map(PidEntry::pointers).unzip();
        let envp = self.env.pointers(pid_starts.into_iter());
        let paths: Vec<_> = candidates.iter().map(|path| path.as_ptr()).collect();
        let limits: Vec<Limit> =
            original_nofile_limit().into_iter().chain(self.limits.iter().copied()).collect();
        let handed: Vec<Handed> = self
            .handed
            .iter()
            .map(|(place, fd)| Handed { place: *place, source: Cell::new(fd.as_raw_fd()) })
            .collect();
        let doors: Vec<RawFd> = doors.iter().map(AsRawFd::as_raw_fd).collect();
        let oom_score_adj = self.oom_score_adj.map(|score| score.to_string());
        let mut orders = Orders {
            candidates: &paths,
            argv: &argv,
            envp: &envp,
            pid_digits: &pid_digits,
            cwd: &self.cwd,
            sources,
            handed: &handed,
            close: if has_close_range() { Close::Range } else { Close::Each { last: last_descriptor() } },
            session: self.session,
            limits: &limits,
            nice: self.nice,
            io_priority: self.io_priority.map(IoPriority::number),
            oom_score_adj: oom_score_adj.as_deref().map(str::as_bytes),
            processors: self.processors.as_ref().map(Processors::mask),
            cgroup_doors: &doors,
            mounts: &self.mounts,
            no_new_privileges: self.no_new_privileges,
            credentials: self.credentials.as_ref(),
            umask: self.umask,
            parent_death: self.parent_death,
            parent: Pid::this(),
            lifeline: Cell::new(lifeline.as_ref().map(AsRawFd::as_raw_fd)),
            birth_lock: Cell::new(BIRTH_LOCK.get().map(AsRawFd::as_raw_fd)),
            report: Report::default(),
        };
        let child = Ground::with(|ground| {
            let low = ground.bring_down(sources);
            orders.sources = low.sources;
            clone_into(&orders, &ground.stack, cgroup)
        })
        .map_err(|errno| clone_failed(errno, ""))?;
        match orders.report.read() {
            None => Ok(child),
            Some((stage, errno, index)) => {
                reap(&child.pidfd);
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

    fn check_places(&self) -> Result<(), SpawnError> {
        let ordered = self.handed.iter().is_sorted_by(|(one, _), (next, _)| one < next);
        match self.handed.first() {
            Some(_) if !ordered => {
                let what = "further descriptors, which are not in the order of their numbers";
                Err(SpawnError::new(Stage::Stdio, Errno::EINVAL, what))
            }
            Some((place, _)) if *place <= 2 => {
                Err(SpawnError::new(Stage::Stdio, Errno::EINVAL, "a further descriptor, which is 0, 1 or 2"))
            }
            _ => Ok(()),
        }
    }

    /// What the step that failed was done with; `index` says which one of several.
    fn blame(&self, stage: Stage, index: Option<usize>, candidates: &[CString], limits: &[Limit]) -> String {
        match stage {
            Stage::Clone | Stage::Session | Stage::ParentDeath => String::new(),
            Stage::Chdir => self.as_it_sees(&self.cwd),
            Stage::Nice => self.nice.map(|nice| nice.to_string()).unwrap_or_default(),
            Stage::IoPriority => self.io_priority.map(|priority| priority.to_string()).unwrap_or_default(),
            Stage::OomScore => self.oom_score_adj.map(|score| score.to_string()).unwrap_or_default(),
            Stage::Processors => self.processors.as_ref().map(ToString::to_string).unwrap_or_default(),
            Stage::Cgroup => "it cannot be entered".to_owned(),
            Stage::NoNewPrivileges => String::new(),
            Stage::Mount => match index.and_then(|index| self.mounts.get(index)) {
                Some((folder, place)) => {
                    format!("{} at {}", folder.to_string_lossy(), place.to_string_lossy())
                }
                None => "in a namespace of its own".to_owned(),
            },
            Stage::Credentials => self
                .credentials
                .as_ref()
                .map(|to| format!("{} of group {}", to.uid, to.gid))
                .unwrap_or_default(),
            Stage::Limit => {
                index.and_then(|index| limits.get(index)).map(|limit| format!("{limit}")).unwrap_or_default()
            }
            Stage::Stdio => match index {
                Some(index @ 0..=2) => ["stdin", "stdout", "stderr"][index].to_owned(),
                Some(number) => format!("descriptor {number}"),
                None => "the other descriptors".to_owned(),
            },
            // Without an index no candidate exists, and the program is named as it was asked for.
            Stage::Exec | Stage::Interpreter => {
                self.as_it_sees(index.and_then(|index| candidates.get(index)).unwrap_or(&self.argv[0]))
            }
        }
    }

    /// A path, and that something is mounted over it, where the child sees something else there than we do.
    fn as_it_sees(&self, path: &CStr) -> String {
        let text = path.to_string_lossy();
        let under = |place: &CString| Path::new(&*text).starts_with(Path::new(&*place.to_string_lossy()));
        // The innermost was mounted last.
        match self.mounts.iter().map(|(_, place)| place).rfind(|place| under(place)) {
            Some(place) => format!("{text} (its {} is a folder of its own)", place.to_string_lossy()),
            None => text.into_owned(),
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

static BIRTH_LOCK: OnceLock<OwnedFd> = OnceLock::new();

/// Has every program that this process starts keep this descriptor from its birth until it is executed, and no longer.
///
/// Between the two nothing tells a child from this process: it is in its memory, with its environment. If this process
/// is killed meanwhile, the child goes on and executes its program when nobody expects it any more. With a lock behind
/// the descriptor, whoever waits for that lock meets no such child: each has either ended, or been executed and bears
/// the marks of its own environment (but see [`is_being_executed`](crate::is_being_executed)). Every spawn does it,
/// because one that did not would be a hole. The first call counts; give it early, while low numbers are free.
pub fn hold_in_births(lock: OwnedFd) {
    // A second run in one process there is none.
    let _ = BIRTH_LOCK.set(lock);
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
