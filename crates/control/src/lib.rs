//! The control API: HTTP/1.1 with JSON over a Unix socket. Its types ([`api`]), its client ([`Client`]), where a run's
//! socket is found ([`Rooms`]) and, with the feature `server`, its server.
//!
//! It knows how requests travel, not what they do: the server hands each one on, and answers with what it is told.
#![forbid(unsafe_code)]

pub mod api;
mod claim;
mod client;
mod endpoints;
mod errand;
mod locate;
mod names;
mod openapi;
mod route;
mod run_folder;
#[cfg(feature = "server")]
mod server;

pub use client::{Client, ClientError, Impatience, Lines, Parting};
pub use errand::Errand;
pub use locate::{RoomError, Rooms, Run, Wanted};
pub use names::{is_name, is_target, signal_name, signal_number};
pub use openapi::openapi;
pub use route::{Asked, HttpRequest, Misrouted};
pub use run_folder::RunFolder;
#[cfg(feature = "server")]
pub use server::{Call, Feed, Limits, Peer, Reply, Server, Uids, Visit};
