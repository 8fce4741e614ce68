//! Supervisors that others have written, beside ours, in turns: start, memory, status, stop, and restart. Those that are
//! not installed are left out with a word.

mod scene;
mod setups;

use std::thread;
use std::time::Duration;

use bench::Stamp;
use bench::figures::{Figure, Target, median, paired};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Output, Stage};
use crate::{Trouble, facts};
use scene::Guest;
use setups::{PEERS, Peer};

/// How much is measured of each.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How many workers.
    pub count: u32,
    /// How often all of them are started and stopped.
    pub rounds: usize,
    /// How many are killed and come back.
    pub kills: usize,
}

/// One after the other: ours, then theirs.
#[derive(Default)]
struct Pairs {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pairs {
    fn figure(&self, what: String, peer: &Peer, unit: &'static str) -> Option<Figure> {
        if self.ours.is_empty() || self.theirs.is_empty() {
            return None;
        }
        let theirs = (peer.name, median(&self.theirs));
        Some(Figure::beside(
            what,
            median(&self.ours),
            theirs,
            unit,
            paired(&self.ours, &self.theirs),
            Target::Report,
        ))
    }
}

/// Measures ours beside each that is installed.
pub fn figures(stage: &mut Stage, extent: Extent) -> Vec<Figure> {
    let mut figures = Vec::new();
    for peer in &PEERS {
        if let Some(missing) = peer.lacks() {
            eprintln!("bench: {} is left out: {missing} is not installed", peer.name);
            continue;
        }
        let extent = Extent { count: extent.count.min(peer.most), ..extent };
        match beside(stage, peer, extent) {
            Ok(found) => figures.extend(found),
            // It is not ours to mend; the others are measured all the same.
            Err(trouble) => eprintln!("bench: {} could not be measured: {trouble}", peer.name),
        }
    }
    figures
}

fn beside(stage: &mut Stage, peer: &Peer, extent: Extent) -> Result<Vec<Figure>, Trouble> {
    let Extent { count, rounds, kills } = extent;
    let [mut start, mut memory, mut status, mut stop] = <[Pairs; 4]>::default();
    for round in 1..=rounds {
        eprintln!("bench: {count} workers beside {}, round {round} of {rounds}", peer.name);
        let mut ours = stage.ours(count, Output::Null)?;
        start.ours.push(ours.born(count)?);
        thread::sleep(SETTLE);
        memory.ours.push(facts::pss_kib(ours.pid())?);
        status.ours.push(ours.status_ms()?);
        stop.ours.push(ours.stop()?.workers_ms);

        let mut theirs = Guest::open(stage, peer, count)?;
        start.theirs.push(theirs.born(count)?);
        thread::sleep(SETTLE);
        memory.theirs.push(theirs.pss_kib()?);
        if let Some(ms) = theirs.status_ms()? {
            status.theirs.push(ms);
        }
        stop.theirs.push(theirs.stop()?);
    }
    let restart = restarts(stage, peer, kills)?;
    let named = |what: &str| format!("{what}, {count} workers");
    let all = [
        start.figure(named("start to all running"), peer, "ms"),
        restart.figure(format!("death to successor's main, median of {kills}"), peer, "ms"),
        memory.figure(named("memory (PSS) of the machinery"), peer, "KiB"),
        status.figure(named("status"), peer, "ms"),
        stop.figure(named("stop to all gone"), peer, "ms"),
    ];
    Ok(all.into_iter().flatten().collect())
}

/// How long all are left alone before their memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

fn restarts(stage: &mut Stage, peer: &Peer, kills: usize) -> Result<Pairs, Trouble> {
    eprintln!("bench: {kills} restarts beside {}", peer.name);
    let mut pairs = Pairs::default();
    let mut ours = stage.ours(1, Output::Null)?;
    let mut theirs = Guest::open(stage, peer, 1)?;
    let mut pids = [ours.next_birth()?.pid, theirs.next_birth()?.pid];
    for _ in 0..kills {
        thread::sleep(peer.settles_in);
        let death = Stamp::now();
        kill(Pid::from_raw(pids[0]), Signal::SIGKILL)?;
        let birth = ours.next_birth()?;
        pairs.ours.push(birth.at.ms_since(death));
        let death = Stamp::now();
        kill(Pid::from_raw(pids[1]), Signal::SIGKILL)?;
        let next = theirs.next_birth()?;
        pairs.theirs.push(next.at.ms_since(death));
        pids = [birth.pid, next.pid];
    }
    ours.stop()?;
    theirs.stop()?;
    Ok(pairs)
}
