//! Telling of a run: what its workers print, and why they stand where they stand.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use control::Feed;
use control::api::{self, ApiError, LogLine, Partial, WaitsFor, Why};
use supervision::{Instance, InstanceId, Milestone, Target};

use crate::asking::{Outcome, now};
use crate::logs::{self, Followed, Follower, Line, stamped};
use crate::processes::Tree;
use crate::the_loop::Loop;
use crate::words;

/// So many lines of output belong to a reason.
const LINES_OF_A_REASON: usize = 5;

impl Loop {
    pub(crate) fn logs(&self, worker: Option<&str>, lines: u32, follow: bool) -> Result<Outcome, ApiError> {
        let target = worker.map(|worker| self.target(worker)).transpose()?;
        let (worker, only) = match target {
            None => (None, None),
            Some(Target::Worker(worker)) => (Some(self.roster.name(worker)), None),
            Some(Target::Instance(id)) => (Some(self.roster.name(id.worker)), Some(id.index)),
        };
        // All that are kept: of a worker alone they are few, and of all, each has its own share.
        let (kept, follower) = if follow {
            let (kept, follower) = self.pump.tail_and_subscribe(worker, usize::MAX);
            (kept, Some(follower))
        } else {
            (self.pump.tail(worker, usize::MAX), None)
        };
        let kept = last_of_each(kept, only, usize::try_from(lines).unwrap_or(usize::MAX));
        Ok(Outcome::Stream(Box::new(Logs::new(kept, follower, only))))
    }

    pub(crate) fn why(&self, worker: &str) -> Result<Outcome, ApiError> {
        self.reasons(worker).map(now)
    }

    /// Why the instances of a target stand where they stand.
    pub(crate) fn reasons(&self, worker: &str) -> Result<Vec<Why>, ApiError> {
        let ids = self.instances_of(&[worker.to_owned()])?;
        let kept = match ids.first() {
            Some(id) => self.pump.tail(Some(self.roster.name(id.worker)), usize::MAX),
            None => Vec::new(),
        };
        let instances = ids.into_iter().filter_map(|id| self.core.instance(id, self.clock.now()));
        Ok(instances.map(|instance| self.reason(&instance, &kept)).collect())
    }

    /// Why an instance stands where it stands; `kept` is what its worker has printed.
    fn reason(&self, instance: &Instance, kept: &[Line]) -> Why {
        let tree = self.processes.of_instance(instance.id).map(|(_, tree)| tree);
        let explanation = self.core.explain(instance.id, self.clock.now());
        let mut status = self.row(instance);
        // What it says of itself is no reason; it has a place of its own here.
        status.why = Some(self.full_reason(instance)).filter(|why| !why.is_empty());
        Why {
            status,
            since_s: self.stands_for(instance, tree).as_secs_f64(),
            core_dumped: match instance.last {
                Some(supervision::Ending::Signal(_)) => Some(self.dumped_core.contains(&instance.id)),
                _ => None,
            },
            next_launch_in_s: instance.next_launch_in.map(|rest| rest.as_secs_f64()).or_else(|| {
                let until = self.next_run(instance)?.duration_since(jiff::Timestamp::now());
                Some(until.as_secs_f64().max(0.0))
            }),
            waits_for: instance.waits_for.map(|(worker, milestone)| WaitsFor {
                worker: self.roster.name(worker).to_owned(),
                milestone: match milestone {
                    Milestone::Started => api::Milestone::Started,
                    Milestone::Ready => api::Milestone::Ready,
                    Milestone::Succeeded => api::Milestone::Succeeded,
                    Milestone::Ended => api::Milestone::Ended,
                },
            }),
            running_out: explanation.as_ref().and_then(|known| known.running_out).map(|(what, left)| {
                api::RunningOut { what: words::running_out(what).to_owned(), left_s: left.as_secs_f64() }
            }),
            spent: api::Spent {
                restarts: explanation.as_ref().map_or(0, |known| known.spent),
                allowed: explanation.as_ref().map_or(0, |known| known.allowed.restarts),
                within_s: explanation.as_ref().map_or(0.0, |known| known.allowed.within.as_secs_f64()),
                forgotten_in_s: explanation
                    .as_ref()
                    .and_then(|known| known.forgotten_in)
                    .map(|left| left.as_secs_f64()),
            },
            chain: explanation.iter().flat_map(|known| &known.chain).map(|id| self.link(*id)).collect(),
            asked: self.asked_by(instance),
            changed: self.configs.changed_for(instance),
            ended_for: instance.launch.and_then(|launch| {
                let name = self.roster.name(instance.id.worker);
                self.history.end_before(name, instance.id.index, launch)
            }),
            older_config: self.is_outdated(instance.id),
            says: tree.and_then(Tree::status),
            output: {
                let own = kept.iter().rev().filter(|line| concerns(line, Some(instance.id.index)));
                let mut output: Vec<LogLine> = own.take(LINES_OF_A_REASON).map(told).collect();
                output.reverse();
                output
            },
        }
    }

