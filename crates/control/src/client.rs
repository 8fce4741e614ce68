//! The client: one request after another over one connection, blocking, and quick to start.

mod wire;

use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::api::{ApiError, ErrorBody, ErrorCode, Request};
use crate::locate::with_short_path;
use crate::route::HttpRequest;
#[cfg(feature = "server")]
pub(crate) use wire::DESCRIPTORS_AT_MOST;
pub use wire::Impatience;
use wire::{ANSWER_BYTES, Length, Silence, Wire, too_long};

/// A connection to a running supervisor.
///
/// See [`crate::Server`] for an example.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: UnixStream,
    timeout: Option<Duration>,
    impatience: Option<Impatience>,
    /// Whether the server still listens to this connection after the last answer.
    kept: bool,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody answers: there is no supervisor, or it went away before it answered.
    Unreachable(io::Error),
    /// The supervisor refused.
    Refused(ApiError),
    /// What answers does not speak the API.
    Broken(String),
    /// There was no answer within the timeout.
    TimedOut,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable(error) => write!(f, "no supervisor answers: {error}"),
            ClientError::Refused(error) => f.write_str(&error.message),
            ClientError::Broken(why) => write!(f, "the answer makes no sense: {why}"),
            ClientError::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for ClientError {}

/// How long to leave a supervisor alone that has too many who wait.
const CROWDED: Duration = Duration::from_secs(1);

impl Client {
    /// Connects to the socket at `socket`, however long its path is.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when nobody listens there.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Client, ClientError> {
        let socket = socket.as_ref().to_owned();
        let stream = open(&socket).map_err(ClientError::Unreachable)?;
        Ok(Client { socket, stream, timeout: None, impatience: None, kept: true })
    }

    /// One more connection to the same supervisor, with the same timeout.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when nobody listens any more.
    pub fn another(&self) -> Result<Client, ClientError> {
        Ok(Client { timeout: self.timeout, ..Client::connect(&self.socket)? })
    }

    /// From now on a call that takes longer than this is given up with [`ClientError::TimedOut`]; `None`: never.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// From now on somebody is told when the supervisor says nothing for long; the wait goes on. `None`: nobody.
    pub fn set_impatience(&mut self, impatience: Option<Impatience>) {
        self.impatience = impatience;
    }

    fn silence(&self) -> Option<Silence> {
        self.impatience.map(|told| Silence::since_now(told, self.server_pid()))
    }

    /// Asks, and waits for the answer. Where there is nothing to tell, `T` is `()`.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] at once when the supervisor dies meanwhile; see the variants for the others.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let body = self.exchange(&request.to_http())?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// [`Client::call`], and the descriptors that come beside the answer: none where the supervisor encloses none.
    ///
    /// # Errors
    /// Those of [`Client::call`]; [`ClientError::Unreachable`] too where this process has no room for them.
    pub fn call_with_descriptors<T: DeserializeOwned>(
        &mut self,
        request: &Request,
    ) -> Result<(T, Vec<OwnedFd>), ClientError> {
        let mut enclosed = Vec::new();
        let body = self.exchange_with(&request.to_http(), Some(&mut enclosed))?;
        let answer = serde_json::from_slice(&body).map_err(|error| ClientError::Broken(error.to_string()))?;
        Ok((answer, enclosed))
    }

    /// Asks for a stream of lines; the timeout is that of its beginning.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub fn stream(mut self, request: &Request) -> Result<Lines, ClientError> {
        if !self.is_fresh() {
            self.stream = open(&self.socket).map_err(ClientError::Unreachable)?;
        }
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut wire = Wire { deadline, silence: self.silence(), ..Wire::on(&self.stream) };
        wire.send(&request.to_http())?;
        let head = wire.head()?;
        if !(200..300).contains(&head.status) {
            return Err(refused(head.status, &wire.body(&head)?));
        }
        let Length::Chunked = head.length else {
            return Err(ClientError::Broken("it is no stream".to_owned()));
        };
        let unread = wire.buffer.split_off(wire.start);
        Ok(Lines { stream: self.stream, unread, lines: Vec::new(), next: 0 })
    }

    /// The supervisor's pid as this process sees it, which is another one than it has in a pid namespace of its own;
    /// `None` when it cannot be seen from here.
    pub fn server_pid(&self) -> Option<i32> {
        let peer =
            nix::sys::socket::getsockopt(&self.stream, nix::sys::socket::sockopt::PeerCredentials).ok()?;
        Some(peer.pid()).filter(|pid| *pid > 0)
    }

    /// Returns when the supervisor has gone away, and not before; for a thread of its own.
    pub fn outlast(mut self) {
        self.timeout = None;
        // Any other answer, and none, comes because it goes away.
        while let Err(ClientError::Refused(error)) = self.exchange(&HttpRequest::presence())
            && error.code == ErrorCode::WouldBlock
        {
            std::thread::sleep(CROWDED);
        }
    }

    fn exchange(&mut self, http: &HttpRequest) -> Result<Vec<u8>, ClientError> {
        self.exchange_with(http, None)
    }

    fn exchange_with(
        &mut self,
        http: &HttpRequest,
        enclosed: Option<&mut Vec<OwnedFd>>,
    ) -> Result<Vec<u8>, ClientError> {
        if !self.is_fresh() {
            self.stream = open(&self.socket).map_err(ClientError::Unreachable)?;
        }
        // Anything that goes wrong leaves the connection in the middle of something.
        self.kept = false;
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut wire = Wire { deadline, silence: self.silence(), enclosed, ..Wire::on(&self.stream) };
        wire.send(http)?;
        let head = wire.head()?;
        let body = wire.body(&head)?;
        self.kept = head.keep;
        if (200..300).contains(&head.status) {
            return Ok(body);
        }
        Err(refused(head.status, &body))
    }

    /// Whether the connection can take another request: servers close the idle ones.
    fn is_fresh(&self) -> bool {
        if !self.kept || self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let quiet =
            matches!((&self.stream).read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        quiet && self.stream.set_nonblocking(false).is_ok()
    }
}

