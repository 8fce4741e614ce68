//! The one import of a worker's author.
#![forbid(unsafe_code)]

pub mod wire;
