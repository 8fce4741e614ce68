//! What differs between two configs: every key, and what its change means.

use std::collections::BTreeSet;

use config::{Difference, Effect, Plan, Thing, ThingDifference, WorkerDifference, diff};
use serde_json::{Value, json};

use crate::world::World;

fn world() -> World {
    World::default().file("/srv/app/a.env", b"FROM_FILE=1\n").file("/srv/app/x.conf", b"one")
}

fn plan(config: &Value) -> Plan {
    world().read(config.to_string()).unwrap_or_else(|problems| panic!("{config}: {problems}"))
}

fn base() -> Value {
    json!({
        "queues": { "jobs": {}, "dead": {} },
        "groups": { "g": { "workers": ["db"] } },
        "workers": { "w": { "command": ["x"] }, "db": { "command": ["x"] } },
    })
}

/// The difference that setting a key of the worker `w` makes.
fn worker_change(key: &str, value: &Value) -> Vec<(Effect, String)> {
    let mut new = base();
    let mut place = &mut new["workers"]["w"];
    for step in key.split('.') {
        place = &mut place[step];
    }
    *place = value.clone();
    let Difference { name, workers, things, family } = diff(&plan(&base()), &plan(&new));
    assert!(name.is_none() && things.is_empty() && family.is_empty(), "{key} concerns the worker alone");
    match workers.as_slice() {
        [(worker, WorkerDifference::Changed { changes, instances: None })] if worker == "w" => {
            changes.clone()
        }
        [(_, WorkerDifference::Changed { changes, instances: Some(numbers) })] => {
            assert_eq!((key, changes.len()), ("instances", 0));
            vec![(Effect::Update, format!("{numbers:?}"))]
        }
        other => panic!("{key}: {other:?}"),
    }
}

/// Every key of a worker, another value, and what it means.
fn table() -> Vec<(&'static str, Value, Effect, &'static str)> {
    use Effect::{Restart, Update};
    vec![
        ("command", json!(["y"]), Restart, "command changed"),
        ("args", json!([1]), Restart, "args changed"),
        ("kwargs", json!({ "a": 1 }), Restart, "kwargs changed"),
        ("instances", json!(3), Update, "(1, 3)"),
        ("policy", json!("daemon"), Restart, "policy changed"),
        ("restart", json!("never"), Update, "restart changed"),
        ("success_codes", json!([0, 1]), Update, "success_codes changed"),
        ("backoff", json!({ "initial": 1 }), Update, "backoff changed"),
        ("intensity", json!({ "restarts": 1 }), Update, "intensity changed"),
        ("on_failed", json!("stop"), Update, "on_failed changed"),
        ("essential", json!(true), Update, "essential changed"),
        ("after", json!({ "db": "ready" }), Update, "after changed"),
        ("ready", json!("notify"), Restart, "ready changed"),
        ("ready_timeout", json!(1), Update, ""),
        ("reload", json!({ "files": ["x.conf"] }), Update, "reload changed"),
        ("stop", json!({ "grace": 1 }), Update, "stop.grace changed"),
        ("env", json!({ "B": "1", "A": "2" }), Restart, "env changed: A, B"),
        ("env_file", json!("a.env"), Restart, "env changed: FROM_FILE"),
        ("clear_env", json!(true), Restart, "clear_env changed"),
        ("cwd", json!("/tmp"), Restart, "cwd changed"),
        ("umask", json!("077"), Restart, "umask changed"),
        ("nice", json!(5), Restart, "nice changed"),
        ("user", json!("0"), Restart, "user changed"),
        ("group", json!("0"), Restart, "group changed"),
        ("ionice", json!("idle"), Restart, "ionice changed"),
        ("oom_score_adj", json!(5), Restart, "oom_score_adj changed"),
        ("cpus", json!("0"), Restart, "cpus changed"),
        ("no_new_privs", json!(true), Restart, "no_new_privs changed"),
        ("private_tmp", json!("folder"), Restart, "private_tmp changed"),
        ("tree", json!("cgroup"), Restart, "tree changed"),
        ("rolling", json!(true), Update, "rolling changed"),
        ("limits", json!({ "core": 0 }), Restart, "limits changed"),
        ("stdin", json!("inherit"), Restart, "stdin changed"),
        ("stdout", json!("null"), Restart, "stdout changed"),
        ("stderr", json!("null"), Restart, "stderr changed"),
        ("log", json!({ "file": "x.log" }), Restart, "log changed"),
        ("queues", json!({ "put": ["jobs"] }), Restart, "queues.put changed"),
        ("health", json!({ "http": "http://h" }), Update, "health changed"),
        ("watchdog", json!("30s"), Restart, "watchdog changed"),
        ("schedule", json!({ "cron": "0 0 * * *" }), Update, "schedule changed"),
        ("min_ready", json!(3), Update, "min_ready changed"),
        ("start_delay", json!(1), Update, "start_delay changed"),
        ("autostart", json!(false), Update, "autostart changed"),
        ("leftover", json!("fail"), Update, "leftover changed"),
        ("listen", json!(["tcp:127.0.0.1:8080"]), Restart, "listen changed"),
    ]
}

