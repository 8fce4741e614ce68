//! A journal is decided once more: the same core, told the same, must order the same.

use std::fmt;
use std::io::{self, BufRead, Read};

use serde_json::Value;
use supervision::{Action, Event, Family, InstanceId, Moment, Process, Supervisor, WorkerId};

use super::FORMAT;
use super::wire::{Wire, parts_of};

/// What came of it when all went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// So many runs were in the journal.
    pub runs: u64,
    /// So many events.
    pub events: u64,
    /// So many actions, each of them decided again.
    pub actions: u64,
    /// So many lines were cut off in the middle: their supervisor was killed while it wrote.
    pub cut: u64,
    /// Whether the worker was in it whose story was wanted.
    pub has_worker: bool,
}

/// Why a journal cannot be decided again, or not to its end.
#[derive(Debug)]
pub enum Unreplayable {
    /// It cannot be read.
    Io(io::Error),
    /// There is nothing in it.
    Empty,
    /// A line is none of a journal that this program knows.
    Unknown {
        /// Which.
        line: u64,
    },
    /// Lines are missing.
    Gap {
        /// Where.
        line: u64,
        /// How many.
        lost: u64,
        /// What came of it up to there.
        until: Replayed,
    },
    /// The core decides otherwise than it did.
    Differs {
        /// Where.
        line: u64,
        /// What was written.
        written: String,
        /// What is decided now.
        decided: String,
        /// What came of it up to there.
        until: Replayed,
    },
}

impl fmt::Display for Unreplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreplayable::Io(error) => write!(f, "cannot be read: {error}"),
            Unreplayable::Empty => write!(f, "is empty"),
            Unreplayable::Unknown { line } => {
                write!(f, "line {line} is none of a journal that this version of the program knows")
            }
            Unreplayable::Gap { line, lost, until } => write!(
                f,
                "line {line}: {lost} lines are missing; the {} events before came out the same",
                until.events
            ),
            Unreplayable::Differs { line, written, decided, until } => write!(
                f,
                "line {line}: {written} was decided, and now it is {decided}; the {} actions before came out the same",
                until.actions
            ),
        }
    }
}

impl std::error::Error for Unreplayable {}

/// The lines of a journal; none is longer than [`LONGEST_LINE`], or it is taken for several.
struct Lines<R>(R);

/// More than any line has; the first has what the config says of all workers.
const LONGEST_LINE: u64 = 256 << 20;

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut line = Vec::new();
        match (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                line.pop_if(|last| *last == b'\n');
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// The run that is being decided again.
struct Run {
    core: Supervisor,
    names: Vec<String>,
}

/// Decides a journal again. `tell` gets the story of the worker of that name, a line at a time: what was told of it, what
/// was ordered, and where it stood then.
///
/// # Errors
/// Where and why it does not come out the same, or cannot be known.
pub fn replay(
    journal: impl BufRead,
    worker: Option<&str>,
    tell: &mut dyn FnMut(String),
) -> Result<Replayed, Unreplayable> {
    let mut replayed = Replayed::default();
    let mut run: Option<Run> = None;
    let mut number = 0;
    let mut story = Story { worker, tell, stood: Vec::new() };
    let mut lines = Lines(journal).peekable();
    while let Some(line) = lines.next() {
        number += 1;
        let line = line.map_err(Unreplayable::Io)?;
        let unknown = || Unreplayable::Unknown { line: number };
        let Ok(value) = serde_json::from_slice::<Value>(&line) else {
            // A line may be cut off where a run ends: at the end, or before the next begins.
            let next = lines.peek().and_then(|next| next.as_ref().ok());
            if run.is_some() && next.is_none_or(|next| next.starts_with(b"{\"journal\"")) {
                replayed.cut += 1;
                run = None;
                continue;
            }
            return Err(unknown());
        };
        if let Some(format) = value.get("journal") {
            if format.as_u64() != Some(u64::from(FORMAT)) {
                return Err(unknown());
            }
            let family = value.get("family").and_then(Family::read).ok_or_else(unknown)?;
            replayed.runs += 1;
            story.begin(&value);
            let names: Vec<String> = family.workers.iter().map(|worker| worker.name.clone()).collect();
            replayed.has_worker |= story.is_of_one_of(&names);
            run = Some(Run { core: Supervisor::new(family), names });
            continue;
        }
        let Some(Run { core, names }) = &mut run else { return Err(unknown()) };
        if let Some(lost) = value.get("lost").and_then(Value::as_u64) {
            return Err(Unreplayable::Gap { line: number, lost, until: replayed });
        }
        let at = value.get("at").and_then(Moment::read).ok_or_else(unknown)?;
        if let Some(event) = value.get("event") {
            let told = Event::read(event).ok_or_else(unknown)?;
            if let Some(action) = core.poll_action() {
                let written = "nothing more".to_owned();
                let decided = words(&action.write(), names);
                return Err(Unreplayable::Differs { line: number, written, decided, until: replayed });
            }
            learn_names(&told, names);
            replayed.has_worker |= story.is_of_one_of(names);
            story.event(at, event, names);
            core.handle(at, told);
            story.look(at, core, names);
            replayed.events += 1;
        } else {
            let action = value.get("action").ok_or_else(unknown)?;
            let written = Action::read(action).ok_or_else(unknown)?;
            let decided = core.poll_action();
            if decided.as_ref() != Some(&written) {
                let decided =
                    decided.map_or_else(|| "nothing".to_owned(), |action| words(&action.write(), names));
                let written = words(action, names);
                return Err(Unreplayable::Differs { line: number, written, decided, until: replayed });
            }
            story.action(action, names);
            replayed.actions += 1;
        }
    }
    if replayed.runs == 0 {
        return Err(Unreplayable::Empty);
    }
    Ok(replayed)
}

/// Workers that are added on the way have names too.
fn learn_names(event: &Event, names: &mut Vec<String>) {
    match event {
        Event::Asked(supervision::Request::Add(worker)) => names.push(worker.name.clone()),
        Event::Asked(supervision::Request::Change(change)) => {
            names.extend(change.added.iter().map(|worker| worker.name.clone()));
        }
        _ => {}
    }
}

/// The story of one worker.
struct Story<'t> {
    worker: Option<&'t str>,
    tell: &'t mut dyn FnMut(String),
    /// Where its instances stood last.
    stood: Vec<(InstanceId, String)>,
}

