//! Sending signals to processes and trees, by pid or by name, to nobody else than was meant.
//!
//! ```text
//!   hold by pidfd ─► is it of the run, or may it be foreign? ─► does it still live? ─► stop all ─► signal ─► go on
//!                                                                                          └── of a tree ──┘
//! ```
//!
//! Whoever still lives after the questions, and was held before them, had its pid all the time: what was asked was asked
//! of this very process.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use control::api::{ApiError, ErrorCode, Kill, KillOrder, Killed, Who};
use process::signal::Delivery;
use process::{Identity, Order, Pid, Snapshot, Stat};

use crate::asking::{Outcome, now};
use crate::owning::look;
use crate::the_loop::Loop;
use crate::waiting::{Held, Tree, Until};

/// Those whom somebody named, each held.
struct Named {
    held: Vec<(Identity, Held)>,
    /// With a tree: orphans that belong to it too.
    orphans: Vec<Identity>,
}

impl Named {
    fn roots(&self) -> Vec<Identity> {
        self.held.iter().map(|(identity, _)| *identity).chain(self.orphans.iter().copied()).collect()
    }
}

impl Loop {
    /// Sends a signal to a process or to all instances of a worker; `caller` asked for it, and is let alone where it is
    /// only one of a tree.
    pub(crate) fn kill(&mut self, kill: &Kill, caller: i32) -> Result<Outcome, ApiError> {
        if !process::signal::is_valid(kill.signal) {
            return Err(ApiError::new(ErrorCode::Usage, format!("there is no signal {}", kill.signal)));
        }
        let mut named = match &kill.whom {
            Who::Worker(name) => self.living_leaders(name)?,
            Who::Pid(pid) => Named { held: vec![self.permitted(*pid, kill.foreign)?], orphans: vec![] },
        };
        if kill.tree {
            let snapshot = look()?;
            let leaders: Vec<Pid> = named.held.iter().map(|(identity, _)| identity.pid).collect();
            for leader in leaders {
                if let Some(process) = self.processes.led_by(leader.as_raw()) {
                    let all = self.tree_of(process, &snapshot);
                    let stats = all.into_iter().filter_map(|pid| snapshot.get(pid));
                    named.orphans.extend(stats.map(Identity::from).filter(|found| found.pid != leader));
                }
            }
            if snapshot.family(&named.roots()).contains(&Pid::this()) {
                return Err(ApiError::new(ErrorCode::Refused, "the supervisor itself is in that tree")
                    .hint("`supervisor shutdown` stops it"));
            }
        }
        if kill.dry_run {
            return self.would_get(kill, &named, caller).map(now);
        }
        let roots = named.roots();
        let (answer, living) = if kill.tree {
            strike_tree(kill, &roots, caller)?
        } else {
            (strike(kill.signal, &named)?, named.held.into_iter().map(|(_, held)| held).collect())
        };
        if !kill.wait && kill.grace_ms.is_none() {
            return Ok(now(answer));
        }
        for held in &living {
            // When it is gone already there is nothing to watch, and nothing to wait for.
            let _ = self.watch_other(held.pid);
        }
        let now = self.clock.now();
        let kill_at = kill.grace_ms.map(|grace| now + Duration::from_millis(grace));
        let deadline = kill.timeout_ms.map(|timeout| now + Duration::from_millis(timeout));
        let tree = kill.tree.then_some(Tree { roots, caller });
        Ok(Outcome::When(Until::Killed { living, answer, kill_at, tree, kills: false }, deadline))
    }

    /// Who of these would get the signal, in the order in which they would.
    fn would_get(&self, kill: &Kill, named: &Named, caller: i32) -> Result<Killed, ApiError> {
        let snapshot = look()?;
        let roots = named.roots();
        let pids = if kill.tree {
            snapshot.in_order(members(&snapshot, &roots, caller), order(kill.order))
        } else {
            roots.iter().map(|root| root.pid).collect()
        };
        let stats = pids.iter().filter_map(|pid| snapshot.get(*pid));
        let row = |stat: &Stat| self.process_row(stat, self.launch_of(stat.pid.as_raw()), 0);
        let processes: Vec<_> = stats.map(row).collect();
        let pids = processes.iter().map(|row| row.pid).collect();
        Ok(Killed { pids, signal: kill.signal, refused: vec![], processes })
    }

    fn living_leaders(&self, name: &str) -> Result<Named, ApiError> {
        let ids = self.instances_of(&[name.to_owned()])?;
        let living = ids.iter().filter_map(|id| self.processes.of_instance(*id));
        let pids: Vec<Pid> =
            living.filter(|(_, tree)| tree.ended.is_none()).map(|(_, tree)| tree.pid).collect();
        // Leaders are not reaped before the loop has heard of their end, so the pids are still theirs.
        let held: Vec<_> = pids.into_iter().filter_map(|pid| hold(pid.as_raw())).collect();
        if held.is_empty() {
            return Err(ApiError::new(ErrorCode::NotFound, format!("nothing of {name} is running"))
                .hint("`supervisor status` tells why"));
        }
        Ok(Named { held, orphans: vec![] })
    }

