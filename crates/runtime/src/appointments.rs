//! Who leads a launch by its own word (`MAINPID=…`), written down in the run's folder: no mark in an environment says so,
//! and a later run that takes the launch back is to know.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use process::{Identity, Pid};

/// How the names of these files begin; what stands behind it names a launch.
const PREFIX: &str = "lead-";

fn file(folder: &Path, launch: &str) -> PathBuf {
    folder.join(format!("{PREFIX}{launch}"))
}

/// Who leads a launch by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// The process that leads it.
    pub leader: Identity,
    /// When the launch was executed, in clock ticks since the machine started: its leader is younger.
    pub launched: u64,
}

/// Notes who leads a launch, in one step: a later run finds all of it or nothing.
///
/// # Errors
///
/// Those of writing.
pub fn note(folder: &Path, launch: &str, appointment: Appointment) -> io::Result<()> {
    let new = folder.join(format!("{PREFIX}new"));
    let Appointment { leader, launched } = appointment;
    fs::write(&new, format!("{} {} {launched}\n", leader.pid, leader.start_time))?;
    fs::rename(&new, file(folder, launch))
}

/// Who leads a launch by its own word, if it has said so. Where nothing says when the launch was executed (a former version
/// wrote it), it counts from its leader's birth.
pub fn read(folder: &Path, launch: &str) -> Option<Appointment> {
    let text = fs::read_to_string(file(folder, launch)).ok()?;
    let mut words = text.split_ascii_whitespace();
    let pid = Pid::from_raw(words.next()?.parse().ok()?);
    let start_time = words.next()?.parse().ok()?;
    let launched = words.next().and_then(|word| word.parse().ok()).unwrap_or(start_time);
    Some(Appointment { leader: Identity { pid, start_time }, launched })
}

/// The launch is over, or led by who was executed for it.
pub fn forget(folder: &Path, launch: &str) {
    // Mostly there is none. One that stays names a process that will never be again.
    let _ = fs::remove_file(file(folder, launch));
}

/// The run is over.
pub fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
