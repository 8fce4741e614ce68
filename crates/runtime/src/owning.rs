//! Whose a process is, and the tree of the run's processes.

use std::collections::{BTreeMap, BTreeSet};

use control::api::{ApiError, ErrorCode, ProcessRow};
use process::{Pid, Snapshot, Stat, TICKS_A_SECOND, ticks_since_boot};
use supervision::Process;

use crate::processes::{Adopted, Kinship, Tree};
use crate::the_loop::Loop;

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

    /// The launch of a tree that was taken back, or of what a former run left behind, whose mark a process bears: what escaped
    /// from such a tree is somebody else's child, and nothing else says whose it is.
    fn taken_back_owner(&self, pid: Pid) -> Option<Process> {
        let socket = self.folder.socket();
        let process = crate::sweeping::mark_of(pid, self.marks(&socket))?.process;
        let is_taken_back = self.processes.get(process).is_some_and(Tree::is_taken_back);
        let is_foreign = |(adopted, left): (Process, &Adopted)| adopted == process && left.foreign;
        (is_taken_back || self.processes.adopted().any(is_foreign)).then_some(process)
    }

    /// What escaped from trees that were taken back, and whose it is. The topmost ones, of which the others are
    /// descendants.
    pub(crate) fn escaped_from_taken_back(&self, snapshot: &Snapshot) -> Vec<(Pid, Process)> {
        let leaders: Vec<Pid> = self
            .processes
            .iter()
            .filter(|(_, tree)| tree.is_taken_back())
            .map(|(_, tree)| tree.pid)
            .collect();
        if leaders.is_empty() && !self.processes.adopted().any(|(_, left)| left.foreign) {
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
            Kinship::TakenBack | Kinship::Appointed => Some(Stat::of(tree.pid).ok()??.ppid.as_raw()),
        }
    }

    /// The run's processes, the supervisor first, then tree by tree in the order of the file.
    pub(crate) fn process_rows(&self) -> Result<Vec<ProcessRow>, ApiError> {
        let snapshot = look()?;
        let me = Pid::this();
        let mut rows: Vec<ProcessRow> = Vec::new();
        if let Some(own) = snapshot.get(me) {
            rows.push(self.process_row(own, None, 0));
        }
        let mut trees: Vec<(Process, &Tree)> = self.processes.iter().collect();
        trees.sort_by_key(|(process, _)| *process);
        for (process, tree) in trees {
            if tree.ended.is_none() {
                self.rows_below(tree.pid, Some(process), &snapshot, &mut rows);
            }
            for (pid, (_, owner)) in self.processes.orphans() {
                if *owner == Some(process) {
                    self.rows_below(Pid::from_raw(*pid), Some(process), &snapshot, &mut rows);
                }
            }
        }
        for attendant in self.processes.attendants() {
            self.rows_below(attendant.pid, Some(attendant.process), &snapshot, &mut rows);
        }
        // Orphans that were not met yet, or that belong to nobody.
        let mut listed: BTreeSet<i32> = rows.iter().map(|row| row.pid).collect();
        // The guard is a part of the supervisor.
        listed.extend(self.guard.as_ref().and_then(|guard| guard.pid).map(Pid::as_raw));
        let strays: Vec<Pid> =
            snapshot.children(me).iter().copied().filter(|pid| !listed.contains(&pid.as_raw())).collect();
        for pid in strays {
            self.rows_below(pid, self.launch_of(pid.as_raw()), &snapshot, &mut rows);
        }
        for (pid, process) in self.escaped_from_taken_back(&snapshot) {
            if !listed.contains(&pid.as_raw()) {
                self.rows_below(pid, Some(process), &snapshot, &mut rows);
            }
        }
        Ok(rows)
    }

    fn rows_below(
        &self,
        root: Pid,
        process: Option<Process>,
        snapshot: &Snapshot,
        rows: &mut Vec<ProcessRow>,
    ) {
        for (depth, stat) in snapshot.subtree(root) {
            let depth = u32::try_from(depth).unwrap_or(u32::MAX).saturating_add(1);
            rows.push(self.process_row(stat, process, depth));
        }
    }

    /// What is told of one process.
    pub(crate) fn process_row(&self, stat: &Stat, process: Option<Process>, depth: u32) -> ProcessRow {
        let seconds = |ticks: u64| ticks as f64 / TICKS_A_SECOND as f64;
        ProcessRow {
            pid: stat.pid.as_raw(),
            ppid: stat.ppid.as_raw(),
            worker: process.map(|process| self.roster.name(process.instance.worker).to_owned()),
            instance: process.map(|process| process.instance.index),
            launch: process.map(|process| process.launch.0),
            depth,
            command: process::cmdline(stat.pid),
            state: stat.state.to_string(),
            age_s: seconds(ticks_since_boot().saturating_sub(stat.start_time)),
            cpu_s: seconds(stat.cpu_time),
            memory_bytes: stat.resident,
            threads: stat.threads,
        }
    }
}

/// A look at all processes.
pub(crate) fn look() -> Result<Snapshot, ApiError> {
    Snapshot::take()
        .map_err(|error| ApiError::new(ErrorCode::Failed, format!("/proc cannot be read: {error}")))
}
