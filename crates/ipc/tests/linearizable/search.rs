//! Looks for an order in which a history could have come about.

use std::collections::HashSet;

use crate::model::{Act, Stage, State, Step, recovery};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Impossible,
    /// There were too many ways to try them all.
    Undecided,
}

/// So many points are looked at, in memory of about a gigabyte.
const MOST_POINTS: usize = 3_000_000;

/// How far each process has come, in half steps, and the queue then.
type Point = (Vec<u16>, State);

/// Tries the first possible choice first, and never twice from the same point.
pub fn judge(history: &[Vec<Step>]) -> Verdict {
    let mut seen: HashSet<Point> = HashSet::new();
    let mut stack: Vec<Point> = vec![(vec![0; history.len()], State::default())];
    while let Some((done, state)) = stack.pop() {
        if seen.len() > MOST_POINTS {
            return Verdict::Undecided;
        }
        let next: Vec<Option<&Step>> =
            history.iter().zip(&done).map(|(own, &at)| own.get(usize::from(at / 2))).collect();
        // Whatever comes next must have begun before anything not yet placed had ended.
        let Some(first_end) = next.iter().flatten().map(|step| step.ended).min() else {
            if state.is_settled() {
                return Verdict::Linearizable;
            }
            continue;
        };
        for (process, step) in next.iter().enumerate() {
            let Some(step) = step.filter(|step| step.began <= first_end) else { continue };
            let is_half_way = done[process] % 2 == 1;
            let happened = state.after(process as u16, step.act, is_half_way);
            let not_happened = (!step.is_certain).then(|| (state.clone(), Stage::Done));
            for (after, stage) in not_happened.into_iter().chain(happened) {
                let mut further = done.clone();
                further[process] = match stage {
                    Stage::HalfWay => done[process] + 1,
                    Stage::Done => (done[process] / 2 + 1) * 2,
                };
                let point = (further, after);
                if !seen.contains(&point) {
                    seen.insert(point.clone());
                    stack.push(point);
                }
            }
        }
    }
    Verdict::Impossible
}

/// A checker that cannot say no proves nothing.
pub fn check_the_checker() {
    let one = |began, ended, act| Step { began, ended, is_certain: true, act };
    let perhaps = |began, ended, act| Step { began, ended, is_certain: false, act };
    let put = |began, ended, value| one(began, ended, Act::Put(value));
    let take = |began, ended, value, times| {
        one(began, ended, Act::Take { value: Some(value), deliveries: Some(times) })
    };
    let ack = |began, ended, value| one(began, ended, Act::Ack(Some(value)));
    let can_be = |history: &[Vec<Step>]| judge(history) == Verdict::Linearizable;

    // Two at once, each got by another, in the order that the times leave open.
    assert!(can_be(&[
        vec![put(0, 10, 1), put(20, 30, 2)],
        vec![take(5, 40, 2, 1), ack(41, 42, 2), one(50, 60, Act::Empty)],
        vec![take(6, 25, 1, 1), ack(26, 27, 1)],
    ]));
    let got_in_order = |first, second| {
        can_be(&[
            vec![put(0, 10, 1), put(20, 30, 2)],
            vec![take(40, 50, first, 1), ack(51, 52, first), take(60, 70, second, 1), ack(71, 72, second)],
        ])
    };
    assert!(got_in_order(1, 2) && !got_in_order(2, 1) && !got_in_order(1, 1));
    // Lost, or left in somebody's hand.
    assert!(!can_be(&[vec![put(0, 10, 1)]]));
    assert!(!can_be(&[vec![put(0, 10, 1), take(20, 30, 1, 1)]]));
    assert!(!can_be(&[vec![put(0, 10, 1), one(20, 30, Act::Empty), take(40, 50, 1, 1), ack(51, 52, 1)]]));
    assert!(!can_be(&[vec![put(0, 10, 1), one(20, 30, Act::Full), take(40, 50, 1, 1), ack(51, 52, 1)]]));
    // Given back: it comes first, and its count has gone up by one.
    let given_back = |first, times, second| {
        let mut own = vec![put(0, 1, 1), put(2, 3, 2), take(4, 5, 1, 1), one(6, 7, Act::GiveBack(1))];
        own.extend([
            take(8, 9, first, times),
            ack(10, 11, first),
            take(12, 13, second, 3 - times),
            ack(14, 15, second),
        ]);
        can_be(&[own])
    };
    assert!(given_back(1, 2, 2) && !given_back(1, 1, 2) && !given_back(2, 1, 1));
    // A get that had begun before may take another.
    let late = |began| {
        can_be(&[
            vec![put(0, 1, 1), take(2, 3, 1, 1), one(6, 7, Act::GiveBack(1)), put(8, 9, 2)],
            vec![take(began, 20, 2, 1), ack(21, 22, 2), take(23, 24, 1, 2), ack(25, 26, 1)],
        ])
    };
    assert!(late(5) && !late(10));
    // Killed: a put that was cut short is in or not, a lease of the dead comes again with its count raised.
    let killed = |last: Step, rest: Vec<Step>| {
        let dead = [vec![put(0, 1, 1), take(2, 3, 1, 1), last], recovery(11, 12)].concat();
        can_be(&[dead, rest])
    };
    let cut_put = perhaps(4, 10, Act::Put(2));
    assert!(killed(cut_put, vec![take(20, 21, 1, 2), ack(22, 23, 1), one(24, 25, Act::Empty)]));
    assert!(killed(cut_put, vec![take(20, 21, 1, 2), ack(22, 23, 1), take(24, 25, 2, 1), ack(26, 27, 2)]));
    assert!(!killed(cut_put, vec![take(20, 21, 1, 1), ack(22, 23, 1)]));
    assert!(!killed(cut_put, vec![one(20, 21, Act::Empty)]));
    assert!(!killed(cut_put, vec![take(20, 21, 1, 2), ack(22, 23, 1), take(24, 25, 2, 2), ack(26, 27, 2)]));
    let cut_ack = perhaps(4, 10, Act::Ack(Some(1)));
    assert!(killed(cut_ack, vec![one(20, 21, Act::Empty)]));
    assert!(killed(cut_ack, vec![take(20, 21, 1, 2), ack(22, 23, 1)]));
    let cut_give_back = perhaps(4, 10, Act::GiveBack(1));
    assert!(killed(cut_give_back, vec![take(20, 21, 1, 2), ack(22, 23, 1)]));
    assert!(!killed(cut_give_back, vec![take(20, 21, 1, 3), ack(22, 23, 1)]));
    // Taken by the dead one, unknown to all: it comes again, once.
    let unknown = perhaps(4, 10, Act::Take { value: None, deliveries: None });
    let dead = [vec![put(0, 1, 1), unknown], recovery(11, 12)].concat();
    for times in [1, 2] {
        assert!(can_be(&[dead.clone(), vec![take(20, 21, 1, times), ack(22, 23, 1)]]));
    }
    assert!(!can_be(&[dead, vec![take(20, 21, 1, 3), ack(22, 23, 1)]]));
}
