//! Several messages with one call: put in a row, and got together.

use std::time::Duration;

use crate::errors::{GetError, GetTimeoutError, PutManyError, PutTimeoutError, TryGetError, TryPutError};
use crate::queue::{Queue, deadline};

impl Queue {
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

    fn get_up_to<E: From<crate::core::Stop>>(
        &self,
        most: usize,
        get_first: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<Vec<u8>>, E> {
        let mut messages = Vec::new();
        if most > 0 {
            messages.push(get_first()?);
            self.core.get_more(most - 1, &mut |message| {
                messages.push(message);
                true
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
        self.core.get_more(most, &mut accept).map_err(GetError::from)
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
