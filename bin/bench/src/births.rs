//! The bench's end of the pipe through which programs tell their births.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bench::{BIRTH_BYTES, Birth, Stamp};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::Trouble;

/// How long anything may take before the bench gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a crowd that is being born is looked at: to be woken for each birth would disturb what is measured.
const GLANCE: Duration = Duration::from_millis(2);

/// A named pipe and its reader.
#[derive(Debug)]
pub struct Births {
    path: PathBuf,
    pipe: File,
    /// Keeps the pipe from hanging up while one program is dead and the next not yet born.
    held: Option<File>,
}

impl Births {
    /// Makes the pipe.
    pub fn in_folder(folder: &Path, name: &OsStr) -> Result<Births, Trouble> {
        let path = folder.join(name);
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let pipe = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path)?;
        // Room for more births than are ever told between two looks; without it, 64 KiB hold 4,096.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 18));
        let held = Some(OpenOptions::new().write(true).open(&path)?);
        Ok(Births { path, pipe, held })
    }

    /// Where programs find it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until `count` programs have been born.
    pub fn crowd(&mut self, count: usize) -> Result<Vec<Birth>, Trouble> {
        let limit = Instant::now() + PATIENCE;
        let mut born = Vec::with_capacity(count);
        loop {
            while let Some(birth) = self.take()? {
                born.push(birth);
            }
            if born.len() >= count {
                return Ok(born);
            }
            if Instant::now() > limit {
                return Err(Trouble::new(format!("{} of {count} were born within {PATIENCE:?}", born.len())));
            }
            thread::sleep(GLANCE);
        }
    }

    /// Waits for one birth, and is woken by it.
    pub fn next(&mut self) -> Result<Birth, Trouble> {
        loop {
            if let Some(birth) = self.take()? {
                return Ok(birth);
            }
            self.wait("nobody was born")?;
        }
    }

    /// Waits until the last of those who were born is gone.
    pub fn end(&mut self) -> Result<Stamp, Trouble> {
        while self.take()?.is_some() {}
        self.held = None;
        self.wait("not all are gone")?;
        Ok(Stamp::now())
    }

    fn take(&mut self) -> Result<Option<Birth>, Trouble> {
        let mut bytes = [0; BIRTH_BYTES];
        match self.pipe.read(&mut bytes) {
            Ok(BIRTH_BYTES) => Ok(Some(Birth::from_bytes(bytes))),
            // Nobody has it open for writing.
            Ok(0) => Ok(None),
            Ok(count) => Err(Trouble::new(format!("a birth of {count} bytes"))),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self, otherwise: &str) -> Result<(), Trouble> {
        let mut readable = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        match poll(&mut readable, limit)? {
            0 => Err(Trouble::new(format!("{otherwise} within {PATIENCE:?}"))),
            _ => Ok(()),
        }
    }
}
