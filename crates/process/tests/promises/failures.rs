//! Spawns that fail: what is told, and that nothing is left of them.

use std::fs;
use std::mem::forget;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use process::{Credentials, Errno, Exit, Limit, LimitName, Spawn, SpawnError, Stage, Stdio};

use crate::kit::{c, has_children, is_root, open_descriptors, output, program, script, skip};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    every_way_an_exec_fails_is_told_in_words_and_leaves_nothing,
    every_step_before_the_exec_that_fails_is_named,
    a_file_that_may_not_be_executed_is_told_only_if_no_other_folder_has_one,
    a_folder_of_path_that_may_not_be_entered_tells_nothing,
    a_folder_that_its_own_mount_hides_is_told_as_such,
    a_missing_interpreter_is_told_apart_from_a_missing_program,
    a_lack_of_processes_or_descriptors_is_a_shortage,
];

fn failure(spec: Spawn) -> SpawnError {
    // The first failure may open what is kept for good.
    let _ = spec.spawn().expect_err("it can not start");
    let before = open_descriptors();
    let error = spec.spawn().expect_err("it can not start");
    assert!(!has_children(), "the failed child is gone");
    assert_eq!(open_descriptors(), before);
    error
}

fn every_way_an_exec_fails_is_told_in_words_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    script(&folder.path().join("plain"), "no program\n", 0o644);
    script(&folder.path().join("nonsense"), "no program\n", 0o755);
    symlink("loop", folder.path().join("loop")).expect("a link");
    let (plain, nonsense, ring) = (path("plain"), path("nonsense"), path("loop"));
    let long = "x".repeat(256 << 10);
    let cases = [
        (vec!["./nothere"], Errno::ENOENT, "exec ./nothere: No such file or directory".to_owned()),
        (vec!["nothere"], Errno::ENOENT, "exec nothere: not found in PATH".to_owned()),
        (vec![&plain], Errno::EACCES, format!("exec {plain}: Permission denied")),
        (vec!["/"], Errno::EACCES, "exec /: Permission denied".to_owned()),
        (vec![&nonsense], Errno::ENOEXEC, format!("exec {nonsense}: Exec format error")),
        (vec!["/etc/passwd/x"], Errno::ENOTDIR, "exec /etc/passwd/x: Not a directory".to_owned()),
        (vec!["/bin/true", &long], Errno::E2BIG, "exec /bin/true: Argument list too long".to_owned()),
        (vec![&ring], Errno::ELOOP, format!("exec {ring}: Too many symbolic links encountered")),
    ];
    for (argv, errno, words) in cases {
        let error = failure(program(&argv));
        assert_eq!((error.stage, error.errno, error.to_string()), (Stage::Exec, errno, words));
        assert!(!error.is_shortage());
    }
    assert_eq!(failure(program(&[])).errno, Errno::EINVAL);
    assert_eq!(failure(program(&[""])).to_string(), "exec an empty command: Invalid argument");
}

fn every_step_before_the_exec_that_fails_is_named() {
    let mut lost = program(&["true"]);
    lost.cwd = c("/nowhere/at/all");
    assert_eq!(failure(lost).to_string(), "chdir /nowhere/at/all: No such file or directory");
    let mut lost = program(&["true"]);
    lost.cwd = c("/etc/passwd");
    assert_eq!(failure(lost).to_string(), "chdir /etc/passwd: Not a directory");

    let mut greedy = program(&["true"]);
    greedy.limits = vec![
        Limit { name: LimitName::Core, soft: 0, hard: 0 },
        Limit { name: LimitName::CpuTime, soft: 20, hard: 10 },
    ];
    let error = failure(greedy);
    assert_eq!((error.stage, error.errno), (Stage::Limit, Errno::EINVAL));
    assert_eq!(error.to_string(), "set limit cpu_time to 20 (at most 10): Invalid argument");

    let mut odd = program(&["true"]);
    odd.parent_death = Some(99);
    assert_eq!((failure(odd).stage), Stage::ParentDeath);

    // SAFETY: a number that is no descriptor; nobody closes it, since it is forgotten.
    let nothing = Arc::new(unsafe { OwnedFd::from_raw_fd(999) });
    let mut mute = program(&["true"]);
    mute.stderr = Stdio::Fd(Arc::clone(&nothing));
    let error = failure(mute);
    forget(nothing);
    assert_eq!(error.to_string(), "redirect stderr: Bad file number");
}

