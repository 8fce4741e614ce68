//! A pid may come to mean somebody else; an identity does not.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use process::{Identity, Pid, Snapshot, Stat, boot_id, freeze_and_kill, is_dead, is_kernel_thread, peer};

use crate::kit::{ended, is_root, kill, kill_and_reap, program, role, skip, spawn};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_pid_that_was_given_to_another_process_is_refused,
    whoever_is_gone_can_not_be_held,
    any_name_is_read_as_it_is,
    the_caller_at_a_socket_is_known_and_held,
    threads_of_the_kernel_and_boots_are_told_apart,
];

/// Starts a program that gets this pid, if the machine lets us choose.
fn spawn_as(pid: Pid) -> Option<process::Spawned> {
    for _ in 0..1000 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid.as_raw() - 1).to_string()).ok()?;
        let child = program(&["sleep", "1000"]).spawn().expect("it starts");
        if child.pid == pid {
            return Some(child);
        }
        // Somebody else on the machine was faster.
        kill_and_reap(&child);
    }
    None
}

fn a_pid_that_was_given_to_another_process_is_refused() {
    let first = spawn(program(&["sleep", "1000"]));
    let earlier = Identity::of(first.pid).expect("/proc").expect("it lives");
    assert!(earlier.hold().expect("/proc").is_some());
    kill(&first, libc::SIGKILL);
    assert_eq!(Identity::of(first.pid).expect("/proc"), Some(earlier), "a zombie keeps its pid");
    ended(&first);
    // A start is known by the tick of a hundredth of a second; the next process must start in a later one.
    crate::kit::until("the clock has ticked", || {
        let probe = program(&["sleep", "1000"]).spawn().expect("it starts");
        let start = Identity::of(probe.pid).expect("/proc").expect("it lives").start_time;
        kill_and_reap(&probe);
        start > earlier.start_time
    });
    if !is_root() {
        return skip("choosing the next pid needs root");
    }
    let Some(second) = spawn_as(earlier.pid) else { return skip("the next pid can not be chosen here") };
    let later = Identity::of(second.pid).expect("/proc").expect("it lives");
    assert!(later.pid == earlier.pid && later.start_time > earlier.start_time);
    assert!(earlier.hold().expect("/proc").is_none(), "that is another process now");
    assert!(later.hold().expect("/proc").is_some());
    let killed = freeze_and_kill(&[earlier], |_| false).expect("/proc");
    assert_eq!(killed.pids, []);
    assert!(!is_dead(second.pidfd.as_fd()));
    assert!(is_dead(first.pidfd.as_fd()), "the old pidfd still means the old process");
    kill_and_reap(&second);
}

fn whoever_is_gone_can_not_be_held() {
    let child = spawn(program(&["true"]));
    let identity = Identity::of(child.pid).expect("/proc").expect("a zombie at least");
    ended(&child);
    assert!(identity.hold().expect("/proc").is_none());
    assert_eq!(Identity::of(child.pid).expect("/proc"), None);
}

fn any_name_is_read_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let sleep = ["/bin/sleep", "/usr/bin/sleep"].into_iter().find(|path| fs::exists(path).unwrap_or(false));
    let sleep = sleep.expect("sleep is somewhere");
    for name in ["a) R (b", "x\ny 1 2 3", "((", ") Z 0 0"] {
        let path = folder.path().join(name);
        fs::copy(sleep, &path).expect("room");
        let child = spawn(program(&[path.to_str().expect("UTF-8"), "1000"]));
        let stat = Stat::of(child.pid).expect("/proc").expect("it lives");
        assert_eq!((stat.comm.as_str(), stat.ppid, stat.session), (name, Pid::this(), child.pid));
        assert_eq!(
            Snapshot::take().expect("/proc").get(child.pid).map(|stat| stat.comm.as_str()),
            Some(name)
        );
        assert!(!process::cmdline(child.pid).contains('\n'));
        kill(&child, libc::SIGKILL);
        crate::kit::wait_readable(child.pidfd.as_fd());
        assert!(process::cmdline(child.pid).starts_with('['), "a zombie has only its name");
        ended(&child);
    }
}

fn the_caller_at_a_socket_is_known_and_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let child = spawn(role(&["connect", path.to_str().expect("UTF-8")]));
    let (stream, _) = listener.accept().expect("it connects");
    let who = peer(&stream).expect("a Unix socket");
    assert_eq!((who.pid, who.uid), (child.pid, nix::unistd::geteuid().as_raw()));
    kill_and_reap(&child);
    match who.pidfd {
        Some(pidfd) => assert!(is_dead(pidfd.as_fd())),
        None => skip("this kernel gives no pidfd of a peer (Linux 6.5 does)"),
    }
    assert!(peer(&fs::File::open("/dev/null").expect("it is always there")).is_err());
}

fn threads_of_the_kernel_and_boots_are_told_apart() {
    assert!(!is_kernel_thread(Pid::this()).expect("/proc"));
    match Stat::of(Pid::from_raw(2)).expect("/proc") {
        Some(stat) if stat.comm == "kthreadd" => assert!(is_kernel_thread(stat.pid).expect("/proc")),
        _ => skip("no thread of the kernel is seen from this pid namespace"),
    }
    let boot = boot_id().expect("/proc");
    assert_eq!((boot.len(), boot_id().expect("/proc")), (36, boot.clone()));
}
