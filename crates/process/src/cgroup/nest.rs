//! The cgroup of one launch: made, entered, watched, killed, removed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::{Ceilings, Resource};
use crate::descriptors::pidfd_open;
use crate::signal;

/// How often a group without `cgroup.kill` is looked through for those who were born meanwhile. It is frozen first, where
/// it can be, so that two looks are the rule.
const LOOKS: usize = 200;

/// The period over which time on processors is measured, in microseconds: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// The shortest time in a period that the kernel takes, in microseconds.
const QUOTA_LEAST_US: u64 = 1000;

/// The place of one launch, not made yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    pub(super) unified: Option<PathBuf>,
    /// One folder for each hierarchy of version 1 that a ceiling needs.
    pub(super) legacy: Vec<(Resource, PathBuf)>,
    pub(super) ceilings: Ceilings,
}

/// A group could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupError {
    /// What was being done, with the file.
    pub what: String,
    /// What the kernel said.
    pub errno: Errno,
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // That something is not offered is told by the words alone.
        match self.errno {
            Errno::EOPNOTSUPP => f.write_str(&self.what),
            errno => write!(f, "{}: {}", self.what, errno.desc()),
        }
    }
}

impl std::error::Error for CgroupError {}

/// A group that was made, and is there until [`Cgroup::remove`]: dropping it only forgets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    pub(super) unified: Option<PathBuf>,
    pub(super) legacy: Vec<PathBuf>,
    /// Where the kernel counts whom it killed for want of memory.
    pub(super) memory_events: Option<PathBuf>,
}

/// Watches a group: polls `POLLPRI` (see [`AsFd`]) when it may have become empty, or populated, since it was last asked.
#[derive(Debug)]
pub struct Vigil {
    events: File,
}

impl Vigil {
    /// Whether a process lives in the group, or in one below it. A change after this is told.
    pub fn is_populated(&self) -> bool {
        let mut text = [0; 256];
        // Removed by somebody else: then nothing can be in it.
        let length = self.events.read_at(&mut text, 0).unwrap_or(0);
        let found = |line: &[u8]| line == b"populated 1";
        text[..length].split(|byte| *byte == b'\n').any(found)
    }
}

impl AsFd for Vigil {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// How the child of a spawn gets into a group.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The folder of the unified hierarchy, for `CLONE_INTO_CGROUP`.
    pub(crate) unified: Option<OwnedFd>,
    /// The files `cgroup.procs` of version 1, for the child to write itself into.
    pub(crate) legacy: Vec<OwnedFd>,
}

impl Plot {
    /// Makes the groups and sets the ceilings.
    pub(crate) fn make(&self) -> Result<Cgroup, CgroupError> {
        let made = Cgroup {
            unified: self.unified.clone(),
            legacy: self.legacy.iter().map(|(_, folder)| folder.clone()).collect(),
            memory_events: self.ceilings.memory.and_then(|_| self.memory_events()),
        };
        let all = made.folders().try_for_each(make_folder).and_then(|()| self.set_ceilings());
        if let Err(error) = all {
            made.remove();
            return Err(error);
        }
        Ok(made)
    }

    fn legacy(&self, wanted: Resource) -> Option<&Path> {
        self.legacy.iter().find(|(resource, _)| *resource == wanted).map(|(_, folder)| folder.as_path())
    }

    fn memory_events(&self) -> Option<PathBuf> {
        match (self.legacy(Resource::Memory), &self.unified) {
            (Some(folder), _) => Some(folder.join("memory.oom_control")),
            (None, Some(folder)) => Some(folder.join("memory.events")),
            (None, None) => None,
        }
    }

    fn set_ceilings(&self) -> Result<(), CgroupError> {
        let Ceilings { memory, pids, cpu } = self.ceilings;
        if let Some(bytes) = memory {
            let bytes = bytes.to_string();
            match (self.legacy(Resource::Memory), &self.unified) {
                (Some(folder), _) => {
                    set(folder, "memory.limit_in_bytes", &bytes)?;
                    // Else what does not fit would go to swap, and the machine with it.
                    set_if_there(folder, "memory.memsw.limit_in_bytes", &bytes)?;
                }
                (None, Some(folder)) => {
                    set(folder, "memory.max", &bytes)?;
                    set_if_there(folder, "memory.swap.max", "0")?;
                }
                (None, None) => {}
            }
        }
        if let Some(count) = pids
            && let Some(folder) = self.legacy(Resource::Pids).or(self.unified.as_deref())
        {
            set(folder, "pids.max", &count.to_string())?;
        }
        if let Some(processors) = cpu {
            let quota = ((processors * PERIOD_US as f64) as u64).max(QUOTA_LEAST_US);
            match (self.legacy(Resource::Cpu), &self.unified) {
                (Some(folder), _) => {
                    set(folder, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
                    set(folder, "cpu.cfs_quota_us", &quota.to_string())?;
                }
                (None, Some(folder)) => set(folder, "cpu.max", &format!("{quota} {PERIOD_US}"))?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

fn make_folder(folder: &Path) -> Result<(), CgroupError> {
    // One that a former launch of the same name left behind, against all care, must not lend its processes to this one.
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let former = Cgroup::at(folder);
            former.kill();
            former.remove();
            fs::create_dir(folder).map_err(failed("make", folder))
        }
        made => made.map_err(failed("make", folder)),
    }
}

fn set(folder: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let path = folder.join(file);
    write_file(&path, value).map_err(failed(&format!("write {value} to"), &path))
}

fn set_if_there(folder: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    if folder.join(file).exists() { set(folder, file, value) } else { Ok(()) }
}

pub(super) fn write_file(path: &Path, value: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(value.as_bytes())
}

pub(super) fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError + use<> {
    let what = format!("{doing} {}", path.display());
    move |error| CgroupError { what, errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)) }
}

impl Cgroup {
    /// The group that this folder is, without ceilings that would be known of.
    pub(super) fn at(folder: &Path) -> Self {
        Self { unified: Some(folder.to_owned()), legacy: Vec::new(), memory_events: None }
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        self.unified.iter().chain(&self.legacy).map(PathBuf::as_path)
    }

