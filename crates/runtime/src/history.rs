//! What happened to instances: the last transitions, and those who follow them.
//!
//! Every transition has its place in one count without gaps. At most [`KEPT`] are kept; whoever reads too slowly, or
//! comes too late, is told how many it missed.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use control::Feed;
use control::api::{EventLine, Missed, Transition};
use supervision::{Instance, InstanceId, Launch, Phase};

use crate::logs::stamped;
use crate::numbering::Numbering;

/// So many transitions are kept.
const KEPT: usize = 1024;

/// The transitions of a run. Dropped, it tells those who follow that there will be no more.
#[derive(Debug, Default)]
pub struct History {
    record: Arc<Mutex<Record>>,
    /// Where each instance was last seen.
    phases: BTreeMap<InstanceId, Phase>,
    numbering: Numbering,
}

#[derive(Debug, Default)]
struct Record {
    /// How many were ever told, by former runs too; the last one of `kept` has this number.
    told: u64,
    kept: VecDeque<Entry>,
    ended: bool,
    asleep: Vec<Waker>,
}

#[derive(Debug)]
struct Entry {
    time: SystemTime,
    worker: Arc<str>,
    instance: u32,
    launch: Option<Launch>,
    from: Option<Phase>,
    to: Option<Phase>,
    why: Box<str>,
}

/// When something happened, as it is told. Nothing is decided by it.
#[derive(Clone, Copy, Debug)]
pub struct When(SystemTime);

impl When {
    /// Now.
    pub fn now() -> When {
        When(SystemTime::now())
    }
}

impl History {
    /// That of the run with this folder. What a former run of it has told, which was killed, is missed by all.
    pub fn of_run(folder: &Path) -> History {
        let (numbering, told) = Numbering::of_run(folder);
        let record = Arc::new(Mutex::new(Record { told, ..Record::default() }));
        History { record, phases: BTreeMap::new(), numbering }
    }

    /// An instance of the worker of this name has changed at this time, and stands there `now`; `None`: it was scaled away.
    pub fn tell(
        &mut self,
        When(time): When,
        worker: impl Into<Arc<str>>,
        id: InstanceId,
        now: Option<Instance>,
    ) {
        let to = now.as_ref().map(|now| now.phase);
        let from = match to {
            Some(to) => self.phases.insert(id, to),
            None => self.phases.remove(&id),
        };
        if (from, to) == (None, None) {
            return;
        }
        let entry = Entry {
            time,
            worker: worker.into(),
            instance: id.index,
            launch: now.as_ref().and_then(|now| now.launch),
            from,
            to,
            why: now.map(|now| now.why).unwrap_or_default().into(),
        };
        // Nobody but us counts on; and nobody is to wait while it is written down.
        let number = lock(&self.record).told + 1;
        self.numbering.give(number);
        change(&self.record, |record| {
            record.told = number;
            if record.kept.len() == KEPT {
                record.kept.pop_front();
            }
            record.kept.push_back(entry);
        });
    }

    /// What came after number `after`, as far as it is kept; and what comes, if it is to `follow`.
    pub fn read(&self, after: u64, follow: bool) -> Reading {
        let until = (!follow).then(|| lock(&self.record).told);
        Reading { record: Arc::clone(&self.record), at: after, until }
    }

    /// Why an instance was on its way down when it was up last before its launch of this number; `None`: it was not, or that is
    /// not kept any more.
    pub fn end_before(&self, worker: &str, instance: u32, launch: Launch) -> Option<String> {
        let record = lock(&self.record);
        let own = record.kept.iter().rev().filter(|entry| {
            entry.instance == instance && &*entry.worker == worker && entry.launch < Some(launch)
        });
        let is_up = |phase| matches!(phase, Some(Phase::Starting | Phase::Running));
        let mut former = own.take_while(|entry| entry.launch.is_some());
        let down = former.find(|entry| is_up(entry.from) && !is_up(entry.to))?;
        (!down.why.is_empty()).then(|| down.why.to_string())
    }
}

fn change(record: &Mutex<Record>, change: impl FnOnce(&mut Record)) {
    let mut record = lock(record);
    change(&mut record);
    for asleep in std::mem::take(&mut record.asleep) {
        asleep.wake();
    }
}

