//! A worker that the tests tell what to do; what it says on standard output, the tests read.
#![forbid(unsafe_code)]

mod sync;

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use control::Client;
use control::api::{Join, Request};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, pause};
use worker::{GetError, Me, PutError, UnlessClosed};

type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["blocked", command @ ..] => blocked(command),
        ["nursery", command @ ..] => nursery(command),
        ["notify", message] => notify(message),
        ["tell", lines @ ..] => tell(&lines.join("\n")),
        ["barrier"] => barrier(),
        ["heartbeat", every_ms] => heartbeat(every_ms),
        ["notify-and-end", message] => say_to_notify_socket(message),
        ["alone"] => alone(),
        ["ready"] => ready(),
        ["status", text] => status(text),
        ["who"] => who(),
        ["until-asked"] => until_asked(),
        ["hold", queue] => hold(queue),
        ["lease", queue] => lease(queue),
        ["put", queue, count, prefix] => put(queue, count, prefix),
        ["put-sizes", queue] => put_sizes(queue),
        ["get-sizes", queue] => get_sizes(queue),
        ["get-all", queue] => get_all(queue),
        ["give-back", queue] => give_back(queue),
        ["bounds", queue] => bounds(queue),
        ["never-read"] => never_read(),
        ["hang-up"] => hang_up(),
        ["die-while-joining"] => die_while_joining(),
        ["join-as-nobody"] => join_as_nobody(),
        ["drip"] => drip(),
        ["ask", method, path, body] => ask(method, path, body),
        ["ask", method, path] => ask(method, path, ""),
        ["knock", path] => knock(path),
        ["serve"] => serve(),
        ["hold-lock", name] => sync::hold_lock(name),
        ["wait-lock", name] => sync::wait_lock(name),
        ["cross", own, other, barrier] => sync::cross(own, other, barrier),
        ["all-kinds"] => sync::all_kinds(),
        ["tally", lock, array] => sync::tally(lock, array),
        ["poll-lines"] => poll_lines(),
        other => Err(format!("what is {other:?}?").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn for_ever() -> ! {
    loop {
        pause();
    }
}

/// Answers every connection to the socket that it was handed with its launch and its pid.
fn serve() -> Done {
    let told = |name: &str| std::env::var(name).unwrap_or_default();
    if told("LISTEN_PID") != std::process::id().to_string() {
        return Err(
            format!("LISTEN_PID is {:?}, and this is {}", told("LISTEN_PID"), std::process::id()).into()
        );
    }
    say(&format!("listening on {} named {}", told("LISTEN_FDS"), told("LISTEN_FDNAMES")))?;
    loop {
        let connection = nix::sys::socket::accept(3)?;
        let answer = format!("{} {}\n", told("SUPERVISOR_LAUNCH"), std::process::id());
        nix::sys::socket::send(connection, answer.as_bytes(), nix::sys::socket::MsgFlags::MSG_NOSIGNAL)?;
        nix::unistd::close(connection)?;
    }
}

/// Executes a command with every signal blocked that can be.
fn blocked(command: &[&str]) -> Done {
    SigSet::all().thread_block()?;
    let argv: Vec<CString> = command.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
    nix::unistd::execvp(argv.first().ok_or("no command")?, &argv)?;
    Ok(())
}

/// Says every line of standard input, for each of which it waits as programs do that wait for several things at once.
fn poll_lines() -> Done {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let input = std::io::stdin();
    let mut line = Vec::new();
    loop {
        poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        let mut piece = [0; 4096];
        let count = nix::unistd::read(&input, &mut piece)?;
        if count == 0 {
            return Ok(());
        }
        line.extend_from_slice(&piece[..count]);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            say(&String::from_utf8_lossy(&line[..end]))?;
            line.drain(..=end);
        }
    }
}

