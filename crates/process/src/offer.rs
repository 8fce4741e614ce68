//! Whether this machine lets this process give a program what it is to have: asked before anything is started, so that
//! it can be said where it was asked for.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::capability::{Capability, is_capable};
use crate::cgroup::{Ceilings, Cgroups};
use crate::limit::{Limit, LimitName};
use crate::priority::{IoPriority, Processors};
use crate::setup::original_nofile_limit;

/// Why something can not be given, for people: lower case, no full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What stands in the way.
    pub why: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Refused {
    fn new(why: impl Into<String>, hint: &'static str) -> Self {
        Self { why: why.into(), hint: Some(hint) }
    }
}

/// What this process may give to the programs it starts, as it was when first asked.
#[derive(Debug, Default)]
pub struct Offer {
    cgroups: OnceLock<Cgroups>,
}

impl Offer {
    /// Whether a program can be that nice.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn nice(&self, nice: i32) -> Result<(), Refused> {
        let own = own_nice();
        // 40 is niceness -20, 1 is 19.
        let allowed = Limit::own(LimitName::Nice).map_or(0, |limit| limit.soft);
        let least = 20 - i64::try_from(allowed).unwrap_or(40).min(40);
        if nice >= own || i64::from(nice) >= least || is_capable(Capability::SysNice) {
            return Ok(());
        }
        Err(Refused::new(
            format!("only root may make it less nice than the supervisor, which has {own}"),
            "run the supervisor as root, or raise its limit `ulimit -e`",
        ))
    }

    /// Whether a program can have this priority of input and output.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn io_priority(&self, priority: IoPriority) -> Result<(), Refused> {
        match priority {
            IoPriority::Realtime(_)
                if !(is_capable(Capability::SysNice) || is_capable(Capability::SysAdmin)) =>
            {
                Err(Refused::new(
                    "only root may give realtime input and output",
                    "\"best-effort:0\" comes next",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether the kernel can be told to kill a program that much sooner or later than others.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn oom_score_adj(&self, score: i32) -> Result<(), Refused> {
        let own = fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|own| own.trim().parse().ok());
        let own: i32 =
            own.ok_or_else(|| Refused { why: "/proc/self/oom_score_adj cannot be read".into(), hint: None })?;
        if score >= own || is_capable(Capability::SysResource) {
            return Ok(());
        }
        Err(Refused::new(
            format!("only root may make it less likely to be killed than the supervisor, which has {own}"),
            "run the supervisor as root, or ask for a higher number",
        ))
    }

    /// Whether a program can have this limit.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn limit(&self, wanted: Limit) -> Result<(), Refused> {
        if wanted.name == LimitName::Nofile
            && let Some(most) = number_in("/proc/sys/fs/nr_open")
            && wanted.hard > most
        {
            return Err(Refused::new(
                format!("this machine allows at most {most} open files"),
                "root can raise that: sysctl fs.nr_open",
            ));
        }
        let own = match (wanted.name, original_nofile_limit()) {
            (LimitName::Nofile, Some(original)) => Ok(original),
            (name, _) => Limit::own(name),
        };
        let own = own.map_err(|errno| Refused { why: errno.desc().to_owned(), hint: None })?;
        if wanted.hard <= own.hard || is_capable(Capability::SysResource) {
            return Ok(());
        }
        Err(Refused::new(
            format!("only root may raise a limit: the supervisor's own is {}", own.hard),
            "run the supervisor as root, or raise its own limit with `ulimit`",
        ))
    }

    /// Whether a program can run on these processors.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn processors(&self, wanted: &Processors) -> Result<(), Refused> {
        let possible = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        let online = ranges(possible.trim());
        if wanted.numbers().all(|number| online.is_empty() || online.contains(&number)) {
            return Ok(());
        }
        Err(Refused { why: format!("this machine has the processors {}", possible.trim()), hint: None })
    }

    /// Whether this process can listen at a port on its machine's own addresses.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn port(&self, port: u16) -> Result<(), Refused> {
        let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
        let first: u16 = first.and_then(|first| first.trim().parse().ok()).unwrap_or(1024);
        if port >= first || port == 0 || is_capable(Capability::NetBindService) {
            return Ok(());
        }
        let why = format!("only root may listen at ports below {first}");
        Err(Refused { why, hint: Some("run the supervisor as root, or choose a higher port") })
    }

    /// Whether a program can have folders mounted for it alone.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn mounts(&self) -> Result<(), Refused> {
        if is_capable(Capability::SysAdmin) && Path::new("/proc/self/ns/mnt").exists() {
            return Ok(());
        }
        Err(Refused::new(
            "only root may mount a folder at /tmp",
            "\"folder\" gives it a folder of its own, by TMPDIR",
        ))
    }

    /// Whether a tree can be kept together by a cgroup.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn trees(&self) -> Result<(), Refused> {
        self.cgroups().unified().map(drop).map_err(in_cgroups)
    }

    /// Whether trees can have all of these ceilings.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub fn ceilings(&self, wanted: &Ceilings) -> Result<(), Refused> {
        for resource in wanted.resources() {
            self.cgroups().controller(resource).map_err(in_cgroups)?;
        }
        Ok(())
    }

    /// The cgroups that can be made.
    pub fn cgroups(&self) -> &Cgroups {
        self.cgroups.get_or_init(Cgroups::look)
    }
}

fn in_cgroups(why: &str) -> Refused {
    Refused::new(
        why,
        "`supervisor doctor` tells what can be given; a service of systemd's needs Delegate=yes",
    )
}

fn own_nice() -> i32 {
    // An answer of -1 is a niceness too; of oneself it never fails.
    // SAFETY: integers only; 0 is this process.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

fn number_in(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The numbers in `0-3,5`, none where it is not of this form.
fn ranges(text: &str) -> Vec<u16> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u16>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_kernel_writes_them() {
        assert_eq!(ranges("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(ranges(""), [0; 0]);
    }

    #[test]
    fn what_asks_for_nothing_more_than_this_process_has_is_always_given() {
        let offer = Offer::default();
        assert_eq!(offer.nice(19), Ok(()));
        assert_eq!(offer.io_priority(IoPriority::Idle), Ok(()));
        assert_eq!(offer.oom_score_adj(1000), Ok(()));
        assert_eq!(offer.limit(Limit { name: LimitName::Core, soft: 0, hard: 0 }), Ok(()));
        assert_eq!(offer.ceilings(&Ceilings::default()), Ok(()));
        assert!(offer.processors(&Processors::of([8000])).is_err());
    }

    #[test]
    fn more_open_files_than_the_machine_allows_are_refused_to_everybody() {
        let wanted = Limit { name: LimitName::Nofile, soft: 1 << 40, hard: 1 << 40 };
        let refused = Offer::default().limit(wanted).unwrap_err();
        assert!(refused.why.starts_with("this machine allows at most "), "{}", refused.why);
    }
}
