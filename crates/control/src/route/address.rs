//! Addresses: which endpoint a path is, what its query says, and the percent signs in both.

use super::{Misrouted, usage};
use crate::api::{ApiError, ErrorCode};
use crate::endpoints::{ENDPOINTS, Endpoint, Shape};

/// A proxy's request line carries the whole address; what matters is behind the host.
pub(super) fn origin_form(target: &str) -> &str {
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    }
}

/// Whoever may ask with GET may ask for the head of that answer.
const HEAD_IS_LIKE: &str = "GET";

pub(super) fn find<'p>(
    method: &str,
    path: &'p str,
) -> Result<(&'static Endpoint, Option<&'p str>), Misrouted> {
    let here: Vec<_> =
        ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, matches(endpoint.path, path)?))).collect();
    let method = if method == "HEAD" { HEAD_IS_LIKE } else { method };
    if let Some(found) = here.iter().find(|(endpoint, _)| endpoint.method == method) {
        return Ok(*found);
    }
    let shown: String = path.chars().take(100).collect();
    if here.is_empty() {
        let error = ApiError::new(ErrorCode::NotFound, format!("nothing is at {shown}"))
            .hint("GET /v1/openapi.json describes what there is");
        return Err(error.into());
    }
    let methods: Vec<&str> = here.iter().map(|(endpoint, _)| endpoint.method).collect();
    let error = usage(format!("{shown} is asked with {}", methods.join(", ")));
    let head = methods.contains(&HEAD_IS_LIKE).then_some("HEAD");
    let allow = methods.into_iter().chain(head).collect::<Vec<_>>().join(", ");
    Err(Misrouted { status: 405, allow: Some(allow), error })
}

/// `Some` when the path fits the template; within it what stands at the template's `{…}`.
fn matches<'p>(template: &str, path: &'p str) -> Option<Option<&'p str>> {
    let mut captured = None;
    let mut segments = path.split('/');
    for wanted in template.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with('{') {
            captured = Some(segment);
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(captured)
}

/// The parameters that were given, each with the name that the endpoint has for it.
pub(super) type Query = Vec<(&'static str, String)>;

pub(super) fn read_query(endpoint: &Endpoint, query: &str) -> Result<Query, ApiError> {
    let mut values: Query = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decoded(key)?;
        let Some(field) = endpoint.query.iter().find(|field| field.name == key) else {
            if endpoint.query.is_empty() {
                return Err(usage(format!("{} takes no parameters", endpoint.path)));
            }
            let known: Vec<String> = endpoint.query.iter().map(|field| format!("{:?}", field.name)).collect();
            let error = usage(format!("unknown parameter {key:?}"));
            return Err(error.hint(format!("there is {}", known.join(", "))));
        };
        if field.shape != Shape::Texts && parameter(&values, field.name).is_some() {
            return Err(usage(format!("{:?} is given twice", field.name)));
        }
        values.push((field.name, percent_decoded(value)?));
    }
    Ok(values)
}

pub(super) fn parameter<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
}

pub(super) fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, ApiError> {
    let read = |text: &str| text.parse().map_err(|_| usage(format!("{name:?} is a number, not {text:?}")));
    parameter(query, name).map(read).transpose()
}

pub(super) fn flag(query: &Query, name: &str) -> Result<bool, ApiError> {
    match parameter(query, name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(usage(format!("{name:?} is true or false, not {other:?}"))),
    }
}

pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

pub(super) fn percent_decoded(text: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(usage("a % in the address is not followed by two hexadecimal digits"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| usage("the address is not UTF-8"))
}
