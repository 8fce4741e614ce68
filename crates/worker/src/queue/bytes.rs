//! Queues of bytes.

use std::path::Path;
use std::time::Duration;

use control::api::{QueueHandle, Request};
use control::{Client, ClientError};
use ipc::{Acknowledge, Batch};
use serde::de::DeserializeOwned;

use super::lease::Lease;
use crate::errors::{GetError, PutError, PutManyError, QueueError};
use crate::stopping::StopFlag;

/// A queue whose messages are bytes, from none to the queue's `max_message`.
///
/// `get` acknowledges a message when the next one is got, when it is said ([`BytesQueue::ack`]), when the queue is dropped,
/// or when the process ends by itself: if it dies before that the message is delivered to another. A [`Lease`] is
/// acknowledged when it is said.
#[derive(Debug)]
pub struct BytesQueue {
    pub(super) queue: ipc::Queue,
    dead_letter: Option<ipc::Queue>,
}

impl BytesQueue {
    /// Opens a queue, and that of its dead letters; each by its name, and where it is.
    pub(crate) fn open(
        queue: (&str, &str),
        dead_letter: Option<(&str, &str)>,
        stop: &StopFlag,
    ) -> Result<BytesQueue, QueueError> {
        let open = |(name, path): (&str, &str)| {
            ipc::Queue::open(Path::new(path)).map_err(|why| QueueError::Open { name: name.to_owned(), why })
        };
        let queue = open(queue)?;
        queue.set_interrupt(stop.shared());
        let dead_letter = dead_letter.map(open).transpose()?;
        Ok(BytesQueue { queue, dead_letter })
    }

    /// Has the supervisor hand over a queue's memory, and that of its dead letters.
    pub(crate) fn ask(name: &str, socket: &Path, stop: &StopFlag) -> Result<BytesQueue, QueueError> {
        let unreached = |why: ClientError| QueueError::Supervisor { name: name.to_owned(), why };
        let unopened = |why: ipc::OpenError| QueueError::Open { name: name.to_owned(), why };
        let request = Request::QueueHandle { queue: name.to_owned() };
        let mut client = Client::connect(socket).map_err(unreached)?;
        let (handle, handed): (QueueHandle, _) = client.call_with_descriptors(&request).map_err(unreached)?;
        let mut handed = handed.into_iter();
        let mut open = |handle: &QueueHandle| match (&handle.path, handed.next()) {
            (Some(path), _) => ipc::Queue::open(path).map_err(unopened),
            (None, Some(memory)) => ipc::Queue::from_own_fd(memory).map_err(unopened),
            (None, None) => Err(unreached(ClientError::Broken("no descriptor came with it".to_owned()))),
        };
        let queue = open(&handle)?;
        queue.set_interrupt(stop.shared());
        let dead_letter = handle.dead_letter.as_deref().map(open).transpose()?;
        Ok(BytesQueue { queue, dead_letter })
    }

    /// The queue as the room below knows it.
    pub(crate) fn inner(&self) -> &ipc::Queue {
        &self.queue
    }

    /// Puts; waits while it is full.
    ///
    /// # Errors
    ///
    /// All of [`PutError`] but `Full`, `Timeout` and `Encode`.
    pub fn put(&self, message: &[u8]) -> Result<(), PutError> {
        Ok(self.queue.put(message)?)
    }

    /// Puts if it is not full.
    ///
    /// # Errors
    ///
    /// All of [`PutError`] but `Timeout`, `Interrupted` and `Encode`.
    pub fn try_put(&self, message: &[u8]) -> Result<(), PutError> {
        Ok(self.queue.try_put(message)?)
    }

    /// Puts; waits at most `timeout` while it is full.
    ///
    /// # Errors
    ///
    /// All of [`PutError`] but `Full` and `Encode`.
    pub fn put_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutError> {
        Ok(self.queue.put_timeout(message, timeout)?)
    }

    /// Puts all of them, in order, at less cost than one by one; waits while it is full. Messages of others may come
    /// between them. Answers how many there were.
    ///
    /// # Errors
    ///
    /// As [`BytesQueue::put`], with how many were put before it.
    pub fn put_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize, PutManyError> {
        let refused = |error: ipc::PutManyError| PutManyError { put: error.put, error: error.error.into() };
        self.queue.put_many(messages).map(|()| messages.len()).map_err(refused)
    }

    /// Gets the oldest message; waits while there is none.
    ///
    /// # Errors
    ///
    /// All of [`GetError`] but `Empty`, `Timeout` and `Decode`.
    pub fn get(&self) -> Result<Vec<u8>, GetError> {
        Ok(self.queue.get()?)
    }

