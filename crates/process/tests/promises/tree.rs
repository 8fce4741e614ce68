//! Ending whole families.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use process::{
    Exit, Identity, Orphans, Pid, Snapshot, Stat, become_subreaper, freeze_and_kill, is_dead, reap_orphan,
};

use crate::kit::{ended, kill_and_reap, line, program, shell, spawn, spawn_reading, until};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_fork_bomb_is_frozen_and_killed_and_leaves_nobody,
    a_family_that_makes_orphans_all_the_time_is_ended,
    who_is_spared_runs_on,
    what_a_crashed_leader_left_in_its_session_is_found_by_its_identity,
    nobody_else_is_touched,
];

fn identity(pid: Pid) -> Identity {
    Identity::of(pid).expect("/proc").expect("it lives")
}

const KILLED: Exit = Exit::Signal { signal: libc::SIGKILL, core_dumped: false };

fn a_fork_bomb_is_frozen_and_killed_and_leaves_nobody() {
    become_subreaper().expect("Linux 3.4");
    // 127 shells, each the parent of two others, and all of them still growing when the killing begins.
    let bomb =
        "b() { if [ $1 -gt 0 ]; then b $(($1-1)) & b $(($1-1)) & wait; else exec sleep 1000; fi; }; b 6";
    let leader = spawn(shell(bomb));
    until("it has begun", || Snapshot::take().expect("/proc").descendants(leader.pid).len() >= 10);
    let killed = freeze_and_kill(&[identity(leader.pid)], |_| false).expect("/proc");
    assert!(killed.complete && killed.pids.len() > 10 && killed.pids.contains(&leader.pid));
    assert_eq!(ended(&leader), KILLED);
    until("all are reaped", || match reap_orphan() {
        Orphans::None => true,
        Orphans::Living => false,
        // Some may have been zombies already, whose parents were killed.
        Orphans::Reaped(..) => false,
    });
    let left = Snapshot::take().expect("/proc");
    assert!(left.iter().all(|stat| stat.session != leader.pid), "one pass was enough");
}

fn a_family_that_makes_orphans_all_the_time_is_ended() {
    become_subreaper().expect("Linux 3.4");
    let (leader, mut reader) =
        spawn_reading(shell("i=0; while [ $i -lt 5000 ]; do (sleep 1000 &); echo; i=$((i+1)); done; wait"));
    for _ in 0..20 {
        line(&mut reader);
    }
    let killed = freeze_and_kill(&[identity(leader.pid)], |_| false).expect("/proc");
    assert!(killed.complete && killed.pids.len() > 20, "{killed:?}");
    assert_eq!(ended(&leader), KILLED);
    until("all are reaped", || reap_orphan() == Orphans::None);
}

fn who_is_spared_runs_on() {
    become_subreaper().expect("Linux 3.4");
    let (leader, mut reader) = spawn_reading(shell("sleep 1000 & echo $!; sleep 1000 & echo $!; wait"));
    let spared = Pid::from_raw(line(&mut reader).parse().expect("a pid"));
    let other = Pid::from_raw(line(&mut reader).parse().expect("a pid"));
    let killed = freeze_and_kill(&[identity(leader.pid)], |pid| pid == spared).expect("/proc");
    assert_eq!(BTreeSet::from_iter(killed.pids), BTreeSet::from([leader.pid, other]));
    ended(&leader);
    until("the other is reaped", || reap_orphan() == Orphans::Reaped(other, KILLED));
    let stat = Stat::of(spared).expect("/proc").expect("it lives");
    assert!(stat.state == 'S' || stat.state == 'R', "not stopped: {}", stat.state);
    freeze_and_kill(&[identity(spared)], |_| false).expect("/proc");
    until("it is reaped", || reap_orphan() == Orphans::Reaped(spared, KILLED));
}

fn what_a_crashed_leader_left_in_its_session_is_found_by_its_identity() {
    become_subreaper().expect("Linux 3.4");
    let script = "sleep 1000 & sleep 1000 & sleep 1000 & echo; kill -9 $$";
    let (leader, mut reader) = spawn_reading(shell(script));
    line(&mut reader);
    crate::kit::wait_readable(leader.pidfd.as_fd());
    let who = identity(leader.pid);
    assert_eq!(ended(&leader), KILLED);
    let killed = freeze_and_kill(&[who], |_| false).expect("/proc");
    assert_eq!((killed.pids.len(), killed.complete), (3, true));
    until("all are reaped", || reap_orphan() == Orphans::None);
    assert_eq!(freeze_and_kill(&[who], |_| false).expect("/proc").pids, []);
}

fn nobody_else_is_touched() {
    let bystander = spawn(program(&["sleep", "1000"]));
    let victim = spawn(program(&["sleep", "1000"]));
    let killed = freeze_and_kill(&[identity(victim.pid), identity(Pid::this())], |pid| pid == bystander.pid);
    assert_eq!(killed.expect("/proc").pids, [victim.pid], "not this process, though it was named");
    ended(&victim);
    assert!(!is_dead(bystander.pidfd.as_fd()));
    kill_and_reap(&bystander);
}
