//! Processes put and get through a queue while a killer sends SIGKILL at random; ledgers prove what came of
//! every message.
//!
//! A producer notes each put that has returned in a file of its own; a consumer notes each message before it
//! acknowledges it. At the end every message whose put returned must be noted by a consumer, none may be noted
//! that nobody put, none may be torn, and of several notes of one message at most one may be of a first
//! delivery. Every third kill also goes to a process that does nothing but recover the dead.
//!
//! `cargo test -p ipc --test soak -- --kills 20000 --seed 7 --alone`; with `--alone` nobody supervises: only
//! the participants look after each other. With `--durable` the queue is kept on disk, and now and then all are
//! killed at once, nobody has it any more, and it is opened again.

mod ledger;
mod worker;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ipc::{Fsync, Queue, QueueOptions};

/// How long everything may take to come to its end once the killing is over.
const WATCHDOG: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "worker") {
        return worker::main(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let seed = number("--seed", u64::from(std::process::id()));
    let kills = number("--kills", 200);
    let asked_for = |how: &How| args.iter().any(|arg| arg == how.flag());
    let all = [(How::Supervised, kills), (How::Alone, kills / 4), (How::Durable, kills / 4)];
    let wanted: Vec<(How, u64)> = match all.iter().find(|(how, _)| asked_for(how)) {
        Some(&(how, _)) => vec![(how, kills)],
        None => all.to_vec(),
    };
    for &(how, kills) in &wanted {
        if let Err(problem) = soak(kills, seed, how) {
            println!("soak: FAILED with --seed {seed} {}: {problem}", how.flag());
            println!("0 passed, 1 failed");
            return ExitCode::FAILURE;
        }
    }
    println!("{} passed, 0 failed", wanted.len());
    ExitCode::SUCCESS
}

/// Who looks after the dead, and where the queue is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Supervised,
    Alone,
    Durable,
}

impl How {
    fn flag(self) -> &'static str {
        match self {
            Self::Supervised => "--supervised",
            Self::Alone => "--alone",
            Self::Durable => "--durable",
        }
    }

    fn options(self) -> QueueOptions {
        QueueOptions {
            capacity: Some(16),
            max_bytes: Some(2 << 20),
            participants: 64,
            supervised: self != Self::Alone,
            checksums: true,
            durable: (self == Self::Durable).then_some(Fsync::Never),
            ..Default::default()
        }
    }

    /// A queue in `folder`, or in memory alone.
    fn queue(self, folder: &Path) -> Result<Queue, String> {
        let options = self.options();
        let queue = match self {
            Self::Durable => {
                let restored = Queue::restore(folder.join("soak.queue"), &options);
                let restored = restored.map_err(|e| e.to_string())?;
                if restored.damaged > 0 {
                    return Err(format!("{} messages were damaged", restored.damaged));
                }
                Ok(restored.queue)
            }
            Self::Supervised | Self::Alone => Queue::create_anonymous("soak", &options),
        };
        queue.map_err(|e| e.to_string())
    }
}

/// Small numbers from a seed.
struct Random(u64);

