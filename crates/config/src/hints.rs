//! What to do about a problem where whoever found it knew no better: what the schema says of the key that it stands at.

use serde_json::Value as Json;

/// Where the problem is the file as a whole, or stands at nothing that a config knows.
const ANYTHING: &str = "`supervisor schema` prints all that a config can say";

/// Says what the last of these keys that a config knows is for, and its default, in half a line.
///
/// `workers.reader.nice`: `its niceness: from -20 (most urgent) to 19; the default is 0`.
pub(crate) fn about(keys: &[String], schema: &Json) -> String {
    let mut node = schema;
    let mut known = None;
    for key in keys {
        let Some(next) = below(node, key, schema) else { break };
        node = next;
        // What has no text of its own is an entry by name: its list says what it is.
        known = text_of(node).map(|text| (text, node)).or(known);
    }
    let Some((text, node)) = known else { return ANYTHING.to_owned() };
    match node.get("default") {
        Some(default) if !(default.is_object() || default.is_array() || default.is_null()) => {
            format!("{text}; the default is {default}")
        }
        _ => text,
    }
}

/// The schema of what lies under a key of an object.
fn below<'s>(node: &'s Json, key: &str, schema: &'s Json) -> Option<&'s Json> {
    let node = resolved(node, schema);
    let here = |form: &'s Json| {
        let form = resolved(form, schema);
        form["properties"].get(key).or_else(|| form.get("additionalProperties").filter(|any| any.is_object()))
    };
    here(node).or_else(|| node["anyOf"].as_array()?.iter().find_map(here))
}

/// The definition that is referred to, or the schema itself.
fn resolved<'s>(node: &'s Json, schema: &'s Json) -> &'s Json {
    let name = node["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    name.map_or(node, |name| &schema["$defs"][name])
}

/// The first sentence of a description, as a hint is written: lower case, no full stop.
fn text_of(node: &Json) -> Option<String> {
    let text = node["description"].as_str()?;
    let sentence = text.split(". ").next().unwrap_or(text).trim_end_matches('.');
    let mut characters = sentence.chars();
    let first = characters.next()?;
    Some(first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &[&str]) -> String {
        let keys: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
        about(&keys, &crate::schema())
    }

    #[test]
    fn says_what_a_key_is_for_and_its_default() {
        assert_eq!(
            of(&["workers", "w", "nice"]),
            "its niceness: from -20 (most urgent) to 19; the default is 0"
        );
        assert_eq!(
            of(&["workers", "w", "stop", "grace"]),
            "how long it has before it is killed; the default is \"10s\""
        );
    }

    #[test]
    fn goes_up_to_what_a_config_knows() {
        assert_eq!(of(&["workers", "w", "nice", "deeper"]), of(&["workers", "w", "nice"]));
        assert_eq!(of(&["values", "total"]), of(&["values"]));
        assert_eq!(of(&["nonsense"]), ANYTHING);
        assert_eq!(of(&[]), ANYTHING);
    }
}
