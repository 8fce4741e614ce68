//! The processes that are killed.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

use ipc::{GetError, Queue};

use crate::ledger::{self, Note};
use crate::{Random, ledger_path};

/// What a worker says of a message that is not what any producer puts.
const TORN: u8 = 3;

/// `ROLE QUEUE FOLDER NUMBER`
pub fn main(args: &[String]) -> ExitCode {
    let [role, queue, folder, number] = args else { return ExitCode::from(2) };
    let queue = Queue::open(queue).expect("the queue opens");
    let ledger = ledger_path(Path::new(folder), role, number);
    let number: u32 = number.parse().expect("a number");
    match role.as_str() {
        "produce" => produce(&queue, &ledger, number),
        "consume" => consume(&queue, &ledger),
        _ => loop {
            if queue.reclaim_dead().is_err() {
                return ExitCode::FAILURE;
            }
            std::thread::yield_now();
        },
    }
}

fn produce(queue: &Queue, ledger: &Path, number: u32) -> ExitCode {
    let ledger = OpenOptions::new().write(true).create(true).truncate(true).open(ledger).expect("a ledger");
    let mut random = Random::from(u64::from(number) + 1);
    for sequence in 1u64.. {
        let length = match random.below(100) {
            0 => 70_000,
            1..5 => random.below(5000),
            _ => random.below(200),
        };
        if queue.put(&ledger::message(number, sequence, length as usize)).is_err() {
            return ExitCode::FAILURE;
        }
        ledger.write_all_at(&sequence.to_le_bytes(), 0).expect("a ledger");
    }
    ExitCode::SUCCESS
}

fn consume(queue: &Queue, ledger: &Path) -> ExitCode {
    let mut ledger = OpenOptions::new().append(true).create(true).open(ledger).expect("a ledger");
    loop {
        let lease = match queue.lease() {
            Ok(lease) => lease,
            Err(GetError::Closed) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        };
        let Some((producer, sequence)) = ledger::read_message(lease.bytes()) else {
            return ExitCode::from(TORN);
        };
        let note = Note { producer, deliveries: lease.deliveries(), sequence };
        ledger.write_all(&note.to_bytes()).expect("a ledger");
        lease.ack();
    }
}
