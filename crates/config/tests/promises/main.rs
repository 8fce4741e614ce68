//! What `config` promises, seen from outside.

mod diff;
mod grants;
mod groups;
mod hostile;
mod plan;
mod problems;
mod references;
mod syntax;
mod values;
mod world;
