//! Values that are written in one of several forms: a word, a path, an object with one telling key.

use jsonc_parser::ast::Value;
use regex::bytes::Regex;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::collection::Placed;
use crate::command::Argv;
use crate::cron::Cron;
use crate::form::{Form, object_schema};
use crate::measure::Whole;
use crate::node::Node;
use crate::problem::{Complaint, clipped, quoted};
use crate::reading::Reading;
use crate::text::{Filled, Name, text_schema};

/// The schema of `{"key": …}`.
fn tagged(key: &str, value: Schema) -> Schema {
    let mut properties = serde_json::Map::new();
    properties.insert(key.to_owned(), value.to_value());
    object_schema("", properties, &[key])
}

/// How many messages a queue holds; `None`: as many as its memory does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity(pub Option<u64>);

type Messages = Whole<1, 1_000_000_000>;

impl Form for Capacity {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Capacity> {
        match node.value {
            Value::NullKeyword(_) => Some(Capacity(None)),
            Value::NumberLit(_) => {
                Messages::read(node, reading).map(|count| Capacity(Some(count.0.unsigned_abs())))
            }
            _ => reading.wrong(node, "a whole number, or null for no limit"),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [Messages::schema(generator), { "type": "null" }] })
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.into())
    }
}

/// When a launch counts as ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Readying {
    #[default]
    Start,
    Notify,
    Fd(i32),
    Log(String),
    Tcp(Address),
    Http(String),
    Command(Vec<String>),
}

impl Form for Readying {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Readying> {
        const EXPECTED: &str = "\"start\", \"notify\" or an object like {\"tcp\": \"localhost:8080\"}";
        match node.value {
            Value::Object(_) => {
                let (key, child) = reading.only_field(node, &["fd", "log", "tcp", "http", "command"])?;
                match key {
                    "fd" => reading.read::<Descriptor>(&child).map(|fd| Readying::Fd(fd.0 as i32)),
                    "log" => reading.read::<Pattern>(&child).map(|pattern| Readying::Log(pattern.0)),
                    "tcp" => reading.read(&child).map(Readying::Tcp),
                    "http" => reading.read::<Url>(&child).map(|url| Readying::Http(url.0)),
                    _ => reading.read::<Argv>(&child).map(|argv| Readying::Command(argv.0)),
                }
            }
            Value::StringLit(_) => match reading.text(node, EXPECTED)?.as_str() {
                "start" => Some(Readying::Start),
                "notify" => Some(Readying::Notify),
                other => reading.unknown_word(node, other, &["start", "notify"]),
            },
            _ => reading.wrong(node, EXPECTED),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let words = text_schema(generator, json_schema!({ "enum": ["start", "notify"] }));
        json_schema!({ "anyOf": [
            words,
            tagged("fd", Descriptor::schema(generator)),
            tagged("log", Pattern::schema(generator)),
            tagged("tcp", Address::schema(generator)),
            tagged("http", Url::schema(generator)),
            tagged("command", Argv::schema(generator)),
        ] })
    }

    fn written(&self) -> Option<Json> {
        match self {
            Readying::Start => Some("start".into()),
            Readying::Notify => Some("notify".into()),
            // No default is an object; it would be written as one.
            _ => None,
        }
    }
}

/// A descriptor beside the three standard ones.
type Descriptor = Whole<3, 255>;

/// Where a worker's standard input comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Null,
    Inherit,
    Path(String),
    Queue(Placed<Name>),
}

/// Where a worker's standard output or error goes.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    Log,
    Inherit,
    Null,
    Path(String),
    Queue(Placed<Name>),
}

/// The queue in `{"queue": "jobs"}`, or else the text of a string.
fn queue_or_text(
    node: &Node<'_>,
    reading: &mut Reading<'_>,
    expected: &str,
) -> Option<Result<Placed<Name>, String>> {
    match node.value {
        Value::Object(_) => {
            let (_, child) = reading.only_field(node, &["queue"])?;
            reading.read(&child).map(Ok)
        }
        Value::StringLit(_) => Filled::read(node, reading).map(|Filled(text)| Err(text)),
        _ => reading.wrong(node, expected),
    }
}

fn stream_schema(generator: &mut SchemaGenerator, words: &[&str]) -> Schema {
    let queue = tagged("queue", Name::schema(generator));
    json_schema!({ "anyOf": [{ "enum": words }, Filled::schema(generator), queue] })
}

impl Source {
    /// The queue it names, if it does.
    pub fn queue(&self) -> Option<&Placed<Name>> {
        match self {
            Source::Queue(queue) => Some(queue),
            _ => None,
        }
    }
}

