//! The queues of a run, as a worker uses them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use ipc::Acknowledge;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::{GetError, PutError, PutManyError, QueueError};
use crate::stopping::StopFlag;
use crate::wire::Grant;

/// Reading until a queue has ended: `while let Some(message) = queue.get().unless_closed()?`.
pub trait UnlessClosed<T> {
    /// `None` once the queue is closed and drained, instead of an error.
    ///
    /// # Errors
    ///
    /// All others.
    fn unless_closed(self) -> Result<Option<T>, GetError>;
}

impl<T> UnlessClosed<T> for Result<T, GetError> {
    fn unless_closed(self) -> Result<Option<T>, GetError> {
        match self {
            Ok(got) => Ok(Some(got)),
            Err(GetError::Closed) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A queue whose messages are bytes, from none to the queue's `max_message`.
///
/// `get` acknowledges a message when the next one is got, when it is said ([`BytesQueue::ack`]), when the queue is dropped,
/// or when the process ends by itself: if it dies before that the message is delivered to another. A [`Lease`] is acknowledged when it is said.
#[derive(Debug)]
pub struct BytesQueue {
    queue: ipc::Queue,
    dead_letter: Option<ipc::Queue>,
}

impl BytesQueue {
    pub(crate) fn open(
        grant: &Grant,
        dead_letter: Option<&Grant>,
        stop: &StopFlag,
    ) -> Result<BytesQueue, QueueError> {
        let open = |grant: &Grant| {
            ipc::Queue::open(Path::new(&grant.path))
                .map_err(|why| QueueError::Open { name: grant.queue.clone(), why })
        };
        let queue = open(grant)?;
        queue.set_interrupt(stop.shared());
        let dead_letter = dead_letter.map(open).transpose()?;
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
        Lease { message, queue: self, lease: Some(lease) }
    }

    fn typed<T: DeserializeOwned>(&self, lease: ipc::Lease) -> Result<Lease<'_, T>, GetError> {
        match serde_json::from_slice(lease.bytes()) {
            Ok(message) => Ok(Lease { message, queue: self, lease: Some(lease) }),
            Err(error) => {
                self.give_back(lease);
                Err(GetError::Decode(error))
            }
        }
    }

    fn decoded<T: DeserializeOwned>(&self, got: &[u8]) -> Result<T, GetError> {
        serde_json::from_slice(got).map_err(|error| {
            self.queue.nack_got();
            self.forward_dead();
            GetError::Decode(error)
        })
    }

    fn give_back(&self, lease: ipc::Lease) {
        lease.nack();
        self.forward_dead();
    }

    /// Moves what was given up on to where it goes. What cannot go there now stays where it is and is moved later.
    fn forward_dead(&self) {
        if let Some(to) = &self.dead_letter {
            let _ = self.queue.forward_dead(to);
        }
    }
}

/// A queue whose messages are values of `T`, written as JSON. See [`BytesQueue`] for what each call promises.
pub struct Queue<T> {
    bytes: BytesQueue,
    of: PhantomData<fn(T) -> T>,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.bytes).finish()
    }
}

/// A queue that this program made or opened by itself.
impl From<ipc::Queue> for BytesQueue {
    fn from(queue: ipc::Queue) -> BytesQueue {
        BytesQueue { queue, dead_letter: None }
    }
}

