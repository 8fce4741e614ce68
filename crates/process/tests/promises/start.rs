//! What a program starts with.

use std::fs::{self, File};
use std::io::Read;
use std::mem::{forget, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use process::{Credentials, Exit, Limit, LimitName, Pid, Stat, Stdio, raise_nofile_limit};

use crate::kit::{c, is_root, kill_and_reap, output, program, shell, skip, spawn};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_child_has_clean_signals_whatever_its_parent_ignores_and_blocks,
    the_parents_own_signal_mask_is_as_it_was,
    a_child_has_three_descriptors_whatever_its_parent_leaks,
    descriptors_to_keep_arrive_under_their_numbers_and_no_others_do,
    an_inherited_descriptor_is_taken_over_and_goes_no_further,
    standard_descriptors_may_be_exchanged_and_shared,
    a_child_leads_a_session_of_its_own_if_asked,
    a_child_gets_its_environment_folder_mask_niceness_and_limits,
    a_child_gets_the_descriptor_limit_this_process_was_started_with,
    a_child_may_be_another_user_and_the_parent_stays_itself,
    a_parent_of_64_mib_still_spawns,
    the_own_folder_is_where_a_relative_program_and_an_empty_path_entry_are,
];

fn status_of_a_child() -> String {
    let (text, exit) = output(program(&["cat", "/proc/self/status"]));
    assert_eq!(exit, Exit::Code(0));
    text
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of /proc/PID/status").trim()
}

const NONE: &str = "0000000000000000";

/// Ignores and blocks every signal there is, those of the C library included.
fn spoil_signals() {
    let mut signal = 1;
    while signal <= 64 {
        let ignore = [libc::SIG_IGN, 0, 0, 0];
        // SAFETY: a kernel sigaction of four words, which asks for ignoring; nothing runs.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), std::ptr::null_mut::<u8>(), 8)
        };
        signal += 1;
    }
    let all = u64::MAX;
    // SAFETY: 8 bytes of ours are read.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            std::ptr::null_mut::<u64>(),
            8,
        )
    };
}

fn a_child_has_clean_signals_whatever_its_parent_ignores_and_blocks() {
    spoil_signals();
    let mine = fs::read_to_string("/proc/self/status").expect("/proc");
    assert_eq!(field(&mine, "SigIgn:"), "fffffffffffbfeff", "all but KILL and STOP are ignored here");
    // SIGCHLD ignored would have the kernel reap by itself; that is for a test of its own.
    // SAFETY: the default handler, none of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let status = status_of_a_child();
    for name in ["SigBlk:", "SigIgn:", "SigCgt:", "SigPnd:", "ShdPnd:"] {
        assert_eq!(field(&status, name), NONE, "{name}");
    }
}

fn the_parents_own_signal_mask_is_as_it_was() {
    let mask = || {
        // SAFETY: zeroes are an empty set, which the call then fills.
        unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set);
            (1..=64).filter(|signal| libc::sigismember(&raw const set, *signal) == 1).collect::<Vec<i32>>()
        }
    };
    // SAFETY: as above; one signal is added.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
    let before = mask();
    assert_eq!(before, [libc::SIGUSR2]);
    let child = program(&["true"]).spawn().expect("it starts");
    assert_eq!(mask(), before);
    kill_and_reap(&child);
    program(&["/nothing"]).spawn().expect_err("no such program");
    assert_eq!(mask(), before);
}

fn a_child_has_three_descriptors_whatever_its_parent_leaks() {
    for fd in [3, 5, 9, 40, 700] {
        // SAFETY: integers only; the numbers are free in a process this young, and the copies are not closed on exec.
        assert_eq!(unsafe { libc::dup2(2, fd) }, fd);
    }
    // ls has its own descriptor on the folder it lists.
    let (seen, _) = output(program(&["ls", "/proc/self/fd"]));
    assert_eq!(seen, "0\n1\n2\n3\n");
    // The same with a source above and between the leaked ones.
    let mut spec = program(&["ls", "/proc/self/fd"]);
    let high = File::open("/dev/null").expect("it is always there");
    // SAFETY: integers only; the new descriptor is ours.
    let high = unsafe { OwnedFd::from_raw_fd(libc::fcntl(high.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 800)) };
    spec.stdin = Stdio::Fd(Arc::new(high));
    assert_eq!(output(spec).0, "0\n1\n2\n3\n");
}

