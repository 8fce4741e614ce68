//! One exchange on a stream: a request goes, an answer comes.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::ClientError;
use crate::route::HttpRequest;

/// The longest answer that is read; a thousand workers take a third of a megabyte.
pub(super) const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// So many descriptors come with one answer.
pub(crate) const DESCRIPTORS_AT_MOST: usize = 4;

/// The longest head of an answer.
const HEAD_BYTES: usize = 64 * 1024;

pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: Length,
    pub(super) keep: bool,
}

pub(super) enum Length {
    Bytes(usize),
    Chunked,
    UntilTheEnd,
}

/// Who is told when an answer takes long.
#[derive(Clone, Copy, Debug)]
pub struct Impatience {
    /// After so long a silence for the first time; then after twice that, and so on.
    pub after: Duration,
    /// Says something, and whether it wants to be called again.
    pub tell: fn(server: Option<i32>) -> bool,
}

/// However long a silence takes, it is told of so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One exchange on a stream.
pub(super) struct Wire<'s> {
    pub(super) stream: &'s UnixStream,
    pub(super) deadline: Option<Instant>,
    /// Who is told of it when nothing comes.
    pub(super) silence: Option<Silence>,
    pub(super) buffer: Vec<u8>,
    /// What stands before it in the buffer was used.
    pub(super) start: usize,
    /// Where descriptors are put that come along; `None`: they are not wanted.
    pub(super) enclosed: Option<&'s mut Vec<OwnedFd>>,
}

impl<'s> Wire<'s> {
    pub(super) fn on(stream: &'s UnixStream) -> Wire<'s> {
        Wire { stream, deadline: None, silence: None, buffer: Vec::new(), start: 0, enclosed: None }
    }

    pub(super) fn send(&mut self, http: &HttpRequest) -> Result<(), ClientError> {
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

    pub(super) fn head(&mut self) -> Result<Head, ClientError> {
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

    pub(super) fn body(&mut self, head: &Head) -> Result<Vec<u8>, ClientError> {
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
    pub(super) fn chunk(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
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
        let mut piece = [0; 16 * 1024];
        loop {
            let left = self.left()?;
            let heard_of = self.silence.as_ref().map(Silence::left);
            let patience = left.into_iter().chain(heard_of).min();
            self.stream.set_read_timeout(patience).map_err(ClientError::Unreachable)?;
            let read = match &mut self.enclosed {
                Some(enclosed) => receive(self.stream, &mut piece, enclosed),
                None => (&*self.stream).read(&mut piece),
            };
            match read {
                Ok(length) => {
                    self.silence = None;
                    self.buffer.extend_from_slice(&piece[..length]);
                    return Ok(length > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Which of the two it was is seen above.
                Err(error) if is_timeout(&error) => {
                    self.silence = self.silence.take().and_then(Silence::heard_of);
                }
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

/// Nothing has come since a moment.
pub(super) struct Silence {
    told: Impatience,
    server: Option<i32>,
    pause: Duration,
    until: Instant,
}

impl Silence {
    /// It begins.
    pub(super) fn since_now(told: Impatience, server: Option<i32>) -> Silence {
        Silence { told, server, pause: told.after, until: Instant::now() + told.after }
    }

    /// Until somebody is told of it; never zero, which would mean for ever.
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Tells of it, if it is time; `None` when nobody wants to be told again.
    fn heard_of(self) -> Option<Silence> {
        let now = Instant::now();
        if now < self.until {
            return Some(self);
        }
        let pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        (self.told.tell)(self.server).then_some(Silence { pause, until: now + pause, ..self })
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

pub(super) fn too_long() -> ClientError {
    ClientError::Broken(format!("it is longer than {ANSWER_BYTES} bytes"))
}
