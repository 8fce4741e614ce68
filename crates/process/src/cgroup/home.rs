//! The cgroups of one run: a folder in each hierarchy that it needs, a group in it for each launch.
//!
//! ```text
//!   own cgroup / supervisor-NAME-HASH / daemon / WORKER:INDEX.LAUNCH      killed when the supervisor dies
//!                                     / kept   / WORKER:INDEX.LAUNCH
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::nest::{failed, remove_below, write_file};
use super::{Ceilings, Cgroup, CgroupError, Cgroups, Plot, Resource, Source};

/// Where this process goes when its own cgroup is to be parted: a group with controllers for others has no processes.
const ASIDE: &str = "supervisor";

/// How long what a former run left behind may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of a launch when its supervisor is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It lives on, or parts by itself.
    Kept,
    /// All of it is killed too, by whoever watches over the run.
    Daemon,
}

impl Kept {
    /// The name of the group in which such launches are.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Daemon => "daemon",
        }
    }
}

/// The folders of one run's cgroups.
#[derive(Debug)]
pub struct Home {
    name: String,
    unified: Option<PathBuf>,
    /// What is limited in the unified hierarchy.
    controllers: Vec<Resource>,
    /// Hierarchies of version 1, each by what it limits.
    legacy: Vec<(Resource, PathBuf)>,
}

impl Home {
    /// The folders of the run that this name tells from all others: in the unified hierarchy if trees are to be kept
    /// there, and wherever the ceilings of these resources are set. None is made yet.
    ///
    /// # Errors
    ///
    /// When this machine has not what is asked for.
    pub fn plan(
        offer: &Cgroups,
        name: &str,
        trees: bool,
        resources: &[Resource],
    ) -> Result<Self, CgroupError> {
        let mut home =
            Self { name: name.to_owned(), unified: None, controllers: Vec::new(), legacy: Vec::new() };
        for resource in resources {
            match offer.source(*resource).map_err(refused)? {
                Source::Unified => home.controllers.push(*resource),
                Source::Legacy(folder) => home.legacy.push((*resource, folder.join(name))),
            }
        }
        if trees || !home.controllers.is_empty() {
            home.unified = Some(offer.unified().map_err(refused)?.join(name));
        }
        Ok(home)
    }

    /// Makes the folders, as far as they are not there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn make(&self, offer: &Cgroups) -> Result<(), CgroupError> {
        if !self.controllers.is_empty() {
            enable(offer.unified().map_err(refused)?, &self.controllers)?;
        }
        for folder in self.folders() {
            let unified = Some(folder) == self.unified.as_deref();
            let groups = [Kept::Kept, Kept::Daemon].map(|kept| folder.join(kept.name()));
            for folder in std::iter::once(folder).chain(groups.iter().map(PathBuf::as_path)) {
                make_if_absent(folder)?;
                if unified {
                    enable(folder, &self.controllers)?;
                }
            }
        }
        Ok(())
    }

    /// The run's folder in each hierarchy, the unified one first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.unified.iter().chain(self.legacy.iter().map(|(_, folder)| folder)).map(PathBuf::as_path)
    }

    /// What tells this run's cgroups from all others.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group in the unified hierarchy with all launches that die with the supervisor.
    pub fn daemons(&self) -> Option<PathBuf> {
        self.unified.as_ref().map(|folder| folder.join(Kept::Daemon.name()))
    }

    /// The place of a launch that is called `leaf`, with these ceilings; `tree`: it is to be kept together there, and not
    /// only where a ceiling has it kept anyway.
    ///
    /// # Errors
    ///
    /// When the home was not made for that.
    pub fn plot(&self, kept: Kept, leaf: &str, ceilings: Ceilings, tree: bool) -> Result<Plot, CgroupError> {
        let below = |folder: &Path| folder.join(kept.name()).join(leaf);
        let mut legacy = Vec::new();
        for resource in ceilings.resources() {
            match self.legacy.iter().find(|(known, _)| *known == resource) {
                Some((_, folder)) => legacy.push((resource, below(folder))),
                None if self.controllers.contains(&resource) => {}
                None => return Err(refused(&format!("no controller {} is to be had here", resource.name()))),
            }
        }
        if tree && self.unified.is_none() {
            return Err(refused("no cgroup version 2 is to be had here"));
        }
        // Where there is one at all, a tree is kept by it.
        Ok(Plot { unified: self.unified.as_deref().map(below), legacy, ceilings })
    }

    /// Removes the folders, as far as nothing lives in them.
    pub fn remove(&self) {
        for folder in self.folders() {
            remove_below(folder);
        }
    }
}

