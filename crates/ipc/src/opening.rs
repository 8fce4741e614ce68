//! Files of doubtful origin: opened, looked at, and held, before anything in them is believed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use crate::errors::OpenError;
use crate::header::{self, Header, Kind};
use crate::liveness;
use crate::memory::{self, Hold};

/// How long another process may take to set a durable segment right before we give up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the file at `path`, which may be `/proc/PID/fd/N`, if it is one and ours.
pub(crate) fn open(path: &Path) -> Result<File, OpenError> {
    let mut flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    if !is_descriptor_path(path) {
        flags |= libc::O_NOFOLLOW;
    }
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    check(&file)?;
    Ok(file)
}

/// Whether it is a file, and of this user or of root.
pub(crate) fn check(file: &File) -> Result<(), OpenError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile);
    }
    let me = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    if metadata.uid() != me && metadata.uid() != 0 {
        return Err(OpenError::Foreign(metadata.uid()));
    }
    Ok(())
}

/// What the file says of itself.
pub(crate) fn read_header(file: &File, kind: Kind) -> Result<Header, OpenError> {
    let found = file.metadata()?.len();
    if found < header::LENGTH as u64 {
        return Err(OpenError::Truncated { expected: 0, found });
    }
    let mut bytes = [0; header::LENGTH];
    // An inherited descriptor may stand anywhere in the file, and shares its position with others.
    file.read_exact_at(&mut bytes, 0)?;
    Header::read(&bytes, found, kind)
}

/// Whether the file must be held to be used. Asked before it is, so a header that is being written anew may look
/// damaged; then too it must.
pub(crate) fn is_durable(file: &File) -> bool {
    !memory::is_sealed(file)
        && match read_header(file, Kind::Queue) {
            Ok(header) => header.fsync.is_some(),
            Err(error) => matches!(error, OpenError::CorruptHeader),
        }
}

/// Takes hold of a durable segment's file: alone if nobody else has it, which begins a new life of it; else beside
/// those who have, if its life is of this boot of the machine. Answers what it says, read while it is held.
///
/// # Errors
/// What is wrong with the header; [`OpenError::InUse`] when whoever has it does not come to an end of setting it
/// right, or runs on another machine.
pub(crate) fn take_hold(file: &File, kind: Kind) -> Result<(Hold, Header), OpenError> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if try_hold(file, Hold::Alone)? {
            return Ok((Hold::Alone, read_header(file, kind)?));
        }
        if try_hold(file, Hold::Shared)? {
            let header = read_header(file, kind)?;
            if header.boot == liveness::boot() {
                header.check_namespace()?;
                return Ok((Hold::Shared, header));
            }
            // Somebody else came at the same time and looks on as we do; one of us must step back.
            memory::let_go(file)?;
        }
        if start.elapsed() > PATIENCE {
            return Err(OpenError::InUse);
        }
        // Nothing tells when the other is done; this happens only while it takes its first look at an old file.
        let jitter = Duration::from_micros(u64::from(std::process::id() % 997));
        std::thread::sleep(pause + jitter);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Takes hold at once, if that can be.
pub(crate) fn try_hold(file: &File, how: Hold) -> Result<bool, OpenError> {
    match memory::hold(file, how) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(OpenError::System(error)),
    }
}

/// Makes what was done in the folder of `path` last.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Whether the path is a descriptor of a process, whose link names the open file itself.
pub(crate) fn is_descriptor_path(path: &Path) -> bool {
    let number = |part: &Component<'_>| {
        part.as_os_str()
            .to_str()
            .is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let parts: Vec<_> = path.components().collect();
    match parts.as_slice() {
        [Component::RootDir, proc, process, fd, n] => {
            proc.as_os_str() == "proc"
                && (number(process) || process.as_os_str() == "self")
                && fd.as_os_str() == "fd"
                && number(n)
        }
        _ => false,
    }
}

/// Removes what those who were killed on the way to `path` left beside it: drafts that nobody has any more.
pub(crate) fn sweep_drafts(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let beginning = format!(".{name}.");
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_draft = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(&beginning))
            .is_some_and(|tail| tail.len() == 32 && tail.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // One that is being made is not held for its first moments.
        let is_old = || {
            let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > PATIENCE)
        };
        if is_draft
            && is_old()
            && let Ok(file) = open(&entry.path())
            && matches!(try_hold(&file, Hold::Alone), Ok(true))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Random bytes for a name that nobody else has.
pub(crate) fn new_uuid() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut uuid)?;
    Ok(uuid)
}

/// A file on the way to its place, gone when dropped.
#[derive(Debug)]
pub(crate) struct Draft(pub(crate) PathBuf);

impl Draft {
    pub(crate) fn beside(path: &Path, uuid: &[u8; 16]) -> Self {
        let tail: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{tail}"));
        Self(path.with_file_name(name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
