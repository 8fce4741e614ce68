//! A program and the first words of its command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The program to execute, and the arguments that always stand first.
///
/// Made of one text or path, which is the program alone, or of a list, whose first is the program. A program without
/// `/` is looked for in `PATH`. Nothing of it is read by a shell; `["/bin/sh", "-c", line]` asks for one.
///
/// ```
/// use worker::CommandLine;
///
/// assert_eq!(CommandLine::from("sort"), CommandLine::from(["sort"]));
/// assert_ne!(CommandLine::from("sort -n"), CommandLine::from(["sort", "-n"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(pub(super) Vec<OsString>);

macro_rules! of_one {
    ($($type:ty),*) => {
        $(impl From<$type> for CommandLine {
            fn from(program: $type) -> CommandLine {
                CommandLine(vec![program.into()])
            }
        })*
    };
}

of_one!(&str, &String, String, &OsStr, OsString, &Path, &PathBuf, PathBuf);

impl<S: AsRef<OsStr>> From<&[S]> for CommandLine {
    fn from(words: &[S]) -> CommandLine {
        CommandLine(words.iter().map(|word| word.as_ref().to_owned()).collect())
    }
}

impl<S: AsRef<OsStr>, const N: usize> From<[S; N]> for CommandLine {
    fn from(words: [S; N]) -> CommandLine {
        words.as_slice().into()
    }
}

impl<S: AsRef<OsStr>> From<Vec<S>> for CommandLine {
    fn from(words: Vec<S>) -> CommandLine {
        words.as_slice().into()
    }
}
