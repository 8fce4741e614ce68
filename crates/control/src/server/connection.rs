//! One connection: its requests, one after another.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::flow::Flow;
use super::patient::{Enclosed, Patient};
use super::{Granted, Hall, Peer, Reply, unless};
use crate::api::{ApiError, ErrorBody, ErrorCode, Request};
use crate::route::{Asked, Misrouted};

/// How long clients have, after a stop, to take what was answered.
const FAREWELL: Duration = Duration::from_secs(1);

/// The body of an answer.
type Page = Either<Full<Bytes>, Flow>;

/// Serves a connection until either side is done with it.
pub(super) async fn attend(stream: UnixStream, seat: Cell<Option<OwnedSemaphorePermit>>, hall: Rc<Hall>) {
    let Ok(credentials) = stream.peer_cred() else {
        return;
    };
    let peer = Peer { pid: credentials.pid().unwrap_or(0), uid: credentials.uid(), gid: credentials.gid() };
    let unhurried = Rc::new(Cell::new(false));
    let enclosed = Rc::new(RefCell::default());
    let stream = Patient::new(stream, hall.limits.patience, Rc::clone(&unhurried), Rc::clone(&enclosed));
    let desk = Desk { peer, seat, unhurried, enclosed, hall: Rc::clone(&hall) };
    let service = service_fn(|request| async { Ok::<_, Infallible>(desk.serve(request).await) });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(hall.limits.patience)
            .max_buf_size(hall.limits.head_bytes)
            .serve_connection(TokioIo::new(stream), service)
    );
    // How it ended is the client's affair: garbage was answered, a hang-up has nobody to tell.
    if unless(&hall.stopping, connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(FAREWELL, connection).await;
    }
}

/// Where one client is served.
struct Desk {
    peer: Peer,
    seat: Cell<Option<OwnedSemaphorePermit>>,
    /// Whether the client may leave what it is sent unread for as long as it likes.
    unhurried: Rc<Cell<bool>>,
    /// Descriptors that go out with what is written next.
    enclosed: Rc<Enclosed>,
    hall: Rc<Hall>,
}

impl Desk {
    async fn serve(&self, request: hyper::Request<Incoming>) -> Response<Page> {
        if let Err(error) = self.hall.door.admit(self.peer.uid) {
            return closing(refusal(error));
        }
        let (head, body) = request.into_parts();
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(response) => return closing(response),
        };
        match Asked::from_http(head.method.as_str(), &head.uri.to_string(), &body) {
            Ok(Asked::OpenApi) => answer(StatusCode::OK, crate::openapi::openapi().to_string().into_bytes()),
            Ok(Asked::Presence) => self.wait(std::future::pending()).await,
            Ok(Asked::Request(request)) => self.hand_on(request).await,
            Err(misrouted) => misrouted_answer(misrouted),
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Response<Page>> {
        let limits = self.hall.limits;
        let too_long = || {
            let error = ApiError::new(
                ErrorCode::Usage,
                format!("the body is longer than {} bytes", limits.body_bytes),
            );
            with_status(StatusCode::PAYLOAD_TOO_LARGE, error)
        };
        // Known beforehand, it is refused before a client that expects "continue" sends it.
        if body.size_hint().lower() > limits.body_bytes as u64 {
            return Err(too_long());
        }
        match tokio::time::timeout(limits.patience, Limited::new(body, limits.body_bytes).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(error)) => {
                Err(refusal(ApiError::new(ErrorCode::Usage, format!("the body cannot be read: {error}"))))
            }
            Err(_) => {
                let error = ApiError::new(ErrorCode::Usage, "the body took too long");
                Err(with_status(StatusCode::REQUEST_TIMEOUT, error))
            }
        }
    }

    async fn hand_on(&self, request: Request) -> Response<Page> {
        if *self.hall.stopping.borrow() {
            return refusal(going_away());
        }
        let (sender, receiver) = oneshot::channel();
        if let Err(error) = self.hall.door.hand_on(self.peer, request, Reply(sender)) {
            return refusal(error);
        }
        self.wait(async { receiver.await.unwrap_or_else(|_| Err(going_away())) }).await
    }

    /// Who waits for an answer gives up its seat, or a few patient clients would keep all others out.
    async fn wait(&self, answered: impl Future<Output = super::Answer>) -> Response<Page> {
        let Ok(waiting) = Arc::clone(&self.hall.waiting).try_acquire_owned() else {
            let error = ApiError::new(ErrorCode::WouldBlock, "too many requests await their answers");
            return closing(refusal(error.hint("ask again when some of them have been answered")));
        };
        drop(self.seat.take());
        let response = match unless(&self.hall.stopping, answered).await {
            Some(Ok(Granted::Whole(body, descriptors))) => {
                self.enclosed.borrow_mut().extend(descriptors);
                answer(StatusCode::OK, body)
            }
            Some(Ok(Granted::Stream(feed))) => {
                self.unhurried.set(true);
                return closing(lines(Flow::new(feed, waiting)));
            }
            Some(Err(error)) => refusal(error),
            None => refusal(going_away()),
        };
        match Arc::clone(&self.hall.seats).try_acquire_owned() {
            Ok(seat) => {
                self.seat.set(Some(seat));
                response
            }
            Err(_) => closing(response),
        }
    }
}

fn going_away() -> ApiError {
    ApiError::new(ErrorCode::NotRunning, "the supervisor is going away")
}

fn misrouted_answer(misrouted: Misrouted) -> Response<Page> {
    let status = StatusCode::from_u16(misrouted.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = with_status(status, misrouted.error);
    if let Some(allow) = misrouted.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn refusal(error: ApiError) -> Response<Page> {
    with_status(StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error)
}

fn with_status(status: StatusCode, error: ApiError) -> Response<Page> {
    let body = serde_json::to_vec(&ErrorBody { error }).expect("an error is three strings");
    answer(status, body)
}

/// A line of JSON, so that a terminal's prompt comes on the next one.
fn answer(status: StatusCode, mut json: Vec<u8>) -> Response<Page> {
    json.push(b'\n');
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(json))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn lines(flow: Flow) -> Response<Page> {
    let mut response = Response::new(Either::Right(flow));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

fn closing(mut response: Response<Page>) -> Response<Page> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
