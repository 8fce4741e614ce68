//! The one loop that joins decisions, processes, queues and the control API: facts become events, actions become
//! orders.
#![forbid(unsafe_code)]

mod adding;
mod additions;
mod annex;
mod applying;
mod appointments;
mod askers;
mod asking;
pub mod attendant;
mod calendar;
mod cgroups;
mod clock;
mod doors;
mod environment;
pub mod guard;
mod history;
mod joining;
pub mod journal;
mod killing;
mod launching;
mod listening;
pub mod logs;
mod mailbox;
mod meeting;
mod notify;
mod numbering;
mod orders;
mod outdated;
mod owning;
mod primitives;
mod probing;
mod processes;
mod proposal;
mod queues;
mod recalling;
mod rolling;
mod roster;
mod run;
mod setup;
pub mod source;
mod state;
mod sweeping;
mod takeover;
mod talk;
mod telling;
mod temporary;
mod the_loop;
mod visiting;
mod waiting;
mod words;

pub use adding::name_of;
pub use doors::{is_possible as is_door_possible, place as place_of_doors};
pub use listening::Address;
pub use queues::queue_status;
pub use run::{Front, Outcome, RunError, WhenUp, run};
pub use setup::{
    Command, Input, Keeping, Listed, Minutes, Output, PrivateTmp, Probe, Purpose, Question, QueueSetup,
    Setup, Sign, StopTo, SyncSetup, Terms, Watching, WorkerSetup,
};
pub use temporary::hidden_by_mounted_tmp;