fn refused(why: &str) -> CgroupError {
    CgroupError { what: why.to_owned(), errno: Errno::EOPNOTSUPP }
}

/// Makes a folder, if it is not there.
fn make_if_absent(folder: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("make", folder)(error)),
        _ => Ok(()),
    }
}

/// Lets the groups in `folder` have these controllers. This process moves out of its way, should it be in it.
fn enable(folder: &Path, controllers: &[Resource]) -> Result<(), CgroupError> {
    let control = folder.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).unwrap_or_default();
    for controller in controllers {
        if enabled.split_whitespace().any(|name| name == controller.name()) {
            continue;
        }
        let word = format!("+{}", controller.name());
        let Err(error) = write_file(&control, &word) else { continue };
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(failed(&format!("write {word} to"), &control)(error));
        }
        let aside = folder.join(ASIDE);
        make_if_absent(&aside)?;
        let procs = aside.join("cgroup.procs");
        write_file(&procs, &Pid::this().to_string()).map_err(failed("move this process to", &procs))?;
        write_file(&control, &word).map_err(failed(&format!("write {word} to"), &control))?;
    }
    Ok(())
}

/// The group and the leaf of a process in the cgroups of the run that this name tells from all others; `None`: it is in
/// none of them.
pub fn leaf_of(pid: Pid, name: &str) -> Option<(String, String)> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').nth(2)?.split('/').skip_while(|part| *part != name).skip(1);
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    })
}

/// The cgroups that a former run of the same name left behind.
#[derive(Debug)]
pub struct Former {
    folders: Vec<PathBuf>,
}

impl Former {
    /// What there is of the folders that were noted; others than of this name are not touched.
    pub fn of(folders: impl IntoIterator<Item = PathBuf>, name: &str) -> Self {
        let ours = |folder: &PathBuf| {
            folder.file_name().is_some_and(|last| last == name) && folder.join("cgroup.procs").exists()
        };
        Self { folders: folders.into_iter().filter(ours).collect() }
    }

    /// The folders.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The group of a process that lived on.
    pub fn cgroup_of(&self, pid: Pid, name: &str) -> Option<Cgroup> {
        let (kept, leaf) = leaf_of(pid, name)?;
        Some(self.cgroup(&kept, &leaf))
    }

    fn cgroup(&self, kept: &str, leaf: &str) -> Cgroup {
        let below = self.folders.iter().map(|folder| folder.join(kept).join(leaf));
        let (unified, legacy): (Vec<PathBuf>, Vec<PathBuf>) =
            below.filter(|folder| folder.exists()).partition(|folder| folder.join("cgroup.events").exists());
        let counts = |folder: &PathBuf| {
            let files = ["memory.oom_control", "memory.events"];
            files.iter().map(|file| folder.join(file)).find(|file| file.exists())
        };
        let memory_events = legacy.iter().chain(&unified).find_map(counts);
        Cgroup { unified: unified.into_iter().next(), legacy, memory_events }
    }

    /// Kills whatever is in the groups of others than those who are to `stay`, by group and leaf, waits until it is gone,
    /// and removes the groups. Says how many processes there were.
    pub fn clear(&self, stay: impl Fn(&str, &str) -> bool) -> usize {
        let mut killed = 0;
        for (kept, leaf) in self.leaves() {
            if !stay(&kept, &leaf) {
                let cgroup = self.cgroup(&kept, &leaf);
                killed += cgroup.members().len();
                cgroup.kill_and_wait(PATIENCE);
                cgroup.remove();
            }
        }
        for folder in &self.folders {
            for kept in [Kept::Kept, Kept::Daemon] {
                let _ = fs::remove_dir(folder.join(kept.name()));
            }
            let _ = fs::remove_dir(folder);
        }
        killed
    }

    fn leaves(&self) -> Vec<(String, String)> {
        let mut found = std::collections::BTreeSet::new();
        for folder in &self.folders {
            for kept in [Kept::Kept, Kept::Daemon] {
                let Ok(entries) = fs::read_dir(folder.join(kept.name())) else { continue };
                let groups =
                    entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
                found.extend(groups.filter_map(|entry| {
                    Some((kept.name().to_owned(), entry.file_name().into_string().ok()?))
                }));
            }
        }
        found.into_iter().collect()
    }
}
