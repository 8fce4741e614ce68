//! The objects of the control API, once: what the description is made of.

mod refused;
mod shared;
mod told;
mod workers;

use super::{Field, Shape};

/// An object: its name, what it is, its members.
pub(crate) type Object = (&'static str, &'static str, &'static [Field]);

const STATES: Shape =
    Shape::Word(&["waiting", "starting", "running", "stopping", "backoff", "done", "failed", "stopped"]);

/// Every object of the API.
pub(crate) fn objects() -> impl Iterator<Item = &'static Object> {
    [workers::OBJECTS, shared::OBJECTS, told::OBJECTS, refused::OBJECTS].into_iter().flatten()
}
