//! The words that people type, read one by one: names, numbers, durations.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use control::api::{Milestone, Size, Who};
use serde::de::DeserializeOwned;

use crate::demo::LESSONS;
use crate::processes::nearest_signal;

pub(super) fn lessons() -> PossibleValuesParser {
    LESSONS.iter().map(|lesson| lesson.name).into()
}

pub(super) fn target(text: &str) -> Result<String, String> {
    if control::is_target(text) {
        return Ok(text.to_owned());
    }
    Err("a worker is NAME or NAME:INSTANCE, the name of letters, digits, '-', '_' and '.'".to_owned())
}

pub(super) fn worker_name(text: &str) -> Result<String, String> {
    if control::is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a worker's name has letters, digits, '-', '_' and '.', and is not digits alone".to_owned())
}

/// One of these words of the control API, which help and completions name.
pub(super) fn one_of<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words)
        .map(|word| serde_json::from_value(word.into()).expect("the words are those of the API"))
}

/// One of the words of the control API, within another word.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is NAME=VALUE".to_owned()),
    }
}

pub(super) fn milestone(text: &str) -> Result<(String, Milestone), String> {
    match text.split_once('=') {
        Some((worker, reached)) => Ok((worker_name(worker)?, word(reached)?)),
        None => Ok((worker_name(text)?, Milestone::Ready)),
    }
}

pub(super) fn size(text: &str) -> Result<Size, String> {
    let (worker, number) = text.split_once('=').ok_or("how many is WORKER=N, for example counter=3")?;
    if !control::is_name(worker) {
        return Err("a worker's name has letters, digits, '-', '_' and '.'".to_owned());
    }
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(instances) if plain => Ok(Size { worker: worker.to_owned(), instances }),
        _ => Err(format!("{number:?} is no number of instances")),
    }
}

pub(crate) fn queue_name(text: &str) -> Result<String, String> {
    if control::is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a queue's name has letters, digits, '-', '_' and '.', and is not digits alone".to_owned())
}

pub(super) fn who(text: &str) -> Result<Who, String> {
    match Who::parse(text) {
        Who::Pid(pid) if pid > 0 => Ok(Who::Pid(pid)),
        Who::Pid(_) => Err("a pid is greater than 0".to_owned()),
        Who::Worker(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() => {
            Err("no pid is as large".to_owned())
        }
        Who::Worker(worker) => target(&worker).map(Who::Worker),
    }
}

pub(super) fn signal(text: &str) -> Result<i32, String> {
    process::signal::number(text).ok_or_else(|| match nearest_signal(text) {
        Some(name) => format!("no signal is called so; did you mean {name:?}?"),
        None => "a signal is a name like TERM or RTMIN+3, or a number from 1 to 64".to_owned(),
    })
}

/// `250ms`, `10s`, `5m`, `2h`, `1d`; a plain number means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err("a duration is a number and ms, s, m, h or d".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "a duration is like 250ms, 10s or 5m".to_owned())?;
    let seconds = number * scale;
    // Beyond a century every sum with a clock is at risk, and nobody waits so long.
    if seconds > 100.0 * 366.0 * 86400.0 {
        return Err("a duration is at most a century".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_what_people_write() {
        let good =
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("0.5", 500), ("1h", 3_600_000), ("0", 0)];
        for (text, millis) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1", "1x", "1 s", "1.2.3s", "9999999d", "1e9", "inf"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_is_a_worker_and_a_plain_number() {
        assert_eq!(size("a=0"), Ok(Size { worker: "a".to_owned(), instances: 0 }));
        for bad in ["a", "=1", "a=", "a=-1", "a=+1", "a:0=1", "a=1x", "a=99999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_worker_comes_after_is_a_name_and_one_of_four_words() {
        assert_eq!(milestone("db"), Ok(("db".to_owned(), Milestone::Ready)));
        assert_eq!(milestone("db=ended"), Ok(("db".to_owned(), Milestone::Ended)));
        let error = milestone("db=soon").expect_err("no such word");
        assert!(error.contains("`soon`") && error.contains("`succeeded`"), "{error}");
        for bad in ["", "=ready", "db=", "db:0", "7"] {
            assert!(milestone(bad).is_err(), "{bad}");
        }
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }

    #[test]
    fn digits_are_a_pid_and_anything_else_a_worker() {
        assert_eq!(who("12"), Ok(Who::Pid(12)));
        assert_eq!(who("a:0"), Ok(Who::Worker("a:0".to_owned())));
        for bad in ["0", "-1", "+5", "99999999999", "a b"] {
            assert!(who(bad).is_err(), "{bad}");
        }
    }
}
