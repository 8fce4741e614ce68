//! Where a lesson happens: it takes its steps one by one, tells what was seen, and stops at the first thing that is not
//! as it teaches.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use control::api::ErrorCode;
use serde_json::{Value, json};

use crate::demo::Lesson;
use crate::demo::page::Page;
use crate::demo::text::{Facts, Lang, Text, worded};
use crate::output::{print, print_json};
use crate::talk::Failure;

const TAUGHT: Text = Text {
    en: "All of it was seen just now; exit code 0.",
    zh: "以上每一点都是刚刚亲眼所见；退出码 0。",
};

/// How long anything may take before a lesson gives up waiting for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Why a lesson ended early.
#[derive(Debug)]
pub enum Stopped {
    /// Something else was seen than what it teaches, at the step of this number.
    Unseen(usize),
    /// It could not be tried.
    Trouble(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::Trouble(failure)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Trouble(Failure::new(ErrorCode::Failed, error.to_string()))
    }
}

/// What a lesson, or a part of it, comes to.
pub type Taught<T = ()> = Result<T, Stopped>;

/// The stage of one lesson.
#[derive(Debug)]
pub struct Stage {
    lesson: &'static Lesson,
    page: Page,
    json: bool,
    lang: Lang,
    folder: PathBuf,
    steps: usize,
    facts: Facts,
    /// How many facts there were when this step began.
    known: usize,
    files: Vec<String>,
    printed: Vec<String>,
}

impl Stage {
    /// A stage with a folder of its own, which somebody else will remove.
    pub fn new(lesson: &'static Lesson, lang: Lang, json: bool, folder: PathBuf) -> Stage {
        Stage {
            lesson,
            page: Page::new(lang),
            json,
            lang,
            folder,
            steps: 0,
            facts: Facts::new(),
            known: 0,
            files: Vec::new(),
            printed: Vec::new(),
        }
    }

    /// Gives the whole lesson. The exit code is 0 only if all was seen.
    ///
    /// # Errors
    /// What kept it from being tried.
    pub fn perform(mut self) -> Result<ExitCode, Failure> {
        match self.give() {
            // Nobody heard it to its end, so nothing was taught.
            Err(Failure::Unheard) => Ok(ExitCode::FAILURE),
            end => end,
        }
    }

    fn give(&mut self) -> Result<ExitCode, Failure> {
        self.tell(&self.page.title(self.lesson.name, self.lesson.teaches))?;
        let end = (self.lesson.teach)(self);
        assert!(end.is_err() || self.steps == self.lesson.steps.len(), "a lesson takes all its steps");
        if self.json {
            print_json(&json!({"lesson": self.lesson.name, "taught": end.is_ok(), "seen": self.facts}))?;
        }
        match end {
            Ok(()) => {
                self.tell(&format!("\n{}", self.page.paragraph(TAUGHT.of(self.lang))))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(Stopped::Unseen(_)) if self.json => Ok(ExitCode::FAILURE),
            Err(Stopped::Unseen(step)) => {
                let message = format!("{}: step {step} showed something else", self.lesson.name);
                Err(Failure::new(ErrorCode::Failed, message))
            }
            Err(Stopped::Trouble(failure)) => Err(failure),
        }
    }

    /// Remembers a fact of this step.
    pub fn saw(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Shows a file that belongs to this step.
    pub fn file(&mut self, text: &str) {
        self.files.push(text.to_owned());
    }

    /// Shows what a command of this step printed.
    pub fn printed(&mut self, text: &str) {
        self.printed.push(text.to_owned());
    }

    /// The next step is done: tells it, and goes on if it `held`.
    ///
    /// # Errors
    /// [`Stopped::Unseen`] if it did not.
    pub fn step(&mut self, held: bool) -> Taught {
        let step = &self.lesson.steps[self.steps];
        self.steps += 1;
        let (files, printed) = (std::mem::take(&mut self.files), std::mem::take(&mut self.printed));
        self.tell(&format!("\n{}", self.page.done(self.steps, step, &self.facts, &files, &printed)))?;
        if !held {
            let new: Vec<(String, String)> = self
                .facts
                .iter()
                .skip(self.known)
                .map(|(name, value)| (name.clone(), worded(value)))
                .collect();
            self.tell(&self.page.instead(&new))?;
            return Err(Stopped::Unseen(self.steps));
        }
        self.known = self.facts.len();
        self.tell(&self.page.seen(step, &self.facts))?;
        Ok(())
    }

    /// The folder of this lesson.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn tell(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { print(text) }
    }
}

/// Looks again and again until there is an answer.
///
/// # Errors
/// When there is none after [`PATIENCE`]; what `look` fails with.
pub fn until<T>(what: &str, mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let message = format!("waited {}s in vain until {what}", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
