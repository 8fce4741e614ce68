//! The folder of a run, as its supervisor holds it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::claim::{Claim, Claiming};
use crate::locate::{RoomError, Rooms, SOCKET, check_own, check_root, with_short_path};

const LOCK: &str = "lock";

/// How often a folder that vanishes under our hands is made again.
const ATTEMPTS: u32 = 100;

/// A run's folder, held by this process: no second run of the same name can have it until this is dropped or the
/// process dies, however it dies.
///
/// Dropped, it removes what it made, and nothing else: its socket, its lock, and the folder when nothing else is in it.
/// Only the process that made it does so, not a fork of it; so a supervisor that goes to the background makes it there.
///
/// ```
/// use control::{Rooms, RunFolder};
///
/// let runtime = tempfile::tempdir()?;
/// let rooms = Rooms::at(runtime.path().join("supervisor"));
/// let mut folder = RunFolder::create(&rooms, "demo")?;
/// let listener = folder.listen()?;
/// assert!(RunFolder::create(&rooms, "demo").is_err());
/// drop(folder);
/// assert!(rooms.runs()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    name: String,
    path: PathBuf,
    /// Its lock is released when it is closed.
    lock: File,
    /// What keeps a second run of the name out when somebody removes the folder, and the lock with it.
    claim: Option<Claim>,
    /// The socket as it was made, so that no other one is taken for it.
    socket: Option<FileId>,
    made_root: Option<PathBuf>,
    maker: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(facts: &fs::Metadata) -> FileId {
        FileId { device: facts.dev(), inode: facts.ino() }
    }

    fn at(path: &Path) -> Option<FileId> {
        fs::symlink_metadata(path).ok().map(|facts| FileId::of(&facts))
    }
}

impl RunFolder {
    /// Makes the folder of the run `name`, or takes over the one that a crashed supervisor left.
    ///
    /// # Errors
    /// [`RoomError::Taken`] when its supervisor lives, [`RoomError::Homeless`] when it does and its folder was removed,
    /// [`RoomError::NotOurs`] when what is there cannot be trusted,
    /// [`RoomError::BadName`], [`RoomError::Io`].
    pub fn create(rooms: &Rooms, name: &str) -> Result<RunFolder, RoomError> {
        let mut last = RoomError::Taken { name: name.to_owned(), pid: None };
        // Whoever held it before may remove any part of it between two steps; they are then done again.
        let mut made_root = false;
        for _ in 0..ATTEMPTS {
            match RunFolder::attempt(rooms, name, &mut made_root) {
                Ok(Some(folder)) => return Ok(folder),
                Ok(None) => {}
                Err(error) if vanished(&error) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn attempt(rooms: &Rooms, name: &str, made_root: &mut bool) -> Result<Option<RunFolder>, RoomError> {
        let path = rooms.folder(name)?;
        *made_root |= make(rooms.root(), true)?;
        check_root(rooms.root())?;
        make(&path, false)?;
        check_own(&path)?;
        let maker = std::process::id();
        let Some(lock) = lock(&path.join(LOCK), name)? else { return Ok(None) };
        let mut folder = RunFolder {
            name: name.to_owned(),
            path,
            lock,
            claim: None,
            socket: None,
            made_root: made_root.then(|| rooms.root().to_owned()),
            maker,
        };
        match Claim::make(rooms.root(), name) {
            Claiming::Made(claim) => folder.claim = Some(claim),
            // What was just made here is removed again.
            Claiming::Taken(pid) => return Err(RoomError::Homeless { name: name.to_owned(), pid }),
            Claiming::Impossible => {}
        }
        Ok(Some(folder))
    }

    /// The run's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its socket is, or will be.
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// The lock once more: as long as this or a copy of it is open, in whatever process, nobody else can have the folder.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub fn hold(&self) -> io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }

    /// Listens at the run's socket, which only this user may open. A dead supervisor's socket is removed first.
    ///
    /// # Errors
    /// [`RoomError::NotOurs`] when something other than a socket is in its place, [`RoomError::Io`].
    pub fn listen(&mut self) -> Result<UnixListener, RoomError> {
        let socket = self.socket();
        match fs::symlink_metadata(&socket) {
            Ok(facts) if facts.file_type().is_socket() => {
                fs::remove_file(&socket).map_err(RoomError::io(&socket))?;
            }
            Ok(_) => {
                return Err(RoomError::NotOurs { path: socket, why: "it is not a socket".to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(RoomError::Io { path: socket, error }),
        }
        let listener =
            with_short_path(&socket, |path| UnixListener::bind(path)).map_err(RoomError::io(&socket))?;
        self.socket = FileId::at(&socket);
        // Until here the folder alone kept others out.
        fs::set_permissions(&socket, Permissions::from_mode(0o600)).map_err(RoomError::io(&socket))?;
        Ok(listener)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if std::process::id() != self.maker {
            return;
        }
        // First: whoever has the lock next is not to find it.
        self.claim = None;
        // What cannot be removed is left for the next run, which takes it over.
        let socket = self.socket();
        if self.socket.is_some() && self.socket == FileId::at(&socket) {
            let _ = fs::remove_file(&socket);
        }
        let lock = self.path.join(LOCK);
        let held = self.lock.metadata().ok().map(|facts| FileId::of(&facts));
        if held.is_some() && held == FileId::at(&lock) {
            let _ = fs::remove_file(&lock);
        }
        let _ = fs::remove_dir(&self.path);
        if let Some(root) = &self.made_root {
            let _ = fs::remove_dir(root);
        }
    }
}

/// Makes a folder, 0700; `false` when it was there.
fn make(path: &Path, with_parents: bool) -> Result<bool, RoomError> {
    if with_parents && let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(RoomError::io(parent))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(RoomError::Io { path: path.to_owned(), error }),
    }
}

/// Takes the lock and writes our pid into it; `None` when the file was removed meanwhile, and with it the lock's meaning.
fn lock(path: &Path, name: &str) -> Result<Option<File>, RoomError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
        .map_err(RoomError::io(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // A pid that cannot be read, or is not written yet, is only missing from a message.
            let _ = file.take(32).read_to_string(&mut text);
            return Err(RoomError::Taken { name: name.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(RoomError::Io { path: path.to_owned(), error }),
    }
    let held = file.metadata().map(|facts| FileId::of(&facts)).map_err(RoomError::io(path))?;
    if FileId::at(path) != Some(held) {
        return Ok(None);
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(RoomError::io(path))?;
    Ok(Some(file))
}

fn vanished(error: &RoomError) -> bool {
    matches!(error, RoomError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
}
