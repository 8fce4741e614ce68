//! One question over the network, from the name to the answer. Whoever asks sets the limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Question;
use crate::words;

/// Says whether it answers; or why not, in words for people.
pub async fn ask(question: &Question) -> Result<(), String> {
    match question {
        Question::Tcp { host, port } => connect(host, *port).await.map(drop),
        Question::Http(url) => get(url).await,
    }
}

/// Connects to the first address that takes connections.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut last = format!("{host} has no address");
    for address in addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{address}: {}", words::reason(&error)),
        }
    }
    Err(last)
}

/// The addresses of a host. Only what may be somewhere else is looked up there.
async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    found.map(Iterator::collect).map_err(|error: io::Error| format!("{host}: {}", words::reason(&error)))
}

async fn get(url: &str) -> Result<(), String> {
    let odd = || format!("{url} is no URL");
    let uri: Uri = url.parse().map_err(|_| odd())?;
    let authority = uri.authority().ok_or_else(odd)?;
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let stream = connect(bare, authority.port_u16().unwrap_or(80)).await?;
    let broken = |error: hyper::Error| format!("{url}: {error}");
    let (mut talk, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _connection = Ended(tokio::spawn(connection));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(USER_AGENT, "supervisor")
        .body(Empty::<Bytes>::new())
        .map_err(|_| odd())?;
    // Its head is all that is wanted; what follows is left unread.
    let status = talk.send_request(request).await.map_err(broken)?.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(format!("{url} answers {status}")) }
}

/// A task that ends with whoever holds it.
struct Ended<T>(JoinHandle<T>);

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
