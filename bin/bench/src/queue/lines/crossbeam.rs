//! crossbeam-channel, bounded: what threads of one process have, and no process boundary at all.

use std::thread;
use std::time::Duration;

use bench::Stamp;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::capacity;
use crate::Trouble;
use crate::queue::party::{go, pin};
use crate::queue::work::{Done, Get, Load, Put, Trips, consume, ping, pong, produce};

/// What goes through a channel: small messages by value, large ones on the heap.
pub trait Message: Send + 'static {
    fn of(bytes: &[u8]) -> Self;
    fn bytes(&self) -> &[u8];
}

impl<const N: usize> Message for [u8; N] {
    fn of(bytes: &[u8]) -> Self {
        bytes.try_into().expect("as long as all messages of this load")
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Message for Vec<u8> {
    fn of(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<M: Message> Put for Sender<M> {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.send(M::of(message)).map_err(Trouble::new)
    }
}

impl<M: Message> Get for Receiver<M> {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        look(self.recv().map_err(Trouble::new)?.bytes());
        Ok(())
    }
}

/// Producers and consumers on threads of this process.
pub fn flow(load: Load, cpus: [Option<usize>; 2]) -> Result<Done, Trouble> {
    match load.bytes {
        8 => flow_of::<[u8; 8]>(load, cpus),
        64 => flow_of::<[u8; 64]>(load, cpus),
        1024 => flow_of::<[u8; 1024]>(load, cpus),
        _ => flow_of::<Vec<u8>>(load, cpus),
    }
}

fn flow_of<M: Message>(load: Load, [put_on, get_on]: [Option<usize>; 2]) -> Result<Done, Trouble> {
    let (sender, receiver) = bounded::<M>(capacity(load.bytes));
    go()?;
    let begun = Stamp::now().0;
    let ends = thread::scope(|scope| {
        let getting: Vec<_> = (0..load.consumers)
            .map(|_| {
                let mut receiver = receiver.clone();
                scope.spawn(move || {
                    pin(get_on)?;
                    consume(&mut receiver, load)
                })
            })
            .collect();
        let putting: Vec<_> = (0..load.producers)
            .map(|_| {
                let mut sender = sender.clone();
                scope.spawn(move || {
                    pin(put_on)?;
                    produce(&mut sender, load)
                })
            })
            .collect();
        let done = |thread: thread::ScopedJoinHandle<'_, Result<Done, Trouble>>| {
            thread.join().unwrap_or_else(|_| Err(Trouble::new("a thread panicked")))
        };
        let begun: Result<Vec<Done>, Trouble> = putting.into_iter().map(done).collect();
        let ended: Result<Vec<Done>, Trouble> = getting.into_iter().map(done).collect();
        Ok::<_, Trouble>((begun?, ended?))
    })?;
    Ok(Done {
        begun: ends.0.iter().map(|done| done.begun).min().unwrap_or(begun),
        ended: ends.1.iter().map(|done| done.ended).max().unwrap_or(begun),
    })
}

/// To and fro between two threads of this process.
pub fn trips(
    turns: u64,
    pause: Option<Duration>,
    [ping_on, pong_on]: [Option<usize>; 2],
) -> Result<Trips, Trouble> {
    let (mut there, mut at_there) = bounded::<[u8; 64]>(capacity(64));
    let (mut back, mut at_back) = bounded::<[u8; 64]>(capacity(64));
    go()?;
    thread::scope(|scope| {
        let answering = scope.spawn(move || {
            pin(pong_on)?;
            pong(&mut at_there, &mut back, 64)
        });
        pin(ping_on)?;
        let trips = ping(&mut there, &mut at_back, 64, turns, pause);
        // Without an end the other one would wait for ever.
        drop(there);
        answering.join().unwrap_or_else(|_| Err(Trouble::new("a thread panicked")))?;
        trips
    })
}
