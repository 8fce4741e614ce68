//! The server: one thread that reads requests, hands each to a sink, and writes what it is told to answer.
//!
//! It decides nothing and knows no worker. A call is in the hands of whoever holds its [`Reply`]; until that is used
//! the connection waits, and if its client hangs up the reply knows ([`Reply::is_abandoned`]).

mod connection;
mod flow;
mod patient;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::api::{ApiError, ErrorCode, Request};
use crate::errand::Errand;

pub use flow::Feed;

/// Which users may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uids(Vec<u32>);

impl Uids {
    /// The user this process runs as, and root.
    pub fn own() -> Uids {
        Uids(vec![nix::unistd::geteuid().as_raw(), 0])
    }

    /// These and nobody else.
    pub fn of(uids: impl IntoIterator<Item = u32>) -> Uids {
        Uids(uids.into_iter().collect())
    }

    fn has(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }
}

/// What a server puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest head of a request; at least 8 KiB.
    pub head_bytes: usize,
    /// The longest body of a request.
    pub body_bytes: usize,
    /// How many connections may be sending, or idle, at once; the next ones wait to be accepted.
    pub connections: usize,
    /// How many requests may await their answers at once; the next one is refused.
    pub waiting: usize,
    /// How long a client may take to send a request's head, and then its body; how long it may idle; and how long it may
    /// leave an answer unread.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 * 1024,
            body_bytes: 1024 * 1024,
            connections: 256,
            waiting: 768,
            patience: Duration::from_secs(30),
        }
    }
}

/// Who asks, as the kernel told when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its pid; 0 when it lives where this process cannot see it.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A request, who asks, and how to answer.
#[derive(Debug)]
pub struct Call {
    /// Who asks.
    pub peer: Peer,
    /// What is asked; its names are well-formed, though they need not exist.
    pub request: Request,
    /// The way to answer.
    pub reply: Reply,
}

/// What a worker of another user asks, who asks, and how to answer.
#[derive(Debug)]
pub struct Visit {
    /// Who asks.
    pub peer: Peer,
    /// What is asked; its names are well-formed, though they need not exist.
    pub errand: Errand,
    /// The way to answer.
    pub reply: Reply,
}

/// The one answer to a call. Answering never blocks. Dropped unused, it answers 503 `not_running`.
pub struct Reply(oneshot::Sender<Answer>);

type Answer = Result<Granted, ApiError>;

/// How a request was granted.
enum Granted {
    Whole(Vec<u8>, Vec<OwnedFd>),
    Stream(Box<dyn Feed>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("abandoned", &self.is_abandoned()).finish()
    }
}

impl Reply {
    /// Grants the request; where there is nothing to tell, with `&()`.
    pub fn ok(self, answer: &impl Serialize) {
        self.ok_with(answer, Vec::new());
    }

    /// Grants the request, and hands over descriptors beside the answer ([`crate::Client::call_with_descriptors`]): a few,
    /// since those that are under way are counted against the user of this process.
    pub fn ok_with(self, answer: &impl Serialize, descriptors: Vec<OwnedFd>) {
        let answer = serde_json::to_vec(answer)
            .map_err(|error| ApiError::new(ErrorCode::Failed, format!("the answer cannot be told: {error}")));
        self.send(answer.map(|answer| Granted::Whole(answer, descriptors)));
    }

    /// Grants the request with a stream of lines of JSON, which goes on until the feed ends, the client hangs up or the
    /// server stops. A client may leave it unread for as long as it likes; the feed is dropped when nobody reads it any
    /// more.
    pub fn stream(self, feed: impl Feed) {
        self.send(Ok(Granted::Stream(Box::new(feed))));
    }

    /// Refuses the request.
    pub fn refuse(self, error: ApiError) {
        self.send(Err(error));
    }

    /// Whether the client hung up: an answer would reach nobody.
    ///
    /// Whoever keeps replies for later drops the abandoned ones now and then, say when the next call comes.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    fn send(self, answer: Answer) {
        // It fails only when the client hung up, and then there is nobody to tell.
        let _ = self.0.send(answer);
    }
}

