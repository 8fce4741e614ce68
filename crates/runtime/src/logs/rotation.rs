//! Where a log file is cut, and how old ones are moved aside.

use super::framing::MAX_LINE;
use memchr::{memchr, memrchr};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a file looks like before bytes are added to it.
pub(super) struct Fill {
    pub size: u64,
    pub max_size: u64,
    /// The file is empty or its last byte is a newline.
    pub line_start: bool,
    /// Every newline ends a record, and a record is never cut.
    pub framed: bool,
}

impl Fill {
    /// How many of `bytes` still belong into the file; 0 says: rotate first.
    ///
    /// The cut is after a newline. A file whose only line is larger than it may be takes the whole line; a raw one that holds
    /// no newline for [`MAX_LINE`] bytes beyond its size is cut where it is.
    pub fn share(&self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes.len();
        }
        if let Some(newline) = memrchr(b'\n', &bytes[..room]) {
            return newline + 1;
        }
        if self.line_start && self.size > 0 {
            return 0;
        }
        let reach = match self.framed {
            true => bytes.len(),
            false => {
                let end = self.max_size.saturating_add(MAX_LINE as u64);
                usize::try_from(end.saturating_sub(self.size)).unwrap_or(usize::MAX).min(bytes.len())
            }
        };
        memchr(b'\n', &bytes[..reach]).map_or(reach, |newline| newline + 1)
    }
}

/// `path` becomes `path.1`, `path.1` becomes `path.2`, up to `path.keep`, which is replaced. `keep` is at least 1.
///
/// Only files before the first gap move, so that trying again after a failure does not push the oldest one out.
///
/// # Errors
/// What the first failing rename said; no file is gone then.
pub(super) fn move_aside(path: &Path, keep: u32) -> io::Result<()> {
    let gap = (1..keep).find(|&number| fs::symlink_metadata(old(path, number)).is_err()).unwrap_or(keep);
    for number in (1..gap).rev() {
        fs::rename(old(path, number), old(path, number + 1))?;
    }
    match fs::rename(path, old(path, 1)) {
        // Somebody else has moved it already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Undoes the last step of [`move_aside`].
pub(super) fn move_back(path: &Path) -> io::Result<()> {
    fs::rename(old(path, 1), path)
}

/// The name of the file that was rotated `number` times.
pub(super) fn old(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn files_are_cut_after_newlines_and_lose_nothing(
            lines in prop::collection::vec(prop::collection::vec(1u8..9, 0..30), 1..40),
            block in 1usize..200,
            max_size in 1u64..120,
            framed: bool,
        ) {
            let mut bytes: Vec<u8> = Vec::new();
            for line in &lines {
                bytes.extend(line.iter().map(|byte| b'a' + byte));
                bytes.push(b'\n');
            }
            let mut files: Vec<Vec<u8>> = vec![Vec::new()];
            // A framed file is given whole records, a raw one whatever was read.
            let blocks: Vec<&[u8]> = match framed {
                true => bytes.split_inclusive(|&byte| byte == b'\n').collect(),
                false => bytes.chunks(block).collect(),
            };
            for mut block in blocks {
                while !block.is_empty() {
                    let file = files.last_mut().expect("there is always one");
                    let line_start = file.last().is_none_or(|&byte| byte == b'\n');
                    let share = Fill { size: file.len() as u64, max_size, line_start, framed }.share(block);
                    if share == 0 {
                        prop_assert!(!file.is_empty(), "an empty file always takes something");
                        files.push(Vec::new());
                        continue;
                    }
                    file.extend_from_slice(&block[..share]);
                    block = &block[share..];
                }
            }
            prop_assert_eq!(files.concat(), bytes);
            for file in &files {
                prop_assert_eq!(file.last(), Some(&b'\n'));
                let one_line = file.iter().filter(|&&byte| byte == b'\n').count() == 1;
                let last_line = file[..file.len() - 1].iter().rev().position(|&byte| byte == b'\n');
                let before_it = last_line.map_or(0, |length| file.len() - 1 - length) as u64;
                // Only a line that began within the size may reach beyond it.
                prop_assert!(file.len() as u64 <= max_size || one_line || before_it <= max_size);
            }
        }
    }

    #[test]
    fn raw_bytes_without_any_newline_are_cut_within_one_line_of_the_size() {
        let fill = |size| Fill { size, max_size: 100, line_start: false, framed: false };
        let block = vec![b'x'; 3 * MAX_LINE];
        assert_eq!(fill(50).share(&block), 50 + MAX_LINE);
        assert_eq!(fill(100 + MAX_LINE as u64).share(&block), 0);
    }

    #[test]
    fn old_files_move_up_to_the_first_gap_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let names = |expected: &[&str]| {
            let mut found: Vec<String> = fs::read_dir(folder.path())
                .expect("the folder")
                .map(|entry| entry.expect("an entry").path())
                .map(|path| {
                    format!("{}={}", path.file_name().unwrap().display(), fs::read_to_string(&path).unwrap())
                })
                .collect();
            found.sort();
            assert_eq!(found, expected);
        };
        for text in ["a", "b", "c", "d"] {
            fs::write(&path, text).expect("a file");
            move_aside(&path, 3).expect("to move");
        }
        names(&["log.1=d", "log.2=c", "log.3=b"]);
        fs::remove_file(old(&path, 2)).expect("to make a gap");
        fs::write(&path, "e").expect("a file");
        move_aside(&path, 3).expect("to move");
        names(&["log.1=e", "log.2=d", "log.3=b"]);
    }
}
