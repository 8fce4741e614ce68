//! How fast the queue is, beside crossbeam-channel and bare memory copies, in one run.
//!
//! `cargo run --release -p ipc --example speed [-- WORD…]`; words choose measurements by their name. Figures
//! are medians of several rounds; on a shared machine only ratios within one run mean anything.

use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc::{Acknowledge, Queue, QueueOptions};

const ROUNDS: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "worker") {
        return worker(&args[1..]);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|word| name.contains(word.as_str()));
    for (name, measure) in measurements() {
        if wanted(name) {
            let mut figures: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
            figures.sort_by(f64::total_cmp);
            let (low, median, high) = (figures[0], figures[ROUNDS / 2], figures[ROUNDS - 1]);
            println!("{name:<44} {median:>12.1}   [{low:.1} .. {high:.1}]");
        }
    }
}

type Measurement = (&'static str, fn() -> f64);

fn measurements() -> Vec<Measurement> {
    vec![
        ("1p1c 64 B, million a second", || flow(1, 1, 64, 1, 1_000_000)),
        ("1p1c 64 B, crossbeam threads", || crossbeam(1, 1, 1_000_000)),
        ("1p1c 64 B again, million a second", || flow(1, 1, 64, 1, 1_000_000)),
        ("1p1c 64 B batches of 64", || flow(1, 1, 64, 64, 1_000_000)),
        ("1p1c 64 B leased and acknowledged", || leased(1_000_000)),
        ("1p1c 8 B, million a second", || flow(1, 1, 8, 1, 1_000_000)),
        ("1p1c 1 KiB, million a second", || flow(1, 1, 1024, 1, 500_000)),
        ("2p2c 64 B, million a second", || flow(2, 2, 64, 1, 500_000)),
        ("4p4c 64 B, million a second", || flow(4, 4, 64, 1, 250_000)),
        ("4p4c 64 B, crossbeam threads", || crossbeam(4, 4, 250_000)),
        ("1p4c 64 B, million a second", || flow(1, 4, 64, 1, 500_000)),
        ("4p1c 64 B, million a second", || flow(4, 1, 64, 1, 125_000)),
        ("put and get in one process, ns", alone),
        ("ping-pong spinning, ns a round trip", || ping_pong(100_000, Duration::ZERO)),
        ("ping-pong spinning, crossbeam threads", || ping_pong_crossbeam(100_000)),
        ("1 MiB messages, GB a second", || flow(1, 1, 1 << 20, 1, 3000) * 1e6 * (1 << 20) as f64 / 1e9),
        ("1 MiB twice by memcpy, GB a second", memcpys),
        ("reclaim with 50 leases, us", reclaim),
    ]
}

fn options(bytes: usize) -> QueueOptions {
    let capacity = if bytes > 65_536 { 16 } else { 1024 };
    QueueOptions { capacity: Some(capacity), supervised: true, ..Default::default() }
}

fn start(queue: &Queue, role: &str, numbers: &[usize]) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .arg("worker")
        .arg(queue.descriptor_path())
        .arg(role)
        .args(numbers.iter().map(ToString::to_string))
        .stdin(Stdio::null())
        .spawn()
        .expect("a worker starts")
}

