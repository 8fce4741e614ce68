//! What a family should hold.

use std::collections::HashSet;

use crate::errors::OpenError;
use crate::participants::MOST;
use crate::sync::directory::{Entry, LONGEST_NAME, MOST_OBJECTS, What};

/// The most permits a semaphore can have, and the most any can come to by releases.
pub(crate) const MOST_PERMITS: u32 = 1024;
/// The most objects that can be defined later.
pub(crate) const MOST_SPARE: u32 = 1024;
/// The most numbers in one array.
pub(crate) const MOST_NUMBERS: u32 = 1 << 20;

/// What a [`Family`](crate::sync::Family) should hold. Names are 1 to 200 bytes, each once among its kind (locks
/// and recursive locks are one kind, and so are both sorts of semaphore).
///
/// ```
/// let options = ipc::sync::SyncOptions {
///     locks: vec!["ledger".into()],
///     values: vec![("total".into(), 0)],
///     ..Default::default()
/// };
/// let family = ipc::sync::Family::create_anonymous("bank", &options)?;
/// let total = family.value("total")?;
/// {
///     let _guard = family.lock("ledger")?.acquire()?;
///     total.set(total.get() + 1); // safe only under the lock; `add` is safe without
/// }
/// assert_eq!(total.get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// Locks that a thread takes once at a time.
    pub locks: Vec<String>,
    /// Locks that the thread that holds them may take again.
    pub rlocks: Vec<String>,
    /// Semaphores with the permits they begin with (0 to 1024); releases may add permits, up to 1024.
    pub semaphores: Vec<(String, u32)>,
    /// Semaphores that never have more permits than they begin with (1 to 1024).
    pub bounded_semaphores: Vec<(String, u32)>,
    /// Events, not set at first.
    pub events: Vec<String>,
    /// Conditions, to be used with any lock of the family.
    pub conditions: Vec<String>,
    /// Barriers with the parties they wait for (at least 1).
    pub barriers: Vec<(String, u32)>,
    /// Numbers with what they begin as.
    pub values: Vec<(String, i64)>,
    /// Arrays of so many numbers (at most 1,048,576), zero at first.
    pub arrays: Vec<(String, u32)>,
    /// Room for so many objects to be defined later ([`Family::define_lock`](crate::sync::Family::define_lock) and
    /// its like), at most 1024.
    pub spare: u32,
    /// Handles that may take part at once, at most 4095.
    pub participants: u32,
    /// Whether somebody will call [`Family::reclaim`](crate::sync::Family::reclaim) for every participant that
    /// dies. Without such a promise those who wait look after each other.
    pub supervised: bool,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            locks: Vec::new(),
            rlocks: Vec::new(),
            semaphores: Vec::new(),
            bounded_semaphores: Vec::new(),
            events: Vec::new(),
            conditions: Vec::new(),
            barriers: Vec::new(),
            values: Vec::new(),
            arrays: Vec::new(),
            spare: 0,
            participants: 1024,
            supervised: false,
        }
    }
}

impl SyncOptions {
    /// Everything that was asked for, in a row.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, OpenError> {
        if !(1..=MOST).contains(&self.participants) {
            return Err(OpenError::Options("participants must be 1 to 4095"));
        }
        if self.spare > MOST_SPARE {
            return Err(OpenError::Options("at most 1024 objects can be defined later"));
        }
        let mut entries = Vec::new();
        let mut plain = |what: What, names: &[String]| {
            entries.extend(names.iter().map(|name| Entry { what, name: name.clone(), number: 0 }));
        };
        plain(What::Lock, &self.locks);
        plain(What::RLock, &self.rlocks);
        plain(What::Event, &self.events);
        plain(What::Condition, &self.conditions);
        let mut counted = |what: What, names: &[(String, u32)]| {
            let entry = |(name, number): &(String, u32)| Entry {
                what,
                name: name.clone(),
                number: i64::from(*number),
            };
            entries.extend(names.iter().map(entry));
        };
        counted(What::Semaphore, &self.semaphores);
        counted(What::BoundedSemaphore, &self.bounded_semaphores);
        counted(What::Barrier, &self.barriers);
        counted(What::Array, &self.arrays);
        let value =
            |(name, number): &(String, i64)| Entry { what: What::Value, name: name.clone(), number: *number };
        entries.extend(self.values.iter().map(value));
        if entries.len() + self.spare as usize > MOST_OBJECTS {
            return Err(OpenError::Options("a family holds at most 16383 objects"));
        }
        check(&entries)?;
        Ok(entries)
    }
}

/// Whether a family can hold all this; also asked about what stands in a file.
pub(crate) fn check(entries: &[Entry]) -> Result<(), OpenError> {
    if entries.len() > MOST_OBJECTS {
        return Err(OpenError::Options("a family holds at most 16383 objects"));
    }
    let mut seen = HashSet::new();
    for entry in entries {
        if entry.name.is_empty() || entry.name.len() > LONGEST_NAME {
            return Err(OpenError::Options("names have 1 to 200 bytes"));
        }
        if !seen.insert((entry.what.family(), entry.name.as_str())) {
            return Err(OpenError::Options("two of the same kind have the same name"));
        }
        let most_permits = i64::from(MOST_PERMITS);
        match entry.what {
            What::Semaphore if !(0..=most_permits).contains(&entry.number) => {
                return Err(OpenError::Options("a semaphore begins with 0 to 1024 permits"));
            }
            What::BoundedSemaphore if !(1..=most_permits).contains(&entry.number) => {
                return Err(OpenError::Options("a bounded semaphore has 1 to 1024 permits"));
            }
            What::Barrier if !(1..=65_535).contains(&entry.number) => {
                return Err(OpenError::Options("a barrier waits for 1 to 65535 parties"));
            }
            What::Array if !(0..=i64::from(MOST_NUMBERS)).contains(&entry.number) => {
                return Err(OpenError::Options("an array has at most 1048576 numbers"));
            }
            _ => {}
        }
    }
    Ok(())
}
