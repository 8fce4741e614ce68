//! What a worker may use at most, and how it is preferred to others: amounts with two sides, priorities, processors.

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::form::{Form, object_schema};
use crate::measure::{Length, Size, Whole};
use crate::node::Node;
use crate::plan::{IoPriority, Optional};
use crate::problem::{Complaint, quoted};
use crate::reading::Reading;
use crate::text::text_schema;

/// The word for no limit.
const UNLIMITED: &str = "unlimited";

/// An amount of what a process may use, in the unit that the kernel counts.
pub(crate) trait Amount: Form + Copy {
    /// A second in the unit of durations; whatever for others.
    fn amount(self) -> u64;
}

impl<const MIN: i64, const MAX: i64> Amount for Whole<MIN, MAX> {
    fn amount(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl<const MIN: u64, const MAX: u64> Amount for Size<MIN, MAX> {
    fn amount(self) -> u64 {
        self.0
    }
}

/// A duration that the kernel counts in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(Length<true, { 365 * 24 * 3600 }>);

/// A duration that the kernel counts in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Microseconds(Length<true, { 365 * 24 * 3600 }>);

/// A duration is a form of its own only for the unit it is handed on in.
macro_rules! durations {
    ($( $name:ident $length:ident => $amount:expr; )+) => { $(
        impl Form for $name {
            fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
                Form::read(node, reading).map($name)
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                Length::<true, { 365 * 24 * 3600 }>::schema(generator)
            }

            fn written(&self) -> Option<Json> {
                self.0.written()
            }
        }

        impl Amount for $name {
            fn amount(self) -> u64 {
                let Length($length) = self.0;
                $amount
            }
        }
    )+ };
}

durations! {
    // Less than a second is one: none would be no time at all.
    Seconds length => length.as_secs() + u64::from(length.subsec_nanos() > 0);
    Microseconds length => u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
}

/// An amount, or none: `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Most(u64);

impl Most {
    fn read<T: Amount>(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Most> {
        match node.value {
            Value::StringLit(literal) if literal.value == UNLIMITED => Some(Most(u64::MAX)),
            _ => T::read(node, reading).map(|amount| Most(amount.amount())),
        }
    }

    fn schema<T: Amount>(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [T::schema(generator), { "enum": [UNLIMITED] }] })
    }
}

/// A limit of a process: one amount for what is enforced and for how far it may be raised, or one for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound<T> {
    pub soft: u64,
    pub hard: u64,
    unit: std::marker::PhantomData<T>,
}

impl<T: Amount> Form for Bound<T> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Bound<T>> {
        let Value::Object(_) = node.value else {
            let Most(both) = Most::read::<T>(node, reading)?;
            return Some(Bound { soft: both, hard: both, unit: std::marker::PhantomData });
        };
        let keys = ["soft", "hard"];
        let fields = reading.fields(node, &keys, &keys)?;
        let side = |key, reading: &mut Reading<'_>| Most::read::<T>(&fields.get(key)?, reading);
        let (soft, hard) = (side("soft", reading), side("hard", reading));
        let (Most(soft), Most(hard)) = (soft?, hard?);
        if soft > hard {
            return reading.refuse(node, Complaint::new("\"soft\" must be at most \"hard\""));
        }
        Some(Bound { soft, hard, unit: std::marker::PhantomData })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        properties.insert("soft".to_owned(), Most::schema::<T>(generator).to_value());
        properties.insert("hard".to_owned(), Most::schema::<T>(generator).to_value());
        let about = "What is enforced, and how far the worker may raise that.";
        let both = object_schema(about, properties, &["soft", "hard"]);
        json_schema!({ "anyOf": [Most::schema::<T>(generator), both] })
    }

    fn written(&self) -> Option<Json> {
        // No default has one.
        None
    }
}

/// A priority of input and output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoNice(pub IoPriority);