impl Drop for History {
    fn drop(&mut self) {
        change(&self.record, |record| record.ended = true);
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody who reads the transitions.
#[derive(Debug)]
pub struct Reading {
    record: Arc<Mutex<Record>>,
    /// The number of the last one that it has read or missed.
    at: u64,
    /// Where it ends; `None`: with the run.
    until: Option<u64>,
}

impl Reading {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<EventLine>> {
        let mut record = lock(&self.record);
        let last = self.until.unwrap_or(record.told).min(record.told);
        if self.at >= last {
            if self.until.is_some() || record.ended {
                return Poll::Ready(None);
            }
            let asleep = context.waker();
            if !record.asleep.iter().any(|known| known.will_wake(asleep)) {
                record.asleep.push(asleep.clone());
            }
            return Poll::Pending;
        }
        let forgotten = (record.told - record.kept.len() as u64).min(last);
        if self.at < forgotten {
            let missed = forgotten - self.at;
            self.at = forgotten;
            return Poll::Ready(Some(EventLine::Missed(Missed { missed, until_seq: forgotten })));
        }
        let place = self.at - (record.told - record.kept.len() as u64);
        self.at += 1;
        let entry = usize::try_from(place).ok().and_then(|place| record.kept.get(place));
        Poll::Ready(entry.map(|entry| EventLine::Transition(entry.line(self.at))))
    }
}

impl Entry {
    fn line(&self, seq: u64) -> Transition {
        let word = |phase: Phase| phase.to_string();
        Transition {
            seq,
            time: stamped(self.time),
            worker: self.worker.to_string(),
            instance: self.instance,
            launch: self.launch.map(|Launch(launch)| launch),
            from: self.from.map(word),
            to: self.to.map(word),
            why: (!self.why.is_empty()).then(|| self.why.to_string()),
        }
    }
}

impl Feed for Reading {
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        // It is plain data with string keys; it cannot fail to be JSON.
        self.next(context).map(|line| serde_json::to_vec(&line?).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supervision::{Family, Moment, Supervisor, Worker, WorkerId};

    const ID: InstanceId = InstanceId { worker: WorkerId(0), index: 0 };

    fn instance() -> Instance {
        let core = Supervisor::new(Family::of(vec![Worker::named("w")]));
        core.instance(ID, Moment::START).expect("it is there")
    }

    fn next(reading: &mut Reading) -> Poll<Option<EventLine>> {
        reading.next(&mut Context::from_waker(Waker::noop()))
    }

    fn seq(line: Poll<Option<EventLine>>) -> u64 {
        match line {
            Poll::Ready(Some(EventLine::Transition(transition))) => transition.seq,
            other => panic!("{other:?} is no transition"),
        }
    }

    #[test]
    fn who_comes_too_late_or_is_too_slow_is_told_what_it_missed() {
        let mut history = History::default();
        let mut early = history.read(0, true);
        assert!(next(&mut early).is_pending());
        for _ in 0..KEPT + 7 {
            history.tell(When::now(), "w", ID, Some(instance()));
        }
        for mut reading in [early, history.read(0, false)] {
            let gap = EventLine::Missed(Missed { missed: 7, until_seq: 7 });
            assert_eq!(next(&mut reading), Poll::Ready(Some(gap)));
            for expected in 8..=KEPT as u64 + 7 {
                assert_eq!(seq(next(&mut reading)), expected);
            }
            assert_eq!(next(&mut reading).is_pending(), reading.until.is_none());
        }
    }

    #[test]
    fn who_does_not_follow_gets_what_was_there_when_it_asked() {
        let mut history = History::default();
        history.tell(When::now(), "w", ID, Some(instance()));
        history.tell(When::now(), "w", ID, Some(instance()));
        let mut reading = history.read(1, false);
        history.tell(When::now(), "w", ID, Some(instance()));
        assert_eq!(seq(next(&mut reading)), 2);
        assert_eq!(next(&mut reading), Poll::Ready(None));
        for _ in 0..2 * KEPT {
            history.tell(When::now(), "w", ID, Some(instance()));
        }
        // Forgotten meanwhile: no more than what it asked for is called missed.
        let mut late = Reading { at: 0, until: Some(3), ..history.read(0, false) };
        let gap = EventLine::Missed(Missed { missed: 3, until_seq: 3 });
        assert_eq!(next(&mut late), Poll::Ready(Some(gap)));
        assert_eq!(next(&mut late), Poll::Ready(None));
        assert_eq!(next(&mut history.read(u64::MAX, false)), Poll::Ready(None));
    }

    #[test]
    fn from_is_where_it_was_last_seen_and_the_end_of_the_run_ends_the_reading() {
        let mut history = History::default();
        let mut reading = history.read(0, true);
        let standing = |phase| Some(Instance { phase, ..instance() });
        history.tell(When::now(), "w", ID, None);
        history.tell(When::now(), "w", ID, standing(Phase::Starting));
        history.tell(When::now(), "w", ID, standing(Phase::Running));
        history.tell(When::now(), "w", ID, None);
        let mut seen = Vec::new();
        while let Poll::Ready(Some(EventLine::Transition(told))) = next(&mut reading) {
            seen.push((told.from, told.to));
        }
        let word = |word: &str| Some(word.to_owned());
        let expected =
            [(None, word("starting")), (word("starting"), word("running")), (word("running"), None)];
        assert_eq!(seen, expected);
        drop(history);
        assert_eq!(next(&mut reading), Poll::Ready(None));
    }
}
