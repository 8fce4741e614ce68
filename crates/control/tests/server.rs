//! The server on a real socket, with clients that behave and clients that do not.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control::api::{ApiError, ErrorCode, Exit, Request, Status, Waited, Who};
use control::{Call, Client, ClientError, Limits, Reply, Server, Uids};
use tempfile::TempDir;

/// Longer than anything here takes on the slowest machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A server that answers `status` at once and hands everything else to the test.
struct World {
    _folder: TempDir,
    socket: PathBuf,
    server: Option<Server>,
    calls: Receiver<Call>,
}

impl World {
    fn new() -> World {
        World::with(Uids::own(), Limits::default())
    }

    fn with(allowed: Uids, limits: Limits) -> World {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (sink, calls): (Sender<Call>, _) = channel();
        let server = Server::start_with(listener, allowed, limits, move |call| match call.request {
            Request::Status { workers } => call.reply.ok(&status(&workers.join(","))),
            // A test that is over has dropped its end.
            _ => drop(sink.send(call)),
        });
        World { _folder: folder, socket, server: Some(server.expect("a server")), calls }
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(&self.socket).expect("it listens");
        client.set_timeout(Some(WATCHDOG));
        client
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(WATCHDOG)).expect("a socket");
        stream.set_write_timeout(Some(WATCHDOG)).expect("a socket");
        stream
    }

    /// Sends raw bytes, and reads what comes back until the server hangs up.
    fn converse(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes);
        until_the_end(&mut stream)
    }

    /// Asks to wait for the process `pid`, on a thread of its own.
    fn asks(&self, pid: i32) -> JoinHandle<Result<Waited, ClientError>> {
        let mut client = self.client();
        thread::spawn(move || client.call(&wait_for(pid)))
    }

    fn next_call(&self) -> Call {
        self.calls.recv_timeout(WATCHDOG).expect("a call comes")
    }

    fn stop(&mut self) {
        self.server.take().expect("it runs").stop();
    }

    fn is_well(&self) {
        let status = self.client().call::<Status>(&Request::Status { workers: vec![] });
        assert_eq!(status.expect("it still answers").pid, 7);
    }
}

fn status(name: &str) -> Status {
    Status { name: name.to_owned(), pid: 7, config: None, workers: vec![], config_newer: false }
}

fn until_the_end(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // What was sent and not read makes the kernel reset the connection.
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).expect("answers are text"),
    }
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn wait_for(pid: i32) -> Request {
    Request::Wait { whom: Who::Pid(pid), timeout_ms: None }
}

#[test]
fn a_connection_carries_one_request_after_another() {
    let world = World::new();
    let mut client = world.client();
    for name in ["a", "b:0"] {
        let status: Status =
            client.call(&Request::Status { workers: vec![name.to_owned()] }).expect("an answer");
        assert_eq!(status.name, name);
    }
    thread::scope(|scope| {
        let asked = scope.spawn(move || client.call::<()>(&Request::QueueClose { queue: "jobs".into() }));
        let call = world.next_call();
        assert_eq!(call.request, Request::QueueClose { queue: "jobs".into() });
        assert_eq!(
            (call.peer.pid, call.peer.uid),
            (std::process::id() as i32, nix::unistd::geteuid().as_raw())
        );
        call.reply.ok(&());
        asked.join().expect("no panic").expect("granted");
    });
}

#[test]
fn a_refusal_carries_its_reason_and_its_hint() {
    let world = World::new();
    let error = ApiError::new(ErrorCode::NotFound, "no worker \"x\"").hint("did you mean \"y\"?");
    let asked = world.asks(3);
    world.next_call().reply.refuse(error.clone());
    match asked.join().expect("no panic") {
        Err(ClientError::Refused(refused)) => assert_eq!(refused, error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_that_is_dropped_says_that_nobody_runs() {
    let world = World::new();
    let asked = world.asks(3);
    drop(world.next_call().reply);
    let refused = asked.join().expect("no panic");
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::NotRunning));
}

#[test]
fn a_user_who_is_not_allowed_is_refused() {
    let world = World::with(Uids::of([4_000_000_000]), Limits::default());
    let refused = world.client().call::<Status>(&Request::Status { workers: vec![] });
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::Refused));
}

