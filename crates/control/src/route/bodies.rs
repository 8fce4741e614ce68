//! The bodies of requests, as JSON: what each object holds, written and read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::checks::check_targets;
use super::usage;
use crate::api::{ApiError, NewWorker, Size, Who};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Targets {
    pub workers: Vec<String>,
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restarted {
    pub workers: Vec<String>,
    #[serde(default = "yes")]
    pub wait: bool,
    #[serde(default)]
    pub rolling: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    pub workers: Vec<Size>,
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spawn {
    pub worker: NewWorker,
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    #[serde(default)]
    pub config: Option<String>,
    #[serde(default)]
    pub named: bool,
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    pub whom: Who,
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shutdown {
    #[serde(default)]
    pub now: bool,
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // A list would be taken for the values of an object's members, in an order that nobody was promised.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(usage("the body is not what is wanted here: it is a list, and is to be an object"));
    }
    serde_json::from_slice(body)
        .map_err(|error| usage(format!("the body is not what is wanted here: {error}")))
}

pub(super) fn read_targets(body: &[u8]) -> Result<Targets, ApiError> {
    let targets: Targets = read(body)?;
    check_targets(&targets.workers)?;
    Ok(targets)
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the bodies of requests have string keys and finite numbers only")
}

fn yes() -> bool {
    true
}
