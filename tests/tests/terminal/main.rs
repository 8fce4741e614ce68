//! What people see on a terminal: each test has one of its own.
#![forbid(unsafe_code)]

mod hangup;
mod progress;
mod screen;
mod top;