#[test]
fn who_waits_keeps_nobody_else_from_being_served() {
    let limits = Limits { connections: 4, ..Limits::default() };
    let world = World::with(Uids::own(), limits);
    let asked: Vec<_> = (0..20).map(|pid| world.asks(pid + 1)).collect();
    let replies: Vec<Call> = (0..20).map(|_| world.next_call()).collect();
    world.is_well();
    for call in replies {
        let Request::Wait { whom: Who::Pid(pid), .. } = call.request else { panic!("{:?}", call.request) };
        call.reply.ok(&Waited { exit: Some(Exit::Code(pid)), state: None });
    }
    for (index, asked) in asked.into_iter().enumerate() {
        let waited = asked.join().expect("no panic").expect("an answer");
        assert_eq!(waited.exit, Some(Exit::Code(index as i32 + 1)));
    }
}

#[test]
fn more_waiting_than_allowed_is_refused_not_queued() {
    let world = World::with(Uids::own(), Limits { waiting: 1, ..Limits::default() });
    let first = world.asks(1);
    let held = world.next_call();
    let second = world.client().call::<Waited>(&wait_for(2));
    assert!(matches!(second, Err(ClientError::Refused(error)) if error.code == ErrorCode::WouldBlock));
    held.reply.ok(&Waited { exit: None, state: None });
    first.join().expect("no panic").expect("an answer");
}

#[test]
fn a_client_that_hangs_up_while_it_waits_abandons_its_reply() {
    let world = World::new();
    let mut stream = world.raw();
    stream
        .write_all(b"POST /v1/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{\"whom\":{\"pid\":5}}")
        .expect("sent");
    let reply: Reply = world.next_call().reply;
    assert!(!reply.is_abandoned());
    drop(stream);
    wait_until("the reply is abandoned", || reply.is_abandoned());
    reply.ok(&());
    world.is_well();
}

#[test]
fn a_server_that_stops_answers_who_waits_and_gives_out_what_was_replied() {
    let mut world = World::new();
    let granted = Waited { exit: Some(Exit::Signal(9)), state: Some("failed".into()) };
    let mut idle = world.raw();
    let answered = world.asks(1);
    let reply = world.next_call().reply;
    let waiting = world.asks(2);
    let held = world.next_call().reply;
    reply.ok(&granted);
    world.stop();
    assert_eq!(answered.join().expect("no panic").expect("it was replied"), granted);
    let refused = waiting.join().expect("no panic");
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::NotRunning));
    assert!(held.is_abandoned());
    assert_eq!(until_the_end(&mut idle), "");
    assert!(matches!(Client::connect(&world.socket), Err(ClientError::Unreachable(_))));
}

#[test]
fn a_presence_ends_with_its_supervisor() {
    let mut world = World::new();
    let client = world.client();
    let (done, ended) = channel();
    let watcher = thread::spawn(move || {
        client.outlast();
        done.send(()).expect("the test waits");
    });
    world.is_well();
    assert!(ended.try_recv().is_err());
    world.stop();
    ended.recv_timeout(WATCHDOG).expect("it learns of the end");
    watcher.join().expect("no panic");
}

#[test]
fn a_presence_is_not_over_because_too_many_wait() {
    let mut world = World::with(Uids::own(), Limits { waiting: 1, ..Limits::default() });
    let asked = world.asks(1);
    let held = world.next_call();
    let (done, ended) = channel();
    let watcher = thread::spawn({
        let client = world.client();
        move || {
            client.outlast();
            done.send(()).expect("the test waits");
        }
    });
    // As much as the refusal takes, and more.
    assert!(ended.recv_timeout(Duration::from_millis(300)).is_err());
    held.reply.ok(&Waited { exit: None, state: None });
    asked.join().expect("no panic").expect("an answer");
    world.stop();
    ended.recv_timeout(WATCHDOG).expect("it learns of the end");
    watcher.join().expect("no panic");
}

