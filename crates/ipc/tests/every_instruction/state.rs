//! What a queue holds before somebody is killed, and how it is brought there.

use std::fs::File;
use std::os::fd::AsFd;

use ipc::Queue;

use crate::child::large;
use crate::copy::Bytes;
use crate::step::Stepped;

pub const CAPACITY: u64 = 4;
/// Blocks a queue of that capacity has, and pages it is given.
pub const BLOCKS: usize = 2 * CAPACITY as usize + 32 * PARTICIPANTS as usize;
pub const PAGES: usize = 9;
pub const PARTICIPANTS: u32 = 8;

/// A message that waits: its bytes, and which delivery the next would be.
pub type Waiting = (Vec<u8>, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Empty,
    One,
    Two,
    Full,
    Wrapped,
    WrappedFull,
    WrappedEmpty,
    /// One waits again, two wait for the first time.
    GivenBack,
    /// A large one and a small one.
    Large,
    /// A dead participant holds two; two wait.
    DeadHolder,
    /// Somebody died between filling the slot and moving the tail; found by stepping.
    LaggingTail,
    /// Somebody died between claiming and moving the head.
    LaggingHead,
    Closed,
    ClosedOne,
    /// One delivery is left to the one that waits.
    LastChance,
}

pub fn small(names: &[&str]) -> Vec<Waiting> {
    names.iter().map(|name| (name.as_bytes().to_vec(), 1)).collect()
}

pub fn again(name: &str, deliveries: u32) -> Waiting {
    (name.as_bytes().to_vec(), deliveries)
}

impl State {
    /// Brings an empty queue there; answers what waits then.
    pub fn make(self, queue: &Queue) -> Vec<Waiting> {
        let put = |names: &[&str]| {
            names.iter().for_each(|name| queue.try_put(name.as_bytes()).expect("there is room"));
            small(names)
        };
        let go_around = || {
            for _ in 0..150 {
                queue.try_put(b"old").expect("there is room");
                queue.try_lease().expect("it is there").ack();
            }
        };
        match self {
            Self::Empty => Vec::new(),
            Self::One => put(&["a"]),
            Self::Two => put(&["a", "b"]),
            Self::Full => put(&["a", "b", "c", "d"]),
            Self::Wrapped => {
                go_around();
                put(&["a", "b"])
            }
            Self::WrappedEmpty => {
                go_around();
                Vec::new()
            }
            Self::WrappedFull => {
                go_around();
                put(&["a", "b", "c", "d"])
            }
            Self::GivenBack => {
                put(&["a", "b", "c"]);
                queue.try_lease().expect("it is there").nack();
                vec![again("a", 2), again("b", 1), again("c", 1)]
            }
            Self::Large => {
                queue.try_put(&large()).expect("there is room");
                put(&["b"]);
                vec![(large(), 1), again("b", 1)]
            }
            Self::Closed => {
                let waiting = put(&["a", "b"]);
                queue.close();
                waiting
            }
            Self::ClosedOne => {
                let waiting = put(&["a"]);
                queue.close();
                waiting
            }
            Self::LastChance => {
                put(&["a"]);
                queue.try_lease().expect("it is there").nack();
                queue.try_lease().expect("it is there").nack();
                vec![again("a", 3)]
            }
            Self::DeadHolder => {
                put(&["a", "b", "c", "d"]);
                die(queue, "joined", "lease", usize::MAX);
                die(queue, "joined", "lease", usize::MAX);
                vec![again("a", 2), again("b", 2), again("c", 1), again("d", 1)]
            }
            Self::LaggingTail => {
                put(&["a"]);
                lag(queue, "put", |queue| queue.stats().puts_are_ahead());
                vec![again("a", 1), again("new", 1)]
            }
            Self::LaggingHead => {
                put(&["a", "b"]);
                lag(queue, "lease", |queue| queue.stats().in_flight == 1);
                vec![again("a", 2), again("b", 1)]
            }
        }
    }
}

trait Ahead {
    fn puts_are_ahead(&self) -> bool;
}

impl Ahead for ipc::Stats {
    /// Counting helps the tail on, so this looks at a copy: two puts are told where one was before.
    fn puts_are_ahead(&self) -> bool {
        self.puts == 2
    }
}

/// Lets a child die after so many instructions of an operation.
fn die(queue: &Queue, preparation: &str, operation: &str, instructions: usize) {
    let mut child = Stepped::start(&arguments(queue, preparation, operation)).expect("the child starts");
    for _ in 0..instructions {
        if !child.step().expect("the child steps") {
            break;
        }
    }
    child.kill();
}

/// Lets a child die at the first instruction after which a copy of the queue looks so: right after the
/// compare-and-swap that counts, before the tail or the head is moved.
fn lag(queue: &Queue, operation: &str, looks_so: impl Fn(&Queue) -> bool) {
    let file = file_of(queue);
    let mut bytes = Bytes::of(&file);
    let mut scratch = Vec::new();
    let mut child = Stepped::start(&arguments(queue, "joined", operation)).expect("the child starts");
    while child.step().expect("the child steps") {
        if bytes.update(&file, &mut scratch) && looks_so(&bytes.queue().0) {
            child.kill();
            return;
        }
    }
    panic!("the operation was over before the queue looked so");
}

pub fn arguments(queue: &Queue, preparation: &str, operation: &str) -> Vec<String> {
    let path = queue.descriptor_path().to_string_lossy().into_owned();
    vec![path, preparation.to_owned(), operation.to_owned()]
}

pub fn file_of(queue: &Queue) -> File {
    queue.as_fd().try_clone_to_owned().expect("a descriptor is left").into()
}
