//! Texts that are not JSON: the first place where they are not, and what to do.

use std::path::Path;

use crate::world::{World, worker};

#[test]
fn a_text_that_is_not_json_is_refused_where_it_stops_being_json() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("→// hi\n{}", "a comment, which JSON does not have", Some("take it out")),
        ("{ →/* hi */ }", "a comment, which JSON does not have", Some("take it out")),
        ("{\n  \"name\": \"x\"→,\n}", "a comma after the last entry", Some("take it out")),
        ("{\"a\": [1→,]}", "a comma after the last entry", Some("take it out")),
        ("{\"a\": 1→\n \"b\": 2}", "expected a comma before the next entry", None),
        ("{\"a\" →1}", "expected \":\" after the key", None),
        ("{→name: 1}", "expected a key in double quotes", None),
        ("{\"a\": →}", "expected a value, found \"}\"", None),
        ("{\"a\": [→,]}", "expected a value, found \",\"", None),
        ("{\"a\": →yes}", "expected a value, found \"yes\"", Some("strings stand in double quotes")),
        ("{\"a\": →True}", "expected a value, found \"True\"", Some("write true")),
        ("{\"a\": →'x'}", "a string in single quotes", Some("write strings in double quotes")),
        ("→{\"a\": 1", "this \"{\" is never closed", None),
        ("{\"a\": →[1", "this \"[\" is never closed", None),
        ("{} →{}", "expected the end of the file after the last \"}\"", None),
        ("{\"a\": →+1}", "a number must not begin with \"+\"", None),
        ("{\"a\": →0x10}", "JSON has no hexadecimal numbers", None),
        (
            "{\"ä\": →\"b\n\"}",
            "this string does not end on its line",
            Some(r#"close it with ", or write a line break as \n"#),
        ),
        ("{\"a\": \"b→\tc\"}", "a control character stands in a string", Some(r"write it as \t")),
        ("{\"a\": \"b→\u{1}c\"}", "a control character stands in a string", Some(r"write it as \u0001")),
        ("{→\u{a0}\"a\": 1}", "the character \\u{a0} is not white space in JSON", Some("use plain spaces")),
        (
            "→\u{feff}{}",
            "begins with a byte order mark, which JSON forbids",
            Some("save the file as UTF-8 without a byte order mark"),
        ),
    ];
    for (marked, message, hint) in cases {
        World::default().refuses(marked, "", message, *hint);
    }
}

#[test]
fn lines_end_with_a_line_feed_whether_or_not_a_carriage_return_stands_before_it() {
    World::default().refuses(
        "{\r\n\t\"ä\":\t→nope\r\n}",
        "",
        "expected a value, found \"nope\"",
        Some("strings stand in double quotes"),
    );
}

#[test]
fn escapes_that_json_does_not_have_are_refused() {
    for (text, message) in [
        (r#"{"a": "\x"}"#, "unknown escape in a string"),
        (r#"{"a": "\u12"}"#, r"\u needs four hexadecimal digits"),
        (r#"{"a": "\udc00"}"#, r"this \u escape is half of a character"),
    ] {
        let problems = World::default().problems(text);
        assert_eq!((problems.len(), problems[0].message.as_str()), (1, message), "{text}");
    }
}

#[test]
fn an_empty_file_is_refused_with_an_example_that_is_well() {
    for text in ["→", "→ \n\t\r\n"] {
        let hint = r#"begin with {"workers": {"hello": {"command": ["echo", "hello"]}}}"#;
        World::default().refuses(text, "", "is empty", Some(hint));
    }
    World::default()
        .read(r#"{"workers": {"hello": {"command": ["echo", "hello"]}}}"#)
        .expect("the hint is well");
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_the_first_such_byte() {
    let problems = World::default().read(b"{\n \"\xc3\xa4\xff\": 1}").unwrap_err();
    let problem = &problems.as_slice()[0];
    assert_eq!((problem.line, problem.column), (2, 4));
    assert_eq!(problem.message, "is not UTF-8: byte 0xff");
    let problems = World::default().read(b"\xff\xfe{\0}\0").unwrap_err();
    assert_eq!(problems.as_slice()[0].message, "is UTF-16, not UTF-8");
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let text = vec![b' '; (16 << 20) + 1];
    assert_eq!(World::default().read(&text).unwrap_err().as_slice()[0].message, "is longer than 16MiB");
}

#[test]
fn lists_and_objects_may_lie_in_one_another_64_deep() {
    let nested = |depth: usize, mark: &str| {
        worker(&format!(r#""args": {}{mark}[{}"#, "[".repeat(depth - 1), "]".repeat(depth)))
    };
    // The file, its workers and the worker are three.
    World::default().read(nested(61, "")).expect("64 are allowed");
    World::default().refuses(&nested(62, "→"), "", "lists and objects lie more than 64 deep", None);
}

#[test]
fn every_key_that_is_given_twice_is_refused_wherever_it_stands() {
    let twice = |place: &str| format!("it stands at {place} already");
    World::default().refuses(
        &worker(r#""nice": 1, →"nice": 2"#),
        "workers.reader.nice",
        "the key \"nice\" is given twice",
        Some(&twice("4:7")),
    );
    World::default().refuses(
        &worker(r#""args": [{ "a": { "b": 1, →"b": 2 } }]"#),
        "workers.reader.args[0].a.b",
        "the key \"b\" is given twice",
        Some(&twice("4:25")),
    );
    World::default().refuses(
        "{\"workers\": {\"a\": {\"command\": \"x\"},\n →\"a\": {\"command\": \"y\"}}}",
        "workers.a",
        "the key \"a\" is given twice",
        Some(&twice("1:14")),
    );
    World::default().refuses(
        &worker(r#""env": { "A": "1", →"A": "2" }"#),
        "workers.reader.env.A",
        "the key \"A\" is given twice",
        Some(&twice("4:16")),
    );
}

#[test]
fn a_file_that_holds_no_object_is_refused() {
    for (text, found) in [("→[]", "a list"), ("→null", "null"), ("→\"x\"", "a string"), ("→5", "a number")]
    {
        let hint = (found == "null").then_some("leave the key out to get its default");
        World::default().refuses(text, "", &format!("expected an object, found {found}"), hint);
    }
}

#[test]
fn a_file_whose_name_is_no_name_must_give_one() {
    let text = br#"{"workers": {"a": {"command": "x"}}}"#;
    let problems = config::read(text, Path::new("/srv/my run.json"), &World::default()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "supervisor: my run.json has 1 problem\n  \
         name (1:1): the file's name cannot be the run's: \"my run\" is not a name\n    \
         hint: set \"name\""
    );
    let named = br#"{"name": "x", "workers": {"a": {"command": "x"}}}"#;
    config::read(named, Path::new("/srv/my run.json"), &World::default()).expect("it has a name");
}
