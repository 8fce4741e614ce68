//! Workers and their processes, and what is asked of them.

use super::Object;
use super::STATES;
use crate::endpoints::Presence::{Default, Nullable, Required};
use crate::endpoints::{MILESTONES, POLICIES, Shape, field};

pub(super) const OBJECTS: &[Object] = &[
    (
        "Hello",
        "who a worker is",
        &[
            field("run", Shape::Text, Required, "the run's name"),
            field("worker", Shape::Text, Required, "the worker's name"),
            field("instance", Shape::Integer, Required, "its instance's number, from 0"),
            field("launch", Shape::Integer, Required, "its launch's number, from 1"),
            field("pid", Shape::Integer, Required, "the process that leads the launch"),
            field("supervisor", Shape::Integer, Required, "the supervisor's pid"),
            field("args", Shape::Text, Required, "the config's args, a JSON list as text"),
            field("kwargs", Shape::Text, Required, "the config's kwargs, a JSON object as text"),
            field("queues", Shape::ListOf("Offered"), Required, "the queues that it may ask for"),
        ],
    ),
    (
        "Offered",
        "a queue that a worker may ask for",
        &[
            field("queue", Shape::Text, Required, "its name"),
            field("dead_letter", Shape::Text, Nullable, "the queue that its dead letters go to"),
        ],
    ),
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
            field("command", Shape::Arguments, Required, "the program and its arguments"),
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
];
