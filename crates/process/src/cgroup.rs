//! Control groups: a group of processes that none of them leaves by forking, with ceilings on what all of it uses.
//!
//! ```text
//!   Cgroups::look ── what this machine lets us have ──► Home::plan ── a folder for the run
//!                                                          └─ Plot ── one launch's place, not made yet
//!                                                               └─ Spawn makes it, and the child is born into it ─► Cgroup
//! ```
//!
//! Version 2 (the unified hierarchy) keeps trees together: it kills a whole group in one step and tells when it is empty.
//! The controllers of memory, pids and cpu may belong to it, or each to a hierarchy of version 1, where machines are
//! set up so; the ceilings are the same on either.

mod home;
mod nest;

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Pid, access};

pub use home::{Former, Home, Kept, leaf_of};
pub use nest::{Cgroup, CgroupError, Plot, Vigil};

/// What a group of processes can be kept from using more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Memory, swap included.
    Memory,
    /// Processes and threads.
    Pids,
    /// Time on processors.
    Cpu,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// What the kernel calls its controller.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// What all processes of a group together may use; `None`: no ceiling of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ceilings {
    /// Bytes of memory, swap included. Who would exceed it is killed by the kernel.
    pub memory: Option<u64>,
    /// Processes and threads. Who would exceed it cannot fork.
    pub pids: Option<u64>,
    /// Processors kept busy: 0.5 is half of one.
    pub cpu: Option<f64>,
}

impl Ceilings {
    /// The resources that have one.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + use<> {
        let given = [self.memory.is_some(), self.pids.is_some(), self.cpu.is_some()];
        Resource::ALL.into_iter().zip(given).filter_map(|(resource, given)| given.then_some(resource))
    }
}

/// The cgroups that this process may make, as they are now.
#[derive(Debug, Clone)]
pub struct Cgroups {
    /// The folder in which groups that keep trees can be made; or why there is none.
    unified: Result<PathBuf, String>,
    /// Where each resource's ceilings can be set; or why not.
    controllers: [Result<Source, String>; 3],
}

/// The hierarchy that a controller belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Unified,
    /// Version 1, and the folder there in which groups can be made.
    Legacy(PathBuf),
}

impl Cgroups {
    /// Looks at what there is. Changes nothing.
    pub fn look() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(&mounts, &own)
    }

    fn of(mountinfo: &str, own: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let unified = unified(&mounts, own);
        let controllers =
            Resource::ALL.map(|resource| source(resource, &mounts, own, unified.as_deref().ok()));
        let unified = unified.and_then(|folder| {
            if is_ours(&folder) { Ok(folder) } else { Err(format!("{} is not writable", folder.display())) }
        });
        Self { unified, controllers }
    }

    /// The folder in which groups that keep trees can be made.
    ///
    /// # Errors
    ///
    /// Says why there is none, for people.
    pub fn unified(&self) -> Result<&Path, &str> {
        self.unified.as_deref().map_err(String::as_str)
    }

    /// Whether ceilings of a resource can be set, and by what: for people.
    ///
    /// # Errors
    ///
    /// Says why not, for people.
    pub fn controller(&self, resource: Resource) -> Result<String, &str> {
        match self.source(resource) {
            Ok(Source::Unified) => Ok("cgroup version 2".to_owned()),
            Ok(Source::Legacy(folder)) => Ok(format!("cgroup version 1, in {}", folder.display())),
            Err(why) => Err(why),
        }
    }

    pub(crate) fn source(&self, resource: Resource) -> Result<&Source, &str> {
        self.controllers[resource as usize].as_ref().map_err(String::as_str)
    }
}

/// One line of `/proc/PID/mountinfo`, as far as it is about cgroups.
struct Mount<'a> {
    /// What of the hierarchy is mounted.
    root: &'a str,
    place: &'a str,
    /// `None`: version 2; else the controllers, and more words.
    version_1: Option<&'a str>,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // Spaces in a path are written \040 here, and nobody mounts cgroups on such.
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, place) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        let options = right.nth(1)?;
        match kind {
            "cgroup2" => Some(Self { root, place, version_1: None }),
            "cgroup" => Some(Self { root, place, version_1: Some(options) }),
            _ => None,
        }
    }

    fn has(&self, controller: &str) -> bool {
        self.version_1.is_some_and(|options| options.split(',').any(|option| option == controller))
    }

    /// Where a group of this hierarchy shows, if this mount shows it.
    fn folder(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).ok()?;
        // A group outside of the namespace's root is told as `/../…`.
        let inside = !below.components().any(|part| part == std::path::Component::ParentDir);
        // Joining nothing would leave a slash at the end.
        inside.then(|| Path::new(self.place).components().chain(below.components()).collect())
    }
}

