//! Whom a verb waits for, said on standard error while it waits. There are three ways to say it:
//!
//! ```text
//!   a terminal           one line, from 0.7 s on, written over at every change, and gone at the end
//!   --progress           a line at every change, from 0.7 s on
//!   neither, no --json   a reminder with reasons after 2 s, 4 s, 8 s …; not for `wait`, whose matter is to be long
//! ```

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control::api::{InstanceStatus, Request, Status, Who};
use control::{Client, Parting};
use process::{Identity, Pid, Stat};

use crate::output::printable;
use crate::status::{instance_name, why};
use crate::talk;

/// Nobody wonders before.
const PATIENCE: Duration = Duration::from_millis(700);

/// After so long comes the first reminder; then after twice as long, and so on.
const LONG: Duration = Duration::from_secs(2);

/// The longest time between two reminders.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// So many are named; the others are counted.
const NAMED_AT_MOST: usize = 5;

/// How a verb speaks.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// In JSON.
    pub json: bool,
    /// Also of whom it waits for, where standard error is no terminal.
    pub progress: bool,
}

impl Manner {
    /// How it is said of what may be as long as it likes, or may not.
    fn voice(self, is_asked_to_be_long: bool) -> Option<Voice> {
        if self.progress || io::stderr().is_terminal() {
            return Some(Voice::Changes);
        }
        (!self.json && !is_asked_to_be_long).then_some(Voice::Reminders)
    }
}

/// When something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// Whenever it is something else.
    Changes,
    /// Now and then.
    Reminders,
}

/// Says who is waited for until it is dropped.
#[derive(Debug)]
pub struct Progress {
    words: Sender<Word>,
    thread: Option<JoinHandle<()>>,
}

/// Who is waited for.
#[derive(Debug)]
struct Awaited {
    /// `NAME` or `NAME:INSTANCE`; none: all.
    workers: Vec<String>,
    /// Processes as such, also when their worker has another by now; none: not they.
    processes: Vec<Doomed>,
    /// Whether an instance is waited for no longer.
    is_done: fn(&InstanceStatus) -> bool,
}

/// A process whose end is waited for.
#[derive(Debug)]
struct Doomed {
    /// `pid PID`, or `NAME:INSTANCE (pid PID)`.
    shown: String,
    /// Who it was; unknown of one that cannot be seen, which is taken for alive.
    identity: Option<Identity>,
}

impl Doomed {
    fn of(pid: i32, name: Option<String>) -> Doomed {
        let shown = match name {
            Some(name) => format!("{name} (pid {pid})"),
            None => format!("pid {pid}"),
        };
        Doomed { shown, identity: Identity::of(Pid::from_raw(pid)).ok().flatten() }
    }

