//! The numbers of transitions go on where a former run of the same name was killed: who read that one's, and reads on, finds a
//! gap that is marked, and never another transition under a number that it knows.
//!
//! How far they have come stands in a file of the run's folder. It is written for many numbers at a time, so that a run that
//! was killed had given fewer than that, and never more.

use std::fs;
use std::path::{Path, PathBuf};

/// The file.
const NAME: &str = "events";

/// So many numbers are taken at a time; at most so many are left out where a run was killed.
const AT_A_TIME: u64 = 1024;

/// No run comes as far. Whoever reads JSON can tell these from each other, too.
const BEYOND_ALL: u64 = 1 << 53;

/// How far the numbers have come.
#[derive(Debug, Default)]
pub struct Numbering {
    /// Where that is written down.
    path: Option<PathBuf>,
    /// Up to this number they are taken.
    taken: u64,
}

impl Numbering {
    /// That of the run with this folder, and the last number that a former run may have given.
    pub fn of_run(folder: &Path) -> (Numbering, u64) {
        let path = folder.join(NAME);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let former = text.trim().parse().ok().filter(|number| *number < BEYOND_ALL).unwrap_or(0);
        (Numbering { path: Some(path), taken: former }, former)
    }

    /// A number is about to be given.
    pub fn give(&mut self, number: u64) {
        if number <= self.taken {
            return;
        }
        self.taken = number.saturating_add(AT_A_TIME - 1);
        let Some(path) = &self.path else { return };
        // In one step: a later run finds all of it. Should it fail, numbers come again, and nothing else goes wrong.
        let new = path.with_extension("new");
        let written = fs::write(&new, format!("{}\n", self.taken)).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(new);
        }
    }
}

/// The run is over.
pub fn clear(folder: &Path) {
    // There is none where nothing ever happened.
    let _ = fs::remove_file(folder.join(NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_gives_no_number_again_and_leaves_out_few() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut numbering, former) = Numbering::of_run(folder.path());
        assert_eq!(former, 0);
        for number in 1..=AT_A_TIME + 1 {
            numbering.give(number);
        }
        let (mut next, former) = Numbering::of_run(folder.path());
        assert_eq!(former, 2 * AT_A_TIME);
        next.give(former + 1);
        assert_eq!(Numbering::of_run(folder.path()).1, 3 * AT_A_TIME);
        clear(folder.path());
        assert_eq!(Numbering::of_run(folder.path()).1, 0);
        for nonsense in ["nonsense", "-1", "18446744073709551615"] {
            fs::write(folder.path().join(NAME), nonsense).expect("it is ours");
            assert_eq!(Numbering::of_run(folder.path()).1, 0);
        }
    }
}
