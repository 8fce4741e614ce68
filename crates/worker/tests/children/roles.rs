//! What this program does when a promise starts it as somebody else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::thread;

use serde_json::json;
use worker::{CurrentProcess, Process, WaitError, current_process, stop_requested};

use crate::kit::{A_WHILE, PATIENCE, role, sleeper};

pub fn play(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let me = current_process();
    match words.as_slice() {
        ["report", argv @ ..] => report(me, argv),
        ["slow"] => slow(me),
        ["deaf"] => deaf(me),
        ["parent", how] => return parent(me, how),
        ["parent-by-thread"] => parent_by_thread(me),
        ["storm"] => storm(me),
        ["chain", length] => chain(me, length.parse().expect("a number")),
        ["daemon-with-a-child"] => refused(me),
        ["echo"] => echo(me),
        ["get-and-hold"] => get_and_hold(me),
        ["bomb"] => bomb(me),
        ["answer"] => answer(me),
        ["middle"] => middle(me),
        ["all-kinds"] => all_kinds(me),
        ["hold-the-lock"] => hold_the_lock(me),
        ["descriptors"] => descriptors(me),
        ["pass-on"] => pass_on(me),
        ["watch-the-parent"] => watch_the_parent(me),
        ["get-one-and-end"] => get_one_and_end(me),
        ["end-while-waiting"] => end_while_waiting(me),
        ["sleep"] => thread::park_timeout(PATIENCE * 10),
        other => panic!("no role {other:?}"),
    }
    ExitCode::SUCCESS
}

fn say(me: &CurrentProcess, what: impl ToString) {
    me.queue::<String>("said").expect("it was passed").put(&what.to_string()).expect("it is open");
}

fn report(me: &CurrentProcess, argv: &[&str]) {
    let args: serde_json::Value = me.args().expect("a list");
    let kwargs: serde_json::Value = me.kwargs().expect("an object");
    let parent = me.parent().map(|parent| json!([parent.name(), parent.pid(), parent.is_alive()]));
    println!(
        "{}",
        json!({
            "name": me.name(), "pid": me.pid(), "ppid": me.ppid(), "daemon": me.is_daemon(),
            "args": args, "kwargs": kwargs, "argv": argv, "parent": parent,
        })
    );
}

/// Ends when it is told to, and says so before.
fn slow(me: &CurrentProcess) {
    me.event("go").expect("it was passed").wait().expect("somebody says go");
    say(me, "done");
}

/// Hears SIGTERM and does nothing.
fn deaf(me: &CurrentProcess) {
    stop_requested();
    say(me, "ready");
    loop {
        thread::park_timeout(PATIENCE);
    }
}

