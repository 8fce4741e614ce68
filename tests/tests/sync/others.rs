//! `semaphore`, `event`, `value`: what they do from a shell.

use serde_json::json;
use tests::{Said, Sandbox, until};

use crate::{begin, run_with};

#[test]
fn a_semaphore_lets_so_many_in_and_no_more() {
    let sandbox = Sandbox::new();
    let mut run =
        run_with(&sandbox, &json!({ "semaphores": { "gpu": 2 }, "values": { "in": 0, "most": 0 } }));
    let script = "now=$(supervisor value add in)
        [ \"$now\" -le 2 ] || supervisor value add most
        sleep 0.02; supervisor value add in -1";
    let all: Vec<_> =
        (0..8).map(|_| begin(&sandbox, &["semaphore", "run", "gpu", "--", "sh", "-c", script])).collect();
    for one in all {
        Said::at_the_end_of(one).ends_with(0);
    }
    assert_eq!(sandbox.supervisor(&["value", "get", "most"]).out, "0\n");
    let rows = sandbox.supervisor(&["semaphore", "ls", "--json"]).ends_with(0).json();
    assert_eq!(rows, json!([{ "semaphore": "gpu", "permits": 2, "free": 2, "holders": [] }]));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_semaphore_can_be_created_and_keeps_its_size() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({}));
    sandbox.supervisor(&["semaphore", "run", "shrink", "--", "true"]).ends_with(4);
    sandbox.supervisor(&["semaphore", "run", "--create", "3", "shrink", "--", "true"]).ends_with(0);
    sandbox.supervisor(&["semaphore", "create", "shrink", "3"]).ends_with(0);
    let other = sandbox.supervisor(&["semaphore", "create", "shrink", "4"]).ends_with(9);
    assert!(other.err.contains("with 3 permits"), "{}", other.err);
    for bad in ["0", "1025", "-1", "x"] {
        sandbox.supervisor(&["semaphore", "create", "other", bad]).ends_with(2);
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn an_event_is_waited_for_set_and_cleared() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "events": ["go"] }));
    sandbox.supervisor(&["event", "wait", "go", "--nowait"]).ends_with(6);
    sandbox.supervisor(&["event", "wait", "go", "--timeout", "50ms"]).ends_with(7);
    let waiting: Vec<_> = (0..3).map(|_| begin(&sandbox, &["event", "wait", "go"])).collect();
    sandbox.supervisor(&["event", "set", "go"]).ends_with(0);
    for one in waiting {
        Said::at_the_end_of(one).ends_with(0);
    }
    sandbox.supervisor(&["event", "wait", "go"]).ends_with(0);
    assert_eq!(
        sandbox.supervisor(&["event", "ls", "--json"]).json(),
        json!([{ "event": "go", "set": true }])
    );
    sandbox.supervisor(&["event", "clear", "go"]).ends_with(0);
    sandbox.supervisor(&["event", "wait", "go", "--nowait"]).ends_with(6);
    let unknown = sandbox.supervisor(&["event", "set", "og"]).ends_with(4);
    assert!(unknown.err.contains("did you mean \"go\"?"), "{}", unknown.err);
    sandbox.supervisor(&["event", "create", "stop"]).ends_with(0);
    let waits = begin(&sandbox, &["event", "wait", "stop", "--json"]);
    sandbox.supervisor(&["event", "set", "stop"]).ends_with(0);
    assert_eq!(Said::at_the_end_of(waits).ends_with(0).json(), json!({ "event": "stop", "set": true }));
    assert_eq!(run.stop(), 0);
}

