//! `replay`: a run is decided once more from its journal.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use control::api::{ApiError, ErrorCode};
use runtime::journal::{self, Replayed, Unreplayable};
use serde_json::json;

use crate::output::{print, print_json, printable};
use crate::talk::{Failure, note};

/// `replay FILE`: exit 0 when the same decisions come out; 1 when not, or where that cannot be known; 4 when the worker whose
/// story is wanted is not in it.
///
/// # Errors
/// When the journal cannot be read, or the output not be written.
pub fn replay(path: &Path, worker: Option<&str>, json: bool) -> Result<ExitCode, Failure> {
    let shown = path.display();
    let file = File::open(path)
        .map_err(|error| Failure::new(ErrorCode::NotFound, format!("{shown} cannot be read: {error}")))?;
    let mut unheard = Ok(());
    let mut story = Vec::new();
    let mut tell = |line: String| {
        if json {
            story.push(line);
        } else if unheard.is_ok() {
            unheard = print(&(printable(&line) + "\n"));
        }
    };
    let result = journal::replay(BufReader::new(file), worker, &mut tell);
    unheard?;
    if let (Some(worker), Ok(Replayed { has_worker: false, .. })) = (worker, &result) {
        let message = format!("{shown}: no worker is called {worker:?} in it");
        return Err(Failure::new(ErrorCode::NotFound, message));
    }
    if json {
        let (until, trouble) = match &result {
            Ok(replayed) => (*replayed, None),
            Err(error) => (until(error), Some(error.to_string())),
        };
        let Replayed { runs, events, actions, cut, has_worker: _ } = until;
        print_json(&json!({
            "same": trouble.is_none(), "trouble": trouble, "runs": runs, "events": events, "actions": actions,
            "cut": cut, "story": story,
        }))?;
        return Ok(if trouble.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    match result {
        Ok(Replayed { runs, events, actions, cut, has_worker: _ }) => {
            let cut = if cut == 0 { String::new() } else { format!(", {cut} cut off") };
            let s = |count| if count == 1 { "" } else { "s" };
            let (r, e, a) = (s(runs), s(events), s(actions));
            note(&format!(
                "{shown}: the same comes out: {runs} run{r}{cut}, {events} event{e}, {actions} action{a}"
            ));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(Failure::Error(ApiError::new(ErrorCode::Failed, format!("{shown}: {error}")))),
    }
}

fn until(error: &Unreplayable) -> Replayed {
    match error {
        Unreplayable::Gap { until, .. } | Unreplayable::Differs { until, .. } => *until,
        Unreplayable::Io(_) | Unreplayable::Empty | Unreplayable::Unknown { .. } => Replayed::default(),
    }
}
