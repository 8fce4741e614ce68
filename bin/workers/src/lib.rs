//! What the worker programs share: the words between the reader, the counter and the collector of a word count.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The words of one chunk of text, as a counter tells them to the collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The message that the chunk came in: the same however often it was delivered.
    pub chunk: u64,
    /// How often each word stands in it.
    pub words: BTreeMap<String, u64>,
}

/// Counts words: a word is a run of ASCII letters, lower-cased.
///
/// ```
/// let counts = workers::count_words(b"The cat, the c\xffat");
/// assert_eq!(counts["the"], 2);
/// assert_eq!(counts["c"], 1);
/// ```
pub fn count_words(text: &[u8]) -> BTreeMap<String, u64> {
    let mut counts: std::collections::HashMap<Vec<u8>, u64> = std::collections::HashMap::new();
    for word in text.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
    }
    counts.into_iter().map(|(word, count)| (String::from_utf8_lossy(&word).into_owned(), count)).collect()
}

/// Ends a worker program: says what went wrong, if anything did.
pub fn end(program: &str, result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening any more.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{program}: {error}\n"));
            ExitCode::FAILURE
        }
    }
}