fn open(socket: &Path) -> io::Result<UnixStream> {
    with_short_path(socket, |path| UnixStream::connect(path))
}

fn refused(status: u16, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => ClientError::Refused(error),
        Err(_) => ClientError::Broken(format!("HTTP status {status} without an error")),
    }
}

/// The lines of an answer that goes on.
#[derive(Debug)]
pub struct Lines {
    stream: UnixStream,
    /// What has come and is not a whole chunk yet.
    unread: Vec<u8>,
    /// What has come in chunks; the line after those that were handed out begins at `next`.
    lines: Vec<u8>,
    next: usize,
}

impl Lines {
    /// The next line, without its newline; waits for it. `None`: the stream has ended as it should.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the supervisor went away in the middle of it.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let rest = &self.lines[self.next..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest[..end].to_vec();
                self.next += end + 1;
                return Ok(Some(line));
            }
            self.lines.drain(..self.next);
            self.next = 0;
            if self.lines.len() > ANSWER_BYTES {
                return Err(too_long());
            }
            let unread = std::mem::take(&mut self.unread);
            let mut wire = Wire { buffer: unread, ..Wire::on(&self.stream) };
            match wire.chunk()? {
                Some(chunk) => self.lines.extend_from_slice(&chunk),
                None => return Ok(None),
            }
            self.unread = wire.buffer.split_off(wire.start);
        }
    }

    /// A way to end the stream from another thread: whoever waits for a line then is told that the supervisor went away.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when no descriptor is left for it.
    pub fn parting(&self) -> Result<Parting, ClientError> {
        self.stream.try_clone().map(Parting).map_err(ClientError::Unreachable)
    }

    /// Whether the next line is there already, so that asking for it does not wait.
    pub fn has_line(&self) -> bool {
        self.lines[self.next..].contains(&b'\n')
    }
}

/// Ends a stream of [`Lines`].
#[derive(Debug)]
pub struct Parting(UnixStream);

impl Parting {
    /// Ends it.
    pub fn part(&self) {
        // An error means that it has ended already.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}
