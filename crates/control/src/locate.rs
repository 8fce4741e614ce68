//! Where the runs of a user are, and how a client finds the one it means.
//!
//! ```text
//! $SUPERVISOR_RUNTIME_DIR            one folder a user: Rooms
//!   wordcount/                       one folder a run, 0700, the user's own: RunFolder
//!     socket                         where the run is asked, 0600
//!     lock                           held by the supervisor as long as it lives; its pid
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::api::{ApiError, ErrorCode};
use crate::claim;
use crate::client::{Client, ClientError};
use crate::names::{hint_to, is_name};

/// So many runs are named to somebody who did not say which is meant.
const NAMED_AT_MOST: usize = 8;

/// The name of the socket in a run's folder.
pub(crate) const SOCKET: &str = "socket";

/// Why a run's folder cannot be had.
#[derive(Debug)]
pub enum RoomError {
    /// No run of that name is up, or none at all.
    NotRunning {
        /// The name that was asked for.
        name: Option<String>,
    },
    /// The run is up and cannot be asked: there is no socket. It begins or ends just now, or somebody has removed it.
    Mute {
        /// Its name.
        name: String,
        /// Its supervisor.
        pid: i32,
    },
    /// Several runs are up and none was named.
    Several {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// This cannot be the name of a run.
    BadName {
        /// What was given.
        name: String,
    },
    /// A run of that name is up already.
    Taken {
        /// The name.
        name: String,
        /// Its supervisor.
        pid: Option<i32>,
    },
    /// A run of that name is up, and somebody has removed its folder.
    Homeless {
        /// The name.
        name: String,
        /// Its supervisor.
        pid: Option<i32>,
    },
    /// The folder is somebody else's, or open to others.
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused.
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
}

impl RoomError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> RoomError + use<> {
        let path = path.to_owned();
        move |error| RoomError::Io { path, error }
    }

    /// Where none is running that can be asked: the run below `root`, of this name or of any, that holds its name all the same.
    fn or_mute(self, root: &Path, name: Option<&str>) -> RoomError {
        if !matches!(self, RoomError::NotRunning { .. }) {
            return self;
        }
        let held = match name {
            Some(name) => claim::holder(root, name).map(|pid| (name.to_owned(), pid)),
            None => claim::holders(root).into_iter().next(),
        };
        held.map_or(self, |(name, pid)| RoomError::Mute { name, pid })
    }

    /// The same in the API's words: a kind that gives the exit code, a message, a hint.
    pub fn to_api(&self) -> ApiError {
        let code = match self {
            RoomError::NotRunning { .. } | RoomError::Mute { .. } => ErrorCode::NotRunning,
            RoomError::Several { .. } | RoomError::BadName { .. } => ErrorCode::Usage,
            RoomError::NotOurs { .. } => ErrorCode::Refused,
            RoomError::Taken { .. } | RoomError::Homeless { .. } | RoomError::Io { .. } => ErrorCode::Failed,
        };
        let error = ApiError::new(code, self.to_string());
        match self {
            RoomError::NotRunning { .. } => error.hint("supervisor run config.json starts one"),
            RoomError::Mute { pid, .. } => error.hint(format!(
                "if it is not just beginning or ending, a cleaner of old files may have taken it; `kill {pid}` stops the run in order"
            )),
            RoomError::Several { names } => {
                let some = names[..names.len().min(NAMED_AT_MOST)].join(" | --name ");
                let more = match names.len().saturating_sub(NAMED_AT_MOST) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                error.hint(format!("--name {some}{more}"))
            }
            RoomError::BadName { name } => error.hint(hint_to(name)),
            RoomError::Taken { name, .. } => error.hint(format!(
                "supervisor --name {name} status shows it; --name gives the new one another name"
            )),
            RoomError::Homeless { pid, .. } => error.hint(match pid {
                Some(pid) => format!("`kill {pid}` stops that run in order; --name gives the new one another name"),
                None => "--name gives the new one another name".to_owned(),
            }),
            RoomError::NotOurs { .. } => {
                error.hint("remove it, or name another place with SUPERVISOR_RUNTIME_DIR")
            }
            RoomError::Io { .. } => error.hint("SUPERVISOR_RUNTIME_DIR names another place"),
        }
    }
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoomError::NotRunning { name: Some(name) } => write!(f, "no supervisor named {name} is running"),
            RoomError::NotRunning { name: None } => f.write_str("no supervisor is running"),
            RoomError::Mute { name, pid } => {
                write!(f, "{name} is running as pid {pid} and cannot be asked: its socket is not there")
            }
            RoomError::Several { names } => write!(f, "{} supervisors are running: which one?", names.len()),
            RoomError::BadName { name } => {
                let shown: String = name.chars().take(60).collect();
                write!(f, "{shown:?} cannot be the name of a run")
            }
            RoomError::Taken { name, pid: Some(pid) } => write!(f, "{name} is running already, as pid {pid}"),
            RoomError::Taken { name, pid: None } => write!(f, "{name} is running already"),
            RoomError::Homeless { name, pid } => {
                let pid = pid.map(|pid| format!(", as pid {pid}")).unwrap_or_default();
                write!(
                    f,
                    "{name} is running already{pid}, and its folder was removed: it cannot be asked any more"
                )
            }
            RoomError::NotOurs { path, why } => write!(f, "{} is not to be trusted: {why}", path.display()),
            RoomError::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for RoomError {}

/// A run that left a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// Its socket, which may be a dead one's.
    pub socket: PathBuf,
}