/// A copy of `/dev/null` under a number that is free.
fn at(number: i32) -> Arc<OwnedFd> {
    let null = File::open("/dev/null").expect("it is always there");
    // SAFETY: integers only; the new descriptor is ours.
    let copy = unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) };
    assert_eq!(copy, number);
    // SAFETY: the kernel has just made it for us.
    Arc::new(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn descriptors_to_keep_arrive_under_their_numbers_and_no_others_do() {
    for fd in [9, 21, 600, 701] {
        // SAFETY: integers only; the numbers are free in a process this young, and the copies are not closed on exec.
        assert_eq!(unsafe { libc::dup2(2, fd) }, fd);
    }
    let keep: Vec<_> = [20, 22, 40, 700].into_iter().map(at).collect();
    let flags = |fd: &OwnedFd| nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD);
    // 3 is the folder that the shell lists.
    let mut spec = shell("cd /proc/self/fd && echo *");
    spec.keep([3, 0, 2, 1, 0].map(|one: usize| keep[one].clone()));
    // One that dies with its parent has a lifeline among them in some places.
    spec.parent_death = Some(libc::SIGKILL);
    assert_eq!(output(spec.clone()).0, "0 1 2 20 22 3 40 700\n");
    // Here they are still closed by every other exec.
    assert!(keep.iter().all(|fd| flags(fd) == Ok(libc::FD_CLOEXEC)));

    // SAFETY: 2 stays open: this owner is forgotten.
    let two = Arc::new(unsafe { OwnedFd::from_raw_fd(2) });
    spec.keep([two.clone()]);
    let error = spec.spawn().expect_err("2 is standard error's place");
    forget(two);
    assert!(error.to_string().contains("0, 1 or 2"), "{error}");
}

fn an_inherited_descriptor_is_taken_over_and_goes_no_further() {
    let mut spec = crate::kit::role(&["inherit", "33"]);
    let told = tempfile::tempfile().expect("a file");
    // SAFETY: integers only; the new descriptor is ours.
    let file = unsafe { OwnedFd::from_raw_fd(libc::fcntl(told.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 33)) };
    assert_eq!(file.as_raw_fd(), 33);
    spec.keep([Arc::new(file)]);
    let (text, exit) = output(spec);
    assert_eq!((text.as_str(), exit), ("0\n1\n2\n3\n", Exit::Code(0)));
    let mut written = [0; 5];
    std::os::unix::fs::FileExt::read_exact_at(&told, &mut written, 0).expect("it was written");
    assert_eq!(&written, b"taken");
    assert_eq!(process::inherited(999).expect_err("not open").raw_os_error(), Some(libc::EBADF));
}

fn standard_descriptors_may_be_exchanged_and_shared() {
    let (mut out, out_writer) = std::io::pipe().expect("a pipe");
    let (mut err, err_writer) = std::io::pipe().expect("a pipe");
    // This process's own 1 and 2 become the pipes, and the child gets them the other way round.
    // SAFETY: integers only; standard output and error may be anything.
    unsafe {
        assert_eq!(libc::dup2(out_writer.as_raw_fd(), 1), 1);
        let complaints = libc::fcntl(2, libc::F_DUPFD_CLOEXEC, 10);
        assert_eq!(libc::dup2(err_writer.as_raw_fd(), 2), 2);
        // SAFETY: 1 and 2 are never closed by these owners: they are forgotten below.
        let (one, two) = (Arc::new(OwnedFd::from_raw_fd(1)), Arc::new(OwnedFd::from_raw_fd(2)));
        let mut crossed = shell("echo out; echo err >&2");
        crossed.stdout = Stdio::Fd(two.clone());
        crossed.stderr = Stdio::Fd(one.clone());
        crate::kit::ended(&spawn(crossed));
        let mut straight = shell("echo OUT; echo ERR >&2");
        straight.stdout = Stdio::Inherit;
        straight.stderr = Stdio::Fd(two.clone());
        crate::kit::ended(&spawn(straight));
        let mut shared = shell("echo both; echo both >&2");
        shared.stdout = Stdio::Fd(one.clone());
        shared.stderr = Stdio::Fd(one.clone());
        crate::kit::ended(&spawn(shared));
        forget((one, two));
        libc::dup2(complaints, 1);
        libc::dup2(complaints, 2);
    }
    drop((out_writer, err_writer));
    let (mut on_out, mut on_err) = (String::new(), String::new());
    out.read_to_string(&mut on_out).expect("text");
    err.read_to_string(&mut on_err).expect("text");
    assert_eq!((on_out.as_str(), on_err.as_str()), ("err\nOUT\nboth\nboth\n", "out\nERR\n"));
}

