//! Requests come back from HTTP as what they were, and what is not one of them is refused with the reason.

use control::api::{
    Enter, ErrorCode, EventStatus, Fsync, Join, Kill, KillOrder, Kind, Milestone, NewPrimitive, NewQueue,
    NewWorker, Policy, Primitive, Request, Restart, Size, SyncRequest, Tell, ValueChange, Who,
};
use control::{Asked, Errand};

fn new_worker() -> NewWorker {
    NewWorker {
        name: Some("a".into()),
        command: vec!["sleep".into(), "\"1 ü\n".into(), vec![b'a', 0xff, 0xfe].into()],
        cwd: "/tmp/x y".into(),
        env: [("A".to_owned(), "b=c".to_owned())].into(),
        policy: Policy::Daemon,
        restart: Restart::OnFailure,
        instances: 3,
        after: [("b".to_owned(), Milestone::Succeeded)].into(),
        queue_in: Some("q".into()),
        queue_out: Some("p".into()),
    }
}

fn every_request() -> Vec<Request> {
    let workers = || vec!["a".to_owned(), "b.c-d_e:12".to_owned()];
    let mut all = vec![
        Request::Status { workers: vec![] },
        Request::Status { workers: workers() },
        Request::Ps,
        Request::Start { workers: workers(), wait: true },
        Request::Stop { workers: workers(), wait: false },
        Request::Restart { workers: workers(), wait: true, rolling: true },
        Request::Scale { workers: vec![Size { worker: "a".into(), instances: 0 }], wait: false },
        Request::Spawn { worker: new_worker(), wait: false },
        Request::QueueCreate(NewQueue {
            name: "q".into(),
            capacity: Some(5),
            max_bytes: None,
            max_message: Some(1 << 20),
            max_deliveries: Some(3),
            dead_letter: Some("dead".into()),
            durable: true,
            fsync: Some(Fsync::Interval),
            fsync_interval_ms: Some(50),
        }),
        Request::QueueRemove { queue: "q".into() },
        Request::Plan { config: None, named: false },
        Request::Plan { config: Some("/srv/a b&c.json".into()), named: true },
        Request::Apply { config: Some("/srv/c.json".into()), named: false, wait: true },
        Request::Apply { config: None, named: true, wait: false },
        Request::Logs { worker: None, lines: 0, follow: true },
        Request::Logs { worker: Some("a:1".into()), lines: 7, follow: false },
        Request::Events { after: u64::MAX, follow: true },
        Request::Why { worker: "a:0".into() },
        Request::Kill(Kill {
            signal: 9,
            tree: true,
            order: KillOrder::RootFirst,
            grace_ms: Some(2500),
            wait: true,
            timeout_ms: Some(1),
            foreign: true,
            dry_run: true,
            ..Kill::of(Who::Pid(12))
        }),
        Request::Kill(Kill::of(Who::Worker("a:0".into()))),
        Request::Wait { whom: Who::Worker("a".into()), timeout_ms: Some(0) },
        Request::Wait { whom: Who::Pid(1), timeout_ms: None },
        Request::Shutdown { now: true },
        Request::Shutdown { now: false },
        Request::Queues,
        Request::QueueHandle { queue: "jobs".into() },
        Request::QueueClose { queue: "jobs.v2".into() },
        Request::Join(Join { server: "/tmp/x y".into(), nonce: "00ff".into(), abi: 3 }),
        Request::Hello(Enter { abi: None }),
        Request::Hello(Enter { abi: Some(3) }),
    ];
    let wanted = Primitive { kind: Kind::Lock, name: "a.b".into() };
    let new = |kind, number| NewPrimitive { kind, name: "a".into(), number };
    let change = |add, set| ValueChange { value: "v".into(), add, set };
    for sync in [
        SyncRequest::List,
        SyncRequest::Handle(None),
        SyncRequest::Handle(Some(wanted)),
        SyncRequest::Create(new(Kind::Event, None)),
        SyncRequest::Create(new(Kind::Semaphore, Some(1024))),
        SyncRequest::Create(new(Kind::Value, Some(i64::MIN))),
        SyncRequest::Create(new(Kind::Value, None)),
        SyncRequest::Event(EventStatus { event: "go".into(), set: true }),
        SyncRequest::Value(change(None, None)),
        SyncRequest::Value(change(Some(-1), None)),
        SyncRequest::Value(change(None, Some(i64::MAX))),
        SyncRequest::Create(new(Kind::Rlock, None)),
        SyncRequest::Create(new(Kind::Array, Some(512))),
        SyncRequest::Value(ValueChange { value: "v:7".into(), add: None, set: Some(1) }),
        SyncRequest::Array { array: "v".into() },
        SyncRequest::BarrierReset { barrier: "line".into() },
    ] {
        all.push(Request::Sync(sync));
    }
    for tell in [Tell::Ready, Tell::Status("half \"way\" ü".into()), Tell::Heartbeat] {
        all.push(Request::Tell(tell));
    }
    all
}