    /// Holds a process, if it may be signalled on somebody's behalf.
    fn permitted(&self, pid: i32, foreign: bool) -> Result<(Identity, Held), ApiError> {
        let refused = |why: String| ApiError::new(ErrorCode::Refused, why);
        if pid <= 0 {
            return Err(ApiError::new(ErrorCode::Usage, format!("{pid} is no pid")));
        }
        if pid == 1 {
            return Err(refused("process 1 is never signalled".to_owned()));
        }
        if pid == Pid::this().as_raw() {
            return Err(refused(format!("process {pid} is the supervisor itself"))
                .hint("`supervisor shutdown` stops it"));
        }
        let gone = || ApiError::new(ErrorCode::NotFound, format!("there is no process {pid}"));
        // Held first: what is asked below is asked of whoever is held.
        let (identity, held) = hold(pid).ok_or_else(gone)?;
        let stat = Stat::of(Pid::from_raw(pid)).ok().flatten();
        let stat = stat.filter(|stat| !stat.is_zombie()).ok_or_else(gone)?;
        if stat.is_kernel_thread() {
            return Err(refused(format!("process {pid} is a kernel thread")));
        }
        if self.guard.as_ref().and_then(|guard| guard.pid).map(Pid::as_raw) == Some(pid) {
            return Err(refused(format!("process {pid} is a part of the supervisor")));
        }
        let is_ours = self.owner_of(pid).is_some();
        if process::is_dead(held.pidfd.as_fd()) {
            return Err(gone());
        }
        if !is_ours && !foreign {
            return Err(refused(format!("process {pid} ({}) is not of this run", stat.comm))
                .hint("`supervisor ps` lists the run's processes; --foreign signals others too"));
        }
        Ok((identity, held))
    }

    /// Sees to a tree of which all that were known are gone: whoever was born meanwhile is watched, or killed where the
    /// time has come. Says whether nobody is left.
    pub(crate) fn tree_is_gone(&mut self, tree: &Tree, kills: bool, living: &mut Vec<Held>) -> bool {
        if kills && kill_tree(tree).is_err() {
            return true;
        }
        let Ok(snapshot) = Snapshot::take() else { return true };
        for pid in members(&snapshot, &tree.roots, tree.caller) {
            // One that is gone by now, or cannot be watched, is not waited for.
            if let Some((_, held)) = hold(pid.as_raw())
                && self.watch_other(held.pid).is_some()
            {
                living.push(held);
            }
        }
        living.is_empty()
    }
}

/// Kills all of a tree, standing still, but for the one who asked for it.
pub(crate) fn kill_tree(tree: &Tree) -> std::io::Result<()> {
    process::freeze_and_kill(&tree.roots, |pid| spares(&tree.roots, tree.caller, pid)).map(drop)
}

fn strike(signal: i32, named: &Named) -> Result<Killed, ApiError> {
    let mut killed = Killed { signal, ..Killed::default() };
    for (identity, held) in &named.held {
        match process::signal::send(held.pidfd.as_fd(), signal) {
            Ok(Delivery::Sent) => killed.pids.push(identity.pid.as_raw()),
            Ok(Delivery::Gone) => {}
            Err(error) => {
                let message = format!("process {} cannot be signalled: {}", identity.pid, error.desc());
                return Err(ApiError::new(ErrorCode::Refused, message));
            }
        }
    }
    reached_somebody(killed)
}

fn strike_tree(kill: &Kill, roots: &[Identity], caller: i32) -> Result<(Killed, Vec<Held>), ApiError> {
    let spare = |pid| spares(roots, caller, pid);
    let struck = process::freeze_and_signal(roots, spare, kill.signal, order(kill.order))
        .map_err(|error| ApiError::new(ErrorCode::Failed, format!("/proc cannot be read: {error}")))?;
    if struck.reached.is_empty() && !struck.refused.is_empty() {
        return Err(ApiError::new(ErrorCode::Refused, "none of the tree may be signalled"));
    }
    let living = struck.reached.iter().filter_map(|identity| {
        let pidfd = identity.hold().ok().flatten()?;
        Some(Held { pid: identity.pid.as_raw(), pidfd })
    });
    let living = living.collect();
    let answer = reached_somebody(Killed {
        pids: struck.reached.iter().map(|identity| identity.pid.as_raw()).collect(),
        signal: kill.signal,
        refused: struck.refused.into_iter().map(Pid::as_raw).collect(),
        processes: vec![],
    })?;
    Ok((answer, living))
}

fn reached_somebody(killed: Killed) -> Result<Killed, ApiError> {
    if killed.pids.is_empty() {
        return Err(ApiError::new(ErrorCode::NotFound, "it is gone already"));
    }
    Ok(killed)
}

/// Whether a process of a tree is let alone: the one who asked, unless it named itself.
fn spares(roots: &[Identity], caller: i32, pid: Pid) -> bool {
    pid.as_raw() == caller && roots.first().is_none_or(|root| root.pid != pid)
}

/// Who of a tree lives and is not let alone.
fn members(snapshot: &Snapshot, roots: &[Identity], caller: i32) -> BTreeSet<Pid> {
    let mut all = snapshot.family(roots);
    all.retain(|pid| {
        let lives = snapshot.get(*pid).is_some_and(|stat| !stat.is_zombie() && !stat.is_kernel_thread());
        lives && pid.as_raw() > 1 && *pid != Pid::this() && !spares(roots, caller, *pid)
    });
    all
}

fn order(order: KillOrder) -> Order {
    match order {
        KillOrder::LeavesFirst => Order::LeavesFirst,
        KillOrder::RootFirst => Order::RootFirst,
    }
}

fn hold(pid: i32) -> Option<(Identity, Held)> {
    let identity = Identity::of(Pid::from_raw(pid)).ok()??;
    let pidfd = identity.hold().ok()??;
    Some((identity, Held { pid, pidfd }))
}