/// Starts a child that is slow and a daemon that does nothing, tells both pids, and ends one way or another.
fn parent(me: &CurrentProcess, how: &str) -> ExitCode {
    let (said, go) = (me.queue_bytes("said").expect("passed"), me.event("go").expect("passed"));
    let child = role(&["slow"]).queue("said", &said).event("go", &go).start().expect("it starts");
    let daemon = role(&["sleep"]).daemon(true).start().expect("it starts");
    say(me, child.pid());
    say(me, daemon.pid());
    match how {
        "returns" => return ExitCode::from(5),
        "exits" => std::process::exit(5),
        "exits-elsewhere" => {
            let _ = thread::spawn(|| std::process::exit(5)).join();
        }
        "panics" => panic!("it was told to"),
        "stays" => thread::park_timeout(PATIENCE * 10),
        other => panic!("no way to end {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Starts a daemon from a thread that ends before the daemon says anything.
fn parent_by_thread(me: &CurrentProcess) {
    let (said, go) = (me.queue_bytes("said").expect("passed"), me.event("go").expect("passed"));
    let start = move || {
        role(&["slow"]).daemon(true).queue("said", &said).event("go", &go).start().expect("it starts")
    };
    let daemon = thread::spawn(start).join().expect("no panic");
    say(me, daemon.pid());
    daemon.join(PATIENCE).expect("it ends by itself");
}

/// Starts daemons one after the other from threads that end.
fn storm(me: &CurrentProcess) {
    for _ in 0..300 {
        thread::spawn(|| sleeper().daemon(true).start().expect("it starts")).join().expect("no panic");
        say(me, ".");
    }
    thread::park_timeout(PATIENCE * 10);
}

/// A daemon that has a child that has a child.
fn chain(me: &CurrentProcess, length: u32) {
    say(me, me.pid());
    assert!(me.is_daemon());
    if length > 0 {
        let said = me.queue_bytes("said").expect("passed");
        let next = role(&["chain"]).args([(length - 1).to_string()]).queue("said", &said);
        next.start().expect("it starts");
    }
    thread::park_timeout(PATIENCE * 10);
}

fn refused(me: &CurrentProcess) {
    let error = sleeper().daemon(false).start().expect_err("it would be left behind");
    say(me, error);
}

fn echo(me: &CurrentProcess) {
    let (there, back) = (me.queue::<String>("there").unwrap(), me.queue::<String>("back").unwrap());
    while let Ok(message) = there.get() {
        back.put(&format!("{}: {message}", me.name())).unwrap();
    }
}

/// Starts itself, as a program does that does not look whether it is the child.
fn bomb(me: &CurrentProcess) {
    let said = me.queue_bytes("said").unwrap();
    match role(&["bomb"]).queue("said", &said).start() {
        Ok(_) => say(me, "started"),
        Err(error) => say(me, error),
    }
}

fn answer(me: &CurrentProcess) {
    let mut line = UnixStream::from(me.descriptor("line").expect("it was passed"));
    assert!(me.descriptor("other").is_err());
    let mut asked = [0; 4];
    line.read_exact(&mut asked).expect("it is asked");
    assert_eq!(&asked, b"ping");
    line.write_all(b"pong").expect("somebody is there");
}

fn get_and_hold(me: &CurrentProcess) {
    let there = me.queue::<String>("there").unwrap();
    say(me, there.get().unwrap());
    thread::park_timeout(PATIENCE * 10);
}

/// Stands between the one who is told of its death and the one who kills it.
fn middle(me: &CurrentProcess) {
    let said = me.queue_bytes("said").unwrap();
    role(&["watch-the-parent"]).queue("said", &said).start().expect("it starts");
    thread::park_timeout(PATIENCE * 10);
}

fn all_kinds(me: &CurrentProcess) {
    let total = me.value("sum").unwrap();
    {
        let _once = me.lock("lock").unwrap().acquire().unwrap();
        let again = me.rlock("again").unwrap();
        let (_first, _second) = (again.acquire().unwrap(), again.acquire().unwrap());
        total.set(total.get() + 1);
    }
    let permit = me.semaphore("gpu").unwrap().try_acquire().unwrap();
    assert!(me.array("counts").unwrap().set(3, 7));
    assert_eq!(me.family("house").unwrap().value("total").unwrap().get(), 1);
    assert_eq!(me.condition("news").unwrap().name(), "news");
    me.barrier("start").unwrap().wait().unwrap();
    drop(permit);
    let unknown = me.lock("nothere").expect_err("nobody passed it");
    say(me, unknown);
}

fn hold_the_lock(me: &CurrentProcess) {
    let lock = me.lock("lock").unwrap();
    let _guard = lock.acquire().unwrap();
    say(me, "held");
    thread::park_timeout(PATIENCE * 10);
}

/// What a program started by other means finds open: nothing of ours.
fn descriptors(_: &CurrentProcess) {
    let listed = Command::new("ls").arg("/proc/self/fd").output().expect("ls");
    print!("{}", String::from_utf8_lossy(&listed.stdout));
}

/// Passes what it was given to a child of its own, and ends before that child does.
fn pass_on(me: &CurrentProcess) {
    let said = me.queue_bytes("said").unwrap();
    let shell = format!("exec {} --role report-to-nobody", std::env::current_exe().unwrap().display());
    assert!(Process::new(shell).start().is_err(), "a line is no program");
    role(&["slow"]).queue("said", &said).event("go", &me.event("go").unwrap()).start().unwrap();
}

fn watch_the_parent(me: &CurrentProcess) {
    let parent = me.parent().expect("a process started it");
    assert!(parent.is_alive());
    assert_eq!(parent.join(A_WHILE), Err(WaitError::Timeout));
    say(me, me.name());
    parent.join(PATIENCE).expect("it ends");
    assert!(!parent.is_alive());
    say(me, "orphaned");
}

/// Gets a message and ends, with a child that waits for the queue to be drained.
fn get_one_and_end(me: &CurrentProcess) {
    let there = me.queue::<String>("there").unwrap();
    assert_eq!(there.get().unwrap(), "only");
    let back = me.queue_bytes("said").unwrap();
    role(&["echo"]).name("last").queue("there", &there).queue("back", &back).start().unwrap();
    say(me, "got");
}

/// Listens to signals, and has nothing left to do but to wait for a child that does not end.
fn end_while_waiting(me: &CurrentProcess) {
    assert!(!stop_requested());
    let child = role(&["sleep"]).start().unwrap();
    say(me, child.pid());
}
