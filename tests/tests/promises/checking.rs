//! What is told about a config before anything runs.

use serde_json::json;
use tests::{Sandbox, program};

/// Ten mistakes, one a line from the third on.
const TEN_MISTAKES: &str = r#"{
  "name": "ten",
  "workerz": {},
  "strategy": "one_for_al",
  "queues": { "jobs": { "capacity": 0 } },
  "workers": {
    "12": { "command": ["true"] },
    "b": { "command": [] },
    "c": { "command": ["true"], "restart": "allways" },
    "d": { "command": ["true"], "stop": { "grace": "soon" } },
    "e": { "command": ["true"], "instances": -1 },
    "f": { "command": ["true"], "queues": { "get": ["jobz"] } },
    "g": { "command": ["true"], "env": { "A": "${NO_SUCH_VARIABLE_AT_ALL}" } }
  }
}"#;

#[test]
fn a_config_with_ten_mistakes_gets_ten_problems_each_at_its_place() {
    let sandbox = Sandbox::new();
    sandbox.write("ten.json", TEN_MISTAKES);
    let said = sandbox.supervisor(&["check", "ten.json", "--json"]).ends_with(3);
    let problems = said.json();
    let problems = problems.as_array().expect("a list");
    assert_eq!(problems.len(), 10, "{problems:#?}");
    for problem in problems {
        let keys: Vec<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["path", "line", "column", "message", "hint"]);
    }
    let lines: std::collections::BTreeSet<u64> =
        problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), (3..=5).chain(7..=13).collect::<Vec<_>>());
    let at = |path: &str| {
        let found = problems.iter().find(|problem| problem["path"] == path);
        found.unwrap_or_else(|| panic!("nothing about {path}: {problems:#?}")).clone()
    };
    assert_eq!(at("workers.c.restart")["hint"], "did you mean \"always\"?");
    assert!(at("workerz")["hint"].as_str().unwrap().contains("workers"));
    assert!(at("strategy")["hint"].as_str().unwrap().contains("one_for_all"));
    let text = sandbox.supervisor(&["check", "ten.json"]).ends_with(3);
    assert_eq!(text.out, "", "problems are talk");
    assert!(text.err.contains("10 problems"), "{}", text.err);
    assert!(text.err.contains("workers.c.restart (9:"), "{}", text.err);
    let run = sandbox.supervisor(&["run", "ten.json"]).ends_with(3);
    assert_eq!(run.err, text.err, "run says the same");
}

#[test]
fn a_config_without_problems_is_an_empty_list_and_0() {
    let sandbox = Sandbox::new();
    sandbox.write("fine.json", r#"{ "workers": { "w": { "command": ["true"] } } }"#);
    assert_eq!(sandbox.supervisor(&["check", "fine.json", "--json"]).ends_with(0).json(), json!([]));
    sandbox.supervisor(&["check", "fine.json"]).ends_with(0);
}

#[test]
fn what_is_no_json_is_a_problem_with_its_place() {
    let sandbox = Sandbox::new();
    for (text, line) in [("{\n\"workers\": {,\n}", 2), ("", 1), ("[]", 1), ("{}\n{}", 2), ("nul\0l", 1)] {
        sandbox.write("bad.json", text);
        let problems = sandbox.supervisor(&["check", "bad.json", "--json"]).ends_with(3).json();
        assert_eq!(problems[0]["line"], line, "{text:?}: {problems}");
    }
    sandbox.write("bad.json", b"{ \"name\": \"\xff\xfe\" }");
    sandbox.supervisor(&["check", "bad.json"]).ends_with(3);
}

#[test]
fn json_is_strict() {
    let sandbox = Sandbox::new();
    for text in [
        r#"{ "workers": { "w": { "command": ["true"], } } }"#,
        r#"{ /* no comments */ "workers": { "w": { "command": ["true"] } } }"#,
        r#"{ "workers": { "w": { "command": ["true"], "command": ["false"] } } }"#,
        r#"{ 'workers': { "w": { "command": ["true"] } } }"#,
    ] {
        sandbox.write("bad.json", text);
        sandbox.supervisor(&["check", "bad.json"]).ends_with(3);
    }
}

#[test]
fn variables_take_the_supervisors_environment() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": {
        "command": ["sh", "-c", "printf '%s\\n' \"$A\" \"$B\" \"$C\" \"$D\" > said"],
        "env": { "A": "${GIVEN}", "B": "${NOT_GIVEN_AT_ALL:-default}", "C": "$${GIVEN}", "D": "5$ ${GIVEN}!" },
        "restart": "never" } } });
    sandbox.write("r.json", config.to_string());
    let mut command = sandbox.command("supervisor");
    tests::Said::of(command.args(["run", "r.json"]).env("GIVEN", "value")).ends_with(0);
    assert_eq!(sandbox.read("said"), "value\ndefault\n${GIVEN}\n5$ value!\n");
    let mut command = sandbox.command("supervisor");
    let said = tests::Said::of(command.args(["check", "r.json"]).env_remove("GIVEN")).ends_with(3);
    assert!(said.err.contains("GIVEN"), "{}", said.err);
}

