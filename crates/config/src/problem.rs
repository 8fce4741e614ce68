//! What is wrong with a config, in a form that people and programs can act on.

use std::error::Error;
use std::fmt;

use serde::Serialize;

/// One thing that is wrong, and where.
///
/// Serializes to exactly `{"path", "line", "column", "message", "hint"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The way to the value: `workers.reader.restart`, `workers.reader.command[2]`. A key that holds anything but
    /// letters, digits, `-` and `_` stands in double quotes. Empty when the problem is the file as a whole.
    pub path: String,
    /// The line it stands on, from 1.
    pub line: usize,
    /// The column it begins at, in characters, from 1; a tab is one character.
    pub column: usize,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it; where nothing better is known, what the key is for and its default.
    pub hint: String,
}

/// All problems of one config, in the order of the file; never empty.
///
/// Displays as people read it:
///
/// ```
/// # struct Empty;
/// # impl config::Surroundings for Empty {
/// #     fn var(&self, _: &str) -> Option<String> { None }
/// #     fn read(&self, _: &std::path::Path) -> std::io::Result<Vec<u8>> { Err(std::io::ErrorKind::NotFound.into()) }
/// # }
/// # use std::path::Path;
/// let text = br#"{"workers": {"reader": {"command": ["cat"], "restart": "allways"}}}"#;
/// let problems = config::read(text, Path::new("/srv/config.json"), &Empty).unwrap_err();
/// assert_eq!(
///     problems.to_string(),
///     "supervisor: config.json has 1 problem\n  \
///      workers.reader.restart (1:56): unknown value \"allways\"\n    \
///      hint: did you mean \"always\"?",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    /// The problems of the file of that name (shown as it is given, without folders).
    pub(crate) fn new(file: String, list: Vec<Problem>) -> Problems {
        assert!(!list.is_empty(), "a config without problems is a plan");
        Problems { file, list }
    }

    /// The problems, in the order of the file.
    pub fn as_slice(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(f, "supervisor: {} has {} problem{plural}", self.file, self.list.len())?;
        for problem in &self.list {
            f.write_str("\n  ")?;
            if !problem.path.is_empty() {
                write!(f, "{} ", problem.path)?;
            }
            write!(f, "({}:{}): {}", problem.line, problem.column, problem.message)?;
            write!(f, "\n    hint: {}", problem.hint)?;
        }
        Ok(())
    }
}

impl Error for Problems {}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

/// What a problem says: the message, and perhaps a hint. Where it stands is added by whoever notes it.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub message: String,
    pub hint: Option<String>,
}

impl Complaint {
    pub fn new(message: impl Into<String>) -> Complaint {
        Complaint { message: message.into(), hint: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Complaint {
        Complaint { hint: Some(hint.into()), ..self }
    }

    /// Adds a hint where there is one, and keeps the present one where there is none.
    pub fn maybe_hint(self, hint: Option<String>) -> Complaint {
        Complaint { hint: hint.or(self.hint), ..self }
    }
}

/// Text of the user between double quotes, so that no control character reaches a terminal and no message fills it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", clipped(text))
}

/// As [`quoted`], without the quotes.
pub(crate) fn clipped(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// `"a", "b", "c"`.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// `did you mean "always"?`, when one of the known words is near enough to be what was meant.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|word| format!("did you mean {}?", quoted(word)))
}

/// The known word nearest to the given one, if any is within about a quarter of its length.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let given = plain(given);
    let length = given.chars().count();
    let reach = 1 + length / 4;
    known
        .into_iter()
        // A distance is at least the difference in length: most words need no closer look.
        .filter(|word| word.chars().count().abs_diff(length) <= reach)
        .map(|word| (strsim::osa_distance(&given, &plain(word)), word))
        .filter(|(distance, word)| *distance <= reach && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
