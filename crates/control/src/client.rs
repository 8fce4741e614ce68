//! The client: one request after another over one connection, blocking, and quick to start.

use std::fmt;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use serde::de::DeserializeOwned;

use crate::api::{ApiError, ErrorBody, ErrorCode, Request};
use crate::locate::with_short_path;
use crate::route::HttpRequest;

/// A connection to a running supervisor.
///
/// See [`crate::Server`] for an example.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: UnixStream,
    timeout: Option<Duration>,
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

/// The longest answer that is read; a thousand workers take a third of a megabyte.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How long to leave a supervisor alone that has too many who wait.
const CROWDED: Duration = Duration::from_secs(1);

/// So many descriptors come with one answer.
pub(crate) const DESCRIPTORS_AT_MOST: usize = 4;

/// The longest head of an answer.
const HEAD_BYTES: usize = 64 * 1024;

impl Client {
    /// Connects to the socket at `socket`, however long its path is.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when nobody listens there.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Client, ClientError> {
        let socket = socket.as_ref().to_owned();
        let stream = open(&socket).map_err(ClientError::Unreachable)?;
        Ok(Client { socket, stream, timeout: None, kept: true })
    }

    /// One more connection to the same supervisor.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when nobody listens any more.
    pub fn another(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket)
    }

    /// From now on a call that takes longer than this is given up with [`ClientError::TimedOut`]; `None`: never.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
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

    /// Asks for a stream of lines.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub fn stream(mut self, request: &Request) -> Result<Lines, ClientError> {
        if !self.is_fresh() {
            self.stream = open(&self.socket).map_err(ClientError::Unreachable)?;
        }
        let mut wire = Wire::on(&self.stream);
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
        let mut wire = Wire { deadline, enclosed, ..Wire::on(&self.stream) };
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

struct Head {
    status: u16,
    length: Length,
    keep: bool,
}

enum Length {
    Bytes(usize),
    Chunked,
    UntilTheEnd,
}

/// One exchange on a stream.
struct Wire<'s> {
    stream: &'s UnixStream,
    deadline: Option<Instant>,
    buffer: Vec<u8>,
    /// What stands before it in the buffer was used.
    start: usize,
    /// Where descriptors are put that come along; `None`: they are not wanted.
    enclosed: Option<&'s mut Vec<OwnedFd>>,
}

impl<'s> Wire<'s> {
    fn on(stream: &'s UnixStream) -> Wire<'s> {
        Wire { stream, deadline: None, buffer: Vec::new(), start: 0, enclosed: None }
    }

    fn send(&mut self, http: &HttpRequest) -> Result<(), ClientError> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: supervisor\r\n", http.method, http.target).into_bytes();
        if http.method != "GET" {
            let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", http.body.len());
            bytes.extend_from_slice(head.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&http.body);
        let left = self.left()?;
        self.stream.set_write_timeout(left).map_err(ClientError::Unreachable)?;
        match (&*self.stream).write_all(&bytes) {
            Ok(()) => Ok(()),
            Err(error) if is_timeout(&error) => Err(ClientError::TimedOut),
            // A server that refuses early (too long, not allowed) has answered before it hung up.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(ClientError::Unreachable(error)),
        }
    }

    fn head(&mut self) -> Result<Head, ClientError> {
        loop {
            let unread = &self.buffer[self.start..];
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(unread).map_err(|error| ClientError::Broken(error.to_string()))?;
            if let httparse::Status::Complete(length) = parsed {
                let head = Head::of(&response)?;
                self.start += length;
                // 100 Continue and its like announce the answer.
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            if unread.len() > HEAD_BYTES {
                return Err(ClientError::Broken("its head has no end".to_owned()));
            }
            if !self.more()? {
                return Err(ClientError::Unreachable(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>, ClientError> {
        match head.length {
            Length::Bytes(length) => self.take(length),
            Length::Chunked => self.chunks(),
            Length::UntilTheEnd => {
                while self.more()? {}
                Ok(self.buffer.split_off(self.start))
            }
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            if body.len().saturating_add(chunk.len()) > ANSWER_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The next chunk; `None` after the last.
    fn chunk(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let line = self.line()?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or_else(|| ClientError::Broken("a chunk without a length".to_owned()))?;
        if length == 0 {
            // Trailers, then an empty line.
            while !self.line()?.is_empty() {}
            return Ok(None);
        }
        let chunk = self.take(length)?;
        if !self.line()?.is_empty() {
            return Err(ClientError::Broken("a chunk longer than it says".to_owned()));
        }
        Ok(Some(chunk))
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, ClientError> {
        if length > ANSWER_BYTES {
            return Err(too_long());
        }
        while self.buffer.len() - self.start < length {
            self.more_of_the_body()?;
        }
        let taken = self.buffer[self.start..self.start + length].to_vec();
        self.start += length;
        Ok(taken)
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = unread[..end].to_vec();
                self.start += end + 2;
                return Ok(line);
            }
            if unread.len() > HEAD_BYTES {
                return Err(ClientError::Broken("a line of it has no end".to_owned()));
            }
            self.more_of_the_body()?;
        }
    }

    fn more_of_the_body(&mut self) -> Result<(), ClientError> {
        if self.more()? {
            return Ok(());
        }
        Err(ClientError::Unreachable(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Reads what has come; `false` at the end.
    fn more(&mut self) -> Result<bool, ClientError> {
        if self.buffer.len() - self.start > ANSWER_BYTES + HEAD_BYTES {
            return Err(too_long());
        }
        let left = self.left()?;
        self.stream.set_read_timeout(left).map_err(ClientError::Unreachable)?;
        let mut piece = [0; 16 * 1024];
        loop {
            let read = match &mut self.enclosed {
                Some(enclosed) => receive(self.stream, &mut piece, enclosed),
                None => (&*self.stream).read(&mut piece),
            };
            match read {
                Ok(length) => {
                    self.buffer.extend_from_slice(&piece[..length]);
                    return Ok(length > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(ClientError::TimedOut),
                Err(error) => return Err(ClientError::Unreachable(error)),
            }
        }
    }

    /// What is left until the deadline; never zero, which would mean for ever.
    fn left(&self) -> Result<Option<Duration>, ClientError> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ClientError::TimedOut) } else { Ok(Some(left)) }
    }
}

impl Head {
    fn of(response: &httparse::Response<'_, '_>) -> Result<Head, ClientError> {
        let status = response.code.unwrap_or(0);
        let mut length = Length::UntilTheEnd;
        let mut keep = response.version == Some(1);
        for header in response.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") && !matches!(length, Length::Chunked) {
                let bytes = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                let bytes =
                    bytes.ok_or_else(|| ClientError::Broken("its length is not a number".to_owned()))?;
                length = Length::Bytes(bytes);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            } else if header.name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case(b"close") {
                keep = false;
            }
        }
        if status < 200 || status == 204 || status == 304 {
            length = Length::Bytes(0);
        }
        keep &= !matches!(length, Length::UntilTheEnd);
        Ok(Head { status, length, keep })
    }
}

/// Reads, and takes the descriptors that come along.
fn receive(stream: &UnixStream, piece: &mut [u8], enclosed: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(piece)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            enclosed.extend(descriptors);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("no room for the descriptors that come with the answer"));
    }
    Ok(received.bytes)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn too_long() -> ClientError {
    ClientError::Broken(format!("it is longer than {ANSWER_BYTES} bytes"))
}
