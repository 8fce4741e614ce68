//! Where the machine ends.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, geteuid, setuid};
use worker::Exit;

use crate::kit::{KILLED, PATIENCE, get, queue, role, sleeper};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    at_the_limit_of_processes_a_start_says_so_and_leaves_nothing,
    a_program_that_starts_itself_without_end_is_stopped,
    without_descriptors_a_start_says_so_and_leaves_nothing,
];

/// More than the limit below allows, and no danger to the machine where it does not hold.
const MANY: usize = 64;

fn at_the_limit_of_processes_a_start_says_so_and_leaves_nothing() {
    // Root is held to no limit; a user that has no other processes is.
    let limit = if geteuid().is_root() {
        setuid(Uid::from_raw(54_321)).expect("root may");
        12
    } else {
        0
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).expect("known");
    setrlimit(Resource::RLIMIT_NPROC, limit, hard).expect("lower is allowed");
    let mut children = Vec::new();
    let error = loop {
        match sleeper().start() {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        assert!(children.len() < MANY, "the limit does not hold");
    };
    assert!(error.is_shortage(), "{error}");
    assert!(children.len() >= usize::from(limit > 0));
    assert_eq!(worker::active_children().len(), children.len());
    // One ends, and another may start.
    if let Some(child) = children.pop() {
        child.kill().expect("ours");
        assert_eq!(child.join(PATIENCE), Ok(KILLED));
        children.push(sleeper().start().expect("there is room again"));
    }
    for child in children {
        child.kill().expect("ours");
        assert_eq!(child.join(PATIENCE), Ok(KILLED));
    }
}

fn a_program_that_starts_itself_without_end_is_stopped() {
    let said = queue("said");
    let first = role(&["bomb"]).queue("said", &said).start().expect("it starts");
    // Each but the last says that it started another, in any order.
    let (started, refused): (Vec<String>, Vec<String>) =
        (0..32).map(|_| get(&said)).partition(|what| what == "started");
    assert_eq!(started.len(), 31);
    assert!(refused[0].contains("must look whether it is the child"), "{}", refused[0]);
    assert_eq!(first.join(PATIENCE), Ok(Exit::Code(0)));
}

fn without_descriptors_a_start_says_so_and_leaves_nothing() {
    let first = sleeper().start().expect("it starts");
    let mut taken = Vec::new();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("known");
    setrlimit(Resource::RLIMIT_NOFILE, 64.min(hard), hard).expect("lower is allowed");
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
        assert!(taken.len() < 100, "the limit does not hold");
    }
    let error = sleeper().start().expect_err("there is none left");
    assert!(error.is_shortage(), "{error}");
    drop(taken);
    let second = sleeper().start().expect("there is room again");
    for child in [first, second] {
        child.kill().expect("ours");
        assert_eq!(child.join(PATIENCE), Ok(KILLED));
    }
}