/// Runs a command, adopts what it leaves behind, and reaps everything until nothing is left.
fn nursery(command: &[&str]) -> Done {
    nix::sys::prctl::set_child_subreaper(true)?;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    // Reaped below, with all the others.
    let _child = Command::new(program).args(arguments).spawn()?;
    while nix::sys::wait::wait().is_ok() {}
    Ok(())
}

/// Says this to the notification socket, then lives on.
fn notify(message: &str) -> Done {
    say_to_notify_socket(message)?;
    for_ever()
}

fn say_to_notify_socket(message: &str) -> Done {
    let socket = std::env::var_os("NOTIFY_SOCKET").ok_or("NOTIFY_SOCKET is not set")?;
    UnixDatagram::unbound()?.send_to(message.as_bytes(), socket)?;
    Ok(())
}

/// Holds the lock of its instance for as long as it lives; if another copy has it, writes that down. Has a child, and
/// one that leads a session of its own and has lost its parent.
fn alone() -> Done {
    let var = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let name = format!("{}.{}", var("SUPERVISOR_WORKER")?, var("SUPERVISOR_INSTANCE")?);
    let file = File::options().create(true).append(true).open(format!("lock.{name}"))?;
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    if held.is_err() {
        let mut doubled = File::options().create(true).append(true).open("doubled")?;
        doubled.write_all(format!("{name} as pid {}\n", std::process::id()).as_bytes())?;
    }
    // Not waited for, on purpose.
    let _child = Command::new("sleep").arg("100000").spawn()?;
    Command::new("sh").args(["-c", "setsid sleep 100000 &"]).status()?;
    for_ever()
}

/// Says these lines to the notification socket, and is gone.
fn tell(lines: &str) -> Done {
    let socket = std::env::var_os("NOTIFY_SOCKET").ok_or("NOTIFY_SOCKET is not set")?;
    UnixDatagram::unbound()?.send_to(lines.as_bytes(), socket)?;
    Ok(())
}

/// Sends a barrier, and ends once all before it was taken in.
fn barrier() -> Done {
    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
    use std::os::fd::AsRawFd;
    let socket = std::env::var_os("NOTIFY_SOCKET").ok_or("NOTIFY_SOCKET is not set")?;
    let (mut passed, barrier) = std::io::pipe()?;
    let fds = [barrier.as_raw_fd()];
    let to = UnixAddr::new(std::path::Path::new(&socket))?;
    let text = [std::io::IoSlice::new(b"BARRIER=1")];
    let from = UnixDatagram::unbound()?;
    sendmsg(from.as_raw_fd(), &text, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), Some(&to))?;
    drop(barrier);
    // At its end when everybody has closed it.
    passed.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Gives a sign of life through the SDK, again and again.
fn heartbeat(every_ms: &str) -> Done {
    let me = worker::join()?;
    let every = Duration::from_millis(every_ms.parse()?);
    loop {
        me.heartbeat()?;
        std::thread::sleep(every);
    }
}

/// Says through the SDK that it is ready once the file `go` is there, then lives on.
fn ready() -> Done {
    let me = worker::join()?;
    while !std::path::Path::new("go").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    me.ready()?;
    for_ever()
}

fn status(text: &str) -> Done {
    let me = worker::join()?;
    me.status(text)?;
    me.heartbeat()?;
    for_ever()
}

fn who() -> Done {
    let me: Me = worker::join()?;
    let told = serde_json::json!({
        "run": me.run(), "worker": me.name(), "instance": me.instance(), "launch": me.launch(),
        "pid": me.pid(), "ppid": me.ppid(), "supervisor": me.supervisor(),
        "args": me.args::<serde_json::Value>()?, "kwargs": me.kwargs::<serde_json::Value>()?,
    });
    say(&told.to_string())
}

/// Lives until it is asked to stop, and exits with 0 then.
fn until_asked() -> Done {
    let me = worker::join()?;
    while !me.stop_requested() {
        say("not asked yet")?;
        std::thread::sleep(Duration::from_millis(5));
    }
    say("asked to stop")
}

