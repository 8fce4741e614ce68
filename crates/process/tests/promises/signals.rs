//! Signals to this process.

use std::os::fd::AsFd;

use process::{Errno, Pid, Received, SignalQueue, Signals};

use crate::kit::{ended, shell, spawn, wait_readable};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_signal_is_heard_whatever_was_inherited_and_names_its_sender,
    the_death_of_a_child_is_heard_and_names_the_child,
    a_signal_is_kept_until_it_is_read_whatever_was_inherited,
    a_program_does_not_inherit_that_signals_are_kept,
    a_signal_that_can_not_be_heard_is_refused,
    writing_to_nobody_is_an_error_once_broken_pipes_are_ignored,
];

fn next(signals: &mut Signals) -> Received {
    loop {
        wait_readable(signals.as_fd());
        let received: Vec<Received> = signals.pending().collect();
        match received.as_slice() {
            [] => {}
            [one] => return *one,
            more => panic!("more than was sent: {more:?}"),
        }
    }
}

fn a_signal_is_heard_whatever_was_inherited_and_names_its_sender() {
    let inherited = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    for signal in inherited {
        // SAFETY: ignoring and blocking run no handler; the set is made empty before use.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
    }
    let mut signals = Signals::listen(&inherited).expect("they can be heard");
    assert_eq!(signals.pending().count(), 0);
    for name in ["TERM", "INT", "HUP", "TERM"] {
        let child = spawn(shell(&format!("kill -{name} {}", Pid::this())));
        let signal = process::signal::number(name).expect("a name");
        assert_eq!(next(&mut signals), Received { signal, sender: Some(child.pid) });
        ended(&child);
    }
    assert_eq!(signals.pending().count(), 0);
}

fn the_death_of_a_child_is_heard_and_names_the_child() {
    let mut signals = Signals::listen(&[libc::SIGCHLD]).expect("it can be heard");
    let child = spawn(shell("exit 3"));
    assert_eq!(next(&mut signals), Received { signal: libc::SIGCHLD, sender: Some(child.pid) });
    ended(&child);
}

fn a_signal_is_kept_until_it_is_read_whatever_was_inherited() {
    for signal in [libc::SIGTERM, libc::SIGCHLD] {
        // SAFETY: ignoring runs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut queue =
        SignalQueue::listen(&[libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD]).expect("they can be kept");
    assert_eq!(queue.pending().count(), 0);
    let child = spawn(shell(&format!("kill -TERM {0}; kill -HUP {0}", Pid::this())));
    wait_readable(child.pidfd.as_fd());
    wait_readable(queue.as_fd());
    let received: Vec<Received> = queue.pending().collect();
    let all = [libc::SIGHUP, libc::SIGTERM, libc::SIGCHLD];
    assert_eq!(received, all.map(|signal| Received { signal, sender: Some(child.pid) }));
    assert_eq!(queue.pending().count(), 0);
    assert_eq!(ended(&child), process::Exit::Code(0), "who ignored CHLD would not have learnt it");
}

fn a_program_does_not_inherit_that_signals_are_kept() {
    let _queue = SignalQueue::listen(&[libc::SIGTERM]).expect("it can be kept");
    let child = spawn(shell("kill -TERM $$; exit 3"));
    assert_eq!(ended(&child), process::Exit::Signal { signal: libc::SIGTERM, core_dumped: false });
}

fn a_signal_that_can_not_be_heard_is_refused() {
    for signal in [0, 32, 65, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS] {
        let error = SignalQueue::listen(&[signal]).expect_err("nobody can keep it");
        assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{signal}");
    }
    for signal in [0, -1, 32, 65, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE] {
        let error = Signals::listen(&[libc::SIGUSR1, signal]).expect_err("nobody can hear it");
        assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{signal}");
    }
}

fn writing_to_nobody_is_an_error_once_broken_pipes_are_ignored() {
    use std::io::Write;
    // SAFETY: the default, which is no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    process::ignore_broken_pipes().expect("nothing hinders it");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let error = writer.write(b"x").expect_err("nobody reads");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}
