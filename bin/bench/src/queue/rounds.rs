//! Ours and its peers in turns.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bench::figures::{Figure, Target, median, paired};

use super::hall::{flow, trips};
use super::lines::Kind;
use super::python::{self, Class};
use super::work::{Load, Trips};
use crate::Trouble;

/// How many produce and how many consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape(pub u64, pub u64);

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}P{}C", self.0, self.1)
    }
}

/// What can be beside ours where messages flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    Line(Kind),
    Python(Class),
}

impl Peer {
    fn word(self) -> &'static str {
        match self {
            Peer::Line(kind) => kind.word(),
            Peer::Python(class) => class.word(),
        }
    }
}

/// How much is measured, and what was found out about how much that is.
pub struct Rounds {
    rounds: usize,
    begun: Instant,
    /// How long all rows together may take: the later ones have fewer rounds where the machine is slow.
    budget: Duration,
    /// How long one measurement is to take.
    length: Duration,
    /// Words of which a row, or its peer, must have one; none: every row is wanted.
    only: Vec<String>,
    /// Messages of each producer that take about that long.
    fitting: HashMap<(Peer, Shape, usize), u64>,
}

/// What messages of so many bytes are counted in, and how many one of it is.
fn unit(bytes: usize) -> (&'static str, f64) {
    if bytes < 65_536 { ("M/s", 1e6) } else { ("k/s", 1e3) }
}

/// Messages of a first look, and of any measurement at least.
const FEW: u64 = 64;

impl Rounds {
    pub fn new(rounds: usize, length: Duration, budget: Duration, only: Vec<String>) -> Rounds {
        Rounds { rounds, begun: Instant::now(), budget, length, only, fitting: HashMap::new() }
    }

    /// Whether a row is asked for; says that it is being measured.
    pub fn begins(&self, figure: &str, peer: &str) -> bool {
        let is_wanted = self.only.is_empty()
            || self.only.iter().any(|word| figure.contains(word.as_str()) || peer.contains(word.as_str()));
        if is_wanted {
            let rounds = self.count();
            let slow = if rounds < self.rounds {
                format!(", {rounds} rounds: time runs short")
            } else {
                String::new()
            };
            eprintln!("bench: {figure}, beside {peer}{slow}");
        }
        is_wanted
    }

    /// How many rounds the next row has. The rows that something is asked of come first.
    pub fn count(&self) -> usize {
        match self.begun.elapsed().as_secs_f64() / self.budget.as_secs_f64() {
            spent if spent < 0.5 => self.rounds,
            spent if spent < 0.8 => self.rounds.min(3),
            _ => 1,
        }
    }

    /// Messages a second; `None` where the peer is not here.
    fn rate(&mut self, peer: Peer, shape: Shape, bytes: usize) -> Result<Option<f64>, Trouble> {
        let run = |each: u64| {
            let batch = if peer == Peer::Line(Kind::OursBatched) { 64 } else { 1 };
            let each = each.next_multiple_of(batch as u64);
            let load = Load { bytes, each, producers: shape.0, consumers: shape.1, batch };
            match peer {
                Peer::Line(kind) => flow(kind, load).map(Some),
                Peer::Python(class) => python::rate(class, load),
            }
        };
        let key = (peer, shape, bytes);
        let each = match self.fitting.get(&key) {
            Some(each) => *each,
            None => {
                // A first look, and a second that is long enough to tell: the first messages of a line are its slowest.
                let mut each = FEW;
                for share in [0.02, 0.25, 1.0] {
                    let Some(rate) = run(each)? else { return Ok(None) };
                    let fits = rate * self.length.as_secs_f64() * share / shape.0 as f64;
                    each = (fits as u64).max(FEW);
                }
                self.fitting.insert(key, each);
                each
            }
        };
        run(each)
    }

    /// A row: messages a second of ours, in `ours`'s way, beside a peer.
    pub fn flow(
        &mut self,
        figure: &str,
        (ours, shape, bytes): (Kind, Shape, usize),
        peer: Peer,
        target: Target,
    ) -> Result<Option<Figure>, Trouble> {
        if !self.begins(figure, peer.word()) {
            return Ok(None);
        }
        let (unit, in_unit) = unit(bytes);
        let ours = Peer::Line(ours);
        let (mut our_rates, mut peer_rates) = (Vec::new(), Vec::new());
        for round in 0..self.count() {
            // Who is first is not first in the next round.
            for who in if round % 2 == 0 { [ours, peer] } else { [peer, ours] } {
                if who == ours {
                    our_rates.extend(self.rate(ours, shape, bytes)?.map(|rate| rate / in_unit));
                    continue;
                }
                let rate = self.rate(peer, shape, bytes).unwrap_or_else(|trouble| {
                    eprintln!("bench: {} is skipped: {trouble}", peer.word());
                    None
                });
                let Some(rate) = rate else {
                    return self.flow_alone(figure, (ours, shape, bytes), peer).map(Some);
                };
                peer_rates.push(rate / in_unit);
            }
        }
        let ratio = paired(&our_rates, &peer_rates);
        let beside = (peer.word(), median(&peer_rates));
        Ok(Some(Figure::beside(figure, median(&our_rates), beside, unit, ratio, target)))
    }

    /// A row whose peer is not here.
    fn flow_alone(
        &mut self,
        figure: &str,
        (ours, shape, bytes): (Peer, Shape, usize),
        peer: Peer,
    ) -> Result<Figure, Trouble> {
        let (unit, in_unit) = unit(bytes);
        let mut rates = Vec::new();
        for _ in 0..self.count() {
            rates.extend(self.rate(ours, shape, bytes)?.map(|rate| rate / in_unit));
        }
        Ok(Figure::without(figure, median(&rates), peer.word(), unit))
    }

    /// Three rows: round trips of ours beside a peer's.
    pub fn trips(
        &mut self,
        figure: &str,
        (turns, pause): (u64, Option<Duration>),
        peer: Kind,
        target: Target,
    ) -> Result<Vec<Figure>, Trouble> {
        if !self.begins(figure, peer.word()) {
            return Ok(Vec::new());
        }
        let (mut ours, mut theirs): (Vec<Trips>, Vec<Trips>) = (Vec::new(), Vec::new());
        for _ in 0..self.count() {
            ours.push(trips(Kind::Ours, turns, pause)?);
            match trips(peer, turns, pause) {
                Ok(trips) => theirs.push(trips),
                Err(trouble) => {
                    eprintln!("bench: {} is skipped: {trouble}", peer.word());
                    let own: Vec<f64> = ours.iter().map(|trips| trips.each).collect();
                    return Ok(vec![Figure::without(figure, median(&own), peer.word(), "ns")]);
                }
            }
        }
        let row = |name: String, of: fn(&Trips) -> f64, target: Target| {
            let (ours, theirs): (Vec<f64>, Vec<f64>) =
                (ours.iter().map(of).collect(), theirs.iter().map(of).collect());
            let beside = (peer.word(), median(&theirs));
            Figure::beside(name, median(&ours), beside, "ns", paired(&ours, &theirs), target)
        };
        let mut rows = vec![row(figure.to_owned(), |trips| trips.each, target)];
        rows.push(row(format!("{figure}, p50 with the clock"), |trips| trips.p50, Target::Report));
        rows.push(row(format!("{figure}, p99 with the clock"), |trips| trips.p99, Target::Report));
        Ok(rows)
    }
}
