//! Queue classes of Python: measured by a script, where there is a Python and the class.

use std::io::Read;
use std::time::Duration;

use worker::{Child, Process};

use super::hall::{DEADLINE, read_within};
use super::work::Load;
use crate::Trouble;

const SCRIPT: &str = include_str!("../../python/queues.py");

/// What the script ends with when the class is not installed.
const MISSING: i32 = 3;

/// A queue class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Multiprocessing,
    FasterFifo,
}

impl Class {
    /// How it is called in the table.
    pub fn word(self) -> &'static str {
        match self {
            Class::Multiprocessing => "multiprocessing.Queue",
            Class::FasterFifo => "faster-fifo",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Class::Multiprocessing => "mp",
            Class::FasterFifo => "ff",
        }
    }
}

/// Messages a second; `None`, after a word on standard error, where there is no Python or no such class.
pub fn rate(class: Class, load: Load) -> Result<Option<f64>, Trouble> {
    let (mut out, writer) = std::io::pipe()?;
    let numbers = [load.producers, load.consumers, load.each, load.bytes as u64];
    let process = Process::new("python3")
        .args(
            [vec!["-c".to_owned(), SCRIPT.to_owned(), class.argument().to_owned()], text(&numbers)].concat(),
        )
        .daemon(true)
        .stdout(writer);
    let child = match process.start() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("bench: {} is skipped: {error}", class.word());
            return Ok(None);
        }
    };
    drop(process);
    let said = read_within(&mut out, DEADLINE, |out| {
        let mut said = String::new();
        out.read_to_string(&mut said).map(|_| said)
    });
    let ended = child.join(DEADLINE);
    end(&child);
    let said = said?;
    match ended.map_err(Trouble::new)?.code() {
        Some(0) => {}
        Some(MISSING) => {
            eprintln!("bench: {} is skipped: {}", class.word(), said.trim());
            return Ok(None);
        }
        _ => return Err(Trouble::new(format!("{} failed: {said}", class.word()))),
    }
    said.trim().parse().map(Some).map_err(|_| Trouble::new(format!("no rate: {said}")))
}

fn text(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(u64::to_string).collect()
}

/// Ends it, and with it those it has started: they die with their parent.
fn end(child: &Child) {
    let _ = child.kill();
    let _ = child.join(Duration::from_secs(5));
}
