//! What becomes of programs when the process that started them is killed with -9.

use std::fs;
use std::hint::black_box;
use std::os::fd::AsFd;

use process::{Credentials, Orphans, Pid, become_subreaper, is_dead, pidfd_open, reap_orphan};

use crate::kit::{ended, is_root, kill, line, program, role, skip, spawn_reading, until, wait_readable};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    one_dies_one_gets_its_stop_signal_and_one_lives_on,
    nobody_outlives_a_supervisor_killed_in_the_midst_of_spawning,
    a_wish_to_die_with_the_parent_survives_a_change_of_user,
    a_process_may_ask_to_die_with_its_parent,
];

fn one_dies_one_gets_its_stop_signal_and_one_lives_on() {
    become_subreaper().expect("Linux 3.4");
    let folder = tempfile::tempdir().expect("a folder");
    let got = folder.path().join("got");
    let mut spec = role(&["supervisor", got.to_str().expect("UTF-8")]);
    let (mut ready, writer) = std::io::pipe().map(|(r, w)| (std::io::BufReader::new(r), w)).expect("a pipe");
    spec.stderr = process::Stdio::Fd(std::sync::Arc::new(writer.into()));
    let (supervisor, mut reader) = spawn_reading(spec);
    let pids: Vec<Pid> =
        line(&mut reader).split(' ').map(|word| Pid::from_raw(word.parse().expect("a pid"))).collect();
    assert_eq!(line(&mut ready), "ready");
    let held: Vec<_> = pids.iter().map(|pid| pidfd_open(*pid).expect("allowed").expect("it lives")).collect();
    assert!(held.iter().all(|child| !is_dead(child.as_fd())));

    kill(&supervisor, libc::SIGKILL);
    ended(&supervisor);
    wait_readable(held[0].as_fd());
    wait_readable(held[1].as_fd());
    assert_eq!(fs::read_to_string(&got).expect("it wrote"), "TERM\n");
    let stat = process::Stat::of(pids[2]).expect("/proc").expect("it lives on");
    assert!(!stat.is_zombie() && stat.ppid == Pid::this() && !is_dead(held[2].as_fd()));
    // The sleep that the polite one was waiting for is an orphan too, and lives in its session.
    let roots: Vec<_> = process::Snapshot::take()
        .expect("/proc")
        .descendants(Pid::this())
        .into_iter()
        .filter_map(|pid| process::Identity::of(pid).expect("/proc"))
        .collect();
    process::freeze_and_kill(&roots, |_| false).expect("/proc");
    until("all are reaped", || reap_orphan() == Orphans::None);
}

fn nobody_outlives_a_supervisor_killed_in_the_midst_of_spawning() {
    become_subreaper().expect("Linux 3.4");
    for round in 0..40 {
        let (supervisor, mut reader) = spawn_reading(role(&["spawn-storm"]));
        // Killed at another place of a spawn each time: after some spawns, and a little of the next one.
        for _ in 0..=round % 3 {
            assert_eq!(line(&mut reader), ".");
        }
        for _ in 0..round * 40 {
            black_box(fs::metadata("/").is_ok());
        }
        kill(&supervisor, libc::SIGKILL);
        ended(&supervisor);
        // No signal but the one at its death reaches them: each must end by itself.
        until("all have died and are reaped", || reap_orphan() == Orphans::None);
    }
}

fn a_wish_to_die_with_the_parent_survives_a_change_of_user() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    become_subreaper().expect("Linux 3.4");
    // The parent is the thread: when that ends, so must the child, though it is another user now.
    let child = std::thread::spawn(|| {
        let mut daemon = program(&["sleep", "1000"]);
        daemon.parent_death = Some(libc::SIGKILL);
        daemon.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: Some(vec![]) });
        daemon.spawn().expect("it starts")
    })
    .join()
    .expect("no panic");
    assert_eq!(ended(&child), process::Exit::Signal { signal: libc::SIGKILL, core_dumped: false });
}

fn a_process_may_ask_to_die_with_its_parent() {
    assert!(process::die_with_parent(Pid::parent(), libc::SIGKILL).expect("a good signal"));
    assert!(!process::die_with_parent(Pid::from_raw(i32::MAX), libc::SIGKILL).expect("a good signal"));
    assert!(process::die_with_parent(Pid::parent(), 999).is_err());
    let mut asked = 0;
    // SAFETY: one integer of ours is written.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut asked) };
    assert_eq!(asked, libc::SIGKILL);
}
