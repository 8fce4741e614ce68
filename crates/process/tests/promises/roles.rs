//! What this program does when a promise starts it as somebody else.

use std::env;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use process::{Pid, Spawner, become_subreaper};

use crate::kit::{program, shell, wait_readable};

pub fn play(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["supervisor", got] => supervisor(got),
        ["spawn-storm"] => spawn_storm(),
        ["escape"] => escape(),
        ["connect", path] => connect(path),
        ["drop-spawner"] => drop_spawner(),
        ["inherit", number] => inherit(number.parse().expect("a number")),
        ["exit-of", pid] => exit_of(Pid::from_raw(pid.parse().expect("a pid"))),
        ["last-words", how] => last_words(how),
        other => panic!("no role {other:?}"),
    }
}

/// Starts three that differ in what becomes of them when this process is killed, and waits for that.
fn supervisor(got: &str) -> ! {
    become_subreaper().expect("Linux 3.4");
    let spawner = Spawner::start(2).expect("threads");
    let mut daemon = program(&["sleep", "1000"]);
    daemon.parent_death = Some(libc::SIGKILL);
    let polite =
        format!("trap 'echo TERM > {got}; exit' TERM; echo ready >&2; while :; do sleep 1000 & wait; done");
    let mut polite = shell(&polite);
    polite.parent_death = Some(libc::SIGTERM);
    polite.stderr = process::Stdio::Inherit;
    let free = program(&["sleep", "1000"]);
    let mut pids = [None; 3];
    for (ticket, spawn) in [(0, daemon), (1, polite), (2, free)] {
        spawner.submit(ticket, spawn);
    }
    let mut held = Vec::new();
    while pids.contains(&None) {
        wait_readable(spawner.as_fd());
        let (ticket, child) = spawner.poll().expect("readable");
        let child = child.expect("it starts");
        pids[ticket as usize] = Some(child.pid);
        held.push(child);
    }
    let pids: Vec<String> = pids.iter().flatten().map(ToString::to_string).collect();
    println!("{}", pids.join(" "));
    loop {
        nix::unistd::pause();
    }
}

/// Starts one after another that is to die with this process, for as long as it lives or until there are 300.
fn spawn_storm() -> ! {
    let spawner = Spawner::start(2).expect("threads");
    let mut held = Vec::new();
    for ticket in 0..300 {
        let mut daemon = program(&["sleep", "1000"]);
        daemon.parent_death = Some(libc::SIGKILL);
        spawner.submit(ticket, daemon);
        wait_readable(spawner.as_fd());
        held.push(spawner.poll().expect("readable").1.expect("it starts"));
        println!(".");
        std::io::stdout().flush().expect("somebody reads");
    }
    loop {
        nix::unistd::pause();
    }
}

/// Leaves a grandchild behind in a session of its own, as daemons used to.
fn escape() -> ExitCode {
    let me = env::current_exe().expect("this program");
    let mut middle = Command::new(me);
    if env::var_os("ESCAPED").is_some() {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: setsid is a system call without arguments, allowed between fork and exec.
        unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
        println!("{}", command.spawn().expect("sleep").id());
        return ExitCode::SUCCESS;
    }
    middle.args(["--role", "escape"]).env("ESCAPED", "1");
    let status = middle.status().expect("this program");
    assert!(status.success());
    ExitCode::SUCCESS
}

fn connect(path: &str) -> ! {
    let _stream = UnixStream::connect(path).expect("somebody listens");
    loop {
        nix::unistd::pause();
    }
}

/// Tells how it sees the exit of somebody who is dead.
fn exit_of(pid: Pid) -> ExitCode {
    let pidfd = process::pidfd_open(pid).expect("allowed").expect("not reaped");
    println!("{:?}", process::exit_of(pidfd.as_fd()));
    ExitCode::SUCCESS
}

/// Drops the spawner of a child that is to die with this process, and tells its pid.
fn drop_spawner() -> ! {
    let mut daemon = program(&["sleep", "1000"]);
    daemon.parent_death = Some(libc::SIGKILL);
    let child = crate::kit::spawn(daemon);
    println!("{}", child.pid);
    loop {
        nix::unistd::pause();
    }
}

/// Writes to a descriptor it was started with, and shows what a program that it starts has open.
fn inherit(number: i32) -> ExitCode {
    let mut file = std::fs::File::from(process::inherited(number).expect("it was kept"));
    file.write_all(b"taken").expect("it is a file");
    let status = Command::new("ls").arg("/proc/self/fd").status().expect("ls");
    assert!(status.success());
    ExitCode::SUCCESS
}

/// Says something at its end, whichever it is.
fn last_words(how: &str) -> ExitCode {
    extern "C" fn first() {
        println!("first");
    }
    extern "C" fn second() {
        println!("second");
    }
    process::at_exit(second).expect("there is room");
    process::at_exit(first).expect("there is room");
    match how {
        "return" => {}
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        other => panic!("no way to end {other:?}"),
    }
    ExitCode::SUCCESS
}
