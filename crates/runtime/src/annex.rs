//! Folders of a run that cannot lie in its own: those that workers of other users get to, and temporary files.
//!
//! ```text
//! $RUNTIME/NAME/doors            the path of the annex: the next run of the same name takes it over
//! /run/supervisor-XXXXXX/        0711, ours; a name that nobody can guess
//!   .run                         held by the supervisor as long as it lives; the path of the run's folder
//!   …                            what it is for
//! ```
//!
//! Nobody may ever run that name again. So every run looks for annexes of this user that nobody holds and of whose run nobody
//! lives, and takes them away. Once one is about to be removed, its lock is held: a run of its name that begins meanwhile has
//! an annex made for itself. The folders in which workers meet their supervisor are found in the same way: a worker that is
//! killed while it joins leaves one, and its mark is held by nobody. A supervisor in another pid namespace is known by its lock; its workers, if it was
//! killed, are not seen from here.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::takeover;

/// What every annex is called with in the beginning.
const PREFIX: &str = "supervisor-";

/// What the folders for meetings are called with in the beginning.
const MEETINGS: &str = ".tmp";

/// The file in an annex that tells whose it is, and whether that one lives.
pub const MARK: &str = worker::wire::PLACE_MARK;

/// The longest path that is believed.
const PATH_BYTES: u64 = 4096;

/// A folder outside of the run's own, held.
#[derive(Debug)]
pub struct Annex {
    path: PathBuf,
    /// The file in the run's folder with its path.
    note: PathBuf,
    /// Its lock is released when it is closed.
    _mark: File,
}