#[test]
fn three_hundred_connections_at_once_are_all_answered() {
    let world = World::with(Uids::own(), Limits { connections: 64, ..Limits::default() });
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = world.raw();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        streams.push(stream);
    }
    for mut stream in streams.into_iter().rev() {
        assert!(until_the_end(&mut stream).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let world = World::new();
    let answers = world.converse(
        b"GET /v1/status?worker=one HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/nothing HTTP/1.1\r\nHost: b\r\n\r\n\
          GET /v1/status?worker=two HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n",
    );
    let places: Vec<_> =
        ["\"one\"", "HTTP/1.1 404", "\"two\""].iter().map(|part| answers.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{answers}");
}

#[test]
fn who_expects_to_be_told_to_continue_is_told() {
    let world = World::new();
    let mut stream = world.raw();
    let head = "POST /v1/shutdown HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 12\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut told = [0; 12];
    stream.read_exact(&mut told).expect("an answer to the head");
    assert_eq!(&told, b"HTTP/1.1 100");
    stream.write_all(b"{\"now\":true}").expect("sent");
    let call = world.next_call();
    assert_eq!(call.request, Request::Shutdown { now: true });
    call.reply.ok(&());
    assert!(until_the_end(&mut stream).contains("HTTP/1.1 200 OK"));
}

#[test]
fn wrong_paths_methods_and_bodies_are_refused_in_json() {
    let world = World::new();
    let one = |request: &str| world.converse(format!("{request}\r\n").as_bytes());
    let answer = one("GET /v1/nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("{\"error\":{\"code\":\"not_found\""),
        "{answer}"
    );
    let answer = one("GET /v1/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.to_ascii_lowercase().contains("allow: post"),
        "{answer}"
    );
    let answer = one("POST /v1/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"usage\""), "{answer}");
    let answer = one("HEAD /v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = one("GET /v1/openapi.json HTTP/1.1\r\nConnection: close\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"openapi\":\"3.1.0\""), "{answer}");
}

#[test]
fn what_is_too_long_is_refused() {
    let world = World::new();
    let answer =
        world.converse(format!("GET /v1/status?worker={} HTTP/1.1\r\n\r\n", "a".repeat(20_000)).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let answer = world.converse(b"POST /v1/tell HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"usage\""), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 600_000, " ".repeat(600_000));
    let chunked = format!(
        "POST /v1/tell HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let answer = world.converse(chunked.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    world.is_well();
}

#[test]
fn garbage_harms_nobody() {
    let world = World::new();
    let mut seed: u64 = 0x9E37_79B9_7F4A_7C15;
    for round in 0..100 {
        let mut bytes: Vec<u8> = (0..200)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as u8
            })
            .collect();
        if round % 2 == 0 {
            bytes.splice(0..0, *b"POST /v1/kill HTTP/1.1\r\nContent-Length: 100\r\n\r\n");
        }
        let mut stream = world.raw();
        let _ = stream.write_all(&bytes);
        if round % 3 == 0 {
            drop(stream);
        } else {
            // Half a request stays open at our side; the server must not wait for more of it.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            until_the_end(&mut stream);
        }
    }
    assert!(world.calls.try_recv().is_err(), "no garbage is a request");
    world.is_well();
}

