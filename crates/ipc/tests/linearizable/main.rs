//! Several processes put, get, lease, acknowledge and give back at random and write down when each operation began, when
//! it ended, and what it answered; some are killed in the midst of it. For each such history there must be an order of
//! all operations that respects these times and that a plain queue would answer in the same way: answers of "full" and
//! "empty" included, how often each message was delivered included, and with nothing left over at the end.
//!
//! `--rounds=N` histories without a kill and as many with, half of these supervised; 25 by default.

mod client;
mod history;
mod model;
mod search;

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipc::{Acknowledge, Queue, QueueOptions};

use history::{Entry, Log, now};
use model::{CAPACITY, Step};
use search::{Verdict, judge};

/// Processes that take part from the start.
const PROCESSES: usize = 4;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "client") {
        return client::run(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let rounds = args.iter().find_map(|arg| arg.strip_prefix("--rounds=")?.parse().ok()).unwrap_or(25);
    search::check_the_checker();
    let mut seen = Seen::default();
    for round in 0..2 * rounds {
        let recorded = record(round, Kills::ALL[round as usize % 4]);
        seen.count(&recorded);
        match judge(&recorded.steps) {
            Verdict::Linearizable => {}
            Verdict::Undecided => seen.undecided += 1,
            Verdict::Impossible => {
                println!("round {round} is not linearizable:");
                for (process, steps) in recorded.steps.iter().enumerate() {
                    steps.iter().for_each(|step| println!("  {process}: {step:?}"));
                }
                println!("0 passed, 1 failed");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("linearizable: {} histories of {PROCESSES} processes and more, {seen:?}", 2 * rounds);
    let says_enough = seen.overlaps > 0 && seen.refusals > 0 && seen.redelivered > 0 && seen.cut_short > 0;
    assert!(says_enough || rounds < 10, "the histories say too little");
    assert!(seen.undecided * 10 <= rounds, "too many histories could not be decided");
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
}

/// What the histories were about.
#[derive(Debug, Default)]
struct Seen {
    operations: usize,
    /// At the same time as one of another process.
    overlaps: usize,
    refusals: usize,
    redelivered: usize,
    killed: usize,
    /// Begun, and not ended when its process was killed.
    cut_short: usize,
    undecided: u64,
}

impl Seen {
    fn count(&mut self, recorded: &Recorded) {
        let ended = |log: &Vec<Entry>| log.iter().filter(|entry| entry.ended != 0).count();
        self.operations += recorded.logs.iter().map(ended).sum::<usize>();
        self.cut_short += recorded.logs.iter().flatten().filter(|entry| entry.ended == 0).count();
        self.killed += recorded.killed;
        let all = recorded.logs.iter().flatten();
        self.refusals += all.clone().filter(|entry| entry.is_refusal()).count();
        self.redelivered += all.filter(|entry| entry.deliveries > 1).count();
        for (process, log) in recorded.logs.iter().enumerate() {
            let others = || {
                recorded
                    .logs
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != process)
                    .flat_map(|(_, log)| log)
            };
            let meets =
                |one: &&Entry| others().any(|other| other.began <= one.ended && one.began <= other.ended);
            self.overlaps += log.iter().filter(meets).count();
        }
    }
}

/// A history, as it was written down and as it is judged.
struct Recorded {
    logs: Vec<Vec<Entry>>,
    steps: Vec<Vec<Step>>,
    killed: usize,
}

/// A process that takes part, and its log.
struct Client {
    child: Child,
    log: Log,
}

impl Client {
    fn start(queue: &Queue, round: u64, number: usize, start: u128) -> Client {
        let log = Log::create();
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("client")
            .arg(queue.descriptor_path())
            .arg(log.path())
            .args([number.to_string(), round.to_string(), start.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("a process starts");
        Client { child, log }
    }
}

/// Whether some are killed, and who looks after them then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kills {
    None,
    /// This process does, at once.
    LookedAfter,
    /// The others do, whenever they notice.
    Noticed,
}

impl Kills {
    const ALL: [Kills; 4] = [Kills::None, Kills::LookedAfter, Kills::None, Kills::Noticed];
}

fn record(round: u64, kills: Kills) -> Recorded {
    let options = QueueOptions {
        capacity: Some(CAPACITY as u64),
        participants: 16,
        supervised: kills == Kills::LookedAfter,
        ..Default::default()
    };
    let queue = Queue::create_anonymous("history", &options).expect("memory");
    let start = SystemTime::now() + Duration::from_millis(20);
    let start = start.duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos();
    let mut clients: Vec<Client> =
        (0..PROCESSES).map(|number| Client::start(&queue, round, number, start)).collect();
    let mut logs = Vec::new();
    let mut steps = Vec::new();
    let mut killed = 0;
    let mut unrecovered = Vec::new();
    if kills != Kills::None {
        for (victim, client) in clients.iter_mut().enumerate().take(2) {
            // One of those who began, after a part of its work that differs from round to round; then another in its place.
            let share = (round * 7 + victim as u64 * 3) % 10 * client::OPERATIONS / 12;
            while client.log.count_ended() <= share && client.child.try_wait().expect("it is ours").is_none()
            {
                std::hint::spin_loop();
            }
            let killing = now();
            let _ = client.child.kill();
            let status = client.child.wait().expect("it is ours");
            let dead = now();
            let entries = client.log.entries();
            let mut judged = model::steps(&entries, dead);
            if kills == Kills::LookedAfter {
                let began = now();
                queue.reclaim(client.child.id()).expect("the queue is well");
                judged.extend(model::recovery(began, now()));
            } else {
                unrecovered.push((steps.len(), killing));
            }
            killed += usize::from(!status.success());
            logs.push(entries);
            steps.push(judged);
            let number = PROCESSES + victim;
            *client = Client::start(&queue, round, number, 0);
        }
    }
    for client in &mut clients {
        assert!(client.child.wait().expect("it is our child").success());
        let entries = client.log.entries();
        steps.push(model::steps(&entries, u64::MAX));
        logs.push(entries);
    }
    // What is left comes out at last, and then there is nothing.
    queue.set_acknowledge(Acknowledge::AtOnce);
    let log = Log::create();
    let mut drain = client::Recorder::new(&queue, &log);
    let mut is_left = drain.get();
    // Whoever takes part looks after the dead before it does anything else.
    let recovered = now();
    for (process, killing) in unrecovered {
        steps[process].extend(model::recovery(killing, recovered));
    }
    while is_left {
        is_left = drain.get();
    }
    drop(drain);
    let entries = log.entries();
    steps.push(model::steps(&entries, u64::MAX));
    logs.push(entries);
    Recorded { logs, steps, killed }
}
