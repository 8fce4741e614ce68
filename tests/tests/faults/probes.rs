//! Probes that hang: an address that never comes to accept, somebody who takes the connection and never answers, or
//! never to the end, a program that never ends and has started others.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, until};

use crate::{lasting, run_of};

/// An address at which connections stay half open: its queue is full, and who comes now is not even refused.
struct Full {
    address: SocketAddr,
    _listener: OwnedFd,
    _queue: Vec<TcpStream>,
}

impl Full {
    fn make() -> Full {
        let listener =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let any = SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        bind(listener.as_raw_fd(), &any).expect("some port is free");
        listen(&listener, Backlog::new(1).expect("not too many")).expect("it can listen");
        let port = getsockname::<SockaddrIn>(listener.as_raw_fd()).expect("it has an address").port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut queue = Vec::new();
        loop {
            assert!(queue.len() < 100, "its queue never fills");
            match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                Ok(stream) => queue.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => panic!("it refuses: {error}"),
            }
        }
        Full { address, _listener: listener, _queue: queue }
    }
}

/// Somebody who takes every connection, reads what is asked, and says a byte of an answer from time to time, or nothing.
struct Slow {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    fn saying(said: &'static [u8]) -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let address = listener.local_addr().expect("it has an address");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut callers: Vec<(TcpStream, usize)> = Vec::new();
            listener.set_nonblocking(true).expect("it can be set");
            while !is_over.load(Ordering::SeqCst) {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).expect("it can be set");
                    callers.push((stream, 0));
                }
                callers.retain_mut(|(stream, at)| {
                    // The last byte again and again: there is no end to it.
                    if let Some(byte) = said.get(*at).or(said.last()) {
                        *at += usize::from(stream.write(&[*byte]).is_ok());
                    }
                    !matches!(stream.read(&mut [0; 1024]), Ok(0))
                });
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Slow { address, over, thread: Some(thread) }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().expect("joined once").join();
    }
}

/// Everybody who never answers a probe, each in a way of its own.
struct Hanging {
    full: Full,
    silent: TcpListener,
    mute: Slow,
    dripping: Slow,
    endless: Slow,
}

impl Hanging {
    fn make() -> Hanging {
        Hanging {
            full: Full::make(),
            silent: TcpListener::bind("127.0.0.1:0").expect("some port is free"),
            mute: Slow::saying(b""),
            dripping: Slow::saying(b"HTTP/1.1 200 OK\r\nX-Long: and so on "),
            endless: Slow::saying(b"H"),
        }
    }

    /// The probes, and the processes that one of them has: each writes its number to `probe`.
    fn probes(&self) -> Vec<Value> {
        let silent = self.silent.local_addr().expect("it has an address");
        let tree = "echo $$ >> probe; (setsid sh -c 'echo $$ >> probe; exec sleep 100000' &); \
                    sleep 100000 & echo $! >> probe; trap '' TERM; while :; do sleep 1000; done";
        vec![
            json!({ "tcp": self.full.address.to_string() }),
            json!({ "http": format!("http://{}/", self.full.address) }),
            json!({ "http": format!("http://{silent}/") }),
            json!({ "http": format!("http://{}/", self.mute.address) }),
            json!({ "http": format!("http://{}/", self.dripping.address) }),
            json!({ "http": format!("http://{}/", self.endless.address) }),
            json!({ "command": ["sh", "-c", tree] }),
        ]
    }
}

/// The reasons for which `watched` came to a state, as the run's history tells them.
fn reasons(sandbox: &Sandbox, state: &str) -> Vec<String> {
    let events = sandbox.supervisor(&["events", "--json"]).ends_with(0).out;
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON each"));
    events
        .filter(|event| event["worker"] == "watched" && event["to"] == state)
        .map(|event| event["why"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The processes of a program that probes have been killed, all of a tree.
fn no_probe_is_left_of(sandbox: &Sandbox, probe: &Value) {
    if probe["command"].is_null() {
        return;
    }
    let all = sandbox.read("probe");
    let pids: Vec<i32> = all.lines().map(|pid| pid.parse().expect("a pid a line")).collect();
    assert!(pids.len() >= 3, "{all}");
    until("every process of the probes is gone", || (!pids.iter().any(|pid| lives(*pid))).then_some(()));
}

/// Two deaths of another worker are answered, whatever hangs.
fn others_are_looked_after(run: &Run) {
    for launch in 1..=2 {
        tests::kill_9(run.until_launch("other", launch));
    }
    run.until_launch("other", 3);
}

#[test]
fn a_health_probe_that_hangs_is_a_failed_one_and_holds_up_nobody_else() {
    let hanging = Hanging::make();
    for probe in hanging.probes() {
        let sandbox = Sandbox::new();
        let mut watched = lasting();
        watched["health"] = probe.clone();
        watched["health"]["every"] = json!("50ms");
        watched["health"]["timeout"] = json!("300ms");
        watched["health"]["failures"] = json!(2);
        let mut run = sandbox.run(&run_of(&json!({ "watched": watched, "other": lasting() })));
        others_are_looked_after(&run);
        run.until_launch("watched", 3);
        sandbox.supervisor(&["stop", "watched"]).ends_with(0);
        let stopped = reasons(&sandbox, "stopping");
        let expected = "unhealthy: 2 probes in a row failed; last: ";
        assert!(stopped.len() >= 2, "{probe}: {stopped:?}");
        for reason in &stopped[..2] {
            assert!(
                reason.starts_with(expected) && reason.contains("no answer within 300ms"),
                "{probe}: {reason}"
            );
        }
        no_probe_is_left_of(&sandbox, &probe);
        assert_eq!(run.stop(), 0, "{probe}: {}", run.err());
    }
}

#[test]
fn a_readiness_probe_that_hangs_ends_with_the_time_to_get_ready_and_the_worker_is_started_again() {
    let hanging = Hanging::make();
    for probe in hanging.probes() {
        let sandbox = Sandbox::new();
        let mut watched = lasting();
        watched["ready"] = probe.clone();
        watched["ready_timeout"] = json!("700ms");
        watched["restart"] = json!("on-failure");
        watched["intensity"] = json!({ "restarts": 1, "within": "1h" });
        let mut run = sandbox.run(&run_of(&json!({ "watched": watched, "other": lasting() })));
        others_are_looked_after(&run);
        let row = run.until_state("watched", "failed");
        assert_eq!((row.launch, row.restarts), (Some(2), 1), "{probe}: {row:?}");
        let stopped = reasons(&sandbox, "stopping");
        assert_eq!(stopped.len(), 2, "{probe}: {stopped:?}");
        for reason in &stopped {
            assert!(reason.starts_with("not ready within 700ms"), "{probe}: {reason}");
        }
        no_probe_is_left_of(&sandbox, &probe);
        until("nothing of it is left", || run.pids_of("watched").is_empty().then_some(()));
        run.stop();
    }
}
