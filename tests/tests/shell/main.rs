//! What people do from a shell: workers that know nothing of queues, joined by queues.

mod streams;
mod survival;
