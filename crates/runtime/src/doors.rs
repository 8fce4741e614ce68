//! The doors of workers that run as another user: a socket for each such user, which belongs to that user, in a folder that
//! only this process can write to. What comes in there is an [`control::Errand`]; that room says what it may be.
//!
//! ```text
//! /run/supervisor-XXXXXX/       0711, ours     an annex of the run's folder
//!   NAME/                       0711, ours     others pass, and see nothing
//!     65534                     0600, theirs   the control socket of workers of this user
//!     notify-3.0.1              0600, theirs   the notification socket of one launch
//! ```
//!
//! Why it lies where it does: the run's own folder is 0700 and may be anywhere, also below folders that nobody else can
//! pass. `/run` can be passed by all, and no worker's private `/tmp` covers it; where we may not write there, the folder of
//! temporary files has to do. A path once told to a worker stays: the worker may outlive its supervisor, and the next run
//! of the same name opens its doors at the same place.
//!
//! A run in which nobody is another user makes none of this.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::{Limits, Server};
use nix::sys::resource::{Resource, getrlimit};
use process::Credentials;

use crate::annex::Annex;
use crate::mailbox::{Mail, Sender};
use crate::setup::{PrivateTmp, WorkerSetup};
use crate::words;

/// The file in a run's folder with the path of the folder of its doors.
const NOTED: &str = "doors";

/// Sockets lie two folders below, and the address of a socket is short.
const PLACE_BYTES: usize = 40;

/// Folders that a worker with a `/tmp` of its own does not see.
const COVERED: [&str; 2] = ["/tmp", "/var/tmp"];

/// So many processes of one user may wait, or be joined, at once; each of them costs us a descriptor.
const WAITING_AT_MOST: usize = 8192;

/// What one user's workers may take up of their supervisor: so much, that many can be joined, and a small part of the
/// descriptors that it can have, so that nobody keeps others out.
fn limits() -> Limits {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let share = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
    Limits {
        head_bytes: 16 * 1024,
        body_bytes: 64 * 1024,
        connections: 64,
        waiting: share.clamp(64, WAITING_AT_MOST),
        patience: Duration::from_secs(30),
    }
}

/// The doors of a run.
#[derive(Debug)]
pub struct Doors {
    /// The run's folder.
    run: PathBuf,
    name: String,
    /// Where they are, once there is one.
    annex: Option<Annex>,
    /// By user.
    servers: BTreeMap<u32, Server>,
    mail: Sender,
}

/// Another user than ours, as whom workers run.
pub fn other_user(worker: &WorkerSetup) -> Option<&Credentials> {
    let account = worker.kept.terms.as_deref()?.account.as_ref()?;
    account.credentials.as_ref().filter(|credentials| is_other(credentials.uid))
}

/// Whether somebody of this user is kept out of the run's own folder. Root is not.
fn is_other(uid: u32) -> bool {
    uid != 0 && uid != nix::unistd::geteuid().as_raw()
}

/// Whether workers of this user can be given a door here; `tmp` is whether they have a `/tmp` of their own.
///
/// # Errors
/// Says why not.
pub fn is_possible(uid: u32, tmp: PrivateTmp) -> Result<(), String> {
    if !is_other(uid) {
        return Ok(());
    }
    let place = place()?;
    check_seen(&place, tmp)?;
    if !process::is_capable(process::Capability::Chown) {
        return Err("this process may not give files away (CAP_CHOWN)".to_owned());
    }
    Ok(())
}

/// The folder below which doors are made: one that we can write to and everybody can pass.
///
/// # Errors
/// Says that there is none.
pub fn place() -> Result<PathBuf, String> {
    let candidates = places();
    let is_short = |place: &Path| place.as_os_str().len() <= PLACE_BYTES;
    let found = candidates.iter().find(|place| is_short(place) && is_writable(place) && all_may_pass(place));
    found.cloned().ok_or_else(|| {
        let [run, tmp, last] = candidates.map(|place| place.display().to_string());
        let last = if last == tmp { String::new() } else { format!(" nor {last}") };
        format!(
            "neither {run} nor {tmp}{last} is a folder that this process can write to and that user can pass"
        )
    })
}

/// This process's user and group.
pub fn own_ids() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// Where annexes may be, the best first.
pub fn places() -> [PathBuf; 3] {
    [PathBuf::from("/run"), std::env::temp_dir(), PathBuf::from("/tmp")]
}

