//! What becomes of children when their parent ends, one way or another.

use std::hint::black_box;
use std::os::fd::AsFd;

use process::{Orphans, become_subreaper, is_dead, reap_orphan};
use worker::{Exit, WaitError};

use crate::kit::{A_WHILE, KILLED, PATIENCE, family, get, hold, queue, role, until, until_dead};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_parent_that_returns_from_main_ends_its_daemons_and_waits_for_the_others,
    a_parent_that_exits_ends_its_daemons_and_waits_for_the_others,
    a_parent_that_exits_from_another_thread_ends_its_daemons_and_waits_for_the_others,
    a_parent_that_panics_ends_its_daemons_and_waits_for_the_others,
    a_parent_killed_with_9_takes_its_daemons_along_and_leaves_the_others,
    a_daemon_does_not_die_with_the_thread_that_started_it,
    no_daemon_outlives_a_parent_killed_in_the_midst_of_starting,
    a_family_of_daemons_dies_from_the_top_and_may_have_no_other_children,
    a_child_is_told_of_its_parents_death,
    a_message_that_the_parent_got_last_does_not_keep_its_child_waiting,
    the_last_wait_of_a_parent_that_listens_to_signals_ends_by_one,
    the_child_of_a_fork_waits_for_nobody,
];

/// Has a parent end in a way, and sees to its child and its daemon.
fn ending(how: &str, code: i32) {
    let (said, family) = (queue("said"), family());
    let go = family.event("go").unwrap();
    let parent = role(&["parent", how]).queue("said", &said).event("go", &go);
    let parent = parent.start().expect("it starts");
    let child = hold(&get(&said));
    let daemon = hold(&get(&said));
    // The daemon first, at once; the parent waits for the other.
    until_dead(&daemon);
    assert_eq!(parent.join(A_WHILE), Err(WaitError::Timeout));
    assert!(!is_dead(child.as_fd()));
    go.set().expect("it is well");
    assert_eq!(parent.join(PATIENCE), Ok(Exit::Code(code)));
    assert!(is_dead(child.as_fd()), "the parent was the last to end");
    assert_eq!(said.try_get().expect("it was said before"), "done");
}

fn a_parent_that_returns_from_main_ends_its_daemons_and_waits_for_the_others() {
    ending("returns", 5);
}

fn a_parent_that_exits_ends_its_daemons_and_waits_for_the_others() {
    ending("exits", 5);
}

fn a_parent_that_exits_from_another_thread_ends_its_daemons_and_waits_for_the_others() {
    ending("exits-elsewhere", 5);
}

fn a_parent_that_panics_ends_its_daemons_and_waits_for_the_others() {
    ending("panics", 101);
}

fn a_parent_killed_with_9_takes_its_daemons_along_and_leaves_the_others() {
    become_subreaper().expect("Linux 3.4");
    let (said, family) = (queue("said"), family());
    let go = family.event("go").unwrap();
    let parent = role(&["parent", "stays"]).queue("said", &said).event("go", &go);
    let parent = parent.start().expect("it starts");
    let child = hold(&get(&said));
    let daemon = hold(&get(&said));
    assert!(!is_dead(daemon.as_fd()));
    parent.kill().expect("ours");
    assert_eq!(parent.join(PATIENCE), Ok(KILLED));
    until_dead(&daemon);
    // The other one works on: it hears, and answers.
    assert!(!is_dead(child.as_fd()));
    go.set().expect("it is well");
    assert_eq!(get(&said), "done");
    until("the orphans are reaped", || reap_orphan() == Orphans::None);
}

fn a_daemon_does_not_die_with_the_thread_that_started_it() {
    let (said, family) = (queue("said"), family());
    let go = family.event("go").unwrap();
    let parent = role(&["parent-by-thread"]).queue("said", &said).event("go", &go);
    let parent = parent.start().expect("it starts");
    let daemon = hold(&get(&said));
    assert!(!is_dead(daemon.as_fd()));
    go.set().expect("it is well");
    assert_eq!(get(&said), "done");
    assert_eq!(parent.join(PATIENCE), Ok(Exit::Code(0)));
}