impl Random {
    fn from(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Producer,
    Consumer,
    Recoverer,
}

struct Worker {
    child: Child,
    role: Role,
}

struct Soak {
    queue: Queue,
    folder: PathBuf,
    random: Random,
    started: u64,
    workers: VecDeque<Worker>,
    how: How,
}

fn soak(kills: u64, seed: u64, how: How) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let queue = how.queue(folder.path())?;
    let start = Instant::now();
    let mut soak = Soak {
        queue,
        folder: folder.path().to_owned(),
        random: Random::from(seed),
        started: 0,
        workers: VecDeque::new(),
        how,
    };
    for _ in 0..3 {
        soak.start(Role::Producer)?;
        soak.start(Role::Consumer)?;
    }
    soak.start(Role::Recoverer)?;
    let mut killed = 0;
    while killed < kills {
        killed += if how == How::Durable && soak.random.below(12) == 0 {
            soak.kill_all()?
        } else {
            soak.kill_one()?
        };
    }
    let consumers = soak.come_to_an_end()?;
    let verdict = ledger::check(folder.path())?;
    let stats = soak.queue.stats();
    if (stats.len, stats.in_flight, stats.bytes) != (0, 0, 0) {
        return Err(format!("something is left after {consumers} consumers drained it: {stats:?}"));
    }
    println!(
        "soak {}: {killed} processes killed, {} messages put, {} delivered again, none lost, none torn, in {:.1} s",
        how.flag(),
        verdict.messages,
        verdict.redelivered,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

impl Soak {
    fn start(&mut self, role: Role) -> Result<(), String> {
        self.started += 1;
        let name = match role {
            Role::Producer => "produce",
            Role::Consumer => "consume",
            Role::Recoverer => "recover",
        };
        let child = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
            .arg("worker")
            .arg(name)
            .arg(self.queue.descriptor_path())
            .arg(&self.folder)
            .arg(self.started.to_string())
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        self.workers.push_back(Worker { child, role });
        Ok(())
    }

    /// Kills a random worker after a random while, and starts another in its place.
    fn kill_one(&mut self) -> Result<u64, String> {
        let pause = Duration::from_micros(self.random.below(4000));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            std::thread::yield_now();
        }
        let index = self.random.below(self.workers.len() as u64) as usize;
        let worker = self.workers.remove(index).ok_or("no worker is left")?;
        let role = worker.role;
        let pid = end(worker)?;
        if self.how != How::Alone {
            self.queue.reclaim(pid).map_err(|e| e.to_string())?;
        }
        self.start(role)?;
        Ok(1)
    }

    /// Kills all workers, lets go of the queue with what they left half done in it, opens it again, and starts others.
    fn kill_all(&mut self) -> Result<u64, String> {
        let roles: Vec<Role> = self.workers.iter().map(|worker| worker.role).collect();
        for worker in std::mem::take(&mut self.workers) {
            end(worker)?;
        }
        // The old handle must be gone before the file is opened.
        self.queue = Queue::create_anonymous("none", &QueueOptions::default()).map_err(|e| e.to_string())?;
        self.queue = self.how.queue(&self.folder)?;
        roles.iter().try_for_each(|role| self.start(*role))?;
        Ok(roles.len() as u64)
    }

    /// Ends the producers, closes the queue, and waits until the consumers have drained it.
    fn come_to_an_end(&mut self) -> Result<usize, String> {
        for mut worker in std::mem::take(&mut self.workers) {
            if worker.role == Role::Consumer {
                self.workers.push_back(worker);
                continue;
            }
            let _ = worker.child.kill();
            worker.child.wait().map_err(|e| e.to_string())?;
            if self.how != How::Alone {
                self.queue.reclaim(worker.child.id()).map_err(|e| e.to_string())?;
            }
        }
        self.queue.close();
        let start = Instant::now();
        let consumers = self.workers.len();
        while let Some(worker) = self.workers.front_mut() {
            match worker.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) if status.success() => drop(self.workers.pop_front()),
                Some(status) => return Err(format!("a consumer ended with {status}")),
                None if start.elapsed() > WATCHDOG => {
                    return Err(format!("consumers do not come to an end: {:?}", self.queue.stats()));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(consumers)
    }
}

/// Kills a worker and waits until it is gone; answers what its pid was.
fn end(mut worker: Worker) -> Result<u32, String> {
    // One that ended by itself had found something wrong.
    if let Some(status) = worker.child.try_wait().map_err(|e| e.to_string())? {
        return Err(format!("a worker ended by itself: {status}"));
    }
    worker.child.kill().map_err(|e| e.to_string())?;
    worker.child.wait().map_err(|e| e.to_string())?;
    Ok(worker.child.id())
}

impl Drop for Soak {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

/// The file in which a worker keeps its ledger.
fn ledger_path(folder: &Path, role: &str, number: &str) -> PathBuf {
    folder.join(format!("{role}-{number}"))
}
