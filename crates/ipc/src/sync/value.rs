//! Numbers that processes share.

use std::path::Path;
use std::sync::Arc;

use crate::atomic::{AtomicU64, Ordering};
use crate::errors::OpenError;
use crate::sync::directory::{OBJECT, What};
use crate::sync::inner::Core;
use crate::sync::options::SyncOptions;

/// A number shared by processes.
///
/// Each single operation is whole: nobody sees half of one. But [`Value::get`] and then [`Value::set`] are two, and
/// what others did in between is lost; [`Value::add`] and [`Value::compare_and_set`] are one, and lose nothing.
/// A lock of the same family makes several into one.
///
/// ```
/// let total = ipc::sync::Value::create_anonymous("total", 40)?;
/// assert_eq!(total.add(2), 42);
/// assert_eq!(total.compare_and_set(41, 0), Err(42));
/// assert_eq!(total.get(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Value {
    core: Arc<Core>,
    number: u32,
    at: usize,
}

impl Value {
    pub(crate) fn of(core: &Arc<Core>, number: u32) -> Self {
        Self { core: Arc::clone(core), number, at: core.place(number) }
    }

    fn word(&self) -> &AtomicU64 {
        self.core.u64(self.at)
    }

    /// The name it has in its family; that of its array for a number of one.
    pub fn name(&self) -> &str {
        self.core.name_of(self.number)
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.word().load(Ordering::Acquire) as i64
    }

    /// Makes it another.
    pub fn set(&self, value: i64) {
        self.word().store(value as u64, Ordering::Release);
    }

    /// Adds to it, wrapping at the ends; answers the sum. Nothing that others add is lost.
    pub fn add(&self, more: i64) -> i64 {
        (self.word().fetch_add(more as u64, Ordering::AcqRel) as i64).wrapping_add(more)
    }

    /// Reads it, adds, and writes the sum: what others did between the two is lost. Only to show that, or under a
    /// lock.
    pub fn add_unprotected(&self, more: i64) -> i64 {
        let sum = self.get().wrapping_add(more);
        self.set(sum);
        sum
    }

    /// Makes it `after` if it is `before`.
    ///
    /// # Errors
    /// What it is, where it is not `before`.
    pub fn compare_and_set(&self, before: i64, after: i64) -> Result<(), i64> {
        let done =
            self.word().compare_exchange(before as u64, after as u64, Ordering::AcqRel, Ordering::Acquire);
        done.map(drop).map_err(|now| now as i64)
    }
}

/// A row of numbers shared by processes, each as a [`Value`].
#[derive(Debug, Clone)]
pub struct Array {
    core: Arc<Core>,
    number: u32,
    at: usize,
    length: usize,
}

impl Array {
    pub(crate) fn of(core: &Arc<Core>, number: u32) -> Self {
        let length = core.entry(number).map_or(0, |entry| entry.number as usize);
        Self { core: Arc::clone(core), number, at: core.place(number), length }
    }

    /// The name it has in its family.
    pub fn name(&self) -> &str {
        self.core.name_of(self.number)
    }

    /// The family it is in.
    pub fn family(&self) -> crate::sync::Family {
        crate::sync::Family::of(&self.core)
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// One of its numbers, none beyond the end.
    pub fn at(&self, index: usize) -> Option<Value> {
        (index < self.length).then(|| {
            let at = self.at + OBJECT + index * 8;
            Value { core: Arc::clone(&self.core), number: self.number, at }
        })
    }

    /// The number at `index`, none beyond the end.
    pub fn get(&self, index: usize) -> Option<i64> {
        self.at(index).map(|value| value.get())
    }

    /// Makes the number at `index` another; false beyond the end.
    pub fn set(&self, index: usize, value: i64) -> bool {
        self.at(index).map(|place| place.set(value)).is_some()
    }

    /// A copy of all its numbers, each as it was at some moment of the copying.
    pub fn to_vec(&self) -> Vec<i64> {
        (0..self.length).filter_map(|index| self.get(index)).collect()
    }
}

/// Values by themselves, for programs that need no family.
impl Value {
    /// Makes one that has no place in the file system.
    ///
    /// # Errors
    /// As [`Family::create_anonymous`](crate::sync::Family::create_anonymous).
    pub fn create_anonymous(name: &str, value: i64) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create_anonymous(name, &alone(value))?, 0))
    }

    /// Makes one in a new file.
    ///
    /// # Errors
    /// As [`Family::create`](crate::sync::Family::create).
    pub fn create(path: impl AsRef<Path>, value: i64) -> Result<Self, OpenError> {
        Ok(Self::of(&Core::create(path.as_ref(), &alone(value))?, 0))
    }

    /// Opens the only one that a file holds.
    ///
    /// # Errors
    /// As [`Family::open`](crate::sync::Family::open); [`OpenError::WrongKind`] where there is none, or more than
    /// one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let core = Core::open(path.as_ref())?;
        let number = core.only(&[What::Value])?;
        Ok(Self::of(&core, number))
    }

    /// The family it is in.
    pub fn family(&self) -> crate::sync::Family {
        crate::sync::Family::of(&self.core)
    }
}

fn alone(value: i64) -> SyncOptions {
    SyncOptions { values: vec![("value".into(), value)], ..Default::default() }
}
