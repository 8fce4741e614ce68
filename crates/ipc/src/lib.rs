//! Queues and locks in memory shared by processes that may die.
