//! Configs written down for a later run, should the supervisor be killed: that one compares by them what it takes back.
//!
//! A config is kept as it was read, with all that it took from around it, never as a plan: whoever reads it later may be another
//! version of the program.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Named, Packed, Snapshot};

impl Snapshot {
    /// It, written down; `None`: it has a path that is no text.
    pub(super) fn write(&self) -> Option<Value> {
        let files = self.files.iter().map(|(path, named)| {
            let named = match named {
                Named::Content(Ok(content)) => json!({ "content": String::from_utf8_lossy(content) }),
                Named::Content(Err(_)) => json!({ "content": null }),
                Named::Mark(mark) => json!({ "mark": mark }),
            };
            Some((path.to_str()?.to_owned(), named))
        });
        let files: Map<String, Value> = files.collect::<Option<_>>()?;
        Some(json!({
            "file": self.file.to_str()?,
            "text": String::from_utf8_lossy(&self.text.text()),
            "files": files,
            "variables": self.variables,
        }))
    }

    /// What was [written](Snapshot::write) down; `None`: it is nothing of that kind.
    pub(super) fn read(kept: &Value) -> Option<Snapshot> {
        let named = |(path, named): (&String, &Value)| {
            let named = match (named.get("content"), named.get("mark")) {
                (Some(Value::String(content)), None) => Named::Content(Ok(content.clone().into_bytes())),
                (Some(Value::Null), None) => Named::Content(Err(io::ErrorKind::NotFound)),
                (None, Some(mark)) => Named::Mark(mark.as_u64()),
                _ => return None,
            };
            Some((PathBuf::from(path), named))
        };
        let files: BTreeMap<PathBuf, Named> =
            kept.get("files")?.as_object()?.iter().map(named).collect::<Option<_>>()?;
        Some(Snapshot {
            file: PathBuf::from(kept.get("file")?.as_str()?),
            text: Packed::of(kept.get("text")?.as_str()?.as_bytes()),
            files,
            variables: serde_json::from_value(kept.get("variables")?.clone()).ok()?,
            // Whether its files have changed since does not matter any more.
            stamps: Vec::new(),
            gives: process::Offer::default(),
        })
    }
}
