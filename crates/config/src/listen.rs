//! Where a worker listens: sockets that are opened for it.

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::choice::{Address, Readying};
use crate::collection::{Entry, Placed};
use crate::document::{File, Worker};
use crate::form::Form;
use crate::node::{Node, Path};
use crate::problem::{Complaint, quoted};
use crate::reading::Reading;
use crate::text::text_schema;

/// One address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Tcp(Address),
    Udp(Address),
    Unix(String),
}

/// A path of a socket has room for so many bytes.
const LONGEST_PATH: usize = 107;

impl Place {
    fn parse(text: &str) -> Option<Place> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "tcp" => Address::parse(rest).map(Place::Tcp),
            "udp" => Address::parse(rest).map(Place::Udp),
            "unix" if !rest.is_empty() && !rest.contains('\0') => Some(Place::Unix(rest.to_owned())),
            _ => None,
        }
    }
}

/// An address, where it stands in the list, and where in the text.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub place: Place,
    index: usize,
    at: usize,
}

impl Listed {
    /// Notes what is wrong with it, of the worker at this path.
    pub fn note(&self, worker: &Path<'_>, complaint: Complaint, reading: &mut Reading<'_>) {
        reading.note_at(&Path::Index(&worker.key("listen"), self.index), self.at, complaint);
    }
}

/// All addresses of a worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(pub Vec<Listed>);

impl Form for Places {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Places> {
        const EXPECTED: &str =
            "an address like \"tcp:127.0.0.1:8080\", \"udp:127.0.0.1:53\" or \"unix:/run/x.sock\"";
        let Value::Array(array) = node.value else { return reading.wrong(node, "a list of addresses") };
        let mut found = Vec::with_capacity(array.elements.len());
        for (index, element) in array.elements.iter().enumerate() {
            let element = node.element(index, element);
            let Some(text) = reading.text(&element, EXPECTED) else { continue };
            match Place::parse(&text) {
                Some(Place::Unix(path)) if path.len() > LONGEST_PATH => reading.note(
                    &element,
                    Complaint::new(format!("the path of a socket has at most {LONGEST_PATH} bytes")),
                ),
                Some(place) => found.push(Listed { place, index, at: element.at() }),
                None => {
                    let complaint = format!("expected {EXPECTED}, found {}", quoted(&text));
                    reading.note(&element, Complaint::new(complaint));
                }
            }
        }
        Some(Places(found))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let pattern = r"^((tcp|udp):.+:[0-9]+|unix:[^\u0000]+)$";
        let items = text_schema(generator, json_schema!({ "type": "string", "pattern": pattern }));
        json_schema!({ "type": "array", "items": items })
    }

    fn written(&self) -> Option<Json> {
        // No default has any.
        self.0.is_empty().then(|| Json::Array(Vec::new()))
    }
}

/// Notes every address that is listened on twice, and every probe that the supervisor itself would answer.
pub(crate) fn check(file: &File, reading: &mut Reading<'_>) {
    let root = Path::Root;
    let all = root.key("workers");
    let mut seen: Vec<(&Place, &str)> = Vec::new();
    for Entry { name, value: Worker { listen, .. }, .. } in &file.workers.0 {
        let path = all.key(name);
        for listed in &listen.0 {
            match seen.iter().find(|(place, _)| **place == listed.place) {
                Some((_, other)) => {
                    let complaint = Complaint::new(format!("{} listens there already", quoted(other)));
                    let complaint = complaint.hint("the instances of one worker share its sockets");
                    listed.note(&path, complaint, reading);
                }
                None => seen.push((&listed.place, name)),
            }
        }
    }
    for Entry { name, value: Worker { ready, health, .. }, .. } in &file.workers.0 {
        let path = all.key(name);
        if let Readying::Tcp(address) = &ready.value {
            let hint = "\"notify\", {\"log\": …} or {\"http\": …} tell when the worker itself is there";
            note_answered(&path.key("ready"), ready.at, address, hint, &seen, reading);
        }
        if let Some(Placed { value: address, at }) = health.as_ref().and_then(|health| health.tcp.as_ref()) {
            let hint = "\"http\" or \"command\" find out whether the worker itself answers";
            note_answered(&path.key("health"), *at, address, hint, &seen, reading);
        }
    }
}

/// Notes that a probe's address takes connections whatever becomes of the worker, if it is listened on for one.
fn note_answered(
    path: &Path<'_>,
    at: usize,
    probed: &Address,
    hint: &str,
    listened: &[(&Place, &str)],
    reading: &mut Reading<'_>,
) {
    let is_it = |place: &Place| match place {
        Place::Tcp(address) => {
            address.port == probed.port
                && (address.host == probed.host || is_any(&address.host) && is_here(&probed.host))
        }
        Place::Udp(_) | Place::Unix(_) => false,
    };
    if let Some((_, worker)) = listened.iter().find(|(place, _)| is_it(place)) {
        let complaint =
            format!("the supervisor listens there for {}: it always takes connections", quoted(worker));
        reading.note_at(&path.key("tcp"), at, Complaint::new(complaint).hint(hint));
    }
}

fn is_any(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::")
}

fn is_here(host: &str) -> bool {
    is_any(host) || matches!(host, "localhost" | "127.0.0.1" | "::1")
}
