//! What the core promises, one small story each.

mod changes;
mod groups;
mod leftovers;
mod milestones;
mod remarks;
mod requests;
mod restarts;
mod rolling;
mod schedules;
mod stops;
mod strategies;
mod watching;
mod world;
