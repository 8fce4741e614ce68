//! The queue as the books have it, and histories as steps of it.
//!
//! Messages wait in two lines: those that were put, of which there are at most so many, and those that were given back,
//! which come first. *First* is said with care: a get looks for messages that were given back and finds none, then takes
//! the oldest of the others; one that is given back between the two does not hinder it. An answer of "empty" is stricter:
//! there was a moment at which neither line had one.
//!
//! Of an operation that a kill cut short it is not known whether it happened. Recovery gives back what the dead one held,
//! one message after the other.

use std::collections::{BTreeMap, VecDeque};

use crate::history::{Answer, Call, Entry};

/// Messages that may wait at once.
pub const CAPACITY: usize = 3;
/// Messages that one process leases at once, by itself.
pub const MOST_HELD: usize = 2;

/// Something that happened at one moment between two, or perhaps did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub began: u64,
    pub ended: u64,
    pub is_certain: bool,
    pub act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Put(u64),
    Full,
    Empty,
    /// A message goes into a process's hand; which one, and which delivery it is, where that is known.
    Take {
        value: Option<u64>,
        deliveries: Option<u64>,
    },
    /// A message in hand is done with; the last one taken where none is named.
    Ack(Option<u64>),
    GiveBack(u64),
    /// Recovery gives back any one that the dead process held.
    GiveBackAny,
    /// Recovery is over: the dead process holds nothing.
    HoldsNothing,
}

/// What a log says, of a process that was alive until `dead` at most.
pub fn steps(entries: &[Entry], dead: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for entry in entries {
        let is_certain = entry.ended != 0;
        let ended = if is_certain { entry.ended } else { dead };
        let mut add = |act: Act| steps.push(Step { began: entry.began, ended, is_certain, act });
        match (entry.call, entry.answer) {
            (Call::Put, Answer::Refused) if is_certain => add(Act::Full),
            (Call::Put, _) => add(Act::Put(entry.value)),
            (Call::Get | Call::Lease, Answer::Refused) if is_certain => add(Act::Empty),
            (Call::Lease, _) if is_certain => {
                add(Act::Take { value: Some(entry.got), deliveries: Some(entry.deliveries) });
            }
            (Call::Get, _) if is_certain => {
                add(Act::Take { value: Some(entry.got), deliveries: None });
                add(Act::Ack(Some(entry.got)));
            }
            (Call::Lease, _) => add(Act::Take { value: None, deliveries: None }),
            (Call::Get, _) => {
                add(Act::Take { value: None, deliveries: None });
                // What it got at once it may have been done with, and took along.
                add(Act::Ack(None));
            }
            (Call::Ack, _) => add(Act::Ack(Some(entry.value))),
            (Call::GiveBack, _) => add(Act::GiveBack(entry.value)),
        }
    }
    steps
}

/// What the recovery of a dead process did between two moments.
pub fn recovery(began: u64, ended: u64) -> Vec<Step> {
    let step = |is_certain: bool, act: Act| Step { began, ended, is_certain, act };
    // Those it leased, and one that it was about to get.
    let mut steps = vec![step(false, Act::GiveBackAny); MOST_HELD + 1];
    steps.push(step(true, Act::HoldsNothing));
    steps
}

/// The queue at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    first: VecDeque<u64>,
    again: VecDeque<u64>,
    /// Who holds what, in the order of taking.
    held: Vec<(u16, u64)>,
    /// How often what is here was given back, where it was at all.
    times: BTreeMap<u64, u64>,
}

/// How far a step has come by a change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It found nothing that was given back, and has the rest before it.
    HalfWay,
    Done,
}

impl State {
    /// All that may come of this step at this moment, if it happens.
    pub fn after(&self, process: u16, act: Act, is_half_way: bool) -> Vec<(State, Stage)> {
        match act {
            Act::Put(value) if self.first.len() < CAPACITY => {
                self.changed(|next| next.first.push_back(value))
            }
            Act::Full if self.first.len() == CAPACITY => self.changed(|_| {}),
            Act::Empty if self.first.is_empty() && self.again.is_empty() => self.changed(|_| {}),
            Act::Take { value, deliveries } => self.taken(process, value, deliveries, is_half_way),
            Act::Ack(value) => self.released(process, value, |_, _| {}),
            Act::GiveBack(value) => self.released(process, Some(value), State::give_back),
            Act::GiveBackAny => {
                let mine = self.held.iter().filter(|(holder, _)| *holder == process);
                mine.flat_map(|(_, value)| self.released(process, Some(*value), State::give_back)).collect()
            }
            Act::HoldsNothing if self.held.iter().all(|(holder, _)| *holder != process) => {
                self.changed(|_| {})
            }
            _ => Vec::new(),
        }
    }

    /// Whether nothing is left anywhere.
    pub fn is_settled(&self) -> bool {
        self.first.is_empty() && self.again.is_empty() && self.held.is_empty()
    }

    fn changed(&self, change: impl FnOnce(&mut State)) -> Vec<(State, Stage)> {
        let mut next = self.clone();
        change(&mut next);
        vec![(next, Stage::Done)]
    }

    fn taken(
        &self,
        process: u16,
        value: Option<u64>,
        deliveries: Option<u64>,
        is_half_way: bool,
    ) -> Vec<(State, Stage)> {
        let is_it = |found: &u64| {
            let before = self.times.get(found).copied().unwrap_or(0);
            value.is_none_or(|value| value == *found)
                && deliveries.is_none_or(|deliveries| deliveries == before + 1)
        };
        let take = |line: fn(&mut State) -> &mut VecDeque<u64>| {
            self.changed(|next| {
                let found = line(next).pop_front().expect("it was looked at");
                next.held.push((process, found));
            })
        };
        let mut after = Vec::new();
        if is_half_way {
            if self.first.front().is_some_and(is_it) {
                after.extend(take(|state| &mut state.first));
            }
            return after;
        }
        if self.again.front().is_some_and(is_it) {
            after.extend(take(|state| &mut state.again));
        }
        if self.again.is_empty() {
            after.push((self.clone(), Stage::HalfWay));
        }
        after
    }

    fn released(
        &self,
        process: u16,
        value: Option<u64>,
        then: impl FnOnce(&mut State, u64),
    ) -> Vec<(State, Stage)> {
        let is_it = |held: &(u16, u64)| held.0 == process && value.is_none_or(|value| value == held.1);
        let Some(at) = self.held.iter().rposition(is_it) else { return Vec::new() };
        self.changed(|next| {
            let (_, value) = next.held.remove(at);
            then(next, value);
        })
    }

    fn give_back(&mut self, value: u64) {
        *self.times.entry(value).or_default() += 1;
        self.again.push_back(value);
    }
}
