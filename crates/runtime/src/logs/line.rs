//! What a line is: whose it is, when it came, how it ended.

use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

/// Which of a worker's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// The word of the `json` format: `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    /// The word of the `text` format: `out` or `err`.
    pub fn short(self) -> &'static str {
        match self {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        }
    }
}

/// A launch that writes. Its two outputs share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The worker's name.
    pub worker: Arc<str>,
    /// Which of its instances.
    pub instance: u32,
    /// Which launch of that instance.
    pub launch: u64,
    /// What people see on the console: `reader` when the worker has one instance, else `counter:0`.
    pub show: Arc<str>,
}

/// Who writes into a pipe: one output of a [`Writer`], whose fields it shows as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The launch.
    pub writer: Arc<Writer>,
    /// Which of its outputs.
    pub stream: Stream,
}

impl Deref for Label {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl Writer {
    /// The label of one of its outputs.
    ///
    /// ```
    /// use runtime::logs::{Stream, Writer};
    /// use std::sync::Arc;
    ///
    /// let writer = Writer { worker: "reader".into(), instance: 0, launch: 1, show: "reader".into() };
    /// assert_eq!(Arc::new(writer).label(Stream::Stderr).launch, 1);
    /// ```
    pub fn label(self: &Arc<Writer>, stream: Stream) -> Label {
        Label { writer: Arc::clone(self), stream }
    }
}

/// How a line came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a newline, which is not part of the line's bytes.
    Newline,
    /// It is longer than [`MAX_LINE`](super::MAX_LINE): this is a piece, the stream's next line goes on with it.
    Split,
    /// Its writer ended, or has not gone on yet, without a newline.
    Open,
}

/// One line of a worker, as followers and [`Pump::tail`](super::Pump::tail) show it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose.
    pub label: Label,
    /// When the end of it was read.
    pub time: SystemTime,
    /// The bytes as they were written, without the newline; not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
}
