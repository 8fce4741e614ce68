//! A thread that waits for messages, so that its owner can wait for other things at the same time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use ipc::{GetError, Lease, Queue};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// When a closed queue has nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// When nothing waits, and nobody holds what might be given back.
    Drained,
    /// When nothing waits: its owner holds one itself, and would wait for it for ever.
    Closed,
}

type Taken = Result<Lease, GetError>;

/// Takes one message each time it is asked.
pub(super) struct Taker {
    queue: Queue,
    orders: Option<mpsc::Sender<End>>,
    taken: mpsc::Receiver<Taken>,
    bell: Arc<EventFd>,
    stopping: Arc<AtomicBool>,
    /// Whether an order has not been answered.
    asked: bool,
    thread: Option<JoinHandle<()>>,
}

impl Taker {
    pub fn start(queue: Queue) -> io::Result<Taker> {
        let (orders, given) = mpsc::channel();
        let (answer, taken) = mpsc::channel();
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let stopping = Arc::new(AtomicBool::new(false));
        queue.set_interrupt(Arc::clone(&stopping));
        let (waits, rings) = (queue.clone(), Arc::clone(&bell));
        let thread =
            thread::Builder::new().name("taker".to_owned()).stack_size(128 * 1024).spawn(move || {
                for end in given {
                    let message = match end {
                        End::Drained => waits.lease(),
                        End::Closed => waits.lease_or_end(),
                    };
                    if answer.send(message).is_err() {
                        return;
                    }
                    // It can only fail when the count would overflow, and then it is readable already.
                    let _ = rings.write(1);
                }
            })?;
        Ok(Taker { queue, orders: Some(orders), taken, bell, stopping, asked: false, thread: Some(thread) })
    }

    /// Asks for a message, unless one has been asked for already.
    pub fn ask(&mut self, end: End) {
        if !self.asked && self.orders.as_ref().is_some_and(|orders| orders.send(end).is_ok()) {
            self.asked = true;
        }
    }

    /// What was taken, if it has been by now.
    pub fn taken(&mut self) -> Option<Taken> {
        let _ = self.bell.read();
        let taken = self.taken.try_recv().ok()?;
        self.asked = false;
        Some(taken)
    }

    /// Ends it, and answers what it took that nobody fetched.
    pub fn stop(mut self) -> Option<Lease> {
        self.stopping.store(true, Ordering::SeqCst);
        self.queue.wake_me();
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic; and if it did, it holds nothing any more.
            let _ = thread.join();
        }
        self.taken.try_iter().find_map(Result::ok)
    }
}

impl AsFd for Taker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_and_not_fetched_is_handed_over_at_the_end() {
        let queue = Queue::create_anonymous("q", &ipc::QueueOptions::default()).expect("a queue");
        let mut idle = Taker::start(Queue::open(queue.descriptor_path()).expect("opened")).expect("a thread");
        idle.ask(End::Drained);
        assert!(idle.stop().is_none());

        let mut taker =
            Taker::start(Queue::open(queue.descriptor_path()).expect("opened")).expect("a thread");
        taker.ask(End::Drained);
        queue.put(b"late").expect("put");
        while !queue.is_empty() {
            thread::yield_now();
        }
        assert_eq!(taker.stop().map(Lease::into_bytes), Some(b"late".to_vec()));
    }
}
