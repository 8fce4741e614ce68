//! One walk through a config: what is wrong is noted on the way instead of ending it.

use std::collections::{HashMap, HashSet};

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;

use crate::Surroundings;
use crate::expansion::expand;
use crate::form::Form;
use crate::node::{Node, Path};
use crate::not_yet::NotYet;
use crate::problem::{Complaint, did_you_mean, listed, nearest, quoted};

/// A problem whose place is still a byte of the text.
pub(crate) struct Note {
    pub path: String,
    /// The keys of that path as far as the first list, by which it is looked up in the schema.
    pub keys: Vec<String>,
    pub at: usize,
    pub complaint: Complaint,
}

/// One reading of a config: what surrounds it, and what was found wrong so far.
pub(crate) struct Reading<'r> {
    pub surroundings: &'r dyn Surroundings,
    pub not_yet: &'r [NotYet],
    pub notes: Vec<Note>,
}

impl Reading<'_> {
    /// Reads a value as the form that is wanted, unless that is not offered yet.
    pub fn read<T: Form>(&mut self, node: &Node<'_>) -> Option<T> {
        let keys = node.path.keys();
        if let Some(row) = self.not_yet.iter().find(|row| row.refuses(&keys, node.value)) {
            self.note(node, Complaint::new(format!("{} is not offered yet", row.what)));
            return None;
        }
        T::read(node, self)
    }

    pub fn note(&mut self, node: &Node<'_>, complaint: Complaint) {
        self.note_at(&node.path, node.at(), complaint);
    }

    pub fn note_at(&mut self, path: &Path<'_>, at: usize, complaint: Complaint) {
        self.notes.push(Note { path: path.to_string(), keys: path.keys_to_a_list(), at, complaint });
    }

    /// Notes a value of the wrong type; gives `None` for the caller to give back.
    pub fn wrong<T>(&mut self, node: &Node<'_>, expected: &str) -> Option<T> {
        let mut complaint = Complaint::new(format!("expected {expected}, found {}", kind(node.value)));
        if matches!(node.value, Value::NullKeyword(_)) {
            complaint = complaint.hint("leave the key out to get its default");
        }
        self.refuse(node, complaint)
    }

    /// Notes a complaint; gives `None` for the caller to give back.
    pub fn refuse<T>(&mut self, node: &Node<'_>, complaint: Complaint) -> Option<T> {
        self.note(node, complaint);
        None
    }

    /// The text of a string, its `${NAME}`s replaced.
    pub fn text(&mut self, node: &Node<'_>, expected: &str) -> Option<String> {
        let Value::StringLit(literal) = node.value else { return self.wrong(node, expected) };
        match expand(&literal.value, self.surroundings) {
            Ok(text) => Some(text),
            Err(complaints) => {
                for complaint in complaints {
                    self.note(node, complaint);
                }
                None
            }
        }
    }

    /// The fields of an object that takes only these keys.
    pub fn fields<'n>(&mut self, node: &'n Node<'n>, keys: &[&str], required: &[&str]) -> Option<Fields<'n>> {
        let Value::Object(object) = node.value else { return self.wrong(node, "an object") };
        let mut meant = Vec::new();
        for property in first_of_each(object) {
            let key = property.name.as_str();
            if keys.contains(&key) {
                continue;
            }
            let suggestion = synonym(key, keys).or_else(|| nearest(key, keys.iter().copied()));
            let complaint = Complaint::new(format!("unknown key {}", quoted(key)));
            let complaint = match suggestion {
                Some(word) => complaint.hint(format!("did you mean {}?", quoted(word))),
                None if keys.len() <= 8 => {
                    complaint.hint(format!("keys here: {}", listed(keys.iter().copied())))
                }
                None => complaint,
            };
            meant.extend(suggestion);
            self.note_at(&node.path.key(key), property.name.range().start, complaint);
        }
        for key in required {
            // Whoever wrote "comand" has been told already.
            if object.get(key).is_none() && !meant.contains(key) {
                let complaint = Complaint::new(format!("the key {} is missing", quoted(key)));
                self.note(node, complaint.hint(format!("add it: {}: …", quoted(key))));
            }
        }
        Some(Fields { node, object })
    }

    /// Notes where not exactly one of these fields is given.
    pub fn one_of<'n>(&mut self, node: &Node<'_>, fields: &Fields<'n>, keys: &[&'n str]) {
        if keys.iter().filter(|key| fields.get(key).is_some()).count() != 1 {
            let keys = listed(keys.iter().copied());
            self.note(node, Complaint::new(format!("expected exactly one of the keys {keys}")));
        }
    }

    /// The one key, and its value, of an object like `{"queue": "jobs"}`.
    pub fn only_field<'n>(
        &mut self,
        node: &'n Node<'n>,
        keys: &[&'static str],
    ) -> Option<(&'static str, Node<'n>)> {
        let before = self.notes.len();
        let fields = self.fields(node, keys, &[])?;
        let given: Vec<_> = keys.iter().filter_map(|key| Some((*key, fields.get(key)?))).collect();
        match given.as_slice() {
            [(key, child)] => Some((*key, *child)),
            // Unknown keys have been noted already.
            [] if self.notes.len() > before => None,
            _ => {
                let expected = if keys.len() == 1 { "the key" } else { "exactly one key of" };
                self.refuse(
                    node,
                    Complaint::new(format!("expected {expected} {}", listed(keys.iter().copied()))),
                )
            }
        }
    }

    /// Notes that a word is none of those that are known.
    pub fn unknown_word<T>(&mut self, node: &Node<'_>, given: &str, known: &[&str]) -> Option<T> {
        let complaint = Complaint::new(format!("unknown value {}", quoted(given)));
        let hint = did_you_mean(given, known.iter().copied())
            .unwrap_or_else(|| format!("one of {}", listed(known.iter().copied())));
        self.refuse(node, complaint.hint(hint))
    }
}

