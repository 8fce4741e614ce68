//! What a program is given beyond the ordinary: descriptors, priorities, processors, mounts.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use process::{Capability, Exit, IoPriority, Processors, Spawn, Stage, is_capable};

use crate::kit::{c, open_descriptors, output, program, shell};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    handed_descriptors_stand_at_their_numbers_whatever_theirs_were_here,
    every_variable_that_asks_for_it_holds_the_childs_own_pid,
    a_child_gets_the_processors_and_the_priorities_it_is_to_have,
    what_is_not_permitted_is_told_by_its_name_and_nothing_is_left,
    no_new_privileges_holds_for_all_that_follows,
    a_folder_mounted_for_one_child_is_seen_by_nobody_else,
];

fn file_saying(text: &str) -> Arc<OwnedFd> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, text).expect("a file");
    Arc::new(File::open(path).expect("our file").into())
}

fn handed_descriptors_stand_at_their_numbers_whatever_theirs_were_here() {
    let before = open_descriptors();
    let mut shell = shell("cat <&3; cat <&4; cat <&7; ls /proc/self/fd | sort -n | tr '\\n' ' '");
    // Ours have low numbers, so that they stand in one another's way.
    let (seven, four, three) = (file_saying("seven "), file_saying("four "), file_saying("three "));
    shell.handed = vec![(3, three), (4, four), (7, seven)];
    let (text, exit) = output(shell);
    assert_eq!(exit, Exit::Code(0));
    // The listing's own descriptor takes the first free number, 5.
    assert_eq!(text, "three four seven 0 1 2 3 4 5 7 ");
    assert!(open_descriptors() <= before + 8, "spawning leaks descriptors");
}

fn every_variable_that_asks_for_it_holds_the_childs_own_pid() {
    let mut shell = shell("[ $A = $$ ] && [ $LISTEN_PID = $$ ] && sh -c '[ $A = $PPID ]'");
    shell.pid_variables = vec![c("A"), c("LISTEN_PID")];
    assert_eq!(output(shell).1, Exit::Code(0));
}

fn a_child_gets_the_processors_and_the_priorities_it_is_to_have() {
    let last = Processors::own().numbers().last().expect("it runs on one");
    let mut shell = shell(
        "grep Cpus_allowed_list /proc/self/status; cat /proc/self/oom_score_adj; ionice -p $$ 2>/dev/null || echo idle",
    );
    shell.processors = Some(Processors::of([last]));
    shell.oom_score_adj = Some(777);
    shell.io_priority = Some(IoPriority::Idle);
    let (text, exit) = output(shell);
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(text, format!("Cpus_allowed_list:\t{last}\n777\nidle\n"));
    assert_ne!(
        fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim(),
        "777",
        "the parent keeps its own"
    );
}

fn what_is_not_permitted_is_told_by_its_name_and_nothing_is_left() {
    let refused = |spawn: Spawn| std::thread::spawn(move || spawn.spawn().unwrap_err()).join().unwrap();
    let mut nowhere = program(&["true"]);
    nowhere.processors = Some(Processors::of([Processors::LAST]));
    let error = refused(nowhere);
    assert_eq!(error.stage, Stage::Processors);
    assert_eq!(error.to_string(), "choose processors 8191: Invalid argument");
    let mut mount = program(&["true"]);
    mount.mounts = vec![(c("/nowhere"), c("/tmp"))];
    let error = refused(mount);
    assert_eq!(error.stage, Stage::Mount);
    let expected = if is_capable(Capability::SysAdmin) {
        "mount /nowhere at /tmp: No such file or directory"
    } else {
        "mount in a namespace of its own: Operation not permitted"
    };
    assert_eq!(error.to_string(), expected);
    if !is_capable(Capability::SysNice) {
        let mut first = program(&["true"]);
        first.io_priority = Some(IoPriority::Realtime(0));
        assert_eq!(refused(first).to_string(), "ionice realtime:0: Operation not permitted");
    }
    if !is_capable(Capability::SysResource) {
        let mut safe = program(&["true"]);
        safe.oom_score_adj = Some(-1000);
        assert_eq!(refused(safe).to_string(), "oom_score_adj -1000: Permission denied");
    }
    assert!(!crate::kit::has_children());
}

fn no_new_privileges_holds_for_all_that_follows() {
    let mut shell = shell("grep NoNewPrivs /proc/self/status");
    shell.no_new_privileges = true;
    assert_eq!(output(shell).0, "NoNewPrivs:\t1\n");
    assert!(fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t0"));
}

fn a_folder_mounted_for_one_child_is_seen_by_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shell = shell("echo mine > /tmp/only-here && cat /tmp/only-here");
    shell.mounts = vec![(c(folder.path().to_str().unwrap()), c("/tmp"))];
    if !is_capable(Capability::SysAdmin) {
        // Without the right to mount, the promise is the refusal.
        let error = std::thread::spawn(move || shell.spawn().unwrap_err()).join().unwrap();
        assert_eq!(error.stage, Stage::Mount);
        return;
    }
    assert_eq!(output(shell), ("mine\n".to_owned(), Exit::Code(0)));
    assert_eq!(fs::read_to_string(folder.path().join("only-here")).unwrap(), "mine\n");
    assert!(!std::path::Path::new("/tmp/only-here").exists());
}
