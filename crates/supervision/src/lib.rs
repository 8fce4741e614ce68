//! Decides what happens to workers: events in, actions out.
//!
//! This room knows no pids, clocks, files or threads. Time is a [`Moment`] that the caller hands in; a process is a
//! [`Process`], the number of its instance's launch. See [`Supervisor`] for the only way in.
//!
//! # The life of an instance
//!
//! ```text
//!   (never started)                        ┌──────────────── wait until rested ◄───────────────┐
//!        │ start                           ▼                                                   │
//!        └──────────► Waiting ─ all it comes after has come ─► Launching ─ launch failed ─►(its policy)
//!                      │  ▲                                       │ launched                   ▲
//!     it can no longer │  │ all are gone                          ▼                            │
//!                 come │  │                                    Starting ─ ready ─► Running     │
//!                      ▼  Held ◄─────────┐                        │    told to stop   │        │
//!                   Failed  (with its    │                        ├───── or ended ────┤        │
//!                            family)     │                        ▼                   ▼        │
//!                                        │   Leaving: Asked ─ grace over ─► Killed ─ ended ─┐  │
//!                                        │            └── ended ─► Clearing ◄───────────────┘  │
//!                                        │     (Outlived before it, where all of the tree was asked, until its grace is over;
//!                                        │      Adopting in its place, where what it leaves behind is to live on)
//!                                        │                           │ emptied, adopted        │
//!                                        │                       Reclaiming                    │
//!                                        │                           │ reclaimed               │
//!                                        └──── its family restarts ◄─┴─► it ended by itself ───┘
//!                                                                    └─► Stopped: it was told to
//!
//!   its policy:  Resting ─► Waiting        it is started again
//!                Done | Failed             it ended for good
//! ```
//!
//! From `Launching` to `Reclaiming` an instance is *up*: its next launch is never ordered before it is not. Whatever
//! ended, its leftovers are killed, the tree is known to be empty and what the process held is given back before
//! anything follows from it.
//!
//! # What the words mean
//!
//! - A *life* goes from a start (with the run, by request, or together with the family) until the instance has ended
//!   for good or is stopped. Restarts by policy do not end it.
//! - What a launch leaves behind and is adopted is not of its instance any more: that may be launched again beside it. It is
//!   taken leave of when its instance is stopped by request or goes, and at the end of the run, never for a restart.
//! - Milestones are levels. `started`: every instance was executed in its present life. `ready`: every instance is
//!   ready now, or ended well for good after it had been. `succeeded`, `ended`: every instance has, for good. They are
//!   asked before every launch, those by policy included. Who waits for what can no longer come has failed for good.
//! - Restarts count when they are decided: when the predecessor is gone. A launch that fails counts as a run that did.
//! - Under `one_for_all` and `rest_for_one` the instances of one worker stand in the order of their numbers; a restart
//!   takes down those concerned level by level, waits until the one to blame has rested, and launches all at once in
//!   the order of the file, each after what it comes after. It is one restart for the one to blame and one for the
//!   family; the others are charged nothing.
//! - Groups nest. A group's strategy concerns its own alone; when it has spent its restarts it gives up, which is one
//!   restart of one child to what it lies in, with all that follows from the strategy there; it then begins a new record.
//!   When the family itself gives up, the run fails. An instance takes part in one restart of several at a time: one
//!   that begins further up takes in those below.
//! - A change of the family happens all at once and touches whom it names alone. Who goes for it goes by dependence as
//!   it was, each worker when all that came after it and go too are gone; who comes back is launched when all that it
//!   comes after by now, and that went, are gone. What was stopped by request stays so.
//! - When an essential instance has ended for good, well or not, the run is stopped and ends with its ending.
//! - A run is stopped by levels of dependence, the highest first; a level's turn comes when nothing above it is up.
//! - Who was asked to stop and ends is stopped, however it ends. Who ends by itself while the run is being stopped has
//!   succeeded or failed where its policy would not start it again, and is stopped where it would.
#![forbid(unsafe_code)]

mod changing;
mod explain;
mod family;
mod groups;
mod instance;
mod leftovers;
mod living;
mod news;
mod order;
mod remarks;
mod requests;
mod restart;
mod rolling;
mod schedule;
mod specs;
mod stopping;
mod strategy;
mod supervisor;
mod time;
mod view;
mod vigil;
mod waiting;
mod words;

pub use changing::{Change, Manner};
pub use explain::{Explanation, RunningOut};
pub use family::{
    After, Backoff, CatchUp, Family, Group, Health, Intensity, Leftover, Milestone, OnFailed, Overlap,
    Policy, Readiness, Restart, Schedule, Strategy, Timing, Worker,
};
pub use leftovers::LeftBehind;
pub use news::{
    Action, Conclusion, Ending, Event, GroupId, Instance, InstanceId, Launch, LaunchFailure, Phase, Process,
    Purpose, Request, Target, WorkerId,
};
pub use remarks::Remark;
pub use supervisor::{MAX_INSTANCES, Supervisor};
pub use time::Moment;
