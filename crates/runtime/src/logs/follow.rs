//! Followers: whoever wants to see lines as they come, and may be too slow for them.

use super::line::{Label, Line};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait for one follower, at most.
const MOST_LINES: usize = 4096;

/// Bytes of lines that wait for one follower, at most.
const MOST_BYTES: usize = 1024 * 1024;

/// What a follower gets.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The next line.
    Line(Line),
    /// So many lines came while 4,096 lines or 1 MiB were waiting to be taken; they are not repeated.
    Lost(u64),
    /// The pump has stopped; nothing will follow.
    Ended,
}

/// Receives lines; made by [`Pump::subscribe`](super::Pump::subscribe). Dropping it ends the subscription.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
}

impl Follower {
    /// The next thing, waiting for it at most `timeout`. `None` when nothing came.
    pub fn next_within(&self, timeout: Duration) -> Option<Followed> {
        let deadline = Instant::now() + timeout;
        let mut queue = self.shared.lock();
        loop {
            if let Some(next) = queue.take() {
                return Some(next);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.filled.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next thing, if it is there already.
    pub fn try_next(&self) -> Option<Followed> {
        self.shared.lock().take()
    }

    /// Has `wake` called whenever there is something to take where there was nothing, from the pump's thread: it must not wait.
    /// Called at once when something is there already.
    pub fn on_filled(&self, wake: impl Fn() + Send + 'static) {
        let mut queue = self.shared.lock();
        if !queue.is_dry() {
            wake();
        }
        queue.wake = Some(Box::new(wake));
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Followed>,
    bytes: usize,
    /// Lines that did not fit behind those that wait.
    lost: u64,
    ended: bool,
    wake: Option<Box<dyn Fn() + Send>>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting.len()).field("lost", &self.lost).finish()
    }
}

impl Queue {
    fn take(&mut self) -> Option<Followed> {
        if let Some(next) = self.waiting.pop_front() {
            if let Followed::Line(line) = &next {
                self.bytes -= line.bytes.len();
            }
            return Some(next);
        }
        match (std::mem::take(&mut self.lost), self.ended) {
            (0, false) => None,
            (0, true) => Some(Followed::Ended),
            (lost, _) => Some(Followed::Lost(lost)),
        }
    }

    fn is_dry(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0 && !self.ended
    }

    fn put(&mut self, line: Line) {
        if self.waiting.len() >= MOST_LINES || self.bytes + line.bytes.len() > MOST_BYTES {
            self.lost += 1;
            return;
        }
        if self.lost > 0 {
            self.waiting.push_back(Followed::Lost(std::mem::take(&mut self.lost)));
        }
        self.bytes += line.bytes.len();
        self.waiting.push_back(Followed::Line(line));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        let dry = queue.is_dry();
        change(&mut queue);
        if dry && !queue.is_dry() {
            self.filled.notify_all();
            if let Some(wake) = &queue.wake {
                wake();
            }
        }
    }
}

/// All followers, as the pump sees them.
#[derive(Debug, Default)]
pub(super) struct Followers {
    all: Vec<(Option<String>, Arc<Shared>)>,
    ended: bool,
}

impl Followers {
    /// Follows one worker, or all.
    pub fn add(&mut self, worker: Option<&str>) -> Follower {
        let shared = Arc::<Shared>::default();
        shared.lock().ended = self.ended;
        self.all.push((worker.map(str::to_owned), shared.clone()));
        Follower { shared }
    }

    /// Whether somebody follows `worker`; forgets followers that are gone.
    pub fn follow(&mut self, worker: &str) -> bool {
        self.all.retain(|(_, shared)| Arc::strong_count(shared) > 1);
        self.all.iter().any(|(wanted, _)| wanted.as_deref().is_none_or(|wanted| wanted == worker))
    }

    /// Gives `line` to everybody who follows its worker; never waits for them.
    pub fn give(&self, label: &Label, line: impl Fn() -> Line) {
        for (wanted, shared) in &self.all {
            if wanted.as_deref().is_none_or(|wanted| *wanted == *label.worker) {
                shared.change(|queue| queue.put(line()));
            }
        }
    }

    /// Nothing will follow.
    pub fn end(&mut self) {
        self.ended = true;
        for (_, shared) in self.all.drain(..) {
            shared.change(|queue| queue.ended = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{Ending, Stream, Writer};
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    fn line(number: usize) -> Line {
        let writer = Writer { worker: "a".into(), instance: 0, launch: 1, show: "a".into() };
        let label = Arc::new(writer).label(Stream::Stdout);
        let bytes = number.to_string().into_bytes();
        Line { label, time: SystemTime::UNIX_EPOCH, bytes, ending: Ending::Newline }
    }

    #[test]
    fn a_slow_follower_loses_lines_and_is_told_how_many_and_where() {
        let mut followers = Followers::default();
        let follower = followers.add(Some("a"));
        for number in 0..MOST_LINES + 7 {
            followers.give(&line(0).label, || line(number));
        }
        assert!(matches!(follower.try_next(), Some(Followed::Line(_))));
        followers.give(&line(0).label, || line(9999));
        let mut rest: Vec<Followed> = std::iter::from_fn(|| follower.try_next()).collect();
        assert_eq!(rest.len(), MOST_LINES - 1 + 2);
        assert!(matches!(rest.pop(), Some(Followed::Line(line)) if line.bytes == b"9999"));
        assert!(matches!(rest.pop(), Some(Followed::Lost(7))));
    }

    #[test]
    fn long_lines_that_wait_are_bounded_by_their_bytes() {
        let mut followers = Followers::default();
        let follower = followers.add(None);
        for _ in 0..100 {
            followers.give(&line(0).label, || Line { bytes: vec![b'x'; 60_000], ..line(0) });
        }
        let kept = std::iter::from_fn(|| follower.try_next()).collect::<Vec<_>>();
        assert_eq!(kept.len(), MOST_BYTES / 60_000 + 1);
        assert!(
            matches!(kept.last(), Some(Followed::Lost(lost)) if *lost as usize == 100 - MOST_BYTES / 60_000)
        );
    }

    #[test]
    fn a_follower_is_woken_when_there_is_something_to_take_again() {
        let mut followers = Followers::default();
        let follower = followers.add(None);
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        follower.on_filled(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        for expected in 1..3 {
            followers.give(&line(0).label, || line(1));
            followers.give(&line(0).label, || line(2));
            assert_eq!(woken.load(Ordering::Relaxed), expected);
            while follower.try_next().is_some() {}
        }
        followers.end();
        assert_eq!(woken.load(Ordering::Relaxed), 3);
        assert!(matches!(follower.next_within(Duration::ZERO), Some(Followed::Ended)));
        assert!(
            matches!(followers.add(None).try_next(), Some(Followed::Ended)),
            "also who comes too late is told"
        );
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut followers = Followers::default();
        let follower = followers.add(Some("a"));
        assert!(followers.follow("a") && !followers.follow("b"));
        drop(follower);
        assert!(!followers.follow("a") && followers.all.is_empty());
    }
}
