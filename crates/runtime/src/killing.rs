//! Whose a process is, and killing it by pid or by name, safely.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use control::api::{ApiError, ErrorCode, Killed, ProcessRow, Who};
use process::signal::Delivery;
use process::{Identity, Pid, Snapshot, Stat};
use std::os::fd::AsFd;
use supervision::Process;

use crate::asking::{Outcome, hold, now};
use crate::processes::{Kinship, Tree};
use crate::the_loop::Loop;
use crate::waiting::{Held, Until};

/// How far up a chain of parents is followed: pids are few, and a chain that changes while it is read must end.
const GENERATIONS_AT_MOST: usize = 4096;

/// Whom a pid of the run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The tree of a launch.
    Launch(Process),
    /// The run, but no launch that can be named.
    Run,
}

impl Loop {
    /// Whom `pid` belongs to. `None`: it is not of this run, or there is none.
    pub(crate) fn owner_of(&self, pid: i32) -> Option<Owner> {
        let me = Pid::this();
        let mut at = Pid::from_raw(pid);
        for _ in 0..GENERATIONS_AT_MOST {
            if let Some(process) = self.processes.led_by(at.as_raw()) {
                return Some(Owner::Launch(process));
            }
            if let Some(attendant) = self.processes.attendant(at.as_raw()) {
                return Some(Owner::Launch(attendant.process));
            }
            if let Some((_, owner)) = self.processes.orphans().get(&at.as_raw()) {
                return Some(owner.map_or(Owner::Run, Owner::Launch));
            }
            let stat = Stat::of(at).ok()??;
            if stat.ppid == me {
                let mark = crate::sweeping::mark_of(at, self.marks(&self.folder.socket()));
                return Some(mark.map_or(Owner::Run, |mark| Owner::Launch(mark.process)));
            }
            if stat.ppid.as_raw() <= 1 {
                return self.taken_back_owner(Pid::from_raw(pid)).map(Owner::Launch);
            }
            at = stat.ppid;
        }
        None
    }

    /// The launch of a tree that was taken back, whose mark a process bears: what escaped from such a tree is somebody
    /// else's child, and nothing else says whose it is.
    fn taken_back_owner(&self, pid: Pid) -> Option<Process> {
        let socket = self.folder.socket();
        let process = crate::sweeping::mark_of(pid, self.marks(&socket))?.process;
        self.processes.get(process).filter(|tree| tree.is_taken_back()).map(|_| process)
    }

    /// The launch whose tree `pid` is in.
    pub(crate) fn launch_of(&self, pid: i32) -> Option<Process> {
        match self.owner_of(pid)? {
            Owner::Launch(process) => Some(process),
            Owner::Run => None,
        }
    }

    /// The parent of a leader: this process, unless it was taken back.
    pub(crate) fn parent_of(&self, tree: &Tree) -> Option<i32> {
        match tree.kinship {
            Kinship::Child => Some(Pid::this().as_raw()),
            Kinship::TakenBack => Some(Stat::of(tree.pid).ok()??.ppid.as_raw()),
        }
    }

    /// The run's processes, the supervisor first, then tree by tree in the order of the file.
    pub(crate) fn process_rows(&self) -> Result<Vec<ProcessRow>, ApiError> {
        let snapshot = look()?;
        let me = Pid::this();
        let own = snapshot.get(me);
        let mut rows = vec![ProcessRow {
            pid: me.as_raw(),
            ppid: own.map_or(0, |stat| stat.ppid.as_raw()),
            worker: None,
            instance: None,
            launch: None,
            depth: 0,
            command: process::cmdline(me),
        }];
        let mut trees: Vec<(Process, &Tree)> = self.processes.iter().collect();
        trees.sort_by_key(|(process, _)| *process);
        for (process, tree) in trees {
            if tree.ended.is_none() {
                self.rows_below(tree.pid, Some(process), 1, &snapshot, &mut rows);
            }
            for (pid, (_, owner)) in self.processes.orphans() {
                if *owner == Some(process) {
                    self.rows_below(Pid::from_raw(*pid), Some(process), 1, &snapshot, &mut rows);
                }
            }
        }
        for attendant in self.processes.attendants() {
            self.rows_below(attendant.pid, Some(attendant.process), 1, &snapshot, &mut rows);
        }
        // Orphans that were not met yet, or that belong to nobody.
        let mut listed: BTreeSet<i32> = rows.iter().map(|row| row.pid).collect();
        // The guard is a part of the supervisor.
        listed.extend(self.guard.as_ref().and_then(|guard| guard.pid).map(Pid::as_raw));
        let strays: Vec<Pid> =
            snapshot.children(me).iter().copied().filter(|pid| !listed.contains(&pid.as_raw())).collect();
        for pid in strays {
            self.rows_below(pid, self.launch_of(pid.as_raw()), 1, &snapshot, &mut rows);
        }
        for (pid, process) in self.escaped_from_taken_back(&snapshot) {
            self.rows_below(pid, Some(process), 1, &snapshot, &mut rows);
        }
        Ok(rows)
    }