/// A queue that this program made or opened by itself.
///
/// ```
/// let queue = ipc::Queue::create_anonymous("jobs", &ipc::QueueOptions::default())?;
/// let jobs = worker::Queue::<(u32, String)>::from(queue);
/// jobs.put(&(1, "first".into()))?;
/// assert_eq!(jobs.get()?, (1, "first".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T: Serialize + DeserializeOwned> From<ipc::Queue> for Queue<T> {
    fn from(queue: ipc::Queue) -> Queue<T> {
        Queue::over(queue.into())
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    pub(crate) fn over(bytes: BytesQueue) -> Queue<T> {
        Queue { bytes, of: PhantomData }
    }

    /// Puts; waits while it is full.
    ///
    /// # Errors
    ///
    /// All of [`PutError`] but `Full` and `Timeout`.
    pub fn put(&self, message: &T) -> Result<(), PutError> {
        self.bytes.put(&encode(message)?)
    }

    /// Puts if it is not full.
    ///
    /// # Errors
    ///
    /// All of [`PutError`] but `Timeout` and `Interrupted`.
    pub fn try_put(&self, message: &T) -> Result<(), PutError> {
        self.bytes.try_put(&encode(message)?)
    }

    /// Puts; waits at most `timeout` while it is full.
    ///
    /// # Errors
    ///
    /// All of [`PutError`] but `Full`.
    pub fn put_timeout(&self, message: &T, timeout: Duration) -> Result<(), PutError> {
        self.bytes.put_timeout(&encode(message)?, timeout)
    }

    /// Puts all of them, in order, at less cost than one by one; waits while it is full. Messages of others may come
    /// between them. Answers how many there were.
    ///
    /// # Errors
    ///
    /// As [`Queue::put`], with how many were put before it.
    pub fn put_many<'a>(&self, messages: impl IntoIterator<Item = &'a T>) -> Result<usize, PutManyError>
    where
        T: 'a,
    {
        let mut encoded = Vec::new();
        let mut wrong = None;
        for message in messages {
            match encode(message) {
                Ok(bytes) => encoded.push(bytes),
                Err(error) => {
                    wrong = Some(error);
                    break;
                }
            }
        }
        let put = self.bytes.put_many(&encoded)?;
        // Those before it are in, as they are when each is put by itself.
        wrong.map_or(Ok(put), |error| Err(PutManyError { put, error }))
    }

    /// Gets up to `most` messages: waits for the first, then takes what else is there. They are acknowledged together, by
    /// the next get. One that cannot be read is given back and comes again; those before it are got.
    ///
    /// # Errors
    ///
    /// As [`Queue::get`], about the first of them.
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, GetError> {
        let mut messages = Vec::new();
        if most > 0 {
            messages.push(self.get()?);
            let mut is_refused = false;
            let accept = |bytes: Vec<u8>| match serde_json::from_slice(&bytes) {
                Ok(message) => {
                    messages.push(message);
                    true
                }
                Err(_) => {
                    is_refused = true;
                    false
                }
            };
            self.bytes.queue.get_more(most - 1, accept)?;
            if is_refused {
                self.bytes.forward_dead();
            }
        }
        Ok(messages)
    }

    /// Gets the oldest message; waits while there is none.
    ///
    /// # Errors
    ///
    /// All of [`GetError`] but `Empty` and `Timeout`; a message that cannot be read is given back.
    pub fn get(&self) -> Result<T, GetError> {
        self.bytes.decoded(&self.bytes.get()?)
    }

    /// Gets the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// All of [`GetError`] but `Timeout` and `Interrupted`.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.bytes.decoded(&self.bytes.try_get()?)
    }

    /// Gets the oldest message; waits at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// All of [`GetError`] but `Empty`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.bytes.decoded(&self.bytes.get_timeout(timeout)?)
    }

    /// Leases the oldest message; waits while there is none.
    ///
    /// # Errors
    ///
    /// As [`Queue::get`]; a message that cannot be read is given back.
    pub fn lease(&self) -> Result<Lease<'_, T>, GetError> {
        self.bytes.typed(self.bytes.queue.lease()?)
    }

    /// Leases the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_get`]; a message that cannot be read is given back.
    pub fn try_lease(&self) -> Result<Lease<'_, T>, GetError> {
        self.bytes.typed(self.bytes.queue.try_lease()?)
    }

    /// Leases the oldest message; waits at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// As [`Queue::get_timeout`]; a message that cannot be read is given back.
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<'_, T>, GetError> {
        self.bytes.typed(self.bytes.queue.lease_timeout(timeout)?)
    }
}

impl<T> Queue<T> {
    /// The queue as the room below knows it.
    pub(crate) fn inner(&self) -> &ipc::Queue {
        self.bytes.inner()
    }

    /// How many messages wait to be got. By the time it is known it may be another number.
    pub fn len(&self) -> u64 {
        self.bytes.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a put would have to wait.
    pub fn is_full(&self) -> bool {
        self.bytes.is_full()
    }

    /// How many messages it holds at most; `None`: it is unbounded.
    pub fn capacity(&self) -> Option<u64> {
        self.bytes.capacity()
    }

    /// Whether puts are over.
    pub fn is_closed(&self) -> bool {
        self.bytes.is_closed()
    }

    /// Ends all puts, for everybody. What is in it can still be got.
    pub fn close(&self) {
        self.bytes.close();
    }

    /// Acknowledges what this thread got last by a plain get; see [`BytesQueue::ack`].
    pub fn ack(&self) {
        self.bytes.ack();
    }

    /// Gives back what this thread got last by a plain get; see [`BytesQueue::nack`].
    pub fn nack(&self) {
        self.bytes.nack();
    }

    /// Chooses when a plain get counts as done: see [`Acknowledge`] for what each may lose.
    pub fn set_acknowledge(&self, when: Acknowledge) {
        self.bytes.set_acknowledge(when);
    }
}

/// A message that is this worker's until it acknowledges it. Dropped, or when the worker dies, it is delivered again.
#[derive(Debug)]
pub struct Lease<'a, T> {
    message: T,
    queue: &'a BytesQueue,
    /// Taken when it is acknowledged or given back.
    lease: Option<ipc::Lease>,
}

impl<T> Lease<'_, T> {
    /// A number that is the same in every delivery of this message, and no other message's in this queue.
    pub fn id(&self) -> u64 {
        self.lease.as_ref().map_or(0, ipc::Lease::id)
    }

    /// Which delivery this is: 1 for the first.
    pub fn deliveries(&self) -> u32 {
        self.lease.as_ref().map_or(0, ipc::Lease::deliveries)
    }

    /// The message is done with.
    pub fn ack(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.ack();
        }
    }

    /// Gives the message back, to be delivered again at once.
    pub fn nack(self) {
        drop(self);
    }

    /// Gives the message back, to be delivered again when so long has passed: for one that cannot be done yet. Until then
    /// the queue is not over, even where it is closed.
    pub fn nack_after(mut self, delay: Duration) {
        if let Some(lease) = self.lease.take() {
            lease.nack_after(delay);
            self.queue.forward_dead();
        }
    }
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.queue.give_back(lease);
        }
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, PutError> {
    serde_json::to_vec(message).map_err(PutError::Encode)
}
