//! What the config knows but the program does not do yet: refused by name, never ignored.

use jsonc_parser::ast::Value;

/// An option, or one form of it, that is not offered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotYet {
    /// The keys from the root; `*` stands for any name.
    pub path: &'static str,
    /// The one value that is refused; every value where there is none.
    pub value: Option<bool>,
    /// What a person is told is not offered.
    pub what: &'static str,
}

/// Take a row out to offer what it names: reader and schema follow. All is offered now.
pub(crate) const NOT_YET: &[NotYet] = &[];

/// Rows for tests: what they name is refused by name, and not in the schema.
#[cfg(test)]
pub(crate) const SAMPLE: &[NotYet] = &[
    NotYet { path: "workers.*.ready.fd", value: None, what: r#"{"fd": …}"# },
    NotYet { path: "workers.*.clear_env", value: Some(true), what: r#""clear_env": true"# },
    NotYet { path: "workers.*.stop", value: None, what: r#""stop""# },
];

impl NotYet {
    /// Whether this row is about a value that these keys lead to from the root.
    pub fn refuses(&self, keys: &[&str], value: &Value<'_>) -> bool {
        let mut pattern = self.path.split('.');
        let same_path = keys.iter().all(|key| pattern.next().is_some_and(|step| step == "*" || step == *key))
            && pattern.next().is_none();
        same_path
            && match (self.value, value) {
                (None, _) => true,
                (Some(refused), Value::BooleanLit(given)) => given.value == refused,
                (Some(_), _) => false,
            }
    }
}