#[test]
fn nothing_that_many_add_to_a_value_is_lost() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "values": { "total": -5 } }));
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do supervisor value add total 3 > /dev/null || exit 1; done";
    let mut adding: Vec<_> = (0..4).map(|_| sandbox.shell().arg(script).spawn().unwrap()).collect();
    until("all have added", || {
        adding.iter_mut().all(|one| one.try_wait().unwrap().is_some_and(|it| it.success())).then_some(())
    });
    assert_eq!(sandbox.supervisor(&["value", "get", "total"]).ends_with(0).out, "115\n");
    assert_eq!(sandbox.supervisor(&["value", "add", "total", "-15"]).ends_with(0).out, "100\n");
    assert_eq!(sandbox.supervisor(&["value", "set", "total", "-1"]).ends_with(0).out, "");
    let json = sandbox.supervisor(&["value", "get", "total", "--json"]).ends_with(0).json();
    assert_eq!(json, json!({ "value": "total", "number": -1 }));
    let most = i64::MAX.to_string();
    sandbox.supervisor(&["value", "set", "total", &most]).ends_with(0);
    let over = sandbox.supervisor(&["value", "add", "total"]).ends_with(1);
    assert!(over.err.contains("out of what a value can be"), "{}", over.err);
    assert_eq!(sandbox.supervisor(&["value", "get", "total"]).out.trim(), most);
    for bad in ["x", "9223372036854775808", ""] {
        sandbox.supervisor(&["value", "set", "total", bad]).ends_with(2);
    }
    sandbox.supervisor(&["value", "get", "totla"]).ends_with(4);
    sandbox.supervisor(&["value", "create", "other", "-7"]).ends_with(0);
    sandbox.supervisor(&["value", "create", "other"]).ends_with(0);
    assert_eq!(sandbox.supervisor(&["value", "get", "other"]).out, "-7\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_numbers_of_an_array_go_by_their_index() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "arrays": { "counts": 3 }, "values": { "total": 0 } }));
    let value = |words: &[&str]| sandbox.supervisor(&[&["value"], words].concat());
    assert_eq!(value(&["add", "counts:2", "-4"]).ends_with(0).out, "-4\n");
    value(&["set", "counts:0", "9"]).ends_with(0);
    assert_eq!(value(&["get", "counts:2"]).ends_with(0).out, "-4\n");
    assert_eq!(value(&["get", "counts"]).ends_with(0).out, "9\n0\n-4\n");
    let rows = value(&["ls", "--json"]).ends_with(0).json();
    assert_eq!(rows, json!([{ "value": "total", "number": 0 }, { "array": "counts", "length": 3 }]));
    for (wrong, code, hint) in [
        (&["get", "counts:3"][..], 4, "counts:0 to counts:2"),
        (&["add", "counts"], 4, "counts:0 to counts:2"),
        (&["get", "count:1"], 4, "did you mean \"counts\"?"),
        (&["get", "total:0"], 4, "total is a value"),
        (&["get", "totl"], 4, "did you mean \"total\"?"),
        (&["get", "counts:x"], 2, "NAME:INDEX"),
        (&["create", "long", "--length", "513"], 2, "513"),
        (&["create", "counts", "--length", "4"], 9, "with 3 numbers"),
    ] {
        let said = value(wrong).ends_with(code);
        assert!(said.err.contains(hint), "{wrong:?}: {}", said.err);
    }
    value(&["create", "late", "--length", "512"]).ends_with(0);
    assert_eq!(value(&["add", "late:511"]).ends_with(0).out, "1\n");
    assert_eq!(value(&["get", "late"]).ends_with(0).out.lines().count(), 512);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_control_api_does_what_the_verbs_do() {
    use control::api::{
        ArrayNumbers, EventStatus, Request, SyncRequest, SyncStatus, ValueChange, ValueStatus,
    };
    let sandbox = Sandbox::new();
    let mut run = run_with(
        &sandbox,
        &json!({ "locks": ["l"], "semaphores": { "s": 2 }, "events": ["e"], "values": { "v": 1 },
                 "barriers": { "b": 3 }, "conditions": ["c"], "rlocks": ["again"], "arrays": { "a": 2 } }),
    );
    let change = ValueChange { value: "v".into(), add: Some(4), set: None };
    let now: ValueStatus = run.ask(&Request::Sync(SyncRequest::Value(change))).unwrap();
    assert_eq!(now.number, 5);
    let change = ValueChange { value: "a:1".into(), add: None, set: Some(7) };
    let now: ValueStatus = run.ask(&Request::Sync(SyncRequest::Value(change))).unwrap();
    assert_eq!((now.value.as_str(), now.number), ("a:1", 7));
    let all: ArrayNumbers = run.ask(&Request::Sync(SyncRequest::Array { array: "a".into() })).unwrap();
    assert_eq!(all.numbers, [0, 7]);
    let event = EventStatus { event: "e".into(), set: true };
    let _: EventStatus = run.ask(&Request::Sync(SyncRequest::Event(event))).unwrap();
    let all: SyncStatus = run.ask(&Request::Sync(SyncRequest::List)).unwrap();
    assert_eq!(
        serde_json::to_value(all).unwrap(),
        json!({
            "locks": [{ "lock": "l", "recursive": false, "holder": null, "waiters": [] },
                      { "lock": "again", "recursive": true, "holder": null, "waiters": [] }],
            "semaphores": [{ "semaphore": "s", "permits": 2, "free": 2, "holders": [] }],
            "events": [{ "event": "e", "set": true }],
            "values": [{ "value": "v", "number": 5 }],
            "arrays": [{ "array": "a", "length": 2 }],
            "barriers": [{ "barrier": "b", "parties": 3, "waiting": 0, "broken": false }],
            "conditions": ["c"],
        })
    );
    assert_eq!(run.stop(), 0);
}
