//! An answer that goes on: lines of JSON as they come.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::OwnedSemaphorePermit;

/// What a streaming answer is made of: whoever reads it asks for the next line when the one before has gone out, so
/// that a slow reader holds up nobody. What becomes of lines that are not asked for in time is up to the feed.
///
/// ```
/// use std::task::{Context, Poll};
///
/// struct Countdown(u32);
///
/// impl control::Feed for Countdown {
///     fn poll_line(&mut self, _: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
///         let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
///         self.0 = left;
///         Poll::Ready(Some(left.to_string().into_bytes()))
///     }
/// }
/// ```
pub trait Feed: Send + 'static {
    /// The next line, without its newline; `Ready(None)`: there will be no more, and nobody asks again. `Pending`: the
    /// context's waker is woken when there is one. Called on the server's thread: it must not wait.
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
}

impl Feed for Box<dyn Feed> {
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        (**self).poll_line(context)
    }
}

/// So many bytes of lines go out at once, if they are there.
const PIECE: usize = 16 * 1024;

/// A feed as the body of a response.
pub(super) struct Flow {
    feed: Box<dyn Feed>,
    ended: bool,
    /// Who reads it is one of those who wait.
    _waiting: OwnedSemaphorePermit,
}

impl Flow {
    pub(super) fn new(feed: Box<dyn Feed>, waiting: OwnedSemaphorePermit) -> Flow {
        Flow { feed, ended: false, _waiting: waiting }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = Vec::new();
        while !self.ended && piece.len() < PIECE {
            match self.feed.poll_line(context) {
                Poll::Ready(Some(line)) => {
                    piece.extend_from_slice(&line);
                    piece.push(b'\n');
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }
}
