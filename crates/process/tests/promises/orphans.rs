//! Orphans come to the main thread, and only they; other threads may look for them too.

use std::os::fd::AsFd;

use process::{
    Exit, Identity, Orphans, Pid, Snapshot, Spawner, become_subreaper, freeze_and_kill, origin, reap_orphan,
    share_orphans,
};

use crate::kit::{ended, line, output, program, role, shell, spawn, spawn_reading, until, wait_readable};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    leaders_alive_or_dead_are_no_orphans,
    who_forked_twice_and_left_its_session_is_adopted_found_and_killed,
    where_an_orphan_comes_from_is_written_in_it,
    many_orphans_are_reaped_until_none_is_left,
    another_thread_reaps_orphans_and_its_own_children_are_none,
];

fn leaders_alive_or_dead_are_no_orphans() {
    become_subreaper().expect("Linux 3.4");
    assert_eq!(reap_orphan(), Orphans::None);
    let spawner = Spawner::start(2).expect("threads");
    for ticket in 0..50 {
        spawner.submit(ticket, program(&["true"]));
    }
    let living = spawn(program(&["sleep", "1000"]));
    let mut children = Vec::new();
    while children.len() < 50 {
        wait_readable(spawner.as_fd());
        children.extend(spawner.poll().map(|(_, child)| child.expect("it starts")));
    }
    for child in &children {
        wait_readable(child.pidfd.as_fd());
    }
    assert_eq!(reap_orphan(), Orphans::None, "fifty dead leaders and a living one are none of its business");
    for child in &children {
        assert_eq!(ended(child), Exit::Code(0));
    }
    crate::kit::kill_and_reap(&living);
}

/// Starts one that escapes and returns it, once its leader has been reaped.
fn escaped(marks: &[&str]) -> Pid {
    let mut spec = role(&["escape"]);
    for (name, value) in marks.iter().filter_map(|mark| mark.split_once('=')) {
        spec.env.push(name, value);
    }
    let (leader, mut reader) = spawn_reading(spec);
    let pid = Pid::from_raw(line(&mut reader).parse().expect("a pid"));
    assert_eq!(ended(&leader), Exit::Code(0));
    pid
}

fn who_forked_twice_and_left_its_session_is_adopted_found_and_killed() {
    become_subreaper().expect("Linux 3.4");
    let escaped = escaped(&[]);
    // The one in between was the leader's child, and may be reaped here after the leader.
    until("only the escaped one is left", || reap_orphan() == Orphans::Living);
    let snapshot = Snapshot::take().expect("/proc");
    assert_eq!(snapshot.children(Pid::this()), [escaped]);
    let stat = snapshot.get(escaped).expect("it is there");
    assert_eq!((stat.ppid, stat.session), (Pid::this(), escaped));
    let root = Identity::from(stat);
    let killed = freeze_and_kill(&[root], |_| false).expect("/proc");
    assert_eq!((killed.pids, killed.complete), (vec![escaped], true));
    until("it is reaped", || reap_orphan() != Orphans::Living);
    assert_eq!(reap_orphan(), Orphans::None);
    assert_eq!(root.hold().expect("/proc").map(drop), None);
}

fn where_an_orphan_comes_from_is_written_in_it() {
    become_subreaper().expect("Linux 3.4");
    let escaped =
        escaped(&["SUPERVISOR_WORKER=reader", "SUPERVISOR_INSTANCE=3", "SUPERVISOR_NAME=wordcount"]);
    let origin = origin(escaped).expect("/proc").expect("it lives");
    assert_eq!((origin.session, origin.pgrp, origin.identity.pid), (escaped, escaped, escaped));
    let marks = ["WORKER", "INSTANCE", "NAME", "LAUNCH"].map(|name| origin.mark(name));
    assert_eq!(marks, [Some("reader"), Some("3"), Some("wordcount"), None]);
    assert_eq!(process::environ_var(escaped, "SUPERVISOR_WORKER"), Some(b"reader".to_vec()));
    assert_eq!(process::environ_var(escaped, "SUPERVISOR_WORK"), None);
    assert_eq!(process::cmdline(escaped), "sleep 1000");
    freeze_and_kill(&[origin.identity], |_| false).expect("/proc");
    until("it is reaped", || reap_orphan() == Orphans::None);
    assert_eq!(process::origin(escaped).expect("/proc"), None);
}

fn many_orphans_are_reaped_until_none_is_left() {
    become_subreaper().expect("Linux 3.4");
    let (text, exit) =
        output(shell("i=0; while [ $i -lt 200 ]; do (sh -c 'exit 5' &); i=$((i+1)); done; echo all"));
    assert_eq!((text.as_str(), exit), ("all\n", Exit::Code(0)));
    let mut fives = 0;
    until("none is left", || {
        loop {
            match reap_orphan() {
                Orphans::Reaped(_, exit) => fives += usize::from(exit == Exit::Code(5)),
                Orphans::Living => break false,
                Orphans::None => break true,
            }
        }
    });
    assert_eq!(fives, 200);
}

fn another_thread_reaps_orphans_and_its_own_children_are_none() {
    become_subreaper().expect("Linux 3.4");
    if !share_orphans() {
        println!("left out: this kernel tells no other thread of orphans");
        return;
    }
    std::thread::spawn(|| {
        assert_eq!(reap_orphan(), Orphans::None);
        let living = spawn(program(&["sleep", "1000"]));
        let dead = spawn(shell("exit 3"));
        wait_readable(dead.pidfd.as_fd());
        assert_eq!(reap_orphan(), Orphans::None, "a child of this thread is no orphan, dead or alive");
        let escaped = escaped(&[]);
        until("only the escaped one is left", || reap_orphan() == Orphans::Living);
        kill(escaped);
        until("it is reaped", || match reap_orphan() {
            Orphans::Living => false,
            reaped => {
                let exit = Exit::Signal { signal: libc::SIGKILL, core_dumped: false };
                assert_eq!(reaped, Orphans::Reaped(escaped, exit));
                true
            }
        });
        // More than one look at the kernel's list holds.
        let (text, _) =
            output(shell("i=0; while [ $i -lt 200 ]; do (sh -c 'exit 5' &); i=$((i+1)); done; echo all"));
        assert_eq!(text, "all\n");
        let mut fives = 0;
        until("none is left", || {
            let found = reap_orphan();
            fives += usize::from(matches!(found, Orphans::Reaped(_, Exit::Code(5))));
            found == Orphans::None
        });
        assert_eq!(fives, 200);
        assert_eq!(ended(&dead), Exit::Code(3), "nobody took its exit");
        crate::kit::kill_and_reap(&living);
    })
    .join()
    .expect("the other thread keeps what it promises");
}

fn kill(pid: Pid) {
    let identity = Identity::of(pid).expect("/proc").expect("it lives");
    freeze_and_kill(&[identity], |_| false).expect("/proc");
}
