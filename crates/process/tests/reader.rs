//! Who sleeps in a read of a pipe, and who only looks like it.

use std::io::{PipeWriter, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{Pid, PipeId, Reader};

/// A program with a pipe for its standard input; killed at the end.
struct Fed {
    child: Child,
    pipe: PipeId,
    input: PipeWriter,
}

impl Fed {
    fn sh(script: &str) -> Fed {
        let (read, input) = std::io::pipe().unwrap();
        let pipe = PipeId::of(input.as_fd()).unwrap();
        let child =
            Command::new("sh").args(["-c", script]).stdin(read).stdout(Stdio::null()).spawn().unwrap();
        Fed { child, pipe, input }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Waits until a look says so.
    fn until(&self, wanted: Reader) {
        self.look_until(|found| found == wanted);
    }

    fn until_not(&self, unwanted: Reader) {
        self.look_until(|found| found != unwanted);
    }

    fn look_until(&self, enough: impl Fn(Reader) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(60);
        while !enough(self.pipe.reader(self.pid())) {
            assert!(Instant::now() < give_up, "never, in a minute");
            std::thread::yield_now();
        }
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_asks_when_it_reads_and_not_while_it_is_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // At work it waits for a child, which waits for the partner of a FIFO.
    let mut fed = Fed::sh(&format!("while read -r line; do cat {} >/dev/null; done", fifo.display()));
    fed.until(Reader::Asks);
    fed.input.write_all(b"one\n").unwrap();
    fed.until(Reader::Busy);
    let at_work = Instant::now();
    while at_work.elapsed() < Duration::from_millis(50) {
        assert_eq!(fed.pipe.reader(fed.pid()), Reader::Busy);
    }
    std::fs::write(&fifo, "done").unwrap();
    fed.until(Reader::Asks);
}

#[test]
fn reading_another_pipe_is_not_asking() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // It sleeps in a read, and holds the pipe, but reads from elsewhere.
    let mut fed =
        Fed::sh(&format!("exec 3<>{}; read -r first; read -r second <&3; read -r third", fifo.display()));
    fed.until(Reader::Asks);
    fed.input.write_all(b"one\n").unwrap();
    fed.until_not(Reader::Asks);
    let at_work = Instant::now();
    while at_work.elapsed() < Duration::from_millis(50) {
        assert_ne!(fed.pipe.reader(fed.pid()), Reader::Asks);
    }
    std::fs::OpenOptions::new().append(true).open(&fifo).unwrap().write_all(b"two\n").unwrap();
    fed.until(Reader::Asks);
}

#[test]
fn who_does_not_hold_the_pipe_does_not_ask() {
    let fed = Fed::sh("exec sleep 1000 <&-");
    let (_unread, write) = std::io::pipe().unwrap();
    let other = PipeId::of(write.as_fd()).unwrap();
    assert_eq!(other.reader(fed.pid()), Reader::Busy);
    assert_eq!(other.holders().unwrap(), []);
    let (held, input) = std::io::pipe().unwrap();
    let mut child = Command::new("sleep").arg("1000").stdin(held).spawn().unwrap();
    let pipe = PipeId::of(input.as_fd()).unwrap();
    assert_eq!(pipe.holders().unwrap(), [Pid::from_raw(child.id() as i32)]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fed.pipe.reader(Pid::from_raw(i32::MAX)), Reader::Busy);
}
