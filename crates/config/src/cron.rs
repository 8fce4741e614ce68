//! Schedules of five fields: minute, hour, day of the month, month, day of the week; and the names that cron has for some.

use crate::problem::{Complaint, quoted};

/// When a schedule is due, as sets of numbers: bit `n` stands for the number `n`.
///
/// As in cron, a day is due when both day fields allow it; or, where neither begins with `*`, when one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Minutes, 0 to 59.
    pub minutes: u64,
    /// Hours, 0 to 23.
    pub hours: u64,
    /// Days of the month, 1 to 31.
    pub days: u64,
    /// Months, 1 to 12.
    pub months: u64,
    /// Days of the week, 0 (Sunday) to 6; a 7 in the text is a Sunday too.
    pub weekdays: u64,
    /// Whether one allowing day field is enough.
    pub either_day: bool,
}

/// What each field is called, and the numbers it takes.
const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
];

/// What a number of the last two fields may be called; the first is of the number before, so that a Sunday is 0.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Whole schedules by name.
const NAMED: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// How many days each month has at most.
const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    pub(crate) fn parse(text: &str) -> Result<Cron, Complaint> {
        let known = NAMED.iter().find(|(name, _)| *name == text.trim());
        if known.is_none() && text.trim_start().starts_with('@') {
            return Err(unknown_name(text.trim()));
        }
        let parts: Vec<&str> = known.map_or(text, |(_, fields)| fields).split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            let complaint = Complaint::new(format!(
                "expected 5 fields: minute, hour, day of the month, month, day of the week; found {}",
                parts.len()
            ));
            return Err(complaint.hint("every five minutes is \"*/5 * * * *\""));
        }
        let mut sets = [0; 5];
        for ((set, part), (name, least, most)) in sets.iter_mut().zip(&parts).zip(FIELDS) {
            *set = field(part, least, most).ok_or_else(|| {
                let names = match most {
                    12 => "; or names: \"jan\", \"jan-mar\"",
                    7 => "; or names: \"mon\", \"mon-fri\"",
                    _ => "",
                };
                Complaint::new(format!("{} is no {name}", quoted(part)))
                    .hint(format!("from {least} to {most}: \"*\", \"*/2\", \"{least}\", \"{least}-{most}\" or a list of these with commas{names}"))
            })?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let sunday = weekdays >> 7 & 1;
        let either_day = !parts[2].starts_with('*') && !parts[4].starts_with('*');
        // Only the day of the month can keep it from ever coming; a day of the week that is enough by itself helps.
        let comes = |month: usize| months >> month & 1 == 1 && days & ((2 << LONGEST[month - 1]) - 1) != 0;
        if !either_day && !(1..=12).any(comes) {
            let complaint = Complaint::new(format!("{} never comes", quoted(text)));
            return Err(complaint.hint("none of its months has such a day"));
        }
        Ok(Cron { minutes, hours, days, months, weekdays: (weekdays | sunday) & 0x7f, either_day })
    }
}

fn unknown_name(text: &str) -> Complaint {
    let complaint = Complaint::new(format!("{} is no schedule", quoted(text)));
    match text.split_whitespace().next() {
        Some("@reboot") => complaint.hint("a worker without a schedule starts with the run"),
        Some("@every") => complaint.hint("write {\"every\": \"30s\"} in the place of {\"cron\": …}"),
        _ => {
            let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            complaint.hint(format!("one of {}; or five fields", names.join(", ")))
        }
    }
}

/// The set that one field names.
fn field(text: &str, least: u32, most: u32) -> Option<u64> {
    let named = |text: &str| {
        let (names, first): (&[&str], u32) = match most {
            12 => (&MONTHS, 1),
            7 => (&WEEKDAYS, 0),
            _ => return None,
        };
        (first..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| number)
    };
    let number = |text: &str| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (least..=most).contains(number)).or_else(|| named(text))
    };
    let mut set = 0;
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse::<usize>().ok().filter(|step| (1..=59).contains(step))?))
            }
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            // A week may end with its Sunday.
            Some((first, last)) => match (number(first)?, number(last)?) {
                (first @ 1.., 0) if last.eq_ignore_ascii_case("sun") => (first, 7),
                both => both,
            },
            // `5/10` means from 5 on.
            None => (number(range)?, if step.is_some() { most } else { number(range)? }),
        };
        if first > last {
            return None;
        }
        for number in (first..=last).step_by(step.unwrap_or(1)) {
            set |= 1 << number;
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_stars_numbers_ranges_steps_and_lists_of_them() {
        let cron = Cron::parse("*/20 0-4/2,23 1,15 6/3 7").unwrap();
        assert_eq!(cron.minutes, 1 | 1 << 20 | 1 << 40);
        assert_eq!(cron.hours, 1 | 1 << 2 | 1 << 4 | 1 << 23);
        assert_eq!(cron.days, 1 << 1 | 1 << 15);
        assert_eq!(cron.months, 1 << 6 | 1 << 9 | 1 << 12);
        assert_eq!(cron.weekdays, 1);
        assert!(cron.either_day);
    }

    #[test]
    fn months_days_and_whole_schedules_have_names() {
        let same = |text: &str, other: &str| {
            assert_eq!(Cron::parse(text).expect(text), Cron::parse(other).expect(other), "{text}");
        };
        same("0 9 * JAN-mar,dec Mon-Fri", "0 9 * 1-3,12 1-5");
        same("0 9 * * sat-sun", "0 9 * * 6,0");
        same("0 9 * * sun-tue", "0 9 * * 0-2");
        same("0 9 1 jul/3 sun", "0 9 1 7,10 7");
        for (name, fields) in NAMED {
            same(&format!(" {name}\n"), fields);
        }
        for text in [
            "@reboot",
            "@every 5m",
            "@Daily",
            "@daily x",
            "0 0 * mon *",
            "0 0 jan * *",
            "0 0 * * fri-mon",
            "0 0 * * june",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_clock_shows_is_refused() {
        for text in [
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            ", * * * *",
            "- * * * *",
            "+1 * * * *",
            "* * * *",
            "* * * * * *",
            "",
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        for text in ["0 0 29 2 *", "0 0 30 2 1", "0 0 31 4,5 *"] {
            assert!(Cron::parse(text).is_ok(), "{text}");
        }
    }
}
