//! A stream that gives up on a reader who does not read, and takes descriptors along with what is written.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Sleep;

use crate::client::DESCRIPTORS_AT_MOST;

/// Descriptors that go out with the next bytes.
pub(super) type Enclosed = RefCell<Vec<OwnedFd>>;

/// A connection whose writes fail when the other side takes nothing for as long as our patience lasts.
pub(super) struct Patient {
    stream: UnixStream,
    patience: Duration,
    /// Whether patience has no end.
    unhurried: Rc<Cell<bool>>,
    enclosed: Rc<Enclosed>,
    /// Runs while a write is stuck.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(super) fn new(
        stream: UnixStream,
        patience: Duration,
        unhurried: Rc<Cell<bool>>,
        enclosed: Rc<Enclosed>,
    ) -> Patient {
        Patient { stream, patience, unhurried, enclosed, clock: None }
    }

    /// Writes, and hands over what is enclosed. It goes out with the first byte, or not at all.
    fn send_enclosed(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                let enclosed = self.enclosed.borrow();
                let descriptors: Vec<_> = enclosed.iter().map(AsFd::as_fd).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_MOST))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                Ok(sendmsg(self.stream.as_fd(), pieces, &mut ancillary, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    self.enclosed.borrow_mut().clear();
                    return Poll::Ready(sent);
                }
            }
        }
    }

    fn progress(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() || self.unhurried.get() {
            self.clock = None;
            return written;
        }
        let patience = self.patience;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(clock.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = if self.enclosed.borrow().is_empty() {
            Pin::new(&mut self.stream).poll_write(context, bytes)
        } else {
            self.send_enclosed(context, &[IoSlice::new(bytes)])
        };
        self.progress(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = if self.enclosed.borrow().is_empty() {
            Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
        } else {
            self.send_enclosed(context, pieces)
        };
        self.progress(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
