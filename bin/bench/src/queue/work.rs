//! What is done with every line alike: messages in, messages out, and to and fro.
//!
//! The first byte of a message says whether it is one or the end: every producer ends with one end a consumer, and every
//! consumer ends when it has got as many as there are producers. So all kinds of line stop in the same way, and a line
//! needs neither counting nor closing.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use bench::Stamp;
use bench::figures::{median, p99};
use serde::{Deserialize, Serialize};

use crate::Trouble;

/// A message that is one; an end is zero.
const MESSAGE: u8 = 7;
const END: u8 = 0;

/// Turns of a ping-pong before it counts.
const WARM_TURNS: u64 = 200;

/// How long each part of a ping-pong may take: on a machine that is busy otherwise a turn takes as long as others have the
/// processor, and fewer turns must do.
const TURNS_TAKE: Duration = Duration::from_secs(1);

/// The end of a line that messages go into.
pub trait Put {
    /// Puts a copy of the message, waiting for room.
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble>;

    /// Puts many alike; where a line has no better way, one after the other.
    fn put_many(&mut self, message: &[u8], count: usize) -> Result<(), Trouble> {
        (0..count).try_for_each(|_| self.put(message))
    }
}

/// The end of a line that messages come out of.
pub trait Get {
    /// Gets the next message, waiting for one, and shows all of it to `look`.
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble>;
}

/// What one process of a measurement did, in nanoseconds of the clock that all share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    pub begun: u64,
    pub ended: u64,
}

/// What a ping-pong took, in nanoseconds a round trip.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Trips {
    /// The median over blocks of trips: no look at a clock is in it.
    pub each: f64,
    pub p50: f64,
    pub p99: f64,
}

/// So many messages of so many bytes, and then the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub bytes: usize,
    /// Messages of each producer.
    pub each: u64,
    pub producers: u64,
    pub consumers: u64,
    /// How many are put together, where a line can.
    pub batch: usize,
}

/// The work of a producer.
pub fn produce(line: &mut impl Put, load: Load) -> Result<Done, Trouble> {
    let message = vec![MESSAGE; load.bytes];
    let begun = Stamp::now().0;
    if load.batch > 1 {
        for _ in 0..load.each / load.batch as u64 {
            line.put_many(black_box(&message), load.batch)?;
        }
    } else {
        for _ in 0..load.each {
            line.put(black_box(&message))?;
        }
    }
    let ended = Stamp::now().0;
    let end = vec![END; load.bytes];
    (0..load.consumers).try_for_each(|_| line.put(&end))?;
    Ok(Done { begun, ended })
}

/// The work of a consumer.
pub fn consume(line: &mut impl Get, load: Load) -> Result<Done, Trouble> {
    let begun = Stamp::now().0;
    let mut ends = 0;
    while ends < load.producers {
        line.get(&mut |message| {
            if black_box(message)[0] == END {
                ends += 1;
            }
        })?;
    }
    Ok(Done { begun, ended: Stamp::now().0 })
}

/// The work of the one that begins each trip. With a pause before each the other one has fallen asleep.
pub fn ping(
    there: &mut impl Put,
    back: &mut impl Get,
    bytes: usize,
    turns: u64,
    pause: Option<Duration>,
) -> Result<Trips, Trouble> {
    let message = vec![MESSAGE; bytes];
    let mut turn = || {
        there.put(black_box(&message))?;
        back.get(&mut |message| {
            black_box(message);
        })
    };
    let limit = || Stamp::now().0 + TURNS_TAKE.as_nanos() as u64;
    let until = limit();
    for _ in 0..WARM_TURNS.min(turns) {
        turn()?;
        if Stamp::now().0 > until {
            break;
        }
    }
    let mut times = Vec::with_capacity(turns as usize);
    let until = limit();
    while times.len() < turns as usize && Stamp::now().0 < until {
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
        let begun = Stamp::now().0;
        turn()?;
        times.push((Stamp::now().0 - begun) as f64);
    }
    let each = if pause.is_some() { median(&times) } else { blocks(turns, &mut turn)? };
    there.put(&vec![END; bytes])?;
    Ok(Trips { each, p50: median(&times), p99: p99(&times) })
}

/// The median over blocks of trips, so that the clock is looked at once in a hundred.
fn blocks(turns: u64, turn: &mut impl FnMut() -> Result<(), Trouble>) -> Result<f64, Trouble> {
    const BLOCK: u64 = 100;
    let mut times: Vec<f64> = Vec::new();
    let until = Stamp::now().0 + TURNS_TAKE.as_nanos() as u64;
    while times.is_empty() || (times.len() < (turns / BLOCK) as usize && Stamp::now().0 < until) {
        let begun = Stamp::now().0;
        (0..BLOCK).try_for_each(|_| turn())?;
        times.push((Stamp::now().0 - begun) as f64 / BLOCK as f64);
    }
    Ok(median(&times))
}

/// The work of the one that answers.
pub fn pong(there: &mut impl Get, back: &mut impl Put, bytes: usize) -> Result<Done, Trouble> {
    let answer = vec![MESSAGE; bytes];
    let begun = Stamp::now().0;
    let mut is_over = false;
    loop {
        there.get(&mut |message| is_over = message[0] == END)?;
        if is_over {
            return Ok(Done { begun, ended: Stamp::now().0 });
        }
        back.put(&answer)?;
    }
}
