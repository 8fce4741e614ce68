//! Other configs, and what is wrong: with them, with a request.

use super::Object;
use crate::endpoints::Presence::{Default, Nullable, Required};
use crate::endpoints::{Shape, field};

pub(super) const OBJECTS: &[Object] = &[
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
                Shape::Word(&[
                    "queue",
                    "lock",
                    "rlock",
                    "semaphore",
                    "event",
                    "value",
                    "array",
                    "condition",
                    "barrier",
                ]),
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
