//! What a lesson says, as data in both languages side by side, so that neither can be forgotten.

use clap::ValueEnum;
use serde_json::{Map, Value};

/// The languages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// English
    En,
    /// 中文
    Zh,
}

impl Lang {
    /// How it is written on a command line.
    pub fn code(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh",
        }
    }
}

/// The same words in every language. `{name}` stands for the fact of that name.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// In English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
}

impl Text {
    /// In this language.
    pub fn of(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Zh => self.zh,
        }
    }
}

/// One step of a lesson.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is done.
    pub does: Text,
    /// What does it, a line each, the same in every language: `$ ` begins a command, `> ` a call.
    pub call: &'static str,
    /// What was seen, with the facts.
    pub seen: Text,
    /// What it means.
    pub means: Text,
}

/// What was seen so far, by name.
pub type Facts = Map<String, Value>;

/// Puts the facts where their names stand; a name that is no fact stays as it is, for braces of other meaning.
pub fn fill(text: &str, facts: &Facts) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after.split_once('}').and_then(|(name, after)| Some((facts.get(name)?, after))) {
            Some((value, after)) => {
                filled.push_str(&worded(value));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

/// A fact without the quotes of JSON.
pub fn worded(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(values) => values.iter().map(worded).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_stand_where_their_names_stood_and_other_braces_stay() {
        let Value::Object(facts) = json!({"pid": 7, "who": "me", "all": [1, 2]}) else { unreachable!() };
        assert_eq!(fill("{pid} {who}, {all}", &facts), "7 me, 1, 2");
        assert_eq!(fill("{\"a\": {pid}} {", &facts), "{\"a\": 7} {");
    }
}
