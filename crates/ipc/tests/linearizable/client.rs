//! A process that takes part.

use std::hint;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ipc::{Acknowledge, Lease, Queue};

use crate::history::{Answer, Call, Log};
use crate::model::MOST_HELD;

/// How many operations each process begins by choice; it settles what it holds besides.
pub const OPERATIONS: u64 = 200;

/// Does one operation after another, and writes each down.
pub struct Recorder<'a> {
    queue: &'a Queue,
    log: &'a Log,
    held: Vec<(u64, Lease)>,
}

fn value_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

impl<'a> Recorder<'a> {
    pub fn new(queue: &'a Queue, log: &'a Log) -> Recorder<'a> {
        Recorder { queue, log, held: Vec::new() }
    }

    fn record(
        &mut self,
        call: Call,
        value: u64,
        operate: impl FnOnce(&mut Self) -> (Answer, u64, u64),
    ) -> bool {
        self.log.begin(call, value);
        let (answer, got, deliveries) = operate(self);
        self.log.end(answer, got, deliveries);
        answer == Answer::Done
    }

    fn put(&mut self, value: u64) -> bool {
        self.record(Call::Put, value, |this| match this.queue.try_put(&value.to_le_bytes()) {
            Ok(()) => (Answer::Done, 0, 0),
            Err(_) => (Answer::Refused, 0, 0),
        })
    }

    /// Gets, and is done with it at once.
    pub fn get(&mut self) -> bool {
        self.record(Call::Get, 0, |this| match this.queue.try_get() {
            Ok(bytes) => (Answer::Done, value_of(&bytes), 0),
            Err(_) => (Answer::Refused, 0, 0),
        })
    }

    fn lease(&mut self) -> bool {
        self.record(Call::Lease, 0, |this| match this.queue.try_lease() {
            Ok(lease) => {
                let (value, deliveries) = (value_of(lease.bytes()), lease.deliveries());
                this.held.push((value, lease));
                (Answer::Done, value, deliveries.into())
            }
            Err(_) => (Answer::Refused, 0, 0),
        })
    }

    fn settle(&mut self, call: Call) -> bool {
        let (value, lease) = self.held.remove(0);
        self.record(call, value, |_| {
            if call == Call::Ack {
                lease.ack()
            } else {
                lease.nack()
            }
            (Answer::Done, 0, 0)
        })
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.log.finish();
    }
}

/// `QUEUE LOG NUMBER ROUND START`
pub fn run(args: &[String]) -> ExitCode {
    let queue = Queue::open(&args[0]).expect("the queue opens");
    queue.set_acknowledge(Acknowledge::AtOnce);
    let log = Log::open(Path::new(&args[1]));
    let number: u64 = args[2].parse().expect("a number");
    let round: u64 = args[3].parse().expect("a number");
    let start: u128 = args[4].parse().expect("a number");
    let mut seed = (round * 31 + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // All begin at about the same moment, so that they meet.
    while SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos() < start {
        hint::spin_loop();
    }
    let mut recorder = Recorder::new(&queue, &log);
    for turn in 0..OPERATIONS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        match seed >> 60 {
            0..=6 => recorder.put(number << 32 | turn),
            7..=8 => recorder.get(),
            9..=11 if recorder.held.len() < MOST_HELD => recorder.lease(),
            12..=13 if !recorder.held.is_empty() => recorder.settle(Call::GiveBack),
            _ if !recorder.held.is_empty() => recorder.settle(Call::Ack),
            _ => recorder.get(),
        };
        if seed >> 56 & 7 == 0 {
            std::thread::yield_now();
        }
    }
    while !recorder.held.is_empty() {
        recorder.settle(Call::Ack);
    }
    ExitCode::SUCCESS
}
