//! What the promises share.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use ipc::sync::{Family, SyncOptions};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Pid, pidfd_open};
use worker::{Exit, Process, Queue};

/// Generous: it only ends a promise that is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a broken promise is given to show: whoever must not end by itself is looked at for so long.
pub const A_WHILE: Duration = Duration::from_millis(200);

pub const KILLED: Exit = Exit::Signal { signal: 9, core_dumped: false };

/// This program in one of its [roles](crate::roles).
pub fn role(words: &[&str]) -> Process {
    let me = std::env::current_exe().expect("this program");
    let me = me.to_str().expect("a path in UTF-8");
    Process::new([&[me, "--role"], words].concat())
}

pub fn sleeper() -> Process {
    Process::new("sleep").args(["1000"])
}

/// A queue of texts between the processes of a promise.
pub fn queue(name: &str) -> Queue<String> {
    ipc::Queue::create_anonymous(name, &ipc::QueueOptions::default()).expect("memory").into()
}

pub fn get(queue: &Queue<String>) -> String {
    queue.get_timeout(PATIENCE).expect("somebody says something")
}

/// A family with one of each.
pub fn family() -> Family {
    let options = SyncOptions {
        locks: vec!["ledger".into()],
        rlocks: vec!["again".into()],
        semaphores: vec![("gpu".into(), 2)],
        events: vec!["go".into()],
        conditions: vec!["news".into()],
        barriers: vec![("start".into(), 2)],
        values: vec![("total".into(), 0)],
        arrays: vec![("counts".into(), 4)],
        ..Default::default()
    };
    Family::create_anonymous("house", &options).expect("memory")
}

/// Holds a process that somebody told the pid of, and that lives.
pub fn hold(pid: &str) -> OwnedFd {
    let pid = Pid::from_raw(pid.parse().expect("a pid"));
    pidfd_open(pid).expect("allowed").expect("it lives")
}

/// Waits until a held process has ended.
#[track_caller]
pub fn until_dead(held: &OwnedFd) {
    let timeout = PollTimeout::try_from(PATIENCE).expect("fits");
    loop {
        match poll(&mut [PollFd::new(held.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(nix::errno::Errno::EINTR) => {}
            answer => break assert_eq!(answer, Ok(1), "it lives on"),
        }
    }
}

/// Looks until it is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What it writes, and how it ends.
pub fn output(process: Process) -> (String, Exit) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let process = process.stdout(writer);
    let child = process.start().expect("it starts");
    // Ours of the writer's ends.
    drop(process);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    (text, child.join(PATIENCE).expect("it ends"))
}
