//! Where measurements take place: parties are started, brought to the line, told to go, and never left behind.

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use worker::{Child, Process};

use super::lines::{Kind, Wire};
use super::party::{Job, Role};
use super::work::{Done, Load, Trips};
use crate::Trouble;

/// How long one measurement may take before the bench gives up on it. The longest take a second.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long a party may take to end after its work.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// Waits until something can be read and reads it, at most so long. What is read by one call must come at once, or with
/// the end of whoever writes.
pub fn read_within<R: AsFd + Read, T>(
    from: &mut R,
    patience: Duration,
    read: impl FnOnce(&mut R) -> io::Result<T>,
) -> Result<T, Trouble> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::new(format!("nothing came within {patience:?}")));
        }
        let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(read(from)?),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A process of a measurement; killed when it is no longer of use.
struct Party {
    child: Child,
    tells: BufReader<PipeReader>,
    hears: PipeWriter,
    has_told: bool,
}

impl Party {
    /// Starts it and brings it to where it is ready.
    fn ready(job: Job, wires: &[(&str, &Wire)]) -> Result<Party, Trouble> {
        let (hears_at, hears) = io::pipe()?;
        let (tells, tells_at) = io::pipe()?;
        let mut process = Process::new(std::env::current_exe()?)
            .args(["party"])
            .kwargs(job)
            .daemon(true)
            .stdin(hears_at)
            .stdout(tells_at);
        for (name, wire) in wires {
            process = wire.pass(process, name);
        }
        let child = process.start().map_err(Trouble::new)?;
        drop(process);
        let mut party = Party { child, tells: BufReader::new(tells), hears, has_told: false };
        loop {
            let line = party.line()?;
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["ready"] => return Ok(party),
                [wanted, name, server] => {
                    let wire = wires.iter().find(|(known, _)| known == name).map(|(_, wire)| wire);
                    let Some(Wire::Channel(loose)) = wire else {
                        return Err(Trouble::new(format!("nobody has an end of {name}")));
                    };
                    loose.send_end(wanted, server)?;
                }
                _ => return Err(Trouble::new(format!("a party said {line:?}"))),
            }
        }
    }

    fn line(&mut self) -> Result<String, Trouble> {
        let mut line = String::new();
        if self.tells.buffer().is_empty() {
            let read = |pipe: &mut PipeReader| {
                let mut bytes = [0; 4096];
                let count = pipe.read(&mut bytes)?;
                Ok(bytes[..count].to_vec())
            };
            // A line of a party is far below PIPE_BUF and comes as a whole.
            let bytes = read_within(self.tells.get_mut(), DEADLINE, read)?;
            let all = String::from_utf8_lossy(&bytes).into_owned();
            return match all.strip_suffix('\n') {
                Some(one) if !one.contains('\n') => Ok(one.to_owned()),
                _ => Err(Trouble::new(format!("{} said {all:?} and ended", self.child))),
            };
        }
        self.tells.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn go(&mut self) -> Result<(), Trouble> {
        Ok(self.hears.write_all(b"go\n")?)
    }

    fn result<T: DeserializeOwned>(&mut self) -> Result<T, Trouble> {
        let line = self.line()?;
        self.has_told = true;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        // One that has told what it did ends by itself.
        if !self.has_told || self.child.join(LAST_STEPS).is_err() {
            let _ = self.child.kill();
            let _ = self.child.join(DEADLINE);
        }
    }
}

/// The processors for two sides: one each where there are two.
pub fn two_processors() -> [Option<usize>; 2] {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return [None; 2] };
    let mut allowed = (0..nix::sched::CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    match (allowed.next(), allowed.next()) {
        (Some(one), Some(other)) => [Some(one), Some(other)],
        _ => [None; 2],
    }
}

/// Messages a second.
pub fn flow(kind: Kind, load: Load) -> Result<f64, Trouble> {
    // One and one have a processor each, so that it is not measured whether the kernel puts them there; more than that
    // are left to the kernel, as in a run.
    let [put_on, get_on] =
        if load.producers == 1 && load.consumers == 1 { two_processors() } else { [None; 2] };
    let total = (load.each * load.producers) as f64;
    let seconds = |begun: u64, ended: u64| ended.saturating_sub(begun).max(1) as f64 / 1e9;
    if kind == Kind::Crossbeam {
        let mut party = Party::ready(Job { kind, role: Role::Alone(load), cpus: [put_on, get_on] }, &[])?;
        party.go()?;
        let done: Done = party.result()?;
        return Ok(total / seconds(done.begun, done.ended));
    }
    let wire = Wire::new(kind, load.bytes)?;
    let start = |role, cpu| Party::ready(Job { kind, role, cpus: [cpu, None] }, &[("there", &wire)]);
    let mut getting = Vec::new();
    for _ in 0..load.consumers {
        getting.push(start(Role::Consume(load), get_on)?);
    }
    let mut putting = Vec::new();
    for _ in 0..load.producers {
        putting.push(start(Role::Produce(load), put_on)?);
    }
    wire.is_open();
    getting.iter_mut().chain(&mut putting).try_for_each(Party::go)?;
    let begun: Result<Vec<Done>, _> = putting.iter_mut().map(Party::result).collect();
    let ended: Result<Vec<Done>, _> = getting.iter_mut().map(Party::result).collect();
    let begun = begun?.iter().map(|done| done.begun).min().unwrap_or(0);
    let ended = ended?.iter().map(|done| done.ended).max().unwrap_or(0);
    Ok(total / seconds(begun, ended))
}

/// Round trips of 64 bytes, with a pause before each or without, on two processors.
pub fn trips(kind: Kind, turns: u64, pause: Option<Duration>) -> Result<Trips, Trouble> {
    let cpus = two_processors();
    let pause_us = pause.map(|pause| pause.as_micros() as u64);
    if kind == Kind::Crossbeam {
        let mut party = Party::ready(Job { kind, role: Role::PingAlone { turns, pause_us }, cpus }, &[])?;
        party.go()?;
        return party.result();
    }
    let bytes = 64;
    let (there, back) = (Wire::new(kind, bytes)?, Wire::new(kind, bytes)?);
    let wires = [("there", &there), ("back", &back)];
    let answers = Job { kind, role: Role::Pong { bytes }, cpus: [cpus[1], None] };
    let mut pong = Party::ready(answers, &wires)?;
    let begins = Job { kind, role: Role::Ping { bytes, turns, pause_us }, cpus: [cpus[0], None] };
    let mut ping = Party::ready(begins, &wires)?;
    wires.iter().for_each(|(_, wire)| wire.is_open());
    pong.go()?;
    ping.go()?;
    let trips = ping.result()?;
    pong.result::<Done>()?;
    Ok(trips)
}

/// Has a party take so many messages of a queue, and kills it; its pid.
pub fn take_and_die(queue: &worker::ipc::Queue, messages: usize) -> Result<u32, Trouble> {
    let wire = Wire::Shared(queue.as_fd().try_clone_to_owned()?);
    let job = Job { kind: Kind::Ours, role: Role::Take { messages }, cpus: [None; 2] };
    let party = Party::ready(job, &[("there", &wire)])?;
    let pid = party.child.pid();
    drop(party);
    Ok(pid)
}
