//! Every endpoint of the control API, once: what the router matches and what the description is made of.

mod objects;

pub(crate) use objects::objects;

/// Which endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Status,
    Ps,
    Start,
    Stop,
    Restart,
    Scale,
    Spawn,
    Plan,
    Apply,
    Logs,
    Events,
    Why,
    Kill,
    Wait,
    Shutdown,
    Queues,
    QueueHandle,
    QueueClose,
    QueueCreate,
    QueueRemove,
    Sync,
    SyncHandle,
    SyncCreate,
    SyncEvent,
    SyncValue,
    SyncArray,
    SyncBarrier,
    Join,
    Hello,
    Tell,
    Presence,
    OpenApi,
}

/// The shape of a value, as far as the description tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Boolean,
    Integer,
    Number,
    Signal,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A schema of its own.
    Named(&'static str),
    /// A list of a schema of its own.
    ListOf(&'static str),
    /// A stream of them, a line of JSON each, that lasts as long as there is something to tell.
    LinesOf(&'static str),
    /// An object of texts.
    TextsByName,
    /// An object of such words.
    WordsByName(&'static [&'static str]),
    Texts,
    /// Texts, or bytes where they are none.
    Arguments,
    Integers,
    Nothing,
    Anything,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It must.
    Required,
    /// Its value is null when the fact is absent.
    Nullable,
    /// May be left out; means this JSON then.
    Default(&'static str),
}

/// One member of an object, or one parameter of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub presence: Presence,
    pub about: &'static str,
}

/// What the body of a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Object(&'static [Field]),
    Named(&'static str),
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub name: Name,
    pub method: &'static str,
    /// `{queue}` stands for one segment.
    pub path: &'static str,
    pub about: &'static str,
    /// The parameters its query may have; one of [`Shape::Texts`] any number of times.
    pub query: &'static [Field],
    pub body: Body,
    pub answer: Shape,
    /// Whether workers that run as another user may ask it too; see [`crate::Errand`].
    pub is_errand: bool,
}

impl Endpoint {
    /// The same, for workers that run as another user too.
    const fn errand(mut self) -> Endpoint {
        self.is_errand = true;
        self
    }
}

const fn field(name: &'static str, shape: Shape, presence: Presence, about: &'static str) -> Field {
    Field { name, shape, presence, about }
}

const fn get(name: Name, path: &'static str, answer: Shape, about: &'static str) -> Endpoint {
    Endpoint { name, method: "GET", path, about, query: &[], body: Body::None, answer, is_errand: false }
}

const fn post(name: Name, path: &'static str, body: Body, answer: Shape, about: &'static str) -> Endpoint {
    Endpoint { name, method: "POST", path, about, query: &[], body, answer, is_errand: false }
}

use Presence::{Default, Required};

const WHOM: Field = field("whom", Shape::Named("Who"), Required, "whom it concerns");

const FOLLOW: Field =
    field("follow", Shape::Boolean, Default("false"), "go on with what comes, until the run ends");

const POLICIES: Shape = Shape::Word(&["wait", "terminate", "daemon"]);

const KINDS: Shape =
    Shape::Word(&["lock", "rlock", "semaphore", "event", "value", "array", "barrier", "condition"]);

const MILESTONES: &[&str] = &["started", "ready", "succeeded", "ended"];

const CONFIG: Field = field(
    "config",
    Shape::Text,
    Default("null"),
    "the config, as an absolute path; null: the file that the run was started from",
);

const NAMED: Field = field(
    "named",
    Shape::Boolean,
    Default("false"),
    "the run is meant, though the config is of another name",
);

const TARGETS: Body = Body::Object(&[
    field("workers", Shape::Texts, Required, "NAME or NAME:INSTANCE, at least one"),
    field("wait", Shape::Boolean, Default("true"), "answer when it is so, not before"),
]);

const RESTART: Body = Body::Object(&[
    field("workers", Shape::Texts, Required, "NAME or NAME:INSTANCE, at least one"),
    field("wait", Shape::Boolean, Default("true"), "answer when it is so, not before"),
    field(
        "rolling",
        Shape::Boolean,
        Default("false"),
        "let the new get ready before the old is asked to stop",
    ),
]);

/// The one list.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        query: &[field("worker", Shape::Texts, Default("null"), "NAME or NAME:INSTANCE; none: all of them")],
        ..get(Name::Status, "/v1/status", Shape::Named("Status"), "a row an instance").errand()
    },
    get(Name::Ps, "/v1/ps", Shape::ListOf("ProcessRow"), "the process tree, the supervisor first"),
    post(Name::Start, "/v1/start", TARGETS, Shape::Named("Acted"), "start what is not up"),
    post(Name::Stop, "/v1/stop", TARGETS, Shape::Named("Acted"), "stop, and stay stopped"),
    post(Name::Restart, "/v1/restart", RESTART, Shape::Named("Acted"), "stop, then start anew"),
    post(
        Name::Scale,
        "/v1/scale",
        Body::Object(&[
            field(
                "workers",
                Shape::ListOf("Size"),
                Required,
                "how many instances each is to have, at least one",
            ),
            field("wait", Shape::Boolean, Default("true"), "answer when it is so, not before"),
        ]),
        Shape::Named("Acted"),
        "give workers more or fewer instances; the highest numbers go first, the others are not touched",
    ),
    post(
        Name::Spawn,
        "/v1/spawn",
        Body::Object(&[
            field("worker", Shape::Named("NewWorker"), Required, "the worker"),
            field("wait", Shape::Boolean, Default("true"), "answer when it runs, or cannot come to"),
        ]),
        Shape::Named("Acted"),
        "add a worker, and start it",
    ),
    Endpoint {
        query: &[CONFIG, NAMED],
        ..get(Name::Plan, "/v1/plan", Shape::Named("Proposal"), "what another config would change")
    },
    post(
        Name::Apply,
        "/v1/apply",
        Body::Object(&[
            CONFIG,
            NAMED,
            field("wait", Shape::Boolean, Default("true"), "answer when it is so, not before"),
        ]),
        Shape::Named("Proposal"),
        "make the run what a config says; what is the same keeps running",
    ),
    Endpoint {
        query: &[
            field("worker", Shape::Text, Default("null"), "NAME or NAME:INSTANCE; none: all of them"),
            field(
                "lines",
                Shape::Integer,
                Default("10"),
                "begin with so many of the last lines of each worker",
            ),
            FOLLOW,
        ],
        ..get(Name::Logs, "/v1/logs", Shape::LinesOf("LogLine"), "what workers print").errand()
    },
    Endpoint {
        query: &[
            field("after", Shape::Integer, Default("0"), "only what came after the one with this number"),
            FOLLOW,
        ],
        ..get(Name::Events, "/v1/events", Shape::LinesOf("EventLine"), "what happened")
    },
    Endpoint {
        query: &[field("worker", Shape::Text, Required, "NAME or NAME:INSTANCE")],
        ..get(Name::Why, "/v1/why", Shape::ListOf("Why"), "why instances stand where they stand").errand()
    },
    post(
        Name::Kill,
        "/v1/kill",
        Body::Object(&[
            WHOM,
            field("signal", Shape::Signal, Default("15"), "a signal's number or name"),
            field(
                "tree",
                Shape::Boolean,
                Default("false"),
                "also everything below it: all are stopped first, get the signal, and go on",
            ),
            field(
                "order",
                Shape::Word(&["leaves_first", "root_first"]),
                Default("\"leaves_first\""),
                "who of a tree gets it first",
            ),
            field(
                "grace_ms",
                Shape::Integer,
                Default("null"),
                "KILL follows after so many milliseconds, until nothing lives; the answer comes when it is gone",
            ),
            field("wait", Shape::Boolean, Default("false"), "answer when it is gone, and not before"),
            field(
                "timeout_ms",
                Shape::Integer,
                Default("null"),
                "give up waiting after so many milliseconds",
            ),
            field("foreign", Shape::Boolean, Default("false"), "also a pid outside the run"),
            field("dry_run", Shape::Boolean, Default("false"), "send nothing, and tell who would get it"),
        ]),
        Shape::Named("Killed"),
        "send a signal to a process or a tree of the run",
    ),
    post(
        Name::Wait,
        "/v1/wait",
        Body::Object(&[
            WHOM,
            field("timeout_ms", Shape::Integer, Default("null"), "give up after so many milliseconds"),
        ]),
        Shape::Named("Waited"),
        "answer when it has ended; a worker: for good",
    ),
    post(
        Name::Shutdown,
        "/v1/shutdown",
        Body::Object(&[field("now", Shape::Boolean, Default("false"), "KILL at once, no grace")]),
        Shape::Nothing,
        "stop everything, then the supervisor; answered when everything but itself is gone",
    ),
    get(Name::Queues, "/v1/queues", Shape::ListOf("QueueStatus"), "a row a queue").errand(),
    post(
        Name::QueueHandle,
        "/v1/queues/{queue}/handle",
        Body::None,
        Shape::Named("QueueHandle"),
        "where the queue's memory is; the caller is watched from then on, and what it holds is given back when it dies",
    )
    .errand(),
    post(
        Name::QueueClose,
        "/v1/queues/{queue}/close",
        Body::None,
        Shape::Nothing,
        "no more puts; what is in it can still be taken",
    )
    .errand(),
    post(Name::QueueCreate, "/v1/queues/create", Body::Named("NewQueue"), Shape::Nothing, "make a queue"),
    post(
        Name::QueueRemove,
        "/v1/queues/{queue}/remove",
        Body::None,
        Shape::Nothing,
        "forget a queue that no worker lists, and what is in it",
    ),
    get(
        Name::Sync,
        "/v1/sync",
        Shape::Named("SyncStatus"),
        "locks, semaphores, events, values, arrays, barriers and conditions",
    )
    .errand(),
    post(
        Name::SyncHandle,
        "/v1/sync/handle",
        Body::Object(&[
            field("kind", KINDS, Default("null"), "what must be there; with its name"),
            field("name", Shape::Text, Default("null"), "its name"),
        ]),
        Shape::Named("SyncHandle"),
        "where their memory is; the caller is watched from then on, and what it holds is handed on when it dies",
    )
    .errand(),
    post(
        Name::SyncCreate,
        "/v1/sync/create",
        Body::Object(&[
            field("kind", KINDS, Required, "what it is"),
            field("name", Shape::Text, Required, "its name"),
            field(
                "number",
                Shape::Integer,
                Default("null"),
                "a semaphore's permits, a barrier's parties, what a value is at first",
            ),
        ]),
        Shape::Named("Created"),
        "define one more, as long as the run lasts",
    )
    .errand(),
    post(
        Name::SyncEvent,
        "/v1/sync/event",
        Body::Named("EventStatus"),
        Shape::Named("EventStatus"),
        "set an event, or clear it",
    )
    .errand(),
    post(
        Name::SyncValue,
        "/v1/sync/value",
        Body::Object(&[
            field("value", Shape::Text, Required, "its name; NAME:INDEX for a number of an array"),
            field("add", Shape::Integer, Default("null"), "add so much"),
            field("set", Shape::Integer, Default("null"), "make it this"),
        ]),
        Shape::Named("ValueStatus"),
        "read a number, or change it",
    )
    .errand(),
    post(
        Name::SyncArray,
        "/v1/sync/array",
        Body::Object(&[field("array", Shape::Text, Required, "its name")]),
        Shape::Named("ArrayNumbers"),
        "read all numbers of an array",
    )
    .errand(),
    post(
        Name::SyncBarrier,
        "/v1/sync/barrier",
        Body::Object(&[field("barrier", Shape::Text, Required, "its name")]),
        Shape::Named("BarrierStatus"),
        "let a broken barrier be used again; who waits at it is told that it broke",
    )
    .errand(),
    post(Name::Join, "/v1/join", Body::Named("Join"), Shape::Nothing, "a worker asks to meet its supervisor"),
    post(
        Name::Hello,
        "/v1/hello",
        Body::Object(&[field("abi", Shape::Integer, Default("null"), "the wire version it was built with")]),
        Shape::LinesOf("HelloLine"),
        "a worker joins on this connection: it is told who it is, and then what it is to do, while its launch lasts",
    )
    .errand(),
    post(Name::Tell, "/v1/tell", Body::Named("Tell"), Shape::Nothing, "a worker reports").errand(),
    get(
        Name::Presence,
        "/v1/presence",
        Shape::Nothing,
        "answered only when the supervisor goes away: a way to learn of its end at once",
    )
    .errand(),
    get(Name::OpenApi, "/v1/openapi.json", Shape::Anything, "this description").errand(),
];

/// The endpoint of that name.
pub(crate) fn endpoint(name: Name) -> &'static Endpoint {
    ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.name == name)
        .expect("the list holds every name; a test holds it to that")
}
