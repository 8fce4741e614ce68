//! Cgroups: born into, limited by, killed and removed as one.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Ceilings, Cgroups, Exit, Former, Home, Kept, Resource, Spawned, leaf_of};

use crate::kit::{PATIENCE, ended, kill_and_reap, line, shell, spawn, spawn_reading, until};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_child_is_born_into_its_cgroup_and_nothing_of_it_gets_out,
    the_whole_of_a_cgroup_dies_in_one_step_and_its_emptiness_is_told,
    who_needs_more_memory_than_its_ceiling_is_killed_and_that_is_counted,
    a_ceiling_of_processes_holds_for_the_whole_tree,
    a_ceiling_of_processor_time_is_set,
    a_failed_spawn_leaves_no_cgroup_behind,
    what_a_former_run_left_is_found_killed_and_removed_but_for_what_stays,
];

const NAME: &str = "supervisor-promise";

/// A home for one promise; `None` where this machine refuses one, which then is what is promised.
fn home(trees: bool, resources: &[Resource]) -> Option<Home> {
    let offer = Cgroups::look();
    let possible = (!trees || offer.unified().is_ok())
        && resources.iter().all(|resource| offer.controller(*resource).is_ok());
    let name = format!("{NAME}-{}", std::process::id());
    match Home::plan(&offer, &name, trees, resources) {
        Ok(home) => {
            home.make(&offer).expect("what is offered can be made");
            assert!(possible, "it is made though it is not offered");
            Some(home)
        }
        Err(error) => {
            assert!(!possible, "it is offered, but {error}");
            crate::kit::skip(&format!("the refusal was checked: {error}"));
            None
        }
    }
}

fn removed(home: &Home, child: &Spawned) {
    let cgroup = child.cgroup.as_ref().expect("it has one");
    assert!(cgroup.kill_and_wait(PATIENCE), "it dies");
    assert!(cgroup.remove(), "it is removed");
    home.remove();
    assert!(home.folders().all(|folder| !folder.exists()), "nothing is left of the home");
}

fn a_child_is_born_into_its_cgroup_and_nothing_of_it_gets_out() {
    let Some(home) = home(true, &[]) else { return };
    // It empties its environment, leaves its session, and loses its parent.
    let mut spec = shell("setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' & wait $!; read never");
    spec.cgroup = Some(home.plot(Kept::Kept, "w:0.1", Ceilings::default(), false).expect("it is offered"));
    let (child, mut reader) = spawn_reading(spec);
    let escaped: i32 = line(&mut reader).parse().expect("a pid");
    let place = Some(("kept".to_owned(), "w:0.1".to_owned()));
    assert_eq!(leaf_of(child.pid, home.name()), place);
    assert_eq!(leaf_of(process::Pid::from_raw(escaped), home.name()), place);
    assert_eq!(leaf_of(process::Pid::this(), home.name()), None);
    let cgroup = child.cgroup.as_ref().expect("it has one");
    assert!(cgroup.keeps_tree() && cgroup.is_populated());
    kill_and_reap(&child);
    assert!(cgroup.members().contains(&process::Pid::from_raw(escaped)), "it lives on without its leader");
    assert!(!cgroup.remove(), "it is not empty");
    removed(&home, &child);
    until("it is gone", || !Path::new(&format!("/proc/{escaped}/exe")).exists());
}

fn the_whole_of_a_cgroup_dies_in_one_step_and_its_emptiness_is_told() {
    let Some(home) = home(true, &[]) else { return };
    let mut spec = shell("for i in 1 2 3 4 5 6 7 8; do setsid sleep 1000 & done; echo ready; wait");
    spec.cgroup = Some(home.plot(Kept::Daemon, "w:0.1", Ceilings::default(), false).expect("it is offered"));
    let (child, mut reader) = spawn_reading(spec);
    assert_eq!(line(&mut reader), "ready");
    let cgroup = child.cgroup.clone().expect("it has one");
    assert_eq!(home.daemons().map(|daemons| daemons.join("w:0.1").exists()), Some(true));
    until("all are there", || cgroup.members().len() == 9);
    let events = cgroup.watch().expect("it can be watched").expect("it keeps a tree");
    cgroup.kill();
    let patience = PollTimeout::try_from(PATIENCE).expect("fits");
    while events.is_populated() {
        assert_eq!(poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], patience), Ok(1));
    }
    assert_eq!(ended(&child), Exit::Signal { signal: 9, core_dumped: false });
    removed(&home, &child);
}

