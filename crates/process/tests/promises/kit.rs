//! What the promises share.

use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Exit, Spawn, Spawned, Stdio, environment, wait_leader};

/// Generous: it only ends a promise that is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL in a test")
}

/// A program with this process's environment, in `/`.
pub fn program(argv: &[&str]) -> Spawn {
    Spawn::new(argv.iter().map(|word| c(word)).collect(), environment(env::vars_os()), c("/"))
}

pub fn shell(script: &str) -> Spawn {
    program(&["/bin/sh", "-c", script])
}

/// This test program in one of its [roles](crate::roles).
pub fn role(words: &[&str]) -> Spawn {
    let me = env::current_exe().expect("this program");
    let me = me.to_str().expect("a path in UTF-8");
    program(&[&[me, "--role"], words].concat())
}

/// Spawns on a thread of its own, which stays: nobody in these promises may die because a thread ended.
pub fn spawn(spawn: Spawn) -> Spawned {
    let spawner = process::Spawner::start(1).expect("a thread");
    spawner.submit(0, spawn);
    wait_readable(spawner.as_fd());
    let (_, result) = spawner.poll().expect("it is readable");
    result.expect("it starts")
}

/// The same with its standard output in our hands.
pub fn spawn_reading(mut spec: Spawn) -> (Spawned, BufReader<PipeReader>) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    spec.stdout = Stdio::Fd(Arc::new(OwnedFd::from(writer)));
    (spawn(spec), BufReader::new(reader))
}

/// What it writes until it closes its output, and how it ends.
pub fn output(spec: Spawn) -> (String, Exit) {
    let (child, mut reader) = spawn_reading(spec);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    (text, ended(&child))
}

pub fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("text");
    line.trim_end().to_owned()
}

pub fn wait_readable(fd: BorrowedFd) {
    let timeout = PollTimeout::try_from(PATIENCE).expect("fits");
    loop {
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Err(nix::errno::Errno::EINTR) => {}
            answer => break assert_eq!(answer, Ok(1), "nothing happened in {PATIENCE:?}"),
        }
    }
}

/// Waits for the end of a child and takes its exit.
pub fn ended(child: &Spawned) -> Exit {
    wait_readable(child.pidfd.as_fd());
    wait_leader(child.pidfd.as_fd()).expect("it is our child").expect("it has ended")
}

pub fn kill(child: &Spawned, signal: i32) {
    process::signal::send(child.pidfd.as_fd(), signal).expect("we may");
}

pub fn kill_and_reap(child: &Spawned) {
    kill(child, libc::SIGKILL);
    ended(child);
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

pub fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Whether this process has any child, of any thread, dead or alive.
pub fn has_children() -> bool {
    // SAFETY: integers and a null pointer, which asks for no details; NOWAIT leaves every child as it is.
    let answer = unsafe {
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, options)
    };
    answer == 0
}

pub fn skip(why: &str) {
    println!("skipped: {why}");
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// An executable file with this text.
pub fn script(path: &std::path::Path, text: &str, mode: u32) {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut file: File =
        File::options().write(true).create_new(true).mode(mode).open(path).expect("a file of ours");
    file.write_all(text.as_bytes()).expect("room");
    file.set_permissions(fs::Permissions::from_mode(mode)).expect("our file");
}
