//! What keys mean, where the screen stands.

use control::api::{Acted, Kill, Killed, Request, Who};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

use super::view::{Asks, Change, Screen};

/// What an event of the terminal means.
#[derive(Debug, PartialEq)]
pub enum Meaning {
    /// Nothing; but the screen may have another size.
    Nothing,
    /// End.
    Leave,
    /// Stand still until somebody says `fg`.
    Suspend,
    /// Look elsewhere.
    Move(Change),
    /// Follow the log of this instance.
    OpenLog(String),
    /// No more of the log.
    CloseLog,
    /// Do something to an instance.
    Do(Deed),
}

/// What is done to an instance, `NAME:INSTANCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Start it.
    Start(String),
    /// Stop it.
    Stop(String),
    /// Stop it, then start it anew.
    Restart(String),
    /// Send this signal to its leader.
    Kill(String, i32),
}

impl Deed {
    /// What is under way.
    pub fn words(&self) -> String {
        match self {
            Deed::Start(worker) => format!("starting {worker}"),
            Deed::Stop(worker) => format!("stopping {worker}"),
            Deed::Restart(worker) => format!("restarting {worker}"),
            Deed::Kill(worker, signal) => format!("{} to {worker}", process::signal::name(*signal)),
        }
    }

    /// What the supervisor is asked.
    pub fn request(&self) -> Request {
        let one = |worker: &String| vec![worker.clone()];
        match self {
            Deed::Start(worker) => Request::Start { workers: one(worker), wait: true },
            Deed::Stop(worker) => Request::Stop { workers: one(worker), wait: true },
            Deed::Restart(worker) => Request::Restart { workers: one(worker), wait: true, rolling: false },
            Deed::Kill(worker, signal) => {
                Request::Kill(Kill { signal: *signal, ..Kill::of(Who::Worker(worker.clone())) })
            }
        }
    }

    /// What became of it, from the supervisor's answer.
    pub fn became(&self, answer: Value) -> String {
        match self {
            Deed::Kill(worker, signal) => match serde_json::from_value::<Killed>(answer) {
                Ok(killed) => {
                    let pids: Vec<String> = killed.pids.iter().map(i32::to_string).collect();
                    format!("{} to {worker}: pid {}", process::signal::name(*signal), pids.join(" "))
                }
                Err(_) => format!("{}: sent", self.words()),
            },
            Deed::Start(worker) | Deed::Stop(worker) | Deed::Restart(worker) => {
                let acted = serde_json::from_value::<Acted>(answer).ok();
                let state = acted.and_then(|acted| acted.instances.first().map(|row| row.state.clone()));
                format!("{worker} is {}", state.as_deref().unwrap_or("gone"))
            }
        }
    }
}

/// What this event means now.
pub fn meaning(event: &Event, screen: &Screen) -> Meaning {
    let Event::Key(key) = event else { return Meaning::Nothing };
    if key.kind == KeyEventKind::Release {
        return Meaning::Nothing;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Meaning::Leave,
            KeyCode::Char('z') => Meaning::Suspend,
            _ => Meaning::Nothing,
        };
    }
    match screen.asks() {
        Some(Asks::WhichSignal(worker)) => signal_key(key, worker),
        Some(Asks::ReallyStop(worker)) => match key.code {
            KeyCode::Char('y' | 'Y') => Meaning::Do(Deed::Stop(worker.clone())),
            _ => Meaning::Move(Change::AskNothing),
        },
        None if screen.shows_log() => log_key(key),
        None => table_key(key, screen),
    }
}

fn signal_key(key: &KeyEvent, worker: &str) -> Meaning {
    use nix::sys::signal::Signal;
    let signal = match key.code {
        KeyCode::Char('t') => Signal::SIGTERM,
        KeyCode::Char('k') => Signal::SIGKILL,
        KeyCode::Char('h') => Signal::SIGHUP,
        KeyCode::Char('i') => Signal::SIGINT,
        _ => return Meaning::Move(Change::AskNothing),
    };
    Meaning::Do(Deed::Kill(worker.to_owned(), signal as i32))
}

fn log_key(key: &KeyEvent) -> Meaning {
    match key.code {
        KeyCode::Esc | KeyCode::Char('q' | 'l') | KeyCode::Enter => Meaning::CloseLog,
        KeyCode::Up => Meaning::Move(Change::Up(1)),
        KeyCode::Down => Meaning::Move(Change::Down(1)),
        KeyCode::PageUp => Meaning::Move(Change::Up(10)),
        KeyCode::PageDown => Meaning::Move(Change::Down(10)),
        KeyCode::End => Meaning::Move(Change::Last),
        KeyCode::Home => Meaning::Move(Change::First),
        _ => Meaning::Nothing,
    }
}

fn table_key(key: &KeyEvent, screen: &Screen) -> Meaning {
    let with =
        |what: fn(String) -> Meaning| screen.selected().map_or(Meaning::Nothing, |it| what(it.to_owned()));
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Meaning::Leave,
        KeyCode::Up => Meaning::Move(Change::Up(1)),
        KeyCode::Down => Meaning::Move(Change::Down(1)),
        KeyCode::PageUp => Meaning::Move(Change::Up(10)),
        KeyCode::PageDown => Meaning::Move(Change::Down(10)),
        KeyCode::Home => Meaning::Move(Change::First),
        KeyCode::End => Meaning::Move(Change::Last),
        KeyCode::Tab => Meaning::Move(Change::OtherTable),
        KeyCode::Char('s') => with(|it| Meaning::Move(Change::Ask(Asks::ReallyStop(it)))),
        KeyCode::Char('k') => with(|it| Meaning::Move(Change::Ask(Asks::WhichSignal(it)))),
        KeyCode::Char('t') => with(|it| Meaning::Do(Deed::Start(it))),
        KeyCode::Char('r') => with(|it| Meaning::Do(Deed::Restart(it))),
        KeyCode::Char('l') | KeyCode::Enter => with(Meaning::OpenLog),
        _ => Meaning::Nothing,
    }
}