#[test]
fn who_sends_too_slowly_or_idles_is_dropped() {
    let world =
        World::with(Uids::own(), Limits { patience: Duration::from_millis(500), ..Limits::default() });
    let idle = world.raw();
    let mut half_a_head = world.raw();
    half_a_head.write_all(b"GET /v1/sta").expect("sent");
    let mut half_a_body = world.raw();
    half_a_body
        .write_all(b"POST /v1/tell HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n\"rea")
        .expect("sent");
    for mut dropped in [idle, half_a_head] {
        let farewell = until_the_end(&mut dropped);
        assert!(farewell.is_empty() || farewell.starts_with("HTTP/1.1 408"), "{farewell}");
    }
    assert!(until_the_end(&mut half_a_body).starts_with("HTTP/1.1 408"));
    // Waiting for an answer is not slowness.
    let asked = world.asks(1);
    let call = world.next_call();
    assert_eq!(until_the_end(&mut world.raw()), "");
    call.reply.ok(&Waited { exit: None, state: None });
    asked.join().expect("no panic").expect("an answer");
}

#[test]
fn who_does_not_read_its_answers_is_dropped() {
    let limits = Limits { patience: Duration::from_millis(500), connections: 1, ..Limits::default() };
    let world = World::with(Uids::own(), limits);
    let mut deaf = world.raw();
    // More than the kernel holds between two ends that neither reads.
    let request = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    while deaf.write_all(&request).is_ok() {}
    // The only seat is free again, though our end is still open.
    world.is_well();
    drop(deaf);
}

#[test]
fn a_kept_connection_that_the_server_closed_is_made_anew() {
    let world =
        World::with(Uids::own(), Limits { patience: Duration::from_millis(500), ..Limits::default() });
    let mut client = world.client();
    let ask = |client: &mut Client| client.call::<Status>(&Request::Status { workers: vec![] });
    ask(&mut client).expect("an answer");
    // A connection that idles as long as the client's is dropped after it.
    assert_eq!(until_the_end(&mut world.raw()), "");
    ask(&mut client).expect("an answer over another connection");
}

/// What a server that is not ours may say.
fn canned(answers: &'static [&'static [u8]]) -> Result<serde_json::Value, ClientError> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).expect("a request") > 0);
        for piece in answers {
            stream.write_all(piece).expect("the client reads");
        }
    });
    let mut client = Client::connect(&socket).expect("it listens");
    client.set_timeout(Some(WATCHDOG));
    let answer = client.call(&Request::Ps);
    server.join().expect("no panic");
    answer
}

#[test]
fn the_client_reads_every_framing_of_http() {
    let whole: &[&[&[u8]]] = &[
        &[b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]"],
        &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-", b"length: 3\r\n\r\n[", b"1]"],
        &[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n[1\r",
            b"\n1\r\n]\r\n0\r\nA: b\r\n\r\n",
        ],
        &[b"HTTP/1.0 200 OK\r\n\r\n[", b"1]"],
    ];
    for answer in whole {
        assert_eq!(canned(answer).expect("well-formed"), serde_json::json!([1]), "{answer:?}");
    }
}

#[test]
fn the_client_tells_a_dead_supervisor_from_one_that_talks_nonsense() {
    let dead: &[&[&[u8]]] =
        &[&[], &[b"HTTP/1.1 200 OK\r\nContent-Le"], &[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1]"]];
    for answer in dead {
        assert!(matches!(canned(answer), Err(ClientError::Unreachable(_))), "{answer:?}");
    }
    let nonsense: &[&[&[u8]]] = &[
        &[b"SSH-2.0-x\r\n\r\n"],
        &[b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"],
        &[b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"],
        &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        &[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n["],
        &[b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"],
    ];
    for answer in nonsense {
        assert!(matches!(canned(answer), Err(ClientError::Broken(_))), "{answer:?}");
    }
}

#[test]
fn a_call_gives_up_after_its_timeout() {
    let world = World::new();
    let mut client = world.client();
    client.set_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(client.call::<Waited>(&wait_for(1)), Err(ClientError::TimedOut)));
    let call = world.next_call();
    drop(client);
    wait_until("the reply is abandoned", || call.reply.is_abandoned());
}
