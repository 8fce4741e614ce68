//! Values of the wrong type, out of bounds or without meaning: each is refused where it stands.

use crate::world::{World, beside_workers, queue, worker};

/// Each key of a worker, marked, with the problem it is.
fn worker_refuses(cases: &[(&str, &str, &str, Option<&str>)]) {
    for (keys, path, message, hint) in cases {
        World::default().refuses(&worker(keys), &format!("workers.reader.{path}"), message, *hint);
    }
}

const LEAVE_OUT: Option<&str> = Some("leave the key out to get its default");

#[test]
fn a_value_of_the_wrong_type_is_told_what_was_expected() {
    worker_refuses(&[
        (r#""instances": →"2""#, "instances", "expected a whole number, found a string", None),
        (r#""instances": →1.5"#, "instances", "must be a whole number, found 1.5", None),
        (r#""args": →{}"#, "args", "expected a list, found an object", None),
        (r#""kwargs": →[]"#, "kwargs", "expected an object, found a list", None),
        (r#""clear_env": →"no""#, "clear_env", "expected true or false, found a string", None),
        (r#""autostart": →1"#, "autostart", "expected true or false, found a number", None),
        (r#""cwd": →true"#, "cwd", "expected a string, found true", Some("write it as \"true\"")),
        (r#""cwd": →null"#, "cwd", "expected a string, found null", LEAVE_OUT),
        (r#""stop": →"TERM""#, "stop", "expected an object, found a string", None),
        (r#""stop": { "grace": →[] }"#, "stop.grace", "expected a duration like \"10s\", found a list", None),
        (
            r#""stop": { "signal": →{} }"#,
            "stop.signal",
            "expected a signal like \"TERM\", found an object",
            None,
        ),
        (
            r#""log": { "max_size": →false }"#,
            "log.max_size",
            "expected a size like \"64KiB\", found false",
            None,
        ),
        (r#""backoff": { "factor": →"2" }"#, "backoff.factor", "expected a number, found a string", None),
        (r#""success_codes": →0"#, "success_codes", "expected a list, found a number", None),
        (r#""env": →["A=1"]"#, "env", "expected an object of strings, found a list", None),
        (r#""env": { "A": →1 }"#, "env.A", "expected a string, found a number", Some("write it as \"1\"")),
        (r#""after": →["db"]"#, "after", "expected an object with names as keys, found a list", None),
        (r#""queues": { "get": →"jobs" }"#, "queues.get", "expected a list of names, found a string", None),
        (
            r#""umask": →22"#,
            "umask",
            "expected an octal mask like \"022\", found a number",
            Some("write it in quotes: \"22\""),
        ),
        (
            r#""ready": →5"#,
            "ready",
            "expected \"start\", \"notify\" or an object like {\"tcp\": \"localhost:8080\"}, found a number",
            None,
        ),
        (
            r#""stdin": →[]"#,
            "stdin",
            "expected \"null\", \"inherit\", a path or {\"queue\": …}, found a list",
            None,
        ),
        (
            r#""stdout": →1"#,
            "stdout",
            "expected \"log\", \"inherit\", \"null\", a path or {\"queue\": …}, found a number",
            None,
        ),
        (
            r#""restart": →true"#,
            "restart",
            "expected one of \"never\", \"on-failure\", \"always\", found true",
            None,
        ),
    ]);
}

#[test]
fn an_unknown_word_is_told_with_the_nearest_or_with_all() {
    worker_refuses(&[
        (r#""policy": →"demon""#, "policy", "unknown value \"demon\"", Some("did you mean \"daemon\"?")),
        (
            r#""restart": →"on_failure""#,
            "restart",
            "unknown value \"on_failure\"",
            Some("did you mean \"on-failure\"?"),
        ),
        (r#""restart": →"Always""#, "restart", "unknown value \"Always\"", Some("did you mean \"always\"?")),
        (
            r#""restart": →"sometimes""#,
            "restart",
            "unknown value \"sometimes\"",
            Some("one of \"never\", \"on-failure\", \"always\""),
        ),
        (r#""on_failed": →"stopp""#, "on_failed", "unknown value \"stopp\"", Some("did you mean \"stop\"?")),
        (r#""ready": →"notfy""#, "ready", "unknown value \"notfy\"", Some("did you mean \"notify\"?")),
        (
            r#""stop": { "to": →"three" }"#,
            "stop.to",
            "unknown value \"three\"",
            Some("did you mean \"tree\"?"),
        ),
        (
            r#""log": { "format": →"jsn" }"#,
            "log.format",
            "unknown value \"jsn\"",
            Some("did you mean \"json\"?"),
        ),
    ]);
    World::default().refuses(
        &beside_workers(r#""strategy": →"one-for-all""#),
        "strategy",
        "unknown value \"one-for-all\"",
        Some("did you mean \"one_for_all\"?"),
    );
}

#[test]
fn a_number_out_of_bounds_is_told_its_bound() {
    worker_refuses(&[
        (r#""instances": →-1"#, "instances", "must not be negative, found -1", None),
        (r#""instances": →10001"#, "instances", "must be at most 10000, found 10001", None),
        (r#""instances": →1e999"#, "instances", "must be at most 10000, found 1e999", None),
        (r#""success_codes": [0, →256]"#, "success_codes[1]", "must be at most 255, found 256", None),
        (r#""success_codes": [→-1]"#, "success_codes[0]", "must not be negative, found -1", None),
        (r#""backoff": { "factor": →0.9 }"#, "backoff.factor", "must be at least 1, found 0.9", None),
        (r#""backoff": { "factor": →1e9 }"#, "backoff.factor", "must be at most 1000, found 1e9", None),
        (r#""backoff": { "jitter": →1.1 }"#, "backoff.jitter", "must be at most 1, found 1.1", None),
        (r#""backoff": { "jitter": →-0.1 }"#, "backoff.jitter", "must not be negative, found -0.1", None),
        (r#""intensity": { "restarts": →-1 }"#, "intensity.restarts", "must not be negative, found -1", None),
        (r#""intensity": { "within": →0 }"#, "intensity.within", "must be more than 0, found 0s", None),
        (r#""ready_timeout": →"0s""#, "ready_timeout", "must be more than 0, found 0s", None),
        (r#""stop": { "grace": →"100m" }"#, "stop.grace", "must be at most 10m, found 100m", None),
        (r#""stop": { "grace": →601 }"#, "stop.grace", "must be at most 10m, found 601s", None),
        (r#""stop": { "grace": →"-1s" }"#, "stop.grace", "must not be negative, found -1s", None),
        (r#""backoff": { "max": →"9999h" }"#, "backoff.max", "must be at most 8760h, found 9999h", None),
        (r#""nice": →20"#, "nice", "must be at most 19, found 20", None),
        (r#""nice": →-21"#, "nice", "must be at least -20, found -21", None),
        (r#""log": { "max_size": →0 }"#, "log.max_size", "must be at least 1B, found 0", None),
        (r#""log": { "keep": →-1 }"#, "log.keep", "must not be negative, found -1", None),
    ]);
    for (keys, key, message) in [
        (r#""capacity": →0"#, "capacity", "must be at least 1, found 0"),
        (r#""capacity": →"5""#, "capacity", "expected a whole number, or null for no limit, found a string"),
        (r#""max_bytes": →0"#, "max_bytes", "must be at least 1B, found 0"),
        (r#""max_bytes": →0.5"#, "max_bytes", "must be at least 1B, found 0.5"),
        (r#""max_bytes": →1.5"#, "max_bytes", "must be a whole number of bytes, found 1.5"),
        (r#""max_message": →"2GiB""#, "max_message", "must be at most 1GiB, found 2GiB"),
        (r#""max_message": →-5"#, "max_message", "must not be negative, found -5"),
        (r#""max_deliveries": →0"#, "max_deliveries", "must be at least 1, found 0"),
    ] {
        World::default().refuses(&queue(keys), &format!("queues.jobs.{key}"), message, None);
    }
}

#[test]
fn a_duration_needs_a_unit_that_is_known() {
    for (value, hint) in [
        ("10", Some("add a unit: \"10s\"; a plain number means seconds")),
        ("10 sec", Some("did you mean \"10s\"?")),
        ("2minutes", Some("did you mean \"2m\"?")),
        ("5M", Some("did you mean \"5m\"?")),
        ("3d", Some("the units are ms, s, m, h")),
        ("1h30m", Some("the units are ms, s, m, h")),
        ("", None),
        ("soon", None),
        ("1.2.3s", None),
        (".5s", None),
        ("+5s", None),
    ] {
        let keys = format!(r#""stop": {{ "grace": →"{value}" }}"#);
        let message = format!("expected a duration like \"10s\", found \"{value}\"");
        World::default().refuses(&worker(&keys), "workers.reader.stop.grace", &message, hint);
    }
}

#[test]
fn a_size_needs_a_unit_that_is_known() {
    for (value, hint) in [
        ("64", Some("add a unit: \"64KiB\"; a plain number means bytes")),
        ("64KB", Some("did you mean \"64KiB\"?")),
        ("64 mib", Some("did you mean \"64MiB\"?")),
        ("1g", Some("did you mean \"1GiB\"?")),
        ("1PiB", Some("the units are B, KiB, MiB, GiB, TiB")),
        ("big", None),
    ] {
        let keys = format!(r#""log": {{ "max_size": →"{value}" }}"#);
        let message = format!("expected a size like \"64KiB\", found \"{value}\"");
        World::default().refuses(&worker(&keys), "workers.reader.log.max_size", &message, hint);
    }
}

#[test]
fn a_signal_must_be_one_that_can_ask() {
    let usual = Some("a name like \"TERM\", \"INT\", \"HUP\" or \"USR1\", or a number");
    let cases = [
        (r#""TREM""#, "unknown signal \"TREM\"", Some("did you mean \"TERM\"?")),
        (r#""sigint""#, "unknown signal \"sigint\"", Some("did you mean \"INT\"?")),
        (r#""15""#, "unknown signal \"15\"", Some("write a number without quotes: 15")),
        (r#""please""#, "unknown signal \"please\"", usual),
        ("0", "no signal has the number 0", None),
        ("33", "no signal has the number 33", None),
        ("65", "no signal has the number 65", None),
        ("1.5", "no signal has the number 1.5", None),
        (r#""STOP""#, "STOP pauses a process and cannot ask it to stop", Some("the usual one is \"TERM\"")),
        ("19", "STOP pauses a process and cannot ask it to stop", Some("the usual one is \"TERM\"")),
    ];
    for (value, message, hint) in cases {
        let keys = format!(r#""stop": {{ "signal": →{value} }}"#);
        World::default().refuses(&worker(&keys), "workers.reader.stop.signal", message, hint);
    }
}

#[test]
fn a_command_must_name_a_program() {
    let refuses = |command: &str, path: &str, message: &str| {
        let text = format!("{{\"workers\": {{\"a\": {{\"command\": {command}}}}}}}");
        World::default().refuses(&text, path, message, None);
    };
    refuses("→[]", "workers.a.command", "must name a program, found an empty list");
    refuses("→\"\"", "workers.a.command", "must name a program, found an empty string");
    refuses("→\" \\n\"", "workers.a.command", "must name a program, found an empty string");
    refuses("[→\"\", \"x\"]", "workers.a.command[0]", "must not be empty");
    refuses("[\"x\", →\"a\\u0000b\"]", "workers.a.command[1]", "must not hold a NUL character");
    refuses("→\"a\\u0000b\"", "workers.a.command", "must not hold a NUL character");
    refuses(
        "→{}",
        "workers.a.command",
        "expected a list of strings, or a string for the shell, found an object",
    );
    refuses("[\"x\", →[]]", "workers.a.command[1]", "expected a string, found a list");
}

#[test]
fn a_umask_is_octal() {
    for value in ["", "8", "1777", "00000", "0o22", "-1", "+22", "rwx"] {
        let keys = format!(r#""umask": →"{value}""#);
        let message = format!("expected an octal mask like \"022\", found \"{value}\"");
        World::default().refuses(&worker(&keys), "workers.reader.umask", &message, None);
    }
}

#[test]
fn names_are_letters_digits_and_three_signs() {
    let allowed = Some("names hold letters (a-z), digits, \"-\", \"_\" and \".\"");
    let long = "n".repeat(65);
    let too_long = format!("a name has at most 64 characters, \"{}…\" has more", "n".repeat(60));
    let cases = [
        ("", "a name must not be empty", None),
        ("a b", "\"a b\" is not a name", allowed),
        ("a:0", "\"a:0\" is not a name", allowed),
        ("a/b", "\"a/b\" is not a name", allowed),
        ("ä", "\"ä\" is not a name", allowed),
        ("42", "\"42\" is not a name: digits alone mean a pid", Some("put a letter in: \"n42\"")),
        (".", "\".\" is not a name: it means a folder", None),
        ("..", "\"..\" is not a name: it means a folder", None),
        (&long, &too_long, None),
    ];
    for (name, message, hint) in cases {
        World::default().refuses(&beside_workers(&format!("\"name\": →\"{name}\"")), "name", message, hint);
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let shown = if plain { config_clip(name) } else { format!("\"{name}\"") };
        for kind in ["workers", "queues"] {
            let workers = r#""workers": {"a": {"command": "x"}}"#;
            let text = match kind {
                "workers" => format!("{{\"workers\": {{→\"{name}\": {{\"command\": \"x\"}}}}}}"),
                _ => format!("{{\"queues\": {{→\"{name}\": {{}}}}, {workers}}}"),
            };
            World::default().refuses(&text, &format!("{kind}.{shown}"), message, hint);
        }
    }
    for name in ["a", "A-b_c.d", "1a", "-", "...", &"n".repeat(64)] {
        World::default().read(beside_workers(&format!("\"name\": \"{name}\""))).expect(name);
    }
}

/// What a path shows of a long key.
fn config_clip(name: &str) -> String {
    if name.len() > 60 { format!("{}…", &name[..60]) } else { name.to_owned() }
}

#[test]
fn the_name_of_a_variable_has_no_equals_sign_and_no_nul_and_is_not_empty() {
    for (name, path, message) in [
        ("A=B", "\"A=B\"", "the name of a variable must not hold \"=\""),
        ("", "\"\"", "the name of a variable must not be empty"),
        ("\\u0000", "\"\\u{0}\"", "the name of a variable must not hold a NUL character"),
    ] {
        let keys = format!(r#""env": {{ →"{name}": "x" }}"#);
        World::default().refuses(&worker(&keys), &format!("workers.reader.env.{path}"), message, None);
    }
    worker_refuses(&[(r#""env": { "A": →"\u0000" }"#, "env.A", "must not hold a NUL character", None)]);
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let set_it = |name: &str| format!("set it, or give a default: \"${{{name}:-default}}\"");
    worker_refuses(&[
        (r#""cwd": →"${HERE}""#, "cwd", "the environment has no HERE", Some(&set_it("HERE"))),
        (r#""args": [{ "a": →"x${B}" }]"#, "args[0].a", "the environment has no B", Some(&set_it("B"))),
        (r#""env": { "A": →"${B}" }"#, "env.A", "the environment has no B", Some(&set_it("B"))),
        (r#""restart": →"${R}""#, "restart", "the environment has no R", Some(&set_it("R"))),
        (
            r#""cwd": →"${HERE""#,
            "cwd",
            "\"${\" without \"}\"",
            Some("write \"$${\" for the characters \"${\" themselves"),
        ),
    ]);
    let world = World::default().var("R", "maybe");
    let hint = Some("one of \"never\", \"on-failure\", \"always\"");
    let text = worker(r#""restart": →"${R}""#);
    world.refuses(&text, "workers.reader.restart", "unknown value \"maybe\"", hint);
}

#[test]
fn arguments_must_fit_into_the_environment_and_into_numbers() {
    worker_refuses(&[(
        r#""args": [→1e999]"#,
        "args[0]",
        "the number 1e999 is larger than programs can read",
        None,
    )]);
    let long = "x".repeat(120 << 10);
    worker_refuses(&[(
        &format!(r#""kwargs": →{{ "a": "{long}" }}"#),
        "kwargs",
        "must be at most 120KiB of JSON, found 122888 bytes",
        Some("put it in a file and hand over the path"),
    )]);
}

#[test]
fn an_empty_path_is_refused() {
    worker_refuses(&[
        (r#""cwd": →"""#, "cwd", "must not be empty", None),
        (r#""env_file": →"""#, "env_file", "must not be empty", None),
        (r#""stdout": →"""#, "stdout", "must not be empty", None),
        (r#""log": { "file": →"" }"#, "log.file", "must not be empty", None),
    ]);
}

#[test]
fn an_env_file_that_cannot_be_read_is_told() {
    worker_refuses(&[(
        r#""env_file": →".env""#,
        "env_file",
        "cannot read \"/srv/app/.env\": entity not found",
        Some("a relative path begins at the folder of the config"),
    )]);
}

#[test]
fn every_bad_line_of_an_env_file_is_told_without_its_text() {
    let world = World::default().file("/srv/app/.env", b"A=1\nhunter2\n\nB='hunter2\n");
    let problems = world.problems(&worker(r#""env_file": ".env""#));
    let told: Vec<_> =
        problems.iter().map(|problem| (problem.line, problem.column, problem.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (4, 19, "line 2 of .env has no \"=\""),
            (4, 19, "line 4 of .env has a quote that is not closed at the end of the line"),
        ]
    );
}