    /// What escaped from trees that were taken back, and whose it is. The topmost ones, of which the others are descendants.
    pub(crate) fn escaped_from_taken_back(&self, snapshot: &Snapshot) -> Vec<(Pid, Process)> {
        let leaders: Vec<Pid> = self
            .processes
            .iter()
            .filter(|(_, tree)| tree.is_taken_back())
            .map(|(_, tree)| tree.pid)
            .collect();
        if leaders.is_empty() {
            return Vec::new();
        }
        let below: BTreeSet<Pid> =
            leaders.iter().flat_map(|leader| snapshot.subtree(*leader)).map(|(_, stat)| stat.pid).collect();
        let others = snapshot.iter().filter(|stat| !stat.is_zombie() && !below.contains(&stat.pid));
        let found: BTreeMap<Pid, Process> =
            others.filter_map(|stat| Some((stat.pid, self.taken_back_owner(stat.pid)?))).collect();
        let is_topmost = |pid: &Pid| snapshot.parent(*pid).is_none_or(|parent| !found.contains_key(&parent));
        found.iter().filter(|(pid, _)| is_topmost(pid)).map(|(pid, process)| (*pid, *process)).collect()
    }

    fn rows_below(
        &self,
        pid: Pid,
        process: Option<Process>,
        depth: u32,
        snapshot: &Snapshot,
        rows: &mut Vec<ProcessRow>,
    ) {
        let Some(stat) = snapshot.get(pid) else { return };
        rows.push(ProcessRow {
            pid: pid.as_raw(),
            ppid: stat.ppid.as_raw(),
            worker: process.map(|process| self.roster.name(process.instance.worker).to_owned()),
            instance: process.map(|process| process.instance.index),
            launch: process.map(|process| process.launch.0),
            depth,
            command: process::cmdline(pid),
        });
        if depth < 512 {
            for child in snapshot.children(pid) {
                self.rows_below(*child, process, depth + 1, snapshot, rows);
            }
        }
    }

    /// Sends a signal to a process or to all instances of a worker.
    pub(crate) fn kill(
        &mut self,
        whom: &Who,
        signal: i32,
        tree: bool,
        grace: Option<Duration>,
        foreign: bool,
    ) -> Result<Outcome, ApiError> {
        if !process::signal::is_valid(signal) {
            return Err(ApiError::new(ErrorCode::Usage, format!("there is no signal {signal}")));
        }
        let leaders = match whom {
            Who::Worker(name) => self.living_leaders(name)?,
            Who::Pid(pid) => vec![self.permitted(*pid, foreign)?],
        };
        let mut pids: Vec<Pid> = Vec::new();
        if tree {
            let snapshot = look()?;
            for leader in &leaders {
                let members = match self.processes.led_by(leader.as_raw()) {
                    Some(process) => self.tree_of(process, &snapshot),
                    None => std::iter::once(*leader).chain(snapshot.descendants(*leader)).collect(),
                };
                // Leaves first, so that nobody can start a new one in place of a dead one.
                pids.extend(members.into_iter().rev());
            }
        } else {
            pids.extend(&leaders);
        }
        let held = if tree && signal == libc::SIGKILL { kill_at_once(&pids)? } else { send(&pids, signal)? };
        if held.is_empty() {
            return Err(ApiError::new(ErrorCode::NotFound, "it is gone already"));
        }
        let answer = Killed { pids: held.iter().map(|held| held.pid).collect(), signal };
        let Some(grace) = grace else { return Ok(now(answer)) };
        for held in &held {
            // When it is gone already there is nothing to watch, and nothing to wait for.
            let _ = self.watch_other(held.pid);
        }
        let kill_at = Some(self.clock.now() + grace);
        Ok(Outcome::When(Until::Killed { living: held, answer, kill_at }, None))
    }

