//! Whether a worker is so quick that it is worth handing it a line before it asks.
//!
//! Looking whether it asks costs tens of microseconds and may come a millisecond late, which a filter that needs two
//! microseconds a line would feel. A line handed over ahead, on the other hand, waits for its worker while others may be
//! idle. So only those who have always come back at once lately get one ahead.

use std::time::Duration;

/// Who comes back within this is quick.
const QUICK: Duration = Duration::from_millis(5);

/// So often in a row it must have been quick.
const IN_A_ROW: u32 = 8;

/// How a worker has kept pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    quick_in_a_row: u32,
}

impl Pace {
    /// It came back for more after so long.
    pub fn note(&mut self, took: Duration) {
        self.quick_in_a_row = if took <= QUICK { self.quick_in_a_row.saturating_add(1) } else { 0 };
    }

    /// Whether it gets the next line ahead.
    pub fn is_quick(&self) -> bool {
        self.quick_in_a_row >= IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_message_ends_a_quick_run() {
        let mut pace = Pace::default();
        for _ in 0..IN_A_ROW {
            assert!(!pace.is_quick());
            pace.note(QUICK);
        }
        assert!(pace.is_quick());
        pace.note(QUICK * 2);
        assert!(!pace.is_quick());
    }
}
