//! The control API: HTTP/1.1 with JSON over a Unix socket. Its types ([`api`]), its client ([`Client`]) and, with the
//! feature `server`, its server.
#![forbid(unsafe_code)]

pub mod api;
