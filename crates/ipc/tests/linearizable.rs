//! Several processes put and get at random and write down when each operation began, when it ended, and what
//! it answered. For each such history there must be an order of all operations that respects these times and
//! that a plain bounded queue would answer in the same way, answers of "full" and "empty" included.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, hint};

use ipc::{Acknowledge, Queue, QueueOptions};

const PROCESSES: usize = 4;
const OPERATIONS: usize = 120;
const CAPACITY: usize = 3;

/// One operation: when it began and ended, in nanoseconds, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operation {
    began: u64,
    ended: u64,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Put(u64),
    Full(u64),
    Got(u64),
    Empty,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "client") {
        return client(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let rounds = args.iter().find_map(|arg| arg.strip_prefix("--rounds=")?.parse().ok()).unwrap_or(25);
    check_the_checker();
    let (mut overlaps, mut refusals) = (0, 0);
    for round in 0..rounds {
        let history = record(round);
        overlaps += count_overlaps(&history);
        refusals +=
            history.iter().flatten().filter(|one| matches!(one.what, What::Full(_) | What::Empty)).count();
        if !is_linearizable(&history) {
            println!("round {round} is not linearizable: {history:?}");
            println!("0 passed, 1 failed");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "linearizable: {rounds} histories of {} operations of {PROCESSES} processes, {overlaps} at the same time \
         as another, {refusals} full or empty",
        PROCESSES * OPERATIONS
    );
    assert!(overlaps > 0 && refusals > 0, "the histories say too little");
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
}

fn record(round: u64) -> Vec<Vec<Operation>> {
    let options = QueueOptions { capacity: Some(CAPACITY as u64), participants: 16, ..Default::default() };
    let queue = Queue::create_anonymous("history", &options).expect("memory");
    let folder = tempfile::tempdir().expect("a folder");
    let start = SystemTime::now() + Duration::from_millis(20);
    let start = start.duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos();
    let children: Vec<Child> = (0..PROCESSES)
        .map(|number| {
            Command::new(std::env::current_exe().expect("this program has a path"))
                .arg("client")
                .arg(queue.descriptor_path())
                .arg(folder.path().join(number.to_string()))
                .args([number.to_string(), round.to_string(), start.to_string()])
                .stdin(Stdio::null())
                .spawn()
                .expect("a process starts")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it is our child").success());
    }
    (0..PROCESSES).map(|number| read(&folder.path().join(number.to_string()))).collect()
}

/// `QUEUE FILE NUMBER ROUND START`
fn client(args: &[String]) -> ExitCode {
    let queue = Queue::open(&args[0]).expect("the queue opens");
    queue.set_acknowledge(Acknowledge::AtOnce);
    let number: u64 = args[2].parse().expect("a number");
    let round: u64 = args[3].parse().expect("a number");
    let start: u128 = args[4].parse().expect("a number");
    let mut seed = (round * 31 + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // All begin at about the same moment, so that they meet.
    while SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos() < start {
        hint::spin_loop();
    }
    let mut lines = String::new();
    for turn in 0..OPERATIONS as u64 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let value = number << 32 | turn;
        let began = now();
        let what = if seed >> 60 & 1 == 0 {
            if queue.try_put(&value.to_le_bytes()).is_ok() {
                format!("put {value}")
            } else {
                format!("full {value}")
            }
        } else {
            match queue.try_get() {
                Ok(bytes) => format!("got {}", u64::from_le_bytes(bytes.try_into().expect("eight bytes"))),
                Err(_) => "empty 0".to_owned(),
            }
        };
        lines += &format!("{began} {} {what}\n", now());
        if seed >> 56 & 7 == 0 {
            std::thread::yield_now();
        }
    }
    fs::write(&args[1], lines).expect("a file");
    ExitCode::SUCCESS
}

/// The monotonic clock, which is one for all processes.
fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

fn read(path: &Path) -> Vec<Operation> {
    let text = fs::read_to_string(path).expect("the client wrote it");
    let operation = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let what = match words[2] {
            "put" => What::Put(number(3)),
            "full" => What::Full(number(3)),
            "got" => What::Got(number(3)),
            _ => What::Empty,
        };
        Operation { began: number(0), ended: number(1), what }
    };
    text.lines().map(operation).collect()
}

fn count_overlaps(history: &[Vec<Operation>]) -> usize {
    let all: Vec<(usize, &Operation)> = history
        .iter()
        .enumerate()
        .flat_map(|(process, own)| own.iter().map(move |one| (process, one)))
        .collect();
    let meets = |one: &(usize, &Operation)| {
        all.iter()
            .any(|other| other.0 != one.0 && other.1.began <= one.1.ended && one.1.began <= other.1.ended)
    };
    all.iter().filter(|one| meets(one)).count()
}

/// Looks for an order, the first possible choice first, and never twice from the same point: how far each
/// process has come and what is in the queue then.
fn is_linearizable(history: &[Vec<Operation>]) -> bool {
    let mut seen: HashSet<(Vec<usize>, VecDeque<u64>)> = HashSet::new();
    let mut stack = vec![(vec![0; history.len()], VecDeque::new())];
    while let Some((done, queue)) = stack.pop() {
        let next: Vec<Option<&Operation>> = history.iter().zip(&done).map(|(own, &at)| own.get(at)).collect();
        // Whatever comes next must have begun before anything not yet placed had ended.
        let Some(first_end) = next.iter().flatten().map(|one| one.ended).min() else { return true };
        for (process, one) in next.iter().enumerate() {
            let Some(one) = one.filter(|one| one.began <= first_end) else { continue };
            let mut after = queue.clone();
            if apply(&mut after, one.what) {
                let mut further = done.clone();
                further[process] += 1;
                if seen.insert((further.clone(), after.clone())) {
                    stack.push((further, after));
                }
            }
        }
    }
    false
}

/// The queue as the books have it. Says whether it would answer so.
fn apply(queue: &mut VecDeque<u64>, what: What) -> bool {
    match what {
        What::Put(value) if queue.len() < CAPACITY => {
            queue.push_back(value);
            true
        }
        What::Put(_) => false,
        What::Full(_) => queue.len() == CAPACITY,
        What::Got(value) => queue.pop_front() == Some(value),
        What::Empty => queue.is_empty(),
    }
}

/// A checker that cannot say no proves nothing.
fn check_the_checker() {
    let one = |began, ended, what| Operation { began, ended, what };
    let good = vec![
        vec![one(0, 10, What::Put(1)), one(20, 30, What::Put(2))],
        vec![one(5, 40, What::Got(2)), one(50, 60, What::Empty)],
        vec![one(6, 25, What::Got(1))],
    ];
    assert!(is_linearizable(&good));
    let out_of_order = vec![
        vec![one(0, 10, What::Put(1)), one(20, 30, What::Put(2))],
        vec![one(40, 50, What::Got(2)), one(60, 70, What::Got(1))],
    ];
    assert!(!is_linearizable(&out_of_order));
    let twice =
        vec![vec![one(0, 10, What::Put(1))], vec![one(20, 30, What::Got(1)), one(40, 50, What::Got(1))]];
    assert!(!is_linearizable(&twice));
    let not_empty = vec![vec![one(0, 10, What::Put(1))], vec![one(20, 30, What::Empty)]];
    assert!(!is_linearizable(&not_empty));
    let not_full = vec![vec![one(0, 10, What::Put(1)), one(20, 30, What::Full(2))]];
    assert!(!is_linearizable(&not_full));
}