fn a_file_that_may_not_be_executed_is_told_only_if_no_other_folder_has_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    for name in ["forbidden", "good"] {
        fs::create_dir(place(name)).expect("a folder of ours");
    }
    script(&place("forbidden/tool"), "#!/bin/sh\n", 0o644);
    let run = |path: String| {
        let mut spec = program(&["tool"]);
        spec.env = vec![c(&format!("PATH={path}"))].into();
        spec
    };
    let (forbidden, good) = (place("forbidden").display().to_string(), place("good").display().to_string());
    let error = failure(run(format!("/nowhere:{forbidden}:{good}:/etc/passwd")));
    assert_eq!(error.to_string(), format!("exec {forbidden}/tool: Permission denied"));
    script(&place("good/tool"), "#!/bin/sh\necho good\n", 0o755);
    assert_eq!(output(run(format!("{forbidden}:{good}"))), ("good\n".to_owned(), Exit::Code(0)));
}

fn a_folder_of_path_that_may_not_be_entered_tells_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).expect("a folder of ours");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("our folder");
    let mut spec = program(&["nothere"]);
    spec.env = vec![c(&format!("PATH={}:/bin", locked.display()))].into();
    if is_root() {
        // Root may enter anywhere.
        spec.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: None });
    }
    assert_eq!(failure(spec).to_string(), "exec nothere: not found in PATH");
}

fn a_folder_that_its_own_mount_hides_is_told_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let (place, below) = (folder.path().join("place"), folder.path().join("place/below"));
    fs::create_dir_all(&below).expect("a folder of ours");
    let mut spec = program(&["true"]);
    spec.mounts = vec![(c(&folder.path().display().to_string()), c(&place.display().to_string()))];
    spec.cwd = c(&below.display().to_string());
    let error = failure(spec);
    if error.stage == Stage::Mount {
        return skip("only root mounts");
    }
    let (below, place) = (below.display(), place.display());
    let wanted = format!("chdir {below} (its {place} is a folder of its own): No such file or directory");
    assert_eq!(error.to_string(), wanted);
}

fn a_missing_interpreter_is_told_apart_from_a_missing_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("script");
    script(&path, "#!/no/such/interpreter\n", 0o755);
    let path = path.to_str().expect("UTF-8");
    let error = failure(program(&[path]));
    assert_eq!((error.stage, error.errno), (Stage::Interpreter, Errno::ENOENT));
    assert_eq!(error.to_string(), format!("exec {path}: the file is there, the interpreter it names is not"));
}

fn a_lack_of_processes_or_descriptors_is_a_shortage() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let mut spec = program(&["/bin/true"]);
    for stdio in [&mut spec.stdin, &mut spec.stdout, &mut spec.stderr] {
        *stdio = Stdio::Inherit;
    }
    // What is kept for good is opened now.
    crate::kit::ended(&spec.spawn().expect("nothing is short yet"));
    // SAFETY: one rlimit of ours is written, then read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let few = libc::rlimit { rlim_cur: 3, ..limit };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few), 0);
    }
    let error = spec.spawn().expect_err("there is no room for a pidfd");
    assert_eq!((error.stage, error.errno, error.is_shortage()), (Stage::Clone, Errno::EMFILE, true));
    // SAFETY: as above.
    unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0) };

    if is_root() {
        // Root is above this limit.
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).expect("root may");
    }
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit of ours is read.
    unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const none), 0) };
    let error = spec.spawn().expect_err("there is no room for a process");
    assert_eq!((error.stage, error.errno, error.is_shortage()), (Stage::Clone, Errno::EAGAIN, true));
    assert_eq!(error.to_string(), "start a process: the limit of processes is reached (ulimit -u, pids.max)");
    assert!(!has_children());
}
