//! Signals by name.

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::form::Form;
use crate::node::Node;
use crate::problem::{Complaint, nearest, quoted};
use crate::reading::Reading;
use crate::text::text_schema;

/// A signal that can ask a process to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Signal(pub i32);

/// Linux's numbers on all its architectures but MIPS, SPARC and PA-RISC.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// No process ever hears of it, so that it cannot ask for anything.
const STOP: i32 = 19;
/// The first and the last real-time signal that C libraries leave to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;
const EXPECTED: &str = "a signal like \"TERM\"";

impl Signal {
    pub const TERM: Signal = Signal(15);
    pub const HUP: Signal = Signal(1);

    fn from_number(number: i32) -> Option<Signal> {
        (SIGNALS.iter().any(|(_, known)| *known == number) || (RTMIN..=RTMAX).contains(&number))
            .then_some(Signal(number))
    }

    fn from_name(name: &str) -> Option<Signal> {
        let name = name.strip_prefix("SIG").unwrap_or(name);
        if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
            return Some(Signal(*number));
        }
        let steps = |digits: &str| {
            let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<i32>().ok())?
        };
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(""), _) => RTMIN,
            (_, Some("")) => RTMAX,
            (Some(rest), _) => RTMIN + steps(rest.strip_prefix('+')?)?,
            (_, Some(rest)) => RTMAX - steps(rest.strip_prefix('-')?)?,
            (None, None) => return None,
        };
        (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
    }
}

impl Form for Signal {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Signal> {
        let signal = match node.value {
            Value::NumberLit(literal) => {
                let number = crate::measure::number(literal.value);
                let whole = (number.fract() == 0.0).then_some(number as i32);
                whole.and_then(Signal::from_number).or_else(|| {
                    let shown = crate::problem::clipped(literal.value);
                    reading.refuse(node, Complaint::new(format!("no signal has the number {shown}")))
                })?
            }
            Value::StringLit(_) => {
                let text = reading.text(node, EXPECTED)?;
                let Some(signal) = Signal::from_name(&text) else {
                    return reading.refuse(node, unknown(&text));
                };
                signal
            }
            _ => return reading.wrong(node, EXPECTED),
        };
        if signal.0 == STOP {
            let complaint = Complaint::new("STOP pauses a process and cannot ask it to stop");
            return reading.refuse(node, complaint.hint("the usual one is \"TERM\""));
        }
        Some(signal)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> =
            SIGNALS.iter().filter(|(_, number)| *number != STOP).map(|(name, _)| *name).collect();
        let steps = "([0-9]|[0-2][0-9]|30)";
        let pattern = format!("^(SIG)?({}|RTMIN(\\+{steps})?|RTMAX(-{steps})?)$", names.join("|"));
        let name = text_schema(generator, json_schema!({ "type": "string", "pattern": pattern }));
        // Between the last plain signal and the first real-time one lie those that C libraries keep for themselves.
        let nobodys: Vec<i32> = std::iter::once(STOP).chain(SIGNALS.len() as i32 + 1..RTMIN).collect();
        let number =
            json_schema!({ "type": "integer", "minimum": 1, "maximum": RTMAX, "not": { "enum": nobodys } });
        json_schema!({ "anyOf": [name, number] })
    }

    fn written(&self) -> Option<Json> {
        let name = SIGNALS.iter().find(|(_, number)| *number == self.0).map(|(name, _)| (*name).into());
        Some(name.unwrap_or_else(|| self.0.into()))
    }
}

fn unknown(text: &str) -> Complaint {
    let complaint = Complaint::new(format!("unknown signal {}", quoted(text)));
    if let Some(signal) = text.parse().ok().and_then(Signal::from_number) {
        return complaint.hint(format!("write a number without quotes: {}", signal.0));
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    match nearest(name, SIGNALS.iter().map(|(name, _)| *name)) {
        Some(name) => complaint.hint(format!("did you mean {}?", quoted(name))),
        None => complaint.hint("a name like \"TERM\", \"INT\", \"HUP\" or \"USR1\", or a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_with_and_without_sig() {
        for (name, number) in
            [("TERM", 15), ("SIGTERM", 15), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)]
        {
            assert_eq!(Signal::from_name(name), Some(Signal(number)), "{name}");
        }
        for name in ["", "SIG", "term", "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMIN+", "RTMIN++1", "15"] {
            assert_eq!(Signal::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_names_are_those_of_this_system() {
        // The shell of the machine knows the numbers; a list typed by hand should be held to it.
        let Ok(output) = std::process::Command::new("bash").args(["-c", "kill -l"]).output() else {
            return eprintln!("skipped: no bash here to ask for its signals");
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let words: Vec<&str> = text.split_whitespace().collect();
        for pair in words.chunks(2) {
            let [number, name] = pair else { continue };
            let number = number.trim_end_matches(')').parse().expect("a number stands before each name");
            assert_eq!(Signal::from_name(name), Some(Signal(number)), "{name}");
        }
    }
}
