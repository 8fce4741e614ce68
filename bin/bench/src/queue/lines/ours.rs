//! Our queue, in three ways.

use std::os::fd::{AsFd, OwnedFd};

use worker::ipc::{Batch, Queue, QueueOptions};

use super::{Ends, capacity, passed};
use crate::Trouble;
use crate::queue::work::{Get, Put};

/// As in a run: there is a supervisor that would be told of every death.
pub fn options(bytes: usize) -> QueueOptions {
    QueueOptions { capacity: Some(capacity(bytes) as u64), supervised: true, ..Default::default() }
}

pub fn wire(bytes: usize) -> Result<OwnedFd, Trouble> {
    let queue = Queue::create_anonymous("bench", &options(bytes)).map_err(Trouble::new)?;
    Ok(queue.as_fd().try_clone_to_owned()?)
}

fn open(name: &str) -> Result<Queue, Trouble> {
    Queue::from_fd(passed(name)?).map_err(Trouble::new)
}

/// One put, one get.
pub struct Plain(Queue);

/// One put, one lease and its acknowledgement.
pub struct Leased(Queue);

/// Batches in, batches out.
pub struct Batched {
    queue: Queue,
    put: Vec<Vec<u8>>,
    got: Batch,
}

impl Batched {
    fn of(queue: Queue) -> Self {
        Self { queue, put: Vec::new(), got: Batch::new() }
    }
}

/// So many are got together, at most.
const BATCH: usize = 64;

impl Put for Plain {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.0.put(message).map_err(Trouble::new)
    }
}

impl Get for Plain {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        look(&self.0.get().map_err(Trouble::new)?);
        Ok(())
    }
}

impl Get for Leased {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        let lease = self.0.lease().map_err(Trouble::new)?;
        look(lease.bytes());
        lease.ack();
        Ok(())
    }
}

impl Put for Batched {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.queue.put(message).map_err(Trouble::new)
    }

    fn put_many(&mut self, message: &[u8], count: usize) -> Result<(), Trouble> {
        if self.put.len() != count {
            self.put = vec![message.to_vec(); count];
        }
        self.queue.put_many(&self.put).map_err(Trouble::new)
    }
}

impl Get for Batched {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        self.queue.get_batch(BATCH, &mut self.got).map_err(Trouble::new)?;
        self.got.iter().for_each(look);
        Ok(())
    }
}

macro_rules! ends {
    ($($ends:ident: $put:ident by $make_put:expr, $get:ident by $make_get:expr;)*) => {
        $(pub struct $ends;

        impl Ends for $ends {
            type Put = $put;
            type Get = $get;

            fn put_end(&self, name: &str) -> Result<$put, Trouble> {
                open(name).map($make_put)
            }

            fn get_end(&self, name: &str) -> Result<$get, Trouble> {
                open(name).map($make_get)
            }
        })*
    };
}

ends! {
    PlainEnds: Plain by Plain, Plain by Plain;
    LeasedEnds: Plain by Plain, Leased by Leased;
    BatchedEnds: Batched by Batched::of, Batched by Batched::of;
}
