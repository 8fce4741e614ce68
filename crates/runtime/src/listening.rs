//! The sockets that workers listen on: bound before anything is launched, kept while a worker is started again, and
//! handed to each of its launches from descriptor 3 on (the protocol of `sd_listen_fds`).
//!
//! Connections that come while nobody accepts them wait in the socket; none is refused because of a restart. When a
//! supervisor is killed, its surviving workers go on listening, and the next run takes the sockets back from them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::socket::{Backlog, getsockopt, listen, sockopt};
use process::Credentials;
use supervision::WorkerId;

use crate::takeover::Survivor;
use crate::words;

/// The first number of a descriptor that is handed over.
pub const FIRST: i32 = 3;

/// How many descriptors of a survivor are looked through for a socket.
const LOOKED_THROUGH_AT_MOST: usize = 4096;

/// Where a worker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// For connections.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// For datagrams.
    Udp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// For connections, at this absolute path.
    Unix(PathBuf),
}

/// As it is written in a config.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, host, port) = match self {
            Address::Tcp { host, port } => ("tcp", host, port),
            Address::Udp { host, port } => ("udp", host, port),
            Address::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{kind}:[{host}]:{port}")
        } else {
            write!(f, "{kind}:{host}:{port}")
        }
    }
}

/// A socket that cannot be had.
#[derive(Debug)]
pub struct CannotListen {
    /// Where.
    pub address: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.why)
    }
}

/// The sockets of a run, by worker.
#[derive(Debug, Default)]
pub struct Sockets {
    open: BTreeMap<WorkerId, Vec<Socket>>,
}

#[derive(Debug)]
struct Socket {
    address: Address,
    descriptor: Arc<OwnedFd>,
    /// The file that a path leads to, by its number: what another has put in its place is not ours to remove.
    inode: Option<u64>,
}

impl Sockets {
    /// The sockets of a worker that listens at these addresses, in their order: those that are open already as they are,
    /// others bound now, what it no longer listens on closed. Those of `survivors` are taken from them. A socket that is a
    /// file belongs to `user`, where the worker runs as another.
    ///
    /// # Errors
    ///
    /// Names the first that cannot be had. The others are as before.
    pub fn of(
        &mut self,
        worker: WorkerId,
        addresses: &[Address],
        user: Option<&Credentials>,
        survivors: &[&Survivor],
    ) -> Result<Vec<Arc<OwnedFd>>, CannotListen> {
        let mut before = self.open.remove(&worker).unwrap_or_default();
        let mut after = Vec::with_capacity(addresses.len());
        let mut failed = None;
        for (address, number) in addresses.iter().zip(FIRST..) {
            let known = before.iter().position(|socket| socket.address == *address);
            let opened = match known {
                Some(place) => Ok(before.remove(place)),
                None => taken_back(address, number, survivors).map_or_else(|| bound(address, user), Ok),
            };
            match opened {
                Ok(socket) => after.push(socket),
                Err(error) => {
                    let why = words::reason(&error);
                    failed = failed.or(Some(CannotListen { address: address.to_string(), why }));
                }
            }
        }
        if let Some(failed) = failed {
            after.extend(before);
            self.open.insert(worker, after);
            return Err(failed);
        }
        before.iter().for_each(Socket::remove_file);
        let descriptors = after.iter().map(|socket| Arc::clone(&socket.descriptor)).collect();
        if !after.is_empty() {
            self.open.insert(worker, after);
        }
        Ok(descriptors)
    }

    /// Closes the sockets of a worker that is no more.
    pub fn close(&mut self, worker: WorkerId) {
        self.open.remove(&worker).iter().flatten().for_each(Socket::remove_file);
    }

    /// Closes them all.
    pub fn close_all(&mut self) {
        std::mem::take(&mut self.open).values().flatten().for_each(Socket::remove_file);
    }
}

