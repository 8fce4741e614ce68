//! How a [`Request`] looks in HTTP: one mapping, read in one direction by the client and in the other by the server.

mod sync;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Argument, ErrorCode, Join, Kill, NewQueue, NewWorker, Request, Size, Tell, Who};
use crate::endpoints::{Body, ENDPOINTS, Endpoint, Name, Shape, endpoint};
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
    /// With 405: the methods that the path has, for the `Allow` header.
    pub allow: Option<String>,
    /// The error for the body.
    pub error: ApiError,
}

impl From<ApiError> for Misrouted {
    fn from(error: ApiError) -> Misrouted {
        Misrouted { status: error.code.status(), allow: None, error }
    }
}

impl ErrorCode {
    /// The HTTP status of a refusal of this kind.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::Usage => 400,
            ErrorCode::Problems => 422,
            ErrorCode::Refused => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::WouldBlock => 409,
            ErrorCode::Closed => 410,
            ErrorCode::Failed => 500,
            ErrorCode::NotRunning => 503,
            ErrorCode::TimedOut => 504,
        }
    }

    /// The exit code of the command that was refused so.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorCode::Failed => 1,
            ErrorCode::Usage => 2,
            ErrorCode::Problems => 3,
            ErrorCode::NotFound => 4,
            ErrorCode::NotRunning => 5,
            ErrorCode::WouldBlock => 6,
            ErrorCode::TimedOut => 7,
            ErrorCode::Closed => 8,
            ErrorCode::Refused => 9,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Targets {
    workers: Vec<String>,
    #[serde(default = "yes")]
    wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Restarted {
    workers: Vec<String>,
    #[serde(default = "yes")]
    wait: bool,
    #[serde(default)]
    rolling: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    workers: Vec<Size>,
    #[serde(default = "yes")]
    wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spawn {
    worker: NewWorker,
    #[serde(default = "yes")]
    wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    #[serde(default)]
    config: Option<String>,
    #[serde(default)]
    named: bool,
    #[serde(default = "yes")]
    wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    whom: Who,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shutdown {
    #[serde(default)]
    now: bool,
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
    /// Reads an HTTP request. `target` is what stands on the request line: path and query, percent-encoded; the
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
            Name::Tell => Request::Tell(read::<Tell>(body)?),
        };
        Ok(Asked::Request(request))
    }
}

/// A proxy's request line carries the whole address; what matters is behind the host.
fn origin_form(target: &str) -> &str {
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    }
}

fn find<'p>(method: &str, path: &'p str) -> Result<(&'static Endpoint, Option<&'p str>), Misrouted> {
    let here: Vec<_> =
        ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, matches(endpoint.path, path)?))).collect();
    if let Some(found) = here.iter().find(|(endpoint, _)| endpoint.method == method) {
        return Ok(*found);
    }
    let shown: String = path.chars().take(100).collect();
    if here.is_empty() {
        let error = ApiError::new(ErrorCode::NotFound, format!("nothing is at {shown}"))
            .hint("GET /v1/openapi.json describes what there is");
        return Err(error.into());
    }
    let allow = here.iter().map(|(endpoint, _)| endpoint.method).collect::<Vec<_>>().join(", ");
    let error = usage(format!("{shown} is asked with {allow}"));
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
type Query = Vec<(&'static str, String)>;

fn read_query(endpoint: &Endpoint, query: &str) -> Result<Query, ApiError> {
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

fn parameter<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
}

fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, ApiError> {
    let read = |text: &str| text.parse().map_err(|_| usage(format!("{name:?} is a number, not {text:?}")));
    parameter(query, name).map(read).transpose()
}

fn flag(query: &Query, name: &str) -> Result<bool, ApiError> {
    match parameter(query, name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(usage(format!("{name:?} is true or false, not {other:?}"))),
    }
}

fn check_config(config: Option<&str>) -> Result<(), ApiError> {
    match config {
        Some(path) if !path.starts_with('/') || path.contains('\0') => {
            Err(usage("\"config\" is an absolute path")
                .hint("left out: the file that the run was started from"))
        }
        _ => Ok(()),
    }
}

fn check_new(worker: &NewWorker) -> Result<(), ApiError> {
    worker.name.iter().try_for_each(|name| names::check_name("worker", name))?;
    worker.after.keys().try_for_each(|name| names::check_name("worker", name))?;
    let mut queues = worker.queue_in.iter().chain(&worker.queue_out);
    queues.try_for_each(|name| names::check_name("queue", name))?;
    let arguments = worker.command.iter().map(Argument::as_bytes);
    let texts = worker.env.values().chain([&worker.cwd]).map(String::as_bytes);
    if worker.command.first().is_none_or(|program| program.as_bytes().is_empty()) {
        return Err(usage("there is no command"));
    }
    if arguments.chain(texts).any(|text| text.contains(&0)) {
        return Err(usage("a NUL character cannot be passed to a process"));
    }
    if let Some(name) = worker.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(usage(format!("{name:?} cannot be the name of a variable")));
    }
    if !worker.cwd.starts_with('/') {
        return Err(usage("the working folder is not an absolute path").hint("\"cwd\" is an absolute path"));
    }
    Ok(())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| usage(format!("the body is not what is wanted here: {error}")))
}

fn read_targets(body: &[u8]) -> Result<Targets, ApiError> {
    let targets: Targets = read(body)?;
    check_targets(&targets.workers)?;
    Ok(targets)
}

fn check_targets(workers: &[String]) -> Result<(), ApiError> {
    if workers.is_empty() {
        return Err(usage("no worker is named").hint("\"workers\" is a list of NAME or NAME:INSTANCE"));
    }
    workers.iter().try_for_each(|worker| names::check_target(worker))
}

fn check_whom(whom: &Who) -> Result<(), ApiError> {
    match whom {
        // kill(2) takes 0 and negative numbers for groups of processes; nobody means that here.
        Who::Pid(pid) if *pid < 1 => Err(usage(format!("{pid} is not a pid"))),
        Who::Pid(_) => Ok(()),
        Who::Worker(worker) => names::check_target(worker),
    }
}

fn queue_name(segment: Option<&str>) -> Result<String, ApiError> {
    let queue = percent_decoded(segment.unwrap_or_default())?;
    names::check_name("queue", &queue)?;
    Ok(queue)
}

fn usage(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Usage, message)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the bodies of requests have string keys and finite numbers only")
}

fn percent_encoded(text: &str) -> String {
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

fn percent_decoded(text: &str) -> Result<String, ApiError> {
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
