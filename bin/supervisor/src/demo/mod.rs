//! `demo`: the lessons of multi-process programming, each with real processes, explained as they happen.
//!
//! ```text
//!   supervisor demo LESSON      house: a folder, and the end of whatever is left
//!     └─ the lesson             stage: the steps, what was seen, what it means
//!          ├─ its parts         actor: this program again, or any other
//!          └─ supervisors       supervised: `supervisor run`, as anybody would start it
//! ```
//!
//! A lesson is data (its words, in both languages) and a function that takes the steps and looks whether each shows what
//! it teaches. It must not depend on how long anything takes: it waits until things are so.

mod actor;
mod house;
mod lessons;
mod page;
mod stage;
mod supervised;
mod text;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use control::api::ErrorCode;
use nix::sys::signal::SigSet;
use process::Pid;
use serde_json::json;

use crate::output::{print, print_json, printable};
use crate::talk::{Failure, conclude};
pub use lessons::LESSONS;
use stage::{Stage, Taught};
pub use text::Lang;
use text::{Step, Text};

/// The word by which this program is started as a part of a lesson.
pub const PART: &str = "demo-part";
/// The part that is the lesson itself.
const WHOLE: &str = "lesson";

/// A lesson.
#[derive(Debug)]
pub struct Lesson {
    /// What it is called.
    pub name: &'static str,
    /// What it teaches, in a line.
    pub teaches: Text,
    /// Its words, step by step.
    steps: &'static [Step],
    /// Takes the steps.
    teach: fn(&mut Stage) -> Taught,
    /// What its children do: the part's name, then its arguments.
    part: fn(&str, &[String]) -> io::Result<()>,
}

/// `demo`: the list, or one lesson.
///
/// # Errors
/// When the lesson cannot be tried, or shows something else than it teaches.
pub fn demo(lesson: Option<&str>, lang: Lang, json: bool) -> Result<ExitCode, Failure> {
    match lesson {
        Some(lesson) => house::give(lesson, lang, json),
        None => list(lang, json).map(|()| ExitCode::SUCCESS),
    }
}

fn list(lang: Lang, json: bool) -> Result<(), Failure> {
    if json {
        let row = |lesson: &Lesson| json!({"lesson": lesson.name, "teaches": lesson.teaches.of(lang)});
        return print_json(&LESSONS.iter().map(row).collect::<Vec<_>>());
    }
    let widest = LESSONS.iter().map(|lesson| lesson.name.len()).max().unwrap_or(0);
    let row = |lesson: &Lesson| format!("{:widest$}  {}\n", lesson.name, lesson.teaches.of(lang));
    print(&LESSONS.iter().map(row).collect::<String>())
}

/// Whether this program was started as a part of a lesson; its exit code then.
pub fn part(given: &[OsString]) -> Option<ExitCode> {
    let [_, verb, lesson, part, rest @ ..] = given else { return None };
    if verb != PART {
        return None;
    }
    let name = lesson.to_str()?;
    let lesson = LESSONS.iter().find(|lesson| lesson.name == name)?;
    // The process around the lesson holds signals back; nobody else is to.
    let _ = SigSet::empty().thread_set_mask();
    let _ = process::die_with_parent(Pid::parent(), nix::libc::SIGKILL);
    if part == WHOLE {
        let [lang, form, folder] = rest else { return None };
        let lang = if lang == Lang::Zh.code() { Lang::Zh } else { Lang::En };
        let json = form == "json";
        return Some(conclude(Stage::new(lesson, lang, json, PathBuf::from(folder)).perform(), json));
    }
    let arguments: Vec<String> = rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    Some(match (lesson.part)(&part.to_string_lossy(), &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{name}: {}", printable(&error.to_string()));
            conclude(Err(Failure::new(ErrorCode::Failed, message)), false)
        }
    })
}

/// The part of a lesson whose children are other programs.
fn no_parts(part: &str, _: &[String]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no part {part}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Vec<&str> {
        let mut names: Vec<&str> =
            text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn is_chinese(text: &str) -> bool {
        text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
    }

    #[test]
    fn both_languages_say_everything_and_with_the_same_facts() {
        for lesson in LESSONS {
            assert!(lesson.steps.len() >= 3, "{}", lesson.name);
            let steps = lesson.steps.iter().flat_map(|step| [step.does, step.seen, step.means]);
            for Text { en, zh } in std::iter::once(lesson.teaches).chain(steps) {
                assert!(en.is_ascii() && !en.is_empty(), "{}: {en}", lesson.name);
                assert!(is_chinese(zh), "{}: {zh}", lesson.name);
                assert_eq!(facts(en), facts(zh), "{}", lesson.name);
            }
        }
    }

    #[test]
    fn every_lesson_has_a_name_of_its_own_and_fits_a_line() {
        for (index, lesson) in LESSONS.iter().enumerate() {
            assert!(LESSONS[..index].iter().all(|other| other.name != lesson.name));
            assert!(lesson.teaches.en.len() <= 80, "{}", lesson.name);
        }
    }
}
