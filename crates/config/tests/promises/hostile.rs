//! No text makes the reader panic, hang, or tell of a place that is not there.

use proptest::prelude::*;

use crate::world::World;

const WELL: &str = r#"{
  "name": "w", "queues": { "jobs": { "capacity": 5, "dead_letter": "dead" }, "dead": {} },
  "strategy": "one_for_all", "intensity": { "restarts": 5, "within": "10s" },
  "workers": {
    "a": { "command": ["x", "${HOME:-/}"], "args": [1, { "k": "é" }], "after": { "b": "ready" },
           "stop": { "signal": "TERM", "grace": "10s" }, "queues": { "get": ["jobs"], "put": ["dead"] } },
    "b": { "command": "sleep 1", "backoff": { "factor": 2, "jitter": 0.1 }, "env": { "A": "1" },
           "log": { "max_size": "50MiB" }, "umask": "022", "stdout": "out" }
  }
}"#;

fn holds_what_it_promises(bytes: &[u8]) {
    let Err(problems) = World::default().read(bytes) else { return };
    assert!(!problems.as_slice().is_empty());
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for problem in &problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem:?}");
        assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
    }
    assert!(problems.to_string().starts_with("supervisor: config.json has "));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_plan_or_problems(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds_what_it_promises(&bytes);
    }

    #[test]
    fn any_text_of_json_pieces_gives_a_plan_or_problems(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"workers\"", "\"a\"", "\"command\"", "\"after\"", "\"${\"", "\"\\u0000\"",
            "1", "-1", "1e999", "0.5", "true", "null", "\"", "\\", "'", "/", "*", " ", "\n", "é", "\u{2028}", "Inf",
        ]), 0..40)
    ) {
        holds_what_it_promises(pieces.concat().as_bytes());
    }

    #[test]
    fn any_change_to_a_config_gives_a_plan_or_problems(
        changes in prop::collection::vec((0..WELL.len(), 0..4usize, any::<u8>()), 1..4)
    ) {
        let mut bytes = WELL.as_bytes().to_vec();
        for (at, kind, byte) in changes {
            // Cut short, and then robbed of the rest.
            let Some(last) = bytes.len().checked_sub(1) else { break };
            let at = at.min(last);
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte & 0x7f),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        holds_what_it_promises(&bytes);
    }

    #[test]
    fn any_value_in_any_place_gives_a_plan_or_problems(
        place in 0..200usize,
        value in prop::sample::select(vec![
            "null", "true", "0", "-1", "1e308", "1e999", "0.1", "99999999999999999999", "\"\"", "\"x\"", "\"${X}\"",
            "[]", "[[]]", "{}", "{\"\":{}}", "{\"a\":null}", "[null,1,\"\"]",
        ])
    ) {
        // Every value of the config stands after a colon.
        let colons: Vec<usize> = WELL.match_indices("\": ").map(|(at, _)| at + 3).collect();
        let at = colons[place % colons.len()];
        let rest = &WELL[at..];
        let end = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        let mut end = end;
        let _ = end.next();
        let text = format!("{}{value}{}", &WELL[..at], &rest[end.byte_offset()..]);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok() || value.contains("e999"));
        holds_what_it_promises(text.as_bytes());
    }
}

#[test]
fn the_text_that_is_changed_is_well() {
    World::default().read(WELL).expect("it is the corpus");
}

#[test]
fn deep_nesting_overflows_no_stack() {
    for open in ["[", "{\"a\":"] {
        holds_what_it_promises(open.repeat(200_000).as_bytes());
    }
}

#[test]
fn many_problems_on_one_long_line_are_told_without_delay() {
    // With places counted from the start of the line each time, each would cost as much as the whole file.
    let keys: Vec<String> = (0..30_000).map(|n| format!("\"unknown{n}\": [1, {{}}]")).collect();
    let text = format!("{{ \"workers\": {{ \"a\": {{ \"command\": \"x\" }} }}, {} }}", keys.join(", "));
    assert_eq!(World::default().problems(&text).len(), 30_000);
}
