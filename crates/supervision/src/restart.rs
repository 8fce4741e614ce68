//! How often an instance may be started again, and how long it rests before it is: arithmetic on values.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{Backoff, InstanceId, Intensity, Moment};

/// The restarts of late: a sliding window. Holds at most as many moments as restarts are allowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    spent: VecDeque<Moment>,
}

impl Window {
    /// Whether one more restart is allowed at `now`. Forgets those that have left the window: a restart leaves it
    /// exactly `within` after it was spent.
    pub(crate) fn has_room(&mut self, now: Moment, allowed: Intensity) -> bool {
        while self.spent.front().is_some_and(|&at| at + allowed.within <= now) {
            self.spent.pop_front();
        }
        self.spent.len() < allowed.restarts as usize
    }

    /// Spends one restart.
    pub(crate) fn spend(&mut self, now: Moment) {
        self.spent.push_back(now);
    }

    /// How many restarts are remembered at `now`, and when the oldest of them is forgotten.
    pub(crate) fn spent(&self, now: Moment, allowed: Intensity) -> (u32, Option<Duration>) {
        let mut left = self.spent.iter().filter(|at| **at + allowed.within > now).peekable();
        let forgotten_in = left.peek().map(|at| (**at + allowed.within).since(now));
        (left.count() as u32, forgotten_in)
    }

    /// Forgets all restarts.
    pub(crate) fn clear(&mut self) {
        self.spent.clear();
    }
}

/// The `nth` rest in a row, from 0. `chance`, from -1 to 1, is where within the jitter it falls.
///
/// Never longer than `backoff.max`, jitter included. A factor below 1 and a jitter outside 0 to 1 are taken as the
/// nearest that make sense.
pub(crate) fn rest(backoff: &Backoff, nth: u32, chance: f64) -> Duration {
    let factor = if backoff.factor >= 1.0 { backoff.factor } else { 1.0 };
    let jitter = if backoff.jitter >= 0.0 { backoff.jitter.min(1.0) } else { 0.0 };
    let max = backoff.max.as_nanos() as f64;
    if backoff.initial.is_zero() {
        return Duration::ZERO;
    }
    let grown = backoff.initial.as_nanos() as f64 * factor.powi(nth.min(i32::MAX as u32) as i32);
    let jittered = grown.min(max) * (1.0 + jitter * chance);
    Duration::from_nanos(jittered.min(max) as u64)
}

/// A number from -1 to 1 that depends on nothing but what it is given, so that no instance's jitter moves with what
/// others do. The mixing is that of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
pub(crate) fn chance(seed: u64, id: InstanceId, launch: u64) -> f64 {
    let place = (u64::from(id.worker.0) << 32) | u64::from(id.index);
    let mixed = mix(mix(mix(seed) ^ place) ^ launch);
    let unit = (mixed >> 11) as f64 / (1u64 << 53) as f64;
    2.0 * unit - 1.0
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerId;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    const STEADY: Backoff = Backoff {
        initial: Duration::from_millis(100),
        factor: 2.0,
        max: Duration::from_secs(1),
        jitter: 0.0,
        reset_after: Duration::from_secs(10),
    };

    #[test]
    fn a_window_allows_so_many_restarts_and_forgets_each_exactly_when_it_leaves() {
        let allowed = Intensity { restarts: 2, within: Duration::from_secs(10) };
        let mut window = Window::default();
        for second in [0, 4] {
            assert!(window.has_room(at(second), allowed));
            window.spend(at(second));
        }
        assert!(!window.has_room(at(9), allowed));
        assert!(window.has_room(at(10), allowed), "the one of second 0 has left");
        window.spend(at(10));
        assert!(!window.has_room(at(13), allowed));
        assert!(window.has_room(at(14), allowed));
    }

    #[test]
    fn no_restarts_allowed_means_none_ever() {
        let allowed = Intensity { restarts: 0, within: Duration::from_secs(10) };
        assert!(!Window::default().has_room(at(1000), allowed));
    }

    #[test]
    fn rests_double_up_to_the_longest() {
        let rests: Vec<u128> = (0..6).map(|nth| rest(&STEADY, nth, 0.0).as_millis()).collect();
        assert_eq!(rests, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(rest(&STEADY, u32::MAX, 1.0), STEADY.max);
    }

    #[test]
    fn jitter_moves_a_rest_both_ways_but_never_past_the_longest() {
        let backoff = Backoff { jitter: 0.5, ..STEADY };
        assert_eq!(rest(&backoff, 0, -1.0).as_millis(), 50);
        assert_eq!(rest(&backoff, 0, 1.0).as_millis(), 150);
        assert_eq!(rest(&backoff, 9, 1.0), backoff.max);
        assert_eq!(rest(&backoff, 9, -1.0).as_millis(), 500);
    }

    #[test]
    fn numbers_that_make_no_sense_never_make_a_rest_that_makes_none() {
        for (factor, jitter) in [(f64::NAN, f64::NAN), (-3.0, -1.0), (0.0, 9.0), (f64::INFINITY, 0.0)] {
            let backoff = Backoff { factor, jitter, ..STEADY };
            for nth in [0, 1, 1000, u32::MAX] {
                assert!(rest(&backoff, nth, 1.0) <= backoff.max);
            }
        }
        assert_eq!(rest(&Backoff { initial: Duration::ZERO, ..STEADY }, 5, 1.0), Duration::ZERO);
    }

    #[test]
    fn chance_is_the_same_for_the_same_and_differs_for_neighbours() {
        let id = |worker, index| InstanceId { worker: WorkerId(worker), index };
        assert_eq!(chance(7, id(1, 2), 3), chance(7, id(1, 2), 3));
        let drawn: Vec<f64> = (0..1000).map(|worker| chance(7, id(worker, 0), 1)).collect();
        assert!(drawn.iter().all(|drawn| (-1.0..=1.0).contains(drawn)));
        let mean = drawn.iter().sum::<f64>() / 1000.0;
        assert!(mean.abs() < 0.1, "mean {mean}");
        assert!(drawn.iter().any(|&drawn| drawn < -0.9) && drawn.iter().any(|&drawn| drawn > 0.9));
    }
}
