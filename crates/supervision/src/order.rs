//! Who comes after whom: every worker's level of dependence.

use crate::Worker;

/// Where a worker stands in the order of dependence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// One more than the highest level among those it comes after; 0 when there are none. Levels are stopped from the
    /// highest to the lowest, so that dependants go before what they depend on.
    pub(crate) level: u32,
    /// Whether it can ever come to be its turn.
    pub(crate) hope: Hope,
}

/// Whether what a worker comes after can ever come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope {
    /// As far as the config alone tells.
    Open,
    /// Never: it is one of several that wait for each other in a circle.
    Circle,
    /// Never: it comes after a worker that there is not.
    NoSuchWorker,
}

/// The place of every worker, in the order of the file. Linear in workers and dependences; neither a circle nor a chain
/// of any length can make it hang or overflow.
pub(crate) fn places<'w>(workers: impl Iterator<Item = &'w Worker>) -> Vec<Place> {
    let workers: Vec<&Worker> = workers.collect();
    let count = workers.len();
    let mut dependants = vec![Vec::new(); count];
    let mut awaited = vec![Vec::new(); count];
    for (worker, spec) in workers.iter().enumerate() {
        for on in spec.after.iter().map(|after| after.worker.0 as usize).filter(|&on| on < count) {
            dependants[on].push(worker);
            awaited[worker].push(on);
        }
    }
    let mut levels = vec![0; count];
    let above = peel(&awaited, &dependants, |on, worker| levels[worker] = levels[worker].max(levels[on] + 1));
    // What neither side of peeling removes lies on a circle (or on a path between two).
    let below = peel(&dependants, &awaited, |_, _| {});
    let top = levels.iter().max().map_or(0, |level| level + 1);
    (0..count)
        .map(|worker| Place {
            level: if above[worker] { levels[worker] } else { top },
            hope: if workers[worker].after.iter().any(|after| after.worker.0 as usize >= count) {
                Hope::NoSuchWorker
            } else if above[worker] || below[worker] {
                Hope::Open
            } else {
                Hope::Circle
            },
        })
        .collect()
}

/// The place of a worker that is added to those that stand at `present`. Nobody comes after it yet, so theirs stay.
pub(crate) fn place_of_added(added: &Worker, present: impl Fn(usize) -> Option<u32>, count: usize) -> Place {
    let levels = added.after.iter().filter_map(|after| present(after.worker.0 as usize));
    let level = levels.max().map_or(0, |level| level + 1);
    let hope = if added.after.iter().any(|after| after.worker.0 as usize > count) {
        Hope::NoSuchWorker
    } else if added.after.iter().any(|after| after.worker.0 as usize == count) {
        Hope::Circle
    } else {
        Hope::Open
    };
    Place { level, hope }
}

/// Removes, again and again, those from which no edge leads `out` any more; says of each whether it was removed.
/// `step(gone, next)` is told of every edge into one that was removed.
fn peel(out: &[Vec<usize>], back: &[Vec<usize>], mut step: impl FnMut(usize, usize)) -> Vec<bool> {
    let mut left: Vec<usize> = out.iter().map(Vec::len).collect();
    let mut free: Vec<usize> = (0..out.len()).filter(|&node| left[node] == 0).collect();
    let mut removed = vec![false; out.len()];
    while let Some(node) = free.pop() {
        removed[node] = true;
        for &next in &back[node] {
            step(node, next);
            left[next] -= 1;
            if left[next] == 0 {
                free.push(next);
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{After, Milestone, WorkerId};

    fn after(ids: &[u32]) -> Worker {
        let after =
            ids.iter().map(|&id| After { worker: WorkerId(id), milestone: Milestone::Ready }).collect();
        Worker { after, ..Worker::named("w") }
    }

    #[test]
    fn a_level_is_one_more_than_the_highest_it_comes_after() {
        let places = places([after(&[1, 2]), after(&[2]), after(&[]), after(&[2])].iter());
        assert_eq!(places.iter().map(|place| place.level).collect::<Vec<_>>(), [2, 1, 0, 1]);
        assert!(places.iter().all(|place| place.hope == Hope::Open));
    }

    #[test]
    fn a_circle_is_seen_and_those_outside_it_are_not_blamed() {
        // 0 <-> 1, 2 after 0, 1 after 3, 4 after itself.
        let places = places([after(&[1]), after(&[0, 3]), after(&[0]), after(&[]), after(&[4])].iter());
        let hopes: Vec<Hope> = places.iter().map(|place| place.hope).collect();
        assert_eq!(hopes, [Hope::Circle, Hope::Circle, Hope::Open, Hope::Open, Hope::Circle]);
    }

    #[test]
    fn a_worker_that_there_is_not_is_no_hope() {
        assert_eq!(places([after(&[7])].iter())[0].hope, Hope::NoSuchWorker);
        assert_eq!(place_of_added(&after(&[2]), |_| Some(0), 1).hope, Hope::NoSuchWorker);
        assert_eq!(place_of_added(&after(&[1]), |_| None, 1).hope, Hope::Circle);
        assert_eq!(place_of_added(&after(&[0]), |_| Some(4), 1), Place { level: 5, hope: Hope::Open });
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_neither_overflows_nor_hangs() {
        let chain: Vec<Worker> =
            (0..100_000u32).map(|id| if id == 0 { after(&[]) } else { after(&[id - 1]) }).collect();
        assert_eq!(places(chain.iter())[99_999].level, 99_999);
    }
}
