//! The calendar: when the workers that run at certain minutes are due, by the wall clock and in local time.
//!
//! Everything here is told the time; nothing looks at a clock. The clock may be set at any moment:
//!
//! - A time that a change to summer time leaves out comes when the gap is over. A time that comes twice, because the clock
//!   is put back for winter, counts once, the first time; a schedule for every hour goes on through both.
//! - Where the clock is set forward over due times, or the machine has slept, they were missed: how many, the core is
//!   told. So far back that it may be another day, a schedule begins anew; less far, what has come does not come again.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use supervision::WorkerId;

/// When a worker is due, as sets of numbers: bit `n` stands for the number `n`.
///
/// As in cron, a day is due when both day fields allow it; or, where `either_day`, when one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minutes {
    /// Minutes, 0 to 59.
    pub minutes: u64,
    /// Hours, 0 to 23.
    pub hours: u64,
    /// Days of the month, 1 to 31.
    pub days: u64,
    /// Months, 1 to 12.
    pub months: u64,
    /// Days of the week, 0 (Sunday) to 6.
    pub weekdays: u64,
    /// Whether one allowing day field is enough.
    pub either_day: bool,
}

/// A time this old is no longer on time.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

/// Set back by less than this, what has come does not come again.
const SET_BACK_A_LITTLE: SignedDuration = SignedDuration::from_hours(3);

/// So many missed times are counted at most.
const COUNTED_AT_MOST: u32 = 1000;

/// How far ahead a due day is looked for: a 29th of February may be eight years away.
const DAYS_AHEAD: i32 = 366 * 9;

const ALL_HOURS: u64 = (1 << 24) - 1;

impl Minutes {
    /// The first time after `after`; `None`: there is none within nine years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(after).date();
        // Yesterday's times may still come where a zone skips or repeats midnight.
        let first = today.checked_sub(1.day()).unwrap_or(today);
        (0..DAYS_AHEAD).find_map(|day| {
            let date = first.checked_add(day.days()).ok()?;
            if !self.allows(date) {
                return None;
            }
            self.times_of(date, zone).filter(|time| *time > after).min()
        })
    }

    fn allows(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| set >> number & 1 == 1;
        let by_month = has(self.days, date.day());
        let by_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let day = if self.either_day { by_month || by_week } else { by_month && by_week };
        has(self.months, date.month()) && day
    }

    /// All times of a day that is due.
    fn times_of(&self, date: Date, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
        let every_hour = self.hours & ALL_HOURS == ALL_HOURS;
        let of = |set: u64, count: i8| (0..count).filter(move |number| set >> number & 1 == 1);
        let (hours, minutes) = (self.hours, self.minutes);
        let times = of(hours, 24).flat_map(move |hour| of(minutes, 60).map(move |minute| (hour, minute)));
        times.flat_map(move |(hour, minute)| {
            let civil = DateTime::from_parts(date, Time::constant(hour, minute, 0, 0));
            moments(civil, zone, every_hour)
        })
    }
}

/// When a clock shows this: the end of the gap where it never does, the first of two or, if wanted, both.
fn moments(civil: DateTime, zone: &TimeZone, both: bool) -> impl Iterator<Item = Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    let offset = ambiguous.offset();
    let first = ambiguous.compatible().ok();
    // In a gap, "compatible" keeps the minutes past the hour; what is wanted is the first moment after it.
    let first = match offset {
        AmbiguousOffset::Gap { .. } => first.map(|shifted| gap_end(shifted, zone)),
        _ => first,
    };
    let second = match offset {
        AmbiguousOffset::Fold { .. } if both => zone.to_ambiguous_timestamp(civil).later().ok(),
        _ => None,
    };
    first.into_iter().chain(second)
}

/// The moment at which the clock was put forward last, at or before `shifted`, which lies less than a day after it.
fn gap_end(shifted: Timestamp, zone: &TimeZone) -> Timestamp {
    let just_after = shifted.checked_add(1.nanosecond()).unwrap_or(shifted);
    zone.preceding(just_after).next().map_or(shifted, |change| change.timestamp())
}

/// The workers that run by the calendar, and when each is due next.
#[derive(Debug, Default)]
pub struct Calendar {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    worker: WorkerId,
    minutes: Minutes,
    /// The last time that has come, or when the entry was made.
    served: Timestamp,
    next: Option<Timestamp>,
}

/// The time of a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub worker: WorkerId,
    /// So many times since the last look.
    pub times: u32,
    /// Whether the last of them is now, or was missed too.
    pub on_time: bool,
}

