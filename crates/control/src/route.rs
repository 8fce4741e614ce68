//! How a [`Request`] looks in HTTP: one mapping, read in one direction by the client and in the other by the server.

mod address;
mod bodies;
mod checks;
mod codes;
mod sync;

use address::{find, flag, number, origin_form, parameter, percent_encoded, read_query};
use bodies::{Apply, Restarted, Scale, Shutdown, Spawn, Targets, Wait, json, read, read_targets};
use checks::{check_config, check_new, check_targets, check_whom, queue_name};

use crate::api::{ApiError, Enter, ErrorCode, Join, Kill, NewQueue, Request, Tell};
use crate::endpoints::{Body, Endpoint, Name, endpoint};
use crate::names;

/// A request as HTTP carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path and, behind a `?`, the query; percent-encoded.
    pub target: String,
    /// JSON, or nothing.
    pub body: Vec<u8>,
}

/// What an HTTP request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Something of the supervisor.
    Request(Request),
    /// The description of the API.
    OpenApi,
    /// To be answered only when the supervisor goes away.
    Presence,
}

/// Why an HTTP request is none of the API's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misrouted {
    /// The HTTP status that says so: 400, 404 or 405.
    pub status: u16,
    /// With 405: the methods that the path has, for the `Allow` header; `HEAD` beside `GET`.
    pub allow: Option<String>,
    /// The error for the body.
    pub error: ApiError,
}

impl From<ApiError> for Misrouted {
    fn from(error: ApiError) -> Misrouted {
        Misrouted { status: error.code.status(), allow: None, error }
    }
}

impl Request {
    /// The HTTP request that asks for this.
    ///
    /// ```
    /// use control::api::Request;
    /// let http = Request::Stop { workers: vec!["reader:0".into()], wait: true }.to_http();
    /// assert_eq!((http.method, http.target.as_str()), ("POST", "/v1/stop"));
    /// assert_eq!(http.body, br#"{"workers":["reader:0"],"wait":true}"#);
    /// ```
    pub fn to_http(&self) -> HttpRequest {
        let plain = |name| HttpRequest::to(endpoint(name), "", Vec::new());
        let targets = |name, workers: &Vec<String>, wait: &bool| {
            HttpRequest::to(endpoint(name), "", json(&Targets { workers: workers.clone(), wait: *wait }))
        };
        match self {
            Request::Status { workers } => {
                HttpRequest::with_query(Name::Status, workers.iter().map(|worker| ("worker", worker.clone())))
            }
            Request::Ps => plain(Name::Ps),
            Request::Start { workers, wait } => targets(Name::Start, workers, wait),
            Request::Stop { workers, wait } => targets(Name::Stop, workers, wait),
            Request::Restart { workers, wait, rolling } => {
                let restart = Restarted { workers: workers.clone(), wait: *wait, rolling: *rolling };
                HttpRequest::to(endpoint(Name::Restart), "", json(&restart))
            }
            Request::Scale { workers, wait } => {
                let scale = Scale { workers: workers.clone(), wait: *wait };
                HttpRequest::to(endpoint(Name::Scale), "", json(&scale))
            }
            Request::Spawn { worker, wait } => {
                let spawn = Spawn { worker: worker.clone(), wait: *wait };
                HttpRequest::to(endpoint(Name::Spawn), "", json(&spawn))
            }
            Request::Plan { config, named } => {
                let config = config.iter().map(|config| ("config", config.clone()));
                HttpRequest::with_query(Name::Plan, config.chain([("named", named.to_string())]))
            }
            Request::Apply { config, named, wait } => {
                let apply = Apply { config: config.clone(), named: *named, wait: *wait };
                HttpRequest::to(endpoint(Name::Apply), "", json(&apply))
            }
            Request::Logs { worker, lines, follow } => {
                let worker = worker.iter().map(|worker| ("worker", worker.clone()));
                let rest = [("lines", lines.to_string()), ("follow", follow.to_string())];
                HttpRequest::with_query(Name::Logs, worker.chain(rest))
            }
            Request::Events { after, follow } => {
                let query = [("after", after.to_string()), ("follow", follow.to_string())];
                HttpRequest::with_query(Name::Events, query)
            }
            Request::Why { worker } => HttpRequest::with_query(Name::Why, [("worker", worker.clone())]),
            Request::Kill(kill) => HttpRequest::to(endpoint(Name::Kill), "", json(kill)),
            Request::Wait { whom, timeout_ms } => {
                let wait = Wait { whom: whom.clone(), timeout_ms: *timeout_ms };
                HttpRequest::to(endpoint(Name::Wait), "", json(&wait))
            }
            Request::Shutdown { now } => {
                HttpRequest::to(endpoint(Name::Shutdown), "", json(&Shutdown { now: *now }))
            }
            Request::Queues => plain(Name::Queues),
            Request::QueueHandle { queue } => HttpRequest::to(endpoint(Name::QueueHandle), queue, Vec::new()),
            Request::QueueClose { queue } => HttpRequest::to(endpoint(Name::QueueClose), queue, Vec::new()),
            Request::QueueCreate(queue) => HttpRequest::to(endpoint(Name::QueueCreate), "", json(queue)),
            Request::QueueRemove { queue } => HttpRequest::to(endpoint(Name::QueueRemove), queue, Vec::new()),
            Request::Sync(request) => sync::to_http(request),
            Request::Join(join) => HttpRequest::to(endpoint(Name::Join), "", json(join)),
            Request::Hello(enter) => HttpRequest::to(endpoint(Name::Hello), "", json(enter)),
            Request::Tell(tell) => HttpRequest::to(endpoint(Name::Tell), "", json(tell)),
        }
    }