impl Socket {
    fn remove_file(&self) {
        if let Address::Unix(path) = &self.address
            && self.inode.is_some()
            && inode_of(path) == self.inode
        {
            // Somebody else may have removed it in this moment.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn inode_of(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path)
        .ok()
        .filter(|found| found.file_type().is_socket())
        .map(|found| found.ino())
}

fn bound(address: &Address, user: Option<&Credentials>) -> io::Result<Socket> {
    let descriptor: OwnedFd = match address {
        Address::Tcp { host, port } => TcpListener::bind((host.as_str(), *port))?.into(),
        Address::Udp { host, port } => UdpSocket::bind((host.as_str(), *port))?.into(),
        Address::Unix(path) => {
            make_way(path)?;
            let listener = UnixListener::bind(path)?;
            if let Some(user) = user {
                // Not following: it is ours until then, but the folder may be anybody's.
                lchown(path, Some(user.uid), Some(user.gid))?;
            }
            listener.into()
        }
    };
    if !matches!(address, Address::Udp { .. }) {
        // As many as the machine lets wait: they do so while the worker is started again.
        listen(&descriptor, Backlog::MAXCONN)?;
    }
    Ok(Socket::new(address, descriptor))
}

impl Socket {
    fn new(address: &Address, descriptor: OwnedFd) -> Socket {
        let inode = match address {
            Address::Unix(path) => inode_of(path),
            _ => None,
        };
        Socket { address: address.clone(), descriptor: Arc::new(descriptor), inode }
    }
}

/// Removes a socket on which nobody listens any more, and nothing else.
fn make_way(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Somebody listens, or we may not know.
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// The socket that one of these goes on listening on, at its usual number or wherever it has put it.
fn taken_back(address: &Address, number: i32, survivors: &[&Survivor]) -> Option<Socket> {
    survivors.iter().find_map(|survivor| {
        let pidfd = survivor.pidfd.as_fd();
        let others = std::fs::read_dir(format!("/proc/{}/fd", survivor.pid)).ok();
        let others = others.into_iter().flatten().flatten().take(LOOKED_THROUGH_AT_MOST);
        let others = others
            .filter(|entry| {
                let link = std::fs::read_link(entry.path()).unwrap_or_default();
                link.to_string_lossy().starts_with("socket:")
            })
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        std::iter::once(number)
            .chain(others)
            .filter_map(|number| process::descriptor_of(pidfd, number).ok())
            .find(|descriptor| is_at(descriptor.as_fd(), address))
            .map(|descriptor| Socket::new(address, descriptor))
    })
}

/// Whether this is the socket that listens at an address.
fn is_at(descriptor: BorrowedFd<'_>, address: &Address) -> bool {
    let Ok(copy) = descriptor.try_clone_to_owned() else { return false };
    let listens = getsockopt(&descriptor, sockopt::AcceptConn).unwrap_or(false);
    match address {
        Address::Tcp { host, port } => {
            listens && TcpListener::from(copy).local_addr().is_ok_and(|local| is_one_of(local, host, *port))
        }
        Address::Udp { host, port } => {
            let is_udp =
                getsockopt(&descriptor, sockopt::SockType) == Ok(nix::sys::socket::SockType::Datagram);
            is_udp && UdpSocket::from(copy).local_addr().is_ok_and(|local| is_one_of(local, host, *port))
        }
        Address::Unix(path) => {
            let local = UnixListener::from(copy).local_addr();
            listens && local.is_ok_and(|local| local.as_pathname() == Some(path.as_path()))
        }
    }
}

fn is_one_of(local: SocketAddr, host: &str, port: u16) -> bool {
    (host, port).to_socket_addrs().is_ok_and(|mut all| all.any(|address| address == local))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: WorkerId = WorkerId(7);

    fn unix(path: &Path) -> Address {
        Address::Unix(path.to_owned())
    }

    #[test]
    fn what_is_open_stays_open_and_what_is_no_longer_wanted_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let mut sockets = Sockets::default();
        let first = sockets.of(WORKER, &[unix(&a), unix(&b)], None, &[]).expect("both are free");
        let again = sockets.of(WORKER, &[unix(&b), unix(&a)], None, &[]).expect("both are ours");
        assert!(Arc::ptr_eq(&first[0], &again[1]) && Arc::ptr_eq(&first[1], &again[0]));
        sockets.of(WORKER, &[unix(&b)], None, &[]).expect("it is ours");
        assert!(!a.exists() && b.exists());
        sockets.close_all();
        assert!(!b.exists());
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).expect("it is free"));
        let mut sockets = Sockets::default();
        sockets.of(WORKER, &[unix(&path)], None, &[]).expect("it was left behind");
        let taken = Sockets::default().of(WORKER, &[unix(&path)], None, &[]).unwrap_err();
        assert_eq!(taken.to_string(), format!("cannot listen on unix:{}: address in use", path.display()));
        sockets.close_all();
        std::fs::write(&path, "precious").expect("a file");
        let error = Sockets::default().of(WORKER, &[unix(&path)], None, &[]).unwrap_err();
        assert_eq!(error.why, "there is a file that is no socket");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"precious");
    }

    #[test]
    fn a_file_that_another_put_in_the_place_of_ours_is_not_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let mut sockets = Sockets::default();
        sockets.of(WORKER, &[unix(&path)], None, &[]).expect("it is free");
        // The new one first, so that it cannot get the number of the old one.
        let other = folder.path().join("other");
        let _theirs = UnixListener::bind(&other).expect("it is free");
        std::fs::rename(&other, &path).expect("it may");
        sockets.close_all();
        assert!(path.exists());
    }

    #[test]
    fn an_address_is_told_as_it_is_written() {
        let tcp = |host: &str| Address::Tcp { host: host.to_owned(), port: 80 }.to_string();
        assert_eq!((tcp("::1"), tcp("localhost")), ("tcp:[::1]:80".into(), "tcp:localhost:80".into()));
    }
}
