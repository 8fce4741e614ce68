//! Every endpoint of the control API, once: what the router matches and what the description is made of.

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
    SyncBarrier,
    Join,
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
}

const fn field(name: &'static str, shape: Shape, presence: Presence, about: &'static str) -> Field {
    Field { name, shape, presence, about }
}

const fn get(name: Name, path: &'static str, answer: Shape, about: &'static str) -> Endpoint {
    Endpoint { name, method: "GET", path, about, query: &[], body: Body::None, answer }
}

const fn post(name: Name, path: &'static str, body: Body, answer: Shape, about: &'static str) -> Endpoint {
    Endpoint { name, method: "POST", path, about, query: &[], body, answer }
}

use Presence::{Default, Nullable, Required};

const WHOM: Field = field("whom", Shape::Named("Who"), Required, "whom it concerns");

const FOLLOW: Field =
    field("follow", Shape::Boolean, Default("false"), "go on with what comes, until the run ends");

const POLICIES: Shape = Shape::Word(&["wait", "terminate", "daemon"]);

const KINDS: Shape = Shape::Word(&["lock", "semaphore", "event", "value", "barrier", "condition"]);

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
        ..get(Name::Status, "/v1/status", Shape::Named("Status"), "a row an instance")
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
        ..get(Name::Logs, "/v1/logs", Shape::LinesOf("LogLine"), "what workers print")
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
        ..get(Name::Why, "/v1/why", Shape::ListOf("Why"), "why instances stand where they stand")
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
    get(Name::Queues, "/v1/queues", Shape::ListOf("QueueStatus"), "a row a queue"),
    post(
        Name::QueueHandle,
        "/v1/queues/{queue}/handle",
        Body::None,
        Shape::Named("QueueHandle"),
        "where the queue's memory is; the caller is watched from then on, and what it holds is given back when it dies",
    ),
    post(
        Name::QueueClose,
        "/v1/queues/{queue}/close",
        Body::None,
        Shape::Nothing,
        "no more puts; what is in it can still be taken",
    ),
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
        "locks, semaphores, events, values, barriers and conditions",
    ),
    post(
        Name::SyncHandle,
        "/v1/sync/handle",
        Body::Object(&[
            field("kind", KINDS, Default("null"), "what must be there; with its name"),
            field("name", Shape::Text, Default("null"), "its name"),
        ]),
        Shape::Named("SyncHandle"),
        "where their memory is; the caller is watched from then on, and what it holds is handed on when it dies",
    ),
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
    ),
    post(
        Name::SyncEvent,
        "/v1/sync/event",
        Body::Named("EventStatus"),
        Shape::Named("EventStatus"),
        "set an event, or clear it",
    ),
    post(
        Name::SyncValue,
        "/v1/sync/value",
        Body::Object(&[
            field("value", Shape::Text, Required, "its name"),
            field("add", Shape::Integer, Default("null"), "add so much"),
            field("set", Shape::Integer, Default("null"), "make it this"),
        ]),
        Shape::Named("ValueStatus"),
        "read a number, or change it",
    ),
    post(
        Name::SyncBarrier,
        "/v1/sync/barrier",
        Body::Object(&[field("barrier", Shape::Text, Required, "its name")]),
        Shape::Named("BarrierStatus"),
        "let a broken barrier be used again; who waits at it is told that it broke",
    ),
    post(Name::Join, "/v1/join", Body::Named("Join"), Shape::Nothing, "a worker asks to meet its supervisor"),
    post(Name::Tell, "/v1/tell", Body::Named("Tell"), Shape::Nothing, "a worker reports"),
    get(
        Name::Presence,
        "/v1/presence",
        Shape::Nothing,
        "answered only when the supervisor goes away: a way to learn of its end at once",
    ),
    get(Name::OpenApi, "/v1/openapi.json", Shape::Anything, "this description"),
];

/// The endpoint of that name.
pub(crate) fn endpoint(name: Name) -> &'static Endpoint {
    ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.name == name)
        .expect("the list holds every name; a test holds it to that")
}

const STATES: Shape =
    Shape::Word(&["waiting", "starting", "running", "stopping", "backoff", "done", "failed", "stopped"]);