    /// Opens what a child needs to get in.
    pub(crate) fn doors(&self) -> Result<Doors, CgroupError> {
        let open =
            |path: &Path, how: &OpenOptions| how.open(path).map(OwnedFd::from).map_err(failed("open", path));
        let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_PATH).clone();
        let procs = OpenOptions::new().write(true).clone();
        Ok(Doors {
            unified: self.unified.as_deref().map(|path| open(path, &folder)).transpose()?,
            legacy: self
                .legacy
                .iter()
                .map(|path| open(&path.join("cgroup.procs"), &procs))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The file `cgroup.procs` of the unified hierarchy, for a child that can not be born into it.
    pub(crate) fn side_door(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(folder) = &self.unified else { return Ok(None) };
        let path = folder.join("cgroup.procs");
        File::options().write(true).open(&path).map(|file| Some(file.into())).map_err(failed("open", &path))
    }

    /// Whether it keeps the tree together: none gets out by forking, and the whole of it is killed in one step.
    pub fn keeps_tree(&self) -> bool {
        self.unified.is_some()
    }

    /// Every process in it, and in the groups that those may have made in it.
    pub fn members(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        if let Some(folder) = self.folders().next() {
            each_below(folder, &mut |folder| {
                let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                found.extend(procs.lines().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
            });
        }
        found
    }

    /// Whether a process lives in it, or in a group below it.
    pub fn is_populated(&self) -> bool {
        match self.unified.as_deref().map(|folder| fs::read_to_string(folder.join("cgroup.events"))) {
            Some(Ok(events)) => events.lines().any(|line| line == "populated 1"),
            // Removed by somebody else: then nothing can be in it.
            Some(Err(_)) => false,
            None => !self.members().is_empty(),
        }
    }

    /// Watches whether anything lives in it; `None` where only the ends of its processes tell.
    ///
    /// # Errors
    ///
    /// Those of opening a file.
    pub fn watch(&self) -> io::Result<Option<Vigil>> {
        let Some(folder) = &self.unified else { return Ok(None) };
        Ok(Some(Vigil { events: File::open(folder.join("cgroup.events"))? }))
    }

    /// Sends `KILL` to all of it. They end soon, unless the kernel holds them in a sleep it can not interrupt.
    pub fn kill(&self) {
        if let Some(folder) = &self.unified {
            if write_file(&folder.join("cgroup.kill"), "1").is_ok() {
                return;
            }
            // A frozen group makes no children, and can be killed all the same. A threaded one can not be frozen so.
            let _ = write_file(&folder.join("cgroup.freeze"), "1");
        }
        for _ in 0..LOOKS {
            let living: Vec<Pid> = self.members();
            let mut sent = false;
            for pid in living {
                let Ok(Some(held)) = pidfd_open(pid) else { continue };
                // Whoever is held and still in the group is who was meant.
                if self.members().contains(&pid) && !crate::is_dead(held.as_fd()) {
                    sent |= signal::send(held.as_fd(), libc::SIGKILL) == Ok(signal::Delivery::Sent);
                }
            }
            if !sent {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Kills all of it and waits, so long at most, until nothing of it lives; says whether that is so.
    pub fn kill_and_wait(&self, patience: Duration) -> bool {
        let give_up = Instant::now() + patience;
        loop {
            self.kill();
            let held: Vec<OwnedFd> =
                self.members().into_iter().filter_map(|pid| pidfd_open(pid).ok().flatten()).collect();
            if held.is_empty() && !self.is_populated() {
                return true;
            }
            for pidfd in &held {
                let left = give_up.saturating_duration_since(Instant::now()).as_millis();
                if left == 0 {
                    return false;
                }
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left);
            }
            if Instant::now() >= give_up {
                return false;
            }
        }
    }

    /// How many of its processes the kernel has killed because all together needed more memory than they may have; 0
    /// where there is no such ceiling.
    pub fn oom_kills(&self) -> u64 {
        let Some(file) = &self.memory_events else { return 0 };
        let text = fs::read_to_string(file).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes the group and all that were made in it; says whether it is gone. It stays while a process lives in it.
    pub fn remove(&self) -> bool {
        let mut gone = true;
        for folder in self.folders() {
            gone &= remove_below(folder);
        }
        gone
    }
}

/// Calls for a group and all below it, those below first.
fn each_below(folder: &Path, call: &mut dyn FnMut(&Path)) {
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                each_below(&entry.path(), call);
            }
        }
    }
    call(folder);
}

/// Removes a group and all below it; whether it is gone.
pub(super) fn remove_below(folder: &Path) -> bool {
    each_below(folder, &mut |folder| drop(fs::remove_dir(folder)));
    !folder.exists()
}
