//! `top`: workers and queues in the terminal, as they are now, with keys to act on them.
//!
//! ```text
//!   keys ──────────┐
//!   signals ───────┤            ┌─ draws, where what is to be seen has changed
//!   looks ─────────┼─► the loop ┤
//!   log lines ─────┤            └─ asks for what a key says, on a thread of its own
//!   what became ───┘
//! ```
//!
//! Nothing is redrawn that stands there already. The supervisor is looked at when it tells of a change, and else once a
//! second while numbers move, more and more seldom while they do not.

mod feeds;
mod keys;
mod picture;
mod view;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender};

use control::Client;
use control::api::{ErrorCode, Request};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::Event;

use crate::talk::{Failure, note};
use feeds::{Feeds, LogFeed};
use keys::{Deed, Meaning};
use picture::Picture;
use view::Screen;

/// What reaches the loop.
#[derive(Debug)]
enum News {
    /// A key, or another size.
    Input(Event),
    /// The terminal, or whoever started this, wants it to end.
    Leave,
    /// How things stand, where that is another than before.
    Picture(Box<Picture>),
    /// What became of a key.
    Became(String),
    /// A line of the log that was opened so many-th.
    Log(u64, String),
    /// The run has ended.
    Over,
    /// The supervisor cannot be asked any more.
    Lost(Failure),
}

/// So many news wait at most; whoever has more waits for the loop.
const NEWS_AT_MOST: usize = 1024;

/// Why the table is left.
enum Left {
    /// By a key or a signal.
    ByRequest,
    /// The run has ended.
    Over,
}

/// Shows the table until a key says to leave.
///
/// # Errors
/// Exit 2 without a terminal, 5 when the supervisor dies meanwhile, 1 when the terminal cannot be used.
pub fn top(
    connect: impl Fn() -> Result<Client, Failure> + Send + Sync + 'static,
    json: bool,
) -> Result<ExitCode, Failure> {
    let usage =
        |why: &str| Failure::new(ErrorCode::Usage, why).hint("`supervisor status --watch` needs no terminal");
    if json {
        return Err(usage("top is for people, and tells nothing in JSON"));
    }
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() || is_dumb {
        return Err(usage("top needs a terminal, for what it shows and for the keys"));
    }
    // Whoever is not there is told of before the screen is taken.
    let mut client = connect()?;
    client.call::<serde::de::IgnoredAny>(&Request::Queues)?;
    // From here on nothing is to be written across it.
    client.set_impatience(None);
    let connect = move || {
        let mut client = connect()?;
        client.set_impatience(None);
        Ok(client)
    };
    let (tell, news) = mpsc::sync_channel(NEWS_AT_MOST);
    let feeds = Feeds::start(client, connect, tell.clone())?;
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    let left = Top { feeds, tell, news, screen: Screen::default(), log: None, logs: 0 }.run(&mut terminal);
    ratatui::restore();
    match left? {
        Left::ByRequest => {}
        Left::Over => note("the run has ended"),
    }
    Ok(ExitCode::SUCCESS)
}

fn unusable(error: io::Error) -> Failure {
    Failure::new(ErrorCode::Failed, format!("the terminal cannot be used: {error}"))
}

struct Top {
    feeds: Feeds,
    tell: SyncSender<News>,
    news: Receiver<News>,
    screen: Screen,
    /// The log that is shown, and is let go of when another is.
    log: Option<LogFeed>,
    logs: u64,
}

impl Top {
    fn run(&mut self, terminal: &mut DefaultTerminal) -> Result<Left, Failure> {
        loop {
            terminal.draw(|frame| self.screen.draw(frame)).map_err(unusable)?;
            // All that has come is taken in before the next picture.
            let Ok(first) = self.news.recv() else { return Ok(Left::ByRequest) };
            let mut next = Some(first);
            let mut taken = 0;
            while let Some(news) = next {
                if let Some(left) = self.take(news, terminal)? {
                    return Ok(left);
                }
                taken += 1;
                next = if taken < NEWS_AT_MOST { self.news.try_recv().ok() } else { None };
            }
        }
    }

    fn take(&mut self, news: News, terminal: &mut DefaultTerminal) -> Result<Option<Left>, Failure> {
        match news {
            News::Input(event) => match keys::meaning(&event, &self.screen) {
                Meaning::Nothing => {}
                Meaning::Leave => return Ok(Some(Left::ByRequest)),
                Meaning::Suspend => suspend(terminal)?,
                Meaning::Move(change) => self.screen.change(change),
                Meaning::OpenLog(worker) => self.open_log(&worker),
                Meaning::CloseLog => {
                    self.log = None;
                    self.screen.close_log();
                }
                Meaning::Do(deed) => self.do_(deed),
            },
            News::Leave => return Ok(Some(Left::ByRequest)),
            News::Picture(picture) => self.screen.show(*picture),
            News::Became(text) => self.screen.say(text),
            News::Log(number, line) if number == self.logs => self.screen.add_line(line),
            News::Log(..) => {}
            News::Over => return Ok(Some(Left::Over)),
            News::Lost(failure) => return Err(failure),
        }
        Ok(None)
    }

    fn do_(&mut self, deed: Deed) {
        self.screen.say(format!("{} …", deed.words()));
        self.feeds.carry_out(deed, self.tell.clone());
    }

    fn open_log(&mut self, worker: &str) {
        self.logs += 1;
        match self.feeds.follow(worker, self.logs, self.tell.clone()) {
            Ok(feed) => {
                self.log = Some(feed);
                self.screen.open_log(worker);
            }
            Err(Failure::Error(error)) => self.screen.say(error.message),
            Err(Failure::Unheard) => {}
        }
    }
}

/// Ctrl-Z: the terminal as it was, until somebody says `fg`.
fn suspend(terminal: &mut DefaultTerminal) -> Result<(), Failure> {
    ratatui::restore();
    let stopped = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP);
    *terminal = ratatui::try_init().map_err(unusable)?;
    terminal.clear().map_err(unusable)?;
    stopped.map_err(|errno| unusable(errno.into()))
}