fn hold(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    say(&format!("holds {} of {:?}", queue.len(), queue.capacity()))?;
    for_ever()
}

/// Leases a message, tells of it, and keeps it.
fn lease(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    let lease = queue.lease()?;
    say(&format!(
        "leased {} time {} of {}",
        String::from_utf8_lossy(&lease),
        lease.deliveries(),
        lease.id()
    ))?;
    for_ever()
}

fn put(queue: &str, count: &str, prefix: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    for number in 0..count.parse::<u64>()? {
        queue.put(format!("{prefix}{number}").as_bytes())?;
    }
    Ok(())
}

/// Lengths at the edges of what a queue carries.
const SIZES: [usize; 7] = [0, 1, 63, 64, 4096, 1_000_003, 16 << 20];

/// Bytes of all values, different for every length.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31 + at / 251 + length) % 256) as u8).collect()
}

fn put_sizes(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    for size in SIZES {
        queue.put(&pattern(size))?;
    }
    match queue.put(&vec![0; (16 << 20) + 1]) {
        Err(PutError::TooLarge { length, limit }) if (length, limit) == ((16 << 20) + 1, 16 << 20) => Ok(()),
        other => Err(format!("a byte too many: {other:?}").into()),
    }
}

fn get_sizes(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    for size in SIZES {
        let message = queue.get()?;
        if message != pattern(size) {
            return Err(format!("{} bytes came where {size} were put", message.len()).into());
        }
    }
    match queue.get() {
        Err(GetError::Closed) => say("all as they were put"),
        other => Err(format!("after the last: {other:?}").into()),
    }
}

/// Gets with plain `get`, and tells of every message.
fn get_all(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    while let Some(message) = queue.get().unless_closed()? {
        say(&format!("got {}", String::from_utf8_lossy(&message)))?;
    }
    Ok(())
}

/// Leases every message and gives it back, until the queue is closed and drained.
fn give_back(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue_bytes(queue)?;
    while let Some(lease) = queue.lease().unless_closed()? {
        say(&format!("time {} of {}", lease.deliveries(), String::from_utf8_lossy(&lease)))?;
        lease.nack();
    }
    Ok(())
}

/// Walks a queue of capacity 2 through every refusal.
fn bounds(queue: &str) -> Done {
    let me = worker::join()?;
    let queue = me.queue::<String>(queue)?;
    let check = |what: &str, holds: bool| if holds { Ok(()) } else { Err(format!("broken: {what}")) };
    let little = Duration::from_millis(30);
    check("a new queue is empty", queue.is_empty() && !queue.is_full())?;
    check("its capacity is the config's", queue.capacity() == Some(2))?;
    check("try_get of an empty one", matches!(queue.try_get(), Err(GetError::Empty)))?;
    let start = Instant::now();
    check("get_timeout of an empty one", matches!(queue.get_timeout(little), Err(GetError::Timeout)))?;
    check("get_timeout waits that long", start.elapsed() >= little)?;
    queue.try_put(&"one".to_owned())?;
    queue.put_timeout(&"two".to_owned(), little)?;
    check("it is full", queue.is_full() && queue.len() == 2 && !queue.is_empty())?;
    check("try_put of a full one", matches!(queue.try_put(&"three".to_owned()), Err(PutError::Full)))?;
    let start = Instant::now();
    check(
        "put_timeout of a full one",
        matches!(queue.put_timeout(&"three".to_owned(), little), Err(PutError::Timeout)),
    )?;
    check("put_timeout waits that long", start.elapsed() >= little)?;
    let one = queue.lease()?;
    check("the first comes first, for the first time", *one == "one" && one.deliveries() == 1)?;
    one.ack();
    queue.close();
    check("put into a closed one", matches!(queue.put(&"four".to_owned()), Err(PutError::Closed)))?;
    check("try_put into a closed one", matches!(queue.try_put(&"four".to_owned()), Err(PutError::Closed)))?;
    check("what is left can be taken", queue.get()? == "two")?;
    check("then it is closed", matches!(queue.get(), Err(GetError::Closed)))?;
    check("closed, not empty", matches!(queue.try_get(), Err(GetError::Closed)))?;
    say("all as promised")
}

