//! What a run shows: lines with their worker's name, whole, and in colour only on a terminal.

use serde_json::json;
use tests::{Said, Sandbox};

#[test]
fn the_output_of_workers_is_data_and_what_the_supervisor_says_is_talk() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": "echo out; echo err >&2; exit 3", "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 3);
    assert_eq!(run.out().lines().count(), 2, "{}", run.out());
    assert!(run.err().lines().all(|line| line.starts_with("supervisor: ")), "{}", run.err());
}

#[test]
fn colour_is_for_terminals_and_never_with_no_color() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": "echo hello", "restart": "never" } } });
    sandbox.write("r.json", config.to_string());
    let Some(mut command) = sandbox.on_a_terminal("supervisor run r.json") else { return };
    let said = Said::of(&mut command).ends_with(0);
    assert!(said.out.contains("hello") && said.out.contains("\u{1b}["), "{:?}", said.out);
    let Some(mut command) = sandbox.on_a_terminal("supervisor run r.json") else { return };
    let said = Said::of(command.env("NO_COLOR", "1")).ends_with(0);
    assert!(said.out.contains("hello") && !said.out.contains("\u{1b}["), "{:?}", said.out);
}
