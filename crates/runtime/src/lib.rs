//! The one loop that joins decisions, processes, queues and the control API.

pub mod logs;
