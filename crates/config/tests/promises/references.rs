//! Names that mean nothing, and circles.

use crate::world::{World, beside_workers, queue, worker};

#[test]
fn a_queue_that_does_not_exist_is_told_with_the_nearest_that_does() {
    let refuses = |name: &str, hint: &str| {
        for (place, keys) in [("get[1]", "\"get\": [\"dead\", "), ("put[0]", "\"put\": [")] {
            let text = format!(
                "{{\"queues\": {{\"jobs\": {{}}, \"dead\": {{}}}},\n \
                 \"workers\": {{\"a\": {{\"command\": \"x\", \"queues\": {{{keys}→\"{name}\"]}}}}}}}}"
            );
            let path = format!("workers.a.queues.{place}");
            World::default().refuses(&text, &path, &format!("there is no queue \"{name}\""), Some(hint));
        }
    };
    refuses("job", "did you mean \"jobs\"?");
    refuses("elsewhere", "add it: \"queues\": {\"elsewhere\": {}}");
}

#[test]
fn a_queue_listed_twice_is_told() {
    let text = "{\"queues\": {\"q\": {}}, \"workers\": {\"a\": {\"command\": \"x\", \"queues\": {\"get\": [\"q\", →\"q\"]}}}}";
    World::default().refuses(text, "workers.a.queues.get[1]", "\"q\" is listed twice", None);
}

#[test]
fn a_lock_is_either_recursive_or_not() {
    let text =
        "{\"locks\": [\"a\"], \"rlocks\": [\"b\", →\"a\"], \"workers\": {\"w\": {\"command\": \"x\"}}}";
    World::default().refuses(
        text,
        "rlocks[1]",
        "\"a\" is in \"locks\" too",
        Some("a lock is either recursive or not"),
    );
}

#[test]
fn dead_letters_go_to_another_queue_that_exists() {
    let path = "queues.jobs.dead_letter";
    let text = queue(r#""dead_letter": →"jobs""#);
    World::default().refuses(&text, path, "a queue cannot take its own dead letters", None);
    let text = queue(r#""dead_letter": →"deat""#);
    World::default().refuses(&text, path, "there is no queue \"deat\"", Some("did you mean \"dead\"?"));
    World::default().read(queue(r#""dead_letter": "dead""#)).expect("it exists");
}

#[test]
fn dead_letters_never_go_round_in_a_circle() {
    let text = beside_workers(
        "\"queues\": {\"in\": {\"dead_letter\": \"b\"}, \"a\": {\"dead_letter\": →\"b\"},\n \
         \"b\": {\"dead_letter\": \"c\"}, \"c\": {\"dead_letter\": \"a\"}}",
    );
    let message = "dead letters would go round in a circle: a → b → c → a";
    World::default().refuses(&text, "queues.a.dead_letter", message, None);
}

#[test]
fn a_worker_comes_after_workers_that_exist_and_not_after_itself() {
    let text = worker(r#""after": { →"raeder": "ready" }"#);
    let hint = Some("did you mean \"reader\"?");
    World::default().refuses(&text, "workers.reader.after.raeder", "there is no worker \"raeder\"", hint);
    let text = worker(r#""after": { →"database": "ready" }"#);
    World::default().refuses(&text, "workers.reader.after.database", "there is no worker \"database\"", None);
    let text = worker(r#""after": { →"reader": "ready" }"#);
    World::default().refuses(&text, "workers.reader.after.reader", "a worker cannot come after itself", None);
}

#[test]
fn workers_never_wait_for_one_another() {
    World::default().refuses(
        "{\"workers\": {\n \"first\": {\"command\": \"x\", \"after\": {\"web\": \"ready\"}},\n \
         \"db\": {\"command\": \"x\", \"after\": {→\"web\": \"ready\"}},\n \
         \"web\": {\"command\": \"x\", \"after\": {\"db\": \"started\"}}}}",
        "workers.db.after.web",
        "workers would wait for one another for ever: db → web → db",
        None,
    );
}

#[test]
fn every_circle_is_told() {
    let after = |names: &str| format!("{{\"command\": \"x\", \"after\": {{{names}}}}}");
    let text = format!(
        "{{\"workers\": {{\"a\": {}, \"b\": {}, \"c\": {}, \"d\": {}, \"e\": {}}}}}",
        after("\"b\": \"ready\""),
        after("\"a\": \"ready\", \"c\": \"ready\""),
        after("\"a\": \"ready\", \"d\": \"ready\""),
        after("\"e\": \"ready\""),
        after("\"d\": \"ended\""),
    );
    let mut messages: Vec<String> =
        World::default().problems(&text).into_iter().map(|problem| problem.message).collect();
    messages.sort();
    let circle = |drawn: &str| format!("workers would wait for one another for ever: {drawn}");
    assert_eq!(messages, [circle("a → b → a"), circle("a → b → c → a"), circle("d → e → d")]);
}

#[test]
fn a_diamond_is_no_circle() {
    World::default()
        .read(
            r#"{"workers": {
                "top": {"command": "x", "after": {"left": "ready", "right": "ready"}},
                "left": {"command": "x", "after": {"end": "ready"}},
                "right": {"command": "x", "after": {"end": "ready"}},
                "end": {"command": "x"}}}"#,
        )
        .expect("nobody waits for ever");
}

#[test]
fn a_long_circle_is_found_and_drawn_short() {
    let count = 5_000;
    let workers: Vec<String> = (0..count)
        .map(|n| {
            format!("\"w{n}\": {{\"command\": \"x\", \"after\": {{\"w{}\": \"ready\"}}}}", (n + 1) % count)
        })
        .collect();
    let problems = World::default().problems(&format!("{{\"workers\": {{{}}}}}", workers.join(",\n")));
    assert_eq!(problems.len(), 1);
    let drawn = "w0 → w1 → w2 → w3 → w4 → w5 → w6 → w7 → w8 → w9 → … → w0";
    assert_eq!(problems[0].message, format!("workers would wait for one another for ever: {drawn}"));
}

#[test]
fn what_refers_to_a_wrong_entry_is_not_wrong_too() {
    let problems = World::default().problems(
        r#"{"queues": {"q": 5}, "workers": {"a": [], "b": {"command": "x", "after": {"a": "ready"}, "queues": {"get": ["q"]}}}}"#,
    );
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["queues.q", "workers.a"]);
}

#[test]
fn a_descriptor_for_readiness_is_none_of_the_sockets() {
    let keys = r#""listen": ["tcp:127.0.0.1:1", "tcp:127.0.0.1:2"], "ready": →{ "fd": 4 }"#;
    let message = r#"descriptor 4 is one of the sockets of "listen""#;
    let hint = Some("the first free one is 5");
    World::default().refuses(&worker(keys), "workers.reader.ready.fd", message, hint);
}
