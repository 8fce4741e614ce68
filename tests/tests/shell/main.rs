//! What people do from a shell: workers that know nothing of queues, joined by queues.

mod files;
mod scripts;
mod spawning;
mod streams;
mod survival;
