//! A process of a measurement: opens what it was passed, says that it is ready, works, says what it did.
//!
//! ```text
//!   party ─ put-end NAME SERVER ─► bench      where an end has to be sent to it
//!   party ─ ready ───────────────► bench ─ go ─► party ─ works ─ one line of JSON ─► bench
//! ```

use std::fmt;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use worker::ipc::Queue;

use super::lines::{Ends, Kind, channel, crossbeam, mq, ours, passed, ring, socket, word};
use super::work::{Load, consume, ping, pong, produce};
use crate::Trouble;

/// What a party is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    pub kind: Kind,
    pub role: Role,
    /// Its processor, and that of a second thread where it has one.
    pub cpus: [Option<usize>; 2],
}

/// Which part it has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Role {
    Produce(Load),
    Consume(Load),
    Ping {
        bytes: usize,
        turns: u64,
        pause_us: Option<u64>,
    },
    Pong {
        bytes: usize,
    },
    /// Both sides, on threads.
    Alone(Load),
    PingAlone {
        turns: u64,
        pause_us: Option<u64>,
    },
    /// Takes so many messages of a queue of ours and is killed.
    Take {
        messages: usize,
    },
}

/// Tells the bench something.
pub fn say(what: fmt::Arguments<'_>) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

/// Says that all is ready, and waits to be told to go.
pub fn go() -> Result<(), Trouble> {
    say(format_args!("ready"))?;
    match io::stdin().lock().read_line(&mut String::new())? {
        0 => Err(Trouble::new("the bench is gone")),
        _ => Ok(()),
    }
}

/// Stays on one processor from now on.
pub fn pin(cpu: Option<usize>) -> Result<(), Trouble> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Does the job that this process was started for.
pub fn party() -> Result<(), Trouble> {
    let job: Job = worker::current_process().kwargs()?;
    match job.role {
        Role::Alone(load) => return tell(&crossbeam::flow(load, job.cpus)?),
        Role::PingAlone { turns, pause_us } => {
            return tell(&crossbeam::trips(turns, pause_us.map(Duration::from_micros), job.cpus)?);
        }
        Role::Take { messages } => return take(messages),
        _ => pin(job.cpus[0])?,
    }
    let bytes = match job.role {
        Role::Produce(load) | Role::Consume(load) => load.bytes,
        Role::Ping { bytes, .. } | Role::Pong { bytes } => bytes,
        _ => 0,
    };
    match job.kind {
        Kind::Ours => play(job.role, &ours::PlainEnds),
        Kind::OursLeased => play(job.role, &ours::LeasedEnds),
        Kind::OursBatched => play(job.role, &ours::BatchedEnds),
        Kind::Channel => play(job.role, &channel::ChannelEnds),
        Kind::Socket => play(job.role, &socket::SocketEnds(bytes)),
        Kind::Mq => play(job.role, &mq::MqEnds(bytes)),
        Kind::Ring => play(job.role, &ring::RingEnds(bytes)),
        Kind::Futex => play(job.role, &word::WordEnds { sleeps: true }),
        Kind::Spin => play(job.role, &word::WordEnds { sleeps: false }),
        Kind::Crossbeam => Err(Trouble::new("threads of one process need no second party")),
    }
}

fn play<E: Ends>(role: Role, ends: &E) -> Result<(), Trouble> {
    match role {
        Role::Produce(load) => {
            let mut line = ends.put_end("there")?;
            go()?;
            tell(&produce(&mut line, load)?)
        }
        Role::Consume(load) => {
            let mut line = ends.get_end("there")?;
            go()?;
            tell(&consume(&mut line, load)?)
        }
        Role::Ping { bytes, turns, pause_us } => {
            let (mut there, mut back) = (ends.put_end("there")?, ends.get_end("back")?);
            go()?;
            tell(&ping(&mut there, &mut back, bytes, turns, pause_us.map(Duration::from_micros))?)
        }
        Role::Pong { bytes } => {
            let (mut there, mut back) = (ends.get_end("there")?, ends.put_end("back")?);
            go()?;
            tell(&pong(&mut there, &mut back, bytes)?)
        }
        Role::Alone(_) | Role::PingAlone { .. } | Role::Take { .. } => Ok(()),
    }
}

fn tell(what: &impl Serialize) -> Result<(), Trouble> {
    say(format_args!("{}", serde_json::to_string(what)?))
}

fn take(messages: usize) -> Result<(), Trouble> {
    let queue = Queue::from_fd(passed("there")?).map_err(Trouble::new)?;
    let leases: Result<Vec<_>, _> = (0..messages).map(|_| queue.lease()).collect();
    let _leases = leases.map_err(Trouble::new)?;
    go()
}
