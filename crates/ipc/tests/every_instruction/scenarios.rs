//! What is done to a queue, what may be left, and how it is tried at every instruction.

use ipc::{Fsync, Queue, QueueOptions};

use crate::Tried;
use crate::checking::check;
use crate::child::large;
use crate::copy::Bytes;
use crate::peer::Peer;
use crate::state::{CAPACITY, PAGES, PARTICIPANTS, State, Waiting, again, arguments, file_of, small};
use crate::step::Stepped;

pub struct Scenario {
    pub name: String,
    pub state: State,
    preparation: &'static str,
    pub operation: &'static str,
    /// What may wait after a death, in the order in which it can become so: the first is "nothing happened",
    /// the last is "all happened".
    pub outcomes: Vec<Vec<Waiting>>,
    /// Who sleeps meanwhile.
    peer: Option<&'static str>,
    /// Whether the queue is kept on disk.
    is_durable: bool,
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