    /// How long an instance has stood where it stands. One that a former run had launched was not seen getting there: it
    /// counts from its launch.
    fn stands_for(&self, instance: &Instance, tree: Option<&Tree>) -> Duration {
        let seen = self.clock.now().since(instance.since);
        let stands_as_taken_back = instance.launched_at == Some(instance.since);
        let age = || self.uptime(instance, tree?);
        age().filter(|_| stands_as_taken_back).unwrap_or(seen)
    }

    fn link(&self, id: InstanceId) -> api::Link {
        let now = self.core.instance(id, self.clock.now());
        api::Link {
            worker: self.roster.name(id.worker).to_owned(),
            instance: id.index,
            state: now.as_ref().map_or_else(String::new, |now| now.phase.to_string()),
            why: now.map(|now| now.why).filter(|why| !why.is_empty()),
        }
    }

    /// Notes whether the last launch of an instance left a core dump behind.
    pub(crate) fn note_core(&mut self, instance: InstanceId, dumped: bool) {
        if dumped {
            self.dumped_core.insert(instance);
        } else {
            self.dumped_core.remove(&instance);
        }
    }
}

/// The last `count` lines of each worker, in the order in which they came; of one instance, if `only` that is wanted.
fn last_of_each(lines: Vec<Line>, only: Option<u32>, count: usize) -> VecDeque<Line> {
    let mut left: HashMap<Arc<str>, usize> = HashMap::new();
    let mut kept = VecDeque::new();
    for line in lines.into_iter().rev().filter(|line| concerns(line, only)) {
        let left = match left.get_mut(&line.label.worker) {
            Some(left) => left,
            None => left.entry(line.label.worker.clone()).or_insert(count),
        };
        if *left > 0 {
            *left -= 1;
            kept.push_front(line);
        }
    }
    kept
}

fn concerns(line: &Line, only: Option<u32>) -> bool {
    only.is_none_or(|only| line.label.instance == only)
}

/// A line as the control API tells it.
fn told(line: &Line) -> LogLine {
    let text = String::from_utf8_lossy(&line.bytes);
    LogLine {
        time: stamped(line.time),
        worker: Some(line.label.worker.to_string()),
        instance: Some(line.label.instance),
        launch: Some(line.label.launch),
        stream: line.label.stream.name().to_owned(),
        partial: match line.ending {
            logs::Ending::Newline => None,
            logs::Ending::Split => Some(Partial::Split),
            logs::Ending::Open => Some(Partial::End),
        },
        // The conversion owns its text only when it had to put something in.
        lossy: matches!(text, std::borrow::Cow::Owned(_)),
        line: text.into_owned(),
        lost_lines: None,
    }
}

fn lost(count: u64) -> LogLine {
    LogLine {
        time: stamped(std::time::SystemTime::now()),
        worker: None,
        instance: None,
        launch: None,
        stream: "supervisor".to_owned(),
        line: format!("{count} lines lost: they were not read in time"),
        partial: None,
        lossy: false,
        lost_lines: Some(count),
    }
}

