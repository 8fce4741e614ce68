//! The least time of many short rounds: what an operation costs when nothing else runs, on a machine where much does.
//!
//! `cargo run --release -p ipc --example least`

use std::hint::black_box;
use std::time::Instant;

use ipc::sync::{Family, SyncOptions};
use ipc::{Acknowledge, Queue, QueueOptions};

fn least(name: &str, mut turn: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..20_000 {
        let begin = Instant::now();
        (0..100).for_each(|_| turn());
        best = best.min(begin.elapsed().as_nanos() as f64 / 100.0);
    }
    println!("{name:<44} {best:>8.1} ns");
}

fn main() {
    let options = QueueOptions { capacity: Some(1024), supervised: true, ..Default::default() };
    let queue = Queue::create_anonymous("least", &options).expect("memory");
    least("put and get, 64 B", || {
        queue.put(&[7; 64]).expect("it is open");
        black_box(queue.get().expect("one is there"));
    });
    least("put, lease and ack, 64 B", || {
        queue.put(&[7; 64]).expect("it is open");
        queue.lease().expect("one is there").ack();
    });
    queue.set_acknowledge(Acknowledge::AtOnce);
    least("put and get acknowledged at once, 64 B", || {
        queue.put(&[7; 64]).expect("it is open");
        black_box(queue.get().expect("one is there"));
    });
    queue.set_acknowledge(Acknowledge::OnNext);
    let batch = [[7u8; 64]; 64];
    least("put and get of 64 in a batch, 64 B", || {
        queue.put_many(&batch).expect("it is open");
        black_box(queue.get_many(64).expect("they are there"));
    });
    least("put and get, 1 KiB", || {
        queue.put(&[7; 1024]).expect("it is open");
        black_box(queue.get().expect("one is there"));
    });
    least("allocate and free 64 B, for comparison", || drop(black_box(vec![7u8; 64])));

    let options = SyncOptions { locks: vec!["a".into()], ..Default::default() };
    let family = Family::create_anonymous("least", &options).expect("memory");
    let lock = family.lock("a").expect("it is there");
    least("lock and unlock", || drop(lock.acquire().expect("nobody has it")));
}
