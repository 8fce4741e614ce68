//! `check` and `schema`, seen from outside.

use std::fs;

use crate::fake::World;
use serde_json::Value;

const GOOD: &str =
    r#"{"workers": {"reader": {"command": ["cat"], "env": {"A": "${SURELY_UNSET_HERE:-b}"}}}}"#;
const BAD: &str = r#"{
  "workers": {"reader": {"command": ["cat"], "restart": "allways", "stop": {"grace": "soon"}}}
}"#;

fn world_with(config: &str) -> (World, String) {
    let world = World::empty();
    fs::create_dir_all(world.root()).expect("a folder");
    let path = world.root().join("demo.json");
    fs::write(&path, config).expect("a file");
    let path = path.to_str().expect("a plain path").to_owned();
    (world, path)
}

#[test]
fn a_config_without_problems_is_an_empty_list() {
    let (world, path) = world_with(GOOD);
    let outcome = world.run(&["check", &path]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), ""), "{outcome:?}");
    let outcome = world.run(&["check", &path, "--json"]);
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(0), "[]\n", ""));
}

#[test]
fn every_problem_is_shown_at_once_with_its_place_and_exit_3() {
    let (world, path) = world_with(BAD);
    let outcome = world.run(&["check", &path]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(3), ""));
    assert!(
        outcome.err.starts_with("supervisor: demo.json has 2 problems\n  workers.reader.restart (2:"),
        "{outcome:?}"
    );
    assert!(
        outcome.err.contains("hint: did you mean \"always\"?") && outcome.err.contains("grace"),
        "{outcome:?}"
    );
    let outcome = world.run(&["check", &path, "--json"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(3), ""));
    let problems: Vec<Value> = serde_json::from_str(&outcome.out).expect("a list");
    assert_eq!(problems.len(), 2);
    let keys: Vec<_> = problems[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["path", "line", "column", "message", "hint"]);
    assert_eq!((&problems[0]["path"], &problems[0]["line"]), (&"workers.reader.restart".into(), &2.into()));
}

#[test]
fn a_config_that_cannot_be_read_is_a_problem_too() {
    let world = World::empty();
    let outcome = world.run(&["check", "nothere.json"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(3), ""));
    assert!(outcome.err.starts_with("supervisor: nothere.json cannot be read: No such file"), "{outcome:?}");
    let outcome = world.run(&["check", "nothere.json", "--json"]);
    let problems: Vec<Value> = serde_json::from_str(&outcome.out).expect("a list");
    assert_eq!((outcome.code, problems.len()), (Some(3), 1));
    // It has no end.
    assert_eq!(world.run(&["check", "/dev/zero"]).code, Some(3));
}

#[test]
fn the_schema_is_json_and_knows_the_workers() {
    let outcome = World::empty().run(&["schema"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&outcome.out).expect("JSON");
    assert!(schema["properties"]["workers"].is_object());
}
