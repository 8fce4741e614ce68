//! How ends are learned.

use std::os::fd::AsFd;

use process::{Exit, Pid, exit_of, facts, is_dead, pidfd_open, wait_leader};

use crate::kit::{
    ended, is_root, kill, line, output, program, role, shell, skip, spawn, spawn_reading, until,
    wait_readable,
};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    an_exit_is_a_code_or_a_signal_and_never_both,
    a_living_child_has_no_exit_and_a_taken_exit_is_not_given_twice,
    a_child_is_waited_for_from_any_thread,
    the_exit_of_a_process_that_is_not_ours_is_known_before_and_after_its_parent_took_it,
    the_exit_of_another_users_process_is_not_guessed,
    a_signal_to_who_is_gone_says_gone,
    a_group_is_signalled_after_its_leader_was_reaped,
    last_words_are_said_at_an_end_of_ones_own_and_at_no_other,
];

fn an_exit_is_a_code_or_a_signal_and_never_both() {
    for code in [0, 1, 127, 137, 255] {
        let child = spawn(shell(&format!("exit {code}")));
        assert_eq!(ended(&child), Exit::Code(code));
    }
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1, libc::SIGRTMIN(), libc::SIGRTMAX()] {
        let child = spawn(program(&["sleep", "1000"]));
        kill(&child, signal);
        assert_eq!(ended(&child), Exit::Signal { signal, core_dumped: false });
    }
    assert_eq!(Exit::Signal { signal: 9, core_dumped: false }.to_string(), "signal 9 (KILL)");
    assert!(Exit::Code(0).success() && !Exit::Code(1).success());
}

fn a_living_child_has_no_exit_and_a_taken_exit_is_not_given_twice() {
    let child = spawn(program(&["sleep", "1000"]));
    assert_eq!(wait_leader(child.pidfd.as_fd()).expect("our child"), None);
    assert!(!is_dead(child.pidfd.as_fd()));
    kill(&child, libc::SIGKILL);
    ended(&child);
    assert!(is_dead(child.pidfd.as_fd()));
    let error = wait_leader(child.pidfd.as_fd()).expect_err("its exit was taken");
    assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
}

fn a_child_is_waited_for_from_any_thread() {
    let child = spawn(shell("exit 4"));
    let exit = std::thread::spawn(move || ended(&child)).join().expect("no panic");
    assert_eq!(exit, Exit::Code(4));
}

fn the_exit_of_a_process_that_is_not_ours_is_known_before_and_after_its_parent_took_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = |name: &str| {
        let path = folder.path().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        path.display().to_string()
    };
    let (end, take) = (gate("end"), gate("take"));
    // Opened both ways at once: the end of the child would interrupt an opening that waits, and the shell would go on.
    let script = format!(
        "exec 3<> {take}; (read x < {end}; exit 7) & echo $!; read x <&3; wait $!; echo taken; read x <&3"
    );
    let (parent, mut reader) = spawn_reading(shell(&script));
    let pid = Pid::from_raw(line(&mut reader).parse().expect("a pid"));
    let pidfd = pidfd_open(pid).expect("allowed").expect("it lives");
    assert_eq!(exit_of(pidfd.as_fd()), None);
    assert!(!is_dead(pidfd.as_fd()));
    std::fs::write(&end, "now\n").expect("it reads");
    wait_readable(pidfd.as_fd());
    assert!(is_dead(pidfd.as_fd()));
    assert_eq!(exit_of(pidfd.as_fd()), Some(Exit::Code(7)), "a zombie tells");
    std::fs::write(&take, "now\n").expect("it reads");
    assert_eq!(line(&mut reader), "taken");
    let offered = facts().iter().any(|fact| fact.name == "pidfd exit record" && fact.available);
    if offered {
        assert_eq!(exit_of(pidfd.as_fd()), Some(Exit::Code(7)));
    } else {
        assert_eq!(exit_of(pidfd.as_fd()), None);
        skip("this kernel keeps no exits (Linux 6.15 does)");
    }
    std::fs::write(&take, "now\n").expect("it reads");
    assert_eq!(ended(&parent), Exit::Code(0));
}