/// The fields of an object whose keys are known.
pub(crate) struct Fields<'n> {
    node: &'n Node<'n>,
    object: &'n Object<'n>,
}

impl<'n> Fields<'n> {
    pub fn get(&self, key: &'n str) -> Option<Node<'n>> {
        self.object.get(key).map(|property| self.node.child(key, &property.value))
    }

    /// Reads a field; `None` when it is absent or wrong.
    pub fn take<T: Form>(&self, key: &'static str, reading: &mut Reading<'_>) -> Option<T> {
        reading.read(&self.get(key)?)
    }
}

/// What other programs call our keys.
const SYNONYMS: &[(&str, &str)] = &[
    ("cmd", "command"),
    ("exec", "command"),
    ("run", "command"),
    ("environment", "env"),
    ("depends_on", "after"),
    ("requires", "after"),
    ("replicas", "instances"),
    ("numprocs", "instances"),
    ("count", "instances"),
    ("directory", "cwd"),
    ("workdir", "cwd"),
    ("working_dir", "cwd"),
    ("timeout", "grace"),
    ("retries", "restarts"),
    ("processes", "workers"),
    ("services", "workers"),
    ("programs", "workers"),
    ("size", "capacity"),
    ("maxsize", "capacity"),
];

fn synonym<'k>(given: &str, keys: &[&'k str]) -> Option<&'k str> {
    let given = given.to_lowercase().replace('-', "_");
    let (_, ours) = SYNONYMS.iter().find(|(theirs, ours)| *theirs == given && keys.contains(ours))?;
    keys.iter().copied().find(|key| key == ours)
}

/// The properties of an object without those whose key came before.
pub(crate) fn first_of_each<'n>(object: &'n Object<'n>) -> impl Iterator<Item = &'n ObjectProp<'n>> {
    let mut seen = HashSet::new();
    object.properties.iter().filter(move |property| seen.insert(property.name.as_str()))
}

/// Notes every key that its object has already.
pub(crate) fn note_repeated_keys(
    node: &Node<'_>,
    locate: &dyn Fn(usize) -> (usize, usize),
    reading: &mut Reading<'_>,
) {
    match node.value {
        Value::Object(object) => {
            let mut seen = HashMap::new();
            for property in &object.properties {
                let (key, at) = (property.name.as_str(), property.name.range().start);
                if let Some(first) = seen.get(key) {
                    let (line, column) = locate(*first);
                    let complaint = Complaint::new(format!("the key {} is given twice", quoted(key)));
                    reading.note_at(
                        &node.path.key(key),
                        at,
                        complaint.hint(format!("it stands at {line}:{column} already")),
                    );
                } else {
                    seen.insert(key, at);
                }
                note_repeated_keys(&node.child(key, &property.value), locate, reading);
            }
        }
        Value::Array(array) => {
            for (index, element) in array.elements.iter().enumerate() {
                note_repeated_keys(&node.element(index, element), locate, reading);
            }
        }
        _ => {}
    }
}

fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(literal) if literal.value => "true",
        Value::BooleanLit(_) => "false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}
