//! Queues, and what else processes share.

use super::Object;
use crate::endpoints::Presence::{Default, Nullable, Required};
use crate::endpoints::{KINDS, Shape, field};

pub(super) const OBJECTS: &[Object] = &[
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
            field(
                "path",
                Shape::Text,
                Nullable,
                "its segment; null: a descriptor of it comes beside the answer",
            ),
            field("dead_letter", Shape::Named("QueueHandle"), Nullable, "where its dead letters go"),
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
        "SyncStatus",
        "what processes meet at",
        &[
            field("locks", Shape::ListOf("LockStatus"), Required, "a row a lock"),
            field("semaphores", Shape::ListOf("SemaphoreStatus"), Required, "a row a semaphore"),
            field("events", Shape::ListOf("EventStatus"), Required, "a row an event"),
            field("values", Shape::ListOf("ValueStatus"), Required, "a row a value"),
            field("arrays", Shape::ListOf("ArrayStatus"), Required, "a row an array"),
            field("barriers", Shape::ListOf("BarrierStatus"), Required, "a row a barrier"),
            field("conditions", Shape::Texts, Required, "the names of the conditions"),
        ],
    ),
    (
        "LockStatus",
        "a lock",
        &[
            field("lock", Shape::Text, Required, "its name"),
            field("recursive", Shape::Boolean, Required, "whether its holder may take it again"),
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
        "ArrayStatus",
        "an array of shared numbers",
        &[
            field("array", Shape::Text, Required, "its name"),
            field("length", Shape::Integer, Required, "how many numbers it has"),
        ],
    ),
    (
        "ArrayNumbers",
        "all numbers of an array",
        &[
            field("array", Shape::Text, Required, "its name"),
            field(
                "numbers",
                Shape::Integers,
                Required,
                "the numbers, each as it was at some moment of the reading",
            ),
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
            field(
                "path",
                Shape::Text,
                Nullable,
                "its segment; null: a descriptor of it comes beside the answer",
            ),
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
];