impl Story<'_> {
    fn begin(&mut self, head: &Value) {
        self.stood.clear();
        if self.worker.is_some() {
            let text = |key: &str| head.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
            (self.tell)(format!("run {} at {}", text("run"), text("time")));
        }
    }

    fn is_of_one_of(&self, names: &[String]) -> bool {
        self.worker.is_some_and(|worker| names.iter().any(|name| name == worker))
    }

    fn concerns(&self, value: &Value, names: &[String]) -> bool {
        let Some(worker) = self.worker else { return false };
        let named = |id: &Value| id.as_u64().and_then(|id| names.get(usize::try_from(id).ok()?));
        mentions(value, &|id| named(id).is_some_and(|name| name == worker))
    }

    fn event(&mut self, at: Moment, event: &Value, names: &[String]) {
        if self.concerns(event, names) {
            (self.tell)(format!("{:>12.6}s  {}", seconds(at), words(event, names)));
        }
    }

    fn action(&mut self, action: &Value, names: &[String]) {
        let is_news = parts_of(action).is_some_and(|(name, _)| name == "Changed");
        if !is_news && self.concerns(action, names) {
            (self.tell)(format!("{:>13}    -> {}", "", words(action, names)));
        }
    }

    /// Tells where its instances stand, if that is not where they stood.
    fn look(&mut self, at: Moment, core: &Supervisor, names: &[String]) {
        let Some(worker) = self.worker else { return };
        let mine = |id: InstanceId| names.get(id.worker.0 as usize).is_some_and(|name| name == worker);
        let now: Vec<(InstanceId, String)> = core
            .instances()
            .filter(|instance| mine(instance.id))
            .map(|instance| {
                let why = if instance.why.is_empty() { String::new() } else { format!(": {}", instance.why) };
                (instance.id, format!("{}{why}", instance.phase))
            })
            .collect();
        for (id, standing) in &now {
            if !self.stood.iter().any(|(known, stood)| known == id && stood == standing) {
                let label = format!("{worker}:{}", id.index);
                (self.tell)(format!("{:>12.6}s    = {label} {standing}", seconds(at)));
            }
        }
        self.stood = now;
    }
}

fn seconds(at: Moment) -> f64 {
    at.as_nanos() as f64 / 1e9
}

/// Whether a worker of these is named anywhere in a value.
fn mentions(value: &Value, is_it: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, member)| match key.as_str() {
            "worker" if member.is_u64() => is_it(member),
            "Retired" | "Unretired" | "Removed" | "Worker" | "Scale" | "Roll" | "Rolled" => {
                member.as_array().and_then(|parts| parts.first()).is_some_and(is_it)
            }
            "removed" => member.as_array().is_some_and(|ids| ids.iter().any(is_it)),
            "changed" => member.as_array().is_some_and(|all| all.iter().any(|part| is_it(&part[0]))),
            _ => mentions(member, is_it),
        }),
        Value::Array(parts) => parts.iter().any(|part| mentions(part, is_it)),
        _ => false,
    }
}

/// An event or action for people: `Ended w:0#3 Code 1`.
fn words(value: &Value, names: &[String]) -> String {
    let name =
        |WorkerId(id): WorkerId| names.get(id as usize).cloned().unwrap_or_else(|| format!("worker {id}"));
    if let Some(Process { instance, launch }) = Process::read(value) {
        return format!("{}:{}#{}", name(instance.worker), instance.index, launch.0);
    }
    if let Some(InstanceId { worker, index }) = InstanceId::read(value) {
        return format!("{}:{index}", name(worker));
    }
    let of_worker = ["Retired", "Unretired", "Removed", "Worker", "Scale", "Roll", "Rolled"];
    match (parts_of(value), value) {
        (Some(("Change", _)), _) => "Change of the config".to_owned(),
        (Some((variant, parts)), _) => {
            let mut text = variant.to_owned();
            for (place, part) in parts.iter().enumerate() {
                let worker = part.as_u64().filter(|_| place == 0 && of_worker.contains(&variant));
                let worker = worker.and_then(|id| u32::try_from(id).ok()).map(WorkerId);
                text.push(' ');
                text.push_str(&worker.map_or_else(|| words(part, names), name));
            }
            text
        }
        (None, Value::String(text)) => text.clone(),
        (None, other) => other.to_string(),
    }
}
