//! What this machine offers: asked of the kernel, and of its version only where asking is not possible.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use nix::unistd::Pid;

use crate::capability::{Capability, is_capable};
use crate::cgroup::{Cgroups, Resource};
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
    let cgroups = Cgroups::look();
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
        trees(&cgroups),
        cgroup_kill(&cgroups, &release),
        limit(&cgroups, Resource::Memory),
        limit(&cgroups, Resource::Pids),
        limit(&cgroups, Resource::Cpu),
        right(
            "other users",
            Capability::SetUid,
            "workers can run as any user",
            "workers run as this user only",
        ),
        right(
            "urgency",
            Capability::SysNice,
            "workers can be given a niceness below this process's own, and realtime input and output",
            "workers can be no less nice than this process",
        ),
        right(
            "raised limits",
            Capability::SysResource,
            "limits of processes can be raised, and oom_score_adj lowered",
            "limits of processes can only be lowered, and oom_score_adj raised",
        ),
        right(
            "mounts",
            Capability::SysAdmin,
            "workers can have a /tmp of their own",
            "workers can have a temporary folder of their own, but no /tmp",
        ),
    ]
}

fn has_subreaper() -> bool {
    nix::sys::prctl::get_child_subreaper().is_ok()
}

fn trees(cgroups: &Cgroups) -> Fact {
    let (available, detail) = match cgroups.unified() {
        Ok(folder) => (true, format!("a tree can be kept together in {}", folder.display())),
        Err(why) => (false, why.to_owned()),
    };
    Fact { name: "cgroup", available, detail }
}

fn limit(cgroups: &Cgroups, resource: Resource) -> Fact {
    let (name, what) = match resource {
        Resource::Memory => ("limit memory", "the memory of a whole tree"),
        Resource::Pids => ("limit pids", "the processes of a whole tree"),
        Resource::Cpu => ("limit cpu", "the processor time of a whole tree"),
    };
    let (available, detail) = match cgroups.controller(resource) {
        Ok(how) => (true, format!("{what}, by {how}")),
        Err(why) => (false, why.to_owned()),
    };
    Fact { name, available, detail }
}

fn right(name: &'static str, right: Capability, with: &str, without: &str) -> Fact {
    let available = is_capable(right);
    Fact { name, available, detail: if available { with } else { without }.to_owned() }
}

fn cgroup_kill(cgroups: &Cgroups, kernel_release: &str) -> Fact {
    // The root has no such file of its own, so for those who are in it the version tells.
    let found = cgroups.unified().is_ok_and(|folder| {
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
