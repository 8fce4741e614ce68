//! What a process writes down, so that it is known also of one that is killed.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One operation. Its beginning is written before it begins, together with the end of the one before it: so most of the
/// time that a process lives it is in the midst of an operation, as far as others can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub call: Call,
    /// What is put, acknowledged or given back.
    pub value: u64,
    pub began: u64,
    /// Zero: it was cut short.
    pub ended: u64,
    pub answer: Answer,
    /// What was got, and which delivery of it this was.
    pub got: u64,
    pub deliveries: u64,
}

impl Entry {
    pub fn is_refusal(&self) -> bool {
        self.ended != 0 && self.answer == Answer::Refused
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Call {
    Put = 1,
    Get,
    Lease,
    Ack,
    GiveBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Answer {
    Done = 1,
    /// Full, or empty.
    Refused,
}

/// The monotonic clock, which is one for all processes. Never zero.
pub fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// An entry is a head of three words and a tail of four.
const HEAD: usize = 24;
const ENTRY: usize = HEAD + 32;

/// A file of entries in the order of their beginnings.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    /// The tail of the last entry, which is written with the next one's head.
    tail: RefCell<Vec<u64>>,
    count: Cell<u64>,
    /// Keeps the file, in the process that made it.
    _folder: Option<tempfile::TempDir>,
}

impl Log {
    pub fn create() -> Log {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        Log { file, path, tail: RefCell::default(), count: Cell::default(), _folder: Some(folder) }
    }

    pub fn open(path: &Path) -> Log {
        let file = File::options().read(true).write(true).open(path).expect("the log is there");
        Log { file, path: path.to_owned(), tail: RefCell::default(), count: Cell::default(), _folder: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that an operation begins. A kill leaves it written or not: the kernel copies so few bytes at once.
    pub fn begin(&self, call: Call, value: u64) {
        let mut words = self.tail.take();
        let at = self.count.get() * ENTRY as u64 - words.len() as u64 * 8;
        words.extend([call as u64, value, now()]);
        self.write(at, &words);
        self.count.set(self.count.get() + 1);
    }

    pub fn end(&self, answer: Answer, got: u64, deliveries: u64) {
        self.tail.replace(vec![now(), answer as u64, got, deliveries]);
    }

    /// Writes the end of the last operation, when there is no other.
    pub fn finish(&self) {
        let words = self.tail.take();
        self.write(self.count.get() * ENTRY as u64 - words.len() as u64 * 8, &words);
    }

    fn write(&self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.file.write_all_at(&bytes, at).expect("there is room for a log");
    }

    fn read(&self, number: u64) -> Option<Entry> {
        let mut bytes = [0; ENTRY];
        let at = number * ENTRY as u64;
        // The last one may have only its head.
        let mut length = 0;
        while length < bytes.len() {
            match self.file.read_at(&mut bytes[length..], at + length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) => panic!("the log cannot be read: {error}"),
            }
        }
        let word =
            |index: usize| u64::from_le_bytes(bytes[index * 8..][..8].try_into().expect("eight bytes"));
        let call = match word(0) {
            0 => return None,
            1 => Call::Put,
            2 => Call::Get,
            3 => Call::Lease,
            4 => Call::Ack,
            5 => Call::GiveBack,
            other => panic!("no call is {other}"),
        };
        let answer = if word(4) == Answer::Done as u64 { Answer::Done } else { Answer::Refused };
        Some(Entry {
            call,
            value: word(1),
            began: word(2),
            ended: word(3),
            answer,
            got: word(5),
            deliveries: word(6),
        })
    }

    pub fn entries(&self) -> Vec<Entry> {
        (0..).map_while(|number| self.read(number)).collect()
    }

    /// How many operations have ended by now, at least.
    pub fn count_ended(&self) -> u64 {
        let length = self.file.metadata().expect("the log is there").len();
        length / ENTRY as u64
    }
}
