//! `plan` and `apply`: what another config would change, worker by worker, and doing it.

use std::path::Path;
use std::process::ExitCode;

use control::Client;
use control::api::{Action, ApiError, ErrorCode, Proposal, Request};

use crate::output::{Cell, Colour, Side, Table, print, print_json, wants_colour};
use crate::progress::{Manner, Progress};
use crate::reach::{call, connect};
use crate::status::{instance_name, why};
use crate::talk::Failure;

/// Which config, for which run.
#[derive(Debug)]
pub struct Which<'a> {
    /// The config, as it was given.
    pub config: &'a Path,
    /// The run, as it was given.
    pub name: Option<&'a str>,
}

impl Which<'_> {
    /// The run that is meant: the one that was named, else the one that the config names, else the only one.
    fn connect(&self, json: bool) -> Result<(Client, bool), Failure> {
        if let Err(error) = crate::source::lasts(self.config) {
            let message = format!("{} cannot be read: {error}", self.config.display());
            let error = ApiError::new(ErrorCode::Problems, message);
            return Err(Failure::Error(error.hint("save it in a file, and give that")));
        }
        let by_environment = std::env::var_os("SUPERVISOR_NAME").is_some_and(|name| !name.is_empty());
        if self.name.is_some() || by_environment {
            return Ok((reach(self.name, json)?, true));
        }
        // What is wrong with the config is for the supervisor to say: its environment counts.
        if let Ok(plan) = crate::check::load(self.config)
            && let Ok(client) = connect(Some(&plan.name), json)
        {
            return Ok((client, false));
        }
        Ok((reach(None, json)?, false))
    }

    fn path(&self) -> Result<Option<String>, Failure> {
        let absolute = std::path::absolute(self.config)?;
        match absolute.into_os_string().into_string() {
            Ok(path) => Ok(Some(path)),
            Err(path) => {
                let message = format!("{} is no text and cannot be passed on", path.to_string_lossy());
                Err(Failure::new(ErrorCode::Usage, message))
            }
        }
    }
}

fn reach(name: Option<&str>, json: bool) -> Result<Client, Failure> {
    connect(name, json).map_err(|failure| match failure {
        Failure::Error(error) if error.code == ErrorCode::NotRunning => Failure::Error(
            error.hint("`supervisor run CONFIG` starts one; `supervisor check CONFIG` needs none"),
        ),
        other => other,
    })
}

/// `plan CONFIG`: a row a worker; nothing is done.
///
/// # Errors
/// See [`call`]; exit 3 when the config has problems, 5 when nothing runs, 9 when it could not be applied.
pub fn plan(which: &Which<'_>, json: bool) -> Result<ExitCode, Failure> {
    let (mut client, named) = which.connect(json)?;
    let proposal: Proposal = call(&mut client, &Request::Plan { config: which.path()?, named })?;
    if json {
        print_json(&proposal)?;
    } else {
        print(&told(&proposal))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `apply CONFIG`: the same, and it is done. Exit 1 when something that was to run has failed.
///
/// # Errors
/// As [`plan`]; nothing has changed then.
pub fn apply(which: &Which<'_>, wait: bool, manner: Manner) -> Result<ExitCode, Failure> {
    let (mut client, named) = which.connect(manner.json)?;
    let request = Request::Apply { config: which.path()?, named, wait };
    let progress = Progress::of(&client, &request, manner);
    let proposal: Result<Proposal, Failure> = call(&mut client, &request);
    drop(progress);
    let proposal = proposal?;
    if manner.json {
        print_json(&proposal)?;
    } else {
        print(&told(&proposal))?;
    }
    match proposal.instances.iter().find(|row| wait && row.state == "failed") {
        None => Ok(ExitCode::SUCCESS),
        Some(row) => {
            let message = format!("{} failed: {}", instance_name(row), why(row));
            Err(Failure::Error(ApiError::new(ErrorCode::Failed, message.trim_end_matches(": "))))
        }
    }
}

fn told(proposal: &Proposal) -> String {
    let mut table = Table::new(&[("WORKER", Side::Left), ("ACTION", Side::Left), ("WHY", Side::Left)]);
    for row in &proposal.workers {
        let (word, colour) = word(row.action);
        let detail = row.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
        let action = format!("{word}{detail}");
        table.row(vec![
            Cell::from(&row.worker),
            Cell::coloured(&action, colour),
            Cell::from(row.reason.as_deref().unwrap_or_default()),
        ]);
    }
    for thing in &proposal.shared {
        table.row(vec![
            Cell::from(format!("{} {}", thing.kind, thing.name)),
            Cell::coloured(&thing.action, Colour::Yellow),
            Cell::from(thing.reason.as_deref().unwrap_or_default()),
        ]);
    }
    let mut text = table.render(wants_colour());
    for words in &proposal.family {
        text.push_str(&format!("the run: {words}\n"));
    }
    text
}

fn word(action: Action) -> (&'static str, Colour) {
    match action {
        Action::None => ("none", Colour::Dim),
        Action::Update => ("update", Colour::Green),
        Action::Signal => ("signal", Colour::Yellow),
        Action::Scale => ("scale", Colour::Yellow),
        Action::Restart => ("restart", Colour::Yellow),
        Action::Add => ("add", Colour::Green),
        Action::Remove => ("remove", Colour::Red),
    }
}
