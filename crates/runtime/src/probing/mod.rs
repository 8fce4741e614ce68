//! Probes: finding out from outside whether a launch is ready, or well.
//!
//! ```text
//!   loop ─ Order ─► the thread "probes": one task a probe, each with a deadline ─ mail ─► loop
//!   loop ─ Spawner ─► a process a probe of its own, of the worker's account ─ pidfd ───► loop   (the_loop::probes)
//! ```
//!
//! What speaks over the network lives on a thread of its own, started when the first such probe is asked for: neither a
//! peer that does not answer nor a name that does not resolve can hold up the loop. Names are looked up by at most
//! [`LOOKUPS_AT_ONCE`] threads; a literal address and `localhost` need none.

mod network;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use supervision::{Process, Purpose};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::mailbox::{Mail, Sender};
use crate::words;

/// So many probes speak at once; others wait for their turn, and their time counts from then on.
const TALKS_AT_ONCE: usize = 128;

/// So many names are looked up at once.
const LOOKUPS_AT_ONCE: usize = 4;

/// What is asked over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether a connection can be made.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// Whether this page answers with a status from 200 to 399.
    Http(String),
}

enum Order {
    Ask(Process, Purpose, Question, Duration),
    /// Nobody waits for answers about this launch any more.
    Forget(Process),
}

/// The way to the thread that asks.
#[derive(Debug, Default)]
pub struct Prober {
    orders: Option<mpsc::UnboundedSender<Order>>,
}

impl Prober {
    /// Asks; the answer comes by mail, at the latest when `within` is over since its turn came.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn ask(
        &mut self,
        (process, purpose): (Process, Purpose),
        question: Question,
        within: Duration,
        mail: &Sender,
    ) -> io::Result<()> {
        let orders = match &self.orders {
            Some(orders) => orders,
            None => self.orders.insert(start(mail.clone())?),
        };
        orders
            .send(Order::Ask(process, purpose, question, within))
            .map_err(|_| io::Error::other("the thread that probes has ended"))
    }

    /// Drops what was asked about a launch.
    pub fn forget(&self, process: Process) {
        if let Some(orders) = &self.orders {
            // Where the thread has ended nothing is under way.
            let _ = orders.send(Order::Forget(process));
        }
    }
}

fn start(mail: Sender) -> io::Result<mpsc::UnboundedSender<Order>> {
    let (give, mut take) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(LOOKUPS_AT_ONCE)
        .thread_name("lookup")
        .build()?;
    let talk = async move {
        let turns = Arc::new(Semaphore::new(TALKS_AT_ONCE));
        // At most two a launch; those of launches that are gone were forgotten with them.
        let mut under_way: HashMap<(Process, Purpose), AbortHandle> = HashMap::new();
        while let Some(order) = take.recv().await {
            match order {
                Order::Ask(process, purpose, question, within) => {
                    let (mail, turns) = (mail.clone(), Arc::clone(&turns));
                    let probe = tokio::spawn(async move {
                        // It is never closed.
                        let _turn = turns.acquire().await;
                        let answer = tokio::time::timeout(within, network::ask(&question)).await;
                        let answer = answer
                            .unwrap_or_else(|_| Err(format!("no answer within {}", words::span(within))));
                        mail.send(Mail::Probed(process, purpose, answer));
                    });
                    if let Some(former) = under_way.insert((process, purpose), probe.abort_handle()) {
                        former.abort();
                    }
                }
                Order::Forget(process) => {
                    for purpose in [Purpose::Readiness, Purpose::Health] {
                        if let Some(probe) = under_way.remove(&(process, purpose)) {
                            probe.abort();
                        }
                    }
                }
            }
        }
    };
    let serve = move || {
        // Signals are for the thread that supervises. Fails only for an invalid set.
        let _ = nix::sys::signal::SigSet::all().thread_block();
        runtime.block_on(talk);
        // A lookup that hangs must not be waited for.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("probes".into()).spawn(serve)?;
    Ok(give)
}