impl IoNice {
    /// `idle`, `best-effort`, `best-effort:4`, `realtime:0`.
    fn parse(text: &str) -> Option<IoNice> {
        /// In the middle, as the kernel has it.
        const USUAL: u8 = 4;
        let (class, level) = match text.split_once(':') {
            Some((class, level)) if level.len() == 1 => {
                (class, level.parse().ok().filter(|level| *level <= 7)?)
            }
            Some(_) => return None,
            None => (text, USUAL),
        };
        match class {
            "idle" if !text.contains(':') => Some(IoNice(IoPriority::Idle)),
            "best-effort" => Some(IoNice(IoPriority::BestEffort(level))),
            "realtime" => Some(IoNice(IoPriority::Realtime(level))),
            _ => None,
        }
    }
}

impl Form for IoNice {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<IoNice> {
        const EXPECTED: &str = "\"idle\", \"best-effort:4\" or \"realtime:4\" (0 is the first of 8 levels)";
        let text = reading.text(node, EXPECTED)?;
        IoNice::parse(&text).or_else(|| {
            reading.refuse(node, Complaint::new(format!("expected {EXPECTED}, found {}", quoted(&text))))
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let pattern = "^(idle|(best-effort|realtime)(:[0-7])?)$";
        text_schema(generator, json_schema!({ "type": "string", "pattern": pattern }))
    }

    fn written(&self) -> Option<Json> {
        None
    }
}

/// Processors by their numbers, each once, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpus(pub Vec<u16>);

impl Cpus {
    /// The highest number there can be.
    const LAST: u16 = 8191;

    /// `0`, `0-3`, `0-3,8`.
    fn parse(text: &str) -> Option<Cpus> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| digits && *number <= Cpus::LAST)
        };
        let mut found = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            found.extend(first..=last);
        }
        found.sort_unstable();
        found.dedup();
        Some(Cpus(found))
    }
}

impl Form for Cpus {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Cpus> {
        const EXPECTED: &str = "processors like \"0-3\" or \"0,2\"";
        let text = reading.text(node, EXPECTED)?;
        Cpus::parse(&text).or_else(|| {
            reading.refuse(node, Complaint::new(format!("expected {EXPECTED}, found {}", quoted(&text))))
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let pattern = "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$";
        text_schema(generator, json_schema!({ "type": "string", "pattern": pattern }))
    }

    fn written(&self) -> Option<Json> {
        None
    }
}

/// What a worker can do without.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dispensable(pub Vec<Optional>);

impl Form for Dispensable {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Dispensable> {
        let Value::Array(array) = node.value else { return reading.wrong(node, "a list of keys") };
        let known: Vec<&str> = Optional::ALL.iter().map(|optional| optional.key()).collect();
        let mut found = Vec::new();
        for (index, element) in array.elements.iter().enumerate() {
            let element = node.element(index, element);
            let Some(key) = reading.text(&element, "a key of the worker's") else { continue };
            match Optional::ALL.iter().find(|optional| optional.key() == key) {
                Some(optional) => found.push(*optional),
                None => drop(reading.unknown_word::<()>(&element, &key, &known)),
            }
        }
        Some(Dispensable(found))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let known: Vec<&str> = Optional::ALL.iter().map(|optional| optional.key()).collect();
        let items = text_schema(generator, json_schema!({ "enum": known }));
        json_schema!({ "type": "array", "items": items })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.iter().map(|optional| Json::from(optional.key())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_numbers_and_ranges_in_any_order() {
        let parsed = |text: &str| Cpus::parse(text).map(|Cpus(numbers)| numbers);
        assert_eq!(parsed("3,0-1,1"), Some(vec![0, 1, 3]));
        for wrong in ["", "a", "1-", "-1", "3-1", "1,,2", "+1", "8192", "0-99999"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_priority_of_input_and_output_has_a_class_and_perhaps_a_level() {
        let parsed = |text: &str| IoNice::parse(text).map(|IoNice(priority)| priority);
        assert_eq!(parsed("idle"), Some(IoPriority::Idle));
        assert_eq!(parsed("best-effort"), Some(IoPriority::BestEffort(4)));
        assert_eq!(parsed("realtime:0"), Some(IoPriority::Realtime(0)));
        for wrong in ["", "idle:1", "best-effort:8", "best-effort:", "best-effort:+1", "none"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
