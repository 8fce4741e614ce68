//! The control socket: what it speaks, and to whom.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, is_root, skipped};

use crate::verbs::{keys, pair};

/// Sends this to the run's socket, and says everything that comes back until the other side hangs up.
fn raw(run: &Run, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(run.socket()).unwrap();
    stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_socket_speaks_http_as_curl_does() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let get = |path: &str| {
        let answer = raw(
            &run,
            format!("GET {path} HTTP/1.1\r\nHost: supervisor\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let code: u32 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, serde_json::from_str::<Value>(body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    let (code, status) = get("/v1/status");
    assert_eq!((code, &status["name"]), (200, &json!("r")));
    let (code, one) = get("/v1/status?worker=w:1");
    assert_eq!((code, one["workers"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(get("/v1/ps").1[0]["pid"], run.pid());
    assert_eq!(get("/v1/queues").1[0]["queue"], "q");
    let (code, description) = get("/v1/openapi.json");
    assert_eq!(code, 200);
    for path in [
        "/v1/status",
        "/v1/ps",
        "/v1/start",
        "/v1/stop",
        "/v1/kill",
        "/v1/wait",
        "/v1/shutdown",
        "/v1/queues",
    ] {
        assert!(description["paths"][path].is_object(), "{path} is not described");
    }
    let (code, error) = get("/v1/nothing");
    assert_eq!((code, keys(&error["error"])), (404, vec!["code", "message", "hint"]));
    let (code, error) = get("/v1/status?worker=nobody");
    assert_eq!((code, &error["error"]["code"]), (404, &json!("not_found")));
    let body = r#"{"workers": ["w:0"]}"#;
    let stop = format!(
        "POST /v1/stop HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(raw(&run, stop.as_bytes()).starts_with("HTTP/1.1 200"), "{}", raw(&run, stop.as_bytes()));
    run.until_state("w", "stopped");
    run.stop();
}

#[test]
fn curl_reaches_the_socket() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let mut curl = Command::new("curl");
    if curl.arg("--version").output().is_ok() {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--unix-socket"]).arg(run.socket()).arg("http://supervisor/v1/status");
        assert_eq!(Said::of(&mut curl).ends_with(0).json()["name"], "r");
    } else {
        skipped("no curl on this machine");
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn nonsense_at_the_socket_disturbs_nobody() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let huge = "POST /v1/stop HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n";
    let deep = format!(
        "POST /v1/stop HTTP/1.1\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n{}",
        "[".repeat(200_000)
    );
    let bad_type =
        "POST /v1/stop HTTP/1.1\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"workers\": 123}";
    let requests: [&[u8]; 8] = [
        b"\0\xff\xfe nonsense\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        long.as_bytes(),
        huge.as_bytes(),
        deep.as_bytes(),
        bad_type.as_bytes(),
        b"DELETE /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n",
    ];
    for request in requests {
        let mut stream = UnixStream::connect(run.socket()).unwrap();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running" && row.restarts == 0));
    assert_eq!(run.stop(), 0);
}

#[test]
fn many_who_connect_and_say_nothing_keep_nobody_out() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let silent: Vec<UnixStream> = (0..60).filter_map(|_| UnixStream::connect(run.socket()).ok()).collect();
    sandbox.supervisor(&["status"]).ends_with(0);
    drop(silent);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_socket_is_0600_in_a_folder_of_0700() {
    let sandbox = Sandbox::new();
    let mut run = pair(&sandbox);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(run.socket()), 0o600);
    assert_eq!(mode(run.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&sandbox.runtime()), 0o700);
    assert_eq!(run.stop(), 0);
}

#[test]
fn another_user_is_not_heard() {
    let sandbox = Sandbox::new();
    if !is_root() {
        return skipped("only root can become another user");
    }
    let mut run = pair(&sandbox);
    // Even where somebody opened the doors.
    for path in [sandbox.path(), &sandbox.runtime(), run.socket().parent().unwrap(), run.socket()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut other = Command::new("setpriv");
    other.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "curl",
        "-sS",
        "-m",
        "20",
        "--unix-socket",
    ]);
    other.arg(run.socket()).args(["-X", "POST", "-d", "{}", "http://supervisor/v1/shutdown"]);
    match other.output() {
        Ok(output) => assert!(!String::from_utf8_lossy(&output.stdout).contains("over"), "{output:?}"),
        Err(_) => skipped("no setpriv or curl on this machine"),
    }
    assert!(run.status().workers.iter().all(|row| row.state == "running"));
    assert_eq!(run.stop(), 0);
}