/// The folder that holds the folders of all runs of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms {
    root: PathBuf,
}

impl Rooms {
    /// `$SUPERVISOR_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/supervisor`, else `/run/supervisor` for root, else
    /// `/tmp/supervisor-UID`.
    pub fn from_environment() -> Rooms {
        Rooms::from(|name| std::env::var_os(name), own_uid())
    }

    fn from(variable: impl Fn(&str) -> Option<OsString>, uid: u32) -> Rooms {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = match (set("SUPERVISOR_RUNTIME_DIR"), set("XDG_RUNTIME_DIR")) {
            (Some(root), _) => root,
            (None, Some(runtime)) => runtime.join("supervisor"),
            (None, None) if uid == 0 => PathBuf::from("/run/supervisor"),
            (None, None) => PathBuf::from(format!("/tmp/supervisor-{uid}")),
        };
        Rooms { root }
    }

    /// This folder, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Rooms {
        Rooms { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the run of that name, which need not exist.
    ///
    /// # Errors
    /// [`RoomError::BadName`]: a name is never a path.
    pub fn folder(&self, name: &str) -> Result<PathBuf, RoomError> {
        if is_name(name) {
            Ok(self.root.join(name))
        } else {
            Err(RoomError::BadName { name: name.to_owned() })
        }
    }

    /// The runs of this user that left a socket, sorted by name. Folders that are not this user's own, or open to
    /// others, are none of them.
    ///
    /// # Errors
    /// When the folder exists and cannot be trusted or read.
    pub fn runs(&self) -> Result<Vec<Run>, RoomError> {
        let entries =
            check_root(&self.root).and_then(|()| fs::read_dir(&self.root).map_err(RoomError::io(&self.root)));
        let entries = match entries {
            // The last run of all may take the folder with it.
            Err(RoomError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(RoomError::io(&self.root))?;
            let Some(name) = entry.file_name().to_str().filter(|name| is_name(name)).map(str::to_owned)
            else {
                continue;
            };
            let socket = entry.path().join(SOCKET);
            if check_own(&entry.path()).is_ok() && is_socket(&socket) {
                runs.push(Run { name, socket });
            }
        }
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(runs)
    }

    /// Connects to the run that is meant.
    ///
    /// # Errors
    /// [`RoomError::NotRunning`] and [`RoomError::Several`] when there is not one; [`RoomError::NotOurs`] when its
    /// folder is not to be trusted.
    pub fn connect(&self, wanted: &Wanted) -> Result<Client, RoomError> {
        match wanted {
            Wanted::Socket(socket) => {
                let folder = socket.parent().unwrap_or(Path::new("/"));
                let found = check_door(folder).or_else(missing_is_not_running(None));
                found.and_then(|()| knock(socket, None)).map_err(|error| match folder.parent() {
                    Some(root) => error.or_mute(root, folder.file_name().and_then(OsStr::to_str)),
                    None => error,
                })
            }
            Wanted::Named(name) => {
                let folder = self.folder(name)?;
                let found = check_root(&self.root).and_then(|()| check_own(&folder));
                let found = found.or_else(missing_is_not_running(Some(name)));
                found
                    .and_then(|()| knock(&folder.join(SOCKET), Some(name)))
                    .map_err(|error| error.or_mute(&self.root, Some(name)))
            }
            Wanted::TheOnlyOne => {
                let mut up = Vec::new();
                for run in self.runs()? {
                    match knock(&run.socket, Some(&run.name)) {
                        Ok(client) => up.push((run.name, client)),
                        Err(RoomError::NotRunning { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                if up.len() > 1 {
                    return Err(RoomError::Several { names: up.into_iter().map(|(name, _)| name).collect() });
                }
                up.pop()
                    .map(|(_, client)| client)
                    .ok_or_else(|| RoomError::NotRunning { name: None }.or_mute(&self.root, None))
            }
        }
    }
}

/// Which run is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one of this name.
    Named(String),
    /// The one behind this socket: a worker asks its own supervisor.
    Socket(PathBuf),
    /// The only one that is up.
    TheOnlyOne,
}

impl Wanted {
    /// `--name`, if given; else what the environment says: `$SUPERVISOR_SOCKET` inside a worker, `$SUPERVISOR_NAME`.
    ///
    /// A worker has both of them; a `$SUPERVISOR_NAME` that is not its own supervisor's was set to mean another run. One
    /// that runs as another user has no other way to its own run than its socket, also where it gives the name.
    pub fn from_environment(name: Option<&str>) -> Wanted {
        let wanted = Wanted::from(name, |name| std::env::var_os(name));
        match (wanted, Wanted::from(None, |name| std::env::var_os(name))) {
            (Wanted::Named(name), Wanted::Socket(socket)) if is_door_of(&socket, &name) => {
                Wanted::Socket(socket)
            }
            (wanted, _) => wanted,
        }
    }

    fn from(given: Option<&str>, variable: impl Fn(&str) -> Option<OsString>) -> Wanted {
        if let Some(name) = given {
            return Wanted::Named(name.to_owned());
        }
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let name = set("SUPERVISOR_NAME");
        let socket = set("SUPERVISOR_SOCKET").map(PathBuf::from);
        match (name, socket) {
            (name, Some(socket))
                if name.is_none() || name.as_deref() == socket.parent().and_then(Path::file_name) =>
            {
                Wanted::Socket(socket)
            }
            (Some(name), _) => Wanted::Named(name.to_string_lossy().into_owned()),
            (None, _) => Wanted::TheOnlyOne,
        }
    }
}

/// Whether this is the socket of the run of that name for workers of another user: its folder belongs to somebody else.
fn is_door_of(socket: &Path, name: &str) -> bool {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    folder.file_name().is_some_and(|run| run == name)
        && fs::symlink_metadata(folder).is_ok_and(|facts| facts.uid() != own_uid())
}

fn knock(socket: &Path, name: Option<&str>) -> Result<Client, RoomError> {
    Client::connect(socket).map_err(|error| match error {
        ClientError::Unreachable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            RoomError::NotOurs { path: socket.to_owned(), why: "it may not be opened".to_owned() }
        }
        _ => RoomError::NotRunning { name: name.map(str::to_owned) },
    })
}

fn missing_is_not_running(name: Option<&str>) -> impl FnOnce(RoomError) -> Result<(), RoomError> {
    let name = name.map(str::to_owned);
    move |error| match error {
        RoomError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            Err(RoomError::NotRunning { name })
        }
        error => Err(error),
    }
}

pub(crate) fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

pub(crate) fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket())
}

/// The folder of all runs may be one that the user chose, so it may be readable by others; but nobody else may be able
/// to put something in the place of a run's folder.
pub(crate) fn check_root(root: &Path) -> Result<(), RoomError> {
    let not_ours = |why: &str| RoomError::NotOurs { path: root.to_owned(), why: why.to_owned() };
    let entry = fs::symlink_metadata(root).map_err(RoomError::io(root))?;
    let folder = fs::metadata(root).map_err(RoomError::io(root))?;
    if !folder.is_dir() {
        return Err(not_ours("it is not a folder"));
    }
    if [&entry, &folder].iter().any(|facts| facts.uid() != own_uid() && facts.uid() != 0) {
        return Err(not_ours("it belongs to somebody else"));
    }
    let (writable, sticky) = (folder.mode() & 0o022 != 0, folder.mode() & 0o1000 != 0);
    if writable && !sticky {
        return Err(not_ours("others can write to it"));
    }
    Ok(())
}

/// The folder that a worker's environment names: a run's folder, or, where the worker runs as another user, one that
/// nobody but its supervisor can put anything into.
fn check_door(folder: &Path) -> Result<(), RoomError> {
    let facts = fs::symlink_metadata(folder).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let why = "this user may not look into it".to_owned();
            RoomError::NotOurs { path: folder.to_owned(), why }
        }
        _ => RoomError::Io { path: folder.to_owned(), error },
    })?;
    if facts.uid() == own_uid() || !facts.is_dir() {
        return check_own(folder);
    }
    if facts.mode() & 0o022 != 0 {
        let why = "others can write to it".to_owned();
        return Err(RoomError::NotOurs { path: folder.to_owned(), why });
    }
    Ok(())
}

