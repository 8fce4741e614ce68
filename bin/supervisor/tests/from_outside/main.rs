//! The command, seen from outside, as people and scripts meet it.

mod check;
mod command;
mod demo;
mod fake;
mod messages;
