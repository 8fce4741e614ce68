//! How a program is preferred to others: at disks, and on which processors.

use std::fmt;

/// The priority of a program's input and output. Disks heed it if their scheduler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoPriority {
    /// Before everybody else; 0 is the first of 8 levels. For root.
    Realtime(u8),
    /// As usual; 0 is the first of 8 levels.
    BestEffort(u8),
    /// Only when nobody else wants to.
    Idle,
}

impl IoPriority {
    /// Levels are 0 to this.
    pub const LAST_LEVEL: u8 = 7;

    /// What `ioprio_set` takes.
    pub(crate) fn number(self) -> i32 {
        let (class, level) = match self {
            Self::Realtime(level) => (1, level),
            Self::BestEffort(level) => (2, level),
            Self::Idle => (3, 0),
        };
        class << 13 | i32::from(level.min(Self::LAST_LEVEL))
    }
}

/// `realtime:0`, `best-effort:4`, `idle`.
impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realtime(level) => write!(f, "realtime:{level}"),
            Self::BestEffort(level) => write!(f, "best-effort:{level}"),
            Self::Idle => f.write_str("idle"),
        }
    }
}

/// A set of processors, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Processors {
    /// A bit a processor, the lowest first.
    bits: Vec<u64>,
}

impl Processors {
    /// More than the kernel knows of.
    pub const LAST: u16 = 8191;

    /// The processors of these numbers; those above [`Processors::LAST`] are left out.
    pub fn of(numbers: impl IntoIterator<Item = u16>) -> Self {
        let mut bits = Vec::new();
        for number in numbers.into_iter().filter(|number| *number <= Self::LAST) {
            let word = usize::from(number / 64);
            if bits.len() <= word {
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (number % 64);
        }
        Self { bits }
    }

    /// Those that this process may run on.
    pub fn own() -> Self {
        let mut bits = vec![0u64; usize::from(Self::LAST) / 64 + 1];
        // SAFETY: the kernel writes at most as many bytes as the slice has; 0 is this thread.
        let written =
            unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&*bits), bits.as_mut_ptr()) };
        bits.truncate(usize::try_from(written).unwrap_or(0) / 8);
        Self { bits }
    }

    /// Their numbers, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        (0..).zip(&self.bits).flat_map(|(word, bits)| {
            (0..64u16).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * 64 + bit)
        })
    }

    pub(crate) fn mask(&self) -> &[u64] {
        &self.bits
    }
}

/// `0,1,4`.
impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.numbers().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_processors_has_the_numbers_it_was_given() {
        let set = Processors::of([70, 0, 3, 3, u16::MAX]);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [0, 3, 70]);
        assert_eq!(set.to_string(), "0,3,70");
        assert_eq!(set.mask(), [0b1001, 1 << 6]);
        assert!(Processors::own().numbers().count() > 0);
    }

    #[test]
    fn a_priority_is_a_class_and_a_level() {
        assert_eq!(IoPriority::Idle.number(), 3 << 13);
        assert_eq!(IoPriority::BestEffort(4).number(), 2 << 13 | 4);
        assert_eq!(IoPriority::Realtime(0).to_string(), "realtime:0");
    }
}
