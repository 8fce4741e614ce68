//! Children of a program's own: started, watched, waited for and ended, with the meanings of Python's
//! `multiprocessing.Process`, and better when somebody dies.
//!
//! ```text
//!   Process::new(…).args(…).queue(…) ─ start ─► Child ─ join ─► Exit
//!      (not yet a process)                       │ └─ terminate, kill, stop
//!                                                └─ listed in `registry` until its exit was taken
//! ```
//!
//! A [`Process`] is a plan and has no pid; a [`Child`] is a process and always has one. All children are made by one
//! thread that lives as long as this process: the kernel means *that* thread when a daemon child is to die with its
//! parent, so it does not matter which thread of the program asked. What the child was given travels in its
//! environment ([`passing`](self::passing)) and in descriptors that it inherits; [`current_process`] is the other end.

mod child;
mod command;
mod current;
mod errors;
mod passing;
mod process;
mod registry;

pub use child::Child;
pub use command::CommandLine;
pub use current::{CurrentProcess, Parent, current_process};
pub use errors::{StartError, WaitError};
pub use passing::{PassedError, SharesQueue};
pub use process::Process;
pub use registry::active_children;
