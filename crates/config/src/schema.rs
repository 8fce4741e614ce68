//! The JSON Schema of the config: what the forms say, without what is not offered yet.

use std::collections::HashSet;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use crate::document::File;
use crate::not_yet::NotYet;

/// The schema of a config in which these rows are refused.
pub(crate) fn without(rows: &[NotYet]) -> Json {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    schema["title"] = json!("The config of a run");
    let mut definitions = match schema["$defs"].take() {
        Json::Object(definitions) => definitions,
        _ => Map::new(),
    };
    for row in rows {
        let keys: Vec<&str> = row.path.split('.').collect();
        take_out(&mut schema, &mut definitions, &keys, row.value);
    }
    let used = reachable(&schema, &definitions);
    definitions.retain(|name, _| used.contains(name));
    schema["$defs"] = definitions.into();
    flatten(&mut schema);
    schema
}

/// Takes what these keys lead to out of a schema: a property, the form that is told by it, or one of its values.
fn take_out(schema: &mut Json, definitions: &mut Map<String, Json>, keys: &[&str], value: Option<bool>) {
    let [key, rest @ ..] = keys else { return };
    if let Some(name) = definition_of(schema) {
        // Taken by copy, for what it holds may refer to other definitions.
        if let Some(mut definition) = definitions.get(&name).cloned() {
            take_out(&mut definition, definitions, keys, value);
            definitions.insert(name, definition);
        }
        return;
    }
    if let Some(Json::Array(forms)) = schema.get_mut("anyOf") {
        if rest.is_empty() {
            forms.retain(|form| form["required"] != json!([key]));
        }
        for form in forms {
            take_out(form, definitions, keys, value);
        }
    } else if *key == "*" {
        if let Some(every) = schema.get_mut("additionalProperties") {
            take_out(every, definitions, rest, value);
        }
    } else if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        match (properties.get_mut(*key), value) {
            (Some(property), _) if !rest.is_empty() => take_out(property, definitions, rest, value),
            (Some(property), Some(refused)) => property["enum"] = json!([!refused]),
            (Some(_), None) => {
                properties.shift_remove(*key);
            }
            (None, _) => {}
        }
    }
}

/// The name of the definition that a schema refers to.
fn definition_of(schema: &Json) -> Option<String> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/").map(str::to_owned)
}

/// The definitions that are still referred to, through others too.
fn reachable(schema: &Json, definitions: &Map<String, Json>) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut open = vec![schema];
    while let Some(schema) = open.pop() {
        if let Some(name) = definition_of(schema)
            && let Some(definition) = definitions.get(&name)
            && found.insert(name)
        {
            open.push(definition);
        }
        match schema {
            Json::Object(object) => open.extend(object.values()),
            Json::Array(array) => open.extend(array),
            _ => {}
        }
    }
    found
}

/// Puts forms that are themselves a choice of forms beside the others.
fn flatten(schema: &mut Json) {
    match schema {
        Json::Object(object) => {
            object.values_mut().for_each(flatten);
            if let Some(Json::Array(forms)) = object.get_mut("anyOf") {
                let inner = |form: Json| match form {
                    Json::Object(mut only) if only.len() == 1 && only.contains_key("anyOf") => {
                        only.remove("anyOf").and_then(|forms| forms.as_array().cloned()).unwrap_or_default()
                    }
                    other => vec![other],
                };
                *forms = std::mem::take(forms).into_iter().flat_map(inner).collect();
            }
        }
        Json::Array(array) => array.iter_mut().for_each(flatten),
        _ => {}
    }
}
