//! What a shell completes: verbs, and the names of what is there now.

use std::process::Command;

use serde_json::json;
use tests::{Run, Said, Sandbox, skipped, until};

/// What bash would offer for the last of these words.
fn offered(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let script = sandbox.path().join("completions.bash");
    if !script.exists() {
        std::fs::write(&script, sandbox.supervisor(&["completions", "bash"]).ends_with(0).bytes).unwrap();
    }
    let line = r#"source ./completions.bash
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        complete -p supervisor > registered
        function=$(sed 's/.*-F \([^ ]*\).*/\1/' registered)
        $function supervisor "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    command.arg("-c").arg(line).arg("bash").arg("supervisor").args(words).current_dir(sandbox.path());
    for (name, value) in sandbox.shell().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let said = Said::of(&mut command).ends_with(0);
    assert_eq!(said.err, "", "{words:?}");
    said.out.lines().filter(|line| !line.is_empty()).map(|line| line.trim_end().to_owned()).collect()
}

fn has_bash() -> bool {
    let there = Command::new("bash").arg("--version").output().is_ok();
    if !there {
        skipped("there is no bash");
    }
    there
}

fn shop(sandbox: &Sandbox) -> Run {
    let run =
        sandbox.run(&json!({ "name": "shop", "queues": { "jobs": {}, "done": {} }, "locks": ["ledger"],
        "semaphores": { "gpu": 2 }, "events": ["go"], "values": { "total": 0 }, "barriers": { "line": 2 },
        "workers": { "counter": { "command": ["sleep", "1000"], "instances": 2 },
                     "reader": { "command": ["sleep", "1000"] } } }));
    until("all run", || run.status().workers.iter().all(|row| row.state == "running").then_some(()));
    run
}

#[test]
fn names_of_what_there_is_are_offered_where_they_belong() {
    if !has_bash() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    let of = |words: &[&str]| offered(&sandbox, words);
    assert!(of(&["sta"]).contains(&"status".to_owned()));
    assert_eq!(of(&["stop", "rea"]), ["reader"]);
    assert_eq!(of(&["stop", "counter:"]), ["counter:0", "counter:1"]);
    assert_eq!(of(&["queue", "get", "j"]), ["jobs"]);
    assert_eq!(of(&["lock", "run", ""]).iter().filter(|word| !word.starts_with('-')).count(), 1);
    assert!(of(&["lock", "run", "le"]).contains(&"ledger".to_owned()));
    assert_eq!(of(&["semaphore", "run", "g"]), ["gpu"]);
    assert_eq!(of(&["event", "wait", "g"]), ["go"]);
    assert_eq!(of(&["value", "add", "to"]), ["total"]);
    assert_eq!(of(&["barrier", "wait", "li"]), ["line"]);
    assert_eq!(of(&["kill", "reader", "--signal", "TE"]), ["TERM"]);
    let pid = run.leader("reader", 0).to_string();
    assert!(of(&["kill", &pid]).contains(&pid));
    assert_eq!(of(&["--name", "sh"]), ["shop"]);
    assert_eq!(of(&["--name", "shop", "pid", "rea"]), ["reader"]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn without_a_supervisor_completion_says_nothing_and_still_knows_the_verbs() {
    if !has_bash() {
        return;
    }
    let sandbox = Sandbox::new();
    assert!(offered(&sandbox, &["shut"]).contains(&"shutdown".to_owned()));
    assert!(offered(&sandbox, &["stop", "rea"]).is_empty());
    assert!(offered(&sandbox, &["stop", "--no"]).contains(&"--no-wait".to_owned()));
}

/// What another shell than bash says to a script that has read what was printed for it.
fn said_by(sandbox: &Sandbox, shell: &str, options: &[&str], script: &str) -> Option<Said> {
    if Command::new(shell).arg("--version").output().is_err() {
        skipped(&format!("there is no {shell}"));
        return None;
    }
    sandbox.write("script", sandbox.supervisor(&["completions", shell]).ends_with(0).out);
    let mut command = Command::new(shell);
    command.args(options).arg("-c").arg(script).current_dir(sandbox.path()).env("HOME", sandbox.path());
    for (name, value) in sandbox.shell().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(Said::of(&mut command).ends_with(0))
}

#[test]
fn fish_and_zsh_read_their_scripts() {
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    let script = "source ./script; complete -C 'supervisor stop rea'; complete -C 'supervisor sta'";
    if let Some(said) = said_by(&sandbox, "fish", &["--no-config"], script) {
        assert!(said.out.contains("reader\t") && said.out.contains("status\t"), "{} {}", said.out, said.err);
    }
    let script = "autoload -U compinit; compinit -D; source ./script; print -r -- $_comps[supervisor]";
    if let Some(said) = said_by(&sandbox, "zsh", &["-f"], script) {
        assert!(said.out.trim().starts_with('_'), "{} {}", said.out, said.err);
    }
    assert_eq!(run.stop(), 0);
}