impl Form for Source {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Source> {
        let given = queue_or_text(node, reading, "\"null\", \"inherit\", a path or {\"queue\": …}")?;
        Some(match given {
            Ok(queue) => Source::Queue(queue),
            Err(text) => match text.as_str() {
                "null" => Source::Null,
                "inherit" => Source::Inherit,
                _ => Source::Path(text),
            },
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        stream_schema(generator, &["null", "inherit"])
    }

    fn written(&self) -> Option<Json> {
        match self {
            Source::Null => Some("null".into()),
            Source::Inherit => Some("inherit".into()),
            Source::Path(path) => Some(path.as_str().into()),
            Source::Queue(_) => None,
        }
    }
}

impl Sink {
    /// The queue it names, if it does.
    pub fn queue(&self) -> Option<&Placed<Name>> {
        match self {
            Sink::Queue(queue) => Some(queue),
            _ => None,
        }
    }
}

impl Form for Sink {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Sink> {
        let given = queue_or_text(node, reading, "\"log\", \"inherit\", \"null\", a path or {\"queue\": …}")?;
        Some(match given {
            Ok(queue) => Sink::Queue(queue),
            Err(text) => match text.as_str() {
                "log" => Sink::Log,
                "inherit" => Sink::Inherit,
                "null" => Sink::Null,
                _ => Sink::Path(text),
            },
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        stream_schema(generator, &["log", "inherit", "null"])
    }

    fn written(&self) -> Option<Json> {
        match self {
            Sink::Log => Some("log".into()),
            Sink::Inherit => Some("inherit".into()),
            Sink::Null => Some("null".into()),
            Sink::Path(path) => Some(path.as_str().into()),
            Sink::Queue(_) => None,
        }
    }
}

impl Form for Cron {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Cron> {
        let text = reading.text(node, "a schedule like \"*/5 * * * *\"")?;
        match Cron::parse(&text) {
            Ok(cron) => Some(cron),
            Err(complaint) => reading.refuse(node, complaint),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let names = "@(hourly|daily|midnight|weekly|monthly|yearly|annually)";
        let pattern = format!(r"^\s*((\S+\s+){{4}}\S+|{names})\s*$");
        let cron = json_schema!({ "type": "string", "pattern": pattern });
        text_schema(generator, cron)
    }

    fn written(&self) -> Option<Json> {
        None
    }
}

/// A regular expression for lines of a log. Upper and lower case (`(?i)`) are those of ASCII.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub String);

impl Form for Pattern {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Pattern> {
        let Filled(text) = Filled::read(node, reading)?;
        // A log is bytes. What needs to know the cases of all of Unicode is read as plain ASCII, where it can be.
        let plain = format!("(?-u){text}");
        match (Regex::new(&text), Regex::new(&plain)) {
            (Ok(_), _) => Some(Pattern(text)),
            (Err(_), Ok(_)) => Some(Pattern(plain)),
            (Err(error), Err(_)) => {
                // The last line says what is wrong; those before it draw the place.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("{} is no regular expression: {}", quoted(&text), clipped(reason));
                reading.refuse(node, Complaint::new(message))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Filled::schema(generator)
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.as_str().into())
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    /// `host:port`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Option<Address> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0)?;
        let fit =
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        fit.then(|| Address { host: host.to_owned(), port })
    }
}

impl Form for Address {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Address> {
        const EXPECTED: &str = "an address like \"localhost:8080\"";
        let text = reading.text(node, EXPECTED)?;
        Address::parse(&text).or_else(|| {
            reading.refuse(node, Complaint::new(format!("expected {EXPECTED}, found {}", quoted(&text))))
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        text_schema(generator, json_schema!({ "type": "string", "pattern": "^.+:[0-9]+$" }))
    }

    fn written(&self) -> Option<Json> {
        Some(format!("{}:{}", self.host, self.port).into())
    }
}

/// The address of a web page that says whether a worker is well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Url(pub String);

impl Form for Url {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Url> {
        const EXPECTED: &str = "a URL like \"http://localhost:8080/health\"";
        let text = reading.text(node, EXPECTED)?;
        let host =
            text.strip_prefix("http://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let clean = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        let host_fits = |host: &str| {
            let with_port = if host.ends_with(']') || !host.contains(':') {
                format!("{host}:80")
            } else {
                host.to_owned()
            };
            Address::parse(&with_port).is_some()
        };
        if clean && host.is_some_and(host_fits) {
            return Some(Url(text));
        }
        let complaint = Complaint::new(format!("expected {EXPECTED}, found {}", quoted(&text)));
        let tls = text.starts_with("https://");
        let hint =
            "https is not offered; probe a port without TLS, or use {\"command\": [\"curl\", \"-fsS\", …]}";
        reading.refuse(node, complaint.maybe_hint(tls.then(|| hint.to_owned())))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        text_schema(generator, json_schema!({ "type": "string", "pattern": r"^http://[^\s/?#]+\S*$" }))
    }

    fn written(&self) -> Option<Json> {
        Some(self.0.as_str().into())
    }
}
