//! Places on the network that a test holds in its hand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};

/// A port that is ours and refuses connections until it is opened.
pub struct Port {
    socket: OwnedFd,
    pub number: u16,
}

impl Port {
    pub fn closed() -> Port {
        let socket =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        bind(socket.as_raw_fd(), &any).expect("some port is free");
        let number = getsockname::<SockaddrIn>(socket.as_raw_fd()).expect("it has an address").port();
        Port { socket, number }
    }

    pub fn open(self) -> TcpListener {
        listen(&self.socket, Backlog::new(100).expect("not too many")).expect("it can listen");
        TcpListener::from(self.socket)
    }
}

/// A web site that answers everything with one status.
pub struct Site {
    pub url: String,
    status: Arc<AtomicU16>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
    port: u16,
}

impl Site {
    pub fn answering(status: u16) -> Site {
        let port = Port::closed();
        let number = port.number;
        let listener = port.open();
        let (status, over) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicBool::new(false)));
        let (answers, is_over) = (Arc::clone(&status), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.expect("a connection");
                let (mut head, mut part) = (Vec::new(), [0; 1024]);
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => head.extend_from_slice(&part[..count]),
                    }
                }
                asked.push(String::from_utf8_lossy(&head).into_owned());
                let status = answers.load(Ordering::SeqCst);
                // Who asked may have lost patience.
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nhi");
            }
            asked
        });
        let url = format!("http://127.0.0.1:{number}/health?deep=1");
        Site { url, status, over, thread: Some(thread), port: number }
    }

    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Closes it; says what it was asked.
    pub fn close(mut self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.thread.take().expect("closed once").join().expect("the site stands")
    }
}
