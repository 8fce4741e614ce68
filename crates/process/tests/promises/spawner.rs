//! Threads that spawn.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Exit, Pid, Spawner, Stage, is_dead, pidfd_open};

use crate::kit::{ended, has_children, kill, line, open_descriptors, program, role, spawn, spawn_reading};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    two_thousand_spawns_are_all_told_and_all_reaped_and_leave_no_descriptor,
    a_spawner_is_readable_exactly_while_a_result_waits,
    a_failure_comes_back_with_its_ticket_among_successes,
    a_dropped_spawner_takes_nobody_with_it,
    spawners_take_no_signal_of_the_process,
];

fn two_thousand_spawns_are_all_told_and_all_reaped_and_leave_no_descriptor() {
    const ALL: usize = 2000;
    const AT_ONCE: usize = 100;
    let spawner = Spawner::start(2).expect("threads");
    ended(&program(&["/bin/true"]).spawn().expect("what is kept for good is opened"));
    let before = open_descriptors();
    let (mut submitted, mut reaped) = (0, 0);
    let mut living = BTreeMap::new();
    let mut tickets = vec![false; ALL];
    while reaped < ALL {
        while submitted < ALL && submitted - reaped < AT_ONCE {
            spawner.submit(submitted as u64, program(&["/bin/true"]));
            submitted += 1;
        }
        let mut watched = vec![PollFd::new(spawner.as_fd(), PollFlags::POLLIN)];
        watched.extend(
            living
                .values()
                .map(|child: &process::Spawned| PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)),
        );
        assert_ne!(
            poll(&mut watched, PollTimeout::try_from(60_000).expect("fits")),
            Ok(0),
            "nothing happens"
        );
        drop(watched);
        while let Some((ticket, child)) = spawner.poll() {
            let child = child.expect("it starts");
            assert!(!std::mem::replace(&mut tickets[ticket as usize], true), "told once");
            assert!(
                living.insert(child.pid, child).is_none(),
                "a pid is not used again before its exit is taken"
            );
        }
        let dead: Vec<Pid> =
            living.iter().filter(|(_, child)| is_dead(child.pidfd.as_fd())).map(|(pid, _)| *pid).collect();
        for pid in dead {
            assert_eq!(ended(&living.remove(&pid).expect("just seen")), Exit::Code(0));
            reaped += 1;
        }
    }
    assert!(tickets.iter().all(|told| *told) && spawner.poll().is_none());
    assert!(!has_children());
    assert_eq!(open_descriptors(), before);
}

fn readable(spawner: &Spawner) -> bool {
    poll(&mut [PollFd::new(spawner.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
}

fn a_spawner_is_readable_exactly_while_a_result_waits() {
    let spawner = Spawner::start(1).expect("a thread");
    assert!(!readable(&spawner) && spawner.poll().is_none());
    for round in 0..50 {
        for ticket in 0..3 {
            spawner.submit(round * 3 + ticket, program(&["/nothing"]));
        }
        for ticket in 0..3 {
            crate::kit::wait_readable(spawner.as_fd());
            let (told, _) = spawner.poll().expect("it is readable");
            assert_eq!(told, round * 3 + ticket, "one thread keeps the order");
        }
        assert!(!readable(&spawner) && spawner.poll().is_none());
    }
}

fn a_failure_comes_back_with_its_ticket_among_successes() {
    let spawner = Spawner::start(2).expect("threads");
    for ticket in 0..20 {
        spawner.submit(ticket, program(&[if ticket % 2 == 0 { "true" } else { "/nothing" }]));
    }
    let mut told = 0;
    while told < 20 {
        crate::kit::wait_readable(spawner.as_fd());
        let (ticket, result) = spawner.poll().expect("it is readable");
        match result {
            Ok(child) => assert!(ticket % 2 == 0 && ended(&child) == Exit::Code(0)),
            Err(error) => assert!(ticket % 2 == 1 && error.stage == Stage::Exec),
        }
        told += 1;
    }
    assert!(!has_children());
}

fn a_dropped_spawner_takes_nobody_with_it() {
    // Within this process: the kit drops its spawner after each spawn.
    process::become_subreaper().expect("Linux 3.4");
    let (supervisor, mut reader) = spawn_reading(role(&["drop-spawner"]));
    let pid = Pid::from_raw(line(&mut reader).parse().expect("a pid"));
    let daemon = pidfd_open(pid).expect("allowed").expect("it lives");
    // Threads end in moments once they do; what a fresh process takes to come and go is long enough for that.
    for _ in 0..20 {
        ended(&spawn(program(&["true"])));
    }
    assert!(!is_dead(daemon.as_fd()));
    kill(&supervisor, libc::SIGKILL);
    ended(&supervisor);
    crate::kit::wait_readable(daemon.as_fd());
    crate::kit::until("all are reaped", || process::reap_orphan() == process::Orphans::None);
}

fn spawners_take_no_signal_of_the_process() {
    let status = |task: &str| fs::read_to_string(format!("/proc/self/task/{task}/status")).expect("/proc");
    let field = |status: &str, name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        found.trim().to_owned()
    };
    let mine = || field(&status(&Pid::this().to_string()), "SigBlk:");
    let before = mine();
    let _spawner = Spawner::start(2).expect("threads");
    assert_eq!(mine(), before, "starting them changed nothing here");
    let mut masks = Vec::new();
    crate::kit::until("both have taken their names", || {
        let tasks = fs::read_dir("/proc/self/task").expect("/proc");
        let tasks = tasks.map(|task| status(task.expect("/proc").file_name().to_str().expect("digits")));
        masks = tasks.filter(|task| field(task, "Name:").starts_with("spawner-")).collect();
        masks.len() == 2
    });
    for mask in masks {
        let blocked = u64::from_str_radix(&field(&mask, "SigBlk:"), 16).expect("a mask");
        // KILL and STOP can not be blocked; the C library keeps 32 and 33 for itself.
        assert_eq!(blocked | 0x1_8000_0000, 0xffff_ffff_fffb_feff);
    }
}
