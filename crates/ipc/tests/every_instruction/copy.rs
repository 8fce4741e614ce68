//! The bytes of a segment, and queues made of copies of them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use ipc::Queue;

/// Where participants' entries are, and how long each is: `state:4 | generation:8 | pid:22 | mark:30` first.
const PARTICIPANTS: usize = 0x2000;
const ENTRY: usize = 128;
const PAGE: usize = 4096;

/// A segment at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    pub fn of(file: &File) -> Self {
        let mut bytes = vec![0; file.metadata().expect("an open file has metadata").len() as usize];
        file.read_exact_at(&mut bytes, 0).expect("it is as long as it says");
        Self(bytes)
    }

    /// Reads it anew; says whether it is another than before.
    pub fn update(&mut self, file: &File, scratch: &mut Vec<u8>) -> bool {
        scratch.resize(self.0.len(), 0);
        file.read_exact_at(scratch, 0).expect("it is as long as before");
        let is_other = *scratch != self.0;
        if is_other {
            std::mem::swap(&mut self.0, scratch);
        }
        is_other
    }

    /// Makes the participants with this pid count as dead: as another process that has the number now.
    pub fn bury(&mut self, pid: u32, participants: usize) {
        for index in 0..participants {
            let at = PARTICIPANTS + index * ENTRY;
            let word = u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("eight bytes"));
            if word >> 60 == 1 && (word >> 30) as u32 & 0x3f_ffff == pid {
                self.0[at..at + 8].copy_from_slice(&(word ^ 1).to_ne_bytes());
            }
        }
    }

    /// A queue of its own with these bytes, and the file under it.
    pub fn queue(&self) -> (Queue, File) {
        let file = tempfile::tempfile_in(folder()).expect("a nameless file can be made");
        file.set_len(self.0.len() as u64).expect("it can be as long");
        for (index, page) in self.0.chunks(PAGE).enumerate() {
            if page.iter().any(|&byte| byte != 0) {
                file.write_all_at(page, (index * PAGE) as u64).expect("it can be written");
            }
        }
        let queue = Queue::from_fd(file.try_clone().expect("a descriptor is left").into());
        (queue.expect("a copy of a queue is a queue"), file)
    }
}

/// Where files are in memory, if there is such a place.
pub fn folder() -> std::path::PathBuf {
    if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() }
}
