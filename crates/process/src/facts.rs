//! What this machine offers: asked of the kernel, and of its version only where asking is not possible.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Pid, access};

use crate::descriptors::{has_close_range, pidfd_open};
use crate::peer::peer;
use crate::signal;
use crate::wait::{at_least, records_exits};

/// One thing that a kernel may or may not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its name, always the same.
    pub name: &'static str,
    /// Whether it is here.
    pub available: bool,
    /// What it is good for, or where it is, or why it is not.
    pub detail: String,
}

/// Asks for everything this room, or one above it, can make use of. Changes nothing.
///
/// ```
/// assert!(process::facts().iter().any(|fact| fact.name == "pidfd"));
/// ```
pub fn facts() -> Vec<Fact> {
    let fact = |name, available, detail: &str| Fact { name, available, detail: detail.to_owned() };
    let me = pidfd_open(Pid::this()).ok().flatten();
    let group_signal = me.as_ref().is_some_and(|me| signal::knows_groups(me.as_fd()));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let exit_record = me.as_ref().is_some_and(|me| records_exits(me.as_fd(), &release));
    let peer_pidfd = std::os::unix::net::UnixStream::pair()
        .and_then(|(ours, _theirs)| peer(&ours))
        .is_ok_and(|peer| peer.pidfd.is_some());
    let children = Path::new("/proc/thread-self/children").exists();
    vec![
        fact("kernel", true, release.trim_end()),
        fact("pidfd", me.is_some(), "processes are held by descriptor, never by a pid that may be reused"),
        fact(
            "pidfd group signal",
            group_signal,
            "a process group is signalled even after its leader was reaped",
        ),
        fact("pidfd exit record", exit_record, "the exit of a process that another one reaped is known"),
        fact("peer pidfd", peer_pidfd, "the caller at a socket is held by descriptor"),
        fact("close_range", has_close_range(), "a child leaves all descriptors behind in one step"),
        fact("subreaper", has_subreaper(), "orphaned descendants come back to the supervisor"),
        fact("proc children", children, "children are listed by /proc without a walk over all processes"),
        cgroup(),
        cgroup_kill(&release),
    ]
}

fn has_subreaper() -> bool {
    nix::sys::prctl::get_child_subreaper().is_ok()
}

/// The folder of this process's own cgroup, where version 2 is mounted.
pub fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_device, place, kind) = (words.next()?, words.next()?, words.next()?);
        // Spaces in a path are written \040 there, and nobody mounts cgroups on such.
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(path))
}

fn cgroup() -> Fact {
    let (available, detail) = match own_cgroup() {
        None => (false, "no cgroup version 2 is mounted".to_owned()),
        Some(folder) => {
            let writable = access(&folder.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
                && access(&folder, AccessFlags::W_OK).is_ok();
            let word = if writable { "writable" } else { "not writable" };
            (writable, format!("{} is {word}", folder.display()))
        }
    };
    Fact { name: "cgroup", available, detail }
}

fn cgroup_kill(kernel_release: &str) -> Fact {
    // The root has no such file of its own, so for those who are in it the version tells.
    let found = own_cgroup().is_some_and(|folder| {
        let is_root = !folder.join("cgroup.type").exists();
        folder.join("cgroup.kill").exists() || (is_root && at_least(kernel_release, (5, 14)))
    });
    let detail = if found {
        "a whole cgroup is killed in one step"
    } else {
        "Linux 5.14 and cgroup version 2 have it"
    };
    Fact { name: "cgroup.kill", available: found, detail: detail.to_owned() }
}