fn the_exit_of_another_users_process_is_not_guessed() {
    let setpriv = "/usr/bin/setpriv";
    if !is_root() || !std::path::Path::new(setpriv).exists() {
        return skip("only root with setpriv gives up a right");
    }
    let mut fails = program(&["false"]);
    fails.credentials = Some(process::Credentials { uid: 65534, gid: 65534, groups: Some(vec![]) });
    let child = spawn(fails);
    wait_readable(child.pidfd.as_fd());
    let pid = child.pid.to_string();
    let role = ["--role", "exit-of", &pid];
    let me = std::env::current_exe().expect("this program");
    let me = me.to_str().expect("a path in UTF-8");
    assert_eq!(output(program(&[&[me][..], &role].concat())).0, format!("{:?}\n", Some(Exit::Code(1))));
    // As in most containers: it may signal whom it may not look at, and reads 0 there, whatever the exit was.
    let blind = [setpriv, "--bounding-set=-sys_ptrace", me];
    assert_eq!(output(program(&[&blind[..], &role].concat())).0, "None\n");
    ended(&child);
}

fn a_signal_to_who_is_gone_says_gone() {
    use process::signal::{Delivery, send};
    let child = spawn(program(&["true"]));
    wait_readable(child.pidfd.as_fd());
    assert_eq!(send(child.pidfd.as_fd(), 0), Ok(Delivery::Sent), "a zombie is still there");
    assert_eq!(send(child.pidfd.as_fd(), 999), Err(process::Errno::EINVAL));
    ended(&child);
    assert_eq!(send(child.pidfd.as_fd(), libc::SIGTERM), Ok(Delivery::Gone));
}

fn a_group_is_signalled_after_its_leader_was_reaped() {
    use process::signal::{Delivery, send_group};
    process::become_subreaper().expect("Linux 3.4");
    let (leader, mut reader) = spawn_reading(shell("sleep 1000 & echo $!; exit 0"));
    let follower = Pid::from_raw(line(&mut reader).parse().expect("a pid"));
    assert_eq!(ended(&leader), Exit::Code(0));
    for refused in [0, 1, -1, nix::unistd::getpgrp().as_raw()] {
        let answer = send_group(leader.pidfd.as_fd(), Pid::from_raw(refused), libc::SIGTERM);
        assert_eq!(answer, Err(process::Errno::EINVAL), "group {refused}");
    }
    let answer = send_group(leader.pidfd.as_fd(), leader.pid, libc::SIGTERM);
    if facts().iter().any(|fact| fact.name == "pidfd group signal" && fact.available) {
        assert_eq!(answer, Ok(Delivery::Sent));
    } else {
        assert_eq!(answer, Ok(Delivery::Gone));
        skip("this kernel can not signal a group by pidfd (Linux 6.9 can)");
        nix::sys::signal::kill(follower, nix::sys::signal::Signal::SIGTERM).expect("it lives");
    }
    let wanted =
        process::Orphans::Reaped(follower, Exit::Signal { signal: libc::SIGTERM, core_dumped: false });
    until("the follower is reaped", || match process::reap_orphan() {
        process::Orphans::Living => false,
        reaped => {
            assert_eq!(reaped, wanted);
            true
        }
    });
    assert_eq!(send_group(leader.pidfd.as_fd(), leader.pid, libc::SIGTERM), Ok(Delivery::Gone));
}

fn last_words_are_said_at_an_end_of_ones_own_and_at_no_other() {
    for how in ["return", "exit"] {
        assert_eq!(output(role(&["last-words", how])), ("first\nsecond\n".into(), Exit::Code(0)));
    }
    let mut aborts = role(&["last-words", "abort"]);
    aborts.limits = vec![process::Limit { name: process::LimitName::Core, soft: 0, hard: 0 }];
    let (said, exit) = output(aborts);
    assert_eq!((said.as_str(), exit.signal()), ("", Some(libc::SIGABRT)));
}