#[test]
fn every_request_comes_back_as_what_it_was() {
    for request in every_request() {
        // Written out, so that a request that is added here does not go untested.
        match request {
            Request::Status { .. } | Request::Ps | Request::Queues | Request::Shutdown { .. } => {}
            Request::Start { .. } | Request::Stop { .. } | Request::Restart { .. } => {}
            Request::Spawn { .. } | Request::Logs { .. } | Request::Events { .. } | Request::Why { .. } => {}
            Request::Plan { .. } | Request::Apply { .. } => {}
            Request::Scale { .. } | Request::Kill(_) | Request::Wait { .. } => {}
            Request::QueueHandle { .. } | Request::QueueClose { .. } => {}
            Request::QueueCreate(_) | Request::QueueRemove { .. } => {}
            Request::Join(_) | Request::Hello(_) | Request::Tell(_) | Request::Sync(_) => {}
        }
        let http = request.to_http();
        assert_eq!(Request::from_http(http.method, &http.target, &http.body), Ok(request), "{http:?}");
    }
}

#[test]
fn workers_of_other_users_may_ask_what_is_described_as_theirs_and_nothing_else() {
    let description = control::openapi();
    for request in every_request() {
        let http = request.to_http();
        let path = http.target.split('?').next().expect("split gives at least one");
        let path = match path.strip_prefix("/v1/queues/").and_then(|rest| rest.split_once('/')) {
            Some((_, verb)) => format!("/v1/queues/{{queue}}/{verb}"),
            None => path.to_owned(),
        };
        let operation = &description["paths"][&path][http.method.to_ascii_lowercase()];
        assert!(operation.is_object(), "{path} is described");
        let is_theirs = operation["description"].as_str().is_some_and(|text| text.contains("another user"));
        match Errand::of(request.clone()) {
            Ok(_) => assert!(is_theirs, "{request:?} is granted and not described so"),
            Err(error) => {
                assert!(!is_theirs, "{request:?} is described as granted and is not");
                assert_eq!(error.code, ErrorCode::Refused);
                assert!(error.hint.is_some());
            }
        }
    }
    // Spelt out once more: whoever changes this table changes what a stranger to the run may do to it.
    let is_granted = |request: Request| Errand::of(request).is_ok();
    for refused in [
        Request::Spawn { worker: new_worker(), wait: true },
        Request::Kill(Kill::of(Who::Pid(1))),
        Request::Stop { workers: vec!["a".into()], wait: true },
        Request::Shutdown { now: true },
        Request::Apply { config: None, named: false, wait: true },
        Request::Events { after: 0, follow: false },
        Request::Ps,
        Request::Join(Join { server: "/run/docker.sock".into(), nonce: "0".into(), abi: 2 }),
    ] {
        assert!(!is_granted(refused));
    }
    assert!(is_granted(Request::Tell(Tell::Ready)) && is_granted(Request::Hello(Enter { abi: None })));
}

