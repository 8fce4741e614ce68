//! The processes of the stories.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use ipc::{OpenError, Queue};

/// Says that it is so far, and waits until its standard input ends.
fn stand_here() {
    println!("here");
    std::io::stdout().flush().expect("the story listens");
    let _ = std::io::stdin().read(&mut [0]);
}

/// `ROLE QUEUE`
pub fn main(args: &[String]) -> ExitCode {
    let [role, path] = args else { return ExitCode::from(2) };
    let queue = match Queue::open(path) {
        Ok(queue) => queue,
        Err(OpenError::PidNamespace) if role == "foreign" => return ExitCode::SUCCESS,
        Err(error) => panic!("{path}: {error}"),
    };
    match role.as_str() {
        "hold" => {
            let lease = queue.lease().expect("one is there");
            stand_here();
            lease.ack();
        }
        "get-and-abort" => {
            queue.get().expect("one is there");
            std::process::abort();
        }
        "get-and-exit" => {
            queue.get().expect("one is there");
            std::process::exit(0);
        }
        "get-and-forget" => {
            queue.get().expect("one is there");
            std::mem::forget(queue);
        }
        "get-and-panic" => {
            queue.get().expect("one is there");
            std::panic::set_hook(Box::new(|_| {}));
            panic!("on purpose");
        }
        "wait" => {
            println!("here");
            std::io::stdout().flush().expect("the story listens");
            let lease = queue.lease_timeout(Duration::from_secs(120)).expect("one comes");
            println!("{} {}", String::from_utf8_lossy(lease.bytes()), lease.deliveries());
            lease.ack();
        }
        "leaderless" => return leaderless(queue),
        "fork" => return fork(&queue),
        "foreign" => return ExitCode::FAILURE,
        other => panic!("no such role: {other}"),
    }
    ExitCode::SUCCESS
}

/// The first thread ends, another goes on holding a message.
#[allow(unsafe_code)]
fn leaderless(queue: Queue) -> ExitCode {
    std::thread::spawn(move || {
        let lease = queue.lease().expect("one is there");
        stand_here();
        lease.ack();
        std::process::exit(0);
    });
    // SAFETY: ends this thread only, without unwinding; nothing on its stack is borrowed by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

/// The parent holds "a"; the child of a fork must not settle it, and is a participant of its own.
#[allow(unsafe_code)]
fn fork(queue: &Queue) -> ExitCode {
    let lease = queue.lease().expect("one is there");
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        0 => {
            drop(lease);
            let own = queue.lease().expect("another is there");
            let is_right = own.bytes() == b"b" && own.deliveries() == 1;
            own.ack();
            // SAFETY: ends without any destructor, like a crash right after.
            unsafe { libc::_exit(i32::from(!is_right)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the status is ours.
            unsafe { libc::waitpid(child, &mut status, 0) };
            let is_ours = queue.stats().in_flight == 1 && queue.is_empty();
            lease.ack();
            let is_settled = queue.stats().in_flight == 0;
            if status == 0 && is_ours && is_settled { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