fn a_child_leads_a_session_of_its_own_if_asked() {
    let own = spawn(program(&["sleep", "1000"]));
    let stat = Stat::of(own.pid).expect("/proc").expect("it lives");
    assert_eq!((stat.session, stat.pgrp, stat.ppid), (own.pid, own.pid, Pid::this()));
    kill_and_reap(&own);
    let mut shared = program(&["sleep", "1000"]);
    shared.session = false;
    let shared = spawn(shared);
    let mine = Stat::of(Pid::this()).expect("/proc").expect("I live");
    let stat = Stat::of(shared.pid).expect("/proc").expect("it lives");
    assert_eq!((stat.session, stat.pgrp), (mine.session, mine.pgrp));
    kill_and_reap(&shared);
}

fn a_child_gets_its_environment_folder_mask_niceness_and_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().canonicalize().expect("it is there");
    let mut spec =
        shell("echo \"$ONE-$HOME-\"; pwd -P; umask; ulimit -c; ulimit -n; cut -d' ' -f19 /proc/self/stat");
    spec.env = vec![c("ONE=1"), c("PATH=/usr/bin:/bin")].into();
    spec.cwd = c(place.to_str().expect("UTF-8"));
    spec.umask = Some(0o027);
    spec.nice = Some(7);
    spec.limits = vec![
        Limit { name: LimitName::Core, soft: 0, hard: 0 },
        Limit { name: LimitName::Nofile, soft: 77, hard: 99 },
    ];
    let (text, exit) = output(spec);
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(text, format!("1--\n{}\n0027\n0\n77\n7\n", place.display()));
}

fn a_child_gets_the_descriptor_limit_this_process_was_started_with() {
    // Whatever the machine gives, make the two limits differ.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit of ours is written, then read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = 333;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    let soft = || output(shell("ulimit -n")).0;
    assert_eq!(soft(), "333\n");
    assert_eq!(raise_nofile_limit().expect("raising to the hard limit is allowed"), limit.rlim_max);
    assert_eq!(raise_nofile_limit().expect("again"), limit.rlim_max);
    assert_eq!(soft(), "333\n");
}

fn a_child_may_be_another_user_and_the_parent_stays_itself() {
    let ids = || shell("echo $(id -u) $(id -g) $(id -G)");
    let mut spec = ids();
    if is_root() {
        spec.credentials = Some(Credentials { uid: 65534, gid: 65533, groups: Some(vec![65531, 65532]) });
        assert_eq!(output(spec).0, "65534 65533 65533 65531 65532\n");
        let mut strict = program(&["/bin/true"]);
        let folder = tempfile::tempdir().expect("a folder only its owner may enter");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("our folder");
        strict.cwd = c(folder.path().to_str().expect("UTF-8"));
        strict.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: None });
        let error = strict.spawn().expect_err("that user may not be there");
        assert_eq!((error.stage, error.errno), (process::Stage::Chdir, process::Errno::EACCES));
    } else {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        spec.credentials = Some(Credentials { uid, gid, groups: None });
        assert!(output(spec).0.starts_with(&format!("{uid} {gid}")));
        let mut other = program(&["/bin/true"]);
        other.credentials = Some(Credentials { uid: uid + 1, gid, groups: None });
        let error = other.spawn().expect_err("an ordinary user can not become another");
        assert_eq!((error.stage, error.errno), (process::Stage::Credentials, process::Errno::EPERM));
        skip("becoming another user needs root");
    }
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let uid = nix::unistd::getuid();
    assert_eq!(field(&status, "Uid:"), format!("{uid}\t{uid}\t{uid}\t{uid}"));
}

fn a_parent_of_64_mib_still_spawns() {
    let grown = vec![1u8; 64 << 20];
    assert_eq!(output(shell("echo yes")).0, "yes\n");
    assert!(grown.iter().all(|byte| *byte == 1), "the child left our memory alone");
}

fn the_own_folder_is_where_a_relative_program_and_an_empty_path_entry_are() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("sub")).expect("a folder of ours");
    for (path, text) in [("mine", "echo mine"), ("sub/other", "echo other")] {
        crate::kit::script(&folder.path().join(path), &format!("#!/bin/sh\n{text}\n"), 0o755);
    }
    let here = |argv0: &str| {
        let mut spec = program(&[argv0]);
        spec.cwd = c(folder.path().to_str().expect("UTF-8"));
        spec.env = vec![c("PATH=/nowhere:")].into();
        output(spec).0
    };
    assert_eq!(here("./mine"), "mine\n");
    assert_eq!(here("sub/other"), "other\n");
    assert_eq!(here("mine"), "mine\n");
}
