//! The one import of a worker's author.
