//! What the queue holds, what is done to it, and what may be left.

use std::fs::File;
use std::os::fd::AsFd;

use ipc::{Fsync, Queue, QueueOptions, TryPutError};

use crate::Tried;
use crate::child::large;
use crate::copy::Bytes;
use crate::peer::Peer;
use crate::step::Stepped;

pub const CAPACITY: u64 = 4;
/// Blocks a queue of that capacity has, and pages it is given.
const BLOCKS: usize = 2 * CAPACITY as usize + 32 * PARTICIPANTS as usize;
const PAGES: usize = 9;
const PARTICIPANTS: u32 = 8;

/// A message that waits: its bytes, and which delivery the next would be.
type Waiting = (Vec<u8>, u32);

pub struct Scenario {
    pub name: String,
    state: State,
    preparation: &'static str,
    operation: &'static str,
    /// What may wait after a death, in the order in which it can become so: the first is "nothing happened",
    /// the last is "all happened".
    outcomes: Vec<Vec<Waiting>>,
    /// Who sleeps meanwhile.
    peer: Option<&'static str>,
    /// Whether the queue is kept on disk.
    is_durable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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

fn small(names: &[&str]) -> Vec<Waiting> {
    names.iter().map(|name| (name.as_bytes().to_vec(), 1)).collect()
}

fn again(name: &str, deliveries: u32) -> Waiting {
    (name.as_bytes().to_vec(), deliveries)
}

impl State {
    /// Brings an empty queue there; answers what waits then.
    fn make(self, queue: &Queue) -> Vec<Waiting> {
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

fn file_of(queue: &Queue) -> File {
    queue.as_fd().try_clone_to_owned().expect("a descriptor is left").into()
}

fn options(is_durable: bool) -> QueueOptions {
    QueueOptions {
        capacity: Some(CAPACITY),
        max_bytes: Some(PAGES as u64 * 1024),
        max_deliveries: Some(3),
        participants: PARTICIPANTS,
        supervised: true,
        durable: is_durable.then_some(Fsync::Always),
        ..Default::default()
    }
}

/// Every scenario.
pub fn all(is_full: bool) -> Vec<Scenario> {
    use State::*;
    let mut all = Vec::new();
    let mut add =
        |state: State, preparation: &'static str, operation: &'static str, outcomes: Vec<Vec<Waiting>>| {
            all.push(Scenario {
                name: format!("{operation} after {preparation} on {state:?}").to_lowercase(),
                state,
                preparation,
                operation,
                outcomes,
                peer: None,
                is_durable: false,
            });
        };
    let a1b1 = || small(&["a", "b"]);
    let abcd = || small(&["a", "b", "c", "d"]);
    let abcd_with_a_again = || vec![again("a", 2), again("b", 1), again("c", 1), again("d", 1)];

    // Putting.
    add(Empty, "nothing", "put", vec![vec![], small(&["new"])]);
    add(Empty, "joined", "put", vec![vec![], small(&["new"])]);
    add(Two, "joined", "put", vec![a1b1(), small(&["a", "b", "new"])]);
    add(Wrapped, "joined", "put", vec![a1b1(), small(&["a", "b", "new"])]);
    add(Full, "joined", "put-full", vec![abcd()]);
    add(WrappedFull, "joined", "put-full", vec![abcd()]);
    add(WrappedEmpty, "joined", "put", vec![vec![], small(&["new"])]);
    add(LaggingTail, "joined", "put", vec![small(&["a", "new"]), small(&["a", "new", "new"])]);
    add(
        LaggingHead,
        "joined",
        "put",
        vec![vec![again("a", 2), again("b", 1)], vec![again("a", 2), again("b", 1), again("new", 1)]],
    );
    add(Two, "joined", "put-two", vec![a1b1(), small(&["a", "b", "new"]), small(&["a", "b", "new", "two"])]);
    add(One, "joined", "put-large", vec![small(&["a"]), vec![again("a", 1), (large(), 1)]]);
    add(Closed, "joined", "put", vec![a1b1()]);
    // Getting: what was got before is acknowledged first.
    add(Empty, "joined", "get", vec![vec![]]);
    add(Two, "nothing", "get", vec![a1b1(), vec![again("a", 2), again("b", 1)]]);
    add(Two, "joined", "get", vec![a1b1(), vec![again("a", 2), again("b", 1)]]);
    add(Two, "got", "get", vec![vec![again("a", 2), again("b", 1)], small(&["b"]), vec![again("b", 2)]]);
    add(Full, "joined", "get", vec![abcd(), abcd_with_a_again()]);
    add(Wrapped, "joined", "get", vec![a1b1(), vec![again("a", 2), again("b", 1)]]);
    add(WrappedEmpty, "joined", "get", vec![vec![]]);
    add(WrappedFull, "joined", "get", vec![abcd(), abcd_with_a_again()]);
    add(LaggingTail, "joined", "get", vec![small(&["a", "new"]), vec![again("a", 2), again("new", 1)]]);
    add(
        LaggingHead,
        "joined",
        "get",
        vec![
            vec![again("a", 2), again("b", 1)],
            // Recovered one after the other: the child first, then who died before it.
            vec![again("b", 2), again("a", 2)],
        ],
    );
    add(
        GivenBack,
        "joined",
        "get",
        vec![
            vec![again("a", 2), again("b", 1), again("c", 1)],
            vec![again("a", 3), again("b", 1), again("c", 1)],
        ],
    );
    add(Large, "joined", "get", vec![vec![(large(), 1), again("b", 1)], vec![(large(), 2), again("b", 1)]]);
    add(Large, "got", "ack-got", vec![vec![(large(), 2), again("b", 1)], small(&["b"])]);
    add(
        Two,
        "joined",
        "get-two",
        vec![a1b1(), vec![again("a", 2), again("b", 1)], vec![again("a", 2), again("b", 2)]],
    );
    add(Closed, "joined", "get", vec![a1b1(), vec![again("a", 2), again("b", 1)]]);
    // In hand.
    add(Two, "joined", "lease", vec![a1b1(), vec![again("a", 2), again("b", 1)]]);
    add(Empty, "joined", "lease", vec![vec![]]);
    add(Wrapped, "joined", "lease", vec![a1b1(), vec![again("a", 2), again("b", 1)]]);
    add(WrappedEmpty, "joined", "lease", vec![vec![]]);
    add(Full, "joined", "lease", vec![abcd(), abcd_with_a_again()]);
    add(WrappedFull, "joined", "lease", vec![abcd(), abcd_with_a_again()]);
    add(Two, "leased", "ack", vec![vec![again("a", 2), again("b", 1)], small(&["b"])]);
    add(One, "leased", "ack", vec![vec![again("a", 2)], vec![]]);
    add(Wrapped, "leased", "ack", vec![vec![again("a", 2), again("b", 1)], small(&["b"])]);
    add(Full, "leased", "ack", vec![abcd_with_a_again(), small(&["b", "c", "d"])]);
    add(WrappedFull, "leased", "ack", vec![abcd_with_a_again(), small(&["b", "c", "d"])]);
    add(Large, "leased", "ack", vec![vec![(large(), 2), again("b", 1)], small(&["b"])]);
    add(Two, "leased", "nack", vec![vec![again("a", 2), again("b", 1)]]);
    add(Two, "leased", "nack-later", vec![vec![again("a", 2), again("b", 1)]]);
    add(LastChance, "leased", "nack", vec![vec![]]);
    // The rest.
    add(Two, "joined", "close", vec![a1b1()]);
    add(Full, "joined", "close", vec![abcd()]);
    add(Two, "joined", "peek", vec![a1b1()]);
    add(LaggingHead, "joined", "len", vec![vec![again("a", 2), again("b", 1)]]);
    add(
        DeadHolder,
        "joined",
        "reclaim",
        vec![vec![again("a", 2), again("b", 2), again("c", 1), again("d", 1)]],
    );

    // The same on disk: all of it, or what differs by where it is.
    let on_disk = |one: &Scenario| {
        is_full
            || matches!(one.state, Two | Full | WrappedEmpty | DeadHolder)
                && !matches!(one.operation, "peek" | "len" | "put-two" | "get-two")
            || one.operation.contains("large")
    };
    let durable: Vec<Scenario> = all
        .iter()
        .filter(|one| on_disk(one))
        .map(|one| Scenario {
            name: format!("durable: {}", one.name),
            is_durable: true,
            outcomes: one.outcomes.clone(),
            ..*one
        })
        .collect();
    all.extend(durable);

    for (state, preparation, operation, peer) in [
        (Empty, "joined", "put", "peer-get"),
        (WrappedEmpty, "joined", "put", "peer-get"),
        (Empty, "joined", "put-large", "peer-get"),
        (Empty, "joined", "put-two", "peer-get"),
        (Full, "joined", "get", "peer-put"),
        (WrappedFull, "joined", "get", "peer-put"),
        (Full, "joined", "lease", "peer-put"),
        (WrappedFull, "joined", "get-two", "peer-put"),
        (One, "leased", "nack", "peer-get"),
        (One, "leased", "nack-later", "peer-get"),
        // The last message in hand of a closed queue: whoever waits learns that no more can come.
        (ClosedOne, "leased", "ack", "peer-get"),
        (Empty, "joined", "close", "peer-get"),
        (Full, "joined", "close", "peer-put"),
    ] {
        for is_durable in [false, true] {
            let on_disk = if is_durable { "durable: " } else { "" };
            all.push(Scenario {
                name: format!("{on_disk}{operation} while a {peer} sleeps on {state:?}").to_lowercase(),
                state,
                preparation,
                operation,
                outcomes: Vec::new(),
                peer: Some(peer),
                is_durable,
            });
        }
    }
    all
}

/// A queue, in a file on disk or in memory alone.
fn new_queue(scenario: &Scenario) -> Result<Queue, String> {
    let options = options(scenario.is_durable);
    if !scenario.is_durable {
        return Queue::create_anonymous("stepped", &options).map_err(|e| e.to_string());
    }
    let folder = tempfile::tempdir_in(crate::copy::folder()).map_err(|e| e.to_string())?;
    // The file goes with its name; who has it open keeps it.
    Queue::create(folder.path().join("stepped.queue"), &options).map_err(|e| e.to_string())
}

/// Runs a scenario: all instructions by copies, and real kills at some of them, or at all.
pub fn run(scenario: &Scenario, is_full: bool) -> Result<Tried, String> {
    let mut tried = Tried::default();
    if scenario.peer.is_none() {
        by_copies(scenario, &mut tried)?;
    }
    let instructions = if scenario.peer.is_none() { tried.instructions } else { count(scenario)? };
    // Each kill steps there from the start, so long operations get fewer.
    let kills = if is_full { instructions } else { (20_000 / instructions.max(1)).clamp(2, 8) };
    // A different remainder for each scenario, so that together they land everywhere.
    let shift = scenario.name.len() % 7;
    for number in 0..kills {
        let after = if is_full { number } else { (number * instructions / kills + shift).min(instructions) };
        by_killing(scenario, after).map_err(|problem| format!("killed after {after}: {problem}"))?;
        tried.killed += 1;
    }
    if scenario.peer.is_some() {
        tried.instructions += tried.killed;
    }
    Ok(tried)
}

fn count(scenario: &Scenario) -> Result<usize, String> {
    let queue = new_queue(scenario)?;
    scenario.state.make(&queue);
    let mut child = Stepped::start(&arguments(&queue, scenario.preparation, scenario.operation))?;
    let mut instructions = 0;
    while child.step()? {
        instructions += 1;
    }
    Ok(instructions)
}

fn by_copies(scenario: &Scenario, tried: &mut Tried) -> Result<(), String> {
    let queue = new_queue(scenario)?;
    scenario.state.make(&queue);
    let file = file_of(&queue);
    let mut child = Stepped::start(&arguments(&queue, scenario.preparation, scenario.operation))?;
    let mut bytes = Bytes::of(&file);
    let mut scratch = Vec::new();
    let mut reached = 0;
    let mut is_new = true;
    let mut changes_in_a_row = 0;
    let mut is_left_out = false;
    loop {
        if is_new {
            tried.states += 1;
            let mut dead = bytes.clone();
            dead.bury(child.pid(), PARTICIPANTS as usize);
            let (copy, _file) = dead.queue();
            reached = check(scenario, &copy, child.pid(), reached)
                .map_err(|problem| format!("after {} instructions: {problem}", tried.instructions))?;
        }
        if !child.step()? {
            break;
        }
        tried.instructions += 1;
        let has_changed = bytes.update(&file, &mut scratch);
        changes_in_a_row = if has_changed { changes_in_a_row + 1 } else { 0 };
        // The copy of a long message changes bytes that nobody looks at yet, one instruction after another;
        // each sixteenth of those states is enough, and the last.
        is_new = if has_changed { changes_in_a_row < 16 || changes_in_a_row % 16 == 0 } else { is_left_out };
        is_left_out = has_changed && !is_new;
    }
    let last = scenario.outcomes.len() - 1;
    if reached == last { Ok(()) } else { Err(format!("ended with outcome {reached} and not {last}")) }
}

fn by_killing(scenario: &Scenario, after: usize) -> Result<(), String> {
    let queue = new_queue(scenario)?;
    scenario.state.make(&queue);
    let mut child = Stepped::start(&arguments(&queue, scenario.preparation, scenario.operation))?;
    let peer = scenario.peer.map(|operation| Peer::asleep(&queue, operation)).transpose()?;
    for _ in 0..after {
        if !child.step()? {
            break;
        }
    }
    let pid = child.pid();
    child.kill();
    match peer {
        None => check(scenario, &queue, pid, 0).map(|_| ()),
        Some(peer) => {
            queue.reclaim_dead().map_err(|e| e.to_string())?;
            peer.must_go_on(&queue)
        }
    }
}

/// Recovers and looks whether the promises are kept; answers which outcome it is, not before `from`.
fn check(scenario: &Scenario, queue: &Queue, pid: u32, from: usize) -> Result<usize, String> {
    let reclaimed = queue.reclaim(pid).map_err(|e| format!("cannot reclaim: {e}"))?;
    queue.reclaim_dead().map_err(|e| format!("cannot reclaim: {e}"))?;
    let length = queue.len();
    let mut found: Vec<Waiting> = Vec::new();
    while let Ok(lease) = queue.try_lease() {
        found.push((lease.bytes().to_vec(), lease.deliveries()));
        lease.ack();
    }
    if queue.is_closed() != (scenario.state == State::Closed) && scenario.operation != "close" {
        return Err("it has been closed, or opened".to_owned());
    }
    let outcome = (from..scenario.outcomes.len())
        .find(|&index| scenario.outcomes[index] == found)
        .ok_or_else(|| format!("{} waited after {reclaimed:?}", describe(&found)))?;
    // What was put off is counted when it is due.
    if length != found.len() as u64 && scenario.operation != "nack-later" {
        return Err(format!("its length was {length} with {} waiting", found.len()));
    }
    while let Some(letter) = queue.take_dead().map_err(|e| e.to_string())? {
        letter.ack();
    }
    let stats = queue.stats();
    if (stats.len, stats.in_flight, stats.bytes, stats.dead_waiting) != (0, 0, 0, 0) {
        return Err(format!("drained, but {stats:?}"));
    }
    if !stats.closed {
        check_capacity(queue)?;
        check_census(queue)?;
    }
    Ok(outcome)
}

fn describe(found: &[Waiting]) -> String {
    let words: Vec<String> = found
        .iter()
        .map(|(bytes, deliveries)| {
            format!("{}:{deliveries}", String::from_utf8_lossy(&bytes[..bytes.len().min(8)]))
        })
        .collect();
    format!("{words:?}")
}

/// It takes exactly its capacity, twice in a row.
fn check_capacity(queue: &Queue) -> Result<(), String> {
    for _ in 0..2 {
        let taken = (0..=CAPACITY).take_while(|_| queue.try_put(b"fill").is_ok()).count();
        if taken as u64 != CAPACITY {
            return Err(format!("took {taken} messages and not {CAPACITY}"));
        }
        while let Ok(lease) = queue.try_lease() {
            if (lease.bytes(), lease.deliveries()) != (b"fill", 1) {
                return Err("a message put last came out otherwise".to_owned());
            }
            lease.ack();
        }
    }
    Ok(())
}

/// No block and no page is missing: all of them can be in hand at once.
fn check_census(queue: &Queue) -> Result<(), String> {
    let mut in_hand = Vec::new();
    while queue.try_put(&[7; 1024]) != Err(TryPutError::Full) {
        in_hand.push(queue.try_lease().map_err(|e| e.to_string())?);
    }
    if in_hand.len() != PAGES {
        return Err(format!("{} pages of {PAGES} could be used", in_hand.len()));
    }
    while queue.try_put(b"s") != Err(TryPutError::Full) {
        in_hand.push(queue.try_lease().map_err(|e| e.to_string())?);
    }
    if in_hand.len() != BLOCKS {
        return Err(format!("{} blocks of {BLOCKS} could be used", in_hand.len()));
    }
    in_hand.into_iter().for_each(ipc::Lease::ack);
    Ok(())
}