    fn has_ended(&self) -> bool {
        let Some(identity) = self.identity else { return false };
        match Stat::of(identity.pid) {
            Ok(Some(stat)) => stat.is_zombie() || Identity::from(&stat) != identity,
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

impl Progress {
    /// Begins to watch what `request` waits for; nothing where it does not wait, or nobody is to be told.
    pub fn of(client: &Client, request: &Request, manner: Manner) -> Option<Progress> {
        let voice = manner.voice(matches!(request, Request::Wait { .. }))?;
        Progress::begin(client, awaited(request)?, voice)
    }

    /// Begins to watch the ends of those who are about to be killed: who leads them now, not who comes after.
    pub fn of_kill(mut client: Client, whom: &[Who], manner: Manner) -> Option<Progress> {
        let voice = manner.voice(false)?;
        let mut processes = Vec::new();
        for who in whom {
            match who {
                Who::Pid(pid) => processes.push(Doomed::of(*pid, None)),
                Who::Worker(worker) => {
                    let workers = vec![worker.clone()];
                    let Ok::<Status, _>(status) = client.call(&Request::Status { workers }) else { continue };
                    let leaders =
                        status.workers.iter().filter_map(|row| Some((row.pid?, instance_name(row))));
                    processes.extend(leaders.map(|(pid, name)| Doomed::of(pid, Some(name))));
                }
            }
        }
        let awaited = Awaited { workers: vec![], processes, is_done: |_| true };
        (!awaited.processes.is_empty()).then_some(())?;
        Progress::begin(&client, awaited, voice)
    }

    fn begin(client: &Client, awaited: Awaited, voice: Voice) -> Option<Progress> {
        // Progress is a courtesy: without a connection of its own there is none.
        let mut client = client.another().ok()?;
        client.set_timeout(Some(LONG));
        let (words, heard) = mpsc::channel();
        let teller = words.clone();
        let thread = thread::spawn(move || match voice {
            Voice::Changes => tell_changes(client, &awaited, teller, &heard),
            Voice::Reminders => remind(client, &awaited, &heard),
        });
        Some(Progress { words, thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Where it has ended by itself nobody hears.
        let _ = self.words.send(Word::Over);
        if let Some(thread) = self.thread.take() {
            // It has nothing to lose by a panic but the line.
            let _ = thread.join();
        }
    }
}

fn awaited(request: &Request) -> Option<Awaited> {
    let of = |workers: Vec<String>, is_done| Some(Awaited { workers, processes: vec![], is_done });
    let is_up: fn(&InstanceStatus) -> bool =
        |row| matches!(row.state.as_str(), "running" | "done" | "failed" | "stopped");
    let is_down: fn(&InstanceStatus) -> bool =
        |row| matches!(row.state.as_str(), "done" | "failed" | "stopped");
    match request {
        Request::Start { workers, wait: true } | Request::Restart { workers, wait: true, .. } => {
            of(workers.clone(), is_up)
        }
        Request::Stop { workers, wait: true } => of(workers.clone(), is_down),
        Request::Scale { workers, wait: true } => {
            of(workers.iter().map(|size| size.worker.clone()).collect(), is_up)
        }
        Request::Wait { whom: Who::Worker(worker), .. } => of(vec![worker.clone()], is_down),
        Request::Wait { whom: Who::Pid(pid), .. } => {
            Some(Awaited { workers: vec![], processes: vec![Doomed::of(*pid, None)], is_done: is_down })
        }
        Request::Apply { wait: true, .. } => of(vec![], is_up),
        Request::Shutdown { .. } => of(vec![], |row| row.pid.is_none()),
        _ => None,
    }
}

/// What reaches the one who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Something of the run has changed.
    Changed,
    /// The wait is over.
    Over,
}

fn tell_changes(mut client: Client, awaited: &Awaited, teller: Sender<Word>, heard: &Receiver<Word>) {
    if heard.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let Some(parting) = follow(&client, move || teller.send(Word::Changed).is_ok()) else { return };
    let mut line = Shown::default();
    while let Some(text) = in_a_line(&mut client, awaited) {
        line.show(&text);
        // One look for all that has changed till then.
        let words: Vec<Word> = heard.recv().into_iter().chain(heard.try_iter()).collect();
        if words.is_empty() || words.contains(&Word::Over) {
            break;
        }
    }
    parting.part();
}

fn remind(mut client: Client, awaited: &Awaited, heard: &Receiver<Word>) {
    let mut silence = LONG;
    while heard.recv_timeout(silence) == Err(RecvTimeoutError::Timeout) {
        silence = (silence * 2).min(LONGEST_SILENCE);
        if !awaited.processes.is_empty() {
            for process in awaited.processes.iter().filter(|one| !one.has_ended()).take(NAMED_AT_MOST) {
                talk::note(&format!("{} has not ended yet", process.shown));
            }
            continue;
        }
        let Some(rows) = those_left(&mut client, awaited) else { return };
        // Of one that has yet to be asked there is nothing to tell.
        let moving = rows.iter().filter(|row| row.state != "running");
        for row in moving.take(NAMED_AT_MOST) {
            let line = format!("{} is {}: {}", instance_name(row), row.state, why(row));
            talk::note(line.trim_end_matches(": "));
        }
    }
}

/// The instances that are still waited for.
fn those_left(client: &mut Client, awaited: &Awaited) -> Option<Vec<InstanceStatus>> {
    let status: Status = client.call(&Request::Status { workers: awaited.workers.clone() }).ok()?;
    Some(status.workers.into_iter().filter(|row| !(awaited.is_done)(row)).collect())
}

/// Calls for every change of the run, until that is parted with, the run is over, or the call says so.
pub fn follow(client: &Client, mut call: impl FnMut() -> bool + Send + 'static) -> Option<Parting> {
    let mut lines = client.another().ok()?.stream(&Request::Events { after: 0, follow: true }).ok()?;
    let parting = lines.parting().ok()?;
    thread::spawn(move || {
        while let Ok(Some(_)) = lines.next_line()
            && call()
        {}
    });
    Some(parting)
}

/// Who is waited for now, in words.
fn in_a_line(client: &mut Client, awaited: &Awaited) -> Option<String> {
    let mut all: Vec<String> = if awaited.processes.is_empty() {
        those_left(client, awaited)?.iter().map(shown).collect()
    } else {
        awaited.processes.iter().filter(|one| !one.has_ended()).map(|one| one.shown.clone()).collect()
    };
    if all.is_empty() {
        return Some("waiting for the last of it to end".to_owned());
    }
    let more = all.len().saturating_sub(NAMED_AT_MOST);
    all.truncate(NAMED_AT_MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("waiting for {}{more}", all.join(", ")))
}

fn shown(row: &InstanceStatus) -> String {
    match row.pid {
        Some(pid) => format!("{} ({}, pid {pid})", instance_name(row), row.state),
        None => format!("{} ({})", instance_name(row), row.state),
    }
}

/// Says how far a verb has come that works by itself, on a terminal that shows nothing else, or where `--progress` asks
/// for it.
#[derive(Debug)]
pub struct Tally {
    shown: Shown,
    /// Nothing is said before.
    next: Instant,
}

impl Tally {
    /// Begins to count; nothing where nobody is to be told.
    pub fn of(manner: Manner) -> Option<Tally> {
        let is_seen = io::stderr().is_terminal() && !io::stdout().is_terminal();
        (manner.progress || is_seen)
            .then(|| Tally { shown: Shown::default(), next: Instant::now() + PATIENCE })
    }

    /// It has come so far.
    pub fn note(&mut self, words: impl FnOnce() -> String) {
        let now = Instant::now();
        if now >= self.next {
            self.shown.show(&words());
            self.next = now + PATIENCE;
        }
    }
}

/// What stands on standard error.
#[derive(Debug, Default)]
struct Shown {
    text: String,
}

impl Shown {
    fn show(&mut self, text: &str) {
        if self.text == text {
            return;
        }
        self.text = text.to_owned();
        let text = printable(text);
        let mut out = io::stderr().lock();
        // Where standard error is closed there is nobody left to tell.
        let _ = if out.is_terminal() {
            let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
            let text: String = text.chars().take(usize::from(width).saturating_sub(1)).collect();
            write!(out, "\r\x1b[K{text}")
        } else {
            writeln!(out, "supervisor: {text}")
        };
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut out = io::stderr().lock();
        if !self.text.is_empty() && out.is_terminal() {
            let _ = write!(out, "\r\x1b[K");
        }
    }
}
