//! Whom a stop waits for: said on standard error when the stop of the run takes long, and wherever an instance that stops
//! is shown.

use std::os::fd::AsFd;
use std::time::Duration;

use process::{Pid, Snapshot, Stat};
use supervision::{Instance, InstanceId, Moment, Phase, Process};

use super::Loop;
use crate::processes::Tree;
use crate::talk;

/// When a stop has taken this long, people are told whom it waits for; then after twice as long, and so on.
const LONG: Duration = Duration::from_secs(2);
/// The longest time between two words about it.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// So many instances are named at most.
const INSTANCES_AT_MOST: usize = 10;
/// So many processes of an instance are named at most.
const PROCESSES_AT_MOST: usize = 3;

/// When people are told next, and after how long that is.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    at: Moment,
    after: Duration,
}

impl Loop {
    /// When people are to be told whom the run's stop waits for.
    pub(super) fn next_telling(&mut self) -> Option<Moment> {
        if !self.core.is_stopping() {
            return None;
        }
        let telling =
            *self.telling.get_or_insert_with(|| Telling { at: self.clock.now() + LONG, after: LONG });
        Some(telling.at)
    }

    /// Tells people whom the run's stop waits for, if it is time.
    pub(super) fn tell_whom_it_waits_for(&mut self) {
        let now = self.clock.now();
        let Some(telling) = self.telling.filter(|telling| telling.at <= now) else { return };
        let after = (telling.after * 2).min(LONGEST_SILENCE);
        self.telling = Some(Telling { at: now + after, after });
        let up: Vec<Instance> = self
            .core
            .instances()
            .filter(|instance| matches!(instance.phase, Phase::Stopping | Phase::Starting | Phase::Running))
            .collect();
        // Who is still to be asked waits for these.
        for instance in up.iter().filter(|instance| instance.phase == Phase::Stopping).take(INSTANCES_AT_MOST)
        {
            let since = crate::words::span(now.since(instance.since));
            let whom = self.left_of(instance.id).unwrap_or_else(|| "what it leaves behind".to_owned());
            let show = self.roster.show(instance.id);
            talk::say(format_args!("stopping for {since}: waiting for {show}: {whom}"));
        }
        let asked =
            self.processes.adopted().filter_map(|(process, adopted)| Some((process, adopted.asked_at?)));
        for (process, at) in asked.take(INSTANCES_AT_MOST) {
            let (since, show) = (crate::words::span(now.since(at)), self.roster.show(process.instance));
            let whom = self.adopted_in_words(process).map(|whom| format!(": {whom}")).unwrap_or_default();
            talk::say(format_args!("stopping for {since}: waiting for what {show} left behind{whom}"));
        }
    }

    /// Tells people who is killed because it did not end when it was asked to.
    pub(super) fn tell_that_it_was_deaf(&self, process: Process) {
        if self.is_told_to_stop_now() {
            return;
        }
        let deaf = |tree: &&Tree| tree.asked && !tree.condemned && tree.ended.is_none();
        let Some(tree) = self.processes.get(process).filter(deaf) else { return };
        // One that has ended since was not deaf.
        if let Some(whom) = described(tree.pid).filter(|_| !process::is_dead(tree.pidfd.as_fd())) {
            let show = self.roster.show(process.instance);
            talk::say(format_args!("{show}: did not end when it was asked to: killing {whom}"));
        }
    }

    /// What lives on of what a launch left behind, in words.
    pub(super) fn adopted_in_words(&self, process: Process) -> Option<String> {
        let members = self.all_adopted(&Snapshot::take().ok()?).remove(&process)?;
        in_words(members.iter().map(|member| member.pid))
    }

    /// What still lives of an instance that stops, in words: pids, what they are at, and what they are blocked in.
    pub(crate) fn left_of(&self, id: InstanceId) -> Option<String> {
        let (process, tree) = self.processes.of_instance(id)?;
        let mut pids: Vec<Pid> = Vec::new();
        pids.extend(Some(tree.pid).filter(|_| tree.ended.is_none()));
        pids.extend(tree.founder.as_ref().filter(|founder| !founder.ended).map(|founder| founder.pid));
        pids.extend(self.orphans_of(process));
        in_words(pids.into_iter())
    }

    fn orphans_of(&self, process: Process) -> impl Iterator<Item = Pid> {
        let ours = self.processes.orphans().values().filter(move |(_, owner)| *owner == Some(process));
        ours.map(|(identity, _)| identity.pid)
    }
}

fn in_words(pids: impl Iterator<Item = Pid>) -> Option<String> {
    let all: Vec<String> = pids.filter_map(described).collect();
    let more = all.len().saturating_sub(PROCESSES_AT_MOST);
    let mut words = all.into_iter().take(PROCESSES_AT_MOST).collect::<Vec<_>>().join(", ");
    if more > 0 {
        words.push_str(&format!(" and {more} more"));
    }
    Some(words).filter(|words| !words.is_empty())
}

/// `pid 71 (sh), sleeping in do_wait`; `None` when it is gone.
fn described(pid: Pid) -> Option<String> {
    let stat = Stat::of(pid).ok()??;
    let state = match stat.state {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "in an uninterruptible sleep",
        'T' => "stopped",
        't' => "held by a debugger",
        _ => "ended and not reaped",
    };
    let place = process::blocked_in(pid).map(|place| format!(" in {place}")).unwrap_or_default();
    let name: String = stat.comm.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Some(format!("pid {pid} ({name}), {state}{place}"))
}
