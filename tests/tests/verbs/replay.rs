//! `run --journal` and `replay`: what was decided is decided again.

use serde_json::{Value, json};
use tests::{Run, Sandbox, until};

use crate::{complained, json_lines, lasting, printed};

fn journaled(sandbox: &Sandbox, workers: &Value) -> Run {
    let config = json!({ "name": "r", "workers": workers });
    Run::start(sandbox, &config, &["--journal", "run.journal"])
}

#[test]
fn a_run_with_crashes_requests_and_another_config_comes_out_the_same() {
    let sandbox = Sandbox::new();
    let crashing = json!({ "command": "exit 3", "backoff": { "initial": "1ms", "max": "2ms", "jitter": 1 } });
    let mut run = journaled(&sandbox, &json!({ "crashing": crashing, "w": lasting() }));
    run.until_state("crashing", "failed");
    printed(&sandbox.supervisor(&["restart", "w"]), 0);
    printed(&sandbox.supervisor(&["spawn", "--name", "mine", "--", "sleep", "1000"]), 0);
    let next = json!({ "name": "r", "workers": { "w": lasting(), "new": lasting() } });
    let next = sandbox.write("next.json", next.to_string()).to_string_lossy().into_owned();
    printed(&sandbox.supervisor(&["apply", &next]), 0);
    printed(&sandbox.supervisor(&["shutdown"]), 0);
    run.wait();

    let said = sandbox.supervisor(&["replay", "run.journal"]);
    assert!(said.code == 0 && said.err.contains("the same comes out: 1 run,"), "{}", said.err);
    let story = printed(&sandbox.supervisor(&["replay", "run.journal", "--worker", "crashing"]), 0);
    for line in [
        "-> Launch crashing:0#6",
        "Ended crashing:0#6 Code 3",
        "= crashing:0 failed: 5 restarts within 10s; last: exit code 3",
        "Change of the config",
        "-> Removed crashing",
    ] {
        assert!(story.contains(line), "{line:?} is not in {story}");
    }
    assert!(!story.contains("mine"), "{story}");
    for known in ["w", "mine", "new"] {
        printed(&sandbox.supervisor(&["replay", "run.journal", "--worker", known]), 0);
    }
    let said = complained(&sandbox.supervisor(&["replay", "run.journal", "--worker", "nobody"]), 4);
    assert!(said.contains("no worker is called \"nobody\" in it"), "{said}");
    let answer = &json_lines(&sandbox.supervisor(&["replay", "run.journal", "--json"]), 0)[0];
    assert_eq!(
        (&answer["same"], &answer["runs"], &answer["trouble"]),
        (&json!(true), &json!(1), &Value::Null)
    );
}

#[test]
fn a_supervisor_that_is_killed_leaves_a_journal_that_can_be_read_and_the_next_run_goes_on_behind_it() {
    let sandbox = Sandbox::new();
    let run = journaled(&sandbox, &json!({ "w": lasting() }));
    run.until_state("w", "running");
    run.kill_9();
    let mut run = journaled(&sandbox, &json!({ "w": lasting() }));
    run.until_state("w", "running");
    until("it is written down", || sandbox.read("run.journal").contains("TakenBack").then_some(()));
    assert_eq!(run.stop(), 0);
    let said = sandbox.supervisor(&["replay", "run.journal"]);
    assert!(said.code == 0 && said.err.contains("2 runs"), "{}", said.err);
}

#[test]
fn a_journal_that_cannot_be_written_or_read_is_told() {
    let sandbox = Sandbox::new();
    let config = sandbox.write("c.json", json!({ "workers": { "w": { "command": "true" } } }).to_string());
    let config = config.to_string_lossy().into_owned();
    for place in ["/dev/full", "nowhere/journal", "."] {
        let said = complained(&sandbox.supervisor(&["run", &config, "--journal", place]), 1);
        assert!(said.contains(&format!("cannot write the journal {place}")), "{said}");
    }
    complained(&sandbox.supervisor(&["replay", "nowhere"]), 4);
    sandbox.write("nonsense", "{}\n");
    assert!(complained(&sandbox.supervisor(&["replay", "nonsense"]), 1).contains("line 1"));
    sandbox.write("empty", "");
    complained(&sandbox.supervisor(&["replay", "empty"]), 1);
}

#[test]
fn a_journal_is_written_to_no_file_of_something_else() {
    let sandbox = Sandbox::new();
    let config = json!({ "workers": { "w": { "command": "true" } } }).to_string();
    let path = sandbox.write("c.json", &config).to_string_lossy().into_owned();
    let said = complained(&sandbox.supervisor(&["run", &path, "--journal", &path]), 1);
    assert!(said.contains("cannot write the journal") && said.contains("and no journal"), "{said}");
    assert_eq!(sandbox.read("c.json"), config);
}

#[test]
fn two_runs_do_not_write_to_one_journal_at_once() {
    let sandbox = Sandbox::new();
    let mut run = journaled(&sandbox, &json!({ "w": lasting() }));
    let other = sandbox.write("o.json", json!({ "workers": { "w": { "command": "true" } } }).to_string());
    let other = other.to_string_lossy().into_owned();
    let begin = ["run", &other, "--journal", "run.journal"];
    let said = complained(&sandbox.supervisor(&begin), 1);
    assert!(said.contains("another run writes to it"), "{said}");
    assert_eq!(run.stop(), 0);
    printed(&sandbox.supervisor(&begin), 0);
    let said = sandbox.supervisor(&["replay", "run.journal"]);
    assert!(said.code == 0 && said.err.contains("2 runs, "), "{}", said.err);
}

#[test]
fn another_decision_than_was_written_is_shown_and_is_exit_1() {
    let sandbox = Sandbox::new();
    let mut run = journaled(&sandbox, &json!({ "w": { "command": "true" } }));
    assert_eq!(run.exit_code(), 0);
    let forged = sandbox.read("run.journal").replacen("\"Reclaim\"", "\"Kill\"", 1);
    sandbox.write("forged", forged);
    let said = complained(&sandbox.supervisor(&["replay", "forged"]), 1);
    assert!(said.contains("Kill w:0#1 was decided, and now it is Reclaim w:0#1"), "{said}");
}