fn who_needs_more_memory_than_its_ceiling_is_killed_and_that_is_counted() {
    let Some(home) = home(false, &[Resource::Memory]) else { return };
    let ceilings = Ceilings { memory: Some(32 << 20), ..Ceilings::default() };
    let mut spec = shell("x=0123456789abcdef; while :; do x=$x$x; done");
    spec.cgroup = Some(home.plot(Kept::Kept, "hungry:0.1", ceilings, false).expect("it is offered"));
    let child = spawn(spec);
    assert_eq!(ended(&child), Exit::Signal { signal: 9, core_dumped: false });
    let cgroup = child.cgroup.as_ref().expect("it has one");
    assert_eq!(cgroup.oom_kills(), 1);
    removed(&home, &child);
    assert_eq!(cgroup.oom_kills(), 0, "a group that is gone has no count");
}

fn a_ceiling_of_processes_holds_for_the_whole_tree() {
    let Some(home) = home(false, &[Resource::Pids]) else { return };
    let ceilings = Ceilings { pids: Some(3), ..Ceilings::default() };
    let mut spec = shell("for i in 1 2 3 4 5; do sleep 1000 >/dev/null 2>&1 & done 2>/dev/null; echo all");
    spec.cgroup = Some(home.plot(Kept::Kept, "many:0.1", ceilings, false).expect("it is offered"));
    let (child, mut reader) = spawn_reading(spec);
    // A shell that cannot fork says so and ends.
    assert_ne!(line(&mut reader), "all");
    let cgroup = child.cgroup.as_ref().expect("it has one");
    assert!(cgroup.members().len() <= 3);
    cgroup.kill_and_wait(PATIENCE);
    ended(&child);
    removed(&home, &child);
}

fn a_ceiling_of_processor_time_is_set() {
    let Some(home) = home(false, &[Resource::Cpu]) else { return };
    let ceilings = Ceilings { cpu: Some(0.25), ..Ceilings::default() };
    let mut spec = shell("cat /proc/self/cgroup");
    spec.cgroup = Some(home.plot(Kept::Kept, "slow:0.1", ceilings, false).expect("it is offered"));
    let (child, _reader) = spawn_reading(spec);
    ended(&child);
    let quota = home.folders().find_map(|folder| {
        let leaf = folder.join("kept/slow:0.1");
        let text = fs::read_to_string(leaf.join("cpu.cfs_quota_us"));
        text.or_else(|_| fs::read_to_string(leaf.join("cpu.max"))).ok()
    });
    assert!(quota.as_deref().is_some_and(|quota| quota.starts_with("25000")), "{quota:?}");
    removed(&home, &child);
}

fn a_failed_spawn_leaves_no_cgroup_behind() {
    let Some(home) = home(true, &[]) else { return };
    let mut spec = crate::kit::program(&["/no/such/program"]);
    spec.cgroup = Some(home.plot(Kept::Kept, "w:0.1", Ceilings::default(), false).expect("it is offered"));
    let error = std::thread::spawn(move || spec.spawn().unwrap_err()).join().expect("no panic");
    assert_eq!(error.to_string(), "exec /no/such/program: No such file or directory");
    assert!(home.folders().all(|folder| !folder.join("kept/w:0.1").exists()));
    home.remove();
}

fn what_a_former_run_left_is_found_killed_and_removed_but_for_what_stays() {
    let Some(home) = home(true, &[]) else { return };
    let start = |leaf: &str| {
        let mut spec = shell("setsid sleep 1000 & exec sleep 1000");
        spec.cgroup = Some(home.plot(Kept::Kept, leaf, Ceilings::default(), false).expect("it is offered"));
        spawn(spec)
    };
    let (stays, goes) = (start("stays:0.1"), start("goes:0.1"));
    let folders: Vec<_> = home.folders().map(Path::to_owned).collect();
    let foreign = Former::of(folders.clone(), "supervisor-of-others");
    assert!(foreign.folders().is_empty(), "folders of another name are not touched");
    let former = Former::of(folders, home.name());
    let found = former.cgroup_of(stays.pid, home.name());
    assert_eq!(found, stays.cgroup);
    assert!(former.clear(|_, leaf| leaf == "stays:0.1") >= 1);
    ended(&goes);
    assert!(!goes.cgroup.as_ref().expect("it had one").is_populated());
    assert!(stays.cgroup.as_ref().expect("it has one").is_populated());
    stays.cgroup.as_ref().expect("it has one").kill_and_wait(Duration::from_secs(60));
    ended(&stays);
    removed(&home, &stays);
}
