//! The pump from outside: real pipes, threads, processes and files.

mod consoles;
mod files;
mod idle;
mod lines;
mod pipes;

use super::*;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Waits for `condition`; fails after a minute.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "still not so after a minute: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn label(worker: &str, stream: Stream) -> Label {
    let writer = line::Writer { worker: worker.into(), instance: 0, launch: 1, show: worker.into() };
    std::sync::Arc::new(writer).label(stream)
}

fn raw(path: &Path) -> LogFile {
    LogFile { path: path.to_owned(), max_size: 0, keep: 3, format: Format::Raw }
}

/// A worker of the pump that is this process itself.
struct Writer {
    pipe: File,
    stream: StreamId,
}

impl Writer {
    fn of(pump: &Pump, worker: &str, settings: Option<LogFile>) -> Writer {
        Writer::to(pump, label(worker, Stream::Stdout), settings)
    }

    fn to(pump: &Pump, label: Label, settings: Option<LogFile>) -> Writer {
        let (read, write): (Inlet, OwnedFd) = pipe(false).expect("a pipe");
        let file = settings.map(|settings| pump.file(settings));
        let stream = pump.attach(read, label, file);
        Writer { pipe: write.into(), stream }
    }

    fn write(&mut self, text: &str) {
        self.pipe.write_all(text.as_bytes()).expect("the pump reads");
    }
}

fn text(line: &Line) -> String {
    String::from_utf8(line.bytes.clone()).expect("text")
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(text).collect()
}

/// Lines `worker 0`, `worker 1` and so on, about `bytes` of them.
fn numbered(worker: &str, bytes: usize) -> String {
    let mut all = String::new();
    for number in 0.. {
        if all.len() >= bytes {
            break;
        }
        all.push_str(&format!("{worker} {number}\n"));
    }
    all
}

/// The file and all that were rotated, oldest first.
fn generations(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        (1..).map(|number| rotation::old(path, number)).take_while(|path| path.exists()).collect();
    files.reverse();
    files.push(path.to_owned());
    files
}
