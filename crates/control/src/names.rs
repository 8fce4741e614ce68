//! The names people give: of workers, queues and runs; of signals.

use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::api::{ApiError, ErrorCode};

/// No name is longer than this, in bytes.
const LONGEST: usize = 200;

/// Whether `name` can name a worker, a queue or a run: letters, digits, `-`, `_` and `.`, not digits alone.
///
/// A run's name is also the name of a folder, so dots alone and more than 200 bytes are refused too.
pub fn is_name(name: &str) -> bool {
    name.len() <= LONGEST
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !name.chars().all(|c| c.is_ascii_digit())
        && !name.chars().all(|c| c == '.')
}

/// Whether `target` is `NAME` or `NAME:INSTANCE`.
pub fn is_target(target: &str) -> bool {
    match target.split_once(':') {
        None => is_name(target),
        Some((name, instance)) => {
            let plain = instance.chars().all(|c| c.is_ascii_digit());
            is_name(name) && plain && instance.parse::<u32>().is_ok()
        }
    }
}

/// The number of the signal that people call so: `15`, `TERM`, `sigterm`.
///
/// ```
/// assert_eq!(control::signal_number("TERM"), Some(15));
/// assert_eq!(control::signal_number("SIGkill"), Some(9));
/// assert_eq!(control::signal_number("0"), None);
/// ```
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return is_signal(number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&name).ok().map(|signal| signal as i32)
}

/// The name of the signal, without `SIG`, where it has one.
pub fn signal_name(number: i32) -> Option<&'static str> {
    Signal::try_from(number).ok().map(|signal| signal.as_str().trim_start_matches("SIG"))
}

/// Linux knows signals 1 to 64.
pub(crate) fn is_signal(number: i32) -> bool {
    (1..=64).contains(&number)
}

pub(crate) fn check_name(what: &str, name: &str) -> Result<(), ApiError> {
    if is_name(name) { Ok(()) } else { Err(bad_name(what, name)) }
}

pub(crate) fn check_target(target: &str) -> Result<(), ApiError> {
    if is_target(target) { Ok(()) } else { Err(bad_name("worker", target)) }
}

fn bad_name(what: &str, name: &str) -> ApiError {
    let shown: String = name.chars().take(60).collect();
    ApiError::new(ErrorCode::Usage, format!("{shown:?} cannot be the name of a {what}")).hint(hint_to(name))
}

/// What a name has to be that this one is not.
pub(crate) fn hint_to(name: &str) -> &'static str {
    if name.len() > LONGEST {
        "a name has at most 200 letters, digits, '-', '_' and '.'"
    } else {
        "a name has letters, digits, '-', '_' and '.', and is not digits alone"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_config_allows() {
        for good in ["a", "reader", "r-2.b_C", "1a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "12", "a b", "a/b", "..", ".", "a:0", "ü", &"x".repeat(201)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn an_instance_is_a_plain_number_behind_a_colon() {
        for good in ["a", "a:0", "a:12"] {
            assert!(is_target(good), "{good}");
        }
        for bad in ["a:", "a:+1", "a:x", ":0", "a:0:1", "a:99999999999"] {
            assert!(!is_target(bad), "{bad}");
        }
    }

    #[test]
    fn signals_go_by_number_and_by_name() {
        assert_eq!(signal_number("hup"), Some(1));
        assert_eq!(signal_number("SIGINT"), Some(2));
        assert_eq!(signal_number("64"), Some(64));
        for bad in ["", "65", "-1", "NOPE", "SIG"] {
            assert_eq!(signal_number(bad), None, "{bad}");
        }
        assert_eq!(signal_name(9), Some("KILL"));
        assert_eq!(signal_name(50), None);
    }
}
