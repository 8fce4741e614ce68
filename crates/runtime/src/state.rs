//! What outlives a run: a folder on disk for each run that has durable queues.
//!
//! ```text
//! $SUPERVISOR_STATE_DIR             one folder a user
//!   wordcount/                      one folder a run, 0700
//!     lock                          held by the supervisor as long as it lives
//!     queues/jobs.queue             one file a durable queue
//!     queues/jobs.queue.damaged-1   what was put aside, never removed by us
//! ```
//!
//! The folder is made when a run has its first durable queue, and never taken away.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of a run's state, held: no other supervisor uses it meanwhile.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl StateFolder {
    /// The folder of the run of this name, made if it is not there.
    ///
    /// # Errors
    /// Says which folder, and why not: it cannot be made, is not this user's own, or is another supervisor's now.
    pub fn of(run: &str) -> Result<StateFolder, String> {
        let root = root(|name| std::env::var_os(name), nix::unistd::geteuid().as_raw())
            .ok_or("no place for durable queues: neither $SUPERVISOR_STATE_DIR nor $HOME is set")?;
        let path = root.join(run);
        DirBuilder::new().recursive(true).mode(0o700).create(path.join("queues")).map_err(at(&path))?;
        check_own(&path)?;
        let place = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&place)
            .map_err(at(&place))?;
        match lock.try_lock() {
            Ok(()) => Ok(StateFolder { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(format!("{}: another supervisor uses the durable queues in it", path.display()))
            }
            Err(TryLockError::Error(error)) => Err(at(&place)(error)),
        }
    }

    /// The file of a durable queue.
    pub fn queue(&self, name: &str) -> PathBuf {
        self.path.join("queues").join(format!("{name}.queue"))
    }
}

/// Where a queue of a run would be kept, if anything is there.
pub fn left_behind(run: &str, queue: &str) -> Option<PathBuf> {
    let root = root(|name| std::env::var_os(name), nix::unistd::geteuid().as_raw())?;
    let path = root.join(run).join("queues").join(format!("{queue}.queue"));
    path.is_file().then_some(path)
}

/// Moves a file out of the way, to a name that nothing has; answers which.
///
/// # Errors
/// Where the folder cannot be changed.
pub fn put_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        let aside = PathBuf::from(name);
        // A link fails where something has the name; a rename would take its place.
        match fs::hard_link(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => {
                linked?;
                fs::remove_file(path)?;
                return Ok(aside);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `$SUPERVISOR_STATE_DIR`, else `$XDG_STATE_HOME/supervisor`, else `/var/lib/supervisor` for root, else
/// `~/.local/state/supervisor`: places that outlive a restart of the machine, which runtime folders do not.
fn root(variable: impl Fn(&str) -> Option<OsString>, uid: u32) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(root) = set("SUPERVISOR_STATE_DIR") {
        return Some(root);
    }
    match set("XDG_STATE_HOME") {
        Some(home) => Some(home.join("supervisor")),
        None if uid == 0 => Some(PathBuf::from("/var/lib/supervisor")),
        None => Some(set("HOME")?.join(".local/state/supervisor")),
    }
}

/// Whether a folder is this user's own and closed to everybody else.
fn check_own(path: &Path) -> Result<(), String> {
    let facts = fs::symlink_metadata(path).map_err(at(path))?;
    let wrong = if !facts.is_dir() {
        "it is not a folder".to_owned()
    } else if facts.uid() != nix::unistd::geteuid().as_raw() {
        format!("it belongs to user {}", facts.uid())
    } else if facts.mode() & 0o077 != 0 {
        format!("its mode is {:o}, not 700", facts.mode() & 0o777)
    } else {
        return Ok(());
    };
    Err(format!("{} is not to be trusted: {wrong}", path.display()))
}

fn at(path: &Path) -> impl Fn(io::Error) -> String {
    let path = path.to_owned();
    move |error| format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_one_named_first() {
        let place = |set: &[(&str, &str)], uid| {
            let find = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            root(find, uid).map(|path| path.to_string_lossy().into_owned())
        };
        let all = [("SUPERVISOR_STATE_DIR", "/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(place(&all, 7).as_deref(), Some("/s"));
        assert_eq!(place(&all[1..], 0).as_deref(), Some("/x/supervisor"));
        assert_eq!(place(&all[2..], 0).as_deref(), Some("/var/lib/supervisor"));
        assert_eq!(place(&all[2..], 7).as_deref(), Some("/h/.local/state/supervisor"));
        assert_eq!(place(&[("HOME", "")], 7), None);
    }
}
