//! The queue beside other ways between processes, and beside the limits of the machine.
//!
//! Everything is measured in rounds, ours and a peer one after the other in each, and a ratio is the median of the rounds'
//! ratios: what slows the machine down for a while slows both. Ours always crosses processes; every kind of line does the
//! same work ([`work`]), with as many places as ours where it can be told how many.
//!
//! iceoryx2 is not among them: it has no queue whose messages go to one of several consumers (every subscriber gets every
//! sample), and its build wants libclang.
//!
//! ```text
//!   table ─ which rows ─► rounds ─ ours, peer, peer, ours … ─► hall ─ starts ─► party ─ work ─► lines
//! ```

mod hall;
mod lines;
pub mod party;
mod python;
mod rounds;
mod table;
mod work;

pub use table::{Extent, measure};
