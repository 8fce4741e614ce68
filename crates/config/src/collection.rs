//! Forms of lists and of objects whose keys are names.

use std::collections::HashSet;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::form::Form;
use crate::node::Node;
use crate::problem::{Complaint, quoted};
use crate::reading::{Reading, first_of_each};
use crate::text::{Name, PlainName, Text};

/// A value that remembers where it stands, for problems that only show when the whole file is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placed<T> {
    pub value: T,
    pub at: usize,
}

impl<T: Form> Form for Placed<T> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Placed<T>> {
        Some(Placed { value: T::read(node, reading)?, at: node.at() })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }

    fn written(&self) -> Option<Json> {
        self.value.written()
    }
}

/// Whatever a list holds, with its place in the list.
fn elements<T: Form>(node: &Node<'_>, reading: &mut Reading<'_>, expected: &str) -> Option<Vec<(usize, T)>> {
    let Value::Array(array) = node.value else { return reading.wrong(node, expected) };
    let mut read = Vec::with_capacity(array.elements.len());
    for (index, element) in array.elements.iter().enumerate() {
        read.extend(reading.read(&node.element(index, element)).map(|value| (index, value)));
    }
    Some(read)
}

impl<T: Form> Form for Vec<T> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Vec<T>> {
        Some(elements(node, reading, "a list")?.into_iter().map(|(_, value)| value).collect())
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::schema(generator) })
    }

    fn written(&self) -> Option<Json> {
        Some(self.iter().filter_map(T::written).collect())
    }
}

/// One of [`Names`].
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub name: String,
    pub index: usize,
    pub at: usize,
}

/// A list of names, each of them once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(pub Vec<Listed>);

impl Names {
    pub fn into_strings(self) -> Vec<String> {
        self.0.into_iter().map(|listed| listed.name).collect()
    }
}

impl Form for Names {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Names> {
        let read = elements::<Placed<Name>>(node, reading, "a list of names")?;
        let mut seen = HashSet::new();
        for (index, Placed { value: Name(name), at }) in &read {
            if !seen.insert(name.as_str()) {
                let path = crate::node::Path::Index(&node.path, *index);
                reading.note_at(&path, *at, Complaint::new(format!("{} is listed twice", quoted(name))));
            }
        }
        let listed = |(index, Placed { value: Name(name), at })| Listed { name, index, at };
        Some(Names(read.into_iter().map(listed).collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": Name::schema(generator), "uniqueItems": true })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.iter().map(|listed| listed.name.as_str()).collect())
    }
}

/// One entry of [`Named`].
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub name: String,
    /// Where its key stands.
    pub key_at: usize,
    pub value: T,
}

/// An object whose keys are names, in the order of the file; at least `MIN` of them.
#[derive(Clone, Debug)]
pub(crate) struct Named<T, const MIN: usize = 0>(pub Vec<Entry<T>>);

impl<T, const MIN: usize> Default for Named<T, MIN> {
    fn default() -> Self {
        Named(Vec::new())
    }
}

impl<T: Form + Default, const MIN: usize> Form for Named<T, MIN> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let Value::Object(object) = node.value else {
            return reading.wrong(node, "an object with names as keys");
        };
        let mut entries = Vec::with_capacity(object.properties.len());
        for property in first_of_each(object) {
            let name = property.name.as_str();
            let key_at = property.name.range().start;
            if let Err(complaint) = Name::check(name) {
                reading.note_at(&node.path.key(name), key_at, complaint);
            }
            // An entry that is wrong still exists: what refers to it is not wrong too.
            let value = reading.read(&node.child(name, &property.value)).unwrap_or_default();
            entries.push(Entry { name: name.to_owned(), key_at, value });
        }
        if entries.len() < MIN {
            let complaint = Complaint::new("nothing to run: there are no workers");
            reading.note(node, complaint.hint(r#"add one: "hello": {"command": ["echo", "hello"]}"#));
        }
        Some(Named(entries))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({
            "type": "object",
            "propertyNames": generator.subschema_for::<PlainName>(),
            "additionalProperties": T::schema(generator),
        });
        if MIN > 0 {
            schema.insert("minProperties".into(), MIN.into());
        }
        schema
    }

    fn written(&self) -> Option<Json> {
        let entry = |entry: &Entry<T>| Some((entry.name.clone(), entry.value.written()?));
        // Where some must be given, giving none is no default.
        (MIN == 0).then(|| self.0.iter().filter_map(entry).collect())
    }
}

/// Environment variables, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env(pub Vec<(String, String)>);

impl Form for Env {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Env> {
        let Value::Object(object) = node.value else { return reading.wrong(node, "an object of strings") };
        let mut variables = Vec::with_capacity(object.properties.len());
        for property in first_of_each(object) {
            let name = property.name.as_str();
            if let Err(complaint) = check_variable(name) {
                reading.note_at(&node.path.key(name), property.name.range().start, complaint);
            }
            let value = reading.read(&node.child(name, &property.value));
            variables.extend(value.map(|Text(value)| (name.to_owned(), value)));
        }
        Some(Env(variables))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": r"^[^=\u0000]+$" },
            "additionalProperties": Text::schema(generator),
        })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect())
    }
}

/// What is wrong with a text as the name of an environment variable, if anything.
pub(crate) fn check_variable(name: &str) -> Result<(), Complaint> {
    if name.is_empty() {
        Err(Complaint::new("the name of a variable must not be empty"))
    } else if name.contains('=') {
        Err(Complaint::new("the name of a variable must not hold \"=\""))
    } else if name.contains('\0') {
        Err(Complaint::new("the name of a variable must not hold a NUL character"))
    } else {
        Ok(())
    }
}
