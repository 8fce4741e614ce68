//! The reader and the schema are one promise: tests that hold them together, for what is offered now and for all that
//! is known.

mod validator;
mod values;

use std::io;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::not_yet::{NOT_YET, NotYet, SAMPLE};
use crate::{Plan, Problems, Surroundings, read_without, schema};
use validator::{allows, resolved};
use values::values;

struct Nothing;

impl Surroundings for Nothing {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn read(rows: &[NotYet], config: &Json) -> Result<Plan, Problems> {
    read_without(rows, config.to_string().as_bytes(), Path::new("/srv/config.json"), &Nothing)
}

/// A key of the config: the object it stands in, by the keys from the root, and its own schema.
struct Key {
    object: Vec<String>,
    name: String,
    schema: Json,
}

/// Every key that a schema knows; a map of names is represented by one name that [`base`] has.
fn keys(root: &Json) -> Vec<Key> {
    fn walk(root: &Json, schema: &Json, path: &[String], found: &mut Vec<Key>) {
        let schema = resolved(root, schema);
        let below = |name: &str| [path, &[name.to_owned()]].concat();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            found.push(Key { object: path.to_vec(), name: name.clone(), schema: property.clone() });
            walk(root, property, &below(name), found);
        }
        if schema["additionalProperties"].is_object() {
            let name = if path.last().is_some_and(|last| last == "workers") { "reader" } else { "jobs" };
            walk(root, &schema["additionalProperties"], &below(name), found);
        }
        for form in schema["anyOf"].as_array().into_iter().flatten() {
            walk(root, form, path, found);
        }
    }
    let mut found = Vec::new();
    walk(root, root, &[], &mut found);
    found
}

fn base() -> Json {
    json!({
        "queues": { "jobs": {}, "dead": {} },
        "groups": { "jobs": {} },
        "workers": { "reader": { "command": ["x"] }, "db": { "command": ["x"] } },
    })
}

/// The base with one more key.
fn with(object: &[String], name: &str, value: Json) -> Json {
    let mut config = base();
    let mut place = &mut config;
    for key in object {
        place = &mut place[key];
        if place.is_null() {
            *place = match key.as_str() {
                "health" => json!({ "http": "http://h" }),
                "schedule" => json!({ "every": "1m" }),
                "reload" => json!({ "files": [] }),
                _ => json!({}),
            };
        }
    }
    place[name] = value;
    config
}

/// What a reader may refuse that no schema can say: the meaning of strings.
fn is_beyond_schemas(message: &str) -> bool {
    [
        "there is no ",
        "must be more than 0, found 0",
        "must be at most ",
        " is no regular expression",
        "cannot take its own",
        "\"soft\" must be at most \"hard\"",
        "cannot lie in itself",
    ]
    .iter()
    .any(|told| message.contains(told))
        || message.starts_with("expected") && message.contains(", found \"")
}

