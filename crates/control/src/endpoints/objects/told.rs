//! What the supervisor tells of: output, transitions, and why.

use super::Object;
use super::STATES;
use crate::endpoints::Presence::{Default, Nullable, Required};
use crate::endpoints::{MILESTONES, POLICIES, Shape, field};

pub(super) const OBJECTS: &[Object] = &[
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
            field("ended_for", Shape::Text, Nullable, "why the launch before its present one came to an end"),
            field(
                "older_config",
                Shape::Boolean,
                Default("false"),
                "whether it is up by an older config than its run has now",
            ),
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
        "WaitsFor",
        "what an instance waits for",
        &[
            field("worker", Shape::Text, Required, "the worker"),
            field("milestone", Shape::Word(MILESTONES), Required, "what it must have reached"),
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
];