#[test]
fn a_shell_command_is_left_to_the_shell_and_the_workers_environment() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": {
        "command": "echo \"${MINE:-nothing} $((1+2))\" > said", "env": { "MINE": "mine" }, "restart": "never" } } });
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    assert_eq!(sandbox.read("said"), "mine 3\n");
}

#[test]
fn the_schema_is_json_and_knows_every_key() {
    let sandbox = Sandbox::new();
    let said = sandbox.supervisor(&["schema"]).ends_with(0);
    let schema = said.json();
    assert!(schema["$schema"].as_str().is_some_and(|draft| draft.contains("json-schema.org")));
    for key in [
        "name",
        "queues",
        "capacity",
        "max_message",
        "max_deliveries",
        "dead_letter",
        "max_bytes",
        "strategy",
        "intensity",
        "restarts",
        "within",
        "workers",
        "command",
        "args",
        "kwargs",
        "instances",
        "policy",
        "restart",
        "success_codes",
        "backoff",
        "initial",
        "factor",
        "max",
        "jitter",
        "reset_after",
        "on_failed",
        "after",
        "ready",
        "ready_timeout",
        "stop",
        "signal",
        "grace",
        "to",
        "env",
        "env_file",
        "clear_env",
        "cwd",
        "umask",
        "nice",
        "stdin",
        "stdout",
        "stderr",
        "log",
        "file",
        "max_size",
        "keep",
        "format",
        "get",
        "put",
        "autostart",
    ] {
        assert!(said.out.contains(&format!("\"{key}\"")), "the schema does not know {key}");
    }
    for value in
        ["wait", "terminate", "daemon", "on-failure", "one_for_all", "rest_for_one", "succeeded", "inherit"]
    {
        assert!(said.out.contains(&format!("\"{value}\"")), "the schema does not know {value}");
    }
}

#[test]
fn the_program_and_every_verb_explain_themselves() {
    let sandbox = Sandbox::new();
    let help = sandbox.supervisor(&["--help"]).ends_with(0);
    for verb in [
        "run",
        "check",
        "schema",
        "status",
        "ps",
        "start",
        "stop",
        "restart",
        "kill",
        "wait",
        "shutdown",
        "queue",
        "completions",
        "man",
    ] {
        assert!(help.out.contains(verb), "{verb} is missing from: {}", help.out);
        let help = sandbox.supervisor(&[verb, "--help"]).ends_with(0);
        assert!(help.out.contains("Usage:"), "{}", help.out);
    }
    for wrong in
        [&["no-such-verb"][..], &["run"], &["kill"], &["wait", "w", "--timeout", "soon"], &["status", "a b"]]
    {
        let said = sandbox.supervisor(wrong).ends_with(2);
        assert!(!said.err.is_empty() && said.out.is_empty(), "{wrong:?}: {}", said.err);
    }
}

#[test]
fn completions_and_the_man_page_come_from_the_same_definition() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = sandbox.supervisor(&["completions", shell]).ends_with(0);
        assert!(said.out.contains("shutdown") && said.out.contains("restart"), "{shell}: {}", said.out);
    }
    let script =
        sandbox.write("completions", sandbox.supervisor(&["completions", "bash"]).ends_with(0).bytes);
    let mut bash = std::process::Command::new("bash");
    if bash.arg("--version").output().is_ok() {
        let mut bash = std::process::Command::new("bash");
        tests::Said::of(bash.arg("-n").arg(script)).ends_with(0);
    }
    let man = sandbox.supervisor(&["man"]).ends_with(0);
    assert!(man.out.contains(".TH") && man.out.contains("shutdown"), "{}", man.out);
}

#[test]
fn the_wordcount_example_has_no_problems() {
    let sandbox = Sandbox::new();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/wordcount/config.json");
    sandbox.supervisor(&["check", config]).ends_with(0);
    assert!(program("worker-counter").exists());
}
