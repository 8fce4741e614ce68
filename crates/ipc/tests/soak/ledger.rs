//! What was put and what was got, and whether they agree.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// A consumer's note of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    pub producer: u32,
    pub deliveries: u32,
    pub sequence: u64,
}

impl Note {
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.producer.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.deliveries.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            producer: u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")),
            deliveries: u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")),
            sequence: u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")),
        }
    }
}

/// A message that nobody else would put: every byte follows from who put it and which it is.
pub fn message(producer: u32, sequence: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + length);
    bytes.extend(producer.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend((0..length).map(|at| filling(producer, sequence, at)));
    bytes
}

fn filling(producer: u32, sequence: u64, at: usize) -> u8 {
    (u64::from(producer).wrapping_mul(31) ^ sequence.wrapping_mul(7) ^ (at as u64).wrapping_mul(13)) as u8
}

/// Who put a message and which it is; none if it is torn.
pub fn read_message(bytes: &[u8]) -> Option<(u32, u64)> {
    let producer = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let sequence = u64::from_le_bytes(bytes.get(4..12)?.try_into().ok()?);
    let is_whole = bytes[12..].iter().enumerate().all(|(at, &byte)| byte == filling(producer, sequence, at));
    is_whole.then_some((producer, sequence))
}

/// What the ledgers say together.
pub struct Verdict {
    pub messages: u64,
    pub redelivered: u64,
}

pub fn check(folder: &Path) -> Result<Verdict, String> {
    let mut put: HashMap<u32, u64> = HashMap::new();
    let mut got: HashMap<(u32, u64), Vec<u32>> = HashMap::new();
    for entry in fs::read_dir(folder).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).map_err(|e| e.to_string())?;
        match name.split_once('-') {
            Some(("produce", number)) => {
                let number = number.parse().map_err(|_| format!("a strange ledger: {name}"))?;
                let last = bytes.try_into().map_or(0, u64::from_le_bytes);
                put.insert(number, last);
            }
            Some(("consume", _)) => {
                let mut last: HashMap<u32, u64> = HashMap::new();
                for note in bytes.chunks_exact(16).map(Note::from_bytes) {
                    got.entry((note.producer, note.sequence)).or_default().push(note.deliveries);
                    // What is delivered for the first time comes in the order in which it was put.
                    if note.deliveries == 1
                        && last.insert(note.producer, note.sequence).is_some_and(|last| last >= note.sequence)
                    {
                        return Err(format!("out of order: {note:?}"));
                    }
                }
            }
            _ => {}
        }
    }
    let mut redelivered = 0;
    for ((producer, sequence), deliveries) in &got {
        // One put at most was under way when its producer was killed.
        let last = put.get(producer).ok_or_else(|| format!("nobody was producer {producer}"))?;
        if *sequence == 0 || *sequence > last + 1 {
            return Err(format!("message {sequence} of producer {producer}, who put {last}, was never put"));
        }
        let different: HashSet<_> = deliveries.iter().collect();
        if different.len() != deliveries.len() {
            return Err(format!("message {sequence} of producer {producer}: deliveries {deliveries:?}"));
        }
        redelivered += deliveries.iter().filter(|&&count| count > 1).count() as u64;
    }
    for (&producer, &last) in &put {
        if let Some(lost) = (1..=last).find(|&sequence| !got.contains_key(&(producer, sequence))) {
            return Err(format!(
                "message {lost} of producer {producer} is lost, though its put had returned"
            ));
        }
    }
    Ok(Verdict { messages: put.values().sum(), redelivered })
}