/// The own folder in the unified hierarchy, or why there is none.
fn unified(mounts: &[Mount<'_>], own: &str) -> Result<PathBuf, String> {
    let mount = mounts.iter().find(|mount| mount.version_1.is_none());
    let mount = mount.ok_or("cgroup version 2 is not mounted")?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::"));
    let folder = group.and_then(|group| mount.folder(group)).filter(|folder| folder.is_dir());
    folder.ok_or_else(|| format!("the own cgroup does not show in {}", mount.place))
}

fn source(
    resource: Resource,
    mounts: &[Mount<'_>],
    own: &str,
    unified: Option<&Path>,
) -> Result<Source, String> {
    let name = resource.name();
    let lists = |file: &str| {
        let text = unified.and_then(|folder| fs::read_to_string(folder.join(file)).ok()).unwrap_or_default();
        text.split_whitespace().any(|controller| controller == name)
    };
    if let Some(folder) = unified
        && lists("cgroup.controllers")
    {
        return if !is_ours(folder) {
            Err(format!("{} is not writable", folder.display()))
        } else if lists("cgroup.subtree_control") {
            Ok(Source::Unified)
        } else {
            may_enable(folder).map(|()| Source::Unified)
        };
    }
    let Some(mount) = mounts.iter().find(|mount| mount.has(name)) else {
        return Err(format!("no cgroup controller {name} is to be had here"));
    };
    let group = own.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|controller| controller == name).then_some(group)
    });
    let folder = group.and_then(|group| mount.folder(group)).filter(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| format!("the own cgroup does not show in {}", mount.place))?;
    if is_ours(&folder) {
        Ok(Source::Legacy(folder))
    } else {
        Err(format!("{} is not writable", folder.display()))
    }
}

/// Whether controllers can be enabled for groups in this one: it may have no processes of its own then, unless it is
/// the root. This process can move out of the way, others can not be made to.
fn may_enable(folder: &Path) -> Result<(), String> {
    let is_root = !folder.join("cgroup.type").exists();
    let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let me = Pid::this().as_raw().to_string();
    match procs.lines().find(|pid| *pid != me) {
        Some(pid) if !is_root => {
            Err(format!("{} has other processes (pid {pid}), so that it cannot be parted", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Whether groups can be made in a folder, and processes moved from it to those.
fn is_ours(folder: &Path) -> bool {
    let may_write = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    may_write(folder) && may_write(&folder.join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
30 25 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
31 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 25 0:29 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn a_hierarchy_is_found_by_its_controllers_and_shows_a_group_below_what_is_mounted() {
        let mounts: Vec<Mount<'_>> = HYBRID.lines().filter_map(Mount::parse).collect();
        assert_eq!(mounts.len(), 3);
        assert!(mounts[1].has("cpu") && mounts[1].has("cpuacct") && !mounts[1].has("memory"));
        let memory = &mounts[2];
        assert_eq!(memory.folder("/docker/abc/x").unwrap(), Path::new("/sys/fs/cgroup/memory/x"));
        assert_eq!(memory.folder("/docker/abc").unwrap(), Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(memory.folder("/elsewhere"), None);
        assert_eq!(mounts[0].folder("/../../other"), None);
    }

    #[test]
    fn where_nothing_is_mounted_nothing_is_offered_and_it_is_said_why() {
        let none = Cgroups::of("", "0::/\n");
        assert_eq!(none.unified().unwrap_err(), "cgroup version 2 is not mounted");
        for resource in Resource::ALL {
            let why = none.controller(resource).unwrap_err();
            assert_eq!(why, format!("no cgroup controller {} is to be had here", resource.name()));
        }
    }

    #[test]
    fn a_home_that_cannot_be_had_is_refused_with_the_reason() {
        let none = Cgroups::of("", "");
        let tree = Home::plan(&none, "supervisor-none", true, &[]).unwrap_err();
        assert_eq!(tree.what, "cgroup version 2 is not mounted");
        let memory = Home::plan(&none, "supervisor-none", false, &[Resource::Memory]).unwrap_err();
        assert_eq!(memory.what, "no cgroup controller memory is to be had here");
    }

    #[test]
    fn a_ceiling_names_its_resource() {
        let ceilings = Ceilings { memory: Some(1), cpu: Some(0.5), ..Ceilings::default() };
        assert_eq!(ceilings.resources().collect::<Vec<_>>(), [Resource::Memory, Resource::Cpu]);
    }
}
