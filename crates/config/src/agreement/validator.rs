//! As much of JSON Schema as our schema is made of. An unknown keyword is an error here: what is not understood must
//! not pass for being agreed with.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;
use serde_json::Value as Json;

/// Whether a schema, whose definitions stand in `root`, allows a value.
pub fn allows(root: &Json, schema: &Json, value: &Json) -> bool {
    let object = schema.as_object().expect("a schema is an object");
    object.iter().all(|(keyword, limit)| keeps(root, schema, keyword, limit, value))
}

/// The schema behind references.
pub fn resolved<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    match schema.get("$ref").and_then(Json::as_str) {
        None => schema,
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("references stay in the file");
            resolved(root, root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
    }
}

fn keeps(root: &Json, schema: &Json, keyword: &str, limit: &Json, value: &Json) -> bool {
    let bound = || limit.as_f64().expect("a bound is a number");
    let forms = || limit.as_array().expect("forms are a list");
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "default" => true,
        "$ref" => allows(root, resolved(root, schema), value),
        "anyOf" => forms().iter().any(|form| allows(root, form, value)),
        "oneOf" => forms().iter().filter(|form| allows(root, form, value)).count() == 1,
        "not" => !allows(root, limit, value),
        "enum" => forms().iter().any(|allowed| same(allowed, value)),
        "type" => has_type(limit.as_str().expect("one type each"), value),
        "minimum" => value.as_f64().is_none_or(|value| value >= bound()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|value| value > bound()),
        "maximum" => value.as_f64().is_none_or(|value| value <= bound()),
        "pattern" => {
            let pattern = limit.as_str().expect("a pattern is a string");
            value.as_str().is_none_or(|text| matches(pattern, text))
        }
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 <= bound()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as f64 >= bound()),
        "uniqueItems" => value
            .as_array()
            .is_none_or(|items| items.iter().enumerate().all(|(n, item)| !items[..n].contains(item))),
        "prefixItems" => value
            .as_array()
            .is_none_or(|items| items.iter().zip(forms()).all(|(item, form)| allows(root, form, item))),
        "items" => value.as_array().is_none_or(|items| {
            let prefix = schema.get("prefixItems").and_then(Json::as_array).map_or(0, Vec::len);
            items.iter().skip(prefix).all(|item| allows(root, limit, item))
        }),
        "properties" => value.as_object().is_none_or(|object| {
            object.iter().all(|(key, value)| limit.get(key).is_none_or(|form| allows(root, form, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let known = |key: &str| schema.get("properties").is_some_and(|known| known.get(key).is_some());
            object
                .iter()
                .filter(|(key, _)| !known(key))
                .all(|(_, value)| *limit != Json::Bool(false) && allows(root, limit, value))
        }),
        "propertyNames" => value
            .as_object()
            .is_none_or(|object| object.keys().all(|key| allows(root, limit, &Json::from(key.as_str())))),
        "minProperties" => value.as_object().is_none_or(|object| object.len() as f64 >= bound()),
        "required" => value.as_object().is_none_or(|object| {
            forms().iter().all(|key| object.contains_key(key.as_str().expect("a key is a string")))
        }),
        other => panic!("the validator does not know {other}"),
    }
}

/// Compiling a pattern costs far more than matching it, and there are few of them.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let compile = || Regex::new(pattern).expect("the patterns of a schema are valid");
        compiled.entry(pattern.to_owned()).or_insert_with(compile).is_match(text)
    })
}

/// In JSON Schema, 1 and 1.0 are the same number.
fn same(one: &Json, other: &Json) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn has_type(name: &str, value: &Json) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|value| value.fract() == 0.0),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}
