//! Meeting the supervisor.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use control::api::{self, ErrorCode, Request};
use control::{Client, ClientError};
use ipc_channel::ipc::IpcOneShotServer;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access, geteuid};

use crate::me::Me;
use crate::stopping::Orders;
use crate::welcome::Welcome;
use crate::wire::{ABI, Hello, PLACE_MARK};

/// Why a program could not join.
#[derive(Debug)]
pub enum JoinError {
    /// It was not started by a supervisor: `SUPERVISOR_SOCKET` is not set.
    NotSupervised,
    /// The supervisor could not be reached, or went away, or refused.
    Supervisor(ClientError),
    /// A socket for the meeting could not be opened.
    Meeting(io::Error),
    /// Somebody answered who is not the supervisor.
    Stranger,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::NotSupervised => {
                f.write_str("no supervisor started this program (SUPERVISOR_SOCKET is not set)")
            }
            JoinError::Supervisor(error) => write!(f, "cannot join the supervisor: {error}"),
            JoinError::Meeting(error) => write!(f, "cannot open a socket to meet the supervisor: {error}"),
            JoinError::Stranger => f.write_str("somebody else than the supervisor answered"),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JoinError::Supervisor(error) => Some(error),
            JoinError::Meeting(error) => Some(error),
            JoinError::NotSupervised | JoinError::Stranger => None,
        }
    }
}

/// Joins the supervisor that started this program. A program may join several times, and so may what it starts; each
/// gets the same `args` and queues.
///
/// For an instant, while the socket for the meeting is made, the umask of this process is 077.
///
/// # Errors
///
/// See [`JoinError`]. It does not wait for a supervisor that is dead.
pub fn join() -> Result<Me, JoinError> {
    let socket = std::env::var_os("SUPERVISOR_SOCKET").map(PathBuf::from).ok_or(JoinError::NotSupervised)?;
    if is_of_another_user(&socket) || !can_be_met() {
        return enter(socket);
    }
    match meet(&socket) {
        // It does not find a server of ours: a /tmp of our own is not its.
        Err(JoinError::Supervisor(ClientError::Refused(error))) if error.code == ErrorCode::Failed => {
            enter(socket)
        }
        met => met,
    }
}

/// Whether the supervisor runs as somebody else: then it connects to no socket of ours, and its files are not to be opened.
fn is_of_another_user(socket: &Path) -> bool {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    folder.metadata().is_ok_and(|facts| facts.uid() != geteuid().as_raw())
}

/// Whether a one-shot server can be opened where temporary files belong. The library does not look: of a path that is too
/// long for an address it takes the beginning, which is another place; and it panics where a folder cannot be made.
fn can_be_met() -> bool {
    let place = std::env::temp_dir();
    let server = place.join(".tmpXXXXXX").join("socket");
    let may = AccessFlags::W_OK | AccessFlags::X_OK;
    server.to_str().is_some()
        && SocketAddr::from_pathname(&server).is_ok()
        && place.is_dir()
        && access(&place, may).is_ok()
}

/// Joins over the control socket alone.
fn enter(socket: PathBuf) -> Result<Me, JoinError> {
    let client = Client::connect(&socket).map_err(JoinError::Supervisor)?;
    let request = Request::Hello(api::Enter { abi: Some(ABI) });
    let mut lines = client.stream(&request).map_err(JoinError::Supervisor)?;
    let first = lines.next_line().map_err(JoinError::Supervisor)?;
    match first.and_then(|line| serde_json::from_slice(&line).ok()) {
        Some(api::HelloLine::Hello(hello)) => Ok(Me::new((*hello).into(), Orders::Lines(lines), socket)),
        _ => Err(JoinError::Stranger),
    }
}

/// Joins by a meeting.
fn meet(socket: &Path) -> Result<Me, JoinError> {
    let mut client = Client::connect(socket).map_err(JoinError::Supervisor)?;
    let nonce = nonce().map_err(JoinError::Meeting)?;
    // The library makes the socket for everybody whom the umask lets; let it be nobody else.
    let before = umask(Mode::from_bits_truncate(0o077));
    let server = IpcOneShotServer::<Hello>::new();
    umask(before);
    let (server, name) = server.map_err(JoinError::Meeting)?;
    // Held until the library has removed the place, or this process is killed before.
    let _held = mark(Path::new(&name), socket).map_err(JoinError::Meeting)?;
    // Answered only when the `Hello` lies in the socket: the accept below finds it there, and cannot wait for the dead.
    let join = api::Join { server: name, nonce: nonce.clone(), abi: ABI };
    let _: serde_json::Value = client.call(&Request::Join(join)).map_err(JoinError::Supervisor)?;
    let (_, hello) =
        server.accept().map_err(|error| JoinError::Meeting(io::Error::other(error.to_string())))?;
    if hello.nonce != nonce {
        return Err(JoinError::Stranger);
    }
    let (welcome, orders) = Welcome::from_meeting(hello);
    Ok(Me::new(welcome, orders, socket.to_owned()))
}

/// Marks the place of a meeting as ours, for the run that finds it when this process was killed.
fn mark(server: &Path, socket: &Path) -> io::Result<File> {
    let path = server.with_file_name(PLACE_MARK);
    let mut mark = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    mark.try_lock()?;
    mark.write_all(socket.as_os_str().as_bytes())?;
    Ok(mark)
}

/// 128 random bits.
fn nonce() -> io::Result<String> {
    let mut bits = [0; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bits)?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}