#[test]
fn every_key_of_a_worker_has_a_meaning_when_it_changes() {
    for (key, value, effect, words) in table() {
        if key == "ready_timeout" {
            // It means nothing where a worker is ready from its start.
            let told = |timeout| {
                let mut config = base();
                config["workers"]["w"]["ready"] = json!("notify");
                config["workers"]["w"]["ready_timeout"] = json!(timeout);
                plan(&config)
            };
            let changes = vec![(Effect::Update, "ready_timeout changed".to_owned())];
            let expected = WorkerDifference::Changed { changes, instances: None };
            assert_eq!(diff(&told(1), &told(2)).workers, [("w".to_owned(), expected)]);
            continue;
        }
        assert_eq!(worker_change(key, &value), [(effect, words.to_owned())], "{key}");
    }
}

#[test]
fn no_key_of_a_worker_is_missing_in_the_table() {
    let schema = config::schema();
    let known: BTreeSet<String> = table().into_iter().map(|(key, ..)| key.to_owned()).collect();
    let there: BTreeSet<String> =
        schema["$defs"]["Worker"]["properties"].as_object().expect("keys").keys().cloned().collect();
    // Keys that are tested where they were made.
    let elsewhere: BTreeSet<String> = ELSEWHERE.iter().map(|key| (*key).to_owned()).collect();
    let missing: Vec<&String> =
        there.iter().filter(|key| !known.contains(*key) && !elsewhere.contains(*key)).collect();
    assert!(missing.is_empty(), "what does a change of {missing:?} mean?");
}

/// What says what happens where something cannot be given; what is given is another key.
const ELSEWHERE: &[&str] = &["optional"];

#[test]
fn a_stop_signal_that_the_kernel_was_told_means_a_restart() {
    let with = |policy: &str, signal: &str| {
        let mut config = base();
        config["workers"]["w"]["policy"] = json!(policy);
        config["workers"]["w"]["stop"] = json!({ "signal": signal });
        plan(&config)
    };
    for (policy, effect) in [("wait", Effect::Update), ("terminate", Effect::Restart)] {
        let changes = vec![(effect, "stop.signal changed".to_owned())];
        let expected = WorkerDifference::Changed { changes, instances: None };
        assert_eq!(diff(&with(policy, "TERM"), &with(policy, "INT")).workers, [("w".to_owned(), expected)]);
    }
}

#[test]
fn a_file_that_it_reads_itself_is_told_by_its_signal() {
    let mut config = base();
    config["workers"]["w"]["reload"] = json!({ "files": ["x.conf", "y.conf"] });
    let read = |world: World| world.read(config.to_string()).expect("it is well");
    let old = read(world());
    let new = read(world().file("/srv/app/x.conf", b"two").file("/srv/app/y.conf", b""));
    let changes = ["/srv/app/x.conf changed", "/srv/app/y.conf changed"];
    let changes = changes.map(|words| (Effect::Signal, words.to_owned())).to_vec();
    let expected = WorkerDifference::Changed { changes, instances: None };
    assert_eq!(diff(&old, &new).workers, [("w".to_owned(), expected)]);
    assert!(diff(&old, &old).is_none());
}

#[test]
fn the_places_of_workers_in_a_file_are_no_change_of_them() {
    let old = plan(&json!({
        "groups": { "g": { "workers": ["a", "b"] } },
        "workers": { "a": { "command": "x" }, "b": { "command": "x", "after": { "a": "ready" } } },
    }));
    let new = plan(&json!({
        "groups": { "g": { "workers": ["b", "a"] } },
        "workers": {
            "new": { "command": "x" }, "b": { "command": "x", "after": { "a": "ready" } }, "a": { "command": "x" },
        },
    }));
    let difference = diff(&old, &new);
    assert_eq!(difference.workers, [("new".to_owned(), WorkerDifference::Added)]);
    assert_eq!(difference.family, ["the order of the workers changed"]);
}

#[test]
fn what_workers_share_is_compared_by_name() {
    let with = |queues: Value| {
        let mut config = base();
        config["queues"] = queues;
        plan(&config)
    };
    let old = with(json!({ "same": {}, "gone": {}, "other": { "capacity": 1, "dead_letter": "same" } }));
    let new = with(json!({ "other": { "capacity": 2 }, "same": {}, "new": {} }));
    let queue = |name: &str, how| (Thing::Queue, name.to_owned(), how);
    let words = ["capacity changed", "dead_letter changed"].map(str::to_owned).to_vec();
    let expected = [
        queue("gone", ThingDifference::Removed),
        queue("other", ThingDifference::Changed(words)),
        queue("new", ThingDifference::Added),
    ];
    assert_eq!(diff(&old, &new).things, expected);
}

#[test]
fn what_concerns_the_whole_run_is_told_in_words() {
    let mut new = base();
    new["name"] = json!("other");
    new["strategy"] = json!("one_for_all");
    new["intensity"] = json!({});
    new["groups"] = json!({ "g": { "workers": ["db", "w"] }, "h": {} });
    let difference = diff(&plan(&base()), &plan(&new));
    assert_eq!(difference.name, Some(("config".to_owned(), "other".to_owned())));
    assert_eq!(
        difference.family,
        ["strategy changed", "intensity changed", "group g changed", "group h added"]
    );
}
