//! The workers of `scripts/shell`, run for real, each in a copy of its folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Said, Sandbox, skipped, until};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

/// Copies the examples into the sandbox: nothing is written where they lie.
fn copied(sandbox: &Sandbox) -> PathBuf {
    let to = sandbox.path().join("shell");
    let copy = Command::new("cp").arg("-r").arg(scripts().join("shell")).arg(&to).status();
    assert!(copy.expect("cp can be executed").success());
    to
}

/// Runs the config of an example to its end, and says what it printed.
#[track_caller]
fn run(example: &str, variables: &[(&str, &str)]) -> Said {
    let sandbox = Sandbox::new();
    let folder = copied(&sandbox).join(example);
    let mut command = sandbox.command("supervisor");
    command.current_dir(folder).args(["run", "config.json"]).envs(variables.iter().copied());
    Said::of(&mut command).ends_with(0)
}

/// What workers printed themselves, without what went to the log.
fn lines(said: &Said) -> Vec<&str> {
    said.out.lines().filter(|line| !line.contains(" | ")).collect()
}

#[test]
fn a_worker_in_sh_reads_messages_as_lines() {
    let said = run("lines", &[("COUNT", "7")]);
    assert_eq!(said.out, "1 1\n2 4\n3 9\n4 16\n5 25\n6 36\n7 49\n");
}

#[test]
fn a_worker_in_sh_gets_and_puts() {
    let said = run("get-put", &[]);
    assert_eq!(lines(&said), ["NEVER", "LOSE", "A", "MESSAGE"]);
}

#[test]
fn unmodified_filters_count_what_failed() {
    let said = run("filters", &[]);
    let mut counts: Vec<String> = said.out.lines().map(|line| line.trim().to_owned()).collect();
    counts.sort();
    assert_eq!(counts, ["1 /missing.png 404", "1 /orders 201", "1 /orders 500", "2 /missing.html 404"]);
}

#[test]
fn files_are_fanned_out() {
    let said = run("fan-out", &[("FOLDER", "../filters"), ("PATTERN", "*.log")]);
    let log = std::fs::read_to_string(scripts().join("shell/filters/access.log")).unwrap();
    assert_eq!(said.out, format!("1 files, {} lines, {} bytes\n", log.lines().count(), log.len()));
}

// Known defect: about one run in five does not end by itself, with the dead letter's queue still waited for.
#[test]
fn a_pool_tries_again_and_gives_up_at_last() {
    let said = run("pool", &[]);
    let mut told = lines(&said);
    told.sort_unstable();
    assert_eq!(told, ["gave up on: cake 0", "served 2 coffee", "served 3 tea", "served 7 juice"]);
    for attempt in 1..=3 {
        assert!(said.out.contains(&format!("try {attempt} of cake")), "{}", said.out);
    }
}

#[test]
fn what_is_done_again_and_again_goes_on_until_it_is_told_to_stop() {
    let sandbox = Sandbox::new();
    let folder = copied(&sandbox).join("cron");
    let mut command = sandbox.command("supervisor");
    command.current_dir(&folder).args(["run", "config.json", "--detach"]);
    Said::of(command.env("EVERY", "20ms").env("NOTES", "notes.txt")).ends_with(0);
    until("it has run three times", || {
        (sandbox.read("shell/cron/notes.txt").lines().count() >= 3).then_some(())
    });
    let why = sandbox.supervisor(&["why", "count"]).ends_with(0).out;
    assert!(why.contains("next at "), "{why}");
    sandbox.supervisor(&["shutdown"]).ends_with(0);
}

#[test]
fn a_script_brings_its_workers_along() {
    let sandbox = Sandbox::new();
    let folder = copied(&sandbox).join("spawn");
    let said = Said::of(sandbox.shell().arg("./build.sh 25").current_dir(folder)).ends_with(0);
    assert_eq!(said.out.lines().count(), 26, "{}", said.out);
    assert!(said.out.ends_with("25 parts\n"), "{}", said.out);
}

#[test]
fn every_script_is_clean() {
    if Command::new("shellcheck").arg("--version").output().is_err() {
        skipped("there is no shellcheck");
        return;
    }
    let mut all = Vec::new();
    let mut folders = vec![scripts()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap().starts_with(b"#!") {
                all.push(path);
            }
        }
    }
    assert!(all.len() > 10, "{all:?}");
    let said = Said::of(Command::new("shellcheck").args(&all));
    assert_eq!(said.code, 0, "{}", said.out);
}
