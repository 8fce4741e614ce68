//! Numbers with bounds: durations, sizes, whole numbers, fractions.

use std::time::Duration;

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::form::Form;
use crate::node::Node;
use crate::problem::{Complaint, clipped, quoted};
use crate::reading::Reading;
use crate::text::{Expanded, named_schema};

/// A duration of at most `MAX` seconds; more than nothing where `SOME`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Length<const SOME: bool, const MAX: u64>(pub Duration);

/// The longest duration anybody may write: a year, far from where sums of durations overflow.
const YEAR: u64 = 365 * 24 * 3600;
pub(crate) type Rest = Length<false, YEAR>;
pub(crate) type Wait = Length<true, YEAR>;
pub(crate) type Grace = Length<false, 600>;

/// The units of durations, in milliseconds.
const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
/// What else people write for them.
const DURATION_SYNONYMS: &[(&str, &str)] = &[
    ("msec", "ms"),
    ("millis", "ms"),
    ("milliseconds", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hr", "h"),
    ("hour", "h"),
    ("hours", "h"),
];
const A_DURATION: &str = "a duration like \"10s\"";

impl<const SOME: bool, const MAX: u64> Form for Length<SOME, MAX> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let (milliseconds, given) = match node.value {
            Value::NumberLit(literal) => {
                (number(literal.value) * 1000.0, format!("{}s", clipped(literal.value)))
            }
            Value::StringLit(_) => {
                let text = reading.text(node, A_DURATION)?;
                match in_units(&text, DURATIONS, DURATION_SYNONYMS) {
                    Ok(milliseconds) => (milliseconds, clipped(&text)),
                    Err(hint) => {
                        let complaint =
                            Complaint::new(format!("expected {A_DURATION}, found {}", quoted(&text)));
                        return reading.refuse(node, complaint.maybe_hint(hint));
                    }
                }
            }
            _ => return reading.wrong(node, A_DURATION),
        };
        // In nanoseconds: what is too small for them is nothing.
        let nanoseconds = (milliseconds * 1e6).round();
        let bound = if nanoseconds < 0.0 {
            "must not be negative".to_owned()
        } else if SOME && nanoseconds == 0.0 {
            "must be more than 0".to_owned()
        } else if nanoseconds > MAX as f64 * 1e9 {
            format!("must be at most {}", written(MAX * 1000, DURATIONS))
        } else {
            return Some(Length(Duration::from_nanos(nanoseconds as u64)));
        };
        reading.refuse(node, Complaint::new(format!("{bound}, found {given}")))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let least = if SOME { "exclusiveMinimum" } else { "minimum" };
        let mut plain = json_schema!({ "type": "number", "maximum": MAX });
        plain.insert(least.into(), 0.into());
        json_schema!({ "anyOf": [generator.subschema_for::<DurationText>(), plain, generator.subschema_for::<Expanded>()] })
    }

    fn written(&self) -> Option<Json> {
        Some(written(self.0.as_millis().try_into().ok()?, DURATIONS).into())
    }
}