impl Calendar {
    /// Enters a worker, or takes it out; times up to `now` do not count. One that is entered already and stays what it
    /// was is left alone.
    pub fn set(&mut self, worker: WorkerId, minutes: Option<Minutes>, now: Timestamp, zone: &TimeZone) {
        let same = |entry: &Entry| entry.worker == worker && Some(entry.minutes) == minutes;
        if self.entries.iter().any(same) {
            return;
        }
        self.entries.retain(|entry| entry.worker != worker);
        if let Some(minutes) = minutes {
            let next = minutes.next(now, zone);
            self.entries.push(Entry { worker, minutes, served: now, next });
        }
    }

    /// When to look again if the clock is not set meanwhile.
    pub fn next(&self) -> Option<Timestamp> {
        self.entries.iter().filter_map(|entry| entry.next).min()
    }

    /// When a worker is due next.
    pub fn next_of(&self, worker: WorkerId) -> Option<Timestamp> {
        self.entries.iter().find(|entry| entry.worker == worker)?.next
    }

    /// Looks at the clock; says whose time has come. To be called at [`Calendar::next`], and whenever the clock was set.
    pub fn look(&mut self, now: Timestamp, zone: &TimeZone) -> Vec<Due> {
        self.entries.iter_mut().filter_map(|entry| entry.look(now, zone)).collect()
    }
}

impl Entry {
    fn look(&mut self, now: Timestamp, zone: &TimeZone) -> Option<Due> {
        let (mut times, mut last) = (0, None);
        while let Some(next) = self.next.filter(|next| *next <= now) {
            (times, last) = (times + 1, Some(next));
            self.served = next;
            if times == COUNTED_AT_MOST {
                self.served = now;
            }
            self.next = self.minutes.next(self.served, zone);
        }
        if last.is_none() {
            // Nothing has come: the clock may have been set, and then the next time is another.
            if self.served.duration_since(now) > SET_BACK_A_LITTLE {
                self.served = now;
            }
            self.next = self.minutes.next(self.served.max(now), zone);
        }
        let last = last?;
        Some(Due { worker: self.worker, times, on_time: now.duration_since(last) <= ON_TIME })
    }
}