/// A running server. Dropped, it stops.
///
/// ```
/// use control::api::{Request, Status};
/// use control::{Client, Server, Uids};
///
/// let folder = tempfile::tempdir()?;
/// let socket = folder.path().join("socket");
/// let listener = std::os::unix::net::UnixListener::bind(&socket)?;
/// let server = Server::start(listener, Uids::own(), |call| match call.request {
///     Request::Status { .. } => {
///         call.reply.ok(&Status { name: "demo".into(), pid: 1, config: None, workers: vec![], config_newer: false })
///     }
///     _ => drop(call.reply),
/// })?;
///
/// let status: Status = Client::connect(&socket)?.call(&Request::Status { workers: vec![] })?;
/// assert_eq!(status.name, "demo");
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `listener` on a thread of its own, named `control`, and hands every well-formed request of an allowed
    /// user to `sink`, which runs on that thread and must not block.
    ///
    /// # Errors
    /// When the thread, its epoll instance or the listener's switch to non-blocking is refused by the kernel.
    pub fn start(
        listener: UnixListener,
        allowed: Uids,
        sink: impl Fn(Call) + Send + 'static,
    ) -> io::Result<Server> {
        Server::start_with(listener, allowed, Limits::default(), sink)
    }

    /// [`Server::start`] with other limits.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start_with(
        listener: UnixListener,
        allowed: Uids,
        limits: Limits,
        sink: impl Fn(Call) + Send + 'static,
    ) -> io::Result<Server> {
        Server::open(listener, move || Door::Owners(allowed, Box::new(sink)), limits)
    }

    /// Serves `listener` to workers of the user `uid`, and hands every [`Errand`] of that user to `sink`; all else is
    /// refused. Whether who asks is a worker is for the sink to find out.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start_for_workers(
        listener: UnixListener,
        uid: u32,
        limits: Limits,
        sink: impl Fn(Visit) + Send + 'static,
    ) -> io::Result<Server> {
        Server::open(listener, move || Door::Workers(uid, Box::new(sink)), limits)
    }

    fn open(
        listener: UnixListener,
        door: impl FnOnce() -> Door + Send + 'static,
        limits: Limits,
    ) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::from_std(listener)?
        };
        let (stop, stopping) = watch::channel(false);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            let hall = Rc::new(Hall {
                door: door(),
                limits,
                seats: Arc::new(Semaphore::new(limits.connections)),
                waiting: Arc::new(Semaphore::new(limits.waiting)),
                stopping: stopping.clone(),
            });
            let everything = LocalSet::new();
            everything.spawn_local(accept(listener, hall, stopping));
            runtime.block_on(everything);
        })?;
        Ok(Server { stop, thread: Some(thread) })
    }

    /// Writes the answers that were given, answers 503 to what is still waiting, and ends. Takes at most a second,
    /// however slowly clients read.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A sink that owns its own server would wait for itself.
            if thread.thread().id() != thread::current().id() {
                // A panic was already reported by its own thread; it is no reason for another.
                let _ = thread.join();
            }
        }
    }
}

/// What all connections share.
struct Hall {
    door: Door,
    limits: Limits,
    seats: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// Who comes in here, and whom what they ask is handed to.
enum Door {
    Owners(Uids, Box<dyn Fn(Call)>),
    Workers(u32, Box<dyn Fn(Visit)>),
}

impl Door {
    /// Whether this user may ask here.
    ///
    /// # Errors
    /// The refusal.
    fn admit(&self, uid: u32) -> Result<(), ApiError> {
        let (admitted, hint) = match self {
            Door::Owners(allowed, _) => {
                (allowed.has(uid), "ask as the user who runs the supervisor, or as root")
            }
            Door::Workers(user, _) => {
                (uid == *user, "only workers that the config runs as that user are asked in")
            }
        };
        if admitted {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Refused, format!("user {uid} may not ask here")).hint(hint))
    }

    /// Hands on what was asked; or says why that may not be asked here.
    ///
    /// # Errors
    /// The refusal.
    fn hand_on(&self, peer: Peer, request: Request, reply: Reply) -> Result<(), ApiError> {
        match self {
            Door::Owners(_, sink) => sink(Call { peer, request, reply }),
            Door::Workers(_, sink) => sink(Visit { peer, errand: Errand::of(request)?, reply }),
        }
        Ok(())
    }
}

/// How long a refused accept is left alone: out of descriptors, trying again at once would burn the processor.
const REST: Duration = Duration::from_millis(100);

async fn accept(listener: tokio::net::UnixListener, hall: Rc<Hall>, stopping: watch::Receiver<bool>) {
    loop {
        let Some(Ok(seat)) = unless(&stopping, Arc::clone(&hall.seats).acquire_owned()).await else {
            return;
        };
        let Some(accepted) = unless(&stopping, listener.accept()).await else {
            return;
        };
        match accepted {
            Ok((stream, _)) => {
                spawn_local(connection::attend(stream, Cell::new(Some(seat)), Rc::clone(&hall)));
            }
            Err(_) => {
                unless(&stopping, tokio::time::sleep(REST)).await;
            }
        }
    }
}

/// What `work` comes to, or `None` when the server is told to stop first.
async fn unless<T>(stopping: &watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut stopping = stopping.clone();
    let mut stopped = pin!(stopping.wait_for(|stopped| *stopped));
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        // The work first: an answer that was given before the stop is not lost to it.
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        stopped.as_mut().poll(context).map(|_| None)
    })
    .await
}
