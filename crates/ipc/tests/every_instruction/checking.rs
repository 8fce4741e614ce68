//! What must hold of a queue after somebody was killed and it was recovered.

use ipc::{Queue, TryPutError};

use crate::scenarios::Scenario;
use crate::state::{BLOCKS, CAPACITY, PAGES, State, Waiting};

/// Recovers and looks whether the promises are kept; answers which outcome it is, not before `from`.
pub fn check(scenario: &Scenario, queue: &Queue, pid: u32, from: usize) -> Result<usize, String> {
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