fn is_writable(folder: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

fn all_may_pass(folder: &Path) -> bool {
    let Ok(real) = folder.canonicalize() else { return false };
    let passes = |folder: &Path| fs::metadata(folder).is_ok_and(|facts| facts.mode() & 0o001 != 0);
    real.ancestors().all(passes)
}

/// Whether a worker with such a `/tmp` sees the place.
fn check_seen(place: &Path, tmp: PrivateTmp) -> Result<(), String> {
    let is_covered = COVERED.iter().any(|covered| place.starts_with(covered));
    if tmp == PrivateTmp::Mount && is_covered {
        return Err(format!(
            "its way to the supervisor lies in {}, which its own /tmp covers; /run cannot be written to",
            place.display()
        ));
    }
    Ok(())
}

impl Doors {
    /// Those of the run `name` in the folder `run`; `mail` is where errands go. None is open yet. What a former run left
    /// is gone, but for the folder, whose path is known to those who outlived it.
    pub fn of(run: &Path, name: &str, mail: Sender) -> Doors {
        let annex = Annex::of_former(run, NOTED);
        if let Some(annex) = &annex {
            for entry in fs::read_dir(annex.path().join(name)).into_iter().flatten().flatten() {
                // They are sockets of a supervisor that is dead.
                let _ = fs::remove_file(entry.path());
            }
        }
        Doors { run: run.to_owned(), name: name.to_owned(), annex, servers: BTreeMap::new(), mail }
    }

    /// Opens the doors that these workers need and that are not open.
    ///
    /// # Errors
    /// Which user cannot have one, and why.
    pub fn open_for<'w>(&mut self, workers: impl IntoIterator<Item = &'w WorkerSetup>) -> Result<(), String> {
        for worker in workers {
            let Some(credentials) = other_user(worker) else { continue };
            let (uid, gid) = (credentials.uid, credentials.gid);
            let told = |why: String| format!("workers of user {uid} cannot be given a control socket: {why}");
            let folder = self.folder().map_err(told)?;
            let terms = worker.kept.terms.as_deref();
            check_seen(&folder, terms.map_or(PrivateTmp::None, |terms| terms.private_tmp)).map_err(told)?;
            if self.servers.contains_key(&uid) {
                continue;
            }
            let server = self.open(&folder.join(uid.to_string()), uid, gid);
            self.servers.insert(uid, server.map_err(|error| told(words::reason(&error)))?);
        }
        Ok(())
    }

    fn open(&self, socket: &Path, uid: u32, gid: u32) -> io::Result<Server> {
        let listener = UnixListener::bind(socket)?;
        give(socket, uid, gid)?;
        let mail = self.mail.clone();
        Server::start_for_workers(listener, uid, limits(), move |visit| {
            mail.send(Mail::Visit(Box::new(visit)))
        })
    }

    /// Where the control socket of a worker is, if it is not the run's own.
    pub fn socket_of(&self, worker: &WorkerSetup) -> Option<PathBuf> {
        let uid = other_user(worker)?.uid;
        Some(self.annex.as_ref()?.path().join(&self.name).join(uid.to_string()))
    }

    /// A folder that workers of other users get to, and that only we can write to.
    ///
    /// # Errors
    /// Why there can be none.
    pub fn folder(&mut self) -> Result<PathBuf, String> {
        let told = |error: io::Error| words::reason(&error);
        let annex = match &mut self.annex {
            Some(annex) => annex,
            none => none.insert(Annex::make(&self.run, NOTED, &place()?, "").map_err(told)?),
        };
        let inner = annex.path().join(&self.name);
        match DirBuilder::new().mode(0o711).create(&inner) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(told(error)),
            _ => {}
        }
        // Others pass, and see nothing. Not by the mode alone, which a umask makes less of.
        fs::set_permissions(&inner, Permissions::from_mode(0o711)).map_err(told)?;
        Ok(inner)
    }

    /// Closes all doors, and removes them.
    pub fn close(self) {
        // Each writes what was answered before it ends.
        drop(self.servers);
        if let Some(annex) = self.annex {
            annex.remove();
        }
    }
}

/// Gives a socket that was just made to a user, and to nobody else.
///
/// # Errors
/// Where this process may not give files away.
pub fn give(socket: &Path, uid: u32, gid: u32) -> io::Result<()> {
    // In this order: until it is theirs, it is only ours.
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    chown(socket, Some(uid), Some(gid))
}
