//! Temporary folders of launches' own. They lie where temporary files belong, in an annex of the run's folder, so that the
//! next run finds and removes those that a killed supervisor left.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use process::Credentials;
use supervision::{LaunchFailure, Process};

use crate::annex::{Annex, MARK};
use crate::setup::PrivateTmp;
use crate::words;

/// The file in a run's folder with the path of its temporary files.
const NOTED: &str = "temporary";

/// How folders are called that are being removed; no launch is called so.
const GONE: &str = ".gone-";

/// What is mounted, inside the folder of a launch: everybody in there may write to it, nobody outside gets to it.
const INNER: &str = "tmp";

/// Where temporary files usually are.
const PLACES: [&str; 2] = ["/var/tmp", "/tmp"];

/// The temporary folders of a run.
#[derive(Debug)]
pub struct Temporary {
    /// The run's folder.
    folder: PathBuf,
    /// Where the folders of launches are, once there is one.
    base: Option<Annex>,
    /// Removals under way: a large folder must not hold anybody up.
    removals: Vec<JoinHandle<()>>,
    removed: u64,
}

/// What a launch is told of its temporary folder, and what it sees of it where.
#[derive(Debug, Default)]
pub struct Given {
    /// `TMPDIR`.
    pub path: Option<PathBuf>,
    /// Folders, and where they are seen.
    pub mounts: Vec<(PathBuf, PathBuf)>,
}

impl Temporary {
    /// Those of the run in `folder`. Removes what a former run left, but for what these survivors of it use.
    pub fn of(folder: &Path, name: impl Fn(Process) -> String, survivors: &[Process]) -> Temporary {
        let mut temporary = Temporary {
            folder: folder.to_owned(),
            base: Annex::of_former(folder, NOTED),
            removals: Vec::new(),
            removed: 0,
        };
        let stay: BTreeSet<String> = survivors.iter().map(|process| name(*process)).collect();
        let entries = temporary.base.as_ref().and_then(|base| fs::read_dir(base.path()).ok());
        for entry in entries.into_iter().flatten().flatten().filter(|entry| entry.file_name() != MARK) {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(GONE)) {
                // A removal that was cut short: its name stands in the way of the next.
                let _ = fs::remove_dir_all(entry.path());
            } else if !name.to_str().is_some_and(|name| stay.contains(name)) {
                temporary.remove_all(entry.path());
            }
        }
        temporary
    }

    /// Makes the folder of a launch that is called `leaf`, for these users.
    ///
    /// # Errors
    ///
    /// Says what could not be made.
    pub fn give(
        &mut self,
        kind: PrivateTmp,
        leaf: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Given, LaunchFailure> {
        if kind == PrivateTmp::None {
            return Ok(Given::default());
        }
        let mut uncovered = None;
        let made = self.base().and_then(|base| {
            let path = base.join(leaf);
            // Of a former launch of the same number there can be nothing but what could not be removed.
            let _ = fs::remove_dir_all(&path);
            DirBuilder::new().mode(0o700).create(&path)?;
            if kind == PrivateTmp::Mount {
                fs::create_dir(path.join(INNER))?;
                fs::set_permissions(path.join(INNER), Permissions::from_mode(0o1777))?;
                uncovered = uncover(&self.folder, &path.join(INNER))?;
            }
            if let Some(Credentials { uid, gid, .. }) = credentials {
                chown(&path, Some(*uid), Some(*gid))?;
            }
            Ok(path)
        });
        let path = made.map_err(|error| {
            LaunchFailure(format!("private_tmp: it cannot be made: {}", words::reason(&error)))
        })?;
        Ok(match kind {
            PrivateTmp::Mount => {
                let mounts = uncovered.into_iter().chain(mounts(&path.join(INNER))).collect();
                Given { path: Some("/tmp".into()), mounts }
            }
            _ => Given { path: Some(path), mounts: Vec::new() },
        })
    }

    /// Whether any launch ever had one.
    pub fn has_any(&self) -> bool {
        self.base.is_some()
    }

    /// Removes the folder of a launch that is over, if it had one.
    pub fn take_back(&mut self, leaf: &str) {
        let path = self.base.as_ref().map(|base| base.path().join(leaf));
        if let Some(path) = path.filter(|path| path.exists()) {
            self.remove_all(path);
        }
    }

    /// Removes everything, and waits until that is done.
    pub fn remove(&mut self) {
        for removal in self.removals.drain(..) {
            let _ = removal.join();
        }
        if let Some(base) = self.base.take() {
            base.remove();
        }
    }

    fn remove_all(&mut self, path: PathBuf) {
        self.removals.retain(|removal| !removal.is_finished());
        // Its name is free at once: a launch of the same number may be about to get one.
        self.removed += 1;
        let gone = path.with_file_name(format!("{GONE}{}", self.removed));
        let path = if fs::rename(&path, &gone).is_ok() { gone } else { path };
        let removal = std::thread::Builder::new().name("removal".to_owned());
        let folder = path.clone();
        match removal.spawn(move || drop(fs::remove_dir_all(path))) {
            Ok(removal) => self.removals.push(removal),
            // Without a thread it takes as long as it takes.
            Err(_) => drop(fs::remove_dir_all(folder)),
        }
    }

    /// The folder of the run's temporary files. Everybody may pass through it, and see nothing.
    ///
    /// # Errors
    ///
    /// Why it cannot be made.
    pub fn base(&mut self) -> io::Result<PathBuf> {
        if let Some(base) = &self.base {
            return Ok(base.path().to_owned());
        }
        let run = self.folder.file_name().unwrap_or_default().to_string_lossy();
        // Workers that run as others get to their own below it, and see nothing else.
        let base = Annex::make(&self.folder, NOTED, &std::env::temp_dir(), &format!("{run}-"))?;
        Ok(self.base.insert(base).path().to_owned())
    }
}

/// Makes the place inside the folder at which a run's folder is seen that lies in what is covered; a worker that has a
/// `/tmp` of its own still finds its supervisor. Says what goes where, if anything has to.
fn uncover(run: &Path, inner: &Path) -> io::Result<Option<(PathBuf, PathBuf)>> {
    let run = run.canonicalize()?;
    let Some(below) = PLACES.iter().find_map(|place| run.strip_prefix(place).ok()) else { return Ok(None) };
    let place = inner.join(below);
    fs::create_dir_all(&place)?;
    Ok(Some((run.clone(), place)))
}

/// Where both usual places of temporary files are covered; the second first, whose path may lead through the first.
fn mounts(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    covered().map(|place| (folder.to_owned(), place.to_owned())).collect()
}

fn covered() -> impl Iterator<Item = &'static Path> {
    PLACES.iter().map(Path::new).filter(|place| place.is_dir() && !place.is_symlink())
}

/// What hides this path from a launch that has a folder of its own mounted there; `None`: the launch sees it.
///
/// ```
/// use std::path::Path;
///
/// assert_eq!(runtime::hidden_by_mounted_tmp(Path::new("/srv/app")), None);
/// ```
pub fn hidden_by_mounted_tmp(path: &Path) -> Option<&'static Path> {
    // What is not there yet is taken as it is written.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    covered().find(|place| path != *place && path.starts_with(place))
}