    /// Gets the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// All of [`GetError`] but `Timeout`, `Interrupted` and `Decode`.
    pub fn try_get(&self) -> Result<Vec<u8>, GetError> {
        Ok(self.queue.try_get()?)
    }

    /// Gets the oldest message; waits at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// All of [`GetError`] but `Empty` and `Decode`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetError> {
        Ok(self.queue.get_timeout(timeout)?)
    }

    /// Gets up to `most` messages: waits for the first, then takes what else is there. They are acknowledged together, by
    /// the next get.
    ///
    /// # Errors
    ///
    /// As [`BytesQueue::get`].
    pub fn get_many(&self, most: usize) -> Result<Vec<Vec<u8>>, GetError> {
        Ok(self.queue.get_many(most)?)
    }

    /// Replaces what is in `batch` by up to `most` messages: waits for the first, then takes what else is there. They are
    /// acknowledged together, by the next get. The quickest way to get many: the batch uses its memory again.
    ///
    /// # Errors
    ///
    /// As [`BytesQueue::get`].
    pub fn get_batch(&self, most: usize, batch: &mut Batch) -> Result<(), GetError> {
        Ok(self.queue.get_batch(most, batch)?)
    }

    /// Leases the oldest message; waits while there is none.
    ///
    /// # Errors
    ///
    /// As [`BytesQueue::get`].
    pub fn lease(&self) -> Result<Lease<'_, Vec<u8>>, GetError> {
        Ok(self.bytes_of(self.queue.lease()?))
    }

    /// Leases the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// As [`BytesQueue::try_get`].
    pub fn try_lease(&self) -> Result<Lease<'_, Vec<u8>>, GetError> {
        Ok(self.bytes_of(self.queue.try_lease()?))
    }

    /// Leases the oldest message; waits at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// As [`BytesQueue::get_timeout`].
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<'_, Vec<u8>>, GetError> {
        Ok(self.bytes_of(self.queue.lease_timeout(timeout)?))
    }

    /// How many messages wait to be got. By the time it is known it may be another number.
    pub fn len(&self) -> u64 {
        self.queue.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a put would have to wait.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// How many messages it holds at most; `None`: it is unbounded.
    pub fn capacity(&self) -> Option<u64> {
        self.queue.capacity()
    }

    /// Whether puts are over.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Ends all puts, for everybody. What is in it can still be got.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Acknowledges what this thread got last by a plain get, before the next get does: it is done with, and no death from
    /// now on delivers it again. Does nothing where there is none.
    pub fn ack(&self) {
        self.queue.ack_got();
    }

    /// Gives back what this thread got last by a plain get, to be delivered again at once. Does nothing where it was
    /// acknowledged already.
    pub fn nack(&self) {
        self.queue.nack_got();
        self.forward_dead();
    }

    /// Chooses when a plain get counts as done: see [`Acknowledge`] for what each may lose.
    pub fn set_acknowledge(&self, when: Acknowledge) {
        self.queue.set_acknowledge(when);
    }

    fn bytes_of(&self, mut lease: ipc::Lease) -> Lease<'_, Vec<u8>> {
        let message = lease.take_bytes();
        Lease::of(message, self, lease)
    }

    pub(super) fn typed<T: DeserializeOwned>(&self, lease: ipc::Lease) -> Result<Lease<'_, T>, GetError> {
        match serde_json::from_slice(lease.bytes()) {
            Ok(message) => Ok(Lease::of(message, self, lease)),
            Err(error) => {
                self.give_back(lease);
                Err(GetError::Decode(error))
            }
        }
    }

    pub(super) fn decoded<T: DeserializeOwned>(&self, got: &[u8]) -> Result<T, GetError> {
        serde_json::from_slice(got).map_err(|error| {
            self.queue.nack_got();
            self.forward_dead();
            GetError::Decode(error)
        })
    }

    pub(super) fn give_back(&self, lease: ipc::Lease) {
        lease.nack();
        self.forward_dead();
    }

    /// Moves what was given up on to where it goes. What cannot go there now stays where it is and is moved later.
    pub(super) fn forward_dead(&self) {
        if let Some(to) = &self.dead_letter {
            let _ = self.queue.forward_dead(to);
        }
    }
}

/// A queue that this program made or opened by itself. From now on its waits end when this process is asked to stop
/// ([`stop_requested`](crate::stop_requested)).
impl From<ipc::Queue> for BytesQueue {
    fn from(queue: ipc::Queue) -> BytesQueue {
        queue.set_interrupt(StopFlag::of_this_process().shared());
        BytesQueue { queue, dead_letter: None }
    }
}
