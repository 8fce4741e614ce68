//! Promises of the whole, held through the real programs: one binary, a subject a file.
#![forbid(unsafe_code)]

mod arrows;
mod cgroups;
mod checking;
mod console;
mod durable;
mod endings;
mod footprint;
mod groups;
mod hostile;
mod hygiene;
mod identity;
mod init;
mod killing;
mod leftovers;
mod limits;
mod listening;
mod policies;
mod queues;
mod recalling;
mod restarts;
mod rolling;
mod runtime_folder;
mod socket;
mod trees;
mod verbs;
mod wordcount;