/// The lines of workers for somebody who reads them.
#[derive(Debug)]
struct Logs {
    kept: VecDeque<Line>,
    /// Where the lines to come are from; `None`: they are not wanted.
    follower: Option<Follower>,
    only: Option<u32>,
    asleep: Arc<Mutex<Option<Waker>>>,
}

impl Logs {
    fn new(kept: VecDeque<Line>, follower: Option<Follower>, only: Option<u32>) -> Logs {
        let asleep: Arc<Mutex<Option<Waker>>> = Arc::default();
        if let Some(follower) = &follower {
            let asleep = Arc::clone(&asleep);
            follower.on_filled(move || {
                if let Some(asleep) = asleep.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    asleep.wake();
                }
            });
        }
        Logs { kept, follower, only, asleep }
    }

    fn next(&mut self, context: &Context<'_>) -> Poll<Option<LogLine>> {
        if let Some(line) = self.kept.pop_front() {
            return Poll::Ready(Some(told(&line)));
        }
        let Some(follower) = &self.follower else { return Poll::Ready(None) };
        loop {
            match follower.try_next() {
                Some(Followed::Line(line)) if concerns(&line, self.only) => {
                    return Poll::Ready(Some(told(&line)));
                }
                Some(Followed::Line(_)) => {}
                Some(Followed::Lost(count)) => return Poll::Ready(Some(lost(count))),
                Some(Followed::Ended) => return Poll::Ready(None),
                None => {
                    let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
                    if asleep.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                        return Poll::Pending;
                    }
                    // Look once more: what came before this was noted has woken nobody.
                    *asleep = Some(context.waker().clone());
                }
            }
        }
    }
}

impl Feed for Logs {
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        // It is plain data with string keys; it cannot fail to be JSON.
        self.next(context).map(|line| serde_json::to_vec(&line?).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Stream, Writer};
    use std::time::SystemTime;

    fn line(worker: &str, instance: u32, bytes: &[u8], ending: logs::Ending) -> Line {
        let writer = Writer { worker: worker.into(), instance, launch: 3, show: worker.into() };
        let label = Arc::new(writer).label(Stream::Stderr);
        Line { label, time: SystemTime::UNIX_EPOCH, bytes: bytes.to_vec(), ending }
    }

    #[test]
    fn each_worker_has_its_share_in_the_order_in_which_the_lines_came() {
        let came = [("a", 0), ("b", 0), ("a", 1), ("a", 0), ("b", 0), ("b", 0)];
        let lines = || {
            let lines = came.iter().zip(0u8..);
            lines.map(|((worker, index), n)| line(worker, *index, &[n], logs::Ending::Newline)).collect()
        };
        let bytes = |only, count| -> Vec<u8> {
            last_of_each(lines(), only, count).iter().map(|line| line.bytes[0]).collect()
        };
        assert_eq!(bytes(None, 2), [2, 3, 4, 5]);
        assert_eq!(bytes(None, 100), [0, 1, 2, 3, 4, 5]);
        assert_eq!(bytes(Some(1), 2), [2]);
        assert!(bytes(None, 0).is_empty());
    }

    #[test]
    fn a_line_is_told_with_all_that_is_odd_about_it() {
        let json = |line: &Line| serde_json::to_value(told(line)).expect("JSON");
        let plain = serde_json::json!({
            "time": "1970-01-01T00:00:00.000000Z", "worker": "a", "instance": 2, "launch": 3, "stream": "stderr",
            "line": "hi",
        });
        assert_eq!(json(&line("a", 2, b"hi", logs::Ending::Newline)), plain);
        let odd = json(&line("a", 2, b"\xff", logs::Ending::Open));
        assert_eq!(
            (&odd["line"], &odd["lossy"], &odd["partial"]),
            (&"\u{fffd}".into(), &true.into(), &"end".into())
        );
    }
}