/// Million messages a second from processes to processes.
fn flow(producers: usize, consumers: usize, bytes: usize, batch: usize, each: usize) -> f64 {
    let queue = Queue::create_anonymous("speed", &options(bytes)).expect("memory");
    let gate = Queue::create_anonymous("gate", &options(8)).expect("memory");
    let gate_path = gate.descriptor_path();
    let spawn = |role: &str| {
        Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("worker")
            .arg(queue.descriptor_path())
            .arg(role)
            .args([bytes, batch, each].map(|n| n.to_string()))
            .arg(&gate_path)
            .stdin(Stdio::null())
            .spawn()
            .expect("a worker starts")
    };
    let consumers: Vec<Child> = (0..consumers).map(|_| spawn("get")).collect();
    let producers: Vec<Child> = (0..producers).map(|_| spawn("put")).collect();
    let total = producers.len() * each;
    // Everyone reports when it stands at the gate, so that starting processes is not measured.
    while gate.stats().gets < (consumers.len() + producers.len()) as u64 {
        let _ = gate.try_put(b"go");
        std::thread::yield_now();
    }
    let start = Instant::now();
    for mut child in producers {
        child.wait().expect("it is our child");
    }
    queue.close();
    for mut child in consumers {
        child.wait().expect("it is our child");
    }
    total as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn leased(each: usize) -> f64 {
    let queue = Queue::create_anonymous("speed", &options(64)).expect("memory");
    let mut consumer = start(&queue, "lease", &[64, 1, each]);
    while queue.stats().gets == 0 {
        let _ = queue.try_put(&[0; 64]);
        std::thread::yield_now();
    }
    let begin = Instant::now();
    for _ in 0..each {
        queue.put(&[1; 64]).expect("it is open");
    }
    queue.close();
    consumer.wait().expect("it is our child");
    each as f64 / begin.elapsed().as_secs_f64() / 1e6
}

fn worker(args: &[String]) {
    let queue = Queue::open(&args[0]).expect("the queue opens");
    let numbers: Vec<usize> = args[2..].iter().filter_map(|arg| arg.parse().ok()).collect();
    let (bytes, batch, each) = (numbers[0], numbers[1], numbers[2]);
    if let Some(gate) = args.get(5).filter(|_| args[1] != "echo") {
        let gate = Queue::open(gate).expect("the gate opens");
        gate.set_acknowledge(Acknowledge::AtOnce);
        gate.get().expect("the gate opens");
    }
    let message = vec![7; bytes];
    match args[1].as_str() {
        "put" if batch > 1 => {
            let messages = vec![message; batch];
            (0..each / batch).for_each(|_| queue.put_many(&messages).expect("it is open"));
        }
        "put" => (0..each).for_each(|_| queue.put(&message).expect("it is open")),
        "get" if batch > 1 => while queue.get_many(batch).is_ok() {},
        "get" => {
            while let Ok(message) = queue.get() {
                black_box(message);
            }
        }
        "lease" => {
            while let Ok(lease) = queue.lease() {
                black_box(lease.bytes());
                lease.ack();
            }
        }
        "echo" => {
            let back = Queue::open(&args[5]).expect("the way back opens");
            while let Ok(message) = queue.get() {
                if back.put(&message).is_err() {
                    break;
                }
            }
        }
        "get-and-die" => {
            let _leases: Vec<_> = (0..each).map(|_| queue.lease().expect("it is there")).collect();
            std::process::abort();
        }
        other => panic!("no such role: {other}"),
    }
}

fn crossbeam(producers: usize, consumers: usize, each: usize) -> f64 {
    let (sender, receiver) = crossbeam_channel::bounded::<[u8; 64]>(1024);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..producers {
            let sender = sender.clone();
            scope.spawn(move || (0..each).for_each(|_| sender.send([7; 64]).expect("it is open")));
        }
        drop(sender);
        for _ in 0..consumers {
            let receiver = receiver.clone();
            scope.spawn(move || {
                while let Ok(message) = receiver.recv() {
                    black_box(message);
                }
            });
        }
    });
    (producers * each) as f64 / begin.elapsed().as_secs_f64() / 1e6
}

fn alone() -> f64 {
    let queue = Queue::create_anonymous("alone", &options(64)).expect("memory");
    let turns = 1_000_000;
    let begin = Instant::now();
    for _ in 0..turns {
        queue.put(&[7; 64]).expect("it is open");
        black_box(queue.get().expect("one is there"));
    }
    begin.elapsed().as_nanos() as f64 / f64::from(turns)
}

fn ping_pong(turns: u32, pause: Duration) -> f64 {
    let there = Queue::create_anonymous("there", &options(64)).expect("memory");
    let back = Queue::create_anonymous("back", &options(64)).expect("memory");
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg("worker")
        .arg(there.descriptor_path())
        .args(["echo", "64", "1", "0"])
        .arg(back.descriptor_path())
        .stdin(Stdio::null())
        .spawn()
        .expect("a worker starts");
    let turn = || {
        there.put(&[7; 64]).expect("it is open");
        black_box(back.get().expect("it comes back"));
    };
    (0..1000).for_each(|_| turn());
    let begin = Instant::now();
    for _ in 0..turns {
        turn();
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    let elapsed = begin.elapsed();
    there.close();
    child.wait().expect("it is our child");
    elapsed.as_nanos() as f64 / f64::from(turns)
}

fn ping_pong_crossbeam(turns: u32) -> f64 {
    let (there, at_there) = crossbeam_channel::bounded::<[u8; 64]>(1024);
    let (back, at_back) = crossbeam_channel::bounded::<[u8; 64]>(1024);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(message) = at_there.recv() {
                if back.send(message).is_err() {
                    break;
                }
            }
        });
        let begin = Instant::now();
        for _ in 0..turns {
            there.send([7; 64]).expect("it is open");
            black_box(at_back.recv().expect("it comes back"));
        }
        let elapsed = begin.elapsed();
        drop(there);
        elapsed.as_nanos() as f64 / f64::from(turns)
    })
}

/// A producer's and a consumer's copy, one after the other, through memory as large as the queue's.
fn memcpys() -> f64 {
    let size = 1 << 20;
    let from = vec![7u8; size];
    let mut between = vec![vec![1u8; size]; 16];
    let mut to = vec![0u8; size];
    let turns = 2000;
    let begin = Instant::now();
    for turn in 0..turns {
        let place = turn % between.len();
        between[place].copy_from_slice(black_box(&from));
        to.copy_from_slice(black_box(&between[place]));
        black_box(&mut to);
    }
    (turns * size) as f64 / begin.elapsed().as_secs_f64() / 1e9
}

fn reclaim() -> f64 {
    let queue = Queue::create_anonymous("reclaim", &options(64)).expect("memory");
    for _ in 0..50 {
        queue.put(&[7; 64]).expect("it is open");
    }
    let mut child = start(&queue, "get-and-die", &[64, 1, 50]);
    let _ = child.wait();
    let begin = Instant::now();
    queue.reclaim(child.id()).expect("the queue is well");
    begin.elapsed().as_nanos() as f64 / 1e3
}