named_schema! {
    DurationText: {
        "description": "A duration: \"250ms\", \"10s\", \"5m\", \"1h\". A plain number means seconds.",
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$",
    }
    SizeText: {
        "description": "A size: \"64KiB\", \"1GiB\". A plain number means bytes.",
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB)$",
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size<const MIN: u64, const MAX: u64>(pub u64);

pub(crate) const GIB: u64 = 1 << 30;
/// The largest size anybody may write, a PiB: exact as a floating-point number too.
pub(crate) const PIB: u64 = 1 << 50;

const SIZES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", GIB), ("TiB", 1 << 40)];
const SIZE_SYNONYMS: &[(&str, &str)] = &[
    ("k", "KiB"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gib", "GiB"),
    ("t", "TiB"),
    ("tb", "TiB"),
    ("tib", "TiB"),
    ("bytes", "B"),
    ("b", "B"),
];
const A_SIZE: &str = "a size like \"64KiB\"";

impl<const MIN: u64, const MAX: u64> Form for Size<MIN, MAX> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let (bytes, given) = match node.value {
            Value::NumberLit(literal) => (number(literal.value), clipped(literal.value)),
            Value::StringLit(_) => {
                let text = reading.text(node, A_SIZE)?;
                match in_units(&text, SIZES, SIZE_SYNONYMS) {
                    Ok(bytes) => (bytes.round(), clipped(&text)),
                    Err(hint) => {
                        let complaint = Complaint::new(format!("expected {A_SIZE}, found {}", quoted(&text)));
                        return reading.refuse(node, complaint.maybe_hint(hint));
                    }
                }
            }
            _ => return reading.wrong(node, A_SIZE),
        };
        let bound = if bytes < 0.0 {
            "must not be negative".to_owned()
        } else if bytes < MIN as f64 {
            format!("must be at least {}", written(MIN, SIZES))
        } else if bytes > MAX as f64 {
            format!("must be at most {}", written(MAX, SIZES))
        } else if bytes.fract() != 0.0 {
            "must be a whole number of bytes".to_owned()
        } else {
            return Some(Size(bytes as u64));
        };
        reading.refuse(node, Complaint::new(format!("{bound}, found {given}")))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let plain = json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX });
        json_schema!({ "anyOf": [generator.subschema_for::<SizeText>(), plain, generator.subschema_for::<Expanded>()] })
    }

    fn written(&self) -> Option<Json> {
        Some(written(self.0, SIZES).into())
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Whole<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> Default for Whole<MIN, MAX> {
    fn default() -> Self {
        Whole(MIN)
    }
}

impl<const MIN: i64, const MAX: i64> Form for Whole<MIN, MAX> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let Value::NumberLit(literal) = node.value else { return reading.wrong(node, "a whole number") };
        // Digits alone are taken exactly; `1e3` and `5.0` are whole numbers too, by way of a floating-point number.
        let given = literal.value.parse::<i128>().ok().or_else(|| {
            let value = number(literal.value);
            // The cast saturates, and what it saturates to is out of every bound.
            (value.fract() == 0.0 || value.is_infinite()).then_some(value as i128)
        });
        let bound = match given {
            None => "must be a whole number".to_owned(),
            Some(given) if given < i128::from(MIN) && MIN == 0 => "must not be negative".to_owned(),
            Some(given) if given < i128::from(MIN) => format!("must be at least {MIN}"),
            Some(given) if given > i128::from(MAX) => format!("must be at most {MAX}"),
            Some(given) => return i64::try_from(given).ok().map(Whole),
        };
        reading.refuse(node, Complaint::new(format!("{bound}, found {}", clipped(literal.value))))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.into())
    }
}

/// A number between bounds that are given in hundredths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fraction<const MIN: u32, const MAX: u32>(pub f64);

impl<const MIN: u32, const MAX: u32> Form for Fraction<MIN, MAX> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let Value::NumberLit(literal) = node.value else { return reading.wrong(node, "a number") };
        let (least, most) = (hundredths(MIN), hundredths(MAX));
        let value = number(literal.value);
        let bound = if value < 0.0 && MIN == 0 {
            "must not be negative".to_owned()
        } else if value < least {
            format!("must be at least {least}")
        } else if value > most {
            format!("must be at most {most}")
        } else {
            return Some(Fraction(value));
        };
        reading.refuse(node, Complaint::new(format!("{bound}, found {}", clipped(literal.value))))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": short(hundredths(MIN)), "maximum": short(hundredths(MAX)) })
    }

    fn written(&self) -> Option<Json> {
        Some(short(self.0))
    }
}

fn hundredths(bound: u32) -> f64 {
    f64::from(bound) / 100.0
}

/// `2` rather than `2.0`, as a person writes it.
fn short(value: f64) -> Json {
    if value.fract() == 0.0 { (value as i64).into() } else { value.into() }
}

/// The value of a JSON number; infinite when it is beyond all bounds.
pub(crate) fn number(literal: &str) -> f64 {
    // What the parser took for a number has one; a number that is no number is beyond every bound.
    literal.parse().unwrap_or(f64::INFINITY)
}

/// The value of `1.5h`, in the unit whose worth is 1; else perhaps a hint.
fn in_units(text: &str, units: &[(&str, u64)], synonyms: &[(&str, &str)]) -> Result<f64, Option<String>> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let digits = amount.strip_prefix('-').unwrap_or(amount);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) {
        return Err(None);
    }
    if let Some((_, worth)) = units.iter().find(|(name, _)| *name == unit) {
        return Ok(number(amount) * *worth as f64);
    }
    let meant = unit.trim();
    if meant.is_empty() {
        let (plain, unit) = if units.len() == DURATIONS.len() { ("seconds", "s") } else { ("bytes", "KiB") };
        return Err(Some(format!(
            "add a unit: {}; a plain number means {plain}",
            quoted(&format!("{amount}{unit}"))
        )));
    }
    let known = units.iter().map(|(name, _)| (*name, *name)).chain(synonyms.iter().copied());
    let ours = known.into_iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(meant)).map(|(_, ours)| ours);
    Err(Some(match ours {
        Some(ours) => format!("did you mean {}?", quoted(&format!("{amount}{ours}"))),
        None => {
            format!("the units are {}", units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
        }
    }))
}

/// An amount in the largest unit that divides it.
fn written(amount: u64, units: &[(&str, u64)]) -> String {
    let (name, worth) = units
        .iter()
        .rev()
        .find(|(_, worth)| amount >= *worth && amount.is_multiple_of(*worth))
        .unwrap_or(&units[0]);
    format!("{}{name}", amount / worth)
}
