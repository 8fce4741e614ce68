//! Sockets that are opened for workers and kept while these are started again.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tests::{Sandbox, until, until_gone};

/// A port that nobody listens on. Somebody might before we do, but ports are given out in turn.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("there is one").local_addr().expect("it is bound").port()
}

fn server(address: &str, keys: &Value) -> Value {
    let mut worker =
        json!({ "command": ["probe", "serve"], "listen": [address], "backoff": { "initial": 0 } });
    for (key, value) in keys.as_object().expect("keys") {
        worker[key] = value.clone();
    }
    json!({ "workers": { "web": worker } })
}

/// What a server answers: its launch and its pid.
fn answer(mut connection: impl Read) -> (u64, i32) {
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("it answers");
    let (launch, pid) = text.trim().split_once(' ').expect("two numbers");
    (launch.parse().expect("a launch"), pid.parse().expect("a pid"))
}

fn at(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("somebody listens")
}

#[test]
fn a_connection_made_while_nobody_accepts_waits_for_the_next_launch() {
    let sandbox = Sandbox::new();
    let port = free_port();
    let mut run = sandbox.run(&server(&format!("tcp:127.0.0.1:{port}"), &json!({})));
    let first = answer(at(port));
    assert_eq!(first, (1, run.until_launch("web", 1)));
    until("it says what it got", || run.out().contains("listening on 1 named web").then_some(()));
    for round in 0..5 {
        let (_, pid) = answer(at(port));
        kill(process::Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
        until_gone(pid);
        // Whether the next one runs yet or not.
        let (launch, _) = answer(at(port));
        assert_eq!(launch, round + 2);
    }
    sandbox.supervisor(&["stop", "web"]).ends_with(0);
    // Stopped by request, it is still listened for: who connects now is answered when it is started.
    let waiting = at(port);
    sandbox.supervisor(&["start", "web"]).ends_with(0);
    assert_eq!(answer(waiting).0, 7);
    assert_eq!(run.stop(), 0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
}

#[test]
fn instances_share_the_sockets_of_their_worker() {
    let sandbox = Sandbox::new();
    let config = server("unix:web.sock", &json!({ "instances": 3 }));
    let mut run = sandbox.run(&config);
    let path = sandbox.path().join("web.sock");
    let mut seen = std::collections::BTreeSet::new();
    until("all three have answered", || {
        seen.insert(answer(UnixStream::connect(&path).expect("somebody listens")).1);
        (seen.len() == 3).then_some(())
    });
    assert_eq!(run.stop(), 0);
    assert!(!path.exists(), "the socket goes with the run");
}

#[test]
fn several_sockets_come_in_order_from_descriptor_3_on() {
    let sandbox = Sandbox::new();
    let (tcp, udp) = (free_port(), free_port());
    let config = json!({ "workers": { "w": {
        "command": "echo $LISTEN_FDS $LISTEN_FDNAMES > said; [ $LISTEN_PID = $$ ] && echo mine >> said; \
                    ls -l /proc/$$/fd | grep -c socket: >> said; sleep 1000",
        "listen": [format!("udp:127.0.0.1:{udp}"), format!("tcp:127.0.0.1:{tcp}"), "unix:s"],
    } } });
    let mut run = sandbox.run(&config);
    until("it has said all", || (sandbox.read("said").lines().count() == 3).then_some(()));
    assert_eq!(sandbox.read("said"), "3 w:w:w\nmine\n3\n");
    assert!(UdpSocket::bind(("127.0.0.1", udp)).is_err());
    assert!(TcpListener::bind(("127.0.0.1", tcp)).is_err());
    assert_eq!(run.stop(), 0);
}

#[test]
fn an_address_in_use_ends_the_start_and_names_worker_and_address() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is one");
    let address = format!("tcp:{}", taken.local_addr().expect("it is bound"));
    let mut config = server(&address, &json!({}));
    config["workers"]["first"] = json!({ "command": "touch started" });
    sandbox.write("config.json", config.to_string());
    let said = sandbox.supervisor(&["run", "config.json"]).ends_with(1);
    said.tells("worker web").tells(&address).tells("in use");
    assert!(!sandbox.has("started"), "nothing is launched");
}

#[test]
fn an_address_that_makes_no_sense_or_is_given_twice_is_a_problem_at_its_place() {
    let sandbox = Sandbox::new();
    let config = json!({ "workers": {
        "a": { "command": ["true"], "listen": ["tcp:8080", "http:localhost:1", "unix:"] },
        "b": { "command": ["true"], "listen": ["unix:/run/x.sock"] },
        "c": { "command": ["true"], "listen": ["unix:/run/x.sock"] },
    } });
    sandbox.write("config.json", config.to_string());
    let said = sandbox.supervisor(&["check", "config.json"]).ends_with(3);
    said.tells("workers.a.listen[0]").tells("workers.a.listen[1]").tells("workers.a.listen[2]");
    said.tells("workers.c.listen[0]").tells("\"b\" listens there already");
}

#[test]
fn a_socket_survives_a_killed_supervisor_with_who_serves_it() {
    let sandbox = Sandbox::new();
    let port = free_port();
    for address in [format!("tcp:127.0.0.1:{port}"), "unix:web.sock".to_owned()] {
        let config = server(&address, &json!({}));
        let connect = || -> Box<dyn Read> {
            match address.starts_with("tcp") {
                true => Box::new(at(port)),
                false => Box::new(UnixStream::connect(sandbox.path().join("web.sock")).expect("it is there")),
            }
        };
        let run = sandbox.run(&config);
        let first = answer(connect());
        run.kill_9();
        assert_eq!(answer(connect()), first, "it serves without a supervisor");
        let mut next = sandbox.run(&config);
        assert_eq!(answer(connect()), first, "the same process serves on");
        sandbox.supervisor(&["restart", "web"]).ends_with(0);
        assert_ne!(answer(connect()).1, first.1, "its successor listens on the same socket");
        assert_eq!(next.stop(), 0);
        assert!(!Path::new(&sandbox.path().join("web.sock")).exists());
    }
}

#[test]
fn a_port_for_root_is_refused_to_others_before_anything_starts() {
    let sandbox = Sandbox::new();
    std::fs::set_permissions(sandbox.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let config =
        json!({ "workers": { "w": { "command": "touch started", "listen": ["tcp:127.0.0.1:81"] } } });
    sandbox.write("config.json", config.to_string());
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse::<u16>().is_ok_and(|first| first <= 81) {
        return tests::skipped("this machine lets everybody listen at port 81");
    }
    for verb in ["check", "run"] {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]);
        if tests::is_root() {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        command.arg(tests::program("supervisor")).args([verb, "config.json"]).current_dir(sandbox.path());
        command.env("SUPERVISOR_RUNTIME_DIR", sandbox.path().join("others"));
        let said = tests::Said::of(&mut command).ends_with(3);
        said.tells("workers.w.listen[0] (1:").tells("only root may listen at ports below");
    }
    assert!(!sandbox.has("started"));
}
