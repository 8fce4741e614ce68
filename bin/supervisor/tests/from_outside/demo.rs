//! The lessons: each must show what it teaches, in every language, and leave nothing behind.

use std::fs;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use process::Snapshot;
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::{Outcome, WATCHDOG, outcome};

/// What there is.
const LESSONS: &[&str] = &[
    "process",
    "arguments",
    "isolation",
    "crash",
    "wait",
    "kill",
    "terminate",
    "daemon",
    "race",
    "join",
    "lock",
    "deadlock",
    "files",
    "queue",
    "full-and-empty",
];

/// Where a lesson makes its folder, and what its processes bear in their environment.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder for the test"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
        command.arg("demo").args(arguments).env("TMPDIR", self.path()).current_dir(self.path());
        command.env("SUPERVISOR_NAME", "nobody").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments).spawn().expect("the command starts"))
    }

    /// Living processes that a lesson here has started.
    fn processes(&self) -> Vec<Pid> {
        let here = self.path().as_os_str().as_encoded_bytes();
        let snapshot = Snapshot::take().expect("/proc can be read");
        let living: Vec<Pid> =
            snapshot.iter().filter(|stat| !stat.is_zombie()).map(|stat| stat.pid).collect();
        let ours = |pid: &Pid| process::environ_var(*pid, "TMPDIR").is_some_and(|folder| folder == here);
        living.into_iter().filter(ours).collect()
    }

    /// Nothing is left: no file, no process.
    #[track_caller]
    fn is_empty(&self) {
        let left: Vec<_> = fs::read_dir(self.path()).expect("our folder").collect();
        assert!(left.is_empty(), "{left:?}");
        let left: Vec<String> = self.processes().into_iter().map(process::cmdline).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn every_lesson_sees_what_it_teaches_in_both_languages_and_leaves_nothing() {
    for lesson in LESSONS {
        let (en, zh) = (Place::new(), Place::new());
        let said = en.run(&[lesson]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{lesson}: {}", said.out);
        assert!(said.out.starts_with(&format!("{lesson}: ")), "{}", said.out);
        let gesagt = zh.run(&[lesson, "--lang", "zh"]);
        assert_eq!((gesagt.code, gesagt.err.as_str()), (Some(0), ""), "{lesson}: {}", gesagt.out);
        let count = |text: &str, label: &str| text.lines().filter(|line| line.starts_with(label)).count();
        let steps = count(&said.out, "   seen: ");
        assert!(steps >= 3 && count(&said.out, "   so: ") == steps, "{}", said.out);
        assert_eq!(count(&gesagt.out, "   看到："), steps, "{}", gesagt.out);
        assert_eq!(count(&gesagt.out, "   说明："), steps, "{}", gesagt.out);
        // Every fact stands where its name stood.
        for text in [&said.out, &gesagt.out] {
            let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
            let is_name =
                |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert_eq!(names.filter(|name| is_name(name)).collect::<Vec<_>>(), [""; 0], "{text}");
        }
        en.is_empty();
        zh.is_empty();
    }
}

#[test]
fn every_lesson_tells_machines_that_it_taught_and_what_was_seen() {
    for lesson in LESSONS {
        let place = Place::new();
        let said = place.run(&[lesson, "--json"]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        let report: Value = serde_json::from_str(&said.out).expect("JSON and nothing else");
        assert_eq!(report["lesson"], *lesson);
        assert_eq!(report["taught"], true);
        assert!(report["seen"].as_object().is_some_and(|seen| !seen.is_empty()), "{report}");
        place.is_empty();
    }
}

#[test]
fn the_list_names_every_lesson_in_a_line() {
    let place = Place::new();
    let english = place.run(&["--json"]);
    let rows: Value = serde_json::from_str(&english.out).expect("JSON and nothing else");
    let names: Vec<&str> =
        rows.as_array().expect("rows").iter().filter_map(|row| row["lesson"].as_str()).collect();
    assert_eq!(names, LESSONS);
    for arguments in [&[][..], &["--lang", "zh"]] {
        let said = place.run(arguments);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        let first: Vec<&str> = said.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(first, LESSONS);
    }
    assert!(place.run(&["--lang", "zh"]).out.contains("进程"));
}

#[test]
fn a_lesson_that_does_not_exist_is_wrong_usage_and_the_nearest_is_named() {
    let said = Place::new().run(&["proces"]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.err.contains("\n  hint: did you mean \"process\"?"), "{said:?}");
    assert_eq!(Place::new().run(&["kill", "--lang", "tlh"]).code, Some(2));
}

#[test]
fn a_lesson_that_sees_something_else_says_so_and_does_not_end_with_0() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().expect("a folder for the test");
    let liar = elsewhere.path().join("sh");
    fs::write(&liar, "#!/bin/sh\necho child: 42; echo parent: 42\n").expect("our folder");
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).expect("our file");
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        outcome(command.env("PATH", elsewhere.path()).spawn().expect("the command starts"))
    };
    let said = run(&["isolation"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("isolation: step 3 showed something else"), "{said:?}");
    assert!(said.out.contains("   seen instead: ") && said.out.contains("fork_parent = 42"), "{said:?}");
    let said = run(&["isolation", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""), "{said:?}");
    let report: Value = serde_json::from_str(&said.out).expect("JSON and nothing else");
    assert_eq!((&report["taught"], &report["seen"]["fork_parent"]), (&Value::from(false), &Value::from(42)));
    place.is_empty();
}

#[test]
fn a_lesson_that_cannot_be_tried_says_why() {
    let place = Place::new();
    let nowhere = place.path().join("nowhere");
    let said = outcome(place.command(&["files"]).env("TMPDIR", nowhere).spawn().expect("the command starts"));
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.err.contains("the lesson cannot begin"), "{said:?}");
}

/// A pipe with room for so many bytes: who writes more stands still until somebody reads.
fn pipe_with_room(room: usize) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a pipe can be small");
    let filling = usize::try_from(size).expect("a size") - room;
    writer.write_all(&vec![b'\n'; filling]).expect("there is room");
    (reader, writer)
}

#[test]
fn a_lesson_that_is_interrupted_leaves_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let place = Place::new();
        // It gets as far as its second step and no farther: a supervisor was killed, and a worker lives on.
        let (unread, mouth) = pipe_with_room(1700);
        let mut command = place.command(&["daemon"]);
        let child = command.process_group(0).stdout(mouth).spawn().expect("the command starts");
        drop(command);
        let pid = Pid::from_raw(child.id().cast_signed());
        let deadline = Instant::now() + WATCHDOG;
        while !place.processes().iter().any(|pid| process::cmdline(*pid).contains("sleep 600")) {
            assert!(Instant::now() < deadline, "no worker ever ran");
            thread::sleep(Duration::from_millis(2));
        }
        if signal == Signal::SIGINT {
            // As a terminal does it: to all of the group.
            killpg(pid, signal).expect("our own child");
        } else {
            kill(pid, signal).expect("our own child");
        }
        let said = outcome(child);
        assert_eq!(said.code, Some(code), "{said:?}");
        place.is_empty();
        drop(unread);
    }
}

#[test]
fn a_lesson_that_nobody_hears_ends_in_silence_and_not_with_0() {
    let place = Place::new();
    let mut child = place.command(&["process"]).spawn().expect("the command starts");
    drop(child.stdout.take());
    let said = outcome(child);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    place.is_empty();
}
