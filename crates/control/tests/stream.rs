//! Answers that go on: lines arrive as they are told, slow readers hold up nobody, and who hangs up is noticed.

use std::collections::VecDeque;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use control::api::{ErrorCode, Request};
use control::{Client, ClientError, Feed, Limits, Server, Uids};
use tempfile::TempDir;

const WATCHDOG: Duration = Duration::from_secs(60);

/// A feed that the test fills.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Basin>>);

#[derive(Default)]
struct Basin {
    lines: VecDeque<Vec<u8>>,
    ended: bool,
    asleep: Option<Waker>,
    taken: usize,
}

impl Tap {
    fn change(&self, change: impl FnOnce(&mut Basin)) {
        let mut basin = self.0.lock().expect("nobody panics with it");
        change(&mut basin);
        if let Some(asleep) = basin.asleep.take() {
            asleep.wake();
        }
    }

    fn pour(&self, line: &str) {
        self.change(|basin| basin.lines.push_back(line.as_bytes().to_vec()));
    }

    fn taken(&self) -> usize {
        self.0.lock().expect("nobody panics with it").taken
    }

    /// The server and I hold it; when only I do, the feed was dropped.
    fn is_read(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Feed for Tap {
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut basin = self.0.lock().expect("nobody panics with it");
        match basin.lines.pop_front() {
            Some(line) => {
                basin.taken += 1;
                Poll::Ready(Some(line))
            }
            None if basin.ended => Poll::Ready(None),
            None => {
                basin.asleep = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A server that answers `events` with a tap, and a client of it.
fn served(limits: Limits) -> (TempDir, Server, Client, mpsc::Receiver<Tap>) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let (send, taps) = mpsc::channel();
    let listener = UnixListener::bind(&socket).expect("a socket");
    let server = Server::start_with(listener, Uids::own(), limits, move |call| match call.request {
        Request::Events { .. } => {
            let tap = Tap::default();
            call.reply.stream(tap.clone());
            send.send(tap).expect("the test waits for it");
        }
        Request::Ps => call.reply.ok(&Vec::<i32>::new()),
        _ => drop(call.reply),
    });
    let client = Client::connect(&socket).expect("it listens");
    (folder, server.expect("a server"), client, taps)
}

fn events() -> Request {
    Request::Events { after: 0, follow: true }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WATCHDOG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn lines_arrive_as_they_are_told_and_the_end_is_told_too() {
    let (_folder, server, client, taps) = served(Limits::default());
    let mut lines = client.stream(&events()).expect("it is granted");
    let tap = taps.recv_timeout(WATCHDOG).expect("it was asked for");
    for text in ["first", "", "third"] {
        tap.pour(text);
        assert_eq!(lines.next_line().expect("it lives").as_deref(), Some(text.as_bytes()));
    }
    let long = "x".repeat(100_000);
    tap.pour(&long);
    tap.pour("last");
    tap.change(|basin| basin.ended = true);
    assert_eq!(lines.next_line().expect("it lives"), Some(long.into_bytes()));
    assert_eq!(lines.next_line().expect("it lives"), Some(b"last".to_vec()));
    assert_eq!(lines.next_line().expect("it lives"), None);
    server.stop();
}

#[test]
fn who_hangs_up_while_nothing_is_told_is_noticed() {
    let (_folder, server, client, taps) = served(Limits::default());
    let lines = client.stream(&events()).expect("it is granted");
    let tap = taps.recv_timeout(WATCHDOG).expect("it was asked for");
    assert!(tap.is_read());
    drop(lines);
    until("the feed is dropped", || !tap.is_read());
    server.stop();
}

#[test]
fn a_reader_that_rests_is_not_cut_off_and_nothing_is_asked_for_meanwhile() {
    let limits = Limits { patience: Duration::from_millis(50), ..Limits::default() };
    let (folder, server, client, taps) = served(limits);
    let mut lines = client.stream(&events()).expect("it is granted");
    let tap = taps.recv_timeout(WATCHDOG).expect("it was asked for");
    let line = "x".repeat(1000);
    for _ in 0..10_000 {
        tap.pour(&line);
    }
    // It fills what lies between, and stops asking; others are served, for longer than patience lasts.
    until("it begins", || tap.taken() > 0);
    let mut other = Client::connect(folder.path().join("socket")).expect("it listens");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        other.call::<Vec<i32>>(&Request::Ps).expect("others are served");
    }
    assert!(tap.taken() < 10_000, "all of it went into nothing");
    tap.change(|basin| basin.ended = true);
    let mut count = 0;
    while let Some(got) = lines.next_line().expect("it is still there") {
        assert_eq!(got.len(), 1000);
        count += 1;
    }
    assert_eq!(count, 10_000);
    server.stop();
}

#[test]
fn a_stream_that_breaks_off_is_not_taken_for_its_end() {
    let (_folder, server, client, taps) = served(Limits::default());
    let mut lines = client.stream(&events()).expect("it is granted");
    let tap = taps.recv_timeout(WATCHDOG).expect("it was asked for");
    tap.pour("one");
    assert_eq!(lines.next_line().expect("it lives"), Some(b"one".to_vec()));
    server.stop();
    assert!(matches!(lines.next_line(), Err(ClientError::Unreachable(_))));
}

#[test]
fn streams_count_among_those_who_wait_and_free_their_place() {
    let limits = Limits { waiting: 1, ..Limits::default() };
    let (folder, server, client, taps) = served(limits);
    let lines = client.stream(&events()).expect("it is granted");
    let tap = taps.recv_timeout(WATCHDOG).expect("it was asked for");
    let another = || Client::connect(folder.path().join("socket")).expect("it listens").stream(&events());
    let refused = another().expect_err("one is the most");
    assert!(matches!(refused, ClientError::Refused(error) if error.code == ErrorCode::WouldBlock));
    drop(lines);
    until("the feed is dropped", || !tap.is_read());
    another().expect("there is room again");
    server.stop();
}