    fn living_leaders(&self, name: &str) -> Result<Vec<Pid>, ApiError> {
        let ids = self.instances_of(&[name.to_owned()])?;
        let living = ids.iter().filter_map(|id| self.processes.of_instance(*id));
        let leaders: Vec<Pid> =
            living.filter(|(_, tree)| tree.ended.is_none()).map(|(_, tree)| tree.pid).collect();
        if leaders.is_empty() {
            return Err(ApiError::new(ErrorCode::NotFound, format!("nothing of {name} is running"))
                .hint("`supervisor status` tells why"));
        }
        Ok(leaders)
    }

    /// Whether a pid may be signalled on somebody's behalf.
    fn permitted(&self, pid: i32, foreign: bool) -> Result<Pid, ApiError> {
        let refused = |why: String| ApiError::new(ErrorCode::Refused, why);
        let me = Pid::this();
        if pid <= 0 {
            return Err(ApiError::new(ErrorCode::Usage, format!("{pid} is no pid")));
        }
        if pid == 1 {
            return Err(refused("process 1 is never signalled".to_owned()));
        }
        if pid == me.as_raw() {
            return Err(refused(format!("process {pid} is the supervisor itself"))
                .hint("`supervisor shutdown` stops it"));
        }
        let stat = Stat::of(Pid::from_raw(pid)).ok().flatten();
        let Some(stat) = stat.filter(|stat| !stat.is_zombie()) else {
            return Err(ApiError::new(ErrorCode::NotFound, format!("there is no process {pid}")));
        };
        if stat.is_kernel_thread() {
            return Err(refused(format!("process {pid} is a kernel thread")));
        }
        if self.owner_of(pid).is_none() && !foreign {
            return Err(refused(format!("process {pid} ({}) is not of this run", stat.comm))
                .hint("`supervisor ps` lists the run's processes; --foreign signals others too"));
        }
        Ok(Pid::from_raw(pid))
    }
}

/// Sends a signal to these, in this order. Says who got it.
fn send(pids: &[Pid], signal: i32) -> Result<Vec<Held>, ApiError> {
    let mut held: Vec<Held> = Vec::new();
    for pid in pids {
        let Some(pidfd) = hold(pid.as_raw()) else { continue };
        match process::signal::send(pidfd.as_fd(), signal) {
            Ok(Delivery::Sent) => held.push(Held { pid: pid.as_raw(), pidfd }),
            Ok(Delivery::Gone) => {}
            Err(error) => {
                let message = format!("process {pid} cannot be signalled: {}", error.desc());
                return Err(ApiError::new(ErrorCode::Refused, message));
            }
        }
    }
    Ok(held)
}

/// Kills these and all below them, standing still: nobody sees another one die, acts on it, and ends otherwise or
/// starts a new one. Says who got the KILL.
fn kill_at_once(pids: &[Pid]) -> Result<Vec<Held>, ApiError> {
    let roots: Vec<Identity> = pids.iter().filter_map(|pid| Identity::of(*pid).ok().flatten()).collect();
    let held: Vec<Held> = pids
        .iter()
        .filter_map(|pid| hold(pid.as_raw()).map(|pidfd| Held { pid: pid.as_raw(), pidfd }))
        .collect();
    let killed = process::freeze_and_kill(&roots, |_| false)
        .map_err(|error| ApiError::new(ErrorCode::Failed, format!("/proc cannot be read: {error}")))?;
    if killed.pids.is_empty() && held.iter().any(|held| !process::is_dead(held.pidfd.as_fd())) {
        return Err(ApiError::new(ErrorCode::Refused, "none of the tree may be signalled"));
    }
    Ok(held.into_iter().filter(|held| killed.pids.contains(&Pid::from_raw(held.pid))).collect())
}

/// A look at all processes.
fn look() -> Result<Snapshot, ApiError> {
    Snapshot::take()
        .map_err(|error| ApiError::new(ErrorCode::Failed, format!("/proc cannot be read: {error}")))
}
