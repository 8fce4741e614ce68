//! The description of the API, made from the list of endpoints.

use serde_json::{Map, Value, json};

use crate::endpoints::{Body, ENDPOINTS, Endpoint, Field, Name, Presence, Shape, objects};

/// The OpenAPI 3.1 document that describes every endpoint.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.to_ascii_lowercase()] = operation(endpoint);
    }
    let mut schemas = Map::new();
    for (name, about, fields) in objects() {
        schemas.insert((*name).to_owned(), object(about, fields));
    }
    schemas.insert(
        "Exit".to_owned(),
        one_of(
            "how a process ended",
            &[
                ("code", "integer", "it exited with this code"),
                ("signal", "integer", "this signal killed it"),
            ],
        ),
    );
    schemas.insert(
        "Who".to_owned(),
        one_of(
            "whom it concerns",
            &[("pid", "integer", "a pid"), ("worker", "string", "NAME or NAME:INSTANCE")],
        ),
    );
    schemas.insert(
        "EventLine".to_owned(),
        json!({"description": "something happened", "oneOf": [reference("Transition"), reference("Missed")]}),
    );
    let order = json!({"type": "object", "required": ["order"], "properties": {
        "order": {"type": "string", "enum": ["stop"], "description": "what it is to do"},
    }});
    let hello = json!({"type": "object", "required": ["hello"], "properties": {"hello": reference("Hello")}});
    schemas.insert(
        "HelloLine".to_owned(),
        json!({"description": "who a worker is, first; then what it is to do", "oneOf": [hello, order]}),
    );
    let mut tell = one_of("what a worker reports", &[("status", "string", "what it does, in words")]);
    let words = json!({"type": "string", "enum": ["ready", "heartbeat"]});
    tell["oneOf"].as_array_mut().expect("one_of makes a list").push(words);
    schemas.insert("Tell".to_owned(), tell);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "supervisor control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "HTTP/1.1 with JSON over the Unix socket $SUPERVISOR_SOCKET. Every refusal has an ErrorBody.",
        },
        "servers": [{"url": "http://supervisor"}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters = Vec::new();
    if endpoint.path.contains("{queue}") {
        parameters.push(json!({
            "name": "queue", "in": "path", "required": true, "description": "the queue's name",
            "schema": {"type": "string"},
        }));
    }
    for field in endpoint.query {
        let required = field.presence == Presence::Required;
        parameters.push(json!({
            "name": field.name, "in": "query", "required": required, "description": field.about, "explode": true,
            "schema": schema(field.shape),
        }));
    }
    let mut operation = json!({
        "operationId": operation_id(endpoint.name),
        "summary": endpoint.about,
        "responses": {
            "200": {"description": "it is so", "content": answer(endpoint.answer)},
            "default": {"description": "it was refused", "content": content(reference("ErrorBody"))},
        },
    });
    if endpoint.is_errand {
        operation["description"] = "Workers that run as another user may ask this too.".into();
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = match endpoint.body {
        Body::None => None,
        Body::Object(fields) => Some(object(endpoint.about, fields)),
        Body::Named(name) => Some(reference(name)),
    };
    if let Some(body) = body {
        operation["requestBody"] = json!({"content": content(body)});
    }
    operation
}

fn operation_id(name: Name) -> String {
    let mut id = format!("{name:?}");
    id[..1].make_ascii_lowercase();
    id
}

fn content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn answer(shape: Shape) -> Value {
    match shape {
        Shape::LinesOf(_) => json!({"application/x-ndjson": {"schema": schema(shape)}}),
        _ => content(schema(shape)),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object(about: &str, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut value = schema(field.shape);
        match field.presence {
            Presence::Required => required.push(field.name),
            Presence::Nullable => {
                required.push(field.name);
                value = json!({"anyOf": [value, {"type": "null"}]});
            }
            Presence::Default("null") => value = json!({"anyOf": [value, {"type": "null"}]}),
            Presence::Default(default) => {
                value["default"] =
                    serde_json::from_str(default).expect("the list of endpoints has JSON defaults");
            }
        }
        value["description"] = field.about.into();
        properties.insert(field.name.to_owned(), value);
    }
    json!({"type": "object", "description": about, "properties": properties, "required": required})
}

fn one_of(about: &str, members: &[(&str, &str, &str)]) -> Value {
    let variants: Vec<Value> = members
        .iter()
        .map(|(name, kind, about)| {
            let mut properties = Map::new();
            properties.insert((*name).to_owned(), json!({"type": kind, "description": about}));
            json!({"type": "object", "properties": properties, "required": [name]})
        })
        .collect();
    json!({"description": about, "oneOf": variants})
}

fn schema(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Integer => json!({"type": "integer"}),
        Shape::Number => json!({"type": "number"}),
        Shape::Signal => json!({"type": ["integer", "string"]}),
        Shape::Word(words) => json!({"type": "string", "enum": words}),
        Shape::Named(name) => reference(name),
        // What one line of the stream holds.
        Shape::LinesOf(name) => reference(name),
        Shape::TextsByName => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::WordsByName(words) => {
            json!({"type": "object", "additionalProperties": {"type": "string", "enum": words}})
        }
        Shape::ListOf(name) => json!({"type": "array", "items": reference(name)}),
        Shape::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Shape::Arguments => json!({"type": "array", "items": {"oneOf": [
            {"type": "string"},
            {
                "type": "object",
                "description": "what is not UTF-8",
                "properties": {"bytes": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 255}}},
                "required": ["bytes"],
                "additionalProperties": false,
            },
        ]}}),
        Shape::Integers => json!({"type": "array", "items": {"type": "integer"}}),
        Shape::Nothing => json!({"type": "null"}),
        Shape::Anything => json!({"type": "object"}),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::api::*;
    use crate::endpoints::endpoint;

    /// The members that the list gives to the object of that name.
    fn members(name: &str) -> Vec<&'static str> {
        let (.., fields) = objects().find(|(object, ..)| *object == name).expect(name);
        fields.iter().map(|field| field.name).collect()
    }

    fn keys(value: impl Serialize) -> Vec<String> {
        let value = serde_json::to_value(value).expect("a report is JSON");
        value.as_object().expect("a report is an object").keys().cloned().collect()
    }

    fn new_worker() -> NewWorker {
        NewWorker {
            name: None,
            command: vec!["sleep".into()],
            cwd: "/".into(),
            env: Default::default(),
            policy: Policy::Wait,
            restart: Restart::Never,
            instances: 1,
            after: Default::default(),
            queue_in: None,
            queue_out: None,
        }
    }

    #[test]
    fn the_objects_that_are_described_are_those_that_are_sent() {
        let instance = InstanceStatus {
            worker: "a".into(),
            instance: 0,
            launch: None,
            state: "running".into(),
            pid: None,
            ppid: None,
            uptime_s: None,
            restarts: 0,
            exit: None,
            policy: "wait".into(),
            why: None,
        };
        let status = Status { name: "n".into(), pid: 1, config: None, workers: vec![], config_newer: true };
        let row = ProcessRow {
            pid: 1,
            ppid: 0,
            worker: None,
            instance: None,
            launch: None,
            depth: 0,
            command: String::new(),
            state: "S".into(),
            age_s: 0.0,
            cpu_s: 0.0,
            memory_bytes: 0,
            threads: 1,
        };
        let queue = QueueStatus {
            queue: "q".into(),
            capacity: None,
            len: 0,
            in_flight: 0,
            closed: false,
            puts: 0,
            gets: 0,
            redelivered: 0,
            dead: 0,
        };
        let handle = QueueHandle { queue: "q".into(), path: None, dead_letter: None };
        let join = Join { server: "s".into(), nonce: "0".into(), abi: 1 };
        let problem = Problem { path: String::new(), line: 1, column: 1, message: String::new(), hint: None };
        let error = ApiError { problems: vec![problem.clone()], ..ApiError::new(ErrorCode::Problems, "no") };
        let worker = ProposedWorker {
            worker: "a".into(),
            action: Action::Restart,
            detail: None,
            reason: None,
            from: 1,
            to: 1,
        };
        let thing =
            ProposedThing { kind: "queue".into(), name: "q".into(), action: "add".into(), reason: None };
        assert_eq!(keys(&worker), members("ProposedWorker"));
        assert_eq!(keys(&thing), members("ProposedThing"));
        assert_eq!(keys(problem), members("Problem"));
        let proposal = Proposal {
            name: "n".into(),
            config: "/c".into(),
            changes: true,
            workers: vec![worker],
            shared: vec![thing],
            family: vec![],
            instances: vec![],
        };
        assert_eq!(keys(proposal), members("Proposal"));
        let line = LogLine {
            time: String::new(),
            worker: None,
            instance: None,
            launch: None,
            stream: "supervisor".into(),
            line: String::new(),
            partial: Some(Partial::End),
            lossy: true,
            lost_lines: Some(1),
        };
        let transition = Transition {
            seq: 1,
            time: String::new(),
            worker: "a".into(),
            instance: 0,
            launch: None,
            from: None,
            to: None,
            why: None,
        };
        let why = Why {
            status: instance.clone(),
            since_s: 0.0,
            core_dumped: None,
            next_launch_in_s: None,
            waits_for: None,
            running_out: Some(RunningOut { what: "rest".into(), left_s: 0.0 }),
            spent: Spent { restarts: 0, allowed: 5, within_s: 10.0, forgotten_in_s: None },
            chain: vec![],
            asked: None,
            changed: None,
            ended_for: None,
            older_config: false,
            says: None,
            output: vec![],
        };
        let participant = Participant { pid: 1, name: "a".into(), worker: None, instance: None };
        let lock = LockStatus { lock: "a".into(), recursive: false, holder: None, waiters: vec![] };
        let semaphore = SemaphoreStatus { semaphore: "a".into(), permits: 1, free: 1, holders: vec![] };
        let barrier = BarrierStatus { barrier: "a".into(), parties: 1, waiting: 0, broken: false };
        let created = Created { kind: Kind::Lock, name: "a".into(), created: true };
        assert_eq!(keys(participant), members("Participant"));
        assert_eq!(keys(lock), members("LockStatus"));
        assert_eq!(keys(semaphore), members("SemaphoreStatus"));
        assert_eq!(keys(barrier), members("BarrierStatus"));
        assert_eq!(keys(created), members("Created"));
        assert_eq!(keys(SyncStatus::default()), members("SyncStatus"));
        assert_eq!(keys(EventStatus { event: "a".into(), set: true }), members("EventStatus"));
        assert_eq!(keys(ArrayStatus { array: "a".into(), length: 1 }), members("ArrayStatus"));
        assert_eq!(keys(ArrayNumbers { array: "a".into(), numbers: vec![] }), members("ArrayNumbers"));
        assert_eq!(keys(ValueStatus { value: "a".into(), number: 0 }), members("ValueStatus"));
        assert_eq!(keys(SyncHandle { path: None, uuid: "0".into() }), members("SyncHandle"));
        assert_eq!(keys(line), members("LogLine"));
        assert_eq!(keys(EventLine::Transition(transition)), members("Transition"));
        assert_eq!(keys(EventLine::Missed(Missed { missed: 1, until_seq: 1 })), members("Missed"));
        assert_eq!(keys(why.running_out.clone()), members("RunningOut"));
        assert_eq!(keys(why.spent.clone()), members("Spent"));
        let link = Link { worker: "a".into(), instance: 0, state: "waiting".into(), why: None };
        assert_eq!(keys(link), members("Link"));
        let asked = AskedBy { what: "stop".into(), uid: None, pid: None, command: None, ago_s: 0.0 };
        assert_eq!(keys(asked), members("AskedBy"));
        assert_eq!(keys(why), members("Why"));
        let waits_for = WaitsFor { worker: "a".into(), milestone: Milestone::Ready };
        assert_eq!(keys(waits_for), members("WaitsFor"));
        assert_eq!(keys(new_worker()), members("NewWorker"));
        let new_queue = NewQueue {
            name: "q".into(),
            capacity: None,
            max_bytes: None,
            max_message: None,
            max_deliveries: None,
            dead_letter: None,
            durable: false,
            fsync: None,
            fsync_interval_ms: None,
        };
        assert_eq!(keys(new_queue), members("NewQueue"));
        assert_eq!(keys(instance), members("InstanceStatus"));
        assert_eq!(keys(status), members("Status"));
        assert_eq!(keys(row), members("ProcessRow"));
        assert_eq!(keys(queue), members("QueueStatus"));
        assert_eq!(keys(handle), members("QueueHandle"));
        assert_eq!(keys(Acted { instances: vec![] }), members("Acted"));
        assert_eq!(keys(Size { worker: "a".into(), instances: 1 }), members("Size"));
        assert_eq!(keys(Killed::default()), members("Killed"));
        assert_eq!(keys(Waited { exit: None, state: None }), members("Waited"));
        assert_eq!(keys(join), members("Join"));
        let offered = Offered { queue: "q".into(), dead_letter: None };
        let hello = Hello {
            run: "n".into(),
            worker: "a".into(),
            instance: 0,
            launch: 1,
            pid: 1,
            supervisor: 1,
            args: "[]".into(),
            kwargs: "{}".into(),
            queues: vec![offered.clone()],
        };
        assert_eq!(keys(offered), members("Offered"));
        assert_eq!(keys(hello), members("Hello"));
        assert_eq!(keys(&error), members("ApiError"));
        assert_eq!(keys(ErrorBody { error }), members("ErrorBody"));
    }

    #[test]
    fn the_bodies_that_are_described_are_those_that_are_sent() {
        let whom = Who::Pid(1);
        let workers = vec!["a".to_owned()];
        let sent = [
            (Name::Start, Request::Start { workers, wait: true }),
            (Name::Spawn, Request::Spawn { worker: new_worker(), wait: true }),
            (Name::Scale, Request::Scale { workers: vec![], wait: true }),
            (Name::Apply, Request::Apply { config: None, named: true, wait: true }),
            (Name::Kill, Request::Kill(Kill::of(whom.clone()))),
            (Name::Wait, Request::Wait { whom, timeout_ms: None }),
            (Name::Shutdown, Request::Shutdown { now: true }),
            (Name::Hello, Request::Hello(Enter { abi: None })),
            (
                Name::SyncHandle,
                Request::Sync(SyncRequest::Handle(Some(Primitive { kind: Kind::Lock, name: "a".into() }))),
            ),
            (
                Name::SyncCreate,
                Request::Sync(SyncRequest::Create(NewPrimitive {
                    kind: Kind::Value,
                    name: "a".into(),
                    number: None,
                })),
            ),
            (
                Name::SyncValue,
                Request::Sync(SyncRequest::Value(ValueChange { value: "a".into(), add: None, set: None })),
            ),
            (Name::SyncArray, Request::Sync(SyncRequest::Array { array: "a".into() })),
            (Name::SyncBarrier, Request::Sync(SyncRequest::BarrierReset { barrier: "a".into() })),
        ];
        for (name, request) in sent {
            let body: Value = serde_json::from_slice(&request.to_http().body).expect("a body is JSON");
            let Body::Object(fields) = endpoint(name).body else { panic!("{name:?} has members") };
            assert_eq!(keys(body), fields.iter().map(|field| field.name).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("split gives at least one");
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        assert_eq!(document["paths"].as_object().map(Map::len), Some(ENDPOINTS.len()));
    }
}
