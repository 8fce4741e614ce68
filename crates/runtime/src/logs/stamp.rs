//! The moment a line was read, as text: UTC, to the microsecond, always 27 bytes.

use std::time::{Duration, SystemTime};

/// `2026-11-23T18:45:00.123456Z`. Moments before 1970 are shown as its beginning.
pub type Stamp = [u8; 27];

/// Writes `time` as a [`Stamp`].
pub fn stamp(time: SystemTime) -> Stamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = date_of(seconds / 86_400);
    let second = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (place, value) in [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, second / 3600),
        (14..16, second / 60 % 60),
        (17..19, second % 60),
        (20..26, u64::from(since.subsec_micros())),
    ] {
        digits(&mut text[place], value);
    }
    text
}

/// Fills `place` with the last digits of `value`.
fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// [`stamp`] as text.
pub fn stamped(time: SystemTime) -> String {
    stamp(time).into_iter().map(char::from).collect()
}

/// Year, month and day of the day `days` after 1 January 1970, in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last of its year and months have one closed formula.
fn date_of(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 1 March of year 0 to 1 January 1970.
    let days = days + 719_468;
    let cycle = days / DAYS_OF_400_YEARS;
    let day = days % DAYS_OF_400_YEARS;
    // Taking the leap days out leaves years of 365: one every 1460 days, none every 36524, one every 146096.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // March is month 0; five months have 153 days.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_people_write_them() {
        let at = |micros| {
            let text = stamp(SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
            String::from_utf8(text.to_vec()).expect("a stamp is ASCII")
        };
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_399_000_001), "2000-02-28T23:59:59.000001Z");
        assert_eq!(at(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_795_459_500_123_456), "2026-11-23T18:45:00.123456Z");
        assert_eq!(at(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn every_day_of_800_years_follows_the_one_before() {
        let leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            assert_eq!(date_of(days), (year, month, day));
            let length = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn a_clock_before_1970_is_no_panic() {
        assert_eq!(&stamp(SystemTime::UNIX_EPOCH - Duration::from_secs(5))[..4], b"1970");
    }
}
