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
    /// Hierarchies of version 1, each by what it limits.
    legacy: Vec<(Resource, PathBuf)>,
}

impl Home {
    /// Makes the folders of the run that this name tells from all others: in the unified hierarchy if trees are to be
    /// kept there, and wherever the ceilings of these resources are set.
    ///
    /// # Errors
    ///
    /// When this machine has not what is asked for; nothing is left of the attempt but what was there.
    pub fn make(
        offer: &Cgroups,
        name: &str,
        trees: bool,
        resources: &[Resource],
    ) -> Result<Self, CgroupError> {
        let refused = |why: &str| CgroupError { what: why.to_owned(), errno: nix::errno::Errno::EOPNOTSUPP };
        let mut home = Self { name: name.to_owned(), unified: None, legacy: Vec::new() };
        let mut controllers = Vec::new();
        for resource in resources {
            match offer.source(*resource).map_err(refused)? {
                Source::Unified => controllers.push(*resource),
                Source::Legacy(folder) => home.legacy.push((*resource, folder.join(name))),
            }
        }
        // Where a ceiling needs a group anyway, a tree is kept by one if it can be.
        if trees || !controllers.is_empty() || (offer.unified().is_ok() && !resources.is_empty()) {
            let own = offer.unified().map_err(refused)?;
            enable(own, &controllers)?;
            home.unified = Some(own.join(name));
        }
        for folder in home.folders() {
            make_all(folder)?;
            for kept in [Kept::Kept, Kept::Daemon] {
                if Some(folder) == home.unified.as_deref() {
                    enable(folder, &controllers)?;
                }
                make_all(&folder.join(kept.name()))?;
                if Some(folder) == home.unified.as_deref() {
                    enable(&folder.join(kept.name()), &controllers)?;
                }
            }
        }
        Ok(home)
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

    /// The place of a launch that is called `leaf`, with these ceilings, of resources that the home was made for.
    pub fn plot(&self, kept: Kept, leaf: &str, ceilings: Ceilings) -> Plot {
        let below = |folder: &Path| folder.join(kept.name()).join(leaf);
        let resources: Vec<Resource> = ceilings.resources().collect();
        let needed = self.legacy.iter().filter(|(resource, _)| resources.contains(resource));
        Plot {
            unified: self.unified.as_deref().map(below),
            legacy: needed.map(|(resource, folder)| (*resource, below(folder))).collect(),
            ceilings,
        }
    }

    /// Removes the folders, as far as nothing lives in them.
    pub fn remove(&self) {
        for folder in self.folders() {
            remove_below(folder);
        }
    }
}

fn make_all(folder: &Path) -> Result<(), CgroupError> {
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
        make_all(&aside)?;
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
                let groups = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
                found.extend(groups.filter_map(|entry| {
                    Some((kept.name().to_owned(), entry.file_name().into_string().ok()?))
                }));
            }
        }
        found.into_iter().collect()
    }
}