#[test]
fn what_is_left_out_has_its_default() {
    let post = |target, body: &str| Request::from_http("POST", target, body.as_bytes()).expect(body);
    let workers = vec!["a".to_owned()];
    assert_eq!(post("/v1/start", r#"{"workers":["a"]}"#), Request::Start { workers, wait: true });
    let plain = NewWorker {
        name: None,
        command: vec!["true".into()],
        cwd: "/".into(),
        env: Default::default(),
        policy: Policy::Wait,
        restart: Restart::Never,
        instances: 1,
        after: Default::default(),
        queue_in: None,
        queue_out: None,
    };
    assert_eq!(
        post("/v1/spawn", r#"{"worker":{"command":["true"],"cwd":"/"}}"#),
        Request::Spawn { worker: plain, wait: true }
    );
    let get = |target| Request::from_http("GET", target, b"").expect(target);
    assert_eq!(get("/v1/logs"), Request::Logs { worker: None, lines: 10, follow: false });
    assert_eq!(get("/v1/events"), Request::Events { after: 0, follow: false });
    assert_eq!(post("/v1/shutdown", ""), Request::Shutdown { now: false });
    assert_eq!(
        post("/v1/kill", r#"{"whom":{"pid":7},"signal":"hup"}"#),
        Request::Kill(Kill { signal: 1, ..Kill::of(Who::Pid(7)) })
    );
    assert_eq!(
        post("/v1/kill", r#"{"whom":{"worker":"a"}}"#),
        Request::Kill(Kill::of(Who::Worker("a".into())))
    );
}

#[test]
fn addresses_are_read_as_people_and_proxies_write_them() {
    let get = |target| Request::from_http("GET", target, b"");
    let a = Request::Status { workers: vec!["a:0".to_owned()] };
    assert_eq!(get("/v1/status?worker=a:0"), Ok(a.clone()));
    assert_eq!(get("/v1/status?worker=%61%3A0"), Ok(a.clone()));
    assert_eq!(get("http://supervisor/v1/status?&worker=a%3a0&"), Ok(a));
    assert_eq!(get("/v1/status?"), Ok(Request::Status { workers: vec![] }));
    assert_eq!(Asked::from_http("GET", "/v1/openapi.json", b""), Ok(Asked::OpenApi));
    assert_eq!(Asked::from_http("GET", "/v1/presence", b""), Ok(Asked::Presence));
}

#[test]
fn what_is_not_there_is_404_and_what_has_another_method_is_405_and_says_which() {
    for target in
        ["", "/", "/v1", "/v1/", "/v1/statu", "/v1/status/", "/v1/queues/a/b/close", "/v2/status", "*"]
    {
        let refused = Asked::from_http("GET", target, b"").expect_err(target);
        assert_eq!((refused.status, refused.error.code), (404, ErrorCode::NotFound), "{target}");
    }
    let refused = Asked::from_http("GET", "/v1/stop", b"").unwrap_err();
    assert_eq!((refused.status, refused.allow.as_deref()), (405, Some("POST")));
    let refused = Asked::from_http("DELETE", "/v1/status", b"").unwrap_err();
    assert_eq!((refused.status, refused.allow.as_deref()), (405, Some("GET, HEAD")));
    let refused = Asked::from_http("HEAD", "/v1/stop", b"").unwrap_err();
    assert_eq!((refused.status, refused.allow.as_deref()), (405, Some("POST")));
    let status = Request::from_http("GET", "/v1/status?worker=a", b"");
    assert!(status.is_ok() && Request::from_http("HEAD", "/v1/status?worker=a", b"") == status);
}

#[test]
fn nonsense_is_refused_as_wrong_usage() {
    let nonsense = [
        ("POST", "/v1/shutdown", "[]"),
        ("POST", "/v1/shutdown", " [true]"),
        ("POST", "/v1/stop", "[[\"w\"], false]"),
        ("GET", "/v1/status?worker=12", ""),
        ("GET", "/v1/status?worker=a%2", ""),
        ("GET", "/v1/status?worker=%ff", ""),
        ("GET", "/v1/status?worker=../x", ""),
        ("GET", "/v1/status?job=a", ""),
        ("GET", "/v1/ps?x", ""),
        ("GET", "/v1/ps", "{\"x\":1}"),
        ("POST", "/v1/start", ""),
        ("POST", "/v1/start", "{\"workers\":[]}"),
        ("POST", "/v1/start", "{\"workers\":[\"a b\"]}"),
        ("POST", "/v1/start", "{\"workers\":[\"a\"],\"wiat\":true}"),
        ("POST", "/v1/start", "{\"workers\":[\"a\"]} x"),
        ("POST", "/v1/start", "\u{0}"),
        ("GET", "/v1/logs?lines=x", ""),
        ("GET", "/v1/logs?lines=-1", ""),
        ("GET", "/v1/logs?follow=yes", ""),
        ("GET", "/v1/logs?worker=a&worker=b", ""),
        ("GET", "/v1/events?worker=a", ""),
        ("GET", "/v1/why", ""),
        ("GET", "/v1/why?worker=12", ""),
        ("POST", "/v1/spawn", r#"{"worker":{"command":[],"cwd":"/"}}"#),
        ("POST", "/v1/spawn", r#"{"worker":{"command":["a"],"cwd":"here"}}"#),
        ("POST", "/v1/spawn", r#"{"worker":{"command":["a\u0000"],"cwd":"/"}}"#),
        ("POST", "/v1/spawn", r#"{"worker":{"command":["a"],"cwd":"/","name":"12"}}"#),
        ("POST", "/v1/spawn", r#"{"worker":{"command":["a"],"cwd":"/","env":{"A=":""}}}"#),
        ("POST", "/v1/spawn", r#"{"worker":{"command":["a"],"cwd":"/","policy":"maybe"}}"#),
        ("POST", "/v1/sync/handle", r#"{"kind":"lock"}"#),
        ("POST", "/v1/sync/handle", r#"{"kind":"lock","name":"7"}"#),
        ("POST", "/v1/sync/create", r#"{"kind":"lock","name":"a","number":1}"#),
        ("POST", "/v1/sync/create", r#"{"kind":"semaphore","name":"a"}"#),
        ("POST", "/v1/sync/create", r#"{"kind":"semaphore","name":"a","number":1025}"#),
        ("POST", "/v1/sync/create", r#"{"kind":"barrier","name":"a","number":0}"#),
        ("POST", "/v1/sync/event", r#"{"event":"go"}"#),
        ("POST", "/v1/sync/value", r#"{"value":"v","add":1,"set":1}"#),
        ("POST", "/v1/sync/barrier", r#"{}"#),
        ("POST", "/v1/scale", "{\"workers\":[]}"),
        ("POST", "/v1/scale", "{\"workers\":[{\"worker\":\"a:0\",\"instances\":1}]}"),
        ("POST", "/v1/scale", "{\"workers\":[{\"worker\":\"a\",\"instances\":-1}]}"),
        ("POST", "/v1/kill", "{\"whom\":{\"pid\":0}}"),
        ("POST", "/v1/kill", "{\"whom\":{\"pid\":-5}}"),
        ("POST", "/v1/kill", "{\"whom\":{\"pid\":5},\"signal\":0}"),
        ("POST", "/v1/kill", "{\"whom\":{\"pid\":5},\"signal\":\"NOPE\"}"),
        ("POST", "/v1/kill", "{\"whom\":{\"pid\":99999999999}}"),
        ("POST", "/v1/wait", "{\"whom\":{\"worker\":\"a:x\"}}"),
        ("POST", "/v1/wait", "{\"whom\":{\"worker\":\"a\"},\"timeout_ms\":-1}"),
        ("POST", "/v1/queues/..%2F..%2Fetc/close", ""),
        ("POST", "/v1/queues//handle", ""),
        ("POST", "/v1/tell", "\"dance\""),
        ("POST", "/v1/join", "{}"),
        ("POST", "/v1/hello", r#"{"server":"/run/x"}"#),
        ("POST", "/v1/hello", r#"{"abi":"two"}"#),
    ];
    for (method, target, body) in nonsense {
        let refused = Asked::from_http(method, target, body.as_bytes()).expect_err(target);
        assert_eq!((refused.status, refused.error.code), (400, ErrorCode::Usage), "{method} {target} {body}");
    }
}