impl Annex {
    /// Makes one in `place` for the run in the folder `run`, which notes it in its file `note`. Others may pass through it, and
    /// see nothing.
    ///
    /// # Errors
    /// Why it cannot be made; nothing is left of it then.
    pub fn make(run: &Path, note: &str, place: &Path, name: &str) -> io::Result<Annex> {
        let path = nix::unistd::mkdtemp(&place.join(format!("{PREFIX}{name}XXXXXX")))?;
        let (note, furnished) = (run.join(note), furnish(&path, run));
        let noted = furnished.and_then(|mark| {
            fs::write(&note, path.as_os_str().as_bytes())?;
            Ok(mark)
        });
        match noted {
            Ok(mark) => Ok(Annex { path, note, _mark: mark }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    /// The one that a former run in the folder `run` noted, if it is still ours, nobody else can write to it, and nobody
    /// holds it. What is noted of another one is forgotten.
    pub fn of_former(run: &Path, note: &str) -> Option<Annex> {
        let note = run.join(note);
        let path = PathBuf::from(OsString::from_vec(fs::read(&note).ok()?));
        match take(&path) {
            Some((mark, _)) => Some(Annex { path, note, _mark: mark }),
            None => {
                let _ = fs::remove_file(note);
                None
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, and all that is in it.
    pub fn remove(self) {
        remove(&self.path);
        let _ = fs::remove_file(&self.note);
    }
}

/// Makes a new folder an annex of a run.
fn furnish(path: &Path, run: &Path) -> io::Result<File> {
    // Not by the mode alone, which a umask makes less of.
    fs::set_permissions(path, Permissions::from_mode(0o711))?;
    let new = path.join(format!("{MARK}.new"));
    let mut mark = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    mark.try_lock()?;
    mark.write_all(run.canonicalize()?.as_os_str().as_bytes())?;
    // Only now is it to be seen: whoever finds it finds it held.
    fs::rename(new, path.join(MARK))?;
    Ok(mark)
}

/// The mark of an annex of ours that nobody holds, held now, and the folder of the run that it belongs to.
fn take(path: &Path) -> Option<(File, PathBuf)> {
    let found = fs::symlink_metadata(path).ok()?;
    let is_ours = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
    if !is_ours || found.mode() & 0o022 != 0 {
        return None;
    }
    let mark = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path.join(MARK))
        .ok()?;
    mark.try_lock().ok()?;
    let mut run = Vec::new();
    (&mark).take(PATH_BYTES).read_to_end(&mut run).ok()?;
    // Removed between the two: then it is nobody's any more.
    path.join(MARK).exists().then(|| (mark, PathBuf::from(OsString::from_vec(run))))
}

/// The mark last: what is cut short is found and finished by another run.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.file_name() != MARK)
    {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    let _ = fs::remove_file(path.join(MARK));
    let _ = fs::remove_dir(path);
}

/// Takes away what killed supervisors and workers of this user have left in these places, in the background.
pub fn clear(places: &[PathBuf]) {
    let places: BTreeSet<&PathBuf> = places.iter().collect();
    let orphans: Vec<(PathBuf, File)> = places.into_iter().flat_map(|place| orphans(place)).collect();
    if !orphans.is_empty() {
        // Without a thread they are left for the next run.
        let removal = std::thread::Builder::new().name("removal".to_owned());
        let _ = removal.spawn(move || orphans.iter().for_each(|(path, _held)| remove(path)));
    }
}

/// Takes away where workers that were killed wanted to be met.
pub fn clear_meetings(place: &Path) {
    for (path, _held) in named(place, MEETINGS).into_iter().filter_map(of_the_dead) {
        remove(&path);
    }
}

/// The orphans in a place, held now.
fn orphans(place: &Path) -> Vec<(PathBuf, File)> {
    let annexes = named(place, PREFIX).into_iter().filter_map(of_a_dead_run);
    annexes.chain(named(place, MEETINGS).into_iter().filter_map(of_the_dead)).collect()
}

fn named(place: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes()));
    named.map(|entry| entry.path()).collect()
}

/// An annex that nobody holds, and of whose run nobody lives.
fn of_a_dead_run(path: PathBuf) -> Option<(PathBuf, File)> {
    let (mark, run) = take(&path)?;
    // Let go of, as long as it is not certain: the next run of its name may want it.
    drop(mark);
    let is_used = takeover::anybody_of(&run.join("socket")).unwrap_or(true);
    of_the_dead(path).filter(|_| !is_used)
}

/// What nobody holds.
fn of_the_dead(path: PathBuf) -> Option<(PathBuf, File)> {
    let (mark, _) = take(&path)?;
    Some((path, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_taken_away() {
        let place = tempfile::tempdir().expect("a folder");
        let run = tempfile::tempdir().expect("a folder");
        let make = |note| Annex::make(run.path(), note, place.path(), "x-").expect("it can be made");
        let (held, left) = (make("held"), make("left"));
        let gone = left.path().to_owned();
        fs::create_dir(gone.join("full")).expect("it can be made");
        fs::write(gone.join("full/file"), "").expect("it can be written");
        drop(left);
        fs::create_dir(place.path().join("supervisor-of-somebody")).expect("it can be made");
        assert!(Annex::of_former(run.path(), "held").is_none(), "it is held");
        let mut found = orphans(place.path());
        assert_eq!(found.len(), 1);
        let (path, mark) = found.remove(0);
        assert_eq!(path, gone);
        assert!(Annex::of_former(run.path(), "left").is_none(), "it is about to be removed");
        remove(&path);
        drop(mark);
        assert!(!gone.exists() && held.path().exists());
        assert!(place.path().join("supervisor-of-somebody").exists());
        held.remove();
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 1);
    }

    #[test]
    fn the_next_run_of_the_name_has_what_the_last_one_made() {
        let place = tempfile::tempdir().expect("a folder");
        let run = tempfile::tempdir().expect("a folder");
        let made = Annex::make(run.path(), "note", place.path(), "").expect("it can be made");
        let path = made.path().to_owned();
        drop(made);
        assert_eq!(Annex::of_former(run.path(), "note").expect("it is there").path(), path);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("it is ours");
        assert!(Annex::of_former(run.path(), "note").is_none(), "others can write to it");
    }
}
