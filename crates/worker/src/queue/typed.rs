//! Queues of values.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ipc::Acknowledge;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bytes::BytesQueue;
use super::lease::Lease;
use crate::errors::{GetError, PutError, PutManyError};

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

/// A queue that this program made or opened by itself. From now on its waits end when this process is asked to stop
/// ([`stop_requested`](crate::stop_requested)).
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

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, PutError> {
    serde_json::to_vec(message).map_err(PutError::Encode)
}