fn agree_on_every_value_in_every_place(rows: &[NotYet]) {
    let root = schema::without(rows);
    let (mut accepted, mut refused) = (0, 0);
    for Key { object, name, .. } in keys(&schema::without(&[])) {
        for value in values() {
            let config = with(&object, &name, value.clone());
            let allowed = allows(&root, &root, &config);
            match read(rows, &config) {
                Ok(_) => {
                    assert!(allowed, "only the schema refuses {config}");
                    accepted += 1;
                }
                Err(problems) => {
                    let written = value.to_string();
                    let beyond = |problem: &crate::Problem| is_beyond_schemas(&problem.message);
                    // What a variable stands for is not in the text that a schema sees.
                    let excused = written.contains("${")
                        || written.contains('"') && problems.as_slice().iter().all(beyond);
                    assert!(!allowed || excused, "only the reader refuses {config}: {problems}");
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted > 500 && refused > 5000, "{accepted} accepted, {refused} refused");
}

#[test]
fn reader_and_schema_agree_on_every_value_in_every_place() {
    agree_on_every_value_in_every_place(SAMPLE);
}

#[test]
fn reader_and_schema_agree_on_every_value_in_every_place_when_all_is_offered() {
    agree_on_every_value_in_every_place(&[]);
}

#[test]
fn reader_and_schema_agree_that_no_object_takes_an_unknown_key() {
    for rows in [SAMPLE, &[]] {
        let root = schema::without(rows);
        for Key { object, .. } in keys(&root) {
            let config = with(&object, "xyzzy", json!(1));
            assert!(!allows(&root, &root, &config), "the schema allows {config}");
            assert!(read(rows, &config).is_err(), "the reader allows {config}");
        }
    }
}

#[test]
fn every_default_of_the_schema_is_what_the_reader_takes_for_a_key_left_out() {
    for rows in [NOT_YET] {
        let plain = read(rows, &base()).expect("the base is well");
        let mut without_default = Vec::new();
        for Key { object, name, schema } in keys(&schema::without(rows)) {
            match schema.get("default") {
                Some(default) => {
                    let config = with(&object, &name, default.clone());
                    // Writing out an empty object of optional things says nothing more than leaving it out, but for
                    // the two that mean something by being there.
                    let left_out = match object.last().map(String::as_str) {
                        Some("schedule") => read(rows, &with(&object, "every", json!("1m"))),
                        Some("health") => read(rows, &with(&object, "http", json!("http://h"))),
                        Some("reload") => read(rows, &with(&object, "files", json!([]))),
                        Some("intensity") if object.len() == 1 => {
                            read(rows, &with(&[], "intensity", json!({})))
                        }
                        _ => Ok(plain.clone()),
                    };
                    let written =
                        read(rows, &config).unwrap_or_else(|problems| panic!("{config}: {problems}"));
                    if name == "queues" && object.is_empty() {
                        assert!(written.queues.is_empty());
                        continue;
                    }
                    if name == "groups" && object.is_empty() {
                        assert!(written.family.groups.is_empty());
                        continue;
                    }
                    assert_eq!(written, left_out.expect("it is well"), "{config}");
                }
                None => without_default.push(name),
            }
        }
        let mut optional = vec![
            "name",
            "max_bytes",
            "max_deliveries",
            "dead_letter",
            "intensity",
            "workers",
            "command",
            "env_file",
            "file",
            "stop_timeout",
            "min_ready",
            "queue",
            "queue",
            "queue",
            "files",
            "reload",
            // The forms of "ready", and "health" with its forms.
            "fd",
            "log",
            "tcp",
            "http",
            "command",
            "health",
            "http",
            "tcp",
            "command",
            "watchdog",
            "schedule",
            "cron",
            "every",
        ];
        optional.extend(["user", "group", "ionice", "oom_score_adj", "cpus", "memory", "pids", "cpu"]);
        for limit in [
            "nofile",
            "core",
            "as",
            "cpu_time",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
        ] {
            optional.extend([limit, "soft", "hard"]);
        }
        optional.sort();
        without_default.sort();
        assert_eq!(without_default, optional);
    }
}

#[test]
fn every_key_of_the_schema_says_what_it_is() {
    let tags = ["fd", "log", "tcp", "http", "command", "queue", "cron", "every", "soft", "hard"];
    for Key { object, name, schema } in keys(&schema::without(&[])) {
        let told = schema["description"].as_str().is_some_and(|text| text.len() > 10);
        assert!(told || tags.contains(&name.as_str()), "{object:?} {name}");
    }
}

#[test]
fn every_row_of_what_is_not_offered_takes_something_out() {
    let names = |rows: &[NotYet]| -> Vec<String> {
        let all = keys(&schema::without(rows));
        all.into_iter().map(|key| format!("{}.{} {}", key.object.join("."), key.name, key.schema)).collect()
    };
    let all = names(&[]);
    for row in SAMPLE {
        assert_ne!(names(&[*row]), all, "{}", row.path);
    }
}

#[test]
fn what_is_not_offered_is_refused_by_name_and_not_in_the_schema() {
    let text = schema::without(SAMPLE).to_string();
    for word in ["\"fd\"", "Stop"] {
        assert!(!text.contains(word), "{word}");
    }
    let worker = |key: &str, value: Json| with(&["workers".to_owned(), "reader".to_owned()], key, value);
    for (config, what) in [
        (worker("ready", json!({ "fd": 3 })), "{\"fd\": …} is not offered yet"),
        (worker("clear_env", json!(true)), "\"clear_env\": true is not offered yet"),
        (worker("stop", json!({})), "\"stop\" is not offered yet"),
    ] {
        let problems = read(SAMPLE, &config).expect_err("it is refused");
        assert_eq!(problems.as_slice()[0].message, what);
    }
    read(SAMPLE, &worker("clear_env", json!(false))).expect("only the other value is refused");
}

#[test]
fn what_is_not_offered_yet_is_read_all_the_same() {
    use crate::{Cron, Limit, LimitsPlan, Output, Probe, Ready, Stdin};
    use std::time::Duration;

    let plan = read(
        &[],
        &json!({
            "queues": { "jobs": { "durable": true } },
            "workers": {
                "a": {
                    "command": ["x"], "ready": { "fd": 3 }, "ready_timeout": "5s",
                    "health": { "http": "http://localhost:8080/x", "failures": 5 }, "watchdog": "30s",
                    "user": "bob", "group": "",
                    "limits": { "nofile": 1024, "core": 0, "memory": "512MiB", "pids": 100, "cpu": 0.5 },
                    "stdin": { "queue": "jobs" }, "stdout": { "queue": "jobs" }, "schedule": { "every": "30s" },
                },
                "b": { "command": "x", "ready": { "log": "up$" }, "schedule": { "cron": "0 0 1 1 0" } },
                "c": { "command": "x", "ready": { "tcp": "[::1]:80" } },
                "d": { "command": "x", "ready": { "http": "http://[::1]/" } },
                "e": { "command": "x", "ready": { "command": ["./probe", "x"] } },
            },
        }),
    )
    .expect("all of it is well");
    assert_eq!(plan.queues[0].1.durable, Some(crate::Fsync::Always));
    let a = &plan.workers[0];
    let seconds = Duration::from_secs;
    assert_eq!(a.health, Some(Probe::Http("http://localhost:8080/x".to_owned())));
    let decided = &plan.family.workers[0];
    assert_eq!(
        decided.health,
        Some(supervision::Health {
            every: seconds(10),
            timeout: seconds(1),
            failures: 5,
            start_grace: seconds(0),
        })
    );
    assert_eq!(
        (decided.watchdog, a.user.as_deref(), a.group.as_deref()),
        (Some(seconds(30)), Some("bob"), None)
    );
    let limit = |name, both| Limit { name, soft: both, hard: both };
    let limits = LimitsPlan {
        memory: Some(512 << 20),
        pids: Some(100),
        cpu: Some(0.5),
        of_processes: vec![limit("nofile", 1024), limit("core", 0)],
    };
    assert_eq!(a.limits, limits);
    assert_eq!((&a.stdin, &a.stdout), (&Stdin::Queue("jobs".to_owned()), &Output::Queue("jobs".to_owned())));
    assert_eq!(
        decided.schedule.map(|schedule| schedule.timing),
        Some(supervision::Timing::Every(seconds(30)))
    );
    assert_eq!(a.cron, None);
    let new_year = Cron { minutes: 1, hours: 1, days: 2, months: 2, weekdays: 1, either_day: true };
    assert_eq!(plan.workers[1].cron, Some(new_year));
    let ready: Vec<_> = plan.workers.iter().map(|worker| worker.ready.clone()).collect();
    assert_eq!(
        ready,
        [
            Ready::Fd(3),
            Ready::Log("up$".to_owned()),
            Ready::Tcp { host: "::1".to_owned(), port: 80 },
            Ready::Http("http://[::1]/".to_owned()),
            Ready::Command(vec!["/srv/probe".to_owned(), "x".to_owned()]),
        ]
    );
    let told = |timeout| supervision::Readiness::Told { timeout: seconds(timeout) };
    let probed = supervision::Readiness::Probed { timeout: seconds(30) };
    let readiness: Vec<_> = plan.family.workers.iter().map(|worker| worker.readiness).collect();
    assert_eq!(readiness, [told(5), told(30), probed, probed, probed]);
}