/// The objects of the API: name, what it is, members.
pub(crate) const OBJECTS: &[(&str, &str, &[Field])] = &[
    (
        "Status",
        "the run and its instances",
        &[
            field("name", Shape::Text, Required, "the run's name"),
            field("pid", Shape::Integer, Required, "the supervisor's pid"),
            field("config", Shape::Text, Nullable, "the config file, as an absolute path"),
            field("workers", Shape::ListOf("InstanceStatus"), Required, "a row an instance"),
            field(
                "config_newer",
                Shape::Boolean,
                Default("false"),
                "whether a file of the config has changed since it was read",
            ),
        ],
    ),
    (
        "InstanceStatus",
        "one instance; absent facts are null",
        &[
            field("worker", Shape::Text, Required, "the worker's name"),
            field("instance", Shape::Integer, Required, "its number, from 0"),
            field("launch", Shape::Integer, Nullable, "its present launch, or its last"),
            field("state", STATES, Required, "where it stands"),
            field("pid", Shape::Integer, Nullable, "the process that leads it, while one lives"),
            field("ppid", Shape::Integer, Nullable, "that process's parent"),
            field("uptime_s", Shape::Number, Nullable, "how long the present launch has been up"),
            field("restarts", Shape::Integer, Required, "how many times it was started again"),
            field("exit", Shape::Named("Exit"), Nullable, "how its last launch ended"),
            field("policy", POLICIES, Required, "how it parts"),
            field("why", Shape::Text, Nullable, "why it stands where it stands"),
        ],
    ),
    (
        "ProcessRow",
        "a process of the run",
        &[
            field("pid", Shape::Integer, Required, "its pid"),
            field("ppid", Shape::Integer, Required, "its parent"),
            field("worker", Shape::Text, Nullable, "its worker; null for the supervisor"),
            field("instance", Shape::Integer, Nullable, "its instance"),
            field("launch", Shape::Integer, Nullable, "its launch"),
            field("depth", Shape::Integer, Required, "steps below the supervisor"),
            field("command", Shape::Text, Required, "its command line"),
            field("state", Shape::Text, Required, "what it is at, as one letter: R, S, D, T, t, Z or I"),
            field("age_s", Shape::Number, Required, "how long ago it was started"),
            field("cpu_s", Shape::Number, Required, "what it has had of the processors"),
            field("memory_bytes", Shape::Integer, Required, "how much of it is in memory"),
            field("threads", Shape::Integer, Required, "how many threads it has"),
        ],
    ),
    (
        "QueueStatus",
        "a queue",
        &[
            field("queue", Shape::Text, Required, "its name"),
            field("capacity", Shape::Integer, Nullable, "at most so many messages; null: unbounded"),
            field("len", Shape::Integer, Required, "messages that wait to be taken"),
            field("in_flight", Shape::Integer, Required, "messages taken and not yet acknowledged"),
            field("closed", Shape::Boolean, Required, "whether puts are over"),
            field("puts", Shape::Integer, Required, "messages put since the start"),
            field("gets", Shape::Integer, Required, "messages taken since the start"),
            field("redelivered", Shape::Integer, Required, "messages delivered again"),
            field("dead", Shape::Integer, Required, "messages given up on"),
        ],
    ),
    (
        "QueueHandle",
        "how to open a queue",
        &[
            field("queue", Shape::Text, Required, "its name"),
            field("path", Shape::Text, Required, "its segment"),
            field("dead_letter", Shape::Named("QueueHandle"), Nullable, "where its dead letters go"),
        ],
    ),
    (
        "SyncStatus",
        "what processes meet at",
        &[
            field("locks", Shape::ListOf("LockStatus"), Required, "a row a lock"),
            field("semaphores", Shape::ListOf("SemaphoreStatus"), Required, "a row a semaphore"),
            field("events", Shape::ListOf("EventStatus"), Required, "a row an event"),
            field("values", Shape::ListOf("ValueStatus"), Required, "a row a value"),
            field("barriers", Shape::ListOf("BarrierStatus"), Required, "a row a barrier"),
            field("conditions", Shape::Texts, Required, "the names of the conditions"),
        ],
    ),
    (
        "LockStatus",
        "a lock",
        &[
            field("lock", Shape::Text, Required, "its name"),
            field("holder", Shape::Named("Participant"), Nullable, "who holds it; null: nobody"),
            field("waiters", Shape::ListOf("Participant"), Required, "who waits for it"),
        ],
    ),
    (
        "SemaphoreStatus",
        "a semaphore",
        &[
            field("semaphore", Shape::Text, Required, "its name"),
            field("permits", Shape::Integer, Required, "how many may hold it at once"),
            field("free", Shape::Integer, Required, "how many more could now"),
            field("holders", Shape::ListOf("Participant"), Required, "who holds it, an entry a permit"),
        ],
    ),
    (
        "EventStatus",
        "an event",
        &[
            field("event", Shape::Text, Required, "its name"),
            field("set", Shape::Boolean, Required, "whether it is set"),
        ],
    ),
    (
        "ValueStatus",
        "a shared number",
        &[
            field("value", Shape::Text, Required, "its name"),
            field("number", Shape::Integer, Required, "the number"),
        ],
    ),
    (
        "BarrierStatus",
        "a barrier",
        &[
            field("barrier", Shape::Text, Required, "its name"),
            field("parties", Shape::Integer, Required, "how many must come before all pass"),
            field("waiting", Shape::Integer, Required, "how many wait"),
            field("broken", Shape::Boolean, Required, "whether nobody passes until it is reset"),
        ],
    ),
    (
        "Participant",
        "a process that holds something or waits for it",
        &[
            field("pid", Shape::Integer, Required, "its pid"),
            field("name", Shape::Text, Required, "what it calls itself, else its program's name"),
            field("worker", Shape::Text, Nullable, "its worker"),
            field("instance", Shape::Integer, Nullable, "its instance"),
        ],
    ),
    (
        "SyncHandle",
        "how to open what processes meet at",
        &[
            field("path", Shape::Text, Required, "its segment"),
            field("uuid", Shape::Text, Required, "what the segment must be"),
        ],
    ),
    (
        "Created",
        "what was to be defined",
        &[
            field("kind", KINDS, Required, "what it is"),
            field("name", Shape::Text, Required, "its name"),
            field("created", Shape::Boolean, Required, "whether it was not there before"),
        ],
    ),
    (
        "Acted",
        "what became of each instance",
        &[field("instances", Shape::ListOf("InstanceStatus"), Required, "a row an instance")],
    ),
    (
        "Size",
        "how many instances a worker is to have",
        &[
            field("worker", Shape::Text, Required, "the worker's name"),
            field("instances", Shape::Integer, Required, "so many; 0: none"),
        ],
    ),
    (
        "NewWorker",
        "a worker to be added",
        &[
            field("name", Shape::Text, Default("null"), "null: one made from its command"),
            field("command", Shape::Texts, Required, "the program and its arguments"),
            field("cwd", Shape::Text, Required, "the working folder, absolute"),
            field("env", Shape::TextsByName, Default("{}"), "variables beside the supervisor's own"),
            field("policy", POLICIES, Default("\"wait\""), "how it parts"),
            field(
                "restart",
                Shape::Word(&["never", "on-failure", "always"]),
                Default("\"never\""),
                "when it is started again",
            ),
            field("instances", Shape::Integer, Default("1"), "how many numbered copies"),
            field(
                "after",
                Shape::WordsByName(MILESTONES),
                Default("{}"),
                "who must have reached what before",
            ),
            field("queue_in", Shape::Text, Default("null"), "the queue that feeds its standard input"),
            field("queue_out", Shape::Text, Default("null"), "the queue that takes its standard output"),
        ],
    ),
    (
        "NewQueue",
        "a queue to be added",
        &[
            field("name", Shape::Text, Required, "its name"),
            field("capacity", Shape::Integer, Default("null"), "at most so many messages"),
            field("max_bytes", Shape::Integer, Default("null"), "at most so many bytes of memory"),
            field("max_message", Shape::Integer, Default("null"), "the longest message, in bytes"),
            field(
                "max_deliveries",
                Shape::Integer,
                Default("null"),
                "a message is given up on after so many",
            ),
            field(
                "dead_letter",
                Shape::Text,
                Default("null"),
                "the queue that takes the messages given up on",
            ),
            field(
                "durable",
                Shape::Boolean,
                Default("false"),
                "whether its messages survive the run, on disk",
            ),
            field(
                "fsync",
                Shape::Word(&["always", "interval", "never"]),
                Default("null"),
                "when a message of a durable queue reaches the disk: always, where nothing is said",
            ),
            field(
                "fsync_interval_ms",
                Shape::Integer,
                Default("null"),
                "how long a message may be only in memory, with interval",
            ),
        ],
    ),
    (
        "Proposal",
        "what another config would change, or has changed",
        &[
            field("name", Shape::Text, Required, "the run's name"),
            field("config", Shape::Text, Required, "the config that was read, as an absolute path"),
            field("changes", Shape::Boolean, Required, "whether anything differs from what runs"),
            field("workers", Shape::ListOf("ProposedWorker"), Required, "every worker of either config"),
            field("shared", Shape::ListOf("ProposedThing"), Required, "queues and their like that differ"),
            field("family", Shape::Texts, Required, "what differs in the family as a whole, in words"),
            field("instances", Shape::ListOf("InstanceStatus"), Required, "what became of whom was touched"),
        ],
    ),
    (
        "ProposedWorker",
        "what becomes of a worker",
        &[
            field("worker", Shape::Text, Required, "its name"),
            field(
                "action",
                Shape::Word(&["none", "update", "signal", "scale", "restart", "add", "remove"]),
                Required,
                "the heaviest thing that happens to it",
            ),
            field("reason", Shape::Text, Nullable, "why, in words"),
            field("from", Shape::Integer, Required, "how many instances it has"),
            field("to", Shape::Integer, Required, "how many it is to have"),
        ],
    ),
    (
        "ProposedThing",
        "something that workers share",
        &[
            field(
                "kind",
                Shape::Word(&["queue", "lock", "semaphore", "event", "value", "condition", "barrier"]),
                Required,
                "what it is",
            ),
            field("name", Shape::Text, Required, "its name"),
            field("action", Shape::Word(&["add", "remove", "change"]), Required, "what becomes of it"),
            field("reason", Shape::Text, Nullable, "what has changed, in words"),
        ],
    ),
    (
        "Problem",
        "something that is wrong with a config",
        &[
            field("path", Shape::Text, Required, "where, as a path of keys"),
            field("line", Shape::Integer, Required, "the line, from 1"),
            field("column", Shape::Integer, Required, "the column, from 1"),
            field("message", Shape::Text, Required, "what"),
            field("hint", Shape::Text, Nullable, "what to do"),
        ],
    ),
    (
        "LogLine",
        "a line of output",
        &[
            field("time", Shape::Text, Required, "when the end of it was read, UTC"),
            field("worker", Shape::Text, Nullable, "its worker; null for what is said of the log itself"),
            field("instance", Shape::Integer, Nullable, "its instance"),
            field("launch", Shape::Integer, Nullable, "its launch"),
            field(
                "stream",
                Shape::Word(&["stdout", "stderr", "supervisor"]),
                Required,
                "where it was written",
            ),
            field("line", Shape::Text, Required, "without its newline"),
            field("partial", Shape::Word(&["split", "end"]), Default("null"), "no newline ended it"),
            field("lossy", Shape::Boolean, Default("false"), "it was not UTF-8"),
            field("lost_lines", Shape::Integer, Default("null"), "so many are missing here"),
        ],
    ),
    (
        "Transition",
        "an instance changed",
        &[
            field("seq", Shape::Integer, Required, "its place among all of the run, from 1"),
            field("time", Shape::Text, Required, "when, UTC"),
            field("worker", Shape::Text, Required, "its worker"),
            field("instance", Shape::Integer, Required, "its number"),
            field("launch", Shape::Integer, Nullable, "its present launch, or its last"),
            field("from", STATES, Nullable, "its state before; null with the first"),
            field("to", STATES, Nullable, "its state since; null when it was scaled away and is gone"),
            field("why", Shape::Text, Nullable, "why, in words"),
        ],
    ),
    (
        "Missed",
        "transitions that are no longer kept",
        &[
            field("missed", Shape::Integer, Required, "so many are missing here"),
            field("until_seq", Shape::Integer, Required, "the place of the last that is missing"),
        ],
    ),
    (
        "Why",
        "one instance, and why it stands where it stands; absent facts are null",
        &[
            field("worker", Shape::Text, Required, "the worker's name"),
            field("instance", Shape::Integer, Required, "its number, from 0"),
            field("launch", Shape::Integer, Nullable, "its present launch, or its last"),
            field("state", STATES, Required, "where it stands"),
            field("pid", Shape::Integer, Nullable, "the process that leads it, while one lives"),
            field("ppid", Shape::Integer, Nullable, "that process's parent"),
            field("uptime_s", Shape::Number, Nullable, "how long the present launch has been up"),
            field("restarts", Shape::Integer, Required, "how many times it was started again"),
            field("exit", Shape::Named("Exit"), Nullable, "how its last launch ended"),
            field("policy", POLICIES, Required, "how it parts"),
            field("why", Shape::Text, Nullable, "why it stands where it stands"),
            field("since_s", Shape::Number, Required, "how long it has stood there"),
            field("core_dumped", Shape::Boolean, Nullable, "whether its last launch left a core dump behind"),
            field("next_launch_in_s", Shape::Number, Nullable, "when it is launched again"),
            field("waits_for", Shape::Named("WaitsFor"), Nullable, "whom it waits for"),
            field("running_out", Shape::Named("RunningOut"), Nullable, "what is running out for it"),
            field("spent", Shape::Named("Spent"), Required, "the restarts that it has spent of late"),
            field("chain", Shape::ListOf("Link"), Required, "who keeps it from running, down to the root"),
            field("asked", Shape::Named("AskedBy"), Nullable, "who last asked for something of it"),
            field("changed", Shape::Text, Nullable, "what of its config was changed for its last launch"),
            field("says", Shape::Text, Nullable, "what it says of itself"),
            field("output", Shape::ListOf("LogLine"), Required, "the last lines of its output"),
        ],
    ),
    (
        "RunningOut",
        "a deadline of an instance",
        &[
            field("what", Shape::Text, Required, "ready_timeout, grace, rest"),
            field("left_s", Shape::Number, Required, "in so many seconds"),
        ],
    ),
    (
        "Spent",
        "the restarts that an instance has spent within its window",
        &[
            field("restarts", Shape::Integer, Required, "so many"),
            field("allowed", Shape::Integer, Required, "of so many"),
            field("within_s", Shape::Number, Required, "the length of the window"),
            field("forgotten_in_s", Shape::Number, Nullable, "when the oldest is forgotten"),
        ],
    ),
    (
        "Link",
        "one of those who keep an instance from running",
        &[
            field("worker", Shape::Text, Required, "the worker"),
            field("instance", Shape::Integer, Required, "the instance's number"),
            field("state", STATES, Required, "its state"),
            field("why", Shape::Text, Nullable, "why it stands there"),
        ],
    ),
    (
        "AskedBy",
        "who asked for something, as the kernel tells it",
        &[
            field("what", Shape::Text, Required, "for what: the verb, or a signal to the supervisor"),
            field("uid", Shape::Integer, Nullable, "the user"),
            field("pid", Shape::Integer, Nullable, "the process"),
            field("command", Shape::Text, Nullable, "its command line at that time"),
            field("ago_s", Shape::Number, Required, "so many seconds ago"),
        ],
    ),
    (
        "WaitsFor",
        "what an instance waits for",
        &[
            field("worker", Shape::Text, Required, "the worker"),
            field("milestone", Shape::Word(MILESTONES), Required, "what it must have reached"),
        ],
    ),
    (
        "Killed",
        "which processes got the signal",
        &[
            field("pids", Shape::Integers, Required, "in the order in which they got it"),
            field("signal", Shape::Integer, Required, "the signal's number"),
            field("refused", Shape::Integers, Required, "those of the tree that may not be signalled"),
            field(
                "processes",
                Shape::ListOf("ProcessRow"),
                Required,
                "with dry_run: who they are; else empty",
            ),
        ],
    ),
    (
        "Waited",
        "how it ended",
        &[
            field("exit", Shape::Named("Exit"), Nullable, "null when nobody could learn how"),
            field("state", STATES, Nullable, "the instance's state by then; null for a pid"),
        ],
    ),
    (
        "Join",
        "how a worker asks to meet its supervisor",
        &[
            field("server", Shape::Text, Required, "the one-shot server on which it waits"),
            field("nonce", Shape::Text, Required, "128 random bits as hexadecimal digits"),
            field("abi", Shape::Integer, Required, "the version of its wire types"),
        ],
    ),
    (
        "ApiError",
        "why a request was refused",
        &[
            field(
                "code",
                Shape::Word(&[
                    "failed",
                    "usage",
                    "problems",
                    "not_found",
                    "not_running",
                    "would_block",
                    "timed_out",
                    "closed",
                    "refused",
                ]),
                Required,
                "what kind",
            ),
            field("message", Shape::Text, Required, "what, in words"),
            field("hint", Shape::Text, Nullable, "what to do next"),
            field("problems", Shape::ListOf("Problem"), Default("[]"), "with problems: each of them"),
        ],
    ),
    (
        "ErrorBody",
        "the body of a refusal",
        &[field("error", Shape::Named("ApiError"), Required, "the error")],
    ),
];
