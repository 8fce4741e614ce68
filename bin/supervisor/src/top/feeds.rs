//! The threads that bring news: each sleeps until there is some.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use control::api::{ErrorCode, LogLine, ProcessRow, QueueStatus, Request, Status};
use control::{Client, ClientError, Lines, Parting};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use process::Signals;
use serde_json::Value;

use super::News;
use super::keys::Deed;
use super::picture::{Painter, Picture};
use crate::output::printable;
use crate::talk::Failure;

/// How long between two looks while what is seen changes.
const SOON: Duration = Duration::from_secs(1);
/// The same when nothing has changed for long.
const SELDOM: Duration = Duration::from_secs(5);

/// The least between two looks, however much happens.
const AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// How many lines of a log are shown at first.
const LINES: u32 = 200;

type Connect = Arc<dyn Fn() -> Result<Client, Failure> + Send + Sync>;

/// The way to the supervisor, and what comes from there by itself.
pub struct Feeds {
    connect: Connect,
    /// Asks for a look at once.
    look: SyncSender<()>,
}

impl Feeds {
    /// Starts to look, to listen to what happens, to the keys and to signals.
    pub fn start(
        client: Client,
        connect: impl Fn() -> Result<Client, Failure> + Send + Sync + 'static,
        tell: SyncSender<News>,
    ) -> Result<Feeds, Failure> {
        let connect: Connect = Arc::new(connect);
        let (look, looks) = mpsc::sync_channel(1);
        let events = connect()?.stream(&Request::Events { after: 0, follow: true })?;
        let (teller, eye) = (tell.clone(), look.clone());
        thread::spawn(move || listen(events, &eye, &teller));
        let teller = tell.clone();
        thread::spawn(move || watch(client, &looks, &teller));
        let teller = tell.clone();
        thread::spawn(move || read_keys(&teller));
        let heard = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].map(|it| it as i32);
        let signals = Signals::listen(&heard)
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("cannot listen to signals: {error}")))?;
        thread::spawn(move || hear(signals, &tell));
        Ok(Feeds { connect, look })
    }

    /// Asks the supervisor for what a key says, and tells what became of it.
    pub fn carry_out(&self, deed: Deed, tell: SyncSender<News>) {
        let (connect, look) = (Arc::clone(&self.connect), self.look.clone());
        thread::spawn(move || {
            let answer = connect().and_then(|mut client| Ok(client.call::<Value>(&deed.request())?));
            let text = match answer {
                Ok(answer) => deed.became(answer),
                Err(Failure::Error(error)) => error.message,
                Err(Failure::Unheard) => return,
            };
            // One that is on its way already will do.
            let _ = look.try_send(());
            let _ = tell.send(News::Became(printable(&text)));
        });
    }

    /// Follows the log of an instance.
    pub fn follow(&self, worker: &str, number: u64, tell: SyncSender<News>) -> Result<LogFeed, Failure> {
        let request = Request::Logs { worker: Some(worker.to_owned()), lines: LINES, follow: true };
        let mut lines = (self.connect)()?.stream(&request)?;
        let parting = lines.parting()?;
        thread::spawn(move || {
            while let Ok(Some(line)) = lines.next_line() {
                let Ok(line) = serde_json::from_slice::<LogLine>(&line) else { continue };
                if tell.send(News::Log(number, printable(&line.line))).is_err() {
                    return;
                }
            }
        });
        Ok(LogFeed { parting })
    }
}

/// A log that is followed, until this is dropped.
pub struct LogFeed {
    parting: Parting,
}

impl Drop for LogFeed {
    fn drop(&mut self) {
        self.parting.part();
    }
}

fn listen(mut events: Lines, look: &SyncSender<()>, tell: &SyncSender<News>) {
    loop {
        match events.next_line() {
            Ok(Some(_)) => drop(look.try_send(())),
            Ok(None) => return drop(tell.send(News::Over)),
            Err(error) => return drop(tell.send(News::Lost(error.into()))),
        }
    }
}

fn watch(mut client: Client, looks: &mpsc::Receiver<()>, tell: &SyncSender<News>) {
    let mut painter = Painter::default();
    let mut shown: Option<Picture> = None;
    let mut pause = SOON;
    loop {
        match look(&mut client, &mut painter) {
            Ok(picture) if shown.as_ref() == Some(&picture) => pause = (pause * 2).min(SELDOM),
            Ok(picture) => {
                pause = SOON;
                shown = Some(picture.clone());
                if tell.send(News::Picture(Box::new(picture))).is_err() {
                    return;
                }
            }
            // Whether the run has ended or its supervisor was killed is told by the stream of events.
            Err(ClientError::Unreachable(_)) => return,
            Err(error) => return drop(tell.send(News::Lost(error.into()))),
        }
        match looks.recv_timeout(pause) {
            Ok(()) => {
                pause = SOON;
                thread::sleep(AT_MOST_EVERY);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn look(client: &mut Client, painter: &mut Painter) -> Result<Picture, ClientError> {
    let status: Status = client.call(&Request::Status { workers: vec![] })?;
    let processes: Vec<ProcessRow> = client.call(&Request::Ps)?;
    let queues: Vec<QueueStatus> = client.call(&Request::Queues)?;
    Ok(painter.picture(&status, &processes, &queues, Instant::now()))
}

fn read_keys(tell: &SyncSender<News>) {
    loop {
        let news = match ratatui::crossterm::event::read() {
            Ok(event) => News::Input(event),
            // The terminal is gone.
            Err(_) => News::Leave,
        };
        let is_last = matches!(news, News::Leave);
        if tell.send(news).is_err() || is_last {
            return;
        }
    }
}

fn hear(mut signals: Signals, tell: &SyncSender<News>) {
    loop {
        let mut wait = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut wait, PollTimeout::NONE);
        if signals.pending().next().is_some() {
            return drop(tell.send(News::Leave));
        }
    }
}
