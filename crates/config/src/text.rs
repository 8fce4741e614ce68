//! Forms of strings: plain text, names, words out of a list, octal masks.

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::form::Form;
use crate::node::Node;
use crate::problem::{Complaint, quoted};
use crate::reading::Reading;

/// The schema of a string: what it must look like, or that it takes something from the environment.
pub(crate) fn text_schema(generator: &mut SchemaGenerator, constraint: Schema) -> Schema {
    json_schema!({ "anyOf": [constraint, generator.subschema_for::<Expanded>()] })
}

/// Declares a schema that others refer to by name.
macro_rules! named_schema {
    ($( $name:ident: $schema:tt )+) => { $(
        pub(crate) struct $name;

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )+ };
}
pub(crate) use named_schema;

named_schema! {
    Expanded: {
        "description": "A string that takes the environment: ${NAME} or ${NAME:-default}.",
        "type": "string",
        "pattern": r"\$\{",
    }
    PlainName: {
        "description": "A name: letters, digits, -, _ and .; not digits alone.",
        "type": "string",
        "maxLength": LONGEST_NAME,
        "pattern": r"^[0-9]*[A-Za-z._-][A-Za-z0-9._-]*$",
        "not": { "enum": [".", ".."] },
    }
}

/// Any text that can be handed to an operating system: it holds no NUL.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text(pub String);

impl Form for Text {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Text> {
        let text = reading.text(node, "a string").or_else(|| {
            // The commonest slip: a number or a truth where only text goes.
            let written = match node.value {
                Value::NumberLit(literal) => literal.value,
                Value::BooleanLit(literal) if literal.value => "true",
                Value::BooleanLit(_) => "false",
                _ => return None,
            };
            let last = reading.notes.last_mut()?;
            last.complaint.hint = Some(format!("write it as {}", quoted(written)));
            None
        })?;
        if text.contains('\0') {
            return reading.refuse(node, Complaint::new("must not hold a NUL character"));
        }
        Some(Text(text))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[^\u0000]*$" })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.clone().into())
    }
}

/// Text that is not empty: a path, a program.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filled(pub String);

impl Form for Filled {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Filled> {
        let Text(text) = Text::read(node, reading)?;
        if text.is_empty() {
            return reading.refuse(node, Complaint::new("must not be empty"));
        }
        Some(Filled(text))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[^\u0000]+$" })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.clone().into())
    }
}

/// The name of a worker, a queue, a lock, … or of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Name(pub String);

const LONGEST_NAME: usize = 64;

impl Name {
    /// What is wrong with a text as a name, if anything.
    pub fn check(text: &str) -> Result<(), Complaint> {
        let ours = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() {
            Err(Complaint::new("a name must not be empty"))
        } else if text.chars().count() > LONGEST_NAME {
            Err(Complaint::new(format!(
                "a name has at most {LONGEST_NAME} characters, {} has more",
                quoted(text)
            )))
        } else if !text.chars().all(ours) {
            Err(Complaint::new(format!("{} is not a name", quoted(text)))
                .hint("names hold letters (a-z), digits, \"-\", \"_\" and \".\""))
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Err(Complaint::new(format!("{} is not a name: digits alone mean a pid", quoted(text)))
                .hint(format!("put a letter in: {}", quoted(&format!("n{text}")))))
        } else if matches!(text, "." | "..") {
            Err(Complaint::new(format!("{} is not a name: it means a folder", quoted(text))))
        } else {
            Ok(())
        }
    }
}

impl Form for Name {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Name> {
        let text = reading.text(node, "a name")?;
        match Name::check(&text) {
            Ok(()) => Some(Name(text)),
            Err(complaint) => reading.refuse(node, complaint),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let plain = generator.subschema_for::<PlainName>();
        text_schema(generator, plain)
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.clone().into())
    }
}

/// The words a value can be written with, and what each means.
pub(crate) trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
    /// What is meant when nothing is written.
    const DEFAULT: Self;
}

/// One word out of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Word<T>(pub T);

impl<T: Words> Default for Word<T> {
    fn default() -> Word<T> {
        Word(T::DEFAULT)
    }
}

impl<T: Words> Form for Word<T> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Word<T>> {
        let known: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", crate::problem::listed(known.iter().copied()));
        let text = reading.text(node, &expected)?;
        match T::WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Some(Word(*meaning)),
            None => reading.unknown_word(node, &text, &known),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        text_schema(generator, json_schema!({ "enum": words }))
    }

    fn written(&self) -> Option<Json> {
        T::WORDS.iter().find(|(_, meaning)| *meaning == self.0).map(|(word, _)| (*word).into())
    }
}

/// The permission bits that new files do not get, written in octal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Umask(pub u32);

impl Form for Umask {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Umask> {
        const EXPECTED: &str = "an octal mask like \"022\"";
        let text = reading.text(node, EXPECTED).or_else(|| {
            if let (Value::NumberLit(literal), Some(last)) = (node.value, reading.notes.last_mut()) {
                last.complaint.hint = Some(format!("write it in quotes: {}", quoted(literal.value)));
            }
            None
        })?;
        let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) && (1..=4).contains(&text.len());
        match u32::from_str_radix(&text, 8) {
            Ok(mask) if octal && mask <= 0o777 => Some(Umask(mask)),
            _ => {
                reading.refuse(node, Complaint::new(format!("expected {EXPECTED}, found {}", quoted(&text))))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        text_schema(generator, json_schema!({ "type": "string", "pattern": "^0?[0-7]{1,3}$" }))
    }

    fn written(&self) -> Option<Json> {
        Some(format!("{:03o}", self.0).into())
    }
}