fn connect() -> Result<UnixStream, Box<dyn Error>> {
    let socket = std::env::var_os("SUPERVISOR_SOCKET").ok_or("SUPERVISOR_SOCKET is not set")?;
    Ok(UnixStream::connect(socket)?)
}

/// Asks over the control socket as any program can, and says the HTTP status and the answer in one line.
fn ask(method: &str, path: &str, body: &str) -> Done {
    let mut stream = connect()?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: supervisor\r\nConnection: close\r\n");
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{length}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).ok_or("no status")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    say(&format!("{status} {}", body.replace('\n', " ")))
}

/// Says what becomes of a connection to a socket.
fn knock(path: &str) -> Done {
    match UnixStream::connect(path) {
        Ok(_) => say("let in"),
        Err(error) => say(&format!("{:?}", error.kind())),
    }
}

/// Asks again and again and never reads an answer.
fn never_read() -> Done {
    let mut stream = connect()?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    say("asks")?;
    // It ends when nobody takes any more of it.
    while stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: supervisor\r\n\r\n").is_ok() {}
    say("asked enough")?;
    for_ever()
}

/// Says half a request and hangs up; asks for what takes long and hangs up.
fn hang_up() -> Done {
    for _ in 0..20 {
        connect()?
            .write_all(b"POST /v1/join HTTP/1.1\r\nHost: supervisor\r\nContent-Length: 1000\r\n\r\n{\"ser")?;
        let body = "{\"whom\": {\"worker\": \"bystander\"}}";
        let head =
            format!("POST /v1/wait HTTP/1.1\r\nHost: supervisor\r\nContent-Length: {}\r\n\r\n", body.len());
        connect()?.write_all(format!("{head}{body}").as_bytes())?;
    }
    say("hung up")?;
    for_ever()
}

fn join_with(server: String) -> Request {
    Request::Join(Join { server, nonce: "0".repeat(32), abi: worker::wire::ABI })
}

/// Asks to be met, and is dead when the supervisor comes.
fn die_while_joining() -> Done {
    say("about to join")?;
    let socket = std::env::var_os("SUPERVISOR_SOCKET").ok_or("SUPERVISOR_SOCKET is not set")?;
    let folder = std::env::current_dir()?.join("meeting");
    // Somebody who listens and never accepts.
    let _listener = std::os::unix::net::UnixListener::bind(&folder);
    let mut client = Client::connect(std::path::Path::new(&socket))?;
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(3));
        let _ = kill(Pid::this(), Signal::SIGKILL);
    });
    // Whatever the answer is, and whether there is one: it ends by the signal.
    let _ = client.call::<serde_json::Value>(&join_with(folder.display().to_string()));
    for_ever()
}

/// Asks to be met where nobody is, and tells what the supervisor says to that.
fn join_as_nobody() -> Done {
    let socket = std::env::var_os("SUPERVISOR_SOCKET").ok_or("SUPERVISOR_SOCKET is not set")?;
    for server in ["/nonexistent/place", "", "/dev/null", "\u{0}", "../../etc/passwd"] {
        let mut client = Client::connect(std::path::Path::new(&socket))?;
        match client.call::<serde_json::Value>(&join_with(server.to_owned())) {
            Ok(answer) => say(&format!("met: {answer}"))?,
            Err(error) => say(&format!("refused: {error}"))?,
        }
    }
    say("asked")?;
    for_ever()
}

/// A request, a byte at a time, until somebody has enough of it.
fn drip() -> Done {
    let mut stream = connect()?;
    say("drips")?;
    while stream.write_all(b"G").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    for_ever()
}