fn no_daemon_outlives_a_parent_killed_in_the_midst_of_starting() {
    become_subreaper().expect("Linux 3.4");
    for round in 0..24 {
        let said = queue("said");
        let parent = role(&["storm"]).queue("said", &said).start().expect("it starts");
        // Killed at another place of a start each time.
        for _ in 0..=round % 3 {
            get(&said);
        }
        for _ in 0..round * 60 {
            black_box(std::fs::metadata("/").is_ok());
        }
        parent.kill().expect("ours");
        assert_eq!(parent.join(PATIENCE), Ok(KILLED));
        until("all have died", || reap_orphan() == Orphans::None);
    }
}

fn a_family_of_daemons_dies_from_the_top_and_may_have_no_other_children() {
    become_subreaper().expect("Linux 3.4");
    let said = queue("said");
    let top = role(&["chain"]).args(["3"]).daemon(true).queue("said", &said);
    let top = top.start().expect("it starts");
    let held: Vec<_> = (0..4).map(|_| hold(&get(&said))).collect();
    assert!(held.iter().all(|one| !is_dead(one.as_fd())));
    top.kill().expect("ours");
    held.iter().for_each(until_dead);
    until("the orphans are reaped", || reap_orphan() == Orphans::None);

    let refused = role(&["daemon-with-a-child"]).daemon(true).queue("said", &said);
    let refused = refused.start().expect("it starts");
    assert!(get(&said).contains("daemon children only"));
    assert_eq!(refused.join(PATIENCE), Ok(Exit::Code(0)));
}

fn a_child_is_told_of_its_parents_death() {
    become_subreaper().expect("Linux 3.4");
    let said = queue("said");
    let middle = role(&["middle"]).queue("said", &said).start().expect("it starts");
    // The first child of the first child.
    assert_eq!(get(&said), "Process-1:1");
    middle.kill().expect("ours");
    assert_eq!(get(&said), "orphaned");
    assert_eq!(middle.join(PATIENCE), Ok(KILLED));
    until("the orphan is reaped", || reap_orphan() == Orphans::None);
}

fn end_the_orphans() {
    let roots: Vec<_> = process::Snapshot::take()
        .expect("/proc")
        .descendants(process::Pid::this())
        .into_iter()
        .filter_map(|pid| process::Identity::of(pid).expect("/proc"))
        .collect();
    process::freeze_and_kill(&roots, |_| false).expect("/proc");
    until("all are reaped", || reap_orphan() == Orphans::None);
}

fn a_message_that_the_parent_got_last_does_not_keep_its_child_waiting() {
    let (there, said) = (queue("there"), queue("said"));
    there.put(&"only".to_owned()).expect("there is room");
    let parent = role(&["get-one-and-end"]).queue("there", &there).queue("said", &said);
    let parent = parent.start().expect("it starts");
    assert_eq!(get(&said), "got");
    // Closed: the child's get ends when nothing is left, nor in anybody's hand.
    there.close();
    assert_eq!(parent.join(PATIENCE), Ok(Exit::Code(0)));
}

fn the_last_wait_of_a_parent_that_listens_to_signals_ends_by_one() {
    become_subreaper().expect("Linux 3.4");
    let said = queue("said");
    let parent = role(&["end-while-waiting"]).queue("said", &said).start().expect("it starts");
    let child = hold(&get(&said));
    // It may not have come to its last wait yet, where TERM ends it; before, TERM is only noted.
    until("it is ended by TERM", || {
        parent.terminate().expect("ours");
        parent.join(std::time::Duration::from_millis(5)).is_ok()
    });
    assert_eq!(parent.exit_code().and_then(Exit::signal), Some(15));
    assert!(!is_dead(child.as_fd()), "what is no daemon lives on");
    end_the_orphans();
}

#[allow(unsafe_code)]
fn the_child_of_a_fork_waits_for_nobody() {
    let sleeper = crate::kit::sleeper().start().expect("it starts");
    // SAFETY: the child makes no use of what other threads may have held, but for ending by `exit`, which is the promise.
    match unsafe { nix::unistd::fork() }.expect("a process") {
        nix::unistd::ForkResult::Child => std::process::exit(0),
        nix::unistd::ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None).expect("it is ours");
        }
    }
    assert!(sleeper.is_alive());
    sleeper.kill().expect("ours");
    sleeper.join(PATIENCE).expect("it ends");
}
