//! The process that is stepped and killed.

use std::process::ExitCode;
use std::time::Duration;

use ipc::{Lease, Queue};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};

/// What the child prepares before its operation, and holds during it.
#[derive(Default)]
struct Held {
    lease: Option<Lease>,
}

/// `child PATH PREPARATION OPERATION`
pub fn main(args: &[String]) -> ExitCode {
    let [path, preparation, operation] = args else { return ExitCode::from(2) };
    let queue = Queue::open(path).expect("the queue opens");
    let mut held = Held::default();
    prepare(&queue, preparation, &mut held);
    let large = large();
    let message: &[u8] = if operation == "put-large" { &large } else { b"new" };
    let peer = operation.starts_with("peer");
    if peer {
        // A peer only sleeps: it is not stepped.
        let answer = match operation.as_str() {
            "peer-get" => queue.get_timeout(Duration::from_secs(120)).map(|_| ()).is_ok(),
            _ => queue.put_timeout(b"peer", Duration::from_secs(120)).is_ok(),
        };
        return if answer { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    ptrace::traceme().expect("a child may be traced");
    raise(Signal::SIGSTOP).expect("the tracer waits for it");
    operate(&queue, operation, message, held);
    raise(Signal::SIGSTOP).expect("the tracer waits for it");
    ExitCode::SUCCESS
}

/// A message that lies in three pages.
pub fn large() -> Vec<u8> {
    (0..2100u32).map(|i| (i % 251) as u8).collect()
}

fn prepare(queue: &Queue, preparation: &str, held: &mut Held) {
    match preparation {
        "nothing" => {}
        // Has joined, and has everything warm that is made once.
        "joined" => queue.ack_got_after_joining(),
        "got" => drop(queue.try_get().expect("something is there")),
        "leased" => held.lease = Some(queue.try_lease().expect("something is there")),
        "took-dead" => held.lease = queue.take_dead().expect("the queue is well"),
        other => panic!("no such preparation: {other}"),
    }
}

fn operate(queue: &Queue, operation: &str, message: &[u8], held: Held) {
    let lease = held.lease;
    match operation {
        "put" | "put-large" | "put-full" => drop(queue.try_put(message)),
        "put-two" => drop(queue.put_many(&[b"new", b"two"])),
        "get" => drop(queue.try_get()),
        "get-two" => drop(queue.get_many(2)),
        "ack-got" => queue.ack_got(),
        "lease" => std::mem::forget(queue.try_lease()),
        "ack" => lease.expect("prepared").ack(),
        "nack" => lease.expect("prepared").nack(),
        "nack-later" => lease.expect("prepared").nack_after(Duration::from_nanos(1)),
        "close" => queue.close(),
        "reclaim" => drop(queue.reclaim_dead()),
        "peek" => drop(queue.peek()),
        "len" => drop(queue.len()),
        other => panic!("no such operation: {other}"),
    }
}

/// Joining without doing anything else.
trait Join {
    fn ack_got_after_joining(&self);
}

impl Join for Queue {
    fn ack_got_after_joining(&self) {
        let _ = self.reclaim(u32::MAX);
        self.ack_got();
    }
}