    /// The request that this HTTP request asks for: [`Asked::from_http`] without what is not a request.
    ///
    /// # Errors
    /// Those of [`Asked::from_http`]; 404 for the API's description and the presence.
    pub fn from_http(method: &str, target: &str, body: &[u8]) -> Result<Request, Misrouted> {
        match Asked::from_http(method, target, body)? {
            Asked::Request(request) => Ok(request),
            Asked::OpenApi | Asked::Presence => {
                Err(ApiError::new(ErrorCode::NotFound, "not a request to the supervisor").into())
            }
        }
    }
}

impl HttpRequest {
    fn to(endpoint: &Endpoint, segment: &str, body: Vec<u8>) -> HttpRequest {
        let target = endpoint.path.replace("{queue}", &percent_encoded(segment));
        HttpRequest { method: endpoint.method, target, body }
    }

    fn with_query(name: Name, query: impl IntoIterator<Item = (&'static str, String)>) -> HttpRequest {
        let mut http = HttpRequest::to(endpoint(name), "", Vec::new());
        for (nth, (name, value)) in query.into_iter().enumerate() {
            let sign = if nth == 0 { '?' } else { '&' };
            http.target.push_str(&format!("{sign}{name}={}", percent_encoded(&value)));
        }
        http
    }

    /// The request whose answer comes only when the supervisor goes away.
    pub(crate) fn presence() -> HttpRequest {
        HttpRequest::to(endpoint(Name::Presence), "", Vec::new())
    }
}

impl Asked {
    /// Reads an HTTP request; `HEAD` asks for what `GET` does. `target` is what stands on the request line: path and query, percent-encoded; the
    /// absolute form (`http://supervisor/v1/status`) is understood too. An empty body means `{}`.
    ///
    /// # Errors
    /// 404 when no endpoint has the path, 405 when it has other methods, 400 when the query, the body or a name in
    /// them is not what the endpoint wants.
    pub fn from_http(method: &str, target: &str, body: &[u8]) -> Result<Asked, Misrouted> {
        let target = origin_form(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (endpoint, segment) = find(method, path)?;
        let query = read_query(endpoint, query)?;
        if endpoint.body == Body::None && !body.trim_ascii().is_empty() && body.trim_ascii() != b"{}" {
            return Err(usage(format!("{} {} takes no body", endpoint.method, endpoint.path)).into());
        }
        let request = match endpoint.name {
            Name::OpenApi => return Ok(Asked::OpenApi),
            Name::Presence => return Ok(Asked::Presence),
            Name::Status => {
                let workers: Vec<String> = query.into_iter().map(|(_, worker)| worker).collect();
                workers.iter().try_for_each(|worker| names::check_target(worker))?;
                Request::Status { workers }
            }
            Name::Ps => Request::Ps,
            Name::Start => {
                let Targets { workers, wait } = read_targets(body)?;
                Request::Start { workers, wait }
            }
            Name::Stop => {
                let Targets { workers, wait } = read_targets(body)?;
                Request::Stop { workers, wait }
            }
            Name::Restart => {
                let Restarted { workers, wait, rolling } = read(body)?;
                check_targets(&workers)?;
                Request::Restart { workers, wait, rolling }
            }
            Name::Scale => {
                let Scale { workers, wait } = read(body)?;
                if workers.is_empty() {
                    return Err(usage("no worker is named").into());
                }
                workers.iter().try_for_each(|size| names::check_name("worker", &size.worker))?;
                Request::Scale { workers, wait }
            }
            Name::Spawn => {
                let Spawn { worker, wait } = read(body)?;
                check_new(&worker)?;
                Request::Spawn { worker, wait }
            }
            Name::Plan => {
                let config = parameter(&query, "config").map(str::to_owned);
                check_config(config.as_deref())?;
                Request::Plan { config, named: flag(&query, "named")? }
            }
            Name::Apply => {
                let Apply { config, named, wait } = read(body)?;
                check_config(config.as_deref())?;
                Request::Apply { config, named, wait }
            }
            Name::Logs => {
                let worker = parameter(&query, "worker").map(str::to_owned);
                worker.iter().try_for_each(|worker| names::check_target(worker))?;
                let (lines, follow) = (number(&query, "lines")?, flag(&query, "follow")?);
                Request::Logs { worker, lines: lines.unwrap_or(10), follow }
            }
            Name::Events => {
                let (after, follow) = (number(&query, "after")?, flag(&query, "follow")?);
                Request::Events { after: after.unwrap_or(0), follow }
            }
            Name::Why => {
                let worker = parameter(&query, "worker").ok_or_else(|| usage("no worker is named"))?;
                names::check_target(worker)?;
                Request::Why { worker: worker.to_owned() }
            }
            Name::Kill => {
                let kill: Kill = read(body)?;
                check_whom(&kill.whom)?;
                Request::Kill(kill)
            }
            Name::Wait => {
                let Wait { whom, timeout_ms } = read(body)?;
                check_whom(&whom)?;
                Request::Wait { whom, timeout_ms }
            }
            Name::Shutdown => {
                let Shutdown { now } = read(body)?;
                Request::Shutdown { now }
            }
            Name::Queues => Request::Queues,
            Name::QueueHandle => Request::QueueHandle { queue: queue_name(segment)? },
            Name::QueueClose => Request::QueueClose { queue: queue_name(segment)? },
            Name::QueueCreate => {
                let queue: NewQueue = read(body)?;
                names::check_name("queue", &queue.name)?;
                queue.dead_letter.iter().try_for_each(|name| names::check_name("queue", name))?;
                Request::QueueCreate(queue)
            }
            Name::QueueRemove => Request::QueueRemove { queue: queue_name(segment)? },
            name @ (Name::Sync
            | Name::SyncHandle
            | Name::SyncCreate
            | Name::SyncEvent
            | Name::SyncValue
            | Name::SyncArray
            | Name::SyncBarrier) => sync::from_http(name, body)?,
            Name::Join => Request::Join(read::<Join>(body)?),
            Name::Hello => Request::Hello(read::<Enter>(body)?),
            Name::Tell => Request::Tell(read::<Tell>(body)?),
        };
        Ok(Asked::Request(request))
    }
}

fn usage(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Usage, message)
}
