//! Linux processes said as values: spawn, reap, signal, tree, identity.
//!
//! This room tells facts of the kernel and carries out orders. It must not know why: restart policy, configuration,
//! JSON and messages live elsewhere.
//!
//! # Who is whose child
//!
//! Parenthood is per thread in Linux, and this room builds on it:
//!
//! ```text
//!   main thread ───────── adopted orphans (the process is a child subreaper)     wait::reap_orphan
//!   other threads ─────── every leader that was spawned                          wait::wait_leader, by pidfd
//! ```
//!
//! The main thread never spawns, so its children are adopted orphans and nothing else. It can look at them alone
//! (`__WNOTHREAD`), and others can through the kernel's list of them: "no orphan" is one cheap system call, no exit of a
//! leader can be taken by mistake, and no walk of `/proc` is needed unless an orphan exists. Leaders are waited for
//! through their pidfd, which is there before the process runs, so an exit can not outrun its pid.
//!
//! # Unsafe
//!
//! System calls that no crate wraps live here behind safe functions; each `unsafe` block argues for itself.
#![allow(unsafe_code)]

mod account;
mod as_its_user;
mod capability;
mod cgroup;
mod datagram;
mod descriptors;
mod facts;
mod identity;
mod limit;
mod offer;
mod peer;
mod priority;
mod proc;
mod reader;
mod setup;
pub mod signal;
mod signal_queue;
mod signals;
mod spawn;
mod spawner;
mod tree;
mod variables;
mod wait;

pub use account::{Account, AccountError};
pub use as_its_user::user_of;
pub use capability::{Capability, is_capable};
pub use cgroup::{
    Ceilings, Cgroup, CgroupError, Cgroups, Former, Home, Kept, Plot, Resource, Vigil, leaf_of,
};
pub use datagram::{Datagram, Sender, pass_senders, receive};
pub use descriptors::{descriptor_of, inherited, pidfd_open};
pub use facts::{Fact, facts};
pub use identity::{Identity, boot_id, is_kernel_thread};
pub use limit::{Limit, LimitName};
pub use nix::errno::Errno;
pub use nix::unistd::Pid;
pub use offer::{Offer, Refused};
pub use peer::{Peer, peer};
pub use priority::{IoPriority, Processors};
pub use proc::{
    Stat, TICKS_A_SECOND, blocked_in, children_of, cmdline, environ_var, is_being_executed, ticks_since_boot,
};
pub use reader::{PipeId, Reader, unread};
pub use setup::{
    at_exit, become_subreaper, die_with_parent, give_memory_back, ignore_broken_pipes, ignore_full_files,
    is_subreaper, let_die_with_us, original_nofile_limit, raise_nofile_limit, share_one_heap,
};
pub use signal_queue::SignalQueue;
pub use signals::{Received, Signals, is_ignored};
pub use spawn::{
    Credentials, Spawn, SpawnError, Spawned, Stage, Stdio, environment, hold_in_births, prepare_to_spawn,
};
pub use spawner::Spawner;
pub use tree::{Killed, Order, Origin, Snapshot, Struck, freeze_and_kill, freeze_and_signal, origin};
pub use variables::{Entries, Variables};
pub use wait::{Exit, Orphans, exit_of, is_dead, look_at_leader, reap_orphan, share_orphans, wait_leader};
