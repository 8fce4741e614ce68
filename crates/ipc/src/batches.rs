//! Several messages with one call: put in a row, and got together.

use std::time::Duration;

use crate::core::{Core, Stop};
use crate::errors::{
    Damage, GetError, GetTimeoutError, PutManyError, PutTimeoutError, TryGetError, TryPutError,
};
use crate::queue::{Queue, deadline};

/// Messages that were got together, one after the other in one piece of memory, which the next ones use again.
///
/// ```
/// let queue = ipc::Queue::create_anonymous("words", &ipc::QueueOptions::default())?;
/// queue.put_many(&["a", "", "bc"])?;
/// let mut batch = ipc::Batch::new();
/// queue.get_batch(64, &mut batch)?;
/// assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
/// assert_eq!((batch.len(), batch.get(2)), (3, Some(&b"bc"[..])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Batch {
    /// An empty one, which has no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The message with this number, from 0.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let end = *self.ends.get(number)?;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        Some(&self.bytes[start..end])
    }

    /// The messages in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }

    /// Forgets the messages, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn take(&mut self, core: &Core, block: u32) -> Result<(), Damage> {
        core.append_message(block, &mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }
}

impl Queue {
    /// Replaces what is in `batch` by up to `most` messages: waits for the first, then takes what else is there. They
    /// are done with together, as one message from [`Queue::get`] would be.
    ///
    /// # Errors
    /// As [`Queue::get`]; then `batch` is empty, unless the queue turned out to be damaged halfway.
    pub fn get_batch(&self, most: usize, batch: &mut Batch) -> Result<(), GetError> {
        Ok(self.fill(most, batch, u64::MAX)?)
    }

    /// Replaces what is in `batch` by up to `most` messages that are there now.
    ///
    /// # Errors
    /// As [`Queue::try_get`].
    pub fn try_get_batch(&self, most: usize, batch: &mut Batch) -> Result<(), TryGetError> {
        Ok(self.fill(most, batch, 0)?)
    }

    /// Replaces what is in `batch` by up to `most` messages, waiting for the first at most so long.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn get_batch_timeout(
        &self,
        most: usize,
        batch: &mut Batch,
        timeout: Duration,
    ) -> Result<(), GetTimeoutError> {
        Ok(self.fill(most, batch, deadline(timeout))?)
    }

    fn fill(&self, most: usize, batch: &mut Batch, until_ns: u64) -> Result<(), Stop> {
        batch.clear();
        if most == 0 {
            return Ok(());
        }
        self.core.get_by(until_ns, most > 1, |block| batch.take(&self.core, block))?;
        self.core.get_more_by(most - 1, |block| batch.take(&self.core, block).map(|()| true))
    }

    /// Gets up to `most` messages: waits for the first, then takes what else is there. They are done with
    /// together, as one message from [`Queue::get`] would be.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_many(&self, most: usize) -> Result<Vec<Vec<u8>>, GetError> {
        self.get_up_to(most, || self.get())
    }

    /// Gets up to `most` messages that are there now.
    ///
    /// # Errors
    /// As [`Queue::try_get`].
    pub fn try_get_many(&self, most: usize) -> Result<Vec<Vec<u8>>, TryGetError> {
        self.get_up_to(most, || self.try_get())
    }

    /// Gets up to `most` messages, waiting for the first at most so long.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn get_many_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<Vec<u8>>, GetTimeoutError> {
        self.get_up_to(most, || self.get_timeout(timeout))
    }

    fn get_up_to<E: From<Stop>>(
        &self,
        most: usize,
        get_first: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<Vec<u8>>, E> {
        let mut messages = Vec::new();
        if most > 0 {
            messages.push(get_first()?);
            self.core.get_more_by(most - 1, |block| {
                messages.push(self.core.read_message(block)?);
                Ok(true)
            })?;
        }
        Ok(messages)
    }

    /// Gets up to `most` messages that are there now, shows each to `accept`, and is done with them together with what
    /// this thread got before. One that `accept` refuses, by `false`, is given back for another delivery, and none is
    /// got after it.
    ///
    /// ```
    /// let queue = ipc::Queue::create_anonymous("words", &ipc::QueueOptions::default())?;
    /// queue.put_many(&["a", "b", "", "c"])?;
    /// let mut words = vec![queue.get()?];
    /// queue.get_more(10, |word| !word.is_empty() && { words.push(word); true })?;
    /// assert_eq!(words, [b"a", b"b"]);
    /// assert_eq!(queue.get()?, b"", "given back, and next");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GetError::Fault`] where the queue cannot be used.
    pub fn get_more(&self, most: usize, mut accept: impl FnMut(Vec<u8>) -> bool) -> Result<(), GetError> {
        let read = |block| self.core.read_message(block).map(&mut accept);
        self.core.get_more_by(most, read).map_err(GetError::from)
    }

    /// Puts messages in their order, waiting for places as [`Queue::put`] does. Messages of others may come
    /// between them. In a durable queue they reach the disk together.
    ///
    /// # Errors
    /// [`PutManyError`] says how many were put before the one that was refused, and why it was.
    pub fn put_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<(), PutManyError> {
        self.put_all(messages, |message| self.put(message))
    }

    /// Puts as many messages as there are places for now.
    ///
    /// # Errors
    /// As [`Queue::put_many`]; [`TryPutError::Full`] where that would wait.
    pub fn try_put_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<(), PutManyError<TryPutError>> {
        self.put_all(messages, |message| self.try_put(message))
    }

    /// Puts messages in their order, waiting for places at most so long in all.
    ///
    /// # Errors
    /// As [`Queue::put_many`]; [`PutTimeoutError::Timeout`] when the time is over.
    pub fn put_many_timeout<M: AsRef<[u8]>>(
        &self,
        messages: &[M],
        timeout: Duration,
    ) -> Result<(), PutManyError<PutTimeoutError>> {
        let until_ns = deadline(timeout);
        self.put_all(messages, |message| self.core.put(message, until_ns).map_err(PutTimeoutError::from))
    }

    fn put_all<M: AsRef<[u8]>, E: From<crate::errors::Fault>>(
        &self,
        messages: &[M],
        put_one: impl Fn(&[u8]) -> Result<(), E>,
    ) -> Result<(), PutManyError<E>> {
        let mut put = 0;
        while put < messages.len() {
            put += self
                .core
                .put_run(&messages[put..])
                .map_err(|fault| PutManyError { put, error: E::from(fault) })?;
            // What did not go at once waits, or is refused, by itself.
            if let Some(message) = messages.get(put) {
                put_one(message.as_ref()).map_err(|error| PutManyError { put, error })?;
                put += 1;
            }
        }
        Ok(())
    }
}
