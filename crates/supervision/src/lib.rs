//! Decides what happens to workers: events in, actions out.
//!
//! This room knows no pids, clocks, files or threads. Time is a [`Moment`] that the caller hands in; a process is a
//! [`Process`], the number of its instance's launch. See [`Supervisor`] for the only way in.
#![forbid(unsafe_code)]

mod family;
mod news;
mod time;

pub use family::{
    After, Backoff, Family, Intensity, Milestone, OnFailed, Policy, Readiness, Restart, Strategy, Worker,
};
pub use news::{
    Action, Conclusion, Ending, Event, Instance, InstanceId, Launch, LaunchFailure, Phase, Process, Request,
    Target, WorkerId,
};
pub use time::Moment;