/// A time as a person reads it on a clock: `2026-11-26 22:05:00 +00:00`.
pub fn shown(time: Timestamp, zone: &TimeZone) -> String {
    let nearest = time.round(jiff::Unit::Second).unwrap_or(time);
    nearest.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: WorkerId = WorkerId(7);
    const ANY: u64 = u64::MAX;

    /// All minutes of the calendar, but for these.
    fn every_minute() -> Minutes {
        Minutes { minutes: ANY, hours: ANY, days: ANY, months: ANY, weekdays: ANY, either_day: false }
    }

    fn daily(hour: i8, minute: i8) -> Minutes {
        Minutes { minutes: 1 << minute, hours: 1 << hour, ..every_minute() }
    }

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The next times after `after`, as a clock in Berlin shows them.
    fn berlin_shows(minutes: Minutes, after: &str, count: usize) -> Vec<String> {
        let zone = berlin();
        let mut now = at(after);
        (0..count)
            .map(|_| {
                now = minutes.next(now, &zone).expect("it comes");
                now.to_zoned_datetime(zone.clone()).strftime("%m-%d %H:%M %:z").to_string()
            })
            .collect()
    }

    #[test]
    fn minutes_hours_days_months_and_weekdays_all_count() {
        let utc = TimeZone::UTC;
        let next = |minutes: Minutes, after: &str| minutes.next(at(after), &utc).map(|at| at.to_string());
        let found = |text: &str| Some(text.to_owned());
        let fives = Minutes { minutes: (0..12).map(|n| 1 << (5 * n)).sum(), ..every_minute() };
        assert_eq!(next(fives, "2026-11-26T22:04:59Z"), found("2026-11-26T22:05:00Z"));
        assert_eq!(next(fives, "2026-11-26T22:05:00Z"), found("2026-11-26T22:10:00Z"));
        assert_eq!(next(fives, "2026-12-31T23:55:00Z"), found("2027-01-01T00:00:00Z"));
        let mondays = Minutes { weekdays: 1 << 1, ..daily(9, 30) };
        assert_eq!(next(mondays, "2026-11-26T22:04:59Z"), found("2026-11-30T09:30:00Z"));
        let leap = Minutes { days: 1 << 29, months: 1 << 2, ..daily(0, 0) };
        assert_eq!(next(leap, "2096-03-01T00:00:00Z"), found("2104-02-29T00:00:00Z"));
        let never = Minutes { days: 1 << 30, months: 1 << 2, ..daily(0, 0) };
        assert_eq!(next(never, "2026-01-01T00:00:00Z"), None);
        // The 13th or a Friday; the 13th, if it is a Friday.
        let either = Minutes { days: 1 << 13, weekdays: 1 << 5, either_day: true, ..daily(0, 0) };
        assert_eq!(next(either, "2026-11-28T00:00:00Z"), found("2026-12-04T00:00:00Z"));
        let both = Minutes { either_day: false, ..either };
        assert_eq!(next(both, "2026-11-28T00:00:00Z"), found("2027-08-13T00:00:00Z"));
    }

    #[test]
    fn a_time_that_the_change_to_summer_leaves_out_comes_when_it_is_over() {
        // In 2026 the clocks go from 02:00 to 03:00 on March 29.
        let shown = berlin_shows(daily(2, 30), "2026-03-28T00:00:00Z", 3);
        assert_eq!(shown, ["03-28 02:30 +01:00", "03-29 03:00 +02:00", "03-30 02:30 +02:00"]);
        let half_hours = Minutes { minutes: 1 | 1 << 30, ..every_minute() };
        let shown = berlin_shows(half_hours, "2026-03-29T00:00:00Z", 4);
        assert_eq!(
            shown,
            ["03-29 01:30 +01:00", "03-29 03:00 +02:00", "03-29 03:30 +02:00", "03-29 04:00 +02:00"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_counts_once_and_every_hour_goes_on() {
        // In 2026 the clocks go from 03:00 back to 02:00 on October 25.
        let shown = berlin_shows(daily(2, 30), "2026-10-24T12:00:00Z", 2);
        assert_eq!(shown, ["10-25 02:30 +02:00", "10-26 02:30 +01:00"]);
        let half_past = Minutes { minutes: 1 << 30, ..every_minute() };
        let shown = berlin_shows(half_past, "2026-10-24T23:00:00Z", 4);
        assert_eq!(
            shown,
            ["10-25 01:30 +02:00", "10-25 02:30 +02:00", "10-25 02:30 +01:00", "10-25 03:30 +01:00"]
        );
    }

    fn calendar(minutes: Minutes, now: &str) -> Calendar {
        let mut calendar = Calendar::default();
        calendar.set(WORKER, Some(minutes), at(now), &TimeZone::UTC);
        calendar
    }

    fn look(calendar: &mut Calendar, now: &str) -> Option<(u32, bool)> {
        let due = calendar.look(at(now), &TimeZone::UTC);
        assert!(due.iter().all(|due| due.worker == WORKER) && due.len() <= 1);
        due.first().map(|due| (due.times, due.on_time))
    }

    #[test]
    fn a_time_comes_once_when_it_is_there() {
        let mut calendar = calendar(daily(12, 0), "2026-01-01T11:00:00Z");
        assert_eq!(calendar.next(), Some(at("2026-01-01T12:00:00Z")));
        assert_eq!(look(&mut calendar, "2026-01-01T11:59:59Z"), None);
        assert_eq!(look(&mut calendar, "2026-01-01T12:00:00.1Z"), Some((1, true)));
        assert_eq!(look(&mut calendar, "2026-01-01T12:00:00.2Z"), None);
        assert_eq!(calendar.next_of(WORKER), Some(at("2026-01-02T12:00:00Z")));
        assert_eq!(calendar.next_of(WorkerId(1)), None);
    }

    #[test]
    fn what_a_clock_set_forward_or_a_sleep_has_skipped_is_counted() {
        let mut calendar = calendar(daily(12, 0), "2026-01-01T11:00:00Z");
        assert_eq!(look(&mut calendar, "2026-01-05T18:00:00Z"), Some((5, false)));
        assert_eq!(look(&mut calendar, "2026-01-06T12:00:30Z"), Some((1, true)));
        // However much it is.
        assert_eq!(look(&mut calendar, "2099-01-05T12:00:30Z"), Some((COUNTED_AT_MOST, false)));
        assert_eq!(calendar.next(), Some(at("2099-01-06T12:00:00Z")));
    }

    #[test]
    fn a_clock_set_back_a_little_repeats_nothing_and_set_back_far_begins_anew() {
        let mut calendar = calendar(daily(12, 0), "2026-01-01T11:00:00Z");
        assert_eq!(look(&mut calendar, "2026-01-01T12:00:00Z"), Some((1, true)));
        assert_eq!(look(&mut calendar, "2026-01-01T11:30:00Z"), None);
        assert_eq!(calendar.next(), Some(at("2026-01-02T12:00:00Z")));
        assert_eq!(look(&mut calendar, "2026-01-01T12:00:00Z"), None);
        // A year back: a clock that was wrong is right now.
        assert_eq!(look(&mut calendar, "2025-01-01T11:30:00Z"), None);
        assert_eq!(calendar.next(), Some(at("2025-01-01T12:00:00Z")));
        assert_eq!(look(&mut calendar, "2025-01-01T12:00:00Z"), Some((1, true)));
    }

    #[test]
    fn a_clock_set_forward_before_the_time_looks_for_the_next_from_there() {
        let mut calendar = calendar(daily(12, 0), "2026-01-01T13:00:00Z");
        assert_eq!(look(&mut calendar, "2026-01-02T11:00:00Z"), None);
        assert_eq!(calendar.next(), Some(at("2026-01-02T12:00:00Z")));
    }
}
