//! What a worker runs and what it is handed: its command, its arguments as JSON.

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::form::Form;
use crate::node::Node;
use crate::problem::{Complaint, clipped};
use crate::reading::{Reading, first_of_each};
use crate::text::{Filled, Text};

/// A program and its arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Argv(pub Vec<String>);

impl Form for Argv {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Argv> {
        let Value::Array(array) = node.value else { return reading.wrong(node, "a list of strings") };
        if array.elements.is_empty() {
            return reading.refuse(node, Complaint::new("must name a program, found an empty list"));
        }
        let mut arguments = Vec::with_capacity(array.elements.len());
        for (index, element) in array.elements.iter().enumerate() {
            let element = node.element(index, element);
            arguments.extend(if index == 0 {
                reading.read::<Filled>(&element).map(|Filled(program)| program)
            } else {
                reading.read::<Text>(&element).map(|Text(argument)| argument)
            });
        }
        Some(Argv(arguments))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "minItems": 1,
            "prefixItems": [Filled::schema(generator)],
            "items": Text::schema(generator),
        })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.iter().map(String::as_str).collect())
    }
}

/// A program and its arguments, or a line for the shell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Invocation {
    Argv(Argv),
    /// As it is written: the shell expands it.
    Shell(String),
}

impl Default for Invocation {
    fn default() -> Invocation {
        Invocation::Argv(Argv::default())
    }
}

impl Form for Invocation {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Invocation> {
        match node.value {
            Value::Array(_) => Argv::read(node, reading).map(Invocation::Argv),
            Value::StringLit(literal) if literal.value.trim().is_empty() => {
                reading.refuse(node, Complaint::new("must name a program, found an empty string"))
            }
            Value::StringLit(literal) if literal.value.contains('\0') => {
                reading.refuse(node, Complaint::new("must not hold a NUL character"))
            }
            Value::StringLit(literal) => Some(Invocation::Shell(literal.value.clone().into_owned())),
            _ => reading.wrong(node, "a list of strings, or a string for the shell"),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let line = json_schema!({ "type": "string", "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$" });
        json_schema!({ "anyOf": [Argv::schema(generator), line] })
    }

    fn written(&self) -> Option<Json> {
        match self {
            Invocation::Argv(argv) => argv.written(),
            Invocation::Shell(line) => Some(line.as_str().into()),
        }
    }
}

/// A list for the worker, kept as JSON text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Args(pub String);

impl Form for Args {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Args> {
        match node.value {
            Value::Array(_) => rewritten(node, reading).map(Args),
            _ => reading.wrong(node, "a list"),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array" })
    }

    fn written(&self) -> Option<Json> {
        serde_json::from_str(&self.0).ok()
    }
}

/// An object for the worker, kept as JSON text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kwargs(pub String);

impl Form for Kwargs {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Kwargs> {
        match node.value {
            Value::Object(_) => rewritten(node, reading).map(Kwargs),
            _ => reading.wrong(node, "an object"),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }

    fn written(&self) -> Option<Json> {
        serde_json::from_str(&self.0).ok()
    }
}

/// What reaches a worker through its environment: Linux takes no variable of 128 KiB or more.
const LONGEST_JSON: usize = 120 << 10;

/// A value as JSON text of one line, its strings expanded.
fn rewritten(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<String> {
    let mut text = String::new();
    rewrite(node, reading, &mut text)?;
    if text.len() > LONGEST_JSON {
        let complaint = Complaint::new(format!("must be at most 120KiB of JSON, found {} bytes", text.len()));
        return reading.refuse(node, complaint.hint("put it in a file and hand over the path"));
    }
    Some(text)
}

/// Appends a value; `None` when something in it was wrong, with all of it noted.
fn rewrite(node: &Node<'_>, reading: &mut Reading<'_>, text: &mut String) -> Option<()> {
    let mut whole = Some(());
    match node.value {
        Value::NullKeyword(_) => text.push_str("null"),
        Value::BooleanLit(literal) => text.push_str(if literal.value { "true" } else { "false" }),
        Value::NumberLit(literal) if crate::measure::number(literal.value).is_infinite() => {
            let complaint = format!("the number {} is larger than programs can read", clipped(literal.value));
            whole = reading.refuse(node, Complaint::new(complaint));
        }
        Value::NumberLit(literal) => text.push_str(literal.value),
        Value::StringLit(_) => match reading.text(node, "a string") {
            Some(string) => text.push_str(&Json::from(string).to_string()),
            None => whole = None,
        },
        Value::Array(array) => {
            text.push('[');
            for (index, element) in array.elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                whole = rewrite(&node.element(index, element), reading, text).and(whole);
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push('{');
            for (index, property) in first_of_each(object).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let key = property.name.as_str();
                text.push_str(&Json::from(key).to_string());
                text.push(':');
                whole = rewrite(&node.child(key, &property.value), reading, text).and(whole);
            }
            text.push('}');
        }
    }
    whole
}
