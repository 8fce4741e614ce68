//! What goes wrong, said to people on standard error: what, and what to do next.

use std::io::{self, Write};
use std::process::ExitCode;

use control::api::{ApiError, ErrorBody, ErrorCode};
use control::{ClientError, RoomError};

use crate::reach::nearest;

/// Why a verb ended early.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, or something failed; the exit code follows from the kind.
    Error(ApiError),
    /// Nobody reads our output any more: nothing to say, and nobody to say it to.
    Unheard,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        Failure::Error(ApiError::new(code, message))
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        match self {
            Failure::Error(error) => Failure::Error(error.hint(hint)),
            Failure::Unheard => Failure::Unheard,
        }
    }

    /// The supervisor went away in the middle of something.
    pub fn supervisor_gone() -> Failure {
        Failure::new(ErrorCode::NotRunning, "the supervisor went away")
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::Error(error)
    }
}

impl From<RoomError> for Failure {
    fn from(error: RoomError) -> Failure {
        Failure::Error(error.to_api())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Refused(error) => Failure::Error(error),
            ClientError::Unreachable(_) => Failure::supervisor_gone(),
            ClientError::TimedOut => {
                Failure::new(ErrorCode::TimedOut, "the supervisor did not answer in time")
            }
            ClientError::Broken(_) => Failure::new(ErrorCode::Failed, error.to_string())
                .hint("is the command of the same version as the supervisor?"),
        }
    }
}

/// Trouble with our own output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::Unheard;
        }
        Failure::new(ErrorCode::Failed, format!("the output cannot be written: {error}"))
    }
}

/// How the verb ended: says what is to be said, and gives the exit code.
pub fn conclude(result: Result<ExitCode, Failure>, json: bool) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(Failure::Unheard) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            say(&error, json);
            ExitCode::from(error.code.exit_code())
        }
    }
}

/// Says it on standard error: `supervisor: what`, `  hint: …`; or as JSON.
pub fn say(error: &ApiError, json: bool) {
    let text = if json {
        let body = ErrorBody { error: error.clone() };
        serde_json::to_string(&body).expect("an error is three strings") + "\n"
    } else {
        let problems: String = error.problems.iter().map(problem).collect();
        let hint = error.hint.as_ref().map(|hint| format!("  hint: {}\n", crate::output::printable(hint)));
        format!(
            "supervisor: {}\n{problems}{}",
            crate::output::printable(&error.message),
            hint.unwrap_or_default()
        )
    };
    // Where standard error is closed there is nobody left to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// One thing that is wrong with a config, as `check` tells it.
fn problem(problem: &control::api::Problem) -> String {
    let control::api::Problem { path, line, column, message, hint } = problem;
    let place =
        if path.is_empty() { format!("({line}:{column})") } else { format!("{path} ({line}:{column})") };
    let hint = hint.as_ref().map(|hint| format!("    hint: {hint}\n")).unwrap_or_default();
    format!("  {place}: {message}\n{hint}")
}

/// Says something on standard error that is no error.
pub fn note(text: &str) {
    // Where standard error is closed there is nobody left to tell.
    let _ =
        io::stderr().lock().write_all(format!("supervisor: {}\n", crate::output::printable(text)).as_bytes());
}

/// The same, and what can be done about it.
pub fn note_with_hint(text: &str, hint: &str) {
    note(text);
    let _ = io::stderr().lock().write_all(format!("  hint: {}\n", crate::output::printable(hint)).as_bytes());
}

/// What was meant, most likely, by a word that is unknown.
fn meant(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let words = |kinds: &[ContextKind]| -> Vec<String> {
        let one = |kind: &ContextKind| match error.get(*kind) {
            Some(ContextValue::String(word)) => vec![word.clone()],
            Some(ContextValue::Strings(words)) => words.clone(),
            _ => vec![],
        };
        kinds.iter().flat_map(one).collect()
    };
    let known =
        words(&[ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]);
    let unknown =
        words(&[ContextKind::InvalidSubcommand, ContextKind::InvalidArg, ContextKind::InvalidValue]);
    // Of what is only a little like it, nothing is said.
    let nearest = unknown.iter().find_map(|unknown| nearest(unknown, &known))?;
    Some(format!("did you mean {nearest:?}?"))
}

/// What clap has to say about wrong usage, in our form.
pub fn usage_error(wrong: &clap::Error) -> ApiError {
    let text = wrong.render().to_string();
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = words(paragraphs.next().unwrap_or_default().trim_start_matches("error:"));
    let mut hint = None;
    for paragraph in paragraphs {
        if let Some(tip) = paragraph.strip_prefix("tip:") {
            hint = Some(words(tip));
        } else if let Some(usage) = paragraph.strip_prefix("Usage:") {
            hint = hint.or_else(|| Some(format!("usage: {}", words(usage))));
        }
    }
    // As the standard library says it of what people typed.
    let message = message.replace("invalid digit found in string", "it is no whole number");
    let error = ApiError::new(ErrorCode::Usage, message);
    match meant(wrong).or(hint) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