/// A run's folder is the user's own and closed to everybody else.
pub(crate) fn check_own(folder: &Path) -> Result<(), RoomError> {
    let not_ours = |why: String| RoomError::NotOurs { path: folder.to_owned(), why };
    // Not following: a link could point to a folder of ours that means something else.
    let facts = fs::symlink_metadata(folder).map_err(RoomError::io(folder))?;
    if facts.file_type().is_symlink() {
        return Err(not_ours("it is a symbolic link".to_owned()));
    }
    if !facts.is_dir() {
        return Err(not_ours("it is not a folder".to_owned()));
    }
    if facts.uid() != own_uid() {
        return Err(not_ours(format!("it belongs to user {}", facts.uid())));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(not_ours(format!("its mode is {:o}, not 700", facts.mode() & 0o777)));
    }
    Ok(())
}

/// What fits into the address of a Unix socket.
const ADDRESS_BYTES: usize = 107;

/// Calls `use_it` with a path of the same file that is short enough to be the address of a socket: a longer one goes by
/// way of a descriptor of its folder.
pub(crate) fn with_short_path<T>(path: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= ADDRESS_BYTES {
        return use_it(path);
    }
    let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(file);
    use_it(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(set: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |wanted| set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn of_many_runs_some_are_named_and_a_name_that_is_too_long_is_told_to_be() {
        let names = (0..20).map(|number| format!("n{number}")).collect();
        let hint = RoomError::Several { names }.to_api().hint.expect("a hint");
        assert!(
            hint.starts_with("--name n0 | --name n1") && hint.ends_with("| --name n7 and 12 more"),
            "{hint}"
        );
        let names = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(RoomError::Several { names }.to_api().hint.as_deref(), Some("--name a | --name b"));
        let long = RoomError::BadName { name: "x".repeat(300) }.to_api();
        assert!(long.message.len() < 120 && long.hint.expect("a hint").contains("at most 200"));
    }

    #[test]
    fn the_first_place_that_is_named_is_taken() {
        let root = |set, uid| Rooms::from(variables(set), uid).root;
        let both = &[("SUPERVISOR_RUNTIME_DIR", "/a"), ("XDG_RUNTIME_DIR", "/x")];
        assert_eq!(root(both, 7), Path::new("/a"));
        assert_eq!(
            root(&[("SUPERVISOR_RUNTIME_DIR", ""), ("XDG_RUNTIME_DIR", "/x")], 7),
            Path::new("/x/supervisor")
        );
        assert_eq!(root(&[], 0), Path::new("/run/supervisor"));
        assert_eq!(root(&[], 7), Path::new("/tmp/supervisor-7"));
    }

    #[test]
    fn a_worker_asks_its_own_supervisor_unless_another_is_named() {
        let inside = &[("SUPERVISOR_SOCKET", "/r/mine/socket"), ("SUPERVISOR_NAME", "mine")];
        let other = &[("SUPERVISOR_SOCKET", "/r/mine/socket"), ("SUPERVISOR_NAME", "other")];
        let named = |name: &str| Wanted::Named(name.to_owned());
        assert_eq!(Wanted::from(None, variables(inside)), Wanted::Socket("/r/mine/socket".into()));
        assert_eq!(Wanted::from(Some("given"), variables(inside)), named("given"));
        assert_eq!(Wanted::from(None, variables(other)), named("other"));
        assert_eq!(Wanted::from(None, variables(&[("SUPERVISOR_NAME", "n")])), named("n"));
        assert_eq!(Wanted::from(None, variables(&[])), Wanted::TheOnlyOne);
    }
}
